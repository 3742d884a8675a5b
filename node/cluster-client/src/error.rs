//! What can go wrong between a face and the cluster. Refusals of a state machine are results, not errors.

use types::{ChunkId, FeatureLevel, RetryClass};

/// A command or query got no answer from its group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No leader answered before the deadline; nothing was changed by a query, and a command that was sent may have been
    /// applied only if this is [`CallError::Unknown`].
    #[error("the group did not answer in time")]
    Unavailable,
    /// The command was sent and may or may not have been applied.
    #[error("outcome unknown")]
    Unknown,
    /// The command is larger than a log entry may be.
    #[error("command too large")]
    TooLarge,
    /// The peer answered something that makes no sense, or does not let us in.
    #[error("refused by the cluster: {0}")]
    Rejected(String),
    /// The cluster has not gone to the feature level that this needs. Nothing was asked.
    #[error(
        "it needs feature level {needs}, the cluster is at {at}: `sago cluster finalize` once every node runs the newer program"
    )]
    Level {
        /// The level that it needs.
        needs: FeatureLevel,
        /// The level of the cluster.
        at: FeatureLevel,
    },
}

impl CallError {
    /// What the caller may do about it.
    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        match self {
            CallError::Unavailable => RetryClass::Retry,
            CallError::Unknown => RetryClass::Unknown,
            CallError::TooLarge | CallError::Rejected(_) | CallError::Level { .. } => RetryClass::Fatal,
        }
    }
}

/// A chunk was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// No placement group gave two durable copies before the deadline.
    #[error("no two nodes stored the chunk in time")]
    Unavailable,
    /// The nodes or this process are overloaded; back off.
    #[error("overloaded")]
    Busy,
    /// The disks are full.
    #[error("no space")]
    NoSpace,
    /// Empty or too large.
    #[error("a chunk has 1 to 4194304 bytes")]
    Invalid,
    /// The session was ended by the cluster.
    #[error("the session is closed")]
    SessionClosed,
}

/// A chunk was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No replica answered before the deadline.
    #[error("{0}: no replica answered in time")]
    Unavailable(ChunkId),
    /// Every replica answered, and none has an intact copy.
    #[error("{0}: no intact copy")]
    Lost(ChunkId),
    /// The range lies outside the chunk.
    #[error("{0}: range outside the chunk")]
    Invalid(ChunkId),
}
