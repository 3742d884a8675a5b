//! What a metadata group can be asked, and what it answers.

use crate::object::{Attr, ContentView, ObjectView, Xattr};
use crate::record::{RecordKey, RecordPage, RecordScan, RecordView};
use crate::trash::{BucketStatus, TrashFilter, TrashId, TrashPage};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use types::{BucketId, ChunkId, ChunkRef, Ino, SessionId, Timestamp, UploadId};

/// A read of a metadata group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// Attributes and metadata of an object, and with `content` its first extents. A symbolic link is an object without
    /// bytes. -> [`Answer::Object`]
    Object {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: Bytes,
        /// Range of content wanted: offset and length; `None` = none.
        content: Option<(u64, u64)>,
    },
    /// Keys in S3 order. -> [`Answer::Listing`]
    ListObjects {
        /// The bucket.
        bucket: BucketId,
        /// Only keys that begin so.
        prefix: Bytes,
        /// Roll up what lies between the prefix and the next occurrence of this; empty = nothing.
        delimiter: Bytes,
        /// Only keys (and rolled-up prefixes) greater than this; empty = from the start. A prefix `p/` given here skips all below it.
        after: Bytes,
        /// At most so many keys and prefixes together, 0..=1,000.
        max: u32,
    },
    /// Uploads in progress, ordered by key, then by upload id. -> [`Answer::Uploads`]
    ListUploads {
        /// The bucket.
        bucket: BucketId,
        /// Only keys that begin so.
        prefix: Bytes,
        /// As in `ListObjects`.
        delimiter: Bytes,
        /// Only uploads after this key and upload; without an upload, after all of that key.
        after: Option<(Bytes, Option<UploadId>)>,
        /// At most so many.
        max: u32,
    },
    /// Parts of an upload. -> [`Answer::Parts`]
    ListParts {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: Bytes,
        /// The upload.
        upload: UploadId,
        /// Only part numbers greater than this.
        after: u16,
        /// At most so many, 0..=`PARTS_MAX`.
        max: u32,
    },
    /// The root directory of a bucket. -> [`Answer::Attr`]
    BucketRoot {
        /// The bucket.
        bucket: BucketId,
    },
    /// A name in a directory. A directory wins over a file of the same name. -> [`Answer::Attr`]
    Lookup {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Bytes,
    },
    /// Attributes. -> [`Answer::Attr`]
    GetAttr {
        /// The inode.
        ino: Ino,
    },
    /// A page of a directory with attributes, in S3 order. A page may be short; an empty one is the end. An object and a
    /// directory of one name are two entries. -> [`Answer::Entries`]
    ReadDir {
        /// The directory.
        ino: Ino,
        /// Only entries after this cursor (a [`DirEntry::cursor`]); empty = from the start.
        after: Bytes,
        /// At most so many, 0..=1,024.
        max: u32,
    },
    /// Content of an inode, also of an unlinked one. -> [`Answer::Content`]
    Content {
        /// The inode.
        ino: Ino,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// An extended attribute. -> [`Answer::Xattrs`] with one entry
    GetXattr {
        /// The inode.
        ino: Ino,
        /// Name.
        name: Bytes,
    },
    /// All extended attributes. -> [`Answer::Xattrs`]
    ListXattrs {
        /// The inode.
        ino: Ino,
    },
    /// What a bucket holds. -> [`Answer::Usage`]
    Usage {
        /// The bucket.
        bucket: BucketId,
    },
    /// Chunks that lack a copy. -> [`Answer::UnderReplicated`]
    UnderReplicated {
        /// Only ids greater than this.
        after: Option<ChunkId>,
        /// At most so many, 0..=1,024.
        max: u32,
    },
    /// What lies in the trash of a bucket, oldest first. A page looks at a bounded number of entries. -> [`Answer::Trash`]
    ListTrash {
        /// The bucket; a sealed one has its trash still.
        bucket: BucketId,
        /// Which entries.
        filter: TrashFilter,
        /// Only entries after this one.
        after: Option<TrashId>,
        /// At most so many, 0..=1,024.
        max: u32,
    },
    /// How a bucket is. -> [`Answer::BucketStatus`]
    BucketStatus {
        /// The bucket.
        bucket: BucketId,
    },
    /// The buckets of the group, sealed ones too, in order. -> [`Answer::GroupBuckets`]
    GroupBuckets {
        /// Only ids greater than this.
        after: Option<BucketId>,
        /// At most so many, 0..=1,024.
        max: u32,
    },
    /// Whether chunks of this group may be deleted. Means something only as a linearizable read. -> [`Answer::Judged`]
    JudgeChunks {
        /// At most 1,024, all of this group.
        chunks: Vec<ChunkId>,
    },
    /// Condemned chunks. -> [`Answer::Condemned`]
    Condemned {
        /// Only ids greater than this.
        after: Option<ChunkId>,
        /// At most so many, 0..=1,024.
        max: u32,
    },
    /// How much garbage there is. -> [`Answer::Garbage`]
    Garbage,
    /// Whether these sessions are over and nothing of them is left. -> [`Answer::SessionsOver`]
    SessionsOver {
        /// The first one.
        first: SessionId,
        /// The last one.
        last: SessionId,
    },
    /// Chunks of which every member has a copy, as far as the group knows: referred to or staged, and not noted as lacking one. A page looks at a
    /// bounded number of chunks. -> [`Answer::Whole`]
    Whole {
        /// Only ids greater than this.
        after: Option<ChunkId>,
        /// At most so many, 0..=1,024.
        max: u32,
    },
    /// Records by their keys. From level [`types::FeatureLevel::RECORDS`] on. -> [`Answer::Records`]
    Records {
        /// The bucket.
        bucket: BucketId,
        /// At most `RECORD_CHANGES_MAX`.
        keys: Vec<RecordKey>,
    },
    /// Records of a space in order. From level [`types::FeatureLevel::RECORDS`] on. -> [`Answer::RecordPage`]
    ScanRecords {
        /// The bucket.
        bucket: BucketId,
        /// Which, in which order.
        scan: RecordScan,
    },
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// An object, and its content if it was asked for.
    Object(ObjectView, Option<ContentView>),
    /// A page of a listing.
    Listing(Listing),
    /// Uploads.
    Uploads(UploadListing),
    /// The upload's own metadata and its parts.
    Parts(PartListing),
    /// Attributes.
    Attr(Attr),
    /// Directory entries.
    Entries(Vec<DirEntry>),
    /// Content.
    Content(ContentView),
    /// Extended attributes.
    Xattrs(Vec<Xattr>),
    /// What a bucket holds.
    Usage(Usage),
    /// Chunks and which members lack each.
    UnderReplicated(Vec<(ChunkRef, u8)>),
    /// A page of the trash.
    Trash(TrashPage),
    /// How a bucket is.
    BucketStatus(BucketStatus),
    /// Buckets.
    GroupBuckets(Vec<BucketId>),
    /// One verdict for each chunk, in the order asked.
    Judged(Vec<ChunkVerdict>),
    /// Condemned chunks, in order, and what is to be done about each.
    Condemned(Vec<(ChunkId, CondemnedStep)>),
    /// How much garbage there is.
    Garbage(GarbageStatus),
    /// Whether they are.
    SessionsOver(bool),
    /// A page of chunks, in order of their ids.
    Whole {
        /// The chunks; fewer than asked for does not mean that there are no more.
        chunks: Vec<ChunkRef>,
        /// From which id on to ask for the rest; `None` at the end.
        next: Option<ChunkId>,
    },
    /// For each key its record, or that there is none, in the order asked. Fewer than were asked for if they are longer than a page: at least one,
    /// ask again for the others.
    Records(Vec<Option<RecordView>>),
    /// A page of records.
    RecordPage(RecordPage),
}

/// What a group knows of a chunk on some node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkVerdict {
    /// Something refers to it.
    Referenced,
    /// Its session has staged it.
    Staged,
    /// Nothing refers to it, but readers may still read it, or its session may take it up again.
    Waiting,
    /// The group has not heard of it, and its session may still commit it.
    Open,
    /// It was deleted for good: no command may refer to it again.
    Condemned,
    /// The group has not heard of it, and never will: its epoch is closed.
    Garbage,
}

impl ChunkVerdict {
    /// Whether a replica may be deleted on this evidence.
    #[must_use]
    pub fn may_be_deleted(self) -> bool {
        match self {
            ChunkVerdict::Condemned | ChunkVerdict::Garbage => true,
            ChunkVerdict::Referenced | ChunkVerdict::Staged | ChunkVerdict::Waiting | ChunkVerdict::Open => false,
        }
    }
}

/// What is to be done about a condemned chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CondemnedStep {
    /// Its replicas are to be deleted.
    Delete,
    /// They were; its epoch is still open, and its row keeps the id from coming back.
    Wait,
    /// They were, and its epoch is closed: it can be forgotten.
    Forget,
}

/// How much garbage a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct GarbageStatus {
    /// Chunks and lists that wait out the grace time. One that was taken up again counts until then.
    pub waiting: u64,
    /// Condemned chunks that are not forgotten.
    pub condemned: u64,
    /// When the oldest that waits was dropped.
    pub oldest: Option<Timestamp>,
    /// Sessions below it are over.
    pub session_floor: SessionId,
    /// The group was recovered, and no operator has said since that garbage may be collected: nothing is condemned, deleted or expired.
    pub held: bool,
}

/// A page of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Listing {
    /// Objects, in order.
    pub objects: Vec<ListedObject>,
    /// Rolled-up prefixes, in order.
    pub prefixes: Vec<Bytes>,
    /// More may follow; pass it as `after`. It is the last key or prefix of the page, or, where a page had to end early in a
    /// forest of empty directories, a place behind it; such a page may hold fewer than `max`, even nothing.
    pub next: Option<Bytes>,
}

/// A key in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedObject {
    /// The whole key.
    pub key: Bytes,
    /// Bytes.
    pub size: u64,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Entity tag, without quotes.
    pub etag: String,
}

/// A page of uploads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct UploadListing {
    /// Key, upload and when it was begun.
    pub uploads: Vec<(Bytes, UploadId, Timestamp)>,
    /// Rolled-up prefixes.
    pub prefixes: Vec<Bytes>,
    /// More follow after the last one.
    pub truncated: bool,
}

/// A page of parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct PartListing {
    /// The metadata the upload was begun with.
    pub xattrs: Vec<Xattr>,
    /// The parts.
    pub parts: Vec<PartView>,
    /// More follow after the last one.
    pub truncated: bool,
}

/// A part of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartView {
    /// Its number.
    pub part: u16,
    /// Bytes.
    pub size: u64,
    /// MD5 of them.
    pub md5: [u8; 16],
    /// When it was stored.
    pub mtime: Timestamp,
    /// Its checksums.
    pub xattrs: Vec<Xattr>,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirEntry {
    /// The name, without a trailing `/`.
    pub name: Bytes,
    /// Pass it as `after` to go on behind this entry.
    pub cursor: Bytes,
    /// Attributes of what it leads to.
    pub attr: Attr,
}

/// What a bucket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Usage {
    /// Files and objects.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files in the trash, scratch files too.
    pub trash_files: u64,
    /// Bytes of them.
    pub trash_bytes: u64,
}
