//! Listings of objects.

use crate::error::{BucketError, ObjectError};
use crate::seal::{Envelope, plain_bytes};
use crate::store::{Caller, Store, surprise};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use proto::control::BucketInfo;
use proto::meta::{Answer, ListedObject, Listing, Query, Refusal};

/// Keys and prefixes in one page.
pub const LIST_KEYS_MAX: u32 = 1000;

/// A group ends a page early rather than walk through a forest of empty directories without bound. So many of its short
/// pages are put together before a client gets one.
const SHORT_PAGES_MAX: usize = 16;

/// Objects of parts whose envelopes are asked for at the same time for one page.
const SIZES_ASKED_MAX: usize = 16;

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
        if self.is_marked(&bucket).await? {
            self.show_plain_sizes(&bucket, &mut page.objects).await?;
        }
        Ok(page)
    }

    /// Puts plain sizes in the place of stored ones. Objects that are not sealed keep theirs: they are shown so that they can be deleted.
    ///
    /// The stored size of an object that was put in one piece says how many segments there are. That of an object of parts does not, so its envelope is
    /// asked for, and what was learned remembered: the same entity tag and stored size have the same parts.
    async fn show_plain_sizes(&self, bucket: &BucketInfo, objects: &mut Vec<ListedObject>) -> Result<(), BucketError> {
        let shown = stream::iter(std::mem::take(objects)).map(|listed| self.with_plain_size(bucket, listed));
        let mut shown = shown.buffered(SIZES_ASKED_MAX);
        while let Some(listed) = shown.next().await {
            objects.extend(listed?);
        }
        Ok(())
    }

    /// `None` if it is gone.
    async fn with_plain_size(
        &self,
        bucket: &BucketInfo,
        mut listed: ListedObject,
    ) -> Result<Option<ListedObject>, BucketError> {
        if !listed.etag.contains('-') {
            listed.size = plain_bytes(listed.size).unwrap_or(listed.size);
            return Ok(Some(listed));
        }
        let name = (listed.etag.clone(), listed.size);
        if let Some(size) = self.sizes.known(&name) {
            listed.size = size;
            return Ok(Some(listed));
        }
        let (object, _) = match self.object(bucket, listed.key.clone(), None).await {
            Ok(found) => found,
            Err(ObjectError::NoSuchKey) => return Ok(None),
            Err(ObjectError::Bucket(error)) => return Err(error),
            Err(other) => return Err(surprise(&other).into()),
        };
        let attr = object.attr;
        let size = match Envelope::find(&object.xattrs) {
            Some(Ok(envelope)) => envelope.layout.plain(),
            Some(Err(_)) | None => attr.size,
        };
        if (attr.etag_text(), attr.size) == name {
            self.sizes.set(name, Some(size));
        }
        // Another may stand there by now: then all that is shown is that one's.
        Ok(Some(ListedObject { key: listed.key, size, mtime: attr.mtime, etag: attr.etag_text() }))
    }
}

/// What a refusal means for a listing.
pub(crate) fn bucket_refusal(refusal: &Refusal) -> BucketError {
    match refusal {
        Refusal::NoSuchBucket | Refusal::BucketSealed => BucketError::NoSuchBucket,
        other => crate::error::unexpected(other).into(),
    }
}
