//! A store in memory, for tests and simulation.

use crate::kv::{Kv, KvError, KvRead, Row};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Rows in a map. Never fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryKv(pub BTreeMap<Bytes, Bytes>);

impl MemoryKv {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// BLAKE3 over all rows; equal for equal states.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for (key, value) in &self.0 {
            hasher.update(&(key.len() as u64).to_le_bytes()).update(key);
            hasher.update(&(value.len() as u64).to_le_bytes()).update(value);
        }
        *hasher.finalize().as_bytes()
    }
}

impl KvRead for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        if start >= end {
            return Ok(Vec::new());
        }
        let range = self.0.range::<[u8], _>((Bound::Included(start), Bound::Excluded(end)));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Kv for MemoryKv {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.0.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    }

    fn delete(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_are_half_open_ordered_and_limited() {
        let mut kv = MemoryKv::new();
        for key in [b"a", b"b", b"c", b"d"] {
            kv.put(key, b"1");
        }
        kv.delete(b"b");
        let keys = |rows: Vec<Row>| rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys(kv.scan(b"a", b"d", 10).expect("memory")), ["a", "c"]);
        assert_eq!(keys(kv.scan(b"a", b"z", 2).expect("memory")), ["a", "c"]);
        assert!(kv.scan(b"z", b"a", 2).expect("memory").is_empty());
    }
}
