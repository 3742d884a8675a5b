//! Raft groups follow the placement map: their leaders report who votes, replicas that were let go are removed, and the leader of the
//! control group says who shall vote when nodes come and go.
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
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use types::{GroupId, NodeId, NodeState, PlacementMap};

/// From one round to the next.
const ROUND: Duration = Duration::from_millis(500);
/// How long one call of a round may take; what is not answered is asked again in the next.
const CALL_MAX: Duration = Duration::from_secs(2);
/// Without a leader of the control group for so long there is nobody to report to.
const LEADER_SILENT_MAX: Duration = Duration::from_secs(2);

/// Keeps the groups of this node in step with the map, for ever. A node that is down for `out_after` loses its votes.
pub(crate) async fn keep(meta: Arc<MetaServer>, peers: Peers, last_heard: Arc<LastHeard>, out_after: Duration) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent = Silent::default();
    loop {
        rounds.tick().await;
        let map = peers.map();
        for membership in meta.memberships() {
            if membership.leads {
                report(&meta, &peers, &last_heard, &map, &membership).await;
            } else if membership.doubted || !map.concerns(membership.group, peers.own()) {
                leave_if_let_go(&meta, &peers, &map, &membership).await;
            }
        }
        // The newest map: what was placed in the last round must not be placed again.
        match meta.map().filter(|_| meta.is_leader(GroupId::CONTROL)) {
            Some(map) => meta.place_voters(&map, &silent.standings(&map, out_after)).await,
            None => silent = Silent::default(),
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
    let command = ControlCommand::RecordVoters { group: known.group, at: known.at, voters };
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

/// Since when nodes are down, as the leader of the control group has seen it itself: a new leader waits the whole time again.
#[derive(Default)]
struct Silent(BTreeMap<NodeId, Instant>);

impl Silent {
    fn standings(&mut self, map: &PlacementMap, out_after: Duration) -> Vec<VoterNode> {
        self.0.retain(|node, _| !map.is_up(*node));
        let standing = |id: NodeId, state: NodeState, since: &mut BTreeMap<NodeId, Instant>| match state {
            NodeState::Up => Standing::Votes,
            NodeState::Down if since.entry(id).or_insert_with(Instant::now).elapsed() >= out_after => Standing::Leaves,
            NodeState::Down => Standing::Keeps,
        };
        let nodes = map.nodes.iter().map(|node| VoterNode {
            id: node.id,
            domain: node.domain.clone(),
            standing: standing(node.id, node.state, &mut self.0),
        });
        nodes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Incarnation, NodeEntry};

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_loses_its_votes_only_after_the_whole_time() {
        let node = |id, state| NodeEntry {
            id: NodeId(id),
            addr: String::new(),
            domain: id.to_string(),
            disks: Vec::new(),
            incarnation: Incarnation(1),
            state,
        };
        let map =
            |state| PlacementMap { nodes: vec![node(1, NodeState::Up), node(2, state)], ..PlacementMap::default() };
        let out_after = Duration::from_secs(300);
        let mut silent = Silent::default();
        let mut second = |state| silent.standings(&map(state), out_after)[1].standing;
        assert_eq!(second(NodeState::Down), Standing::Keeps);
        tokio::time::advance(out_after / 2).await;
        assert_eq!(second(NodeState::Down), Standing::Keeps);
        assert_eq!(second(NodeState::Up), Standing::Votes);
        assert_eq!(second(NodeState::Down), Standing::Keeps, "counted anew");
        tokio::time::advance(out_after).await;
        assert_eq!(second(NodeState::Down), Standing::Leaves);
    }
}
