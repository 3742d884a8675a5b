//! The rows of a state machine with a fingerprint that is kept up with every change, so that replicas can be compared after each entry.

use crate::trace::Trace;
use bytes::Bytes;
use meta_core::kv::{Kv, KvError, KvRead, Row};
use meta_core::memory::MemoryKv;

/// Rows in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    rows: MemoryKv,
    fingerprint: u64,
}

impl Rows {
    /// Equal for equal rows.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn toggle(&mut self, key: &[u8], value: &[u8]) {
        self.fingerprint ^= Trace::default().bytes(key).bytes(value).0;
    }

    fn take_out(&mut self, key: &[u8]) {
        if let Some(old) = self.rows.0.remove(key) {
            self.toggle(key, &old);
        }
    }
}

impl KvRead for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.rows.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        self.rows.scan(start, end, limit)
    }
}

impl Kv for Rows {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.take_out(key);
        self.toggle(key, value);
        self.rows.put(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.take_out(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_that_of_the_rows_however_they_came_about() {
        let (mut one, mut other) = (Rows::default(), Rows::default());
        one.put(b"a", b"1");
        one.put(b"b", b"2");
        other.put(b"b", b"3");
        other.put(b"c", b"4");
        other.put(b"a", b"1");
        assert_ne!(one.fingerprint(), other.fingerprint());
        other.put(b"b", b"2");
        other.delete(b"c");
        other.delete(b"d");
        assert_eq!(one, other);
    }
}
