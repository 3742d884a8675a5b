//! Calls to the chunk service of a node.

use serde::{Deserialize, Serialize};
use types::{Blake3Root, ChunkId, ChunkRef, Leaf, NodeId, PgEpoch, PgId, RetryClass, Slot};

/// What the chunk service can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkRequest {
    /// Store a whole replica; the body is the data. Idempotent. Answered by [`ChunkReply::Stored`] once it is durable.
    Put {
        /// The id.
        chunk: ChunkId,
        /// The epoch of the placement group of its slot, as the writer knows it.
        epoch: PgEpoch,
        /// The hash the data must have.
        root: Blake3Root,
    },
    /// Read a range; answered by [`ChunkReply::Data`] with a body of whole leaves that covers it.
    Get {
        /// The id.
        chunk: ChunkId,
        /// First byte wanted.
        offset: u32,
        /// Bytes wanted, at least 1.
        len: u32,
    },
    /// Which of these are here; answered by [`ChunkReply::Stats`]. At most `STAT_CHUNKS_MAX`.
    Stat {
        /// The ids.
        chunks: Vec<ChunkId>,
    },
    /// Fetch a replica from one of `sources` and keep it; answered by [`ChunkReply::Stored`]. Idempotent.
    Replicate {
        /// The chunk.
        chunk: ChunkRef,
        /// The epoch of its placement group.
        epoch: PgEpoch,
        /// Who has it.
        sources: Vec<NodeId>,
    },
    /// Delete replicas, leaving tombstones; answered by [`ChunkReply::Deleted`]. Idempotent. Only for nodes.
    Delete {
        /// The ids, at most `STAT_CHUNKS_MAX`.
        chunks: Vec<ChunkId>,
    },
    /// Say when no put of an older epoch of the placement group is in progress here and none will be taken; answered by
    /// [`ChunkReply::Passed`], or refused with `StaleEpoch` if this node does not know the epoch yet. Only for nodes.
    Barrier {
        /// The group.
        pg: PgId,
        /// The epoch.
        epoch: PgEpoch,
    },
    /// What is known here of the chunks of a slot, by id; answered by [`ChunkReply::Listed`]. Only for nodes.
    List {
        /// The slot.
        slot: Slot,
        /// Ids above this one; all if `None`.
        after: Option<ChunkId>,
        /// At most so many, 1..=`LIST_CHUNKS_MAX`.
        max: u32,
    },
    /// What the node sent did not verify: look at the replica again. Believed only if the node finds it damaged itself; answered by
    /// [`ChunkReply::Checked`].
    Report {
        /// The id.
        chunk: ChunkId,
    },
}

/// Chunks of one `List`.
pub const LIST_CHUNKS_MAX: usize = 4096;

/// What a node knows of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedChunk {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its length and hash, or `None` if it was deleted.
    pub live: Option<(u32, Blake3Root)>,
}

/// Chunks named in one `Stat` or `Delete`.
pub const STAT_CHUNKS_MAX: usize = 1024;

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkReply {
    /// The replica is on stable storage.
    Stored,
    /// The body holds whole leaves.
    Data {
        /// Number of the leaf the body begins with.
        first_leaf: u32,
        /// Length of the whole chunk.
        chunk_len: u32,
        /// Hashes of all leaves of the chunk; empty if it has one.
        leaves: Vec<Leaf>,
    },
    /// One entry for each id asked for: length and hash, if it is here.
    Stats(Vec<Option<(u32, Blake3Root)>>),
    /// Gone, or never here.
    Deleted,
    /// The barrier is passed.
    Passed,
    /// What is known of the chunks of the slot, ascending. Fewer than asked for only at the end.
    Listed(Vec<ListedChunk>),
    /// It was looked at again.
    Checked {
        /// Whether a replica here is damaged. It is quarantined then and will be written anew.
        damaged: bool,
    },
}

/// Why it refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ChunkError {
    /// The placement group has moved on; refresh the map.
    #[error("stale epoch, the group is at {current}")]
    StaleEpoch {
        /// What the node knows.
        current: PgEpoch,
    },
    /// This node is no member of the chunk's placement group.
    #[error("not a member of the placement group")]
    NotMember,
    /// The disk is full; nothing was kept.
    #[error("no space")]
    NoSpace,
    /// Too much is in flight; nothing was kept. Ask again after a pause.
    #[error("busy")]
    Busy,
    /// The data does not have the hash it came with; nothing was kept.
    #[error("data does not match its hash")]
    HashMismatch,
    /// Empty, or larger than a chunk may be, or a malformed id.
    #[error("invalid chunk")]
    Invalid,
    /// The id is here already with other bytes.
    #[error("the id is taken by other bytes")]
    Conflict,
    /// The chunk was deleted; the id cannot be written again.
    #[error("deleted")]
    Deleted,
    /// Not here.
    #[error("not found")]
    NotFound,
    /// The replica here is damaged; another may be right.
    #[error("corrupt replica")]
    Corrupt,
    /// The disk failed and takes no more requests.
    #[error("the disk is fenced after an error")]
    Fenced,
    /// None of the sources gave the chunk.
    #[error("no source had the chunk")]
    NoSource,
    /// The node has lost touch with the control group; it takes no changes, and gives what it has.
    #[error("the node has no lease")]
    NoLease,
    /// The disk is too full for copies from other nodes; clients may still write.
    #[error("too full for copies")]
    BackfillFull,
}

impl ChunkError {
    /// What the caller may do about it.
    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        match self {
            ChunkError::StaleEpoch { .. } | ChunkError::NotMember => RetryClass::RefreshLeader,
            ChunkError::Busy => RetryClass::Retry,
            ChunkError::NoSpace
            | ChunkError::NotFound
            | ChunkError::Corrupt
            | ChunkError::Fenced
            | ChunkError::NoSource
            | ChunkError::NoLease
            | ChunkError::BackfillFull => RetryClass::RetryElsewhere,
            ChunkError::HashMismatch | ChunkError::Invalid | ChunkError::Conflict | ChunkError::Deleted => {
                RetryClass::Fatal
            }
        }
    }
}
