//! Changes on their way into the store: seen by reads of the batch, invisible to everyone else until committed.

use bytes::Bytes;
use meta_core::kv::{Kv, KvError, KvRead, Row};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Pending changes over a store. Implements `meta-core`'s `Kv`.
pub struct StateBatch<'a> {
    base: &'a dyn KvRead,
    /// `None` = deleted.
    changes: BTreeMap<Bytes, Option<Bytes>>,
}

impl<'a> StateBatch<'a> {
    pub(crate) fn new(base: &'a dyn KvRead) -> Self {
        StateBatch { base, changes: BTreeMap::new() }
    }

    pub(crate) fn into_changes(self) -> BTreeMap<Bytes, Option<Bytes>> {
        self.changes
    }
}

impl KvRead for StateBatch<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        if start >= end || limit == 0 {
            return Ok(Vec::new());
        }
        let range = (Bound::Included(start), Bound::Excluded(end));
        let mut changes = self.changes.range::<[u8], _>(range).peekable();
        if changes.peek().is_none() {
            return self.base.scan(start, end, limit);
        }
        let mut rows = Vec::new();
        let mut from = start.to_vec();
        // Deleted rows of the base take places in what it returns, hence the rounds.
        loop {
            let asked = limit - rows.len();
            let base = self.base.scan(&from, end, asked)?;
            let exhausted = base.len() < asked;
            let last = base.last().map(|(key, _)| key.clone());
            for row in base {
                while let Some((key, change)) = changes.next_if(|(key, _)| **key < row.0) {
                    rows.extend(change.clone().map(|value| (key.clone(), value)));
                }
                match changes.next_if(|(key, _)| **key == row.0) {
                    Some((key, change)) => rows.extend(change.clone().map(|value| (key.clone(), value))),
                    None => rows.push(row),
                }
            }
            if exhausted {
                rows.extend(changes.by_ref().filter_map(|(key, change)| Some((key.clone(), change.clone()?))));
            }
            if exhausted || rows.len() >= limit {
                rows.truncate(limit);
                return Ok(rows);
            }
            let Some(last) = last else { return Ok(rows) };
            from = last.to_vec();
            from.push(0);
        }
    }
}

impl Kv for StateBatch<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.changes.insert(Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)));
    }

    fn delete(&mut self, key: &[u8]) {
        self.changes.insert(Bytes::copy_from_slice(key), None);
    }
}
