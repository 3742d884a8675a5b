//! Attributes: reading and changing them, and the size of a file in particular.

use crate::{FsError, MountFs};
use proto::meta::{Answer, Command, Query, SetTime};
use proto::object::Attr;
use std::sync::Arc;
use types::{FILE_BYTES_MAX, Ino};

/// Attributes to change; `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size: cuts, or leaves a hole.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<SetTime>,
    /// Modification time.
    pub mtime: Option<SetTime>,
}

/// What `statfs` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free.
    pub blocks_free: u64,
    /// Files that could be.
    pub files: u64,
    /// Files that could still be made.
    pub files_free: u64,
    /// Longest name.
    pub name_bytes_max: u32,
}

/// A bucket has no size of its own; this is shown as the room that is left, so that no program refuses to write.
const ROOM_BYTES: u64 = 1 << 50;
/// As [`ROOM_BYTES`], for files.
const ROOM_FILES: u64 = 1 << 40;
const BLOCK_BYTES: u32 = 4096;

impl MountFs {
    /// The attributes of an inode, from the server, with what is buffered here. Those of a directory that a command of this mount
    /// has just changed are those it came back with, if the kernel itself might keep them as long.
    ///
    /// # Errors
    /// [`FsError::Stale`] when it does not exist any more.
    pub async fn getattr(&self, ino: Ino) -> Result<Attr, FsError> {
        let attr = match self.dir_attrs.recent(ino, self.config.ttl()) {
            Some(attr) => attr,
            None => self.query_attr(ino).await?,
        };
        Ok(self.present(attr))
    }

    /// Changes attributes; returns them as they are then. Buffered data is committed first where its commit would undo the change
    /// (a modification time that is set must not be overwritten by a later commit).
    ///
    /// # Errors
    /// [`FsError`]; a change of size that failed left the buffered data as it was.
    pub async fn setattr(self: &Arc<Self>, ino: Ino, change: SetAttr) -> Result<Attr, FsError> {
        if change == SetAttr::default() {
            return self.getattr(ino).await;
        }
        self.change_attr(ino, change).await.map(|attr| self.present(attr))
    }

    /// As `setattr`; returns what the server answered.
    pub(crate) async fn change_attr(self: &Arc<Self>, ino: Ino, change: SetAttr) -> Result<Attr, FsError> {
        if change.size.is_some_and(|size| size > FILE_BYTES_MAX) {
            return Err(FsError::FileTooLarge);
        }
        let Some(inode) = self.inodes.get(ino) else { return self.send_setattr(ino, change).await };
        let _commit = inode.commit.lock().await;
        let commit_first = change.size.is_none() || change.mtime.is_some() || inode.state.lock().buffer.is_append();
        if commit_first {
            // A failure sticks to the handles; the change of attributes goes on.
            let _ = self.flush_locked(&inode).await;
        }
        let attr = self.send_setattr(ino, change).await?;
        let mut state = inode.state.lock();
        state.observe(&attr);
        let dropped = match change.size {
            Some(size) if !state.buffer.is_append() => state.buffer.cut(size),
            _ => 0,
        };
        drop(state);
        self.release_buffered(&inode, dropped);
        Ok(attr)
    }

    async fn send_setattr(&self, ino: Ino, change: SetAttr) -> Result<Attr, FsError> {
        let SetAttr { mode, uid, gid, size, atime, mtime } = change;
        let mode = mode.map(|mode| mode & 0o7777);
        let uid = uid.filter(|_| self.config.uid.is_none());
        let gid = gid.filter(|_| self.config.gid.is_none());
        let command = Command::SetAttr { ino, mode, uid, gid, size, atime, mtime };
        let changed = self.command_attr(ino.group(), command).await;
        self.dir_attrs.forget(ino);
        let attr = changed?;
        self.pages.own_change(ino, attr.change);
        Ok(attr)
    }

    /// What the bucket holds, and a room that never fills: the cluster's disks are shared by all buckets.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn statfs(&self) -> Result<StatFs, FsError> {
        let query = Query::Usage { bucket: self.bucket.id };
        let usage = match self.query(self.bucket.group, query).await? {
            Answer::Usage(usage) => usage,
            other => return Err(crate::call::unexpected(&other)),
        };
        let blocks_free = ROOM_BYTES / u64::from(BLOCK_BYTES);
        Ok(StatFs {
            block_bytes: BLOCK_BYTES,
            blocks: usage.bytes.div_ceil(u64::from(BLOCK_BYTES)) + blocks_free,
            blocks_free,
            files: usage.files + ROOM_FILES,
            files_free: ROOM_FILES,
            name_bytes_max: types::NAME_BYTES_MAX as u32,
        })
    }
}
