//! Records: small documents of a bucket, kept by its metadata group for programs that need more than files.
//!
//! A record has a key, a value that the group does not look into, a revision that is new with every change, and entries in indexes, by which it
//! is found in another order than that of the keys. Records are no files: neither S3 nor a mount shows them, and there is no way back from a removal.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a key, and of an index entry. Names, ids and times of sorts fit many times over; and a row's key is both of them and a little more, which
/// the store compares at every step.
pub const RECORD_KEY_BYTES_MAX: usize = 256;
/// Bytes of a value. A document of text is far below it, four of the largest still fit into a command, and what is larger is an object.
pub const RECORD_VALUE_BYTES_MAX: usize = 256 << 10;
/// Index entries of a record. Each is a row that a change may remove and write: with [`RECORD_CHANGES_MAX`] they bound the rows of a command.
pub const RECORD_ENTRIES_MAX: usize = 16;
/// Changes of a command, and keys of a query.
pub const RECORD_CHANGES_MAX: usize = 64;
/// Bytes of keys, values and index entries in a command: a log entry's, less room for the numbers and lengths between them.
pub const RECORDS_BYTES_MAX: usize = types::COMMAND_BYTES_MAX - (16 << 10);
/// Records in one page.
pub const RECORD_PAGE_MAX: u32 = 1024;

const _: () = assert!(RECORD_CHANGES_MAX * (1 + 2 * RECORD_ENTRIES_MAX) <= 4096, "rows of a command");
const _: () =
    assert!(RECORD_CHANGES_MAX * (1 + RECORD_ENTRIES_MAX) * 12 < 16 << 10, "numbers and lengths of a command");

/// A kind of records, numbered by the program that keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct RecordSpace(pub u16);

/// An index of a space, numbered by the program that keeps the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct RecordIndex(pub u8);

/// One state of one record. A group never gives the same one twice, to whatever record: what was removed and made anew is told apart. Later
/// ones are greater; nothing else is to be read out of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Revision(pub u64);

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revision-{}", self.0)
    }
}

/// Names a record of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordKey {
    /// The space.
    pub space: RecordSpace,
    /// 1..=`RECORD_KEY_BYTES_MAX` bytes.
    pub key: Bytes,
}

/// Where a record stands in an index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IndexEntry {
    /// The index. A record may have several entries in one, or none.
    pub index: RecordIndex,
    /// At most `RECORD_KEY_BYTES_MAX` bytes; records with equal ones follow each other by their keys.
    pub entry: Bytes,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct RecordContent {
    /// At most `RECORD_VALUE_BYTES_MAX` bytes.
    pub value: Bytes,
    /// At most `RECORD_ENTRIES_MAX`, no two the same, in any order.
    pub entries: Vec<IndexEntry>,
}

/// What a change expects of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expected {
    /// Nothing.
    Any,
    /// There is none.
    Absent,
    /// It is there, and as it was at this revision.
    Revision(Revision),
}

/// A change of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordChange {
    /// The record.
    pub key: RecordKey,
    /// What must hold of it.
    pub expected: Expected,
    /// What it holds from now on; `None` = it is removed, which is no error if there is none.
    pub content: Option<RecordContent>,
}

impl RecordChange {
    /// Bytes of it that count for [`RECORDS_BYTES_MAX`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        let content = self.content.as_ref();
        let entries = content.map_or(0, |content| content.entries.iter().map(|entry| entry.entry.len()).sum());
        self.key.key.len() + content.map_or(0, |content| content.value.len()) + entries
    }
}

/// A record as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordView {
    /// Its key, without the space.
    pub key: Bytes,
    /// Its revision.
    pub revision: Revision,
    /// What it holds.
    pub content: RecordContent,
}

/// A look through the records of a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordScan {
    /// The space.
    pub space: RecordSpace,
    /// In the order of this index, which shows only records that have an entry in it, each as often as it has; `None` = by their keys.
    pub by: Option<RecordIndex>,
    /// Only index entries (without an index: keys) from this on; empty = from the first.
    pub from: Bytes,
    /// Only those below this; `None` = to the last.
    pub to: Option<Bytes>,
    /// Only what comes behind this place.
    pub after: Option<RecordCursor>,
    /// Only keys and revisions.
    pub keys_only: bool,
    /// At most so many, 1..=`RECORD_PAGE_MAX`; what lies outside is taken for the nearer of the two.
    pub max: u32,
}

/// A place in a look through records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCursor {
    /// The index entry; empty if the look goes by keys.
    pub entry: Bytes,
    /// The key.
    pub key: Bytes,
}

/// A page of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordPage {
    /// What was found, in order.
    pub found: FoundRecords,
    /// The place of the last one, if there may be more behind it. A page may be short of what was asked for, and is never empty then.
    pub next: Option<RecordCursor>,
}

/// Records of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FoundRecords {
    /// All of each.
    Views(Vec<RecordView>),
    /// Key and revision of each.
    Keys(Vec<(Bytes, Revision)>),
}
