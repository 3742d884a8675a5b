//! A node goes: its copies and its votes move to others, then it is taken out for ever.

use super::progress;
use crate::cli::{DrainArgs, RemoveArgs};
use crate::connect::{Session, connect};
use crate::copies;
use crate::exit::{Done, Failure, Kind};
use crate::operate::steer;
use crate::output::Output;
use proto::control::{ControlCommand, ControlRefusal};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use types::{Member, NodeId, NodeMode, PlacementMap};

/// Between two looks at what is left.
const LOOK: Duration = Duration::from_secs(1);
/// Nothing moves and nothing changes for so long: there is nobody to take the rest.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// What a node or a disk still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    copies: usize,
    votes: usize,
}

impl Left {
    /// Of a disk.
    pub fn on(map: &PlacementMap, disk: Member) -> Left {
        let holds = |group: &&types::PlacementGroup| group.takers().any(|taker| taker == disk);
        Left { copies: map.groups.iter().filter(holds).count(), votes: 0 }
    }

    fn of(map: &PlacementMap, node: NodeId) -> Left {
        let holds = |group: &&types::PlacementGroup| group.takers().any(|taker| taker.node == node);
        let votes = |group: &&types::GroupPlacement| group.voters.contains(&node) || group.wanted.contains(&node);
        Left { copies: map.groups.iter().filter(holds).count(), votes: map.raft_groups.iter().filter(votes).count() }
    }

    /// Whether that is nothing.
    pub fn is_nothing(self) -> bool {
        self.copies == 0 && self.votes == 0
    }
}

/// Carries out `sago node drain`.
///
/// # Errors
/// [`Failure`]: nobody can take what it has.
pub async fn drain(args: DrainArgs, output: Output) -> Done {
    let session = connect(&args.client, "tool").await?;
    let node = NodeId(args.node);
    let done = match args.no_wait {
        true => begin(&session, node).await,
        false => give_away(&session, node, output).await,
    };
    session.close().await;
    done?;
    output.show(&json!({ "node": args.node, "empty": !args.no_wait }), |_| match args.no_wait {
        true => format!("{node} gives away what it has"),
        false => format!("{node} has nothing any more"),
    })
}

/// Carries out `sago node remove`.
///
/// # Errors
/// [`Failure`]: it still has something.
pub async fn remove(args: RemoveArgs, output: Output) -> Done {
    let session = connect(&args.client, "tool").await?;
    let node = NodeId(args.node);
    let done = remove_empty(&session, node).await;
    session.close().await;
    done?;
    output.show(&json!({ "removed": args.node }), |_| format!("{node} is removed, for ever"))
}

async fn begin(session: &Session, node: NodeId) -> Done {
    let drain = ControlCommand::SetNodeMode { node, mode: NodeMode::Draining };
    steer(&*session.cluster, drain).await.map(drop)
}

/// Drains a node and waits until it has nothing.
///
/// # Errors
/// [`Failure`]: nothing moves any more.
pub async fn give_away(session: &Session, node: NodeId, output: Output) -> Done {
    begin(session, node).await?;
    until_empty(session, &node.to_string(), |map| Left::of(map, node), output).await
}

/// Waits until somebody who was drained has nothing any more.
///
/// # Errors
/// [`Failure`]: nothing moves any more.
pub async fn until_empty(session: &Session, who: &str, left: impl Fn(&PlacementMap) -> Left, output: Output) -> Done {
    let mut last: Option<(Left, Instant)> = None;
    loop {
        let map = copies::map(session).await?;
        let left = left(&map);
        if left.is_nothing() {
            return Ok(());
        }
        let moving = map.groups.iter().any(|group| group.moving.is_some());
        match last {
            Some((before, since)) if before == left && !moving => stuck(who, left, since.elapsed())?,
            Some((before, _)) if before == left => last = Some((left, Instant::now())),
            _ => {
                progress(output, &format!("{who} still has {} copies and {} votes", left.copies, left.votes));
                last = Some((left, Instant::now()));
            }
        }
        sleep(LOOK).await;
    }
}

fn stuck(who: &str, left: Left, for_so_long: Duration) -> Done {
    if for_so_long < STUCK_AFTER {
        return Ok(());
    }
    let Left { copies, votes } = left;
    let message = format!(
        "{who} keeps {copies} copies and {votes} votes: no node in another failure domain can take them; it stays \
         drained, and gives them away once there is one"
    );
    Err(Failure::new(Kind::Failed, message))
}

/// Takes a node out that has nothing.
///
/// # Errors
/// [`Failure`]: it still has something.
pub async fn remove_empty(session: &Session, node: NodeId) -> Done {
    match session.cluster.control(ControlCommand::SetNodeMode { node, mode: NodeMode::Removed }).await? {
        Ok(_) => Ok(()),
        Err(ControlRefusal::InUse) => {
            let message = format!("{node} has copies or votes: `sago node drain {}` first", node.0);
            Err(Failure::new(Kind::Failed, message))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{GroupId, GroupPlacement, PgEpoch, PgId, PlacementGroup};

    #[test]
    fn a_node_has_something_as_long_as_it_holds_or_shall_hold_any() {
        let member = |node: u64| Member { node: NodeId(node), disk: 0 };
        let group = PlacementGroup::settled(PgId(0), PgEpoch(1), [1, 2, 3].map(member).into());
        let mut raft = GroupPlacement::founding(GroupId::CONTROL, [1, 2, 4].map(NodeId).into());
        raft.wanted = [1, 2, 5].map(NodeId).into();
        let map = PlacementMap { groups: vec![group], raft_groups: vec![raft], ..PlacementMap::default() };
        let left = |node| Left::of(&map, NodeId(node));
        assert_eq!(
            [left(1), left(3), left(4), left(5)].map(|left| (left.copies, left.votes)),
            [(1, 1), (1, 0), (0, 1), (0, 1)]
        );
        assert!(left(6).is_nothing() && !left(5).is_nothing());
        let on = |disk| Left::on(&map, Member { node: NodeId(3), disk });
        assert!(!on(0).is_nothing() && on(1).is_nothing());
    }

    #[test]
    fn nobody_is_waited_for_for_ever() {
        let left = Left { copies: 1, votes: 0 };
        assert!(stuck("node-1", left, STUCK_AFTER / 2).is_ok() && stuck("node-1", left, STUCK_AFTER).is_err());
    }
}
