//! A bucket: `0x02 bucket:8`.

use super::{Fields, KeyBytes, Table, end_of};
use crate::{bucket::Bucket, row::Key};
use types::BucketId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BucketKey(pub(crate) BucketId);

impl BucketKey {
    /// Exclusive upper bound of all buckets.
    pub(crate) fn upper() -> Vec<u8> {
        end_of(&KeyBytes::new(Table::Bucket).done())
    }

    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Bucket, key)?;
        let bucket = BucketId(fields.u64()?);
        fields.end()?;
        Some(BucketKey(bucket))
    }
}

impl Key for BucketKey {
    type Value = Bucket;
    const VERSION: u8 = 2;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Bucket).u64(self.0.0).done()
    }
}
