//! Records: each is in its indexes as often as it says and no more, and its bucket may have some.

use super::{Broken, snapshot::Snapshot};
use crate::bucket::Bucket;
use crate::key::record::{RecordIndexKey, RecordRowKey};
use crate::record::{Record, index_keys};
use proto::record::Revision;
use std::fmt;

pub(super) fn check(snapshot: &Snapshot, broken: &mut Broken) {
    for (key, row) in &snapshot.records {
        let bucket = snapshot.buckets.get(&key.bucket);
        record(key, row, bucket, snapshot.counters.ino, broken);
        for index in index_keys(key, row) {
            indexed(&index, row.revision, snapshot.record_index.get(&index).copied(), broken);
        }
    }
    for (index, revision) in &snapshot.record_index {
        named(index, *revision, snapshot.records.get(&index.record()), broken);
    }
}

/// How a record is named in what is said of it.
struct Name<'a>(&'a RecordRowKey);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecordRowKey { bucket, space, key } = self.0;
        write!(f, "record {} of space {} of {bucket}", key.escape_ascii(), space.0)
    }
}

/// What holds of a record alone; `numbered` is the last number that was handed out.
pub(crate) fn record(key: &RecordRowKey, record: &Record, bucket: Option<&Bucket>, numbered: u64, broken: &mut Broken) {
    let at = Name(key);
    broken.unless(bucket.is_some_and(|bucket| !bucket.sealed), || format!("{at}: the bucket is gone or sealed"));
    broken.unless(record.revision.0 <= numbered, || format!("{at}: {:?} was not handed out", record.revision));
    let mut entries: Vec<_> = record.entries.iter().collect();
    entries.sort_unstable();
    broken.unless(entries.windows(2).all(|pair| pair[0] != pair[1]), || format!("{at}: an index entry twice"));
}

/// A record is in an index that it names, with its revision.
pub(crate) fn indexed(index: &RecordIndexKey, revision: Revision, found: Option<Revision>, broken: &mut Broken) {
    let what = || format!("{} of {revision:?} is in index {} as {found:?}", Name(&index.record()), index.index.0);
    broken.unless(found == Some(revision), what);
}

/// A row of an index leads to a record that names it.
pub(crate) fn named(index: &RecordIndexKey, revision: Revision, record: Option<&Record>, broken: &mut Broken) {
    let key = index.record();
    let names = record
        .is_some_and(|record| record.revision == revision && index_keys(&key, record).any(|named| named == *index));
    broken.unless(names, || format!("{} is in index {} and does not say so", Name(&key), index.index.0));
}
