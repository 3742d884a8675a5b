//! The placement map: which node stands where, which disks hold a slot, which nodes vote in a group.
//!
//! Replicated by the control group; clients keep a copy and refresh it when a node answers that an epoch is stale.

use crate::{DiskId, GroupId, Incarnation, LogIndex, NodeId, PgEpoch, PgId, Slot};
use serde::{Deserialize, Serialize};

/// What the control group believes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// Heartbeats arrive.
    Up,
    /// Heartbeats are missing: writers avoid it, readers ask it last.
    Down,
}

/// A node as everyone knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Its id.
    pub id: NodeId,
    /// `host:port` of its QUIC endpoint.
    pub addr: String,
    /// Its failure domain; copies of a chunk lie in different ones.
    pub domain: String,
    /// Its disks, in a fixed order.
    pub disks: Vec<DiskId>,
    /// Counts its starts.
    pub incarnation: Incarnation,
    /// Whether it answers.
    pub state: NodeState,
}

/// One copy's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The node that keeps it.
    pub node: NodeId,
    /// Index into that node's `disks`.
    pub disk: u16,
}

/// Three disks in three failure domains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementGroup {
    /// Its id.
    pub id: PgId,
    /// Grows with every change of members.
    pub epoch: PgEpoch,
    /// `REPLICAS` members on distinct nodes.
    pub members: Vec<Member>,
}

/// The voters of a Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlacement {
    /// The group.
    pub id: GroupId,
    /// Its voters, as its leader reported them last. While they change: those before and after.
    pub voters: Vec<NodeId>,
    /// The entry of the group's log that made them so; 0 for those it began with. An older report is ignored.
    pub voters_at: LogIndex,
    /// Who shall vote. Its leader changes the members, one step after the other, until they are these.
    pub wanted: Vec<NodeId>,
}

impl GroupPlacement {
    /// A group that begins with `voters`.
    #[must_use]
    pub fn founding(id: GroupId, voters: Vec<NodeId>) -> Self {
        GroupPlacement { id, wanted: voters.clone(), voters, voters_at: LogIndex(0) }
    }
}

/// The whole map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct PlacementMap {
    /// Grows with every change.
    pub version: u64,
    /// All nodes, sorted by id.
    pub nodes: Vec<NodeEntry>,
    /// All placement groups, sorted by id.
    pub groups: Vec<PlacementGroup>,
    /// Slot -> index into `groups`; its length is the number of slots in use.
    pub slots: Vec<u32>,
    /// All Raft groups, sorted by id; the first is the control group.
    pub raft_groups: Vec<GroupPlacement>,
}

impl PlacementMap {
    /// The placement group of a slot; `None` for a slot that is not in use.
    #[must_use]
    pub fn group_of(&self, slot: Slot) -> Option<&PlacementGroup> {
        let index = *self.slots.get(usize::from(slot.0))?;
        self.groups.get(index as usize)
    }

    /// The entry of a node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeEntry> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Whether a node is known to answer.
    #[must_use]
    pub fn is_up(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|node| node.state == NodeState::Up)
    }

    /// The voters of a Raft group.
    #[must_use]
    pub fn voters(&self, group: GroupId) -> &[NodeId] {
        self.raft_groups.iter().find(|placed| placed.id == group).map_or(&[], |placed| &placed.voters)
    }

    /// Whether `node` has or shall have a replica of a Raft group.
    #[must_use]
    pub fn concerns(&self, group: GroupId, node: NodeId) -> bool {
        let placed = self.raft_groups.iter().find(|placed| placed.id == group);
        placed.is_some_and(|placed| placed.voters.contains(&node) || placed.wanted.contains(&node))
    }

    /// The metadata groups, without the control group.
    pub fn metadata_groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.raft_groups.iter().map(|placed| placed.id).filter(|id| *id != GroupId::CONTROL)
    }
}
