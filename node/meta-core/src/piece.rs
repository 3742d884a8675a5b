//! A run of bytes of a file and where it comes from: a chunk, or a window on an extent list. Pure arithmetic, no rows.

use proto::object::NewExtent;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use types::{ChunkRef, Extent, ListId};

/// A run of bytes at `offset` of a file or of a list. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) source: Source,
}

/// Where the bytes of a piece are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Source {
    /// In a chunk, from `offset` of it on.
    Chunk { chunk: ChunkRef, offset: u32 },
    /// In a list, from `offset` of it on. A window may show holes: about `stored` bytes of it are backed by chunks.
    List { list: ListId, offset: u64, stored: u64 },
}

impl Piece {
    pub(crate) fn of(new: &NewExtent) -> Self {
        Piece {
            offset: new.extent.file_offset,
            len: u64::from(new.extent.len),
            source: Source::Chunk { chunk: new.extent.chunk, offset: new.extent.chunk_offset },
        }
    }

    /// First byte after it. A damaged row may say anything; pieces that were written never reach the end of the numbers.
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }

    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.end()
    }

    /// Bytes of storage it stands for; for a window over holes an estimate.
    pub(crate) fn stored(&self) -> u64 {
        match self.source {
            Source::Chunk { .. } => self.len,
            Source::List { stored, .. } => stored.min(self.len),
        }
    }

    /// The part of it inside `range`, if any.
    pub(crate) fn cut(&self, range: &Range<u64>) -> Option<Piece> {
        let from = self.offset.max(range.start);
        let to = self.end().min(range.end);
        if from >= to {
            return None;
        }
        let skipped = from - self.offset;
        let source = match self.source.clone() {
            Source::Chunk { chunk, offset } => Source::Chunk { chunk, offset: offset + skipped as u32 },
            Source::List { list, offset, stored } => {
                Source::List { list, offset: offset + skipped, stored: stored.min(to - from) }
            }
        };
        Some(Piece { offset: from, len: to - from, source })
    }

    /// What is left of it outside `holes`, which are in order and do not overlap.
    pub(crate) fn without(&self, holes: &[Range<u64>]) -> Vec<Piece> {
        let mut left = Vec::new();
        let mut from = self.offset;
        for hole in holes.iter().filter(|hole| hole.start < self.end() && hole.end > self.offset) {
            left.extend(self.cut(&(from..hole.start)));
            from = hole.end;
        }
        left.extend(self.cut(&(from..u64::MAX)));
        self.share_out_stored(&mut left);
        left
    }

    /// Keeps the fragments of a window from standing for more storage than it did.
    fn share_out_stored(&self, fragments: &mut [Piece]) {
        let mut budget = self.stored();
        for fragment in fragments {
            if let Source::List { stored, .. } = &mut fragment.source {
                *stored = budget.min(fragment.len);
                budget -= *stored;
            }
        }
    }

    /// The extent of a piece that lies in a chunk.
    pub(crate) fn extent(&self) -> Option<Extent> {
        match self.source {
            Source::Chunk { chunk, offset } => {
                Some(Extent { file_offset: self.offset, chunk, chunk_offset: offset, len: self.len as u32 })
            }
            Source::List { .. } => None,
        }
    }
}

/// The ranges that pieces in order cover, with touching ones joined.
pub(crate) fn runs(pieces: &[Piece]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for piece in pieces {
        match runs.last_mut() {
            Some(last) if last.end == piece.offset => last.end = piece.end(),
            _ => runs.push(piece.range()),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Blake3Root, ChunkId};

    fn piece(offset: u64, len: u64) -> Piece {
        let chunk = ChunkRef { id: ChunkId(1), len: 100, root: Blake3Root([0; 32]) };
        Piece { offset, len, source: Source::Chunk { chunk, offset: 5 } }
    }

    #[test]
    fn cutting_moves_the_place_in_the_source() {
        let cut = piece(10, 20).cut(&(15..100)).expect("they overlap");
        assert_eq!((cut.offset, cut.len), (15, 15));
        assert_eq!(cut.extent().map(|extent| extent.chunk_offset), Some(10));
        assert_eq!(piece(10, 20).cut(&(30..40)), None);
        assert_eq!(piece(10, 20).cut(&(20..20)), None);
        let window = Piece { offset: 0, len: 50, source: Source::List { list: ListId(1), offset: 7, stored: 40 } };
        let cut = window.cut(&(10..20)).expect("they overlap");
        assert_eq!(cut.source, Source::List { list: ListId(1), offset: 17, stored: 10 });
    }

    #[test]
    fn what_is_left_lies_between_the_holes() {
        let ranges = |holes: &[Range<u64>]| {
            format!("{:?}", piece(10, 20).without(holes).iter().map(Piece::range).collect::<Vec<_>>())
        };
        assert_eq!(ranges(&[]), "[10..30]");
        assert_eq!(ranges(&[0..10, 30..40]), "[10..30]");
        assert_eq!(ranges(&[0..12, 15..16, 29..50]), "[12..15, 16..29]");
        assert_eq!(ranges(&[0..50, 60..70]), "[]");
    }

    #[test]
    fn touching_pieces_are_one_run() {
        assert_eq!(runs(&[piece(0, 5), piece(5, 5), piece(11, 1)]), [0..10, 11..12]);
    }
}
