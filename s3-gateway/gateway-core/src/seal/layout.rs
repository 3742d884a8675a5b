//! Of which parts an object consists, and where their segments lie.

use super::cipher::OVERHEAD_BYTES;
use super::{RUNS_MAX, SealError};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use types::{FILE_BYTES_MAX, PARTS_MAX};

/// Plain bytes of a segment, but for a part's last one: a leaf, so that a segment is never in more than two of them.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 10;
const SEALED_SEGMENT_BYTES: u64 = SEGMENT_BYTES + OVERHEAD_BYTES as u64;

const _: () = assert!(SEGMENT_BYTES as usize == types::LEAF_BYTES);

/// Bytes that a part of so many plain bytes takes.
pub(crate) fn sealed_bytes(plain: u64) -> u64 {
    plain.saturating_add(plain.div_ceil(SEGMENT_BYTES).saturating_mul(OVERHEAD_BYTES as u64))
}

/// Plain bytes of a part that takes so many; `None` if none does.
pub(crate) fn plain_bytes(sealed: u64) -> Option<u64> {
    let segments = sealed.div_ceil(SEALED_SEGMENT_BYTES);
    let plain = sealed.checked_sub(segments * OVERHEAD_BYTES as u64)?;
    (sealed_bytes(plain) == sealed).then_some(plain)
}

/// Parts of equal size whose numbers follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Number of the first; 0 for an object that was put in one piece.
    pub(crate) first: u16,
    /// How many.
    pub(crate) count: u16,
    /// Plain bytes of each.
    pub(crate) bytes: u64,
}

impl Run {
    fn plain(&self) -> u64 {
        u64::from(self.count).saturating_mul(self.bytes)
    }

    fn sealed(&self) -> u64 {
        u64::from(self.count).saturating_mul(sealed_bytes(self.bytes))
    }

    /// The number behind its last part.
    fn end(&self) -> u32 {
        u32::from(self.first) + u32::from(self.count)
    }
}

/// The parts of an object, in order. An upload that is not complete has none.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Layout(Vec<Run>);

/// Where a segment belongs, and its plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentPlace {
    pub(crate) part: u16,
    pub(crate) index: u32,
    pub(crate) last: bool,
    pub(crate) bytes: usize,
}

impl SegmentPlace {
    pub(crate) fn sealed(&self) -> usize {
        self.bytes + OVERHEAD_BYTES
    }
}

/// What has to be read and opened for a range of plain bytes.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Bytes of the stored content.
    pub(crate) stored: Range<u64>,
    /// Plain bytes of the first segment that are not wanted.
    pub(crate) skip: usize,
    /// Plain bytes that are.
    pub(crate) plain: u64,
    /// The segments, from the first one on; those behind the stored range are not to be read.
    pub(crate) segments: Segments,
}

/// Where a plain byte is.
struct Found {
    run: usize,
    nth: u16,
    index: u32,
    within: usize,
    /// Where its segment begins in the stored content.
    stored: u64,
}

impl Layout {
    /// Of an object that was put in one piece.
    pub(crate) fn whole(bytes: u64) -> Self {
        Layout(vec![Run { first: 0, count: 1, bytes }])
    }

    /// Of an object of parts, by number and plain bytes, ascending.
    ///
    /// # Errors
    /// [`SealError::TooManyRuns`].
    pub(crate) fn of_parts(parts: impl IntoIterator<Item = (u16, u64)>) -> Result<Self, SealError> {
        let mut runs: Vec<Run> = Vec::new();
        for (part, bytes) in parts {
            let full = runs.len() == RUNS_MAX;
            match runs.last_mut() {
                Some(run) if run.bytes == bytes && run.end() == u32::from(part) => run.count += 1,
                _ if full => return Err(SealError::TooManyRuns),
                _ => runs.push(Run { first: part, count: 1, bytes }),
            }
        }
        Ok(Layout(runs))
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.0
    }

    /// Whether an object can consist of these parts. Nothing else may be asked of a layout before.
    pub(crate) fn is_sound(&self) -> bool {
        let mut behind = 1;
        let mut sealed = 0u64;
        for run in &self.0 {
            let one_piece = run.first == 0 && run.count == 1 && self.0.len() == 1;
            let part = u32::from(run.first) >= behind && run.count > 0 && run.end() <= u32::from(PARTS_MAX) + 1;
            behind = run.end();
            sealed = sealed.saturating_add(run.sealed());
            if !(one_piece || part) || run.bytes > FILE_BYTES_MAX || sealed > FILE_BYTES_MAX {
                return false;
            }
        }
        self.0.len() <= RUNS_MAX
    }

    /// Plain bytes.
    pub(crate) fn plain(&self) -> u64 {
        self.0.iter().map(Run::plain).sum()
    }

    /// Bytes of the stored content.
    pub(crate) fn sealed(&self) -> u64 {
        self.0.iter().map(Run::sealed).sum()
    }

    fn find(&self, at: u64) -> Option<Found> {
        let (mut plain, mut stored) = (0, 0);
        for (number, run) in self.0.iter().enumerate() {
            if at < plain + run.plain() {
                let (nth, within) = ((at - plain) / run.bytes, (at - plain) % run.bytes);
                let index = within / SEGMENT_BYTES;
                let stored = stored + nth * sealed_bytes(run.bytes) + index * SEALED_SEGMENT_BYTES;
                let within = (within % SEGMENT_BYTES) as usize;
                return Some(Found { run: number, nth: nth as u16, index: index as u32, within, stored });
            }
            plain += run.plain();
            stored += run.sealed();
        }
        None
    }

    /// What has to be read for `wanted`, which ends at the plain size at most and is not empty; `None` if it does not.
    pub(crate) fn cut(&self, wanted: Range<u64>) -> Option<Cut> {
        let plain = wanted.end.checked_sub(wanted.start)?;
        let first = self.find(wanted.start)?;
        let last = self.find(wanted.end.checked_sub(1)?)?;
        let end = self.place(last.run, last.index, last.nth)?;
        let stored = first.stored..last.stored + end.sealed() as u64;
        let segments = Segments { layout: self.clone(), run: first.run, nth: first.nth, index: first.index };
        Some(Cut { stored, skip: first.within, plain, segments })
    }

    /// Segment `index` of part `nth` of a run; `None` behind the part's end.
    fn place(&self, run: usize, index: u32, nth: u16) -> Option<SegmentPlace> {
        let run = self.0.get(run)?;
        let left = run.bytes.checked_sub(u64::from(index) * SEGMENT_BYTES).filter(|left| *left > 0)?;
        let bytes = left.min(SEGMENT_BYTES);
        Some(SegmentPlace { part: run.first + nth, index, last: bytes == left, bytes: bytes as usize })
    }
}

/// Segments in order, to the end of the object.
#[derive(Debug)]
pub(crate) struct Segments {
    layout: Layout,
    run: usize,
    nth: u16,
    index: u32,
}

impl Iterator for Segments {
    type Item = SegmentPlace;

    fn next(&mut self) -> Option<SegmentPlace> {
        loop {
            let run = *self.layout.0.get(self.run)?;
            if self.nth < run.count
                && let Some(place) = self.layout.place(self.run, self.index, self.nth)
            {
                self.index += 1;
                return Some(place);
            }
            (self.nth, self.index) = (self.nth.saturating_add(1), 0);
            if self.nth >= run.count || run.bytes == 0 {
                (self.run, self.nth) = (self.run + 1, 0);
            }
        }
    }
}
