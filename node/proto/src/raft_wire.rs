//! Raft traffic between nodes. The messages themselves are opaque here: `raft-core` codes them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use types::{GroupId, LogIndex, Term};

/// Messages of several groups to one node; sent on a long-lived one-way stream so that their order is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftBatch {
    /// Group and coded message.
    pub messages: Vec<(GroupId, Bytes)>,
}

/// Asks for a piece of a group's snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotRequest {
    /// Make or find a checkpoint at or after `index` and list its files.
    Open {
        /// The group.
        group: GroupId,
        /// The least applied index wanted.
        index: LogIndex,
    },
    /// A piece of a file; the answer's body holds up to `len` bytes.
    Read {
        /// The group.
        group: GroupId,
        /// From [`SnapshotReply::Opened`].
        id: u64,
        /// Index into its files.
        file: u32,
        /// First byte.
        offset: u64,
        /// Bytes wanted, at most the largest body.
        len: u32,
    },
    /// The reader is done.
    Close {
        /// The group.
        group: GroupId,
        /// From [`SnapshotReply::Opened`].
        id: u64,
    },
}

/// Its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotReply {
    /// A checkpoint is held open for the reader.
    Opened {
        /// Names it.
        id: u64,
        /// The last entry applied in it.
        index: LogIndex,
        /// That entry's term.
        term: Term,
        /// Its files.
        files: Vec<SnapshotFile>,
    },
    /// The body holds the piece.
    Piece,
    /// Closed.
    Closed,
}

/// A file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    /// Its name, without any folder.
    pub name: String,
    /// Its length.
    pub len: u64,
    /// Its BLAKE3 hash.
    pub hash: [u8; 32],
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SnapshotError {
    /// No such checkpoint, or it was closed.
    #[error("no such snapshot")]
    Gone,
    /// Too many transfers at once.
    #[error("busy")]
    Busy,
    /// This replica is not that far.
    #[error("not applied that far")]
    Behind,
}
