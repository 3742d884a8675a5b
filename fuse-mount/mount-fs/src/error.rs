//! What an operation of the mount can answer instead of a result. `mount::errno` turns it into a number.

use cluster_client::{CallError, ReadError, WriteError};
use proto::meta::{BadChunk, Refusal};

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FsError {
    /// No such name.
    #[error("not found")]
    NotFound,
    /// The inode does not exist any more, or has no name any more where one is needed; look the name up again.
    #[error("stale inode")]
    Stale,
    /// The name is taken.
    #[error("already exists")]
    Exists,
    /// A directory was needed.
    #[error("not a directory")]
    NotDirectory,
    /// A directory is in the way.
    #[error("is a directory")]
    IsDirectory,
    /// The directory has entries.
    #[error("not empty")]
    NotEmpty,
    /// An argument makes no sense.
    #[error("invalid argument")]
    Invalid,
    /// The two names lie in different buckets.
    #[error("across buckets")]
    CrossBucket,
    /// A name longer than 255 bytes or a link target longer than 4095.
    #[error("name too long")]
    NameTooLong,
    /// A file larger than a file may be.
    #[error("file too large")]
    FileTooLarge,
    /// More links than a file may have.
    #[error("too many links")]
    TooManyLinks,
    /// Too many open files.
    #[error("too many open files")]
    TooManyHandles,
    /// No such handle.
    #[error("bad handle")]
    BadHandle,
    /// No such extended attribute.
    #[error("no such attribute")]
    NoXattr,
    /// An extended attribute's value over 64 KiB, or more of them than fit.
    #[error("attribute too large")]
    XattrTooLarge,
    /// Device nodes, pipes and sockets are not kept.
    #[error("not permitted")]
    NotPermitted,
    /// Not kept here: a namespace of extended attributes, a flag of rename.
    #[error("not supported")]
    Unsupported,
    /// The bucket is being deleted.
    #[error("the bucket is sealed")]
    Sealed,
    /// The bucket is protected: its content is encrypted, and only gateways read and write it.
    #[error("the bucket is protected")]
    Protected,
    /// The disks are full.
    #[error("no space")]
    NoSpace,
    /// Too many files were deleted or overwritten within minutes: the bucket's breaker is open.
    #[error("too many deletions: the breaker of the bucket is open")]
    BreakerOpen,
    /// The cluster did not answer before the deadline.
    #[error("the cluster did not answer in time")]
    Unavailable,
    /// A change was sent, and whether it was made did not become known.
    #[error("outcome unknown")]
    OutcomeUnknown,
    /// No intact copy of the data is left.
    #[error("no intact copy of the data")]
    Lost,
    /// The cluster ended this mount's session.
    #[error("the session was ended by the cluster")]
    SessionClosed,
    /// The cluster refused or answered something that makes no sense.
    #[error("unexpected answer of the cluster: {0}")]
    Protocol(String),
}

impl From<Refusal> for FsError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchBucket | Refusal::NotFound => FsError::NotFound,
            Refusal::BucketSealed => FsError::Sealed,
            Refusal::StaleInode => FsError::Stale,
            Refusal::Exists => FsError::Exists,
            Refusal::NotDirectory => FsError::NotDirectory,
            Refusal::IsDirectory => FsError::IsDirectory,
            Refusal::NotEmpty => FsError::NotEmpty,
            Refusal::Invalid => FsError::Invalid,
            Refusal::CrossBucket => FsError::CrossBucket,
            Refusal::NameTooLong => FsError::NameTooLong,
            Refusal::TooLarge => FsError::FileTooLarge,
            Refusal::TooManyLinks => FsError::TooManyLinks,
            Refusal::NoXattr => FsError::NoXattr,
            // What was written under a session that is over cannot be committed.
            Refusal::SessionClosed
            | Refusal::BadChunk(BadChunk::EpochClosed | BadChunk::Session | BadChunk::Condemned) => {
                FsError::SessionClosed
            }
            Refusal::BreakerOpen => FsError::BreakerOpen,
            Refusal::WindowFull => FsError::Unavailable,
            Refusal::StaleRequest => FsError::OutcomeUnknown,
            refusal @ (Refusal::PreconditionFailed
            | Refusal::PreconditionNotFound
            | Refusal::NoSuchUpload
            | Refusal::InvalidPart
            | Refusal::InvalidPartOrder
            | Refusal::PartTooSmall(_)
            | Refusal::RecordRace(_)
            | Refusal::BadChunk(_)) => FsError::Protocol(refusal.to_string()),
        }
    }
}

impl From<CallError> for FsError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unavailable => FsError::Unavailable,
            CallError::Unknown => FsError::OutcomeUnknown,
            CallError::TooLarge | CallError::Level { .. } => FsError::Protocol(error.to_string()),
            CallError::Rejected(why) => FsError::Protocol(why),
        }
    }
}

impl From<WriteError> for FsError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Unavailable | WriteError::Busy => FsError::Unavailable,
            WriteError::NoSpace => FsError::NoSpace,
            WriteError::Invalid => FsError::Protocol(error.to_string()),
            WriteError::SessionClosed => FsError::SessionClosed,
        }
    }
}

impl From<ReadError> for FsError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(_) => FsError::Unavailable,
            ReadError::Lost(_) => FsError::Lost,
            ReadError::Invalid(_) => FsError::Protocol(error.to_string()),
        }
    }
}
