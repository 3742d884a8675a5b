//! The rows as they were at one moment, for readers in other threads.

use crate::rows;
use bytes::Bytes;
use meta_core::kv::{KvError, KvRead, Row};
use rocksdb::{DB, Snapshot};
use std::sync::Arc;

/// The state after one commit; later ones are not seen, so that several reads of one query fit together.
///
/// Making one costs about a microsecond. While it lives the store's file space is not reclaimed and the store cannot be
/// opened again, so let it go after the query.
pub struct StateView {
    /// Borrows from `_db`, so it stands before it: fields are dropped in this order.
    snapshot: Snapshot<'static>,
    _db: Arc<DB>,
}

impl StateView {
    #[allow(unsafe_code, reason = "a snapshot that keeps its database alive cannot be said in safe Rust")]
    pub(crate) fn new(db: Arc<DB>) -> StateView {
        // SAFETY: the reference is used by `snapshot` only. `Arc` keeps the database at its address for as long as this
        // value lives, and never hands out a mutable reference while `_db` exists. `snapshot` is private, is
        // dropped before `_db`, and nothing borrowed for longer than `&self` leaves this module.
        let forever: &'static DB = unsafe { &*Arc::as_ptr(&db) };
        StateView { snapshot: forever.snapshot(), _db: db }
    }
}

impl KvRead for StateView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        rows::get(&self.snapshot, key)
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        rows::scan(&self.snapshot, start, end, limit)
    }
}
