//! Directory entries: a name, what it leads to, and a hint that spares a listing the inode.

use crate::inode::{self, Inode};
use crate::key::dentry::DentryKey;
use crate::kv::{KvError, KvRead};
use crate::row;
use crate::row::Corrupt;
use proto::object::{ETag, FileKind};
use serde::{Deserialize, Serialize};
use types::{FragId, Ino, Timestamp};

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dentry {
    pub(crate) kind: FileKind,
    pub(crate) ino: Ino,
    /// Equal to the inode, or absent: for directories and for files with (or once with) several names.
    pub(crate) hint: Option<Hint>,
}

/// What a listing shows of a file. A symbolic link's size is 0 here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hint {
    pub(crate) size: u64,
    pub(crate) mtime: Timestamp,
    pub(crate) etag: ETag,
    pub(crate) change: u64,
}

/// The file of this name.
pub(crate) fn file(kv: &dyn KvRead, frag: FragId, name: &[u8]) -> Result<Option<Dentry>, KvError> {
    row::read(kv, &DentryKey::file(frag, name))
}

/// The directory of this name.
pub(crate) fn dir(kv: &dyn KvRead, frag: FragId, name: &[u8]) -> Result<Option<Dentry>, KvError> {
    row::read(kv, &DentryKey::dir(frag, name))
}

/// The inode a dentry leads to.
pub(crate) fn inode_of(kv: &dyn KvRead, dentry: &Dentry) -> Result<Inode, KvError> {
    match inode::load(kv, dentry.ino)? {
        Some(inode) => Ok(inode),
        None => Err(Corrupt::Missing(row::Key::encode(&crate::key::inode::InodeKey(dentry.ino))).into()),
    }
}
