//! What happens when, in an order that the seed alone decides.

use crate::client::ClientId;
use bytes::Bytes;
use chunk_core::read::Piece;
use proto::chunk::ChunkError;
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use raft_core::RaftMessage;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use types::{Blake3Root, ChunkId, NodeId, RequestId};

/// Milliseconds since the run began.
pub type Millis = u64;

/// Whoever sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A storage node.
    Node(NodeId),
    /// A client.
    Client(ClientId),
}

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
    /// A tenth of a second by a node's clock.
    Tick(NodeId, Life),
    /// The oldest write of a node's log is flushed.
    LogFlushed(NodeId, Life),
    /// A chunk is flushed, and whoever sent it is to be told.
    ChunkFlushed {
        /// Where.
        node: NodeId,
        /// Of that life.
        life: Life,
        /// Which.
        chunk: ChunkId,
        /// Its bytes.
        content: Bytes,
        /// Who waits, for which request.
        reply: (ClientId, u64),
    },
    /// A follower has fetched what a snapshot message names.
    Fetched {
        /// The follower.
        node: NodeId,
        /// Of that life.
        life: Life,
        /// The message.
        message: RaftMessage,
    },
    /// A client looks at its clock. Only the newest of these counts.
    Wake(ClientId, u64),
    /// The next fault is due.
    Fault,
    /// A node that was killed starts again.
    Start(NodeId),
    /// A cut between two parties ends.
    Join(Party, Party),
}

/// What travels.
#[derive(Clone, Debug)]
pub enum Message {
    /// An encoded Raft message.
    Raft(Bytes),
    /// A client's call.
    Request(u64, Request),
    /// Its answer.
    Reply(u64, Reply),
}

/// A client's call.
#[derive(Clone, Debug)]
pub enum Request {
    /// To the group.
    Command(RequestId, Command),
    /// To the group.
    Query(Query),
    /// To the chunk store.
    Put(ChunkId, Blake3Root, Bytes),
    /// To the chunk store.
    Get(ChunkId),
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Ask that one, if it is known.
    NotLeader(Option<NodeId>),
    /// Of a command.
    Applied(Result<Outcome, Refusal>),
    /// Of a query.
    Answer(Box<Result<Answer, Refusal>>),
    /// The command may or may not be applied.
    Unknown,
    /// The chunk is durable.
    Stored,
    /// Of the chunk store.
    Refused(ChunkError),
    /// Of the chunk store.
    Piece(Piece),
}

/// What is to come, soonest first; of one moment in the order it was put in.
#[derive(Default)]
pub struct Schedule {
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

impl Schedule {
    /// Adds an event.
    pub fn at(&mut self, when: Millis, event: Event) {
        self.count += 1;
        self.heap.push(Reverse((when, self.count, Slot(event))));
    }

    /// Takes the next.
    pub fn next(&mut self) -> Option<(Millis, Event)> {
        self.heap.pop().map(|Reverse((when, _, Slot(event)))| (when, event))
    }
}
