//! `0x51 since:8 number:8` = what nothing refers to since then, dropped by one command.

use super::{Fields, KeyBytes, Table, end_of};
use crate::garbage::GarbageRow;
use crate::row::Key;
use types::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GarbageKey {
    pub(crate) since: Timestamp,
    pub(crate) number: u64,
}

impl GarbageKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Garbage, key)?;
        let garbage = GarbageKey { since: Timestamp(fields.i64()?), number: fields.u64()? };
        fields.end()?;
        Some(garbage)
    }

    /// The range of all rows, oldest first.
    pub(crate) fn range() -> (Vec<u8>, Vec<u8>) {
        let start = KeyBytes::new(Table::Garbage).done();
        let end = end_of(&start);
        (start, end)
    }
}

impl Key for GarbageKey {
    type Value = GarbageRow;
    const VERSION: u8 = 2;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Garbage).i64(self.since.0).u64(self.number).done()
    }
}
