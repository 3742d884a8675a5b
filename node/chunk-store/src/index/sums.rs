//! What the rows of an index add up to: chunks, bytes, and how much of each segment is in use.

use super::{Entry, Position};
use crate::record::{SegmentNo, TOMBSTONES_MAX, record_bytes};
use std::collections::BTreeMap;

/// What the disk holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Live chunks.
    pub(crate) chunks: u64,
    /// Bytes of them.
    pub(crate) bytes: u64,
    /// Quarantined chunks.
    pub(crate) quarantined: u64,
}

/// What of a segment is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Use {
    /// Bytes of the records of live chunks.
    pub(crate) live: u64,
    /// Bytes of the records of quarantined chunks, which are kept as long as they are.
    pub(crate) quarantined: u64,
    /// Ids that only this segment says are deleted.
    pub(crate) tombstones: u64,
}

impl Use {
    /// Bytes that what is in use would take if it were written together.
    pub(crate) fn bytes(&self) -> u64 {
        let full = self.tombstones / TOMBSTONES_MAX as u64;
        let rest = match self.tombstones % TOMBSTONES_MAX as u64 {
            0 => 0,
            ids => record_bytes(16 * ids as usize),
        };
        self.live + self.quarantined + full * record_bytes(16 * TOMBSTONES_MAX) + rest
    }

    /// Whether nothing is.
    pub(crate) fn is_none(&self) -> bool {
        *self == Use::default()
    }
}

/// The sums that go with the rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) position: Option<Position>,
    pub(super) totals: Totals,
    pub(super) uses: BTreeMap<SegmentNo, Use>,
}

/// The sums as a write changes them: what it did not touch stays as it is.
pub(super) struct Counting<'a> {
    pub(super) sums: &'a Sums,
    pub(super) totals: Totals,
    pub(super) touched: BTreeMap<SegmentNo, Use>,
}

impl Counting<'_> {
    pub(super) fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Live(located) => {
                self.totals.chunks += 1;
                self.totals.bytes += u64::from(located.len);
                self.in_use(located.place.segment).live += record_bytes(located.len as usize);
            }
            Entry::Quarantined(located) => {
                self.totals.quarantined += 1;
                self.in_use(located.place.segment).quarantined += record_bytes(located.len as usize);
            }
            Entry::Tombstone(segment) => self.in_use(*segment).tombstones += 1,
        }
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        let less = |sum: &mut u64, by: u64| *sum = sum.saturating_sub(by);
        match entry {
            Entry::Live(located) => {
                less(&mut self.totals.chunks, 1);
                less(&mut self.totals.bytes, u64::from(located.len));
                less(&mut self.in_use(located.place.segment).live, record_bytes(located.len as usize));
            }
            Entry::Quarantined(located) => {
                less(&mut self.totals.quarantined, 1);
                less(&mut self.in_use(located.place.segment).quarantined, record_bytes(located.len as usize));
            }
            Entry::Tombstone(segment) => less(&mut self.in_use(*segment).tombstones, 1),
        }
    }

    fn in_use(&mut self, segment: SegmentNo) -> &mut Use {
        let known = self.sums.uses.get(&segment).copied().unwrap_or_default();
        self.touched.entry(segment).or_insert(known)
    }
}
