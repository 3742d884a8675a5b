//! The placement map: which node stands where, which disks hold a slot, which nodes vote in a group.
//!
//! Replicated by the control group; clients keep a copy and refresh it when a node answers that an epoch is stale.

use crate::{BucketId, DiskId, FeatureLevel, GroupId, Incarnation, LogIndex, NodeId, PgEpoch, PgId, RuleId, Slot};
use serde::{Deserialize, Serialize};

mod disk;
mod moves;
mod options;
mod rule;

pub use disk::{CLASS_BYTES_MAX, DISK_WEIGHT_DEFAULT, DiskEntry, DiskState};
pub use moves::{Move, MoveFault, MovePhase};
pub use options::{OptionFault, PlacementOptions};
pub use rule::{
    ClassCopies, Domain, FailureLevel, PlacementRule, RULE_NAME_BYTES_MAX, RULES_MAX, RuleEntry, RuleFault, SLOTS_MAX,
    Spread,
};

/// What the control group believes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// Heartbeats arrive.
    Up,
    /// Heartbeats are missing: writers avoid it, readers ask it last.
    Down,
    /// It was down for longer than the out time: its copies are made anew elsewhere. Heartbeats bring it back.
    Out,
}

/// What operators want of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum NodeMode {
    /// It takes part.
    #[default]
    Active,
    /// It serves what it has, gets no new copies, and its copies move away.
    Draining,
    /// It is gone for ever: its id is never used again.
    Removed,
}

/// A node as everyone knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Its id.
    pub id: NodeId,
    /// `host:port` of its QUIC endpoint.
    pub addr: String,
    /// Its failure domain, `zone` or `zone/rack`; copies of a chunk lie in different ones.
    pub domain: String,
    /// Its disks, in a fixed order; new ones come last, and none is ever taken out of the list.
    pub disks: Vec<DiskEntry>,
    /// Counts its starts.
    pub incarnation: Incarnation,
    /// Whether it answers.
    pub state: NodeState,
    /// What operators want of it.
    pub mode: NodeMode,
    /// The newest level that its program can do, as it has said itself; 0 before it has.
    pub speaks: FeatureLevel,
}

impl NodeEntry {
    /// A node that was never started and is taken to be up, with disks like all others.
    #[must_use]
    pub fn new(id: NodeId, addr: String, domain: String, disks: impl IntoIterator<Item = DiskId>) -> Self {
        NodeEntry {
            id,
            addr,
            domain,
            disks: disks.into_iter().map(DiskEntry::new).collect(),
            incarnation: Incarnation(0),
            state: NodeState::Up,
            mode: NodeMode::Active,
            speaks: FeatureLevel(0),
        }
    }

    /// The part of its domain that fails last: what stands before the first `/`.
    #[must_use]
    pub fn zone(&self) -> &str {
        zone_of(&self.domain)
    }

    /// The machine it runs on, as far as its address tells.
    #[must_use]
    pub fn host(&self) -> &str {
        self.addr.rsplit_once(':').map_or(self.addr.as_str(), |(host, _)| host)
    }
}

/// The zone of a failure domain: what stands before the first `/`.
#[must_use]
pub fn zone_of(domain: &str) -> &str {
    domain.split('/').next().unwrap_or_default()
}

/// One copy's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// The node that keeps it.
    pub node: NodeId,
    /// Index into that node's `disks`.
    pub disk: u16,
}

/// Three disks, as far apart as its rule says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementGroup {
    /// Its id.
    pub id: PgId,
    /// Grows with every change of members, and with every begin and end of a move.
    pub epoch: PgEpoch,
    /// `REPLICAS` members on distinct nodes. A move changes one of them in its place, so that masks of members keep their meaning.
    pub members: Vec<Member>,
    /// The move in progress, if there is one.
    pub moving: Option<Move>,
    /// The rule that says where its members stand. Its chunks are those of buckets that had this rule when they were written.
    pub rule: RuleId,
}

impl PlacementGroup {
    /// A group of the default rule whose members stay where they are.
    #[must_use]
    pub fn settled(id: PgId, epoch: PgEpoch, members: Vec<Member>) -> Self {
        PlacementGroup { id, epoch, members, moving: None, rule: RuleId::DEFAULT }
    }

    /// Everyone who gets new chunks and tombstones: the members, then the one that a move brings in.
    pub fn takers(&self) -> impl Iterator<Item = Member> + '_ {
        self.members.iter().copied().chain(self.moving.as_ref().map(|moving| moving.to))
    }

    /// The disk numbers of `node` that belong to the group; more than one while a copy moves from one disk of it to another.
    pub fn disks_on(&self, node: NodeId) -> impl Iterator<Item = u16> + '_ {
        self.takers().filter(move |taker| taker.node == node).map(|taker| taker.disk)
    }
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

    /// Whether those vote who shall.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let (mut voters, mut wanted) = (self.voters.clone(), self.wanted.clone());
        voters.sort_unstable();
        wanted.sort_unstable();
        voters == wanted
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
    /// How copies are placed and moved.
    pub options: PlacementOptions,
    /// What all nodes understand: nobody writes or asks what is newer. Never goes back.
    pub level: FeatureLevel,
    /// The rules of placement, sorted by id. Where the default one is not among them it asks for different racks and nothing else.
    pub rules: Vec<RuleEntry>,
    /// Buckets that were given another rule after they were made, sorted by id: whoever writes and knows the bucket from before finds its rule
    /// here.
    pub bucket_rules: Vec<(BucketId, RuleId)>,
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

    /// The placement group of an id.
    #[must_use]
    pub fn group(&self, id: PgId) -> Option<&PlacementGroup> {
        let at = self.groups.binary_search_by_key(&id, |group| group.id).ok()?;
        self.groups.get(at)
    }

    /// The slots whose chunks lie in a placement group.
    pub fn slots_of(&self, id: PgId) -> impl Iterator<Item = Slot> + '_ {
        let at = self.groups.binary_search_by_key(&id, |group| group.id).ok();
        let slots = self.slots.iter().enumerate();
        slots.filter(move |(_, index)| Some(**index as usize) == at).map(|(slot, _)| Slot(slot as u16))
    }

    /// The disk of a member.
    #[must_use]
    pub fn disk(&self, member: Member) -> Option<&DiskEntry> {
        self.node(member.node)?.disks.get(usize::from(member.disk))
    }

    /// Whether a member may get new copies: its node is up and active, and so is its disk.
    #[must_use]
    pub fn may_take(&self, member: Member) -> bool {
        let node = self.node(member.node);
        node.is_some_and(|node| node.state == NodeState::Up && node.mode == NodeMode::Active)
            && self.disk(member).is_some_and(|disk| disk.state == DiskState::Active && disk.weight > 0)
    }

    /// Whether a member's copy has to be taken for gone: its node is out or removed, or its disk failed.
    #[must_use]
    pub fn is_lost(&self, member: Member) -> bool {
        let node = self.node(member.node);
        node.is_none_or(|node| node.state == NodeState::Out || node.mode == NodeMode::Removed)
            || self.disk(member).is_none_or(|disk| matches!(disk.state, DiskState::Failed | DiskState::Broken))
    }

    /// The newest level that every node can do which was not removed, and one that can do no more.
    #[must_use]
    pub fn level_of_all(&self) -> Option<(FeatureLevel, NodeId)> {
        let nodes = self.nodes.iter().filter(|node| node.mode != NodeMode::Removed);
        nodes.map(|node| (node.speaks, node.id)).min()
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
