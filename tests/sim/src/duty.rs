//! What a node does of its own accord, round by round: collect garbage, keep the trash, look for orphans; drive moves, fill a disk that a move
//! brings in, take off what a move has left behind.
//!
//! A duty is a step function: it is told what has come of what it wanted last, and says what it wants next. Everything it remembers is
//! lost when its process ends, and every round begins from what the group's state says. What it wants is carried out by
//! `world/duties.rs` and `world/moves.rs`, where messages are late or lost; whatever was not answered in time has come to nothing.

mod clearer;
mod collector;
mod follower;
mod keeper;
mod puller;
mod steerer;
mod sweeper;

use crate::bug::Bug;
use crate::chunks::ChunkStore;
use crate::event::Millis;
use crate::replica::GROUP;
use crate::script::Knobs;
use clearer::Clearer;
use collector::Collector;
use follower::Follower;
use keeper::Keeper;
use proto::chunk::ListedChunk;
use proto::control::{ControlAnswer, ControlCommand, ControlQuery};
use proto::meta::{Answer, Command, Outcome, Query};
use puller::Puller;
use std::collections::{BTreeMap, BTreeSet};
use steerer::Steerer;
use sweeper::Sweeper;
use types::{
    Blake3Root, ChunkId, ChunkRef, GroupId, LogIndex, NodeId, PgEpoch, PgId, PlacementMap, ReplicaId, Slot, Timestamp,
};

/// Between two rounds of the keeper of the trash, in seconds of wall time; and in simulated milliseconds at least.
const KEEP_SECS: u64 = 2_000;
const KEEP_MIN: Millis = 100;

/// The kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// The group's leader works off garbage.
    Collect,
    /// The group's leader releases what has lain in the trash for its time.
    Keep,
    /// A node looks for orphans among its chunks.
    Sweep,
    /// The leader of the control group plans moves and takes them from step to step.
    Steer,
    /// A node fills its disk for the moves that bring it in.
    Pull,
    /// A node takes off its disk what moves have left behind.
    Clear,
    /// A node has its replicas of Raft groups follow the map.
    Follow,
}

impl Duty {
    /// All of them.
    pub const ALL: [Duty; 7] =
        [Duty::Collect, Duty::Keep, Duty::Sweep, Duty::Steer, Duty::Pull, Duty::Clear, Duty::Follow];

    /// Between two rounds.
    #[must_use]
    pub fn every(self, knobs: &Knobs) -> Millis {
        match self {
            Duty::Collect => knobs.collect,
            // So often that the group's time never moves on by an hour at once while there is a leader.
            Duty::Keep => (KEEP_SECS * 1000 / knobs.pace).clamp(KEEP_MIN, knobs.collect.max(KEEP_MIN)),
            Duty::Sweep => knobs.sweep,
            Duty::Steer | Duty::Pull | Duty::Follow => knobs.drive,
            Duty::Clear => 3 * knobs.drive,
        }
    }

    /// The group whose leader has it; every node if there is none.
    #[must_use]
    pub fn leaders(self) -> Option<GroupId> {
        match self {
            Duty::Collect | Duty::Keep => Some(GROUP),
            Duty::Steer => Some(GroupId::CONTROL),
            Duty::Sweep | Duty::Pull | Duty::Clear | Duty::Follow => None,
        }
    }
}

/// What a duty wants next.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// Nothing until the next round.
    Rest,
    /// An answer of the control group.
    Control(ControlQuery),
    /// What this node's own replica has applied.
    Own(Query),
    /// An answer of the group's leader.
    Leader(Query),
    /// One of the group's own commands to be carried out.
    Propose(Command),
    /// Replicas deleted by these nodes.
    Delete(BTreeMap<NodeId, Vec<ChunkId>>),
    /// The wall time by the clocks of the other voters.
    Clocks,
    /// A barrier of that group and epoch, at each of these nodes.
    Barriers(Vec<Barrier>),
    /// What is known of a slot's chunks behind an id, by each of these nodes.
    List(Vec<NodeId>, Slot, Option<ChunkId>, usize),
    /// Which of these chunks each of these nodes has.
    Stat(Vec<NodeId>, Vec<ChunkId>),
    /// Chunks fetched and kept.
    Copy(Vec<CopyJob>),
    /// Chunks of a slot taken off this node's disk.
    Forget(Slot, Vec<ChunkId>),
    /// The control group told something by this node.
    Tell(ControlCommand),
    /// Commands carried out by the control group, which this node leads.
    Record(Vec<ControlCommand>),
    /// What to do next about copies, by the map as this leader of the control group has applied it.
    Plan,
    /// Who belongs to a group, by a node that may lead it.
    Members(NodeId, GroupId),
    /// A replica of this node let go.
    Leave(GroupId, ReplicaId),
    /// Who shall vote next, by the map as this leader of the control group has applied it.
    PlaceVoters,
}

/// A node is asked to pass the barrier of a group's epoch.
pub type Barrier = (NodeId, PgId, PgEpoch);

/// A copy to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyJob {
    /// Where.
    pub target: NodeId,
    /// Of what.
    pub chunk: ChunkRef,
    /// Under which epoch of its group.
    pub epoch: PgEpoch,
    /// From whom.
    pub sources: Vec<NodeId>,
}

/// What has come of it.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Got {
    /// A round begins.
    Begin,
    /// It was refused, or not answered in time.
    Nothing,
    /// An answer of the control group.
    Control(ControlAnswer),
    /// An answer of the group.
    Answer(Answer),
    /// The command was applied.
    Outcome(Outcome),
    /// These have deleted theirs.
    Deleted(Vec<(NodeId, Vec<ChunkId>)>),
    /// These clocks, of so many voters and one's own.
    Clocks(Vec<Timestamp>, usize),
    /// These barriers are passed.
    Passed(BTreeSet<Barrier>),
    /// These nodes have said what they know.
    Listed(BTreeMap<NodeId, Vec<ListedChunk>>),
    /// These nodes have said what they have.
    Stats(BTreeMap<NodeId, Vec<Option<(u32, Blake3Root)>>>),
    /// These copies are durable.
    Copied(BTreeSet<(NodeId, ChunkId)>),
    /// The control group has carried it out.
    Recorded,
    /// Commands for the control group.
    Planned(Vec<ControlCommand>),
    /// All replicas of a group.
    Members(Vec<ReplicaId>),
}

/// A replica of a node.
#[derive(Clone, Debug)]
pub struct Here {
    /// Its group.
    pub group: GroupId,
    /// Which it is.
    pub replica: ReplicaId,
    /// Whether it leads.
    pub leads: bool,
    /// Whether its group may have taken in a newer one of the node.
    pub doubted: bool,
    /// Who votes in its group as of an entry, by node.
    pub voters: Vec<NodeId>,
    /// The entry.
    pub at: LogIndex,
}

/// What is around a duty.
pub struct Scene<'a> {
    /// The time since the run began.
    pub now: Millis,
    /// The node's wall clock.
    pub clock: Timestamp,
    /// The node.
    pub node: NodeId,
    /// The placement map it knows.
    pub map: &'a PlacementMap,
    /// Its chunks.
    pub chunks: &'a ChunkStore,
    /// How far two clocks may lie apart.
    pub apart_max: i64,
    /// A planted mistake.
    pub bug: Option<Bug>,
    /// Nodes that the leader of the control group has not heard of for longer than their lease lasts.
    pub silent: BTreeSet<NodeId>,
    /// The node's replicas.
    pub here: Vec<Here>,
}

#[cfg(test)]
impl<'a> Scene<'a> {
    /// The scene of a node at the beginning.
    pub(crate) fn of(node: NodeId, map: &'a PlacementMap, chunks: &'a ChunkStore) -> Scene<'a> {
        let (bug, silent, here) = (None, BTreeSet::new(), Vec::new());
        Scene { now: 0, clock: Timestamp(0), node, map, chunks, apart_max: 0, bug, silent, here }
    }
}

impl Scene<'_> {
    /// The earliest of the clocks, if a majority of the voters has answered, none lies far from this node's, and the group's time is not
    /// ahead of them.
    fn agreed(&self, others: &[Timestamp], voters: usize, group: Timestamp) -> Option<Timestamp> {
        let apart = |a: Timestamp, b: Timestamp| a.0.saturating_sub(b.0);
        if others.iter().any(|other| apart(*other, self.clock).abs() > self.apart_max) {
            return None;
        }
        let earliest = others.iter().copied().fold(self.clock, Timestamp::min);
        let majority = 2 * (others.len() + 1) > voters;
        (majority && apart(group, earliest) <= self.apart_max).then_some(earliest)
    }
}

/// The duties of a process.
#[derive(Default)]
pub struct Duties {
    collector: Collector,
    keeper: Keeper,
    sweeper: Sweeper,
    steerer: Steerer,
    puller: Puller,
    clearer: Clearer,
    follower: Follower,
}

impl Duties {
    /// A step.
    pub fn step(&mut self, duty: Duty, got: Got, scene: &Scene<'_>) -> Want {
        match duty {
            Duty::Collect => self.collector.step(got, scene),
            Duty::Keep => self.keeper.step(got, scene),
            Duty::Sweep => self.sweeper.step(got, scene),
            Duty::Steer => self.steerer.step(got, scene),
            Duty::Pull => self.puller.step(got, scene),
            Duty::Clear => self.clearer.step(got, scene),
            Duty::Follow => self.follower.step(got, scene),
        }
    }
}
