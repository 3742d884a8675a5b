//! `0x50 bucket:8 time:8 ino:8` = a file in the trash.

use super::{Fields, KeyBytes, Table};
use crate::row::Key;
use crate::trash::TrashRow;
use types::{BucketId, Ino, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrashKey {
    pub(crate) bucket: BucketId,
    pub(crate) time: Timestamp,
    pub(crate) ino: Ino,
}

impl TrashKey {
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

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Trash).u64(self.bucket.0).i64(self.time.0).u64(self.ino.0).done()
    }
}
