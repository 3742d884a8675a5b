//! Changes on their way into the store: seen by reads of the batch, invisible to everyone else until committed.

use crate::rows::{self, Cursor};
use bytes::Bytes;
use meta_core::kv::{Kv, KvError, KvRead, Row};
use rocksdb::DB;
use std::collections::btree_map::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::ops::Bound;
use types::LogIndex;

/// A changed row; `None` is a removed one.
type Change = Option<Bytes>;

/// Pending changes over a store. Dropping it leaves nothing.
///
/// Takes memory for every changed row. Reads what was not changed from the store as it is now: a store has one batch at a
/// time, made and committed by the one thread that applies.
pub struct StateBatch<'a> {
    db: &'a DB,
    changes: BTreeMap<Bytes, Change>,
    /// What each change replaced, oldest first: a change of this batch or nothing.
    undo: Vec<(Bytes, Option<Change>)>,
    /// Changes before this one in `undo` are in `hash`.
    folded: usize,
    hash: [u8; 32],
}

/// A place to go back to; see [`StateBatch::savepoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a savepoint that is not kept cannot be gone back to"]
pub struct Savepoint(usize);

impl<'a> StateBatch<'a> {
    pub(crate) fn new(db: &'a DB, hash: [u8; 32]) -> StateBatch<'a> {
        StateBatch { db, changes: BTreeMap::new(), undo: Vec::new(), folded: 0, hash }
    }

    /// An entry of the log is applied: what it changed is folded into the rolling hash, which is returned. Call it after every
    /// entry, also one that changed nothing. The hash depends on the entries alone, not on how they were put into batches.
    pub fn fold(&mut self, index: LogIndex) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.hash);
        hasher.update(&index.0.to_be_bytes());
        let keys: BTreeSet<&Bytes> =
            self.undo.get(self.folded..).unwrap_or_default().iter().map(|(key, _)| key).collect();
        for key in keys {
            hasher.update(&(key.len() as u64).to_be_bytes());
            hasher.update(key);
            match self.changes.get(key) {
                Some(Some(value)) => {
                    hasher.update(&(value.len() as u64 + 1).to_be_bytes());
                    hasher.update(value);
                }
                Some(None) | None => {
                    hasher.update(&[0; 8]);
                }
            }
        }
        self.folded = self.undo.len();
        self.hash = *hasher.finalize().as_bytes();
        self.hash
    }

    /// Remembers the changes made so far. Savepoints nest.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint(self.undo.len())
    }

    /// Takes back every change made after `to`. Savepoints made after it mean nothing any more.
    pub fn rollback(&mut self, to: Savepoint) {
        while self.undo.len() > to.0 {
            match self.undo.pop() {
                Some((key, Some(before))) => drop(self.changes.insert(key, before)),
                Some((key, None)) => drop(self.changes.remove(&key)),
                None => return,
            }
        }
    }

    /// Rows changed so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(crate) fn into_changes(self) -> (BTreeMap<Bytes, Change>, [u8; 32]) {
        (self.changes, self.hash)
    }

    fn change(&mut self, key: &[u8], change: Change) {
        let key = Bytes::copy_from_slice(key);
        let before = self.changes.insert(key.clone(), change);
        self.undo.push((key, before));
    }
}

impl KvRead for StateBatch<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => rows::get(self.db, key),
        }
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        if start >= end {
            return Ok(Vec::new());
        }
        let range = (Bound::Included(start), Bound::Excluded(end));
        let changes = self.changes.range::<[u8], _>(range).peekable();
        merge(Cursor::new(self.db, start, end), changes, limit)
    }
}

impl Kv for StateBatch<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.change(key, Some(Bytes::copy_from_slice(value)));
    }

    fn delete(&mut self, key: &[u8]) {
        self.change(key, None);
    }
}

/// Both streams in order; where both have a key the change counts.
fn merge(
    mut stored: Cursor<'_>,
    mut changes: Peekable<Range<'_, Bytes, Change>>,
    limit: usize,
) -> Result<Vec<Row>, KvError> {
    let mut rows = Vec::new();
    let mut next = stored.next()?;
    while rows.len() < limit {
        let change = match (&next, changes.peek()) {
            (None, None) => break,
            (Some((key, _)), Some((changed, _))) if key < *changed => None,
            (Some(_), None) => None,
            (_, Some(_)) => changes.next(),
        };
        let Some((key, change)) = change else {
            rows.extend(std::mem::replace(&mut next, stored.next()?));
            continue;
        };
        if next.as_ref().is_some_and(|(stored, _)| stored == key) {
            next = stored.next()?;
        }
        rows.extend(change.clone().map(|value| (key.clone(), value)));
    }
    Ok(rows)
}
