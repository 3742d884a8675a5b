//! What happens when, in an order that the seed alone decides.

use crate::duty::Duty;
use crate::message::{Message, Party, Waiter};
use crate::trace::Trace;
use proto::control::ControlCommand;
use raft_core::RaftMessage;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use types::{ChunkId, GroupId, NodeId};

/// Milliseconds since the run began.
pub type Millis = u64;

/// One process life of a node: what was meant for an earlier one is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life(pub u64);

/// Something to happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message arrives.
    Deliver {
        /// Sender.
        from: Party,
        /// Receiver.
        to: Party,
        /// What.
        message: Message,
    },
    /// A tick by a node's clock.
    Tick(NodeId, Life),
    /// The oldest write of a node's log is flushed.
    LogFlushed(NodeId, Life, GroupId),
    /// A chunk is flushed, and whoever sent it is to be told.
    ChunkFlushed(NodeId, Life, ChunkId),
    /// Chunks are durably deleted, and whoever asked for that is to be told.
    ChunksDeleted(NodeId, Life, Waiter, Vec<ChunkId>),
    /// A round of a duty is due.
    Round(NodeId, Life, Duty),
    /// What was asked under this number for a duty is given up.
    ErrandLate(NodeId, Life, Duty, u64),
    /// A node that leads the control group looks which sessions have been silent for a lease.
    Leases(NodeId, Life),
    /// The source that was asked for a copy under this number is given up.
    FetchLate(NodeId, Life, u64),
    /// A follower has fetched what a snapshot message names.
    Fetched(NodeId, Life, GroupId, RaftMessage),
    /// A node looks at all its chunks.
    Scrub(NodeId, Life),
    /// A node looks for a newer placement map; at regular times, or once since it was shown that there is one.
    Look(NodeId, Life, bool),
    /// A node says that it is alive, and looks who else is, if it leads the control group.
    Beat(NodeId, Life),
    /// An operator gives the control group a command, and again that often if nobody leads.
    Operate(ControlCommand, u32),
    /// An operator says that a disk takes more or less than others.
    Reweigh,
    /// An operator looks whether a node that is being emptied is empty, and removes it then.
    Remove(NodeId),
    /// A node whose disk is dead is started anew.
    Mend(NodeId),
    /// A client looks at its clock. Only the newest of these counts.
    Wake(u64, u64),
    /// The fault of that place in the script is due.
    Fault(usize),
    /// A node that was killed starts again.
    Start(NodeId),
    /// The power of a node goes, as part of a fault that began before.
    PowerGoes(NodeId),
    /// A cut between two parties begins.
    Part(Party, Party),
    /// A cut between two parties ends.
    Join(Party, Party),
    /// The storm of losses is over.
    StormEnds,
    /// Two of three voters are lost for good.
    Bereave(Bereavement),
    /// An operator recovers what this node is the last voter of.
    Recover(NodeId),
}

/// A loss of two of three voters that is about to be.
#[derive(Clone, Copy, Debug)]
pub struct Bereavement {
    /// The group.
    pub group: GroupId,
    /// The voter that is left.
    pub survivor: NodeId,
    /// Until when it is tried again while it must not be.
    pub until: Millis,
    /// Decides the rest.
    pub dice: u64,
}

impl Event {
    /// The node that has to be awake for it.
    #[must_use]
    pub fn concerns(&self) -> Option<NodeId> {
        match self {
            Event::Deliver { to: Party::Node(node), .. }
            | Event::Tick(node, _)
            | Event::LogFlushed(node, ..)
            | Event::ChunkFlushed(node, ..)
            | Event::ChunksDeleted(node, ..)
            | Event::Leases(node, _)
            | Event::Round(node, ..)
            | Event::ErrandLate(node, ..)
            | Event::Fetched(node, ..)
            | Event::FetchLate(node, ..)
            | Event::Scrub(node, _)
            | Event::Look(node, ..)
            | Event::Beat(node, _) => Some(*node),
            _ => None,
        }
    }

    /// Adds what happens to the trace.
    pub fn note<'t>(&self, trace: &'t mut Trace) -> &'t mut Trace {
        match self {
            Event::Deliver { from, to, message } => {
                trace.add(1).add(from.number()).add(to.number());
                message.note(trace)
            }
            Event::Tick(node, life) => trace.add(2).add(node.0).add(life.0),
            Event::LogFlushed(node, life, group) => trace.add(3).add(node.0).add(life.0).add(u64::from(group.0)),
            Event::ChunkFlushed(node, _, chunk) => trace.add(4).add(node.0).add(chunk.0 as u64),
            Event::Fetched(node, _, group, message) => {
                trace.add(5).add(node.0).add(u64::from(group.0)).add(message.index.0)
            }
            Event::Scrub(node, _) => trace.add(6).add(node.0),
            Event::Look(node, life, again) => trace.add(7).add(node.0).add(life.0).add(u64::from(*again)),
            Event::Beat(node, life) => trace.add(8).add(node.0).add(life.0),
            Event::Wake(client, count) => trace.add(9).add(*client).add(*count),
            Event::Fault(place) => trace.add(10).add(*place as u64),
            Event::Start(node) => trace.add(11).add(node.0),
            Event::PowerGoes(node) => trace.add(12).add(node.0),
            Event::Part(one, other) => trace.add(13).add(one.number()).add(other.number()),
            Event::Join(one, other) => trace.add(14).add(one.number()).add(other.number()),
            Event::StormEnds => trace.add(15),
            Event::ChunksDeleted(node, _, _, chunks) => trace.add(16).add(node.0).bytes(&proto::encode(chunks)),
            Event::Round(node, _, duty) => trace.add(17).add(node.0).add(*duty as u64),
            Event::ErrandLate(node, _, duty, number) => trace.add(18).add(node.0).add(*duty as u64).add(*number),
            Event::Leases(node, life) => trace.add(19).add(node.0).add(life.0),
            Event::Operate(command, left) => trace.add(20).add(u64::from(*left)).bytes(&proto::encode(command)),
            Event::Reweigh => trace.add(21),
            Event::Mend(node) => trace.add(22).add(node.0),
            Event::Remove(node) => trace.add(24).add(node.0),
            Event::Bereave(loss) => trace.add(25).add(loss.survivor.0).add(u64::from(loss.group.0)),
            Event::Recover(node) => trace.add(26).add(node.0),
            Event::FetchLate(node, _, number) => trace.add(23).add(node.0).add(*number),
        }
    }
}

/// What is to come, soonest first; of one moment in the order it was put in.
#[derive(Default)]
pub struct Agenda {
    heap: BinaryHeap<Reverse<(Millis, u64, Slot)>>,
    count: u64,
}

/// Keeps an event out of the comparison.
struct Slot(Event);

impl PartialEq for Slot {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Slot {}
impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Slot {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl Agenda {
    /// Adds an event.
    pub fn at(&mut self, when: Millis, event: Event) {
        self.count += 1;
        self.heap.push(Reverse((when, self.count, Slot(event))));
    }

    /// Takes the next, unless it is later than `end`.
    pub fn next(&mut self, end: Millis) -> Option<(Millis, Event)> {
        if self.heap.peek().is_none_or(|Reverse((when, ..))| *when > end) {
            return None;
        }
        self.heap.pop().map(|Reverse((when, _, Slot(event)))| (when, event))
    }
}
