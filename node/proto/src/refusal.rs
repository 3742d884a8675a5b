//! Why a metadata group says no. A refusal is a result: every replica comes to the same.

use serde::{Deserialize, Serialize};

/// Why a command was not carried out or a query has no answer. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No such bucket in this group (yet).
    #[error("no such bucket")]
    NoSuchBucket,
    /// The bucket is being deleted.
    #[error("the bucket is sealed")]
    BucketSealed,
    /// No such key or name.
    #[error("not found")]
    NotFound,
    /// The inode does not exist any more.
    #[error("stale inode")]
    StaleInode,
    /// The name is taken.
    #[error("already exists")]
    Exists,
    /// A directory was needed.
    #[error("not a directory")]
    NotDirectory,
    /// A directory is in the way.
    #[error("is a directory")]
    IsDirectory,
    /// The directory or bucket has entries.
    #[error("not empty")]
    NotEmpty,
    /// A directory would become its own ancestor, or an argument makes no sense.
    #[error("invalid argument")]
    Invalid,
    /// The two names lie in different buckets.
    #[error("across buckets")]
    CrossBucket,
    /// A name or key over its limit.
    #[error("name too long")]
    NameTooLong,
    /// Size or count over a limit.
    #[error("too large")]
    TooLarge,
    /// More links than a file may have.
    #[error("too many links")]
    TooManyLinks,
    /// No such extended attribute.
    #[error("no such attribute")]
    NoXattr,
    /// If-Match or If-None-Match did not hold.
    #[error("precondition failed")]
    PreconditionFailed,
    /// If-Match on a key that does not exist.
    #[error("precondition on a missing key")]
    PreconditionNotFound,
    /// No such upload.
    #[error("no such upload")]
    NoSuchUpload,
    /// A listed part is missing or its MD5 differs.
    #[error("invalid part")]
    InvalidPart,
    /// The part list is not ascending.
    #[error("invalid part order")]
    InvalidPartOrder,
    /// A part other than the last is too small.
    #[error("part {0} too small")]
    PartTooSmall(u16),
    /// A chunk of another group or session, of a closed epoch, or an id with other bytes; or the extents do not fit.
    #[error("bad chunk: {0}")]
    BadChunk(BadChunk),
    /// Results below `low` are forgotten; the request was answered before, or never came.
    #[error("the request is below the session's window")]
    StaleRequest,
    /// More than `SESSION_WINDOW` requests of the session are unanswered.
    #[error("too many requests of the session in flight")]
    WindowFull,
    /// The session was ended.
    #[error("the session is closed")]
    SessionClosed,
    /// Too many files of the bucket were deleted or overwritten within minutes: its breaker is open, and nothing that would go to the
    /// trash may be removed until an operator lifts it or its time has passed.
    #[error("too many deletions: the breaker of the bucket is open")]
    BreakerOpen,
    /// A record is not what a change expected of it: somebody else was first. Which change of the command it was, counted from 0; the first of
    /// several.
    #[error("the record of change {0} is not as expected")]
    RecordRace(u32),
}

/// What is wrong with a chunk in a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum BadChunk {
    /// Owned by another metadata group.
    #[error("another group's")]
    Group,
    /// Written by another session.
    #[error("another session's")]
    Session,
    /// Its epoch was closed.
    #[error("epoch closed")]
    EpochClosed,
    /// The id is known with another length or hash.
    #[error("the id has other bytes")]
    Conflict,
    /// Fewer than two durable copies.
    #[error("fewer than two copies")]
    UnderAcknowledged,
    /// Extents overlap, leave a gap, or lie outside their chunk or the file.
    #[error("malformed extents")]
    Malformed,
    /// It was deleted for good.
    #[error("condemned")]
    Condemned,
}
