//! Listings of objects.

use crate::error::BucketError;
use crate::store::{Caller, Store, surprise};
use bytes::Bytes;
use proto::meta::{Answer, Listing, Query, Refusal};

/// Keys and prefixes in one page.
pub const LIST_KEYS_MAX: u32 = 1000;

/// Which keys are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ListRequest {
    /// Only keys that begin so.
    pub prefix: Bytes,
    /// What lies between the prefix and the next occurrence of this is rolled up; empty = nothing.
    pub delimiter: Bytes,
    /// Only keys and rolled-up prefixes greater than this.
    pub after: Bytes,
    /// At most so many; cut to [`LIST_KEYS_MAX`].
    pub max: u32,
}

impl Store {
    /// A page of keys in S3 order.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn list(&self, caller: &Caller, bucket: &str, request: ListRequest) -> Result<Listing, BucketError> {
        let bucket = self.bucket(caller, bucket).await?;
        let ListRequest { prefix, delimiter, after, max } = request;
        let query = Query::ListObjects { bucket: bucket.id, prefix, delimiter, after, max: max.min(LIST_KEYS_MAX) };
        match self.query(&bucket, query).await? {
            Ok(Answer::Listing(listing)) => Ok(listing),
            Ok(other) => Err(surprise(&other).into()),
            Err(refusal) => Err(bucket_refusal(&refusal)),
        }
    }
}

/// What a refusal means for a listing.
pub(crate) fn bucket_refusal(refusal: &Refusal) -> BucketError {
    match refusal {
        Refusal::NoSuchBucket | Refusal::BucketSealed => BucketError::NoSuchBucket,
        other => crate::error::unexpected(other).into(),
    }
}
