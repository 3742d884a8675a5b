//! Raft groups follow the placement map: replicas are taken in when a leader speaks to them, let go when their group does not name them any more,
//! and the leader of the control group says who shall vote.

use super::World;
use crate::bug::Bug;
use crate::disk::Crash;
use crate::event::{Event, Millis};
use crate::judge::{Rule, Violation};
use crate::marks::Mark;
use crate::message::Party;
use crate::replica::GROUPS;
use placement::{Standing, VoterNode, plan_voters};
use proto::control::ControlCommand;
use raft_core::{MessageKind, RaftMessage};
use types::{GroupId, NodeEntry, NodeId, NodeMode, NodeState, PlacementMap, ReplicaId};

/// Groups whose members change at the same time.
const CHANGES_AT_ONCE: usize = 2;
/// Between two looks of an operator at a node that is being emptied.
const REMOVE_LOOK: Millis = 700;

impl World<'_> {
    /// A message to a replica that is not here. A leader only speaks to those that its group has taken in; but one node's word is not enough to
    /// remove anything, nor to make what the map does not want.
    pub(super) fn meet_stranger(&mut self, id: NodeId, group: GroupId, here: Option<ReplicaId>, message: &RaftMessage) {
        let leads = matches!(message.kind, MessageKind::Append | MessageKind::Heartbeat | MessageKind::Snapshot);
        let node = self.nodes.get_mut(&id).expect("a node");
        if !leads || message.to.life().0 == 0 || message.to.node() != id {
            return;
        }
        if here.is_some() {
            node.seats.entry(group).or_default().doubted = true;
            return;
        }
        let wanted = node.map.raft_groups.iter().any(|placed| placed.id == group && placed.wanted.contains(&id));
        let seat = node.seats.entry(group).or_default();
        if wanted && node.informed && seat.disk.admit(message.to) {
            self.report.marks.hit(Mark::ReplicaTaken);
            node.start_replica(self.now, group, (self.script.seed, false), self.script.bug, self.script.knobs);
        }
    }

    /// Whether a message comes from a node that the one it is for knows to be removed, and runs: it is not listened to.
    pub(super) fn is_unheard(&self, from: Party, to: Party) -> Result<bool, Violation> {
        let (Party::Node(from), Party::Node(to)) = (from, to) else { return Ok(false) };
        let node = &self.nodes[&to];
        let removed = node.map.node(from).is_some_and(|entry| entry.mode == NodeMode::Removed);
        if removed && node.runs && from != to && self.script.bug == Some(Bug::RemovedNodeHeard) {
            return Err(Violation::new(Rule::Shell, format!("{to} listens to {from}, and knows that it was removed")));
        }
        Ok(removed && node.runs)
    }

    /// An operator removes a node that was emptied: nothing is on it, nothing is meant to be, and it has no vote.
    pub(super) fn remove_if_empty(&mut self, id: NodeId) -> Result<(), Violation> {
        if self.map.node(id).is_none_or(|entry| entry.mode != NodeMode::Draining) {
            return Ok(());
        }
        self.agenda.at(self.now + REMOVE_LOOK, Event::Remove(id));
        let holds = self.map.groups.iter().any(|group| group.takers().any(|taker| taker.node == id));
        let votes = self.map.raft_groups.iter().any(|group| group.voters.contains(&id) || group.wanted.contains(&id));
        if holds || votes || self.nodes[&id].chunks.count() > 0 {
            return Ok(());
        }
        self.operate(ControlCommand::SetNodeMode { node: id, mode: NodeMode::Removed }, 0)
    }

    /// A node was told that it was removed: its process ends, and nobody starts it again.
    pub(super) fn end_removed(&mut self, id: NodeId) {
        if !self.nodes[&id].gone {
            self.report.marks.hit(Mark::NodeRemoved);
            self.crash(id, Crash::Kill);
            self.nodes.get_mut(&id).expect("a node").gone = true;
        }
    }

    /// The voters of the groups as the newest map has them.
    pub(super) fn voters(&self, group: GroupId) -> &[NodeId] {
        self.map.voters(group)
    }

    /// A replica was let go by its group.
    pub(super) fn let_go(&mut self, id: NodeId, group: GroupId, replica: ReplicaId) {
        let bug = self.script.bug;
        if self.nodes.get_mut(&id).expect("a node").let_go(group, replica, bug) {
            self.report.marks.hit(Mark::ReplicaLetGo);
            self.judge.lets_replica_go(group, replica);
        }
    }

    /// The next wanted voters, as `meta-server` plans them.
    pub(super) fn plan_voters(&self, map: &PlacementMap) -> Vec<ControlCommand> {
        let plan = plan_voters(&standings(map), &map.raft_groups, CHANGES_AT_ONCE);
        plan.changes.into_iter().map(|(group, wanted)| ControlCommand::PlaceVoters { group, wanted }).collect()
    }

    /// What is not yet as the map wants it about voters, for people; nothing if all is well.
    pub(super) fn unsettled_voters(&self) -> Result<Option<String>, Violation> {
        if let Some(placed) = self.map.raft_groups.iter().find(|placed| !placed.is_settled()) {
            return Ok(Some(format!("{placed:?}")));
        }
        if let Some(command) = self.plan_voters(&self.map).first() {
            return Ok(Some(format!("{command:?}")));
        }
        for group in GROUPS {
            let leader = self.leader(group).and_then(|id| self.nodes[&id].replica(group));
            let Some(members) = leader.map(|leader| leader.members()) else {
                return Ok(Some(format!("{group} has no leader")));
            };
            if members.is_joint() || !members.learners.is_empty() {
                return Ok(Some(format!("{group}: {members:?}")));
            }
            let strangers = self.nodes.values().filter_map(|node| node.replica(group));
            if let Some(stranger) = strangers.map(|replica| replica.id()).find(|id| !members.contains(*id)) {
                return Ok(Some(format!("{stranger} is no member of {group}")));
            }
        }
        Ok(None)
    }
}

/// What may become of the votes of each node, as `node-server` has it.
fn standings(map: &PlacementMap) -> Vec<VoterNode> {
    let standing = |node: &NodeEntry| match (node.mode, node.state) {
        (NodeMode::Draining | NodeMode::Removed, _) | (NodeMode::Active, NodeState::Out) => Standing::Leaves,
        (NodeMode::Active, NodeState::Down) => Standing::Keeps,
        (NodeMode::Active, NodeState::Up) => Standing::Votes,
    };
    let nodes = map.nodes.iter();
    nodes.map(|node| VoterNode { id: node.id, domain: node.domain.clone(), standing: standing(node) }).collect()
}
