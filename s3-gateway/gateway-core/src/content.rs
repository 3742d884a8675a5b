//! From what the metadata say of a content to the pieces that make it up.
//!
//! ```text
//! zeros      0000000000000000000000000000
//! inline     iiiiii
//! extents       eeeee     eeeeee
//! content    iiieeeee00000eeeeee0|  cut at the size
//! ```

use bytes::Bytes;
use proto::object::ContentView;
use std::collections::VecDeque;
use std::ops::Range;
use types::{ChunkRef, Extent};

/// A run of bytes from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// So many zeros.
    Zeros(u64),
    /// These bytes.
    Inline(Bytes),
    /// A range of a chunk.
    Chunk(ChunkRef, Range<u32>),
}

/// The metadata contradict themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The segments of `wanted` that `view` covers, and where the next page has to begin, if one is needed.
///
/// `wanted` ends at the content's size at most.
pub(crate) fn segments(view: &ContentView, wanted: Range<u64>) -> Result<(VecDeque<Segment>, Option<u64>), Malformed> {
    let next = view.next.filter(|next| *next < wanted.end);
    if next.is_some_and(|next| next <= wanted.start) {
        return Err(Malformed);
    }
    let end = next.unwrap_or(wanted.end);
    let mut out = VecDeque::new();
    let mut at = wanted.start;
    let mut behind = 0;
    for extent in &view.extents {
        if !extent.is_well_formed() || extent.file_offset < behind {
            return Err(Malformed);
        }
        behind = extent.end();
        let Some(part) = extent.clip(at, end) else { continue };
        fill(&mut out, view, at..part.file_offset);
        at = part.end();
        out.push_back(chunk(&part));
    }
    fill(&mut out, view, at..end);
    Ok((out, next))
}

fn chunk(part: &Extent) -> Segment {
    Segment::Chunk(part.chunk, part.chunk_offset..part.chunk_offset + part.len)
}

/// What lies under the extents.
fn fill(out: &mut VecDeque<Segment>, view: &ContentView, gap: Range<u64>) {
    let inline_end = (view.inline.len() as u64).clamp(gap.start, gap.end.max(gap.start));
    if gap.start < inline_end {
        out.push_back(Segment::Inline(view.inline.slice(gap.start as usize..inline_end as usize)));
    }
    if inline_end < gap.end {
        out.push_back(Segment::Zeros(gap.end - inline_end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Blake3Root, ChunkId};

    fn extent(file_offset: u64, chunk_offset: u32, len: u32) -> Extent {
        let chunk = ChunkRef { id: ChunkId(u128::from(file_offset)), len: 1000, root: Blake3Root([0; 32]) };
        Extent { file_offset, chunk, chunk_offset, len }
    }

    /// The bytes of the segments: a chunk's are its offsets, cut to 8 bits and never 0 or an inline byte.
    fn compose(view: &ContentView, wanted: Range<u64>) -> Vec<u8> {
        let (segments, next) = segments(view, wanted).expect("well formed");
        assert_eq!(next, None);
        let mut out = Vec::new();
        for segment in segments {
            match segment {
                Segment::Zeros(len) => out.extend(std::iter::repeat_n(0, len as usize)),
                Segment::Inline(data) => out.extend_from_slice(&data),
                Segment::Chunk(_, range) => out.extend(range.map(|at| at as u8)),
            }
        }
        out
    }

    #[test]
    fn every_range_is_the_range_of_the_whole() {
        let view = ContentView {
            size: 20,
            inline: Bytes::from_static(&[200, 201, 202, 203, 204, 205]),
            extents: vec![extent(3, 10, 5), extent(12, 20, 4)],
            ..ContentView::default()
        };
        let whole = [200, 201, 202, 10, 11, 12, 13, 14, 0, 0, 0, 0, 20, 21, 22, 23, 0, 0, 0, 0];
        assert_eq!(compose(&view, 0..20), whole);
        for start in 0..=20 {
            for end in start..=20 {
                assert_eq!(compose(&view, start..end), whole[start as usize..end as usize], "{start}..{end}");
            }
        }
    }

    #[test]
    fn a_page_ends_where_the_next_begins() {
        let view = ContentView { size: 100, extents: vec![extent(0, 0, 10)], next: Some(10), ..ContentView::default() };
        let (found, next) = segments(&view, 0..100).expect("well formed");
        assert_eq!((found.len(), next), (1, Some(10)));
        assert_eq!(segments(&view, 0..10).expect("well formed").1, None);
        assert_eq!(segments(&view, 10..20), Err(Malformed));
    }

    #[test]
    fn contradictions_are_refused() {
        for extents in [vec![extent(5, 0, 5), extent(8, 0, 5)], vec![extent(0, 999, 5)], vec![extent(0, 0, 0)]] {
            let view = ContentView { size: 100, extents, ..ContentView::default() };
            assert_eq!(segments(&view, 0..100), Err(Malformed));
        }
    }
}
