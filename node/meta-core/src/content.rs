//! The content of a file: inline bytes with pieces laid over them.
//!
//! Up to [`DIRECT_PIECES_MAX`] pieces stand in the inode, more in a list of their own. Reading composes zeros, inline
//! bytes, pieces, and cuts at the size (`proto::object::ContentView`).

#[cfg(test)]
mod tests;

use crate::key::inode::InlineKey;
use crate::kv::{KvError, KvRead};
use crate::list::{LIST_DEPTH_MAX, Runs, stored};
use crate::piece::{Piece, Source, runs};
use crate::row;
use crate::txn::{Step, Txn};
use bytes::Bytes;
use proto::meta::{BadChunk, Refusal};
use proto::object::{ContentView, ETag, NewContent, NewExtent};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use types::{Extent, FILE_BYTES_MAX, INLINE_BYTES_MAX, Ino, ListId};

/// Pieces kept in the inode itself: 16 MiB of whole chunks without a second row.
pub(crate) const DIRECT_PIECES_MAX: usize = 4;
/// Pieces of a shared list that are copied rather than windowed when one of the sharers writes.
const UNFOLD_PIECES_MAX: usize = 64;
/// Extents in one answer: about 70 KiB.
const VIEW_EXTENTS_MAX: usize = 1024;

/// The content of a file or symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) size: u64,
    /// Inline bytes and bytes of pieces.
    pub(crate) stored: u64,
    pub(crate) etag: ETag,
    /// Length of the inline row; without one 0.
    pub(crate) inline: u16,
    pub(crate) body: Body,
}

/// Where the pieces are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Body {
    /// Here, in order, without overlap.
    Direct(Vec<Piece>),
    /// In a list, to which this is one reference.
    List(ListId),
}

impl Content {
    pub(crate) fn empty(etag: ETag) -> Self {
        Content { size: 0, stored: 0, etag, inline: 0, body: Body::Direct(Vec::new()) }
    }
}

/// Whether extents cover a content from its beginning without gap or overlap.
pub(crate) fn check_contiguous(extents: &[NewExtent]) -> Result<(), BadChunk> {
    let mut at = 0;
    for new in extents {
        if new.extent.file_offset != at || !new.extent.is_well_formed() {
            return Err(BadChunk::Malformed);
        }
        at = new.extent.end();
    }
    Ok(())
}

/// Moves extents by `base`, checks that they ascend without overlap.
fn place(extents: &[NewExtent], base: u64) -> Result<Vec<NewExtent>, BadChunk> {
    let mut placed = Vec::with_capacity(extents.len());
    let mut at = 0;
    for new in extents {
        let mut new = *new;
        new.extent.file_offset = new.extent.file_offset.checked_add(base).ok_or(BadChunk::Malformed)?;
        if !new.extent.is_well_formed() || new.extent.file_offset < at {
            return Err(BadChunk::Malformed);
        }
        at = new.extent.end();
        placed.push(new);
    }
    Ok(placed)
}

impl Txn<'_> {
    /// Takes in new content for `ino`, whose rows it writes and whose chunks it counts.
    pub(crate) fn accept(&mut self, ino: Ino, content: &NewContent, etag: ETag) -> Step<Content> {
        let mut new = Content::empty(etag);
        match content {
            NewContent::Inline(data) => self.set_inline(ino, &mut new, data)?,
            NewContent::Chunks(extents) => {
                check_contiguous(extents)?;
                self.commit_chunks(extents, ino)?;
                new.size = content.len();
                new.stored = new.size;
                new.body = self.body_of(extents.iter().map(Piece::of).collect())?;
            }
        }
        Ok(new)
    }

    /// Replaces the inline bytes. Size and `stored` follow; the pieces are left alone.
    fn set_inline(&mut self, ino: Ino, content: &mut Content, data: &Bytes) -> Step<()> {
        if data.len() > INLINE_BYTES_MAX {
            return Err(Refusal::TooLarge.into());
        }
        if data.is_empty() {
            if content.inline > 0 {
                self.remove(&InlineKey(ino));
            }
        } else {
            self.write(&InlineKey(ino), data);
        }
        let len = data.len() as u64;
        content.stored = content.stored - u64::from(content.inline) + len;
        content.inline = data.len() as u16;
        content.size = content.size.max(len);
        Ok(())
    }

    /// Keeps pieces, whose references are counted already.
    pub(crate) fn body_of(&mut self, pieces: Vec<Piece>) -> Step<Body> {
        if pieces.len() <= DIRECT_PIECES_MAX {
            Ok(Body::Direct(pieces))
        } else {
            Ok(Body::List(self.create_list(&pieces)?))
        }
    }

    /// Another reference to the same content; of `ino`, whose inline row is copied.
    pub(crate) fn share(&mut self, from: Ino, content: &Content, ino: Ino) -> Step<Content> {
        if content.inline > 0 {
            let data = self.require(&InlineKey(from))?;
            self.write(&InlineKey(ino), &data);
        }
        match &content.body {
            Body::Direct(pieces) => {
                // A later write to either copy may need a level of its own.
                if self.depth_of(pieces)? + 2 > LIST_DEPTH_MAX {
                    return Err(Refusal::TooLarge.into());
                }
                for piece in pieces {
                    self.retain(&piece.source, 1)?;
                }
            }
            Body::List(list) => {
                if self.require(&crate::key::list::ListKey(*list))?.depth + 2 > LIST_DEPTH_MAX {
                    return Err(Refusal::TooLarge.into());
                }
                self.retain_list(*list, 1)?;
            }
        }
        Ok(content.clone())
    }

    /// Drops all content of `ino`.
    pub(crate) fn clear(&mut self, ino: Ino, content: &mut Content) -> Step<()> {
        if content.inline > 0 {
            self.remove(&InlineKey(ino));
        }
        match std::mem::replace(&mut content.body, Body::Direct(Vec::new())) {
            Body::Direct(pieces) => {
                for piece in &pieces {
                    self.release(&piece.source)?;
                }
            }
            Body::List(list) => self.release_list(list)?,
        }
        *content = Content::empty(content.etag);
        Ok(())
    }

    /// As the command `Write` says.
    pub(crate) fn write_content(
        &mut self,
        ino: Ino,
        content: &mut Content,
        inline: Option<&Bytes>,
        extents: &[NewExtent],
        append: bool,
    ) -> Step<()> {
        let size = inline.map_or(content.size, |data| data.len() as u64);
        let placed = place(extents, if append { size } else { 0 })?;
        // Counted before anything is dropped: a chunk laid over itself must not become garbage.
        self.commit_chunks(&placed, ino)?;
        if let Some(data) = inline {
            self.clear(ino, content)?;
            self.set_inline(ino, content, data)?;
        }
        let pieces: Vec<Piece> = placed.iter().map(Piece::of).collect();
        if let Some(last) = pieces.last() {
            let end = last.end();
            self.lay(content, pieces)?;
            content.size = content.size.max(end);
        }
        Ok(())
    }

    /// Lays pieces, in order, over the content; their references are counted already.
    fn lay(&mut self, content: &mut Content, new: Vec<Piece>) -> Step<()> {
        let holes = runs(&new);
        self.loosen(content, &holes)?;
        match &content.body {
            Body::List(list) => {
                let dropped = self.edit_list(*list, &new)?;
                content.stored = content.stored - dropped + stored(&new);
            }
            Body::Direct(_) => {
                let mut pieces = self.punch_direct(content, &holes)?;
                pieces.extend(new);
                pieces.sort_by_key(|piece| piece.offset);
                content.stored = u64::from(content.inline) + stored(&pieces);
                content.body = self.body_of(pieces)?;
            }
        }
        Ok(())
    }

    /// Cuts the content at `size`, or lets it end in a hole there.
    pub(crate) fn resize(&mut self, ino: Ino, content: &mut Content, size: u64) -> Step<()> {
        if size == 0 {
            self.clear(ino, content)?;
            return Ok(());
        }
        if size < content.size {
            if size < u64::from(content.inline) {
                let data = self.require(&InlineKey(ino))?;
                self.set_inline(ino, content, &data.slice(..size as usize))?;
            }
            let hole = size..u64::MAX;
            self.loosen(content, std::slice::from_ref(&hole))?;
            match &content.body {
                Body::List(list) => content.stored -= self.replace_run(*list, &hole, &[])?,
                Body::Direct(_) => {
                    let pieces = self.punch_direct(content, std::slice::from_ref(&hole))?;
                    content.stored = u64::from(content.inline) + stored(&pieces);
                    content.body = self.body_of(pieces)?;
                }
            }
        }
        content.size = size;
        Ok(())
    }

    /// Makes the body one that may be changed at `ranges`: pieces in the inode, or a list that may be edited.
    fn loosen(&mut self, content: &mut Content, ranges: &[Range<u64>]) -> Step<()> {
        let Body::List(list) = content.body else { return Ok(()) };
        if self.editable(list, ranges)? {
            return Ok(());
        }
        let pieces = match self.unfold_list(list, UNFOLD_PIECES_MAX)? {
            Some(pieces) => pieces,
            None => {
                let stored = content.stored - u64::from(content.inline);
                vec![Piece { offset: 0, len: content.size, source: Source::List { list, offset: 0, stored } }]
            }
        };
        content.body = Body::Direct(pieces);
        Ok(())
    }

    fn punch_direct(&mut self, content: &mut Content, holes: &[Range<u64>]) -> Step<Vec<Piece>> {
        match std::mem::replace(&mut content.body, Body::Direct(Vec::new())) {
            Body::Direct(pieces) => self.punch(pieces, holes),
            body @ Body::List(_) => {
                content.body = body;
                Ok(Vec::new())
            }
        }
    }
}

/// What is asked of a content, and what was found.
struct Collector<'a> {
    kv: &'a dyn KvRead,
    wanted: Range<u64>,
    extents: Vec<Extent>,
}

impl Collector<'_> {
    /// Adds what pieces show of the wanted range. They are `shift` further on in the file than they say, and only
    /// `window` (in the file) of them is to be seen. Stops once there is one extent more than an answer takes.
    fn pieces(&mut self, pieces: &[Piece], shift: i128, window: &Range<u64>) -> Result<(), KvError> {
        for piece in pieces {
            let mut piece = piece.clone();
            let visible = shifted(window, -shift);
            let Some(cut) = piece.cut(&visible) else { continue };
            piece = cut;
            piece.offset = (i128::from(piece.offset) + shift) as u64;
            if piece.offset >= self.wanted.end || piece.end() <= self.wanted.start {
                continue;
            }
            if self.extents.len() > VIEW_EXTENTS_MAX {
                return Ok(());
            }
            match piece.source {
                Source::Chunk { .. } => self.extents.extend(piece.extent()),
                Source::List { list, offset, .. } => {
                    self.list(list, i128::from(piece.offset) - i128::from(offset), &piece.range())?;
                }
            }
        }
        Ok(())
    }

    /// Adds what a list shows, which stands `shift` further on in the file, through `window`.
    fn list(&mut self, list: ListId, shift: i128, window: &Range<u64>) -> Result<(), KvError> {
        let seen = window.start.max(self.wanted.start)..window.end.min(self.wanted.end);
        let mut runs = Runs::new(self.kv, list, &shifted(&seen, -shift));
        while let Some((_, pieces)) = runs.next()? {
            self.pieces(&pieces, shift, window)?;
            if self.extents.len() > VIEW_EXTENTS_MAX {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A range moved by `by`, cut at both ends of what can be.
fn shifted(range: &Range<u64>, by: i128) -> Range<u64> {
    let moved = |at: u64| (i128::from(at) + by).clamp(0, i128::from(u64::MAX)) as u64;
    moved(range.start)..moved(range.end)
}

/// The content of `ino` in `offset..offset + len`, as far as one answer takes it.
pub(crate) fn view(
    kv: &dyn KvRead,
    ino: Ino,
    content: &Content,
    change: u64,
    offset: u64,
    len: u64,
) -> Result<ContentView, KvError> {
    let wanted = offset..offset.saturating_add(len).min(content.size);
    let mut view = ContentView { size: content.size, change, ..ContentView::default() };
    if wanted.is_empty() {
        return Ok(view);
    }
    if offset < u64::from(content.inline) {
        view.inline = row::require(kv, &InlineKey(ino))?;
    }
    let mut collector = Collector { kv, wanted, extents: Vec::new() };
    let all = 0..FILE_BYTES_MAX;
    match &content.body {
        Body::Direct(pieces) => collector.pieces(pieces, 0, &all)?,
        Body::List(list) => collector.list(*list, 0, &all)?,
    }
    view.extents = collector.extents;
    if view.extents.len() > VIEW_EXTENTS_MAX {
        view.extents.truncate(VIEW_EXTENTS_MAX);
        view.next = view.extents.last().map(Extent::end);
    }
    Ok(view)
}
