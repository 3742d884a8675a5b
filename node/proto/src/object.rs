//! Nouns of the namespace as both faces see them: attributes, entity tags, preconditions, content.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use types::{Extent, Ino, Timestamp};

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// A regular file; an S3 object is one.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; its target is its content.
    Symlink,
}

/// The entity tag of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ETag {
    /// Written through S3 in one piece: the MD5 of the bytes.
    Md5([u8; 16]),
    /// A completed multipart upload: the MD5 of the parts' MD5s, and how many there were.
    Multipart([u8; 16], u16),
    /// Written through a mount: derived from inode and change counter, never shaped like an MD5.
    Posix,
}

impl ETag {
    /// The text between the quotes.
    #[must_use]
    pub fn render(self, ino: Ino, change: u64) -> String {
        match self {
            ETag::Md5(md5) => hex(&md5),
            ETag::Multipart(md5, parts) => format!("{}-{parts}", hex(&md5)),
            ETag::Posix => format!("{:x}.{change:x}.p", ino.0),
        }
    }
}

/// Lower-case hexadecimal digits. Listings render an entity tag a key, so this allocates once.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Attributes of an inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attr {
    /// Its number.
    pub ino: Ino,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, 0..=0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names that lead to it; 0 = unlinked.
    pub nlink: u32,
    /// Bytes of its content; for a directory the number of its entries.
    pub size: u64,
    /// Bytes of storage its content takes, before replication.
    pub stored: u64,
    /// Last read (set explicitly only).
    pub atime: Timestamp,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of anything.
    pub ctime: Timestamp,
    /// Birth.
    pub crtime: Timestamp,
    /// Grows with every change of content or attributes.
    pub change: u64,
    /// Entity tag of the content; render with [`Attr::etag_text`].
    pub etag: ETag,
}

impl Attr {
    /// The text of the entity tag, without quotes.
    #[must_use]
    pub fn etag_text(&self) -> String {
        self.etag.render(self.ino, self.change)
    }
}

/// An extended attribute: name and value. S3 user metadata `x-amz-meta-NAME` is `user.NAME`; S3 system
/// metadata is `trusted.s3.HEADER` (`content-type`, `cache-control`, `checksum-crc32c`, ...).
pub type Xattr = (Bytes, Bytes);

/// Entity tags of an `If-Match` or `If-None-Match` header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TagMatch {
    /// `*`: anything that exists.
    Any,
    /// One of these, without quotes.
    Tags(Vec<String>),
}

/// What must hold for a change to be made; judged in the state machine, in one piece with the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Precondition {
    /// The key must exist and match.
    pub if_match: Option<TagMatch>,
    /// The key must not exist or not match.
    pub if_none_match: Option<TagMatch>,
}

/// An extent just written, and which members of its placement group have *not* confirmed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewExtent {
    /// The extent.
    pub extent: Extent,
    /// Bit i is set if member i did not acknowledge, of which at most one may be. Bit `REPLICAS` is set if the group had a move in progress
    /// and the disk it brings in did not. A row then records the chunk as under-replicated.
    pub missing: u8,
}

/// Content for a new object or part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewContent {
    /// At most `INLINE_BYTES_MAX` bytes, kept in the metadata.
    Inline(Bytes),
    /// Extents that cover the content from 0 to its size without gap or overlap, in order.
    Chunks(Vec<NewExtent>),
}

impl NewContent {
    /// Bytes of content, if the extents are as they should be; never panics if they are not.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            NewContent::Inline(data) => data.len() as u64,
            NewContent::Chunks(extents) => {
                extents.last().map_or(0, |last| last.extent.file_offset.saturating_add(u64::from(last.extent.len)))
            }
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A piece of a file's content as the metadata knows it.
///
/// To compose the bytes of a range: start with zeros, lay `inline` (which begins at file offset 0) over
/// them, then the extents, then cut at `size`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ContentView {
    /// The file's size.
    pub size: u64,
    /// The file's change counter when this was read.
    pub change: u64,
    /// Bytes kept in the metadata, from file offset 0.
    pub inline: Bytes,
    /// Extents that touch the range asked for, in order, without overlap.
    pub extents: Vec<Extent>,
    /// More extents follow from this file offset on; ask again from there.
    pub next: Option<u64>,
}

/// An object and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectView {
    /// Attributes.
    pub attr: Attr,
    /// All extended attributes.
    pub xattrs: Vec<Xattr>,
}
