//! What can go wrong, by what the caller was doing. The face maps these to its own codes in one place.

use crate::checksum::ChecksumAlgorithm;
use crate::seal::SealError;
use cluster_client::{CallError, ReadError, WriteError};
use proto::meta::{BadChunk, Refusal};
use types::{FeatureLevel, Timestamp};

/// The cluster did not do its part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// Nobody answered in time, or the outcome is not known. May be asked again.
    #[error("the cluster did not answer in time")]
    Unavailable,
    /// Too much is in flight, here or there. May be asked again after a pause.
    #[error("overloaded")]
    Busy,
    /// The disks are full.
    #[error("no space")]
    NoSpace,
    /// Too many objects were deleted or overwritten within minutes: the bucket's breaker is open. May be asked again once an operator
    /// has lifted it or its time has passed.
    #[error("too many deletions: the breaker of the bucket is open")]
    BreakerOpen,
    /// No intact copy of the content is left.
    #[error("content lost: {0}")]
    Lost(ReadError),
    /// The cluster has not gone to the feature level that this needs.
    #[error(
        "it needs feature level {needs}, the cluster is at {at}: `sago cluster finalize` once every node runs the newer program"
    )]
    Level {
        /// The level that it needs.
        needs: FeatureLevel,
        /// The level of the cluster.
        at: FeatureLevel,
    },
    /// The cluster answered something that this program does not understand.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
}

impl From<CallError> for ClusterError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unavailable | CallError::Unknown => ClusterError::Unavailable,
            CallError::Level { needs, at } => ClusterError::Level { needs, at },
            CallError::TooLarge | CallError::Rejected(_) => ClusterError::Unexpected(error.to_string()),
        }
    }
}

impl From<WriteError> for ClusterError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Unavailable | WriteError::SessionClosed => ClusterError::Unavailable,
            WriteError::Busy => ClusterError::Busy,
            WriteError::NoSpace => ClusterError::NoSpace,
            WriteError::Invalid => ClusterError::Unexpected(error.to_string()),
        }
    }
}

impl From<ReadError> for ClusterError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(_) => ClusterError::Unavailable,
            ReadError::Lost(_) => ClusterError::Lost(error),
            ReadError::Invalid(_) => ClusterError::Unexpected(error.to_string()),
        }
    }
}

/// A request about a bucket was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// No such bucket.
    #[error("no such bucket")]
    NoSuchBucket,
    /// It belongs to somebody else.
    #[error("access denied")]
    AccessDenied,
    /// It has objects or uploads.
    #[error("the bucket is not empty")]
    NotEmpty,
    /// The name is taken, by the caller.
    #[error("the bucket is yours already")]
    ExistsYours,
    /// The name is taken, by somebody else.
    #[error("the bucket exists")]
    Exists,
    /// Not a bucket's name.
    #[error("invalid bucket name")]
    InvalidName,
    /// No more buckets can be made.
    #[error("too many buckets")]
    TooMany,
    /// The cluster's fault.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl From<CallError> for BucketError {
    fn from(error: CallError) -> Self {
        BucketError::Cluster(error.into())
    }
}

/// A request body could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It ended before its declared length.
    #[error("the body is incomplete")]
    Incomplete,
    /// It goes on after its declared length.
    #[error("the body is longer than declared")]
    TooLong,
    /// Nothing came for too long.
    #[error("the body stalled")]
    Stalled,
    /// Its framing is not what it should be.
    #[error("the body is malformed")]
    Malformed,
    /// The signature of a piece does not match.
    #[error("the body's signature does not match")]
    Signature,
    /// It does not have the SHA-256 that was signed.
    #[error("the body does not have its signed hash")]
    PayloadHash,
    /// Too many bodies are being read.
    #[error("too many bodies at once")]
    Busy,
}

/// An upload was refused before it became visible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The body.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Larger than one request may be.
    #[error("the body is too large")]
    TooLarge,
    /// The bytes do not have the MD5 that came with them.
    #[error("the content does not have its MD5")]
    Md5Mismatch,
    /// The bytes do not have the checksum that came with them.
    #[error("the content does not have its checksum {0}")]
    ChecksumMismatch(ChecksumAlgorithm),
    /// A trailer with the checksum was announced and did not come, or is no checksum.
    #[error("the trailer with the checksum {0} is missing or malformed")]
    ChecksumMissing(ChecksumAlgorithm),
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The cluster's fault.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// What a client needs to go on using its copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    /// Entity tag without quotes.
    pub etag: String,
    /// Last change.
    pub mtime: Timestamp,
}

/// A request about an object was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Its bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// No such key.
    #[error("no such key")]
    NoSuchKey,
    /// The key is longer than `KEY_BYTES_MAX`.
    #[error("the key is too long")]
    KeyTooLong,
    /// The key is empty or cannot be stored.
    #[error("invalid key")]
    InvalidKey,
    /// User metadata over `USER_METADATA_BYTES_MAX`.
    #[error("the metadata is too large")]
    MetadataTooLarge,
    /// A name or value of the metadata cannot be kept.
    #[error("invalid metadata")]
    InvalidMetadata,
    /// A condition did not hold.
    #[error("precondition failed")]
    PreconditionFailed,
    /// The client's copy is still good.
    #[error("not modified")]
    NotModified(Validators),
    /// The range lies behind the end.
    #[error("range not satisfiable")]
    RangeNotSatisfiable {
        /// The object's size.
        size: u64,
    },
    /// Part numbers of a finished object are not kept; only 1 of an object put in one piece is known.
    #[error("no such part")]
    NoSuchPart,
    /// The source of a copy is the destination, and nothing would change.
    #[error("the copy would change nothing")]
    CopyOntoItself,
    /// The source of a copy is larger than one request may copy.
    #[error("the source is too large to copy in one request")]
    SourceTooLarge,
    /// The object was changed while it was being read.
    #[error("the object changed while it was read")]
    Changed,
    /// Its bucket is encrypted, and this is in the way.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What was uploaded.
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl From<ClusterError> for ObjectError {
    fn from(error: ClusterError) -> Self {
        ObjectError::Bucket(BucketError::Cluster(error))
    }
}

impl From<CallError> for ObjectError {
    fn from(error: CallError) -> Self {
        ClusterError::from(error).into()
    }
}

/// A request about a multipart upload was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// What it has in common with objects.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// No such upload of that key.
    #[error("no such upload")]
    NoSuchUpload,
    /// A part number outside 1..=`PARTS_MAX`.
    #[error("invalid part number")]
    InvalidPartNumber,
    /// A listed part is missing, or is not the one named.
    #[error("invalid part")]
    InvalidPart,
    /// The list is not ascending.
    #[error("the parts are not in order")]
    InvalidPartOrder,
    /// A part other than the last is too small.
    #[error("part {0} is too small")]
    PartTooSmall(u16),
    /// The list has no part, or more than there can be.
    #[error("no parts, or too many")]
    InvalidPartList,
    /// The checksum of an upload or of one of its parts is of another kind than was agreed.
    #[error("the checksum is not of the upload's kind")]
    ChecksumKind,
    /// The size named for the whole object is not the sum of the parts.
    #[error("the object does not have the size named")]
    SizeMismatch,
}

impl From<BucketError> for MultipartError {
    fn from(error: BucketError) -> Self {
        MultipartError::Object(error.into())
    }
}

impl From<UploadError> for MultipartError {
    fn from(error: UploadError) -> Self {
        MultipartError::Object(error.into())
    }
}

impl From<SealError> for MultipartError {
    fn from(error: SealError) -> Self {
        MultipartError::Object(error.into())
    }
}

impl From<ClusterError> for MultipartError {
    fn from(error: ClusterError) -> Self {
        MultipartError::Object(error.into())
    }
}

/// A refusal that only a mistake of this program, or a state machine of another version, can bring about; and those
/// that pass with time.
pub(crate) fn unexpected(refusal: &Refusal) -> ClusterError {
    match refusal {
        // The session was renewed under our feet, and what was written under the old one is refused: the client may send the
        // request again.
        Refusal::SessionClosed
        | Refusal::StaleRequest
        | Refusal::BadChunk(BadChunk::EpochClosed | BadChunk::Session | BadChunk::Condemned) => {
            ClusterError::Unavailable
        }
        Refusal::WindowFull => ClusterError::Busy,
        Refusal::BreakerOpen => ClusterError::BreakerOpen,
        other => ClusterError::Unexpected(other.to_string()),
    }
}

/// What a refusal means for an object.
pub(crate) fn object_refusal(refusal: &Refusal) -> ObjectError {
    match refusal {
        Refusal::NoSuchBucket | Refusal::BucketSealed => BucketError::NoSuchBucket.into(),
        Refusal::NotFound | Refusal::StaleInode | Refusal::PreconditionNotFound => ObjectError::NoSuchKey,
        Refusal::PreconditionFailed => ObjectError::PreconditionFailed,
        Refusal::NameTooLong => ObjectError::KeyTooLong,
        Refusal::Invalid => ObjectError::InvalidKey,
        other => unexpected(other).into(),
    }
}

/// What a refusal means for an upload.
pub(crate) fn multipart_refusal(refusal: &Refusal) -> MultipartError {
    match refusal {
        Refusal::NoSuchUpload => MultipartError::NoSuchUpload,
        Refusal::InvalidPart => MultipartError::InvalidPart,
        Refusal::InvalidPartOrder => MultipartError::InvalidPartOrder,
        Refusal::PartTooSmall(part) => MultipartError::PartTooSmall(*part),
        other => object_refusal(other).into(),
    }
}
