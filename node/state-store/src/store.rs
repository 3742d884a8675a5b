//! The store of one group.

use crate::batch::StateBatch;
use crate::error::{Fatal, OpenError};
use crate::install;
use crate::options::SharedCache;
use bytes::Bytes;
use meta_core::kv::{KvError, KvRead, Row};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, ReadOptions, WriteBatch, WriteOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use types::{LogIndex, Term};

/// The row that says how far the state is; no key of `meta-core` begins with a zero byte.
const APPLIED_KEY: &[u8] = b"\0applied";

/// How far a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AppliedPoint {
    /// The last entry applied.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The newest index known to be committed then.
    pub commit: LogIndex,
}

impl AppliedPoint {
    fn encode(self) -> [u8; 24] {
        let mut out = [0; 24];
        out[..8].copy_from_slice(&self.index.0.to_be_bytes());
        out[8..16].copy_from_slice(&self.term.0.to_be_bytes());
        out[16..].copy_from_slice(&self.commit.0.to_be_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let point = AppliedPoint { index: LogIndex(word(0)?), term: Term(word(8)?), commit: LogIndex(word(16)?) };
        (bytes.len() == 24).then_some(point)
    }
}

/// The store of one group. Written by one thread, read by many.
pub struct StateStore {
    rows: StateView,
    path: PathBuf,
    applied: std::sync::RwLock<AppliedPoint>,
}

impl StateStore {
    /// Opens or creates the store in `path`, finishing an interrupted [`StateStore::install`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, cache: &SharedCache) -> Result<StateStore, OpenError> {
        install::settle(path).map_err(|error| Fatal::new(path, error))?;
        let db = DB::open(&cache.options(), path).map_err(|error| Fatal::new(path, error))?;
        let applied = match db.get(APPLIED_KEY).map_err(|error| Fatal::new(path, error))? {
            Some(bytes) => AppliedPoint::decode(&bytes).ok_or_else(|| OpenError::Applied(path.to_owned()))?,
            None => AppliedPoint::default(),
        };
        let rows = StateView { db: Arc::new(db) };
        Ok(StateStore { rows, path: path.to_owned(), applied: std::sync::RwLock::new(applied) })
    }

    /// How far it is.
    #[must_use]
    pub fn applied(&self) -> AppliedPoint {
        *self.applied.read().expect("no writer panics while it holds the lock")
    }

    /// Begins a set of changes.
    #[must_use]
    pub fn batch(&self) -> StateBatch<'_> {
        StateBatch::new(&self.rows)
    }

    /// Makes the changes of a batch visible, all at once and together with `applied`. A crash of the process does not lose
    /// them; a power cut may, from the end.
    ///
    /// # Errors
    /// [`Fatal`]: whether they were made is not known, the node must stop.
    pub fn commit(&self, batch: StateBatch<'_>, applied: AppliedPoint) -> Result<(), Fatal> {
        let mut write = WriteBatch::default();
        for (key, change) in batch.into_changes() {
            match change {
                Some(value) => write.put(key, value),
                None => write.delete(key),
            }
        }
        write.put(APPLIED_KEY, applied.encode());
        let mut options = WriteOptions::default();
        options.set_sync(false);
        self.rows.db.write_opt(write, &options).map_err(|error| Fatal::new(&self.path, error))?;
        *self.applied.write().expect("no writer panics while it holds the lock") = applied;
        Ok(())
    }

    /// The rows, for readers. A scan is of one moment, two calls may be of different ones.
    #[must_use]
    pub fn view(&self) -> StateView {
        StateView { db: self.rows.db.clone() }
    }

    /// Makes everything committed so far durable and returns how far that is.
    ///
    /// # Errors
    /// [`Fatal`]: the node must stop.
    pub fn sync(&self) -> Result<LogIndex, Fatal> {
        let applied = self.applied().index;
        self.rows.db.flush_wal(true).map_err(|error| Fatal::new(&self.path, error))?;
        Ok(applied)
    }

    /// Makes a checkpoint in `dir`, which must not exist, and returns how far that is.
    ///
    /// # Errors
    /// [`Fatal`]: the checkpoint could not be made.
    pub fn checkpoint(&self, dir: &Path) -> Result<AppliedPoint, Fatal> {
        let failed = |error: rocksdb::Error| Fatal::new(&self.path, error);
        Checkpoint::new(&self.rows.db).and_then(|checkpoint| checkpoint.create_checkpoint(dir)).map_err(failed)?;
        let copy = DB::open_for_read_only(&rocksdb::Options::default(), dir, false).map_err(failed)?;
        let applied = copy.get(APPLIED_KEY).map_err(failed)?;
        Ok(applied.and_then(|bytes| AppliedPoint::decode(&bytes)).unwrap_or_default())
    }

    /// Replaces the store in `path`, which must be closed, by the checkpoint in `fetched`.
    ///
    /// # Errors
    /// [`Fatal`]: the next [`StateStore::open`] finds the old or the new one whole.
    pub fn install(fetched: &Path, path: &Path) -> Result<(), Fatal> {
        install::install(fetched, path)
    }
}

/// The rows of a store.
#[derive(Clone)]
pub struct StateView {
    db: Arc<DB>,
}

fn kv_error(error: rocksdb::Error) -> KvError {
    KvError(Box::new(error))
}

impl KvRead for StateView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.db.get(key).map_err(kv_error)?.map(Bytes::from))
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        if start >= end {
            return Ok(Vec::new());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        let mut rows = Vec::new();
        let mut iterator = self.db.raw_iterator_opt(options);
        iterator.seek(start);
        while rows.len() < limit {
            let Some((key, value)) = iterator.item() else { break };
            rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            iterator.next();
        }
        iterator.status().map_err(kv_error)?;
        Ok(rows)
    }
}
