//! Which sessions have been silent for too long, counted by whoever leads the control group on its own monotonic clock.
//!
//! Soft state: a renewal that stands unchanged for a whole lease under one leader ends the session, and the command that ends it names that
//! renewal, so that one which came meanwhile wins. Wall clocks do not matter: a leader whose clock jumps ends nobody.

use crate::dispatch::Dispatch;
use proto::control::{ControlAnswer, ControlCommand, ControlQuery};
use proto::log::LogCommand;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use types::{GroupId, SessionId, Timestamp};

/// Looks in one lease.
const LOOKS: u32 = 10;
/// How long the recording of an end may take before it is tried again.
const RECORD_MAX: Duration = Duration::from_secs(2);
/// Sessions ended after one look; the others wait for the next.
const ENDS_PER_LOOK: usize = 256;

/// Since when each session's last renewal has been seen to stand.
#[derive(Default)]
struct Leases {
    seen: BTreeMap<SessionId, (Timestamp, Instant)>,
}

impl Leases {
    /// Takes in the open sessions with their last renewals; returns those that were silent for a lease.
    fn look(&mut self, now: Instant, lease: Duration, open: &[(SessionId, Timestamp)]) -> Vec<(SessionId, Timestamp)> {
        let before = std::mem::take(&mut self.seen);
        let mut silent = Vec::new();
        for (session, renewed) in open {
            let since = before.get(session).filter(|(seen, _)| seen == renewed).map_or(now, |(_, since)| *since);
            self.seen.insert(*session, (*renewed, since));
            if now.duration_since(since) >= lease {
                silent.push((*session, *renewed));
            }
        }
        silent
    }

    /// This node does not lead any more: what it saw counts no more.
    fn clear(&mut self) {
        self.seen.clear();
    }
}

/// Ends sessions that are silent for a lease, for ever, while this node leads the control group.
pub(crate) async fn expire(dispatch: Arc<Dispatch>, lease: Duration) {
    let mut leases = Leases::default();
    let mut looks = interval(lease / LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if !dispatch.leads_control() {
            leases.clear();
            continue;
        }
        let Ok(ControlAnswer::Sessions(open)) = dispatch.meta.control_query(&ControlQuery::Sessions) else { continue };
        let open: Vec<_> = open.into_iter().map(|(session, _, renewed)| (session, renewed)).collect();
        for (session, renewed) in leases.look(Instant::now(), lease, &open).into_iter().take(ENDS_PER_LOOK) {
            tracing::info!(%session, "the session was silent for a lease and is ended");
            let command = LogCommand::Control(ControlCommand::ExpireSession { session, renewed });
            if timeout(RECORD_MAX, dispatch.meta.propose(GroupId::CONTROL, command)).await.is_err() {
                tracing::debug!(%session, "the end was not recorded in time");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(900);

    #[test]
    fn a_session_that_stands_still_for_a_lease_is_silent() {
        let mut leases = Leases::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let open = |one, two| [(SessionId(1), Timestamp(one)), (SessionId(2), Timestamp(two))];
        assert_eq!(leases.look(at(0), LEASE, &open(5, 5)), []);
        // Two is renewed; its stamp may well run backwards, when another leader's clock is behind.
        assert_eq!(leases.look(at(800), LEASE, &open(5, 3)), []);
        assert_eq!(leases.look(at(900), LEASE, &open(5, 3)), [(SessionId(1), Timestamp(5))]);
        assert_eq!(leases.look(at(901), LEASE, &open(5, 3)), [(SessionId(1), Timestamp(5))], "until it is gone");
        assert_eq!(leases.look(at(1699), LEASE, &open(5, 3)[1..]), []);
        assert_eq!(leases.look(at(1700), LEASE, &open(5, 3)[1..]), [(SessionId(2), Timestamp(3))]);
    }

    #[test]
    fn a_new_leader_counts_from_the_beginning() {
        let mut leases = Leases::default();
        let start = Instant::now();
        let open = [(SessionId(1), Timestamp(5))];
        leases.look(start, LEASE, &open);
        leases.clear();
        assert_eq!(leases.look(start + LEASE, LEASE, &open), []);
    }
}
