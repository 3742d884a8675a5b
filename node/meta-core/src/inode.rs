//! Inodes: attributes, content or directory, and the one name that carries a hint of them.

use crate::content::Content;
use crate::dentry::{Dentry, Hint};
use crate::key::dentry::DentryKey;
use crate::key::inode::InodeKey;
use crate::kv::{KvError, KvRead};
use crate::row;
use crate::txn::{Step, Txn};
use bytes::Bytes;
use proto::meta::Refusal;
use proto::object::{Attr, ETag, FileKind};
use serde::{Deserialize, Serialize};
use types::{BucketId, FragId, Ino, SessionId, Timestamp};

/// Permission bits of directories made for a key.
pub(crate) const IMPLICIT_MODE: u32 = 0o755;
/// Permission bits of objects.
pub(crate) const OBJECT_MODE: u32 = 0o644;
/// All permission bits.
pub(crate) const MODE_MASK: u32 = 0o7777;

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inode {
    pub(crate) bucket: BucketId,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Names of a file; 0 = unlinked. Not used for directories, which have one name each.
    pub(crate) nlink: u32,
    pub(crate) atime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    pub(crate) crtime: Timestamp,
    /// Grows with every change.
    pub(crate) change: u64,
    /// The session that made it; 0 = none.
    pub(crate) creator: SessionId,
    /// When its content was begun: with the file, or when the one before was cut off or written over as a whole.
    pub(crate) content_begun: Timestamp,
    /// The session that began it; 0 = none.
    pub(crate) content_author: SessionId,
    /// A directory's name; a file's if it has one name only and that one carries the hint.
    pub(crate) parent: Option<Place>,
    /// Extended attributes, counted.
    pub(crate) xattrs: XattrSum,
    pub(crate) what: What,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The directory.
    pub(crate) dir: Ino,
    /// Its fragment that holds the name.
    pub(crate) frag: FragId,
    /// The name, empty for a marker.
    pub(crate) name: Bytes,
}

/// How many extended attributes there are and what they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct XattrSum {
    pub(crate) count: u32,
    pub(crate) bytes: u32,
}

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    File(Content),
    /// The target is inline content.
    Symlink(Content),
    Directory(Directory),
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Directory {
    /// First name and fragment; one entry as long as directories are not split.
    pub(crate) fragments: Vec<(Bytes, FragId)>,
    /// Entries without the marker.
    pub(crate) entries: u64,
    /// Of these directories.
    pub(crate) subdirs: u32,
    /// Made by mkdir (or a bucket's root): stays when it is empty. Otherwise it is implicit.
    pub(crate) lasting: bool,
    /// The object whose key is the directory's own path stands in it, under the empty name.
    pub(crate) marker: bool,
}

impl Directory {
    pub(crate) fn new(frag: FragId, lasting: bool) -> Self {
        Directory { fragments: vec![(Bytes::new(), frag)], entries: 0, subdirs: 0, lasting, marker: false }
    }

    /// The fragment that holds `name`.
    pub(crate) fn frag(&self) -> FragId {
        self.fragments.first().map_or(FragId::default(), |(_, frag)| *frag)
    }

    /// Whether S3 sees nothing in it.
    pub(crate) fn is_bare(&self) -> bool {
        self.entries == 0 && !self.marker
    }
}

impl Inode {
    pub(crate) fn new(bucket: BucketId, now: Timestamp, creator: SessionId, what: What) -> Self {
        let mode = if matches!(what, What::Directory(_)) { IMPLICIT_MODE } else { OBJECT_MODE };
        Inode {
            bucket,
            mode,
            uid: 0,
            gid: 0,
            nlink: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            change: 1,
            creator,
            content_begun: now,
            content_author: creator,
            parent: None,
            xattrs: XattrSum::default(),
            what,
        }
    }

    pub(crate) fn kind(&self) -> FileKind {
        match self.what {
            What::File(_) => FileKind::File,
            What::Symlink(_) => FileKind::Symlink,
            What::Directory(_) => FileKind::Directory,
        }
    }

    pub(crate) fn content(&self) -> Option<&Content> {
        match &self.what {
            What::File(content) | What::Symlink(content) => Some(content),
            What::Directory(_) => None,
        }
    }

    pub(crate) fn directory(&self) -> Result<&Directory, Refusal> {
        match &self.what {
            What::Directory(directory) => Ok(directory),
            What::File(_) | What::Symlink(_) => Err(Refusal::NotDirectory),
        }
    }

    pub(crate) fn directory_mut(&mut self) -> Result<&mut Directory, Refusal> {
        match &mut self.what {
            What::Directory(directory) => Ok(directory),
            What::File(_) | What::Symlink(_) => Err(Refusal::NotDirectory),
        }
    }

    /// Bytes that count for the bucket.
    pub(crate) fn size(&self) -> u64 {
        self.content().map_or(0, |content| content.size)
    }

    /// Notes a change of attributes.
    pub(crate) fn changed(&mut self, now: Timestamp) {
        self.ctime = now;
        self.change += 1;
    }

    /// Notes a change of content.
    pub(crate) fn modified(&mut self, now: Timestamp) {
        self.mtime = now;
        self.changed(now);
    }

    /// As a mount sees it.
    pub(crate) fn attr(&self, ino: Ino) -> Attr {
        let (nlink, size, stored, etag) = match &self.what {
            What::File(content) | What::Symlink(content) => (self.nlink, content.size, content.stored, content.etag),
            What::Directory(directory) => (2 + directory.subdirs, directory.entries, 0, ETag::Posix),
        };
        Attr {
            ino,
            kind: self.kind(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            nlink,
            size,
            stored,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            crtime: self.crtime,
            change: self.change,
            etag,
        }
    }

    /// As S3 sees it: a symbolic link is an object without bytes.
    pub(crate) fn object_attr(&self, ino: Ino) -> Attr {
        let mut attr = self.attr(ino);
        if attr.kind == FileKind::Symlink {
            (attr.size, attr.stored) = (0, 0);
        }
        attr
    }

    /// What the directory entry repeats of it, if it has one name only.
    fn hint(&self) -> Option<Hint> {
        let content = self.content().filter(|_| self.parent.is_some())?;
        let size = if self.kind() == FileKind::Symlink { 0 } else { content.size };
        Some(Hint { size, mtime: self.mtime, etag: content.etag, change: self.change })
    }

    pub(crate) fn dentry(&self, ino: Ino) -> Dentry {
        Dentry { kind: self.kind(), ino, hint: self.hint() }
    }
}

/// An inode, or `None` if it is gone.
pub(crate) fn load(kv: &dyn KvRead, ino: Ino) -> Result<Option<Inode>, KvError> {
    row::read(kv, &InodeKey(ino))
}

impl Txn<'_> {
    /// An inode named by a caller.
    pub(crate) fn inode(&self, ino: Ino) -> Step<Inode> {
        Ok(load(self.rows(), ino)?.ok_or(Refusal::StaleInode)?)
    }

    /// An inode that a row refers to.
    pub(crate) fn require_inode(&self, ino: Ino) -> Step<Inode> {
        self.require(&InodeKey(ino))
    }

    /// Writes an inode and the hint its name carries.
    pub(crate) fn put_inode(&mut self, ino: Ino, inode: &Inode) {
        self.write(&InodeKey(ino), inode);
        if let Some(parent) = inode.parent.as_ref().filter(|_| inode.content().is_some()) {
            self.write(&DentryKey::file(parent.frag, &parent.name), &inode.dentry(ino));
        }
    }

    /// A new inode, not yet written.
    pub(crate) fn new_inode(&self, bucket: BucketId, what: What) -> Inode {
        Inode::new(bucket, self.now, self.session.unwrap_or_default(), what)
    }
}
