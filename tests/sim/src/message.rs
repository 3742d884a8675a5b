//! What travels between nodes and clients.

use crate::trace::Trace;
use bytes::Bytes;
use chunk_core::read::Piece;
use proto::chunk::{ChunkError, ListedChunk};
use proto::control::{ControlReply, ControlRequest};
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use std::sync::Arc;
use types::{
    Blake3Root, ChunkId, ChunkRef, GroupId, Incarnation, LogIndex, NodeId, PgEpoch, PgId, PlacementMap, ReplicaId,
    RequestId, Slot, Timestamp,
};

/// Whoever sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A storage node.
    Node(NodeId),
    /// A client, counted from 0.
    Client(u64),
}

impl Party {
    /// A number of its own.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Party::Node(node) => node.0 << 1,
            Party::Client(client) => client << 1 | 1,
        }
    }
}

/// Who waits for an answer, and under which number.
pub type Waiter = (Party, u64);

/// What travels.
#[derive(Clone, Debug)]
pub enum Message {
    /// An encoded Raft message of a group.
    Raft(GroupId, Bytes),
    /// A call.
    Request(u64, Request),
    /// Its answer.
    Reply(u64, Reply),
}

/// A call.
#[derive(Clone, Debug)]
pub enum Request {
    /// To the group.
    Command(RequestId, Command),
    /// To the group.
    Query(Query),
    /// To the chunk store: keep a replica.
    Put(ChunkId, PgEpoch, Blake3Root, Bytes),
    /// To the chunk store: read a replica.
    Get(ChunkId),
    /// To the chunk store: fetch a replica from one of these and keep it, under that epoch.
    Replicate(ChunkRef, PgEpoch, Vec<NodeId>),
    /// To the chunk store: delete these for good.
    Delete(Vec<ChunkId>),
    /// The placement map, as that node knows it.
    Map,
    /// To the control group.
    Control(ControlRequest),
    /// The wall time, by that node's clock.
    Clock,
    /// I am alive, in that life; and whether my disk is dead.
    Heartbeat(Incarnation, bool),
    /// To the chunk store: is there no put of an older epoch left, and will there be none?
    Barrier(PgId, PgEpoch),
    /// To the chunk store: what is known of so many chunks of a slot behind an id.
    List(Slot, Option<ChunkId>, usize),
    /// To the chunk store: which of these are there.
    Stat(Vec<ChunkId>),
    /// To a group: who belongs to it.
    Members(GroupId),
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Ask that one, if it is known.
    NotLeader(Option<NodeId>),
    /// Of a command; it stands in the log there.
    Applied(LogIndex, Result<Outcome, Refusal>),
    /// Of a query; that much was applied.
    Answer(LogIndex, Box<Result<Answer, Refusal>>),
    /// The command may or may not be applied.
    Unknown,
    /// The chunk is durable.
    Stored,
    /// Of the chunk store.
    Refused(ChunkError),
    /// Of the chunk store.
    Piece(Piece),
    /// The chunks are durably gone, or never were there.
    Deleted,
    /// The placement map.
    Map(Arc<PlacementMap>),
    /// Of the control group.
    Control(ControlReply),
    /// The wall time.
    Clock(Timestamp),
    /// The heartbeat was heard; by the leader of the control group, which decides by the map of that version, or by another.
    Heard(Option<u64>),
    /// Of the chunk store: there is none, and will be none.
    Passed,
    /// Of the chunk store.
    Listed(Vec<ListedChunk>),
    /// Of the chunk store: length and hash of each that is there.
    Stats(Vec<Option<(u32, Blake3Root)>>),
    /// All replicas of the group.
    Members(Vec<ReplicaId>),
    /// You were removed, and nobody listens to you any more.
    Removed,
}

impl Message {
    /// Adds it to the trace.
    pub fn note<'t>(&self, trace: &'t mut Trace) -> &'t mut Trace {
        match self {
            Message::Raft(group, bytes) => trace.add(1).add(u64::from(group.0)).bytes(bytes),
            Message::Request(number, request) => {
                trace.add(2).add(*number);
                request.note(trace)
            }
            Message::Reply(number, reply) => {
                trace.add(3).add(*number);
                reply.note(trace)
            }
        }
    }
}

impl Request {
    fn note<'t>(&self, trace: &'t mut Trace) -> &'t mut Trace {
        match self {
            Request::Command(id, command) => trace.add(1).add(id.seq).bytes(&proto::encode(command)),
            Request::Query(query) => trace.add(2).bytes(&proto::encode(query)),
            Request::Put(chunk, epoch, root, _) => trace.add(3).add(chunk.0 as u64).add(epoch.0).bytes(&root.0),
            Request::Get(chunk) => trace.add(4).add(chunk.0 as u64),
            Request::Replicate(chunk, epoch, sources) => {
                trace.add(5).add(chunk.id.0 as u64).add(epoch.0).add(sources.len() as u64)
            }
            Request::Map => trace.add(6),
            Request::Delete(chunks) => trace.add(7).bytes(&proto::encode(chunks)),
            Request::Control(request) => trace.add(8).bytes(&proto::encode(request)),
            Request::Clock => trace.add(9),
            Request::Heartbeat(incarnation, ails) => trace.add(10).add(incarnation.0).add(u64::from(*ails)),
            Request::Barrier(pg, epoch) => trace.add(11).add(u64::from(pg.0)).add(epoch.0),
            Request::List(slot, after, _) => {
                trace.add(12).add(u64::from(slot.0)).add(after.map_or(0, |after| after.0 as u64))
            }
            Request::Stat(chunks) => trace.add(13).bytes(&proto::encode(chunks)),
            Request::Members(group) => trace.add(14).add(u64::from(group.0)),
        }
    }
}

impl Reply {
    fn note<'t>(&self, trace: &'t mut Trace) -> &'t mut Trace {
        match self {
            Reply::NotLeader(leader) => trace.add(1).add(leader.map_or(0, |node| node.0)),
            Reply::Applied(index, result) => trace.add(2).add(index.0).bytes(&proto::encode(result)),
            Reply::Answer(index, answer) => trace.add(3).add(index.0).bytes(&proto::encode(answer.as_ref())),
            Reply::Unknown => trace.add(4),
            Reply::Stored => trace.add(5),
            Reply::Refused(error) => trace.add(6).bytes(&proto::encode(error)),
            Reply::Piece(piece) => trace.add(7).bytes(&piece.data),
            Reply::Map(map) => trace.add(8).add(map.version),
            Reply::Deleted => trace.add(9),
            Reply::Control(reply) => trace.add(10).bytes(&proto::encode(reply)),
            Reply::Clock(time) => trace.add(11).add(time.0 as u64),
            Reply::Heard(decided_by) => trace.add(12).add(decided_by.map_or(0, |version| version + 1)),
            Reply::Passed => trace.add(13),
            Reply::Listed(rows) => trace.add(14).bytes(&proto::encode(rows)),
            Reply::Stats(stats) => trace.add(15).bytes(&proto::encode(stats)),
            Reply::Members(members) => trace.add(16).bytes(&proto::encode(members)),
            Reply::Removed => trace.add(17),
        }
    }
}
