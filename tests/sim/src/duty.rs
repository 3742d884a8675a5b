//! What a node does of its own accord, round by round: collect garbage, keep the trash, look for orphans.
//!
//! A duty is a step function: it is told what has come of what it wanted last, and says what it wants next. Everything it remembers is
//! lost when its process ends, and every round begins from what the group's state says. What it wants is carried out by
//! `world/duties.rs`, where messages are late or lost; whatever was not answered in time has come to nothing.

mod collector;
mod keeper;
mod sweeper;

use crate::chunks::ChunkStore;
use crate::event::Millis;
use crate::script::Knobs;
use collector::Collector;
use keeper::Keeper;
use proto::control::{ControlAnswer, ControlQuery};
use proto::meta::{Answer, Command, Outcome, Query};
use std::collections::BTreeMap;
use sweeper::Sweeper;
use types::{ChunkId, NodeId, PlacementMap, Timestamp};

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
}

impl Duty {
    /// All of them.
    pub const ALL: [Duty; 3] = [Duty::Collect, Duty::Keep, Duty::Sweep];

    /// Between two rounds.
    #[must_use]
    pub fn every(self, knobs: &Knobs) -> Millis {
        match self {
            Duty::Collect => knobs.collect,
            // So often that the group's time never moves on by an hour at once while there is a leader.
            Duty::Keep => (KEEP_SECS * 1000 / knobs.pace).clamp(KEEP_MIN, knobs.collect.max(KEEP_MIN)),
            Duty::Sweep => knobs.sweep,
        }
    }

    /// Whether only the group's leader has it.
    #[must_use]
    pub fn is_leaders(self) -> bool {
        self != Duty::Sweep
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
}

impl Duties {
    /// A step.
    pub fn step(&mut self, duty: Duty, got: Got, scene: &Scene<'_>) -> Want {
        match duty {
            Duty::Collect => self.collector.step(got, scene),
            Duty::Keep => self.keeper.step(got, scene),
            Duty::Sweep => self.sweeper.step(got, scene),
        }
    }
}
