//! Which title an object is.

use crate::lcp::records::Record;
use crate::lcp::{Title, TitleId};
use bytes::Bytes;
use proto::record::{IndexEntry, RecordSpace};
use serde::{Deserialize, Serialize};
use types::BucketId;

/// An object is the source of a title, and of no other. Made and removed with the title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceClaim {
    /// The object's bucket.
    pub(crate) bucket: BucketId,
    /// Its key.
    pub(crate) key: String,
    /// The title.
    pub(crate) title: TitleId,
}

impl SourceClaim {
    /// The key of an object's claim. Keys of objects can be longer than those of records, so it is a hash.
    pub(crate) fn key_of(bucket: BucketId, key: &str) -> Bytes {
        Title::source_entry(bucket, key)
    }
}

impl Record for SourceClaim {
    const SPACE: RecordSpace = RecordSpace(6);
    const VERSION: u8 = 1;

    fn key(&self) -> Bytes {
        SourceClaim::key_of(self.bucket, &self.key)
    }

    fn entries(&self) -> Vec<IndexEntry> {
        Vec::new()
    }
}
