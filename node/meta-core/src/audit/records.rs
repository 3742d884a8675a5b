//! Records and their indexes, held against each other as they go by.

use super::rows::{Found, Walk};
use crate::invariants::Broken;
use crate::invariants::record::{indexed, named, record};
use crate::key::bucket::BucketKey;
use crate::key::record::{RecordIndexKey, RecordRowKey};
use crate::kv::KvError;
use crate::record::{Record, index_keys};
use proto::record::Revision;

const CODE: &str = "state-record";

impl Walk<'_> {
    pub(super) fn record(&mut self, key: &RecordRowKey, row: &Record) -> Result<(), KvError> {
        self.audited.records += 1;
        let mut broken = Broken::default();
        let bucket = self.buckets.get(&key.bucket);
        if bucket.is_some() || !matches!(self.read(&BucketKey(key.bucket))?, Found::Unreadable) {
            record(key, row, bucket, self.counters.ino, &mut broken);
        }
        for index in index_keys(key, row) {
            match self.read(&index)? {
                Found::Row(revision) => indexed(&index, row.revision, Some(revision), &mut broken),
                Found::Nothing => indexed(&index, row.revision, None, &mut broken),
                Found::Unreadable => {}
            }
        }
        self.report(CODE, broken);
        Ok(())
    }

    pub(super) fn record_index(&mut self, index: &RecordIndexKey, revision: Revision) -> Result<(), KvError> {
        let mut broken = Broken::default();
        match self.read(&index.record())? {
            Found::Row(record) => named(index, revision, Some(&record), &mut broken),
            Found::Nothing => named(index, revision, None, &mut broken),
            Found::Unreadable => {}
        }
        self.report(CODE, broken);
        Ok(())
    }
}
