//! Writing: into the buffer when there is room, waiting for room when there is none.

use crate::handle::FileHandle;
use crate::inode::Inode;
use crate::piece::Piece;
use crate::{FsError, MountFs};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use types::{COMMAND_EXTENTS_MAX, FILE_BYTES_MAX};

/// Runs at which a commit is started without waiting for close or fsync: they make one full command.
const RUNS_COMMIT: usize = COMMAND_EXTENTS_MAX;
/// Runs of one inode at most; writers then wait for the commit.
const RUNS_MAX: usize = 4 * COMMAND_EXTENTS_MAX;

/// What stands in the way of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// The inode has as many dirty bytes as it may have.
    InodeFull,
    /// All inodes together have.
    MountFull,
    /// The buffer must be committed first: it has too many runs, or is in the other mode.
    CommitFirst,
}

impl MountFs {
    /// Writes if that needs no waiting; `None` if it does, and nothing was done. Does no I/O: may be called from any thread.
    ///
    /// # Errors
    /// As [`MountFs::write`].
    pub fn write_now(
        self: &Arc<Self>,
        handle: u64,
        offset: u64,
        data: &[u8],
        append: bool,
    ) -> Option<Result<u32, FsError>> {
        let done =
            self.writable(handle, offset, data).and_then(|file| self.try_write(&file.inode, offset, data, append));
        match done {
            Ok(Ok(())) => Some(Ok(data.len() as u32)),
            Ok(Err(_)) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Puts `data` (at most 2^32 - 1 bytes) at `offset`, or with `append` at the end of the file as it will be when this is applied.
    ///
    /// The data is durable after the next `flush` or `fsync` of any handle of the file.
    ///
    /// # Errors
    /// What was lost of earlier writes is reported here first; then nothing of this one was taken.
    pub async fn write(self: &Arc<Self>, handle: u64, offset: u64, data: &[u8], append: bool) -> Result<u32, FsError> {
        let deadline = Instant::now() + self.config.deadline;
        loop {
            let file = self.writable(handle, offset, data)?;
            let inode = &file.inode;
            let (progress, freed) = (inode.progress.notified(), self.budget.freed.notified());
            tokio::pin!(progress, freed);
            progress.as_mut().enable();
            freed.as_mut().enable();
            let waited = match self.try_write(inode, offset, data, append)? {
                Ok(()) => return Ok(data.len() as u32),
                Err(Obstacle::InodeFull) => {
                    self.push_dirty(inode);
                    timeout_at(deadline, progress).await
                }
                Err(Obstacle::MountFull) => {
                    self.inodes.all().iter().for_each(|inode| self.push_dirty(inode));
                    timeout_at(deadline, freed).await
                }
                Err(Obstacle::CommitFirst) => {
                    // A failure is found by `writable` in the next round.
                    let _ = self.flush_inode(inode).await;
                    if Instant::now() < deadline { Ok(()) } else { return Err(FsError::Unavailable) }
                }
            };
            waited.map_err(|_| FsError::Unavailable)?;
        }
    }

    fn writable(&self, handle: u64, offset: u64, data: &[u8]) -> Result<Arc<FileHandle>, FsError> {
        self.guard.check()?;
        let file = self.files.get(handle)?;
        if !file.writable {
            return Err(FsError::BadHandle);
        }
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > FILE_BYTES_MAX) {
            return Err(FsError::FileTooLarge);
        }
        file.report_error()?;
        Ok(file)
    }

    fn try_write(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        offset: u64,
        data: &[u8],
        append: bool,
    ) -> Result<Result<(), Obstacle>, FsError> {
        let mut state = inode.state.lock();
        let runs = state.buffer.run_count();
        if !state.buffer.is_empty() && state.buffer.is_append() != append || runs >= RUNS_MAX {
            return Ok(Err(Obstacle::CommitFirst));
        }
        if append && state.buffered_end().max(state.attr.size) + data.len() as u64 > FILE_BYTES_MAX {
            return Err(FsError::FileTooLarge);
        }
        if state.buffered > 0 && state.buffered + data.len() > self.config.inode_buffer_bytes {
            return Ok(Err(Obstacle::InodeFull));
        }
        if !self.budget.try_take(data.len()) {
            return Ok(Err(Obstacle::MountFull));
        }
        let done = if append { state.buffer.append(data) } else { state.buffer.write(offset, data) };
        state.buffered += data.len();
        state.written_at = crate::fs::wall_time();
        state.dirty_since.get_or_insert_with(Instant::now);
        let commit = runs >= RUNS_COMMIT && !std::mem::replace(&mut state.commit_asked, true);
        drop(state);
        self.release_buffered(inode, done.replaced);
        done.full.into_iter().for_each(|piece| self.push(inode, piece));
        if commit {
            self.commit_in_background(inode);
        }
        Ok(Ok(()))
    }

    fn commit_in_background(self: &Arc<Self>, inode: &Arc<Inode>) {
        let (fs, inode) = (self.clone(), inode.clone());
        self.runtime.spawn(async move {
            // A failure sticks to the handles.
            let _ = fs.flush_inode(&inode).await;
        });
    }

    /// Sends all dirty data of an inode on its way.
    fn push_dirty(self: &Arc<Self>, inode: &Arc<Inode>) {
        let pieces = inode.state.lock().buffer.seal();
        pieces.into_iter().for_each(|piece| self.push(inode, piece));
    }

    /// Stores a piece as a chunk, in the background. A failure drops the inode's buffer and sticks to its handles.
    pub(crate) fn push(self: &Arc<Self>, inode: &Arc<Inode>, piece: Arc<Piece>) {
        let (fs, inode) = (self.clone(), inode.clone());
        self.runtime.spawn(async move {
            let Some(data) = piece.data() else { return };
            let _permit = fs.pushes.acquire().await;
            let result = fs.write_chunk(data).await;
            if let Err(error) = &result {
                fs.lose(&inode, error.clone());
            }
            if let Some(data) = piece.finish(result) {
                fs.chunk_buffers.give_back(data);
            }
            fs.release_buffered(&inode, piece.len);
        });
    }

    /// Drops what is buffered of an inode because it cannot be stored.
    pub(crate) fn lose(&self, inode: &Inode, error: FsError) {
        let mut state = inode.state.lock();
        let dropped = state.buffer.clear();
        state.dirty_since = None;
        state.content.forget();
        state.fail(error);
        drop(state);
        // The kernel's pages show what was lost.
        self.pages.forget(inode.ino);
        self.release_buffered(inode, dropped);
    }

    /// Buffered bytes have left memory.
    pub(crate) fn release_buffered(&self, inode: &Inode, bytes: usize) {
        if bytes > 0 {
            inode.state.lock().buffered -= bytes;
            self.budget.give_back(bytes);
        }
        inode.progress.notify_waiters();
    }
}
