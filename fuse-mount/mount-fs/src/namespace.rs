//! Names: finding, making, moving and removing them. Each is one query or command of the group that owns the directory.

use crate::call::unexpected;
use crate::fs::check_name;
use crate::open::{OpenMode, Opened};
use crate::{FsError, MountFs, SetAttr};
use bytes::Bytes;
use proto::meta::{Command, Outcome};
use proto::object::{Attr, FileKind, NewContent};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use types::{INLINE_BYTES_MAX, Ino};

/// Whoever makes something: its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

const SETGID: u32 = 0o2000;

/// How long after a change of its own a mount believes that a directory it has made holds nothing else. Much less than a name may be old:
/// it is for files that are made one after the other, and nobody should wait for a name that another face has just made.
const ABSENCE_TRUSTED: Duration = Duration::from_millis(100);

impl MountFs {
    /// A name in a directory. That one is not there may be known without asking: see [`FsConfig::attr_ttl`](crate::FsConfig::attr_ttl).
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NameTooLong`], [`FsError::Stale`] when the directory is gone.
    pub async fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attr, FsError> {
        check_name(name)?;
        if self.dir_attrs.lacks(parent, name, self.config.ttl().min(ABSENCE_TRUSTED)) {
            return Err(FsError::NotFound);
        }
        let attr = self.query_lookup(parent, Bytes::copy_from_slice(name)).await?;
        Ok(self.present(attr))
    }

    /// Makes a file, or finds the one that stands there unless `exclusive`, and opens it.
    ///
    /// # Errors
    /// [`FsError::Exists`] when `exclusive` and the name is taken; [`FsError::IsDirectory`] when a directory stands there.
    pub async fn create(
        self: &Arc<Self>,
        parent: Ino,
        name: &[u8],
        mode: u32,
        caller: Caller,
        exclusive: bool,
        open: OpenMode,
    ) -> Result<(Attr, Opened), FsError> {
        let nothing = NewContent::Inline(Bytes::new());
        let attr = self.make(parent, name, FileKind::File, mode, caller, nothing, exclusive).await?;
        let attr = match attr.kind {
            FileKind::File if open.truncate && attr.size > 0 => {
                self.change_attr(attr.ino, SetAttr { size: Some(0), ..SetAttr::default() }).await?
            }
            FileKind::File => attr,
            FileKind::Directory => return Err(FsError::IsDirectory),
            // Whoever asked knows nothing of the link: the name must be looked up again and followed.
            FileKind::Symlink => return Err(FsError::Stale),
        };
        let opened = self.opened(attr.clone(), open)?;
        Ok((self.present(attr), opened))
    }

    /// Makes a regular file without opening it.
    ///
    /// # Errors
    /// As [`MountFs::create`] with `exclusive`.
    pub async fn mknod(&self, parent: Ino, name: &[u8], mode: u32, caller: Caller) -> Result<Attr, FsError> {
        let attr =
            self.make(parent, name, FileKind::File, mode, caller, NewContent::Inline(Bytes::new()), true).await?;
        Ok(self.present(attr))
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`FsError::Exists`], and as [`MountFs::lookup`].
    pub async fn mkdir(&self, parent: Ino, name: &[u8], mode: u32, caller: Caller) -> Result<Attr, FsError> {
        let inherited = self.setgid_dirs.lock().get(&parent).map_or(0, |_| SETGID);
        let nothing = NewContent::Inline(Bytes::new());
        let attr = self.make(parent, name, FileKind::Directory, mode | inherited, caller, nothing, true).await?;
        Ok(self.present(attr))
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// [`FsError::NameTooLong`] for a target over 4095 bytes, and as [`MountFs::mkdir`].
    pub async fn symlink(&self, parent: Ino, name: &[u8], target: &[u8], caller: Caller) -> Result<Attr, FsError> {
        if target.is_empty() {
            return Err(FsError::NotFound);
        }
        if target.len() >= INLINE_BYTES_MAX {
            return Err(FsError::NameTooLong);
        }
        let target = NewContent::Inline(Bytes::copy_from_slice(target));
        let attr = self.make(parent, name, FileKind::Symlink, 0o777, caller, target, true).await?;
        Ok(self.present(attr))
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// [`FsError::Invalid`] when it is none.
    pub async fn readlink(&self, ino: Ino) -> Result<Bytes, FsError> {
        let view = self.query_content(ino, 0, INLINE_BYTES_MAX as u64).await?;
        if view.inline.is_empty() || view.inline.len() as u64 != view.size {
            return Err(FsError::Invalid);
        }
        Ok(view.inline)
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// [`FsError::Exists`], [`FsError::CrossBucket`], [`FsError::TooManyLinks`], [`FsError::NotPermitted`] for a directory.
    pub async fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Attr, FsError> {
        check_name(name)?;
        let command = Command::Link { ino, parent, name: Bytes::copy_from_slice(name) };
        let linked = self.command_attr(parent.group(), command).await;
        self.dir_attrs.forget(parent);
        match linked {
            Ok(attr) => {
                self.pages.own_change(ino, attr.change);
                Ok(self.present(attr))
            }
            Err(FsError::IsDirectory) => Err(FsError::NotPermitted),
            Err(error) => Err(error),
        }
    }

    /// Removes a name of a file. Open handles go on.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::IsDirectory`].
    pub async fn unlink(&self, parent: Ino, name: &[u8]) -> Result<(), FsError> {
        check_name(name)?;
        let command = Command::Unlink { parent, name: Bytes::copy_from_slice(name) };
        self.remove(parent, command).await
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotDirectory`], [`FsError::NotEmpty`].
    pub async fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<(), FsError> {
        check_name(name)?;
        let command = Command::Rmdir { parent, name: Bytes::copy_from_slice(name) };
        self.remove(parent, command).await
    }

    async fn remove(&self, parent: Ino, command: Command) -> Result<(), FsError> {
        let sent = Instant::now();
        let dir = self.command_attr(parent.group(), command).await?;
        self.dir_attrs.learn(dir, sent, None);
        Ok(())
    }

    /// Renames atomically, replacing what stands at the target unless `no_replace`.
    ///
    /// # Errors
    /// [`FsError::Exists`] with `no_replace`, [`FsError::NotEmpty`], [`FsError::Invalid`] for a directory into itself.
    pub async fn rename(
        &self,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        no_replace: bool,
    ) -> Result<(), FsError> {
        check_name(name)?;
        check_name(new_name)?;
        let command = Command::Rename {
            parent,
            name: Bytes::copy_from_slice(name),
            new_parent,
            new_name: Bytes::copy_from_slice(new_name),
            no_replace,
        };
        let renamed = self.command(parent.group(), command).await;
        self.dir_attrs.forget(parent);
        self.dir_attrs.forget(new_parent);
        renamed.map(drop)
    }

    #[allow(clippy::too_many_arguments)]
    async fn make(
        &self,
        parent: Ino,
        name: &[u8],
        kind: FileKind,
        mode: u32,
        caller: Caller,
        content: NewContent,
        exclusive: bool,
    ) -> Result<Attr, FsError> {
        check_name(name)?;
        let inherited = self.setgid_dirs.lock().get(&parent).copied();
        let command = Command::Create {
            parent,
            name: Bytes::copy_from_slice(name),
            kind,
            mode: mode & 0o7777,
            uid: self.config.uid.unwrap_or(caller.uid),
            gid: self.config.gid.or(inherited).unwrap_or(caller.gid),
            content,
            exclusive,
        };
        let sent = Instant::now();
        match self.command(parent.group(), command).await {
            Ok(Outcome::Created { attr, parent }) => {
                if kind == FileKind::Directory {
                    self.dir_attrs.made(&attr, sent);
                }
                self.dir_attrs.learn(parent, sent, Some(name));
                Ok(attr)
            }
            Ok(other) => Err(unexpected(&other)),
            // What became of it is not known, or the name is taken.
            Err(error) => {
                self.dir_attrs.forget(parent);
                Err(error)
            }
        }
    }
}
