//! Whether the clocks of a group's voters agree, which is what the expiry of trash and the collection of garbage wait for.
//!
//! A group's time follows the clock of its leader and never runs backwards. What nobody can undo must not hang on one clock: before
//! anything is expired or condemned the leader asks the other voters for theirs.

use crate::peers::Peers;
use proto::node::{NodeReply, NodeRequest};
use proto::{Reply, Request};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;
use types::{GroupId, Timestamp};

/// How long a voter may take to say what time it is. Its answer is this old at most, which the bound on clocks allows for.
const CLOCK_MAX: Duration = Duration::from_secs(2);
/// How far two clocks may lie apart. NTP keeps them within milliseconds; a minute is a clock that nobody keeps.
pub(crate) const APART_MAX: i64 = 60 * Timestamp::SECOND;

/// Why there is no time to judge by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Disagreement {
    /// Too few voters have answered.
    #[error("no majority of the voters has said what time it is")]
    NoQuorum,
    /// A clock lies more than [`APART_MAX`] from this node's.
    #[error("the clock of a voter is {0} s apart from this node's")]
    Apart(i64),
    /// The group's time lies more than that ahead of all of them: an earlier leader's clock was wrong.
    #[error("the group's time is {0} s ahead of its voters' clocks")]
    GroupAhead(i64),
}

/// The time by this machine's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(since.as_secs() as i64, since.subsec_nanos())
}

/// The clocks of the other voters of a group that have answered, and the number of all voters.
pub(crate) async fn of_others(peers: &Peers, group: GroupId) -> (Vec<Timestamp>, usize) {
    let map = peers.map();
    let voters = map.voters(group);
    let mut asked = JoinSet::new();
    for voter in voters.iter().copied().filter(|voter| *voter != peers.own()) {
        let peers = peers.clone();
        asked.spawn(async move {
            match peers.call(voter, &Request::Node(NodeRequest::Clock), CLOCK_MAX).await {
                Some(Reply::Node(NodeReply::Clock(time))) => Some(time),
                _ => None,
            }
        });
    }
    (asked.join_all().await.into_iter().flatten().collect(), voters.len())
}

/// The time that may be judged by: the earliest of the clocks, if a majority of all `voters` (`own` is one of them) has answered, all
/// answers lie close together, and the group's time is not ahead of them.
pub(crate) fn agree(
    own: Timestamp,
    others: &[Timestamp],
    voters: usize,
    group: Timestamp,
) -> Result<Timestamp, Disagreement> {
    let apart = |a: Timestamp, b: Timestamp| a.0.saturating_sub(b.0);
    if let Some(far) = others.iter().map(|other| apart(*other, own)).find(|apart| apart.abs() > APART_MAX) {
        return Err(Disagreement::Apart(far / Timestamp::SECOND));
    }
    if 2 * (others.len() + 1) <= voters {
        return Err(Disagreement::NoQuorum);
    }
    let earliest = others.iter().copied().fold(own, Timestamp::min);
    let ahead = apart(group, earliest);
    if ahead > APART_MAX {
        return Err(Disagreement::GroupAhead(ahead / Timestamp::SECOND));
    }
    Ok(earliest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs, 0)
    }

    #[test]
    fn a_majority_that_agrees_is_needed() {
        assert_eq!(agree(at(1000), &[at(990), at(1010)], 3, at(0)), Ok(at(990)));
        assert_eq!(agree(at(1000), &[at(1001)], 3, at(1000)), Ok(at(1000)), "one of three is down");
        assert_eq!(agree(at(1000), &[], 3, at(0)), Err(Disagreement::NoQuorum));
        assert_eq!(agree(at(1000), &[at(1000)], 4, at(0)), Err(Disagreement::NoQuorum));
        assert_eq!(agree(at(1000), &[], 1, at(0)), Ok(at(1000)));
    }

    #[test]
    fn one_clock_apart_halts_whatever_the_others_say() {
        assert_eq!(agree(at(1000), &[at(1000), at(1061)], 3, at(0)), Err(Disagreement::Apart(61)));
        assert_eq!(agree(at(1000), &[at(939), at(1000)], 3, at(0)), Err(Disagreement::Apart(-61)));
        assert_eq!(agree(at(9_000_000), &[at(1000), at(1000)], 3, at(0)), Err(Disagreement::Apart(-8_999_000)));
    }

    #[test]
    fn a_group_whose_time_was_thrown_ahead_waits() {
        assert_eq!(agree(at(1000), &[at(1000)], 3, at(1061)), Err(Disagreement::GroupAhead(61)));
        assert_eq!(agree(at(1000), &[at(1000)], 3, at(1060)), Ok(at(1000)));
    }
}
