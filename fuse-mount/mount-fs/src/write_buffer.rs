//! The dirty data of one inode: non-overlapping runs of bytes that the server does not have yet.
//!
//! | run | holds | becomes |
//! | --- | --- | --- |
//! | dirty | bytes in memory that may still be changed | part of a piece, by [`WriteBuffer::seal`] or when it is a chunk long |
//! | sealed | a reference into a [`Piece`] | an extent, when its piece is written and the inode is committed |
//!
//! A later write replaces what it overlaps, whatever the state of it. Small runs are packed together, so that a thousand
//! scattered writes make one chunk with a thousand extents.
//!
//! In **append mode** the keys are not file offsets but positions in the stream of appended bytes: where these land in the file is
//! decided when the command is applied. The two modes never mix; the caller commits before it changes the mode.
//!
//! No I/O here, and no counting against budgets: the functions return how many dirty bytes they dropped.

use crate::chunk_buffers::ChunkBuffers;
use crate::piece::{Piece, PieceState};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use types::{CHUNK_BYTES_MAX, ChunkRef};

/// A run that has grown to this length gets room for a whole chunk at once instead of growing step by step.
const GROW_AT_BYTES: usize = 128 << 10;

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    runs: BTreeMap<u64, Run>,
    append: Option<AppendStream>,
    dirty: usize,
    next_piece: u64,
    buffers: Arc<ChunkBuffers>,
}

/// Positions in the stream of appended bytes.
#[derive(Clone, Copy, Debug, Default)]
struct AppendStream {
    /// Up to here the server has it.
    committed: u64,
    /// Up to here it was written.
    end: u64,
}

#[derive(Debug)]
struct Run {
    len: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Dirty(BytesMut),
    Sealed { piece: Arc<Piece>, offset: u32 },
}

/// What a write did to the buffer.
#[derive(Debug, Default)]
pub(crate) struct Inserted {
    /// Dirty bytes that were replaced and take no memory any more.
    pub(crate) replaced: usize,
    /// Pieces that became full; the caller pushes them.
    pub(crate) full: Vec<Arc<Piece>>,
}

/// A run to commit.
#[derive(Clone, Debug)]
pub(crate) struct SealedRun {
    /// Offset in the file; in append mode relative to what is committed.
    pub(crate) start: u64,
    /// Bytes.
    pub(crate) len: u64,
    /// Where they are.
    pub(crate) piece: Arc<Piece>,
    /// Where they begin in the piece.
    pub(crate) offset: u32,
}

/// Dirty data as a reader sees it.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    /// In memory.
    Bytes(Bytes),
    /// Already in a chunk that no command has named yet: chunk, offset in it, length.
    Chunk(ChunkRef, u32, u32),
}

impl WriteBuffer {
    pub(crate) fn new(buffers: Arc<ChunkBuffers>) -> Self {
        WriteBuffer { buffers, ..WriteBuffer::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn is_append(&self) -> bool {
        self.append.is_some()
    }

    /// Runs, dirty and sealed; each becomes an extent.
    pub(crate) fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// Whether there are dirty runs, and nothing but dirty runs.
    pub(crate) fn is_all_dirty(&self) -> bool {
        !self.runs.is_empty() && self.runs.values().all(|run| matches!(run.source, Source::Dirty(_)))
    }

    /// End of the last run: the size the file has at least.
    pub(crate) fn end(&self) -> u64 {
        self.runs.last_key_value().map_or(0, |(start, run)| start + run.len)
    }

    /// Bytes waiting to be appended.
    pub(crate) fn append_len(&self) -> u64 {
        self.append.map_or(0, |stream| stream.end - stream.committed)
    }

    /// Puts `data` at a file offset. Only when the buffer is not in append mode.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Inserted {
        debug_assert!(self.append.is_none(), "positional write into an append stream");
        self.insert(offset, data)
    }

    /// Appends `data`. Only when the buffer is empty or in append mode.
    pub(crate) fn append(&mut self, data: &[u8]) -> Inserted {
        debug_assert!(self.append.is_some() || self.runs.is_empty(), "append beside positional writes");
        let stream = self.append.get_or_insert_default();
        let position = stream.end;
        stream.end += data.len() as u64;
        self.insert(position, data)
    }

    fn insert(&mut self, mut offset: u64, mut data: &[u8]) -> Inserted {
        let mut done = Inserted::default();
        while !data.is_empty() {
            let taken = match self.extendable(offset) {
                Some(start) => self.extend(start, offset, data, &mut done),
                None => self.begin(offset, data, &mut done),
            };
            offset += taken as u64;
            data = &data[taken..];
        }
        done
    }

    /// The dirty run that contains `offset`, or ends there and has room.
    fn extendable(&self, offset: u64) -> Option<u64> {
        let (start, run) = self.runs.range(..=offset).next_back()?;
        let Source::Dirty(bytes) = &run.source else { return None };
        let end = start + run.len;
        (offset < end || offset == end && bytes.len() < CHUNK_BYTES_MAX).then_some(*start)
    }

    /// Overwrites inside the run and appends to it while it has room.
    fn extend(&mut self, start: u64, offset: u64, data: &[u8], done: &mut Inserted) -> usize {
        let run_len = self.runs[&start].len as usize;
        let at = (offset - start) as usize;
        let inside = (run_len - at).min(data.len());
        let beyond = (data.len() - inside).min(CHUNK_BYTES_MAX - run_len);
        let run_end = start + run_len as u64;
        if beyond > 0 {
            done.replaced += self.carve(run_end, run_end + beyond as u64);
        }
        let run = self.runs.get_mut(&start).expect("carving behind the run leaves it alone");
        let Source::Dirty(bytes) = &mut run.source else { unreachable!("extendable runs are dirty") };
        bytes[at..at + inside].copy_from_slice(&data[..inside]);
        if bytes.len() + beyond > bytes.capacity() && bytes.len() >= GROW_AT_BYTES {
            let mut roomy = self.buffers.take();
            roomy.extend_from_slice(bytes);
            *bytes = roomy;
        }
        bytes.extend_from_slice(&data[inside..inside + beyond]);
        run.len += beyond as u64;
        self.dirty += beyond;
        done.replaced += inside;
        if bytes_len(run) == CHUNK_BYTES_MAX {
            done.full.extend(self.seal_runs(vec![start]));
        }
        inside + beyond
    }

    /// Begins a run at `offset`, replacing what stands there.
    fn begin(&mut self, offset: u64, data: &[u8], done: &mut Inserted) -> usize {
        let len = data.len().min(CHUNK_BYTES_MAX);
        done.replaced += self.carve(offset, offset + len as u64);
        self.runs.insert(offset, Run { len: len as u64, source: Source::Dirty(BytesMut::from(&data[..len])) });
        self.dirty += len;
        if len == CHUNK_BYTES_MAX {
            done.full.extend(self.seal_runs(vec![offset]));
        }
        len
    }

    /// Removes everything in `start..end`; returns how many dirty bytes that was.
    fn carve(&mut self, start: u64, end: u64) -> usize {
        if let Some((&before, run)) = self.runs.range_mut(..start).next_back()
            && before + run.len > start
        {
            let tail = run.split_off(start - before);
            self.runs.insert(start, tail);
        }
        let mut dropped = 0;
        while let Some((&at, _)) = self.runs.range(start..end).next() {
            let mut run = self.runs.remove(&at).expect("the key was just found");
            if at + run.len > end {
                let tail = run.split_off(end - at);
                self.runs.insert(end, tail);
            }
            dropped += bytes_len(&run);
        }
        self.dirty -= dropped;
        dropped
    }

    /// Turns all dirty runs into pieces of at most a chunk each. The caller pushes them or, if they may go inline, holds them.
    pub(crate) fn seal(&mut self) -> Vec<Arc<Piece>> {
        if self.dirty == 0 {
            return Vec::new();
        }
        let dirty = self.runs.iter().filter(|(_, run)| matches!(run.source, Source::Dirty(_)));
        let starts = dirty.map(|(start, _)| *start).collect();
        self.seal_runs(starts)
    }

    fn seal_runs(&mut self, starts: Vec<u64>) -> Vec<Arc<Piece>> {
        let mut pieces = Vec::new();
        let mut packed = BytesMut::new();
        let mut members: Vec<(u64, u32)> = Vec::new();
        for start in starts {
            let Some(Run { source: Source::Dirty(bytes), .. }) = self.runs.get_mut(&start) else { continue };
            let bytes = std::mem::take(bytes);
            self.dirty -= bytes.len();
            if packed.len() + bytes.len() > CHUNK_BYTES_MAX {
                pieces.push(self.close_piece(std::mem::take(&mut packed), std::mem::take(&mut members)));
            }
            members.push((start, packed.len() as u32));
            if packed.is_empty() {
                packed = bytes;
            } else {
                packed.extend_from_slice(&bytes);
            }
        }
        if !members.is_empty() {
            pieces.push(self.close_piece(packed, members));
        }
        pieces
    }

    fn close_piece(&mut self, packed: BytesMut, members: Vec<(u64, u32)>) -> Arc<Piece> {
        self.next_piece += 1;
        let piece = Arc::new(Piece::new(self.next_piece, packed.freeze()));
        for (start, offset) in members {
            if let Some(run) = self.runs.get_mut(&start) {
                run.source = Source::Sealed { piece: piece.clone(), offset };
            }
        }
        piece
    }

    /// The sealed runs in order. In append mode their starts are relative to what is committed.
    pub(crate) fn sealed(&self) -> Vec<SealedRun> {
        let base = self.append.map_or(0, |stream| stream.committed);
        let sealed = self.runs.iter().filter_map(|(start, run)| match &run.source {
            Source::Dirty(_) => None,
            Source::Sealed { piece, offset } => {
                Some(SealedRun { start: start - base, len: run.len, piece: piece.clone(), offset: *offset })
            }
        });
        sealed.collect()
    }

    /// The server has these pieces now: what still refers to them is not dirty any more.
    pub(crate) fn committed(&mut self, pieces: &HashSet<u64>) {
        self.runs.retain(|_, run| match &run.source {
            Source::Dirty(_) => true,
            Source::Sealed { piece, .. } => !pieces.contains(&piece.id),
        });
        if let Some(stream) = &mut self.append {
            stream.committed = self.runs.first_key_value().map_or(stream.end, |(start, _)| *start);
        }
        self.leave_append_mode();
    }

    /// Cuts what lies at and beyond `size`; returns the dirty bytes dropped. Not in append mode.
    pub(crate) fn cut(&mut self, size: u64) -> usize {
        debug_assert!(self.append.is_none(), "an append stream has no size");
        self.carve(size, u64::MAX)
    }

    /// Drops everything; returns the dirty bytes dropped.
    pub(crate) fn clear(&mut self) -> usize {
        self.runs.clear();
        self.leave_append_mode();
        std::mem::take(&mut self.dirty)
    }

    fn leave_append_mode(&mut self) {
        if self.runs.is_empty() {
            self.append = None;
        }
    }

    /// What lies over `range` of the file, in order. Not in append mode.
    pub(crate) fn overlay(&self, range: Range<u64>) -> Vec<(u64, Patch)> {
        let first = self.runs.range(..range.start).next_back();
        let rest = self.runs.range(range.clone());
        let touching = first.into_iter().chain(rest).filter_map(|(start, run)| {
            let from = range.start.max(*start);
            let to = range.end.min(start + run.len);
            (from < to).then(|| Some((from, run.patch(from - start, to - start)?)))?
        });
        touching.collect()
    }
}

/// Dirty bytes of a run.
fn bytes_len(run: &Run) -> usize {
    match &run.source {
        Source::Dirty(bytes) => bytes.len(),
        Source::Sealed { .. } => 0,
    }
}

impl Run {
    /// Splits behind `at` bytes; returns the tail.
    fn split_off(&mut self, at: u64) -> Run {
        let tail_len = self.len - at;
        self.len = at;
        let source = match &mut self.source {
            Source::Sealed { piece, offset } => Source::Sealed { piece: piece.clone(), offset: *offset + at as u32 },
            Source::Dirty(bytes) => {
                let tail = bytes.split_off(at as usize);
                // The halves share one allocation: copy the smaller one, so that a sliver does not keep a chunk's memory.
                let small = if tail.len() < bytes.len() { None } else { Some(BytesMut::from(&bytes[..])) };
                match small {
                    Some(head) => {
                        *bytes = head;
                        Source::Dirty(tail)
                    }
                    None => Source::Dirty(BytesMut::from(&tail[..])),
                }
            }
        };
        Run { len: tail_len, source }
    }

    /// The bytes `from..to` of the run; `None` if they are lost.
    fn patch(&self, from: u64, to: u64) -> Option<Patch> {
        let (from, to) = (from as usize, to as usize);
        match &self.source {
            Source::Dirty(bytes) => Some(Patch::Bytes(Bytes::copy_from_slice(&bytes[from..to]))),
            Source::Sealed { piece, offset } => {
                let offset = *offset as usize;
                match piece.state() {
                    PieceState::Buffered(data) => Some(Patch::Bytes(data.slice(offset + from..offset + to))),
                    PieceState::Written(written) => {
                        Some(Patch::Chunk(written.chunk, (offset + from) as u32, (to - from) as u32))
                    }
                    PieceState::Failed(_) => None,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
