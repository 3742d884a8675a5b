//! Extended attributes: `user.*` and `trusted.*` are kept in the metadata, where S3 finds them.
//!
//! `security.*` and `system.*` are not kept. They are answered here without asking the cluster, because the kernel asks for
//! `security.capability` before every write.

use crate::{FsError, MountFs};
use bytes::Bytes;
use proto::meta::{Command, Query, SetXattrMode};
use types::Ino;

/// Longest value, as Linux has it.
const VALUE_BYTES_MAX: usize = 64 << 10;

impl MountFs {
    /// The answer for a name that needs no call, if it is such a name: not there, or not kept.
    #[must_use]
    pub fn getxattr_now(&self, name: &[u8]) -> Option<FsError> {
        match namespace(name) {
            Namespace::Kept => None,
            Namespace::Security => Some(FsError::NoXattr),
            Namespace::Other => Some(FsError::Unsupported),
        }
    }

    /// The value of an attribute.
    ///
    /// # Errors
    /// [`FsError::NoXattr`], [`FsError::Unsupported`] for a namespace that is not kept.
    pub async fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Bytes, FsError> {
        if let Some(error) = self.getxattr_now(name) {
            return Err(error);
        }
        let query = Query::GetXattr { ino, name: Bytes::copy_from_slice(name) };
        let mut found = self.query_xattrs(ino, query).await?;
        found.pop().map(|(_, value)| value).ok_or(FsError::NoXattr)
    }

    /// The names, each followed by a zero byte; `trusted.*` only for the privileged.
    ///
    /// # Errors
    /// The cluster does not answer, or the inode is gone.
    pub async fn listxattr(&self, ino: Ino, privileged: bool) -> Result<Vec<u8>, FsError> {
        let mut names = Vec::new();
        for (name, _) in self.query_xattrs(ino, Query::ListXattrs { ino }).await? {
            let shown = name.starts_with(b"user.") || privileged && name.starts_with(b"trusted.");
            if shown && !name.contains(&0) {
                names.extend_from_slice(&name);
                names.push(0);
            }
        }
        Ok(names)
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// [`FsError::Exists`] or [`FsError::NoXattr`] by the mode, [`FsError::XattrTooLarge`], [`FsError::Unsupported`].
    pub async fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: SetXattrMode) -> Result<(), FsError> {
        if namespace(name) != Namespace::Kept {
            return Err(FsError::Unsupported);
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(FsError::XattrTooLarge);
        }
        let (name, value) = (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value));
        let set = self.command(ino.group(), Command::SetXattr { ino, name, value, mode }).await;
        self.dir_attrs.forget(ino);
        match set {
            Ok(_) => Ok(()),
            Err(FsError::FileTooLarge) => Err(FsError::XattrTooLarge),
            Err(error) => Err(error),
        }
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// [`FsError::NoXattr`], [`FsError::Unsupported`].
    pub async fn removexattr(&self, ino: Ino, name: &[u8]) -> Result<(), FsError> {
        if let Some(error) = self.getxattr_now(name) {
            return Err(error);
        }
        let command = Command::RemoveXattr { ino, name: Bytes::copy_from_slice(name) };
        let removed = self.command(ino.group(), command).await;
        self.dir_attrs.forget(ino);
        removed.map(drop)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    Kept,
    Security,
    Other,
}

fn namespace(name: &[u8]) -> Namespace {
    if name.starts_with(b"user.") || name.starts_with(b"trusted.") {
        Namespace::Kept
    } else if name.starts_with(b"security.") {
        Namespace::Security
    } else {
        Namespace::Other
    }
}
