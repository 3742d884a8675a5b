//! Records: small documents of a bucket, changed several at a time, all or none, each by comparison of its revision.
//!
//! A change takes its revision from the counter of inodes: that never gives a number twice, is passed over far enough when a group is recovered
//! ([`crate::recover()`]), and needs no field of its own in a row that older programs read.

mod scan;
#[cfg(test)]
mod tests;

pub(crate) use scan::scan;

use crate::key::record::{RecordIndexKey, RecordRowKey};
use crate::kv::KvRead;
use crate::row;
use crate::txn::{Step, Txn};
use bytes::Bytes;
use proto::meta::Refusal;
use proto::record::{
    Expected, IndexEntry, RECORD_CHANGES_MAX, RECORD_ENTRIES_MAX, RECORD_KEY_BYTES_MAX, RECORD_VALUE_BYTES_MAX,
    RECORDS_BYTES_MAX, RecordChange, RecordContent, RecordKey, RecordView, Revision,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use types::BucketId;

/// Bytes of records in one answer, unless one alone is longer; far below an envelope.
pub(crate) const PAGE_BYTES_MAX: usize = 1 << 20;

/// A record as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) revision: Revision,
    pub(crate) value: Bytes,
    pub(crate) entries: Vec<IndexEntry>,
}

impl Record {
    fn view(self, key: Vec<u8>) -> RecordView {
        let content = RecordContent { value: self.value, entries: self.entries };
        RecordView { key: key.into(), revision: self.revision, content }
    }
}

/// Bytes of a record in an answer, with a little for the numbers in it.
fn bytes_of(view: &RecordView) -> usize {
    let entries: usize = view.content.entries.iter().map(|entry| 4 + entry.entry.len()).sum();
    32 + view.key.len() + view.content.value.len() + entries
}

fn row_key(bucket: BucketId, key: &RecordKey) -> RecordRowKey {
    RecordRowKey { bucket, space: key.space, key: key.key.to_vec() }
}

fn index_key(record: &RecordRowKey, entry: &IndexEntry) -> RecordIndexKey {
    let RecordRowKey { bucket, space, key } = record.clone();
    RecordIndexKey { bucket, space, index: entry.index, entry: entry.entry.to_vec(), key }
}

/// The rows of the indexes that a record must have.
pub(crate) fn index_keys<'a>(
    key: &'a RecordRowKey,
    record: &'a Record,
) -> impl Iterator<Item = RecordIndexKey> + use<'a> {
    record.entries.iter().map(move |entry| index_key(key, entry))
}

/// Records in the order of `keys`, as many as fit into one answer, at least one.
pub(crate) fn get(kv: &dyn KvRead, bucket: BucketId, keys: &[RecordKey]) -> Step<Vec<Option<RecordView>>> {
    if keys.len() > RECORD_CHANGES_MAX {
        return Err(Refusal::TooLarge.into());
    }
    keys.iter().try_for_each(check_key)?;
    let mut found = Vec::with_capacity(keys.len());
    let mut bytes = 0;
    for key in keys {
        let row = row_key(bucket, key);
        let view = row::read(kv, &row)?.map(|record: Record| record.view(row.key));
        bytes += view.as_ref().map_or(0, bytes_of);
        if bytes > PAGE_BYTES_MAX && !found.is_empty() {
            break;
        }
        found.push(view);
    }
    Ok(found)
}

fn check_key(key: &RecordKey) -> Result<(), Refusal> {
    match key.key.len() {
        0 => Err(Refusal::Invalid),
        1..=RECORD_KEY_BYTES_MAX => Ok(()),
        _ => Err(Refusal::NameTooLong),
    }
}

fn check_content(content: &RecordContent) -> Result<(), Refusal> {
    if content.value.len() > RECORD_VALUE_BYTES_MAX || content.entries.len() > RECORD_ENTRIES_MAX {
        return Err(Refusal::TooLarge);
    }
    if content.entries.iter().any(|entry| entry.entry.len() > RECORD_KEY_BYTES_MAX) {
        return Err(Refusal::NameTooLong);
    }
    let different: BTreeSet<&IndexEntry> = content.entries.iter().collect();
    if different.len() < content.entries.len() { Err(Refusal::Invalid) } else { Ok(()) }
}

/// The command is within its bounds, whatever there is.
fn check(changes: &[RecordChange]) -> Result<(), Refusal> {
    if changes.len() > RECORD_CHANGES_MAX || changes.iter().map(RecordChange::bytes).sum::<usize>() > RECORDS_BYTES_MAX
    {
        return Err(Refusal::TooLarge);
    }
    for change in changes {
        check_key(&change.key)?;
        change.content.as_ref().map_or(Ok(()), check_content)?;
    }
    let different: BTreeSet<&RecordKey> = changes.iter().map(|change| &change.key).collect();
    if different.len() < changes.len() { Err(Refusal::Invalid) } else { Ok(()) }
}

impl Txn<'_> {
    /// Changes records, all or none. For each the revision that it has now.
    pub(crate) fn put_records(&mut self, bucket: BucketId, changes: &[RecordChange]) -> Step<Vec<Option<Revision>>> {
        self.bucket(bucket)?;
        check(changes)?;
        let numbered = (0..).zip(changes);
        numbered.map(|(number, change)| self.change_record(bucket, number, change)).collect()
    }

    fn change_record(&mut self, bucket: BucketId, number: u32, change: &RecordChange) -> Step<Option<Revision>> {
        let key = row_key(bucket, &change.key);
        let before: Option<Record> = self.read(&key)?;
        let holds = match change.expected {
            Expected::Any => true,
            Expected::Absent => before.is_none(),
            Expected::Revision(revision) => before.as_ref().is_some_and(|record| record.revision == revision),
        };
        if !holds {
            return Err(Refusal::RecordRace(number).into());
        }
        if let Some(before) = &before {
            index_keys(&key, before).for_each(|row| self.remove(&row));
        }
        let Some(RecordContent { value, entries }) = change.content.clone() else {
            if before.is_some() {
                self.remove(&key);
            }
            return Ok(None);
        };
        let revision = Revision(self.next_ino().counter());
        let record = Record { revision, value, entries };
        index_keys(&key, &record).for_each(|row| self.write(&row, &revision));
        self.write(&key, &record);
        Ok(Some(revision))
    }

    /// Whether a bucket has any.
    pub(crate) fn has_records(&self, bucket: BucketId) -> Step<bool> {
        let (start, end) = RecordRowKey::bucket(bucket);
        Ok(!self.rows().scan(&start, &end, 1)?.is_empty())
    }
}
