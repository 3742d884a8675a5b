//! Calls to a metadata group: commands change it, queries read it, refusals are results.

mod query;

use crate::object::{Attr, ETag, FileKind, NewContent, NewExtent, Precondition, Xattr};
use crate::record::{RecordChange, Revision};
pub use crate::refusal::{BadChunk, Refusal};
use crate::trash::{BucketOptions, NameTaken, Purged, Restored, TrashId};
use bytes::Bytes;
pub use query::*;
use serde::{Deserialize, Serialize};
use types::{BucketId, ChunkId, ChunkRef, GroupId, Ino, RequestId, SessionId, Timestamp, UploadId, WriterEpoch};

/// A call to a metadata group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetaRequest {
    /// The group.
    pub group: GroupId,
    /// What is wanted.
    pub op: MetaOp,
}

/// What is wanted of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MetaOp {
    /// A change; applied at most once for its id.
    Command(RequestId, Command),
    /// A linearizable read.
    Query(Query),
    /// A read of whatever this replica has applied; may be stale.
    StaleQuery(Query),
}

/// The answer of a group. A refusal is a result as good as any other: all replicas come to the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MetaReply {
    /// To a command.
    Applied(Result<Outcome, Refusal>),
    /// To a query.
    Answer(Result<Box<Answer>, Refusal>),
}

/// A change of the namespace of a metadata group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Make the root of a bucket if it is not there. Idempotent.
    EnsureBucket {
        /// The bucket.
        bucket: BucketId,
    },
    /// Refuse all further changes of a bucket if it has no entries and no uploads; else [`Refusal::NotEmpty`].
    SealBucket {
        /// The bucket.
        bucket: BucketId,
    },

    /// Make an object visible; what stood there goes to the trash. -> [`Outcome::Object`]
    PutObject {
        /// The bucket.
        bucket: BucketId,
        /// The key; a key that ends in `/` is a lasting directory that may carry content.
        key: Bytes,
        /// Its content.
        content: NewContent,
        /// Its entity tag.
        etag: ETag,
        /// Its metadata; replaces what stood there.
        xattrs: Vec<Xattr>,
        /// What must hold.
        precondition: Precondition,
    },
    /// Delete objects; missing ones are no error. -> [`Outcome::Deleted`], one flag a key
    DeleteObjects {
        /// The bucket.
        bucket: BucketId,
        /// At most 1,000 keys. A key may be refused with [`Refusal::TooLarge`] when those before it have changed too many
        /// rows (thousands of deep directories); ask again for it.
        keys: Vec<Bytes>,
        /// Judged for each key.
        precondition: Precondition,
    },
    /// Copy within the group by reference. -> [`Outcome::Object`]
    CopyObject {
        /// From.
        source_bucket: BucketId,
        /// From.
        source_key: Bytes,
        /// What must hold of the source.
        source_precondition: Precondition,
        /// To.
        bucket: BucketId,
        /// To.
        key: Bytes,
        /// Metadata for the copy; `None` copies the source's.
        xattrs: Option<Vec<Xattr>>,
        /// What must hold of the destination.
        precondition: Precondition,
    },

    /// Begin a multipart upload. -> [`Outcome::Done`]
    CreateUpload {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: Bytes,
        /// Chosen at random by the caller.
        upload: UploadId,
        /// Metadata of the object to be.
        xattrs: Vec<Xattr>,
    },
    /// Store a part; one of the same number is replaced. Its bytes must lie in chunks: inline bytes are refused with
    /// [`Refusal::Invalid`], since they could not stand in the middle of an object. -> [`Outcome::Done`]
    PutPart {
        /// The bucket.
        bucket: BucketId,
        /// The key the upload was begun with.
        key: Bytes,
        /// The upload.
        upload: UploadId,
        /// 1..=`PARTS_MAX`.
        part: u16,
        /// Its content.
        content: NewContent,
        /// The MD5 of its bytes.
        md5: [u8; 16],
        /// Its checksums, as `trusted.s3.checksum-*`.
        xattrs: Vec<Xattr>,
    },
    /// Make the object of the listed parts visible. -> [`Outcome::Object`]
    CompleteUpload {
        /// The bucket.
        bucket: BucketId,
        /// The key the upload was begun with.
        key: Bytes,
        /// The upload.
        upload: UploadId,
        /// Part numbers in ascending order with the MD5 the client names for each.
        parts: Vec<(u16, [u8; 16])>,
        /// The entity tag, computed by the caller from the MD5s.
        etag: ETag,
        /// Added to the metadata given at the beginning (composite checksums).
        xattrs: Vec<Xattr>,
        /// Smallest size of all parts but the last.
        part_bytes_min: u64,
        /// What must hold of the key.
        precondition: Precondition,
    },
    /// Forget an upload and its parts. -> [`Outcome::Done`]
    AbortUpload {
        /// The bucket.
        bucket: BucketId,
        /// The key the upload was begun with.
        key: Bytes,
        /// The upload.
        upload: UploadId,
    },

    /// Make a file, directory or symbolic link. -> [`Outcome::Created`]
    Create {
        /// The directory.
        parent: Ino,
        /// The name, without `/`, not empty, not `.` or `..`.
        name: Bytes,
        /// What to make.
        kind: FileKind,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// First content (a symbolic link's target is inline content). Empty for directories.
        content: NewContent,
        /// Fail with [`Refusal::Exists`] if the name is taken; otherwise the file that stands there is returned unchanged.
        exclusive: bool,
    },
    /// Give a file another name. -> [`Outcome::Attr`] of the file
    Link {
        /// The file.
        ino: Ino,
        /// The directory of the new name.
        parent: Ino,
        /// The new name.
        name: Bytes,
    },
    /// Remove a file's name; the last one moves the file to the trash. Open handles go on. Where an object and a directory share
    /// the name, the object is meant. -> [`Outcome::Attr`] of the directory
    Unlink {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Bytes,
    },
    /// Remove an empty directory. -> [`Outcome::Attr`] of the one it was in
    Rmdir {
        /// The directory it stands in.
        parent: Ino,
        /// Its name.
        name: Bytes,
    },
    /// Rename atomically; what stood at the target goes to the trash. -> [`Outcome::Done`]
    Rename {
        /// From.
        parent: Ino,
        /// From.
        name: Bytes,
        /// To.
        new_parent: Ino,
        /// To.
        new_name: Bytes,
        /// Refuse with [`Refusal::Exists`] if the target is taken.
        no_replace: bool,
    },
    /// Change attributes. A smaller size cuts, a larger one leaves a hole. -> [`Outcome::Attr`]
    SetAttr {
        /// The inode.
        ino: Ino,
        /// New permission bits.
        mode: Option<u32>,
        /// New owner.
        uid: Option<u32>,
        /// New group.
        gid: Option<u32>,
        /// New size.
        size: Option<u64>,
        /// New access time.
        atime: Option<SetTime>,
        /// New modification time.
        mtime: Option<SetTime>,
    },
    /// Put bytes into a file. Works on unlinked files too. -> [`Outcome::Attr`]
    Write {
        /// The file.
        ino: Ino,
        /// `Some` replaces the whole content by these bytes (at most `INLINE_BYTES_MAX`) before the extents are laid over it.
        inline: Option<Bytes>,
        /// Extents to lay over the content, in order, without overlap.
        extents: Vec<NewExtent>,
        /// The extents' file offsets are relative to the end of the file as it is when this is applied.
        append: bool,
    },
    /// Set an extended attribute. -> [`Outcome::Done`]
    SetXattr {
        /// The inode.
        ino: Ino,
        /// Name.
        name: Bytes,
        /// Value, at most 64 KiB.
        value: Bytes,
        /// As XATTR_CREATE, XATTR_REPLACE or neither.
        mode: SetXattrMode,
    },
    /// Remove an extended attribute. -> [`Outcome::Done`]
    RemoveXattr {
        /// The inode.
        ino: Ino,
        /// Name.
        name: Bytes,
    },

    /// Record chunks that a session has written and not yet committed, so that their epoch can be closed. -> [`Outcome::Done`]
    Stage {
        /// The chunks, and which members have not confirmed each.
        chunks: Vec<(ChunkRef, u8)>,
    },
    /// Refuse commits of chunks of this epoch of this session and of all before it from now on, except staged ones. Only the session
    /// itself may say so. Idempotent. -> [`Outcome::Done`]
    CloseEpoch {
        /// The session.
        session: SessionId,
        /// The last epoch to close.
        epoch: WriterEpoch,
    },
    /// All copies of these chunks were verified. Idempotent.
    ClearUnderReplicated {
        /// The chunks.
        chunks: Vec<ChunkId>,
    },

    /// Give files in the trash their names back, with all they had; missing directories are made. -> [`Outcome::Restored`], one an
    /// entry, each on its own. Idempotent.
    RestoreTrash {
        /// The bucket.
        bucket: BucketId,
        /// At most `TRASH_BATCH_MAX`. One may be refused with [`Refusal::TooLarge`] when those before it have changed too many rows;
        /// ask again for it.
        entries: Vec<TrashId>,
        /// Put in front of each path; empty = back to where it was.
        to: Bytes,
        /// If there is something already.
        taken: NameTaken,
    },
    /// Release files in the trash at once; they are gone for good. Only for operators and nodes. Idempotent. -> [`Outcome::Purged`]
    PurgeTrash {
        /// The bucket.
        bucket: BucketId,
        /// At most `TRASH_BATCH_MAX`; what is not there is passed over.
        entries: Vec<TrashId>,
    },
    /// Release files in the trash whose time is over; others are passed over. Only for nodes. Idempotent; without entries it only moves
    /// the group's time on. -> [`Outcome::Purged`]
    ExpireTrash {
        /// The bucket.
        bucket: BucketId,
        /// At most `TRASH_BATCH_MAX`.
        entries: Vec<TrashId>,
        /// The time a quorum of clocks agrees on. The group's own time counts where it is earlier.
        now: Timestamp,
    },
    /// Set what an operator may set for a bucket. Only for operators and nodes. Idempotent. -> [`Outcome::Done`]
    SetBucketOptions {
        /// The bucket.
        bucket: BucketId,
        /// All of it.
        options: BucketOptions,
    },
    /// Let a bucket take deletions again and count from zero. Only for operators and nodes. Idempotent. -> [`Outcome::Done`]
    LiftBreaker {
        /// The bucket.
        bucket: BucketId,
    },
    /// Let a sealed bucket be changed again. Only for operators and nodes. Idempotent. -> [`Outcome::Done`]
    UnsealBucket {
        /// The bucket.
        bucket: BucketId,
    },
    /// Condemn chunks whose last reference was dropped at least `grace` nanoseconds ago, and drop the references of lists of which
    /// that is true. The group's own: refused under a request id. Idempotent. -> [`Outcome::Collected`]
    CollectGarbage {
        /// How long a reader may go on reading what was deleted, nanoseconds.
        grace: i64,
        /// At most so many chunks and pieces, 1..=1,024.
        max: u32,
        /// The time a quorum of clocks agrees on. The group's own time counts where it is earlier.
        now: Timestamp,
    },
    /// No member of any placement of these condemned chunks has them any more: forget those that can never come back. The group's own.
    /// Idempotent. -> [`Outcome::Done`]
    ForgetChunks {
        /// At most 1,024.
        chunks: Vec<ChunkId>,
    },
    /// These sessions are over for good: refuse their commands, release what they have staged, forget their answers. The group's own.
    /// Idempotent; large ones take several. -> [`Outcome::Ended`]
    EndSessions {
        /// The first one, at least 1.
        first: SessionId,
        /// The last one.
        last: SessionId,
    },
    /// Collect garbage and expire trash again after a recovery, which holds both. Only for operators. Idempotent. -> [`Outcome::Done`]
    ReleaseHold,

    /// Change records, all of them or none: [`Refusal::RecordRace`] if one is not as expected. From level [`types::FeatureLevel::RECORDS`] on.
    /// -> [`Outcome::Records`]
    PutRecords {
        /// The bucket.
        bucket: BucketId,
        /// At most `RECORD_CHANGES_MAX`, `RECORDS_BYTES_MAX` together, no two of the same record.
        changes: Vec<RecordChange>,
    },
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetTime {
    /// The stamp of the log entry.
    Now,
    /// This one.
    At(Timestamp),
}

/// As in setxattr(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetXattrMode {
    /// Either.
    Any,
    /// Must not exist.
    Create,
    /// Must exist.
    Replace,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done.
    Done,
    /// The object that is visible now.
    Object(Attr),
    /// The inode as it is now.
    Attr(Attr),
    /// For each key whether something was deleted; `Err` if its precondition did not hold.
    Deleted(Vec<Result<bool, Refusal>>),
    /// What was made or found, and the directory it is in, both as they are now.
    Created {
        /// What was made or found.
        attr: Attr,
        /// Its directory.
        parent: Attr,
    },
    /// For each entry of the trash what became of it.
    Restored(Vec<Result<Restored, Refusal>>),
    /// What was released.
    Purged(Purged),
    /// Of a step of the garbage collection.
    Collected {
        /// Chunks condemned by it.
        condemned: u32,
        /// Whether more garbage is due.
        more: bool,
    },
    /// Of an end of sessions.
    Ended {
        /// Sessions up to this one are over; it may be less than what was asked for.
        last: SessionId,
        /// Whether rows of them are left: ask again.
        more: bool,
    },
    /// For each change the revision that its record has now; `None` = there is none any more.
    Records(Vec<Option<Revision>>),
}
