//! Opening and releasing files.

use crate::handle::FileHandle;
use crate::{FsError, MountFs, SetAttr};
use proto::object::{Attr, FileKind};
use std::sync::Arc;
use types::Ino;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// Data may be written through the handle.
    pub write: bool,
    /// The content is dropped first.
    pub truncate: bool,
}

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The handle.
    pub handle: u64,
    /// The kernel may keep the pages it has of the file: nobody else has changed it since they were read.
    pub keep_cache: bool,
}

impl MountFs {
    /// Opens a file as it is on the server now.
    ///
    /// # Errors
    /// [`FsError::Stale`] when it has no name any more: the kernel then looks the name up again.
    pub async fn open(self: &Arc<Self>, ino: Ino, mode: OpenMode) -> Result<Opened, FsError> {
        self.open_unless(ino, mode, |attr| attr.nlink == 0).await
    }

    /// Opens a file that a lookup has found while this open was already under way: that it has lost its name since is no
    /// reason to refuse it.
    ///
    /// # Errors
    /// [`FsError::Stale`] when it does not exist any more.
    pub async fn open_found(self: &Arc<Self>, ino: Ino, mode: OpenMode) -> Result<Opened, FsError> {
        self.open_unless(ino, mode, |_| false).await
    }

    async fn open_unless(
        self: &Arc<Self>,
        ino: Ino,
        mode: OpenMode,
        stale: fn(&Attr) -> bool,
    ) -> Result<Opened, FsError> {
        // A file that was not opened here lately will be read at once: ask for its extents in the same moment.
        let ahead = !mode.write && !self.pages.knows(ino);
        let content = async {
            if !ahead {
                return None;
            }
            self.query_content(ino, 0, Self::FIRST_WINDOW_BYTES).await.ok()
        };
        let (attr, content) = tokio::join!(self.query_attr(ino), content);
        let mut attr = attr?;
        if stale(&attr) {
            return Err(FsError::Stale);
        }
        if attr.kind == FileKind::Directory {
            return Err(FsError::IsDirectory);
        }
        if mode.truncate {
            attr = self.change_attr(ino, SetAttr { size: Some(0), ..SetAttr::default() }).await?;
        }
        let opened = self.opened(attr, mode)?;
        if let (Some(view), Ok(handle)) = (content, self.files.get(opened.handle)) {
            Self::keep_first_window(&handle.inode, &view);
        }
        Ok(opened)
    }

    /// Makes a handle for an inode whose attributes were just learnt.
    pub(crate) fn opened(&self, attr: Attr, mode: OpenMode) -> Result<Opened, FsError> {
        let (ino, change) = (attr.ino, attr.change);
        let inode = self.inodes.open(attr, &self.chunk_buffers);
        let handle = self.files.insert(FileHandle::new(inode, mode.write)).inspect_err(|_| self.inodes.close(ino))?;
        Ok(Opened { handle, keep_cache: self.pages.opened(ino, change) })
    }

    /// Forgets a handle if that needs no waiting, because nothing is buffered; false if it does, and nothing was done.
    ///
    /// # Errors
    /// [`FsError::BadHandle`].
    pub fn release_now(&self, handle: u64) -> Result<bool, FsError> {
        if !self.is_flushed(handle) {
            return self.files.get(handle).map(|_| false);
        }
        let file = self.files.remove(handle)?;
        self.inodes.close(file.inode.ino);
        Ok(true)
    }

    /// Forgets a handle. What is still buffered (written through a mapping after the last close) is committed first.
    ///
    /// # Errors
    /// [`FsError::BadHandle`]. Data that is lost here has no one left to be reported to and is logged.
    pub async fn release(self: &Arc<Self>, handle: u64) -> Result<(), FsError> {
        let file = self.files.remove(handle)?;
        if file.writable {
            let _ = self.flush_inode(&file.inode).await;
            if let Err(error) = file.report_error() {
                tracing::error!(ino = %file.inode.ino, %error, "data was lost and the file was closed without asking for it");
            }
        }
        self.inodes.close(file.inode.ino);
        Ok(())
    }
}
