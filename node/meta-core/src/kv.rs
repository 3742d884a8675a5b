//! The ordered key-value store that the state machines live in.
//!
//! `state-store` implements it over RocksDB, tests over a `BTreeMap`.

use bytes::Bytes;

/// A key and its value.
pub type Row = (Bytes, Bytes);

/// The store could not be read. The replica must stop: a state machine that misses rows would diverge.
#[derive(Debug, thiserror::Error)]
#[error("the state store failed")]
pub struct KvError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A consistent view of the rows.
pub trait KvRead {
    /// The value of a key.
    ///
    /// # Errors
    /// [`KvError`]: the replica must stop.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// Up to `limit` rows with `start <= key < end`, in ascending order; fewer than `limit` means there are no more.
    ///
    /// # Errors
    /// [`KvError`]: the replica must stop.
    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, KvError>;
}

/// Rows that can be changed. Changes are seen by later reads of the same value.
pub trait Kv: KvRead {
    /// Sets a row.
    fn put(&mut self, key: &[u8], value: &[u8]);
    /// Removes a row; a missing one is no error.
    fn delete(&mut self, key: &[u8]);
}
