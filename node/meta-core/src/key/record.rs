//! Records: `0x70 bucket:8 space:2 key` = the record, `0x71 bucket:8 space:2 index:1 entry 0x00 0x00 key` = its place in an index.

use super::{Fields, KeyBytes, Table, end_of};
use crate::record::Record;
use crate::row::Key;
use proto::record::{RecordIndex, RecordSpace, Revision};
use types::BucketId;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordRowKey {
    pub(crate) bucket: BucketId,
    pub(crate) space: RecordSpace,
    pub(crate) key: Vec<u8>,
}

/// The value is the record's revision, so that an index alone answers who asks for no more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordIndexKey {
    pub(crate) bucket: BucketId,
    pub(crate) space: RecordSpace,
    pub(crate) index: RecordIndex,
    pub(crate) entry: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl RecordRowKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Record, key)?;
        let (bucket, space) = (BucketId(fields.u64()?), RecordSpace(fields.u16()?));
        Some(RecordRowKey { bucket, space, key: fields.rest().to_vec() })
    }

    /// The range of all records of a bucket.
    pub(crate) fn bucket(bucket: BucketId) -> (Vec<u8>, Vec<u8>) {
        let start = KeyBytes::new(Table::Record).u64(bucket.0).done();
        let end = end_of(&start);
        (start, end)
    }

    /// The range of the keys of a space from `from` up to and without `to`.
    pub(crate) fn range(bucket: BucketId, space: RecordSpace, from: &[u8], to: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
        let space = || KeyBytes::new(Table::Record).u64(bucket.0).u16(space.0);
        let end = to.map_or_else(|| end_of(&space().done()), |to| space().bytes(to).done());
        (space().bytes(from).done(), end)
    }
}

impl RecordIndexKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::RecordIndex, key)?;
        let (bucket, space) = (BucketId(fields.u64()?), RecordSpace(fields.u16()?));
        let (index, entry) = (RecordIndex(fields.byte()?), fields.escaped()?);
        Some(RecordIndexKey { bucket, space, index, entry, key: fields.rest().to_vec() })
    }

    /// The range of the entries of an index from `from` up to and without `to`.
    pub(crate) fn range(
        bucket: BucketId,
        space: RecordSpace,
        index: RecordIndex,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> (Vec<u8>, Vec<u8>) {
        let index = || KeyBytes::new(Table::RecordIndex).u64(bucket.0).u16(space.0).byte(index.0);
        let end = to.map_or_else(|| end_of(&index().done()), |to| index().escaped_open(to).done());
        (index().escaped_open(from).done(), end)
    }

    /// The record it leads to.
    pub(crate) fn record(&self) -> RecordRowKey {
        RecordRowKey { bucket: self.bucket, space: self.space, key: self.key.clone() }
    }
}

impl Key for RecordRowKey {
    type Value = Record;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Record).u64(self.bucket.0).u16(self.space.0).bytes(&self.key).done()
    }
}

impl Key for RecordIndexKey {
    type Value = Revision;

    fn encode(&self) -> Vec<u8> {
        let index = KeyBytes::new(Table::RecordIndex).u64(self.bucket.0).u16(self.space.0).byte(self.index.0);
        index.escaped(&self.entry).bytes(&self.key).done()
    }
}
