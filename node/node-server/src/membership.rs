//! Raft groups follow the placement map: their leaders report who votes, replicas that were let go are removed, and the leader of the
//! control group says who shall vote when nodes come and go. Each node also says what its program can do.
//!
//! Level-triggered: every round looks at how things are, so whatever a crash interrupted is taken up again. The members themselves are
//! changed on the raft thread of each group's leader, see `raft_core::next_step`.

use crate::heartbeat::LastHeard;
use crate::peers::Peers;
use meta_server::{Membership, MetaServer, Standing, VoterNode};
use proto::control::{ControlCommand, ControlRequest};
use proto::log::LogCommand;
use proto::node::{NodeReply, NodeRequest};
use proto::{Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};
use types::{FeatureLevel, GroupId, NodeEntry, NodeId, NodeMode, NodeState, PlacementMap};

/// From one round to the next.
const ROUND: Duration = Duration::from_millis(500);
/// How long one call of a round may take; what is not answered is asked again in the next.
const CALL_MAX: Duration = Duration::from_secs(2);
/// Without a leader of the control group for so long there is nobody to report to.
const LEADER_SILENT_MAX: Duration = Duration::from_secs(2);

/// Keeps the groups of this node in step with the map, for ever, and the map with what this program does.
pub(crate) async fn keep(meta: Arc<MetaServer>, peers: Peers, last_heard: Arc<LastHeard>, level: FeatureLevel) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let map = peers.map();
        if map.node(peers.own()).is_some_and(|entry| entry.speaks != level) {
            let command = ControlCommand::SpeakLevel { node: peers.own(), level };
            record(&meta, &peers, &last_heard, command).await;
        }
        for membership in meta.memberships() {
            if membership.leads {
                report(&meta, &peers, &last_heard, &map, &membership).await;
            } else if membership.doubted || !map.concerns(membership.group, peers.own()) {
                leave_if_let_go(&meta, &peers, &map, &membership).await;
            }
        }
        // The newest map: what was placed in the last round must not be placed again.
        if let Some(map) = meta.map().filter(|_| meta.is_leader(GroupId::CONTROL)) {
            meta.place_voters(&map, &standings(&map)).await;
        }
    }
}

/// Has the control group record who votes in a group that this node leads.
async fn report(meta: &MetaServer, peers: &Peers, last: &LastHeard, map: &PlacementMap, known: &Membership) {
    let voters = known.members.all().filter(|member| known.members.is_voter(*member));
    let mut voters: Vec<NodeId> = voters.map(|voter| voter.node()).collect();
    let mut recorded = map.voters(known.group).to_vec();
    voters.sort_unstable();
    recorded.sort_unstable();
    if voters == recorded || recorded.is_empty() {
        return;
    }
    record(meta, peers, last, ControlCommand::RecordVoters { group: known.group, at: known.at, voters }).await;
}

/// Has the control group carry out what this node says of itself and its groups. If it does not answer the next round says it again.
async fn record(meta: &MetaServer, peers: &Peers, last: &LastHeard, command: ControlCommand) {
    if meta.is_leader(GroupId::CONTROL) {
        let _ = timeout(CALL_MAX, meta.propose(GroupId::CONTROL, LogCommand::Control(command))).await;
    } else if let Some(leader) = last.leader(LEADER_SILENT_MAX) {
        let _ = peers.call(leader, &Request::Control(ControlRequest::Command(command)), CALL_MAX).await;
    }
}

/// Asks those who vote in a group now whether the replica here still belongs to it, and removes it if it does not.
async fn leave_if_let_go(meta: &MetaServer, peers: &Peers, map: &PlacementMap, here: &Membership) {
    for voter in map.voters(here.group) {
        let request = Request::Node(NodeRequest::Members { group: here.group });
        let Some(Reply::Node(NodeReply::Members(Ok(members)))) = peers.call(*voter, &request, CALL_MAX).await else {
            continue;
        };
        if !members.contains(&here.replica) {
            tracing::info!(group = %here.group, replica = %here.replica, "its group has let this replica go");
            meta.let_go(here.group, here.replica);
        }
        return;
    }
}

/// What may become of the votes of each node: who is out, drained or removed gives them up; who is merely down may be back in a moment.
fn standings(map: &PlacementMap) -> Vec<VoterNode> {
    let standing = |node: &NodeEntry| match (node.mode, node.state) {
        (NodeMode::Draining | NodeMode::Removed, _) | (NodeMode::Active, NodeState::Out) => Standing::Leaves,
        (NodeMode::Active, NodeState::Down) => Standing::Keeps,
        (NodeMode::Active, NodeState::Up) => Standing::Votes,
    };
    let nodes = map.nodes.iter();
    nodes.map(|node| VoterNode { id: node.id, domain: node.domain.clone(), standing: standing(node) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::DiskId;

    #[test]
    fn who_is_out_or_drained_gives_its_votes_up_and_who_is_down_keeps_them() {
        use NodeMode::{Active, Draining, Removed};
        use NodeState::{Down, Out, Up};
        let node = |(id, mode, state)| NodeEntry {
            mode,
            state,
            ..NodeEntry::new(NodeId(id), String::new(), id.to_string(), [DiskId([id as u8; 16])])
        };
        let nodes = [
            (1, Active, Up),
            (2, Active, Down),
            (3, Active, Out),
            (4, Draining, Up),
            (5, Draining, Down),
            (6, Removed, Up),
        ];
        let map = PlacementMap { nodes: nodes.map(node).into(), ..PlacementMap::default() };
        let found: Vec<_> = standings(&map).into_iter().map(|node| node.standing).collect();
        use Standing::{Keeps, Leaves, Votes};
        assert_eq!(found, [Votes, Keeps, Leaves, Leaves, Leaves, Leaves]);
    }
}
