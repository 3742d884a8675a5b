//! Committing: what is buffered of an inode becomes durable and visible.
//!
//! Order: (1) all dirty runs become pieces and are stored, in parallel; (2) when every piece is durable, one `Write` command names
//! them as extents (more only above `COMMAND_EXTENTS_MAX`); (3) what the command took leaves the buffer. A file that stays
//! at most `INLINE_BYTES_MAX` long skips (1): its whole content goes into the command.
//!
//! One commit of an inode at a time. Writers go on meanwhile: what they replace stays dirty.

use crate::inode::Inode;
use crate::piece::Piece;
use crate::write_buffer::SealedRun;
use crate::{FsError, MountFs};
use bytes::Bytes;
use proto::meta::Command;
use proto::object::{Attr, NewExtent};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use types::{COMMAND_EXTENTS_MAX, Extent, INLINE_BYTES_MAX};

/// How long "the file is empty" is believed without asking when its whole content is about to be replaced.
const EMPTY_TRUSTED: Duration = Duration::from_secs(1);

/// What one commit takes out of the buffer.
struct Plan {
    runs: Vec<SealedRun>,
    append: bool,
    /// Pieces that nobody has begun to store.
    fresh: Vec<Arc<Piece>>,
    /// The content may go inline, then nothing of `fresh` needs to be stored.
    inline: bool,
    /// The file is known to be empty, or its size before the commit is not known for certain.
    known_empty: bool,
}

impl MountFs {
    /// Makes everything durable that was written to the file before this call, through whichever handle.
    ///
    /// # Errors
    /// What was lost since this handle last reported a loss, once.
    pub async fn flush(self: &Arc<Self>, handle: u64) -> Result<(), FsError> {
        let file = self.files.get(handle)?;
        if file.writable {
            // The failure is reported through the handle, once.
            let _ = self.flush_inode(&file.inode).await;
        }
        file.report_error()
    }

    /// As [`MountFs::flush`]; also for handles that only read.
    ///
    /// # Errors
    /// As [`MountFs::flush`].
    pub async fn fsync(self: &Arc<Self>, handle: u64) -> Result<(), FsError> {
        let file = self.files.get(handle)?;
        let _ = self.flush_inode(&file.inode).await;
        file.report_error()
    }

    /// Whether `flush` of this handle has nothing to do and nothing to report.
    #[must_use]
    pub fn is_flushed(&self, handle: u64) -> bool {
        self.files.get(handle).is_ok_and(|file| !file.writable || file.inode.is_clean() && file.report_none())
    }

    /// Commits what is buffered of an inode. A failure has been recorded for its handles when this returns.
    pub(crate) async fn flush_inode(self: &Arc<Self>, inode: &Arc<Inode>) -> Result<(), FsError> {
        if inode.is_clean() {
            return Ok(());
        }
        let _commit = inode.commit.lock().await;
        self.flush_locked(inode).await
    }

    /// As `flush_inode`; the caller holds `inode.commit`.
    pub(crate) async fn flush_locked(self: &Arc<Self>, inode: &Arc<Inode>) -> Result<(), FsError> {
        let Some(plan) = self.plan(inode) else { return Ok(()) };
        let lost_before = inode.state.lock().error.clone();
        let committed = self.commit(inode, &plan).await;
        match &committed {
            Ok(()) => {
                let pieces: HashSet<u64> = plan.runs.iter().map(|run| run.piece.id).collect();
                let mut state = inode.state.lock();
                state.buffer.committed(&pieces);
                state.content.forget();
                if state.buffer.is_empty() {
                    state.dirty_since = None;
                    state.commit_asked = false;
                }
            }
            // A piece that could not be stored has recorded the loss itself.
            Err(error) if inode.state.lock().error == lost_before => self.lose(inode, error.clone()),
            Err(_) => {}
        }
        inode.progress.notify_waiters();
        committed
    }

    fn plan(&self, inode: &Inode) -> Option<Plan> {
        let mut state = inode.state.lock();
        state.commit_asked = false;
        if state.buffer.is_empty() {
            return None;
        }
        let append = state.buffer.is_append();
        let size = state.attr.size.max(state.buffer.end());
        let inline = !append && size <= INLINE_BYTES_MAX as u64 && state.buffer.is_all_dirty();
        let known_empty = state.attr.size == 0 && state.attr_at.elapsed() <= EMPTY_TRUSTED;
        let fresh = state.buffer.seal();
        Some(Plan { runs: state.buffer.sealed(), append, fresh, inline, known_empty })
    }

    async fn commit(self: &Arc<Self>, inode: &Arc<Inode>, plan: &Plan) -> Result<(), FsError> {
        if plan.inline {
            let content = self.inline_content(inode, plan).await;
            match content {
                Ok(Some(content)) => return self.commit_inline(inode, plan, content).await,
                Ok(None) => {}
                Err(error) => {
                    self.drop_fresh(inode, plan, &error);
                    return Err(error);
                }
            }
        }
        plan.fresh.iter().for_each(|piece| self.push(inode, piece.clone()));
        let extents = extents_of(&plan.runs).await?;
        self.commit_extents(inode, &extents, plan.append).await
    }

    /// The whole content of a file after this commit, if it may go inline.
    async fn inline_content(self: &Arc<Self>, inode: &Arc<Inode>, plan: &Plan) -> Result<Option<Bytes>, FsError> {
        let mut content = Vec::new();
        if !plan.known_empty {
            let Some(base) = self.small_content(inode).await? else { return Ok(None) };
            content.extend_from_slice(&base);
        }
        for run in &plan.runs {
            let Some(data) = run.piece.data() else { return Ok(None) };
            let (start, len, from) = (run.start as usize, run.len as usize, run.offset as usize);
            content.resize(content.len().max(start + len), 0);
            content[start..start + len].copy_from_slice(&data[from..from + len]);
        }
        Ok((content.len() <= INLINE_BYTES_MAX).then(|| content.into()))
    }

    async fn commit_inline(&self, inode: &Inode, plan: &Plan, content: Bytes) -> Result<(), FsError> {
        let command = Command::Write { ino: inode.ino, inline: Some(content), extents: Vec::new(), append: false };
        let result = self.send_write(inode, command).await;
        for piece in &plan.fresh {
            self.release_buffered(inode, piece.len);
        }
        result.map(drop)
    }

    /// Pieces that were sealed and will not be stored give their memory back.
    fn drop_fresh(&self, inode: &Inode, plan: &Plan, error: &FsError) {
        for piece in &plan.fresh {
            piece.finish(Err(error.clone()));
            self.release_buffered(inode, piece.len);
        }
    }

    async fn commit_extents(&self, inode: &Inode, extents: &[NewExtent], append: bool) -> Result<(), FsError> {
        let mut appended = 0;
        for batch in extents.chunks(COMMAND_EXTENTS_MAX) {
            let mut extents = batch.to_vec();
            if append {
                extents.iter_mut().for_each(|new| new.extent.file_offset -= appended);
                appended += batch.iter().map(|new| u64::from(new.extent.len)).sum::<u64>();
            }
            let command = Command::Write { ino: inode.ino, inline: None, extents, append };
            self.send_write(inode, command).await?;
        }
        Ok(())
    }

    async fn send_write(&self, inode: &Inode, command: Command) -> Result<Attr, FsError> {
        let attr = self.command_attr(inode.ino.group(), command).await?;
        self.pages.own_change(inode.ino, attr.change);
        inode.state.lock().observe(&attr);
        Ok(attr)
    }
}

/// The extents of sealed runs, once every piece is durable. Neighbours in file and chunk become one.
async fn extents_of(runs: &[SealedRun]) -> Result<Vec<NewExtent>, FsError> {
    let mut extents: Vec<NewExtent> = Vec::with_capacity(runs.len());
    for run in runs {
        let written = run.piece.written().await?;
        let len = run.len as u32;
        if let Some(NewExtent { extent: last, .. }) = extents.last_mut()
            && last.chunk.id == written.chunk.id
            && last.end() == run.start
            && last.chunk_offset + last.len == run.offset
        {
            last.len += len;
            continue;
        }
        let extent = Extent { file_offset: run.start, chunk: written.chunk, chunk_offset: run.offset, len };
        extents.push(NewExtent { extent, missing: written.missing });
    }
    Ok(extents)
}
