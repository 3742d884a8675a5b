//! Records that clients change and look at: a few, so that they meet.

use super::Client;
use super::steps::BUCKET;
use crate::operation::{Condition, Operation, PlannedOperation};
use bytes::Bytes;
use proto::meta::{Command, Query};
use proto::record::{
    Expected, IndexEntry, RecordChange, RecordContent, RecordIndex, RecordKey, RecordScan, RecordSpace, RecordView,
    Revision,
};

/// Records there are.
const RECORDS: u64 = 5;
const SPACE: RecordSpace = RecordSpace(3);
const INDEX: RecordIndex = RecordIndex(1);
/// Records in a page: fewer than there may be.
const PAGE: u32 = 3;

fn key(number: u64) -> RecordKey {
    RecordKey { space: SPACE, key: Bytes::from(format!("r{}", number % RECORDS)) }
}

/// Which records an operation changes: two of them every other time.
pub(super) fn changed(planned: &PlannedOperation) -> Vec<RecordKey> {
    match planned.operation {
        Operation::PutRecords(first, _) => {
            (u64::from(first)..=u64::from(first) + planned.number % 2).map(key).collect()
        }
        _ => Vec::new(),
    }
}

/// The last of them is changed on a condition, the other one on none: a race that is lost undoes it.
pub(super) fn put(client: &Client, planned: &PlannedOperation, condition: Condition) -> Command {
    let keys = changed(planned);
    let last = keys.len() - 1;
    let change = |(place, key): (usize, RecordKey)| {
        let expected = match condition {
            _ if place < last => Expected::Any,
            Condition::None => Expected::Any,
            Condition::Absent => Expected::Absent,
            // One that was never given is not there.
            Condition::Seen => Expected::Revision(client.revisions.get(&key).copied().unwrap_or(Revision(0))),
        };
        let content = (!planned.number.is_multiple_of(5)).then(|| content(planned.number));
        RecordChange { key, expected, content }
    };
    Command::PutRecords { bucket: BUCKET, changes: keys.into_iter().enumerate().map(change).collect() }
}

fn content(number: u64) -> RecordContent {
    let entry = |entry: u64| IndexEntry { index: INDEX, entry: Bytes::from(vec![entry as u8]) };
    let entries = (0..number % 3).map(|place| entry((number / 7 + place) % 4)).collect();
    RecordContent { value: number.to_be_bytes().to_vec().into(), entries }
}

pub(super) fn get() -> Query {
    Query::Records { bucket: BUCKET, keys: (0..RECORDS).map(key).collect() }
}

pub(super) fn scan(by_index: bool, number: u64) -> Query {
    let scan = RecordScan {
        space: SPACE,
        by: by_index.then_some(INDEX),
        from: Bytes::new(),
        to: None,
        after: None,
        keys_only: number.is_multiple_of(2),
        max: PAGE,
    };
    Query::ScanRecords { bucket: BUCKET, scan }
}

impl Client {
    /// The group has said what records it has.
    pub(super) fn sees_records(&mut self, found: Vec<Option<RecordView>>) {
        let revisions = found.into_iter().map(|view| view.map(|view| view.revision));
        self.sees_revisions((0..RECORDS).map(key).zip(revisions));
    }

    pub(super) fn sees_revisions(&mut self, seen: impl Iterator<Item = (RecordKey, Option<Revision>)>) {
        for (key, revision) in seen {
            match revision {
                Some(revision) => drop(self.revisions.insert(key, revision)),
                None => drop(self.revisions.remove(&key)),
            }
        }
    }
}
