//! Our own entry and hard state: what `raft-log` stores and what travels between nodes, free of protobuf.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use types::{LogIndex, ReplicaId, Term};

/// What an entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// Opaque commands; empty data is the entry a new leader begins its term with.
    Normal,
    /// A [`crate::Change`] of the group's members.
    ConfChange,
}

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The term it was proposed in.
    pub term: Term,
    /// Its position.
    pub index: LogIndex,
    /// What it carries.
    pub kind: EntryKind,
    /// The opaque content.
    pub data: Bytes,
}

/// What a voter must never forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HardState {
    /// The newest term it has seen.
    pub term: Term,
    /// Whom it voted for in that term; `ReplicaId(0)` = nobody.
    pub vote: ReplicaId,
    /// The newest index it knows to be committed.
    pub commit: LogIndex,
}

/// The log's past was cut off here: everything up to `index` is in the state machine's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogStart {
    /// Last entry that was cut off.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
}

/// The older part of a group's log, on disk. The group keeps the newest entries in memory itself.
pub trait LogReader: Send + Sync {
    /// Entries `from..to` in order; stops early, but never before the first, once `bytes_max` of data is exceeded.
    ///
    /// # Errors
    /// The log could not be read: the node must stop.
    fn entries(&self, from: LogIndex, to: LogIndex, bytes_max: u64) -> Result<Vec<Entry>, LogReadError>;
}

/// The durable log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the raft log cannot be read: {0}")]
pub struct LogReadError(pub String);
