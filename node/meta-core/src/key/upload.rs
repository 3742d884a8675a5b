//! Multipart uploads: `0x40 upload:16` = the upload, `0x41 bucket:8 key 0x00 0x00 upload:16` = its place in the order of
//! keys, `0x42 upload:16 part:2` = a part, `0x43 upload:16` = parts left to be dropped.

use super::{Fields, KeyBytes, Table, end_of};
use crate::row::Key;
use crate::upload::{Part, Sweep, Upload};
use types::{BucketId, Timestamp, UploadId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UploadKey(pub(crate) UploadId);

/// The value is when it was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UploadIndexKey {
    pub(crate) bucket: BucketId,
    pub(crate) key: Vec<u8>,
    pub(crate) upload: UploadId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartKey {
    pub(crate) upload: UploadId,
    pub(crate) part: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SweepKey(pub(crate) UploadId);

fn only_upload(table: Table, key: &[u8]) -> Option<UploadId> {
    let mut fields = Fields::new(table, key)?;
    let upload = UploadId(fields.id16()?);
    fields.end()?;
    Some(upload)
}

impl UploadKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        only_upload(Table::Upload, key).map(UploadKey)
    }
}

impl SweepKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        only_upload(Table::Sweep, key).map(SweepKey)
    }

    /// The range of the whole table.
    pub(crate) fn range() -> (Vec<u8>, Vec<u8>) {
        let start = KeyBytes::new(Table::Sweep).done();
        let end = end_of(&start);
        (start, end)
    }
}

impl UploadIndexKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::UploadIndex, key)?;
        let bucket = BucketId(fields.u64()?);
        let key = fields.escaped()?;
        let upload = UploadId(fields.id16()?);
        fields.end()?;
        Some(UploadIndexKey { bucket, key, upload })
    }

    /// Where the uploads of a bucket with a key of at least `key` begin.
    pub(crate) fn lower(bucket: BucketId, key: &[u8]) -> Vec<u8> {
        KeyBytes::new(Table::UploadIndex).u64(bucket.0).escaped_open(key).done()
    }

    /// Where the uploads of exactly this key end.
    pub(crate) fn after_key(bucket: BucketId, key: &[u8]) -> Vec<u8> {
        end_of(&KeyBytes::new(Table::UploadIndex).u64(bucket.0).escaped(key).done())
    }

    /// Where the uploads of a bucket end.
    pub(crate) fn upper(bucket: BucketId) -> Vec<u8> {
        end_of(&KeyBytes::new(Table::UploadIndex).u64(bucket.0).done())
    }
}

impl PartKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Part, key)?;
        let part = PartKey { upload: UploadId(fields.id16()?), part: fields.u16()? };
        fields.end()?;
        Some(part)
    }

    /// The range of all parts of an upload with a number greater than `after`.
    pub(crate) fn range_after(upload: UploadId, after: u16) -> (Vec<u8>, Vec<u8>) {
        let all = KeyBytes::new(Table::Part).bytes(&upload.0).done();
        let end = end_of(&all);
        let start = match after.checked_add(1) {
            Some(part) => PartKey { upload, part }.encode(),
            None => end.clone(),
        };
        (start, end)
    }
}

impl Key for UploadKey {
    type Value = Upload;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Upload).bytes(&self.0.0).done()
    }
}

impl Key for UploadIndexKey {
    type Value = Timestamp;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::UploadIndex).u64(self.bucket.0).escaped(&self.key).bytes(&self.upload.0).done()
    }
}

impl Key for PartKey {
    type Value = Part;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Part).bytes(&self.upload.0).u16(self.part).done()
    }
}

impl Key for SweepKey {
    type Value = Sweep;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Sweep).bytes(&self.0.0).done()
    }
}
