//! `0x50 bucket:8 time:8 ino:8` = a file in the trash.

use super::{Fields, KeyBytes, Table, end_of};
use crate::row::Key;
use crate::trash::TrashRow;
use proto::trash::TrashId;
use types::{BucketId, Ino, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrashKey {
    pub(crate) bucket: BucketId,
    pub(crate) time: Timestamp,
    pub(crate) ino: Ino,
}

impl TrashKey {
    /// The entry of a bucket that a command names.
    pub(crate) fn of(bucket: BucketId, id: TrashId) -> Self {
        TrashKey { bucket, time: id.time, ino: id.ino }
    }

    /// Lower bound of what was removed in a bucket at `time` or later.
    pub(crate) fn lower(bucket: BucketId, time: Timestamp) -> Vec<u8> {
        TrashKey { bucket, time, ino: Ino(0) }.encode()
    }

    /// Exclusive upper bound of a bucket's entries.
    pub(crate) fn upper(bucket: BucketId) -> Vec<u8> {
        end_of(&KeyBytes::new(Table::Trash).u64(bucket.0).done())
    }

    pub(crate) fn id(&self) -> TrashId {
        TrashId { time: self.time, ino: self.ino }
    }

    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Trash, key)?;
        let (bucket, time) = (BucketId(fields.u64()?), Timestamp(fields.i64()?));
        let ino = Ino(fields.u64()?);
        fields.end()?;
        Some(TrashKey { bucket, time, ino })
    }
}

impl Key for TrashKey {
    type Value = TrashRow;
    const VERSION: u8 = 2;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Trash).u64(self.bucket.0).i64(self.time.0).u64(self.ino.0).done()
    }
}
