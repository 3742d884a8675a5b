//! What the raft thread is told, and how answers come back.

use meta_core::Applied;
use parking_lot::Mutex;
use proto::raft_wire::RaftBatch;
use proto::rpc::GroupError;
use raft_core::{LogStart, RaftMessage};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::oneshot;
use types::{GroupId, LogIndex, NodeId};

/// The answer to a proposal.
pub(crate) type ProposalReply = oneshot::Sender<Result<Applied, GroupError>>;
/// The answer to a read: apply up to this index, then read.
pub(crate) type ReadReply = oneshot::Sender<Result<LogIndex, GroupError>>;

/// A command on its way into the log.
pub(crate) struct Proposal {
    /// An encoded `LogCommand`.
    pub(crate) command: Vec<u8>,
    pub(crate) reply: ProposalReply,
}

/// What was made durable for a group.
pub(crate) struct Persisted {
    pub(crate) group: GroupId,
    pub(crate) number: u64,
    pub(crate) last: Option<LogIndex>,
}

/// What the log thread has made durable and the raft thread has not taken note of yet, in order.
///
/// A follower has promised by the message that left after the write; its raft thread need not be woken to hear of it.
pub(crate) type PersistedQueue = Arc<Mutex<Vec<Persisted>>>;

pub(crate) enum Event {
    Raft {
        from: NodeId,
        batch: RaftBatch,
    },
    Propose {
        group: GroupId,
        proposal: Proposal,
    },
    Read {
        group: GroupId,
        reply: ReadReply,
    },
    /// Something that is waited for was made durable: see [`PersistedQueue`].
    Persisted,
    Truncate {
        group: GroupId,
        durable: LogIndex,
    },
    SnapshotFetched {
        group: GroupId,
        message: Box<RaftMessage>,
        fetched: Option<(LogStart, PathBuf)>,
    },
    /// Have somebody else lead what this node leads.
    HandOver,
    Stop,
}
