//! Listings of objects.

use crate::error::BucketError;
use crate::store::{Caller, Store, surprise};
use bytes::Bytes;
use proto::meta::{Answer, Listing, Query, Refusal};

/// Keys and prefixes in one page.
pub const LIST_KEYS_MAX: u32 = 1000;

/// A group ends a page early rather than walk through a forest of empty directories without bound. So many of its short
/// pages are put together before a client gets one.
const SHORT_PAGES_MAX: usize = 16;

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
        let max = request.max.min(LIST_KEYS_MAX);
        let mut page = Listing::default();
        let mut after = request.after;
        for _ in 0..SHORT_PAGES_MAX {
            let left = max - (page.objects.len() + page.prefixes.len()) as u32;
            let query = Query::ListObjects {
                bucket: bucket.id,
                prefix: request.prefix.clone(),
                delimiter: request.delimiter.clone(),
                after,
                max: left,
            };
            let more = match self.query(&bucket, query).await? {
                Ok(Answer::Listing(listing)) => listing,
                Ok(other) => return Err(surprise(&other).into()),
                Err(refusal) => return Err(bucket_refusal(&refusal)),
            };
            let found = (more.objects.len() + more.prefixes.len()) as u32;
            page.objects.extend(more.objects);
            page.prefixes.extend(more.prefixes);
            page.next = more.next.filter(|_| max > 0);
            match &page.next {
                Some(next) if found < left => after = next.clone(),
                _ => break,
            }
        }
        Ok(page)
    }
}

/// What a refusal means for a listing.
pub(crate) fn bucket_refusal(refusal: &Refusal) -> BucketError {
    match refusal {
        Refusal::NoSuchBucket | Refusal::BucketSealed => BucketError::NoSuchBucket,
        other => crate::error::unexpected(other).into(),
    }
}
