//! Read-ahead of one handle: which range of the file to load for a read.
//!
//! A reader that goes on where it was, give or take [`SEEK_TOLERANCE_BYTES`] (the kernel sends the reads of one reader in
//! parallel and out of order), gets a window that doubles whenever it comes near its end. A reader that jumps gets what it asked
//! for and starts anew.

use std::ops::Range;

/// First window of a sequential reader.
pub(crate) const WINDOW_BYTES_MIN: u64 = 1 << 20;
/// A file up to this size is loaded whole by the first read.
const WHOLE_FILE_BYTES: u64 = types::CHUNK_BYTES_MAX as u64;
/// How far a read may lie from the expected place and still count as sequential.
const SEEK_TOLERANCE_BYTES: u64 = 4 << 20;

/// Where a reader is and how far its data is loaded.
#[derive(Debug, Default)]
pub(crate) struct Readahead {
    /// Where the furthest read of the run ended.
    next: u64,
    /// Where the loaded range ends.
    loaded: u64,
    /// Current window; 0 before the first sequential read.
    window: u64,
}

impl Readahead {
    /// What to load for a read of `range` of a file of `size` bytes; always covers the read itself (cut at the size).
    pub(crate) fn on_read(&mut self, range: Range<u64>, size: u64, window_max: u64) -> Range<u64> {
        let read = range.start.min(size)..range.end.min(size);
        if size <= WHOLE_FILE_BYTES {
            let first = std::mem::replace(&mut self.loaded, size) == 0;
            return if first { 0..size } else { read };
        }
        let first = self.window == 0 && self.next == 0;
        let near = if first { range.start == 0 } else { self.next.abs_diff(range.start) <= SEEK_TOLERANCE_BYTES };
        if !near {
            *self = Readahead { next: read.end, loaded: read.end, window: 0 };
            return read;
        }
        self.next = self.next.max(read.end);
        self.loaded = self.loaded.max(read.end);
        if self.loaded < (self.next + self.window / 2).min(size) || self.window == 0 {
            self.window = (self.window * 2).clamp(WINDOW_BYTES_MIN.min(window_max), window_max);
            let from = self.loaded;
            self.loaded = (self.next + self.window).next_multiple_of(WINDOW_BYTES_MIN).min(size);
            return read.start.min(from)..self.loaded.max(read.end);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 32 << 20;
    const SIZE: u64 = 1 << 30;

    #[test]
    fn a_small_file_is_loaded_whole_at_once() {
        let mut ahead = Readahead::default();
        assert_eq!(ahead.on_read(0..4096, 300_000, MAX), 0..300_000);
        assert_eq!(ahead.on_read(4096..8192, 300_000, MAX), 4096..8192);
        assert_eq!(Readahead::default().on_read(0..4096, 0, MAX), 0..0);
    }

    #[test]
    fn a_sequential_reader_is_never_behind_its_window_and_the_window_is_bounded() {
        let mut ahead = Readahead::default();
        let mut furthest = 0;
        for at in (0..SIZE / 4).step_by(128 << 10) {
            let load = ahead.on_read(at..at + (128 << 10), SIZE, MAX);
            assert!(load.start <= at && load.end >= at + (128 << 10));
            furthest = furthest.max(load.end);
            assert!(furthest - at <= MAX + 2 * WINDOW_BYTES_MIN, "{}", furthest - at);
        }
        assert!(furthest >= SIZE / 4 + MAX / 2);
    }

    #[test]
    fn reads_out_of_order_count_as_sequential() {
        let mut ahead = Readahead::default();
        ahead.on_read(0..131_072, SIZE, MAX);
        ahead.on_read(262_144..393_216, SIZE, MAX);
        ahead.on_read(131_072..262_144, SIZE, MAX);
        assert!(ahead.window >= WINDOW_BYTES_MIN);
    }

    #[test]
    fn a_random_reader_loads_what_it_asks_for() {
        let mut ahead = Readahead::default();
        for at in [500 << 20, 3 << 20, 900 << 20, 100 << 20u64] {
            assert_eq!(ahead.on_read(at..at + 4096, SIZE, MAX), at..at + 4096);
        }
    }
}
