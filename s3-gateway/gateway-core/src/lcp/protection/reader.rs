//! A source as `drm` reads it: any place, any number of times, from a thread that may block.
//!
//! Reads come in three manners: from front to back, from entry to entry in another order, and a few bytes here and there. So what is fetched grows as long as
//! reads follow each other, and begins small again where they jump.

use super::stop::{Cause, Stop};
use crate::lcp::Source;
use crate::store::Store;
use bytes::Bytes;
use drm::{PastEnd, SourceError};
use proto::control::BucketInfo;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Handle;

/// The least that is fetched: a leaf of a chunk is verified as a whole.
const WINDOW_BYTES_MIN: u64 = types::LEAF_BYTES as u64;
/// The most. Four of them are in memory; a fetch of this size costs the cluster no more calls than one of half of it.
const WINDOW_BYTES_MAX: u64 = 1 << 20;
/// Windows in memory: where the archive is read, and its directory or another part of it beside.
const WINDOWS_MAX: usize = 4;

/// Gives the bytes of one version of a source.
pub(super) struct Reader {
    pub(super) store: Store,
    pub(super) source: Source,
    pub(super) bucket: Arc<BucketInfo>,
    pub(super) runtime: Handle,
    pub(super) stop: Arc<Stop>,
    /// The farthest byte that was read.
    pub(super) done: Arc<AtomicU64>,
    pub(super) windows: RefCell<Windows>,
}

impl drm::Source for Reader {
    fn len(&self) -> u64 {
        self.source.size
    }

    fn read_at(&self, offset: u64, mut out: &mut [u8]) -> Result<(), SourceError> {
        let (len, bytes) = (self.source.size, out.len());
        let end = offset.checked_add(bytes as u64).filter(|end| *end <= len);
        let end = end.ok_or_else(|| SourceError::new(PastEnd { offset, bytes, len }))?;
        let mut at = offset;
        while !out.is_empty() {
            let piece = self.piece(at, out.len())?;
            let (now, rest) = out.split_at_mut(piece.len());
            now.copy_from_slice(&piece);
            at += piece.len() as u64;
            out = rest;
        }
        self.done.fetch_max(end, Ordering::Relaxed);
        Ok(())
    }
}

impl Reader {
    /// Between 1 and `most` bytes from `at` on.
    fn piece(&self, at: u64, most: usize) -> Result<Bytes, SourceError> {
        let mut windows = self.windows.borrow_mut();
        if let Some(piece) = windows.find(at, most) {
            return Ok(piece);
        }
        let range = windows.next(at, most as u64, self.source.size);
        let fetch = || self.store.source_bytes(&self.bucket, &self.source, range.clone());
        let bytes = self.runtime.block_on(self.stop.patiently(fetch)).map_err(SourceError::new)?;
        windows.keep(range.start, bytes);
        windows.find(at, most).ok_or_else(|| SourceError::new(self.stop.because(Cause::Changed)))
    }
}

/// What was fetched last.
#[derive(Default)]
pub(super) struct Windows {
    /// Where each begins; the one used last in front.
    kept: VecDeque<(u64, Bytes)>,
    /// Where the window behind the last fetch begins, and how large that fetch was.
    last: (u64, u64),
}

impl Windows {
    fn find(&mut self, at: u64, most: usize) -> Option<Bytes> {
        let holds = |(start, bytes): &(u64, Bytes)| (*start..*start + bytes.len() as u64).contains(&at);
        let place = self.kept.iter().position(holds)?;
        let window = self.kept.remove(place)?;
        let from = (at - window.0) as usize;
        let piece = window.1.slice(from..window.1.len().min(from + most));
        self.kept.push_front(window);
        Some(piece)
    }

    /// What is to be fetched for `most` bytes from `at` on, where there are `len` in all.
    fn next(&mut self, at: u64, most: u64, len: u64) -> Range<u64> {
        let start = at - at % WINDOW_BYTES_MIN;
        let (behind, size) = self.last;
        let follows = (behind..=behind + size).contains(&start) && size > 0;
        let size = if follows { (2 * size).min(WINDOW_BYTES_MAX) } else { WINDOW_BYTES_MIN };
        let wanted = (at + most - start).next_multiple_of(WINDOW_BYTES_MIN);
        let size = size.max(wanted.min(WINDOW_BYTES_MAX));
        self.last = (start + size, size);
        start..(start + size).min(len)
    }

    fn keep(&mut self, start: u64, bytes: Bytes) {
        self.kept.truncate(WINDOWS_MAX - 1);
        self.kept.push_front((start, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 100 << 20;

    fn fetch(windows: &mut Windows, at: u64, most: u64) -> Range<u64> {
        let range = windows.next(at, most, LEN);
        windows.keep(range.start, Bytes::from(vec![0; (range.end - range.start) as usize]));
        range
    }

    #[test]
    fn windows_grow_as_reads_follow_each_other_and_begin_small_after_a_jump() {
        let mut windows = Windows::default();
        let mut sizes = Vec::new();
        let mut at = 10;
        for _ in 0..6 {
            let range = fetch(&mut windows, at, 100);
            sizes.push((range.end - range.start) >> 10);
            at = range.end;
        }
        assert_eq!(sizes, [64, 128, 256, 512, 1024, 1024]);
        let jumped = fetch(&mut windows, 90 << 20, 30);
        assert_eq!(jumped, 90 << 20..(90 << 20) + WINDOW_BYTES_MIN);
        assert_eq!(fetch(&mut windows, LEN - 5, 5).end, LEN);
        assert_eq!(fetch(&mut windows, 50 << 20, 300_000), 50 << 20..(50 << 20) + 5 * WINDOW_BYTES_MIN);
        assert_eq!(fetch(&mut windows, 30 << 20, 64 << 20), 30 << 20..31 << 20);
        let kept: usize = windows.kept.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(windows.kept.len() <= WINDOWS_MAX && kept as u64 <= WINDOWS_MAX as u64 * WINDOW_BYTES_MAX);
    }

    #[test]
    fn what_was_fetched_is_found_by_every_byte_of_it() {
        let mut windows = Windows::default();
        windows.keep(100, Bytes::from_static(b"abc"));
        assert_eq!(windows.find(99, 5), None);
        assert_eq!(windows.find(100, 5).as_deref(), Some(&b"abc"[..]));
        assert_eq!(windows.find(102, 1).as_deref(), Some(&b"c"[..]));
        assert_eq!(windows.find(103, 1), None);
    }
}
