//! What can be wrong with a disk.

use rand::Rng;
use rand::rngs::StdRng;
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

/// What becomes of a write that the disk answers with success and does not carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// Nothing: the medium keeps what it had.
    Lost,
    /// It lands so many bytes further on, or back if that is negative, over whatever is there.
    Misdirected(i64),
}

/// Writes that go astray.
#[derive(Clone, Debug)]
pub(crate) struct StrayWrites {
    /// Only those that lie in one of these.
    pub(crate) places: Vec<Range<u64>>,
    /// So many more.
    pub(crate) left: u32,
    pub(crate) fate: Stray,
}

/// Reads in which a bit flips on the way from a medium that is right.
#[derive(Clone, Debug)]
pub(crate) struct FlippedReads {
    /// Only bits of these.
    pub(crate) places: Vec<Range<u64>>,
    /// The chance that a read of them has one.
    pub(crate) percent: u8,
    pub(crate) rng: StdRng,
}

/// Where a write lands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    Right,
    Nowhere,
    At(u64),
}

/// All that is wrong at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) read_errors: Vec<Range<u64>>,
    pub(crate) write_errors: Vec<Range<u64>>,
    pub(crate) sync: SyncFault,
    pub(crate) strays: Option<StrayWrites>,
    pub(crate) flipped: Option<FlippedReads>,
    /// Masks over bytes as they are read; the medium is right.
    pub(crate) flips: BTreeMap<u64, u8>,
    pub(crate) delays: [Duration; 3],
    pub(crate) hung: bool,
}

impl Faults {
    pub(crate) fn delay(&self, kind: Kind) -> Duration {
        self.delays[kind as usize]
    }

    /// Where the next write lands, which is one of `len` bytes at `offset`. None leaves the place that it belongs in: what lies beside is another's.
    pub(crate) fn landing(&mut self, offset: u64, len: u64) -> Landing {
        let Some(strays) = self.strays.as_mut().filter(|strays| strays.left > 0) else { return Landing::Right };
        let holds = |place: &&Range<u64>, at: u64| place.start <= at && at + len <= place.end;
        let Some(place) = strays.places.iter().find(|place| holds(place, offset)) else { return Landing::Right };
        let landing = match strays.fate {
            Stray::Lost => Landing::Nowhere,
            Stray::Misdirected(by) => match offset.checked_add_signed(by).filter(|to| holds(&place, *to)) {
                Some(to) => Landing::At(to),
                None => return Landing::Right,
            },
        };
        strays.left -= 1;
        landing
    }

    /// Which byte of a read changes, and how, if one does.
    pub(crate) fn flip(&mut self, offset: u64, len: u64) -> Option<(u64, u8)> {
        let flipped = self.flipped.as_mut()?;
        let parts = flipped.places.iter().map(|place| place.start.max(offset)..place.end.min(offset + len));
        let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        if parts.is_empty() || flipped.rng.random_range(0..100) >= flipped.percent {
            return None;
        }
        let part = parts[flipped.rng.random_range(0..parts.len())].clone();
        Some((flipped.rng.random_range(part), 1_u8 << flipped.rng.random_range(0..8)))
    }
}

/// Whether a request touches one of the ranges.
pub(crate) fn touches(ranges: &[Range<u64>], offset: u64, len: u64) -> bool {
    ranges.iter().any(|range| offset < range.end && range.start < offset + len)
}
