//! Keys on the disk, and reading rows from a database or a snapshot of it.
//!
//! A byte before each key keeps the state machine's rows apart from the store's own, whatever keys it chooses.

use crate::options::range_options;
use bytes::Bytes;
use meta_core::kv::{KvError, Row};
use rocksdb::{DB, DBPinnableSlice, DBRawIterator, Snapshot};

/// Before the keys of the state machine.
pub(crate) const ROW_TAG: u8 = b'r';

/// The row with the applied point.
pub(crate) const POINT_KEY: [u8; 1] = *b"a";
/// The row with the members of the group, coded by the caller.
pub(crate) const MEMBERS_KEY: [u8; 1] = *b"m";
/// The row with the rolling hash of everything that was changed: 32 bytes.
pub(crate) const HASH_KEY: [u8; 1] = *b"h";
const _: () = assert!(HASH_KEY[0] != ROW_TAG);
const _: () = assert!(POINT_KEY[0] != ROW_TAG && MEMBERS_KEY[0] != ROW_TAG);

/// A state machine's key as it is stored.
pub(crate) fn stored_key(key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + key.len());
    stored.push(ROW_TAG);
    stored.extend_from_slice(key);
    stored
}

/// What rows can be read from.
pub(crate) trait Source {
    fn pinned(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, rocksdb::Error>;
    fn range(&self, from: Vec<u8>, to: Vec<u8>) -> DBRawIterator<'_>;
}

impl Source for DB {
    fn pinned(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, rocksdb::Error> {
        self.get_pinned(key)
    }

    fn range(&self, from: Vec<u8>, to: Vec<u8>) -> DBRawIterator<'_> {
        self.raw_iterator_opt(range_options(from, to))
    }
}

impl Source for Snapshot<'_> {
    fn pinned(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, rocksdb::Error> {
        self.get_pinned(key)
    }

    fn range(&self, from: Vec<u8>, to: Vec<u8>) -> DBRawIterator<'_> {
        self.raw_iterator_opt(range_options(from, to))
    }
}

/// The value of a key.
pub(crate) fn get(source: &impl Source, key: &[u8]) -> Result<Option<Bytes>, KvError> {
    let value = source.pinned(&stored_key(key)).map_err(kv_error)?;
    Ok(value.map(|value| Bytes::copy_from_slice(&value)))
}

/// Up to `limit` rows with `start <= key < end`, in order.
pub(crate) fn scan(source: &impl Source, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
    let mut rows = Vec::new();
    let mut cursor = Cursor::new(source, start, end);
    while rows.len() < limit {
        let Some(row) = cursor.next()? else { break };
        rows.push(row);
    }
    Ok(rows)
}

/// Goes through a range of rows.
pub(crate) struct Cursor<'a>(Option<DBRawIterator<'a>>);

impl<'a> Cursor<'a> {
    /// Before the first row with `start <= key < end`.
    pub(crate) fn new(source: &'a impl Source, start: &[u8], end: &[u8]) -> Cursor<'a> {
        if start >= end {
            return Cursor(None);
        }
        let mut rows = source.range(stored_key(start), stored_key(end));
        rows.seek_to_first();
        Cursor(Some(rows))
    }

    /// The next row.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, KvError> {
        let Some(rows) = &mut self.0 else {
            return Ok(None);
        };
        let Some((key, value)) = rows.item() else {
            rows.status().map_err(kv_error)?;
            return Ok(None);
        };
        let row = (Bytes::copy_from_slice(&key[1..]), Bytes::copy_from_slice(value));
        rows.next();
        Ok(Some(row))
    }
}

fn kv_error(error: rocksdb::Error) -> KvError {
    KvError(Box::new(error))
}
