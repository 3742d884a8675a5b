//! What the raft thread is told, and how answers come back.

use crate::group::GroupDriver;
use meta_core::Applied;
use parking_lot::Mutex;
use proto::raft_wire::RaftBatch;
use proto::rpc::GroupError;
use raft_core::{RaftMessage, StateHash, StatePoint};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use types::{GroupId, LogIndex, NodeId, ReplicaId};

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
    /// How long the flush took.
    pub(crate) took: Duration,
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
        fetched: Option<(StatePoint, PathBuf)>,
    },
    /// Have somebody else lead what this node leads.
    HandOver,
    /// Have somebody else lead this group, if this node leads it.
    HandOverGroup(GroupId),
    /// Who shall vote in the groups.
    Wanted(BTreeMap<GroupId, Vec<NodeId>>),
    /// A replica was made, or was not.
    ReplicaMade {
        group: GroupId,
        driver: Option<Box<GroupDriver>>,
    },
    /// Let this replica go: its group has, for good.
    LetGo {
        group: GroupId,
        replica: ReplicaId,
    },
    /// The hash of a group's state, to be compared with those of its other replicas.
    Hashed {
        group: GroupId,
        state: StateHash,
    },
    /// Nothing is left of the group's replica.
    ReplicaGone {
        group: GroupId,
    },
    Stop,
}
