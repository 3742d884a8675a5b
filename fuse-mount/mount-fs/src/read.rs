//! Reading: the content as the server has it, with what is buffered here laid over it.

use crate::block_cache::Span;
use crate::content::Layout;
use crate::handle::FileHandle;
use crate::inode::Inode;
use crate::write_buffer::Patch;
use crate::{FsError, MountFs};
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use std::sync::Arc;
use types::{ChunkRef, Extent, FILE_BYTES_MAX, INLINE_BYTES_MAX};

/// What a read found: bytes, and where they belong relative to the start of the read.
struct Part {
    at: usize,
    len: usize,
    source: PartSource,
}

enum PartSource {
    Bytes(Bytes),
    /// Spans that cover `from..from + len` of a chunk.
    Spans(Vec<Span>, u32),
}

impl MountFs {
    /// Up to `len` bytes from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// [`FsError::Lost`] when no intact copy is left; never other bytes than were written.
    pub async fn read(self: &Arc<Self>, handle: u64, offset: u64, len: u32) -> Result<Bytes, FsError> {
        self.guard.check()?;
        let file = self.files.get(handle)?;
        if offset >= FILE_BYTES_MAX {
            return Ok(Bytes::new());
        }
        let range = offset..offset.saturating_add(u64::from(len));
        let seen = file.inode.state.lock().content.is_known();
        match self.read_range(&file, range.clone()).await {
            // The extents may be those of an older version, whose chunks are gone: ask again before calling it a loss.
            Err(FsError::Lost) if seen => {
                file.inode.state.lock().content.forget();
                self.read_range(&file, range).await
            }
            result => result,
        }
    }

    async fn read_range(self: &Arc<Self>, file: &FileHandle, range: Range<u64>) -> Result<Bytes, FsError> {
        let inode = &file.inode;
        if inode.state.lock().buffer.is_append() {
            // Where appended bytes land is not known before they are applied.
            self.flush_inode(inode).await?;
        }
        // The overlay is taken before the layout: what is committed in between shows up in both, never in neither.
        let (overlay, buffered_end) = {
            let state = inode.state.lock();
            match state.buffer.is_append() {
                true => (Vec::new(), 0),
                false => (state.buffer.overlay(range.clone()), state.buffer.end()),
            }
        };
        let ahead = {
            let size = inode.state.lock().attr.size;
            file.readahead.lock().on_read(range.clone(), size, self.config.readahead_max())
        };
        let ahead = if self.cache.has_room_ahead() { ahead } else { range.clone() };
        let want = ahead.start.min(range.start)..ahead.end.max(range.end);
        let layout = self.layout(inode, want).await?;
        let size = layout.size.max(buffered_end);
        let range = range.start.min(size)..range.end.min(size);
        self.load_ahead(&layout);
        let parts = self.parts(&layout, overlay, range.clone());
        compose(parts, (range.end - range.start) as usize).await
    }

    /// The bytes of a range in the order they are laid down: inline, extents, then what is buffered.
    fn parts(self: &Arc<Self>, layout: &Layout, overlay: Vec<(u64, Patch)>, range: Range<u64>) -> Vec<Part> {
        let mut parts = Vec::new();
        let inline_end = (layout.inline.len() as u64).min(layout.size).min(range.end);
        if range.start < inline_end {
            let data = layout.inline.slice(range.start as usize..inline_end as usize);
            parts.push(Part { at: 0, len: data.len(), source: PartSource::Bytes(data) });
        }
        let stored_end = range.end.min(layout.size);
        for extent in layout.extents.iter().filter_map(|extent| extent.clip(range.start, stored_end)) {
            let at = extent.file_offset - range.start;
            parts.push(self.chunk_part(at, extent.chunk, extent.chunk_offset, extent.len));
        }
        for (start, patch) in overlay {
            let at = start - range.start;
            parts.push(match patch {
                Patch::Bytes(data) => Part { at: at as usize, len: data.len(), source: PartSource::Bytes(data) },
                Patch::Chunk(chunk, from, len) => self.chunk_part(at, chunk, from, len),
            });
        }
        parts
    }

    fn chunk_part(self: &Arc<Self>, at: u64, chunk: ChunkRef, from: u32, len: u32) -> Part {
        let spans = self.spans(chunk, from..from + len);
        Part { at: at as usize, len: len as usize, source: PartSource::Spans(spans, from) }
    }

    /// Begins to load what the read-ahead asked for; the layout covers it.
    fn load_ahead(self: &Arc<Self>, layout: &Layout) {
        for extent in &layout.extents {
            if !self.cache.has_room_ahead() {
                return;
            }
            self.spans(extent.chunk, extent.chunk_offset..extent.chunk_offset + extent.len);
        }
    }

    /// The whole content on the server, if it is at most `INLINE_BYTES_MAX` long. Asks the server.
    pub(crate) async fn small_content(self: &Arc<Self>, inode: &Arc<Inode>) -> Result<Option<Bytes>, FsError> {
        let view = self.query_content(inode.ino, 0, INLINE_BYTES_MAX as u64).await?;
        if view.size > INLINE_BYTES_MAX as u64 || view.next.is_some_and(|next| next < view.size) {
            return Ok(None);
        }
        let extents = view.extents.into_iter().filter(Extent::is_well_formed).collect();
        let layout = Layout { size: view.size, inline: view.inline, extents };
        let parts = self.parts(&layout, Vec::new(), 0..view.size);
        compose(parts, view.size as usize).await.map(Some)
    }
}

/// Lays the parts over zeros. A read that lies in one span is answered without copying.
async fn compose(mut parts: Vec<Part>, len: usize) -> Result<Bytes, FsError> {
    if let [Part { at: 0, len: part_len, .. }] = parts[..]
        && part_len == len
        && let Some(Part { source, .. }) = parts.pop()
    {
        return whole(source, len).await;
    }
    let mut out = BytesMut::zeroed(len);
    for part in parts {
        let target = &mut out[part.at..part.at + part.len];
        match part.source {
            PartSource::Bytes(data) => target.copy_from_slice(&data),
            PartSource::Spans(spans, from) => lay_spans(spans, from, target).await?,
        }
    }
    Ok(out.freeze())
}

async fn whole(source: PartSource, len: usize) -> Result<Bytes, FsError> {
    match source {
        PartSource::Bytes(data) => Ok(data),
        PartSource::Spans(mut spans, from) if spans.len() == 1 => {
            let Span { range, data } = spans.remove(0);
            let start = (from - range.start) as usize;
            Ok(data.get().await?.slice(start..start + len))
        }
        PartSource::Spans(spans, from) => {
            let mut out = BytesMut::zeroed(len);
            lay_spans(spans, from, &mut out).await?;
            Ok(out.freeze())
        }
    }
}

async fn lay_spans(spans: Vec<Span>, from: u32, target: &mut [u8]) -> Result<(), FsError> {
    let end = from + target.len() as u32;
    for Span { range, data } in spans {
        let data = data.get().await?;
        let (first, last) = (range.start.max(from), range.end.min(end));
        let piece = &data[(first - range.start) as usize..(last - range.start) as usize];
        target[(first - from) as usize..(last - from) as usize].copy_from_slice(piece);
    }
    Ok(())
}
