//! What can be wrong with a disk.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Flushes.
    Sync,
}

/// How flushes go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncFault {
    /// As they should.
    #[default]
    None,
    /// Answered with success and not done.
    Lie,
    /// So many are answered with an error. With `drop`, what was to be flushed is gone, as after an error that the kernel reports once.
    Fail {
        /// How many.
        times: u32,
        /// Whether the cache is lost.
        drop: bool,
    },
}

/// All that is wrong at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) read_errors: Vec<Range<u64>>,
    pub(crate) write_errors: Vec<Range<u64>>,
    pub(crate) sync: SyncFault,
    /// Writes that are answered with success and not done.
    pub(crate) lost_writes: u32,
    /// The next write lands so many bytes further on.
    pub(crate) misdirect: Option<u64>,
    /// Masks over bytes as they are read; the medium is right.
    pub(crate) flips: BTreeMap<u64, u8>,
    pub(crate) delays: [Duration; 3],
    pub(crate) hung: bool,
}

impl Faults {
    pub(crate) fn delay(&self, kind: Kind) -> Duration {
        self.delays[kind as usize]
    }
}

/// Whether a request touches one of the ranges.
pub(crate) fn touches(ranges: &[Range<u64>], offset: u64, len: u64) -> bool {
    ranges.iter().any(|range| offset < range.end && range.start < offset + len)
}
