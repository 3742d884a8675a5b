//! Changes held back over a store, so that a command which is refused halfway writes nothing.

use crate::kv::{Kv, KvError, KvRead, Row};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The changes of one command; `None` is a removed row.
pub(crate) type Changes = BTreeMap<Bytes, Option<Bytes>>;

/// A store as it would look with the changes applied.
pub(crate) struct Overlay<'a> {
    base: &'a dyn KvRead,
    changes: Changes,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(base: &'a dyn KvRead) -> Self {
        Overlay { base, changes: Changes::new() }
    }

    /// Rows changed so far.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    pub(crate) fn into_changes(self) -> Changes {
        self.changes
    }
}

impl KvRead for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        let mut rows = Vec::new();
        let mut from = start.to_vec();
        while rows.len() < limit && from.as_slice() < end {
            let want = limit - rows.len();
            let base = self.base.scan(&from, end, want)?;
            let full = base.len() == want;
            let last = base.last().filter(|_| full).map(|(key, _)| key.clone());
            let upper = last.as_deref().map_or(Bound::Excluded(end), Bound::Included);
            let changes = self.changes.range::<[u8], _>((Bound::Included(from.as_slice()), upper));
            merge(base, changes, &mut rows, limit);
            match last {
                Some(last) => {
                    from = last.to_vec();
                    from.push(0);
                }
                None => break,
            }
        }
        Ok(rows)
    }
}

/// Lays `changes` over the rows of `base`, both in order, until `rows` holds `limit`.
fn merge<'c>(
    base: Vec<Row>,
    changes: impl Iterator<Item = (&'c Bytes, &'c Option<Bytes>)>,
    rows: &mut Vec<Row>,
    limit: usize,
) {
    let mut base = base.into_iter().peekable();
    let mut changes = changes.peekable();
    while rows.len() < limit {
        let take_change = match (base.peek(), changes.peek()) {
            (None, None) => return,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some((row, _)), Some((change, _))) => {
                if row == *change {
                    base.next();
                    continue;
                }
                *change < row
            }
        };
        if take_change {
            if let Some((key, Some(value))) = changes.next() {
                rows.push((key.clone(), value.clone()));
            }
        } else {
            rows.extend(base.next());
        }
    }
}

impl Kv for Overlay<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.changes.insert(Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)));
    }

    fn delete(&mut self, key: &[u8]) {
        self.changes.insert(Bytes::copy_from_slice(key), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryKv;

    /// Every base and overlay over a three-key alphabet, every limit: the overlay reads as the merged map does.
    #[test]
    fn reads_are_those_of_the_merged_map() {
        let keys: [&[u8]; 4] = [b"a", b"aa", b"b", b"c"];
        for case in 0..(2u32.pow(4) * 3u32.pow(4)) {
            let mut base = MemoryKv::new();
            let mut rest = case;
            for key in keys {
                if rest % 2 == 1 {
                    base.put(key, b"base");
                }
                rest /= 2;
            }
            let mut merged = base.clone();
            let mut overlay = Overlay::new(&base);
            for key in keys {
                match rest % 3 {
                    1 => {
                        overlay.put(key, b"new");
                        merged.put(key, b"new");
                    }
                    2 => {
                        overlay.delete(key);
                        merged.delete(key);
                    }
                    _ => {}
                }
                rest /= 3;
            }
            for limit in 0..5 {
                let expected = merged.scan(b"a", b"c", limit).expect("memory");
                assert_eq!(overlay.scan(b"a", b"c", limit).expect("memory"), expected, "case {case} limit {limit}");
            }
            for key in keys {
                assert_eq!(overlay.get(key).expect("memory"), merged.get(key).expect("memory"));
            }
        }
    }
}
