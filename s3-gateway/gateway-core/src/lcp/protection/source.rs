//! The plain bytes of a source, read with the system's own authority: what a worker sees, no user gets to see this way.

use crate::condition::ReadCondition;
use crate::download::Content;
use crate::error::{BucketError, ClusterError, ObjectError};
use crate::lcp::Source;
use crate::metadata::SystemHeader;
use crate::object::{GetRequest, validate_key};
use crate::range::ByteRange;
use crate::seal::SealError;
use crate::store::Store;
use bytes::Bytes;
use futures::TryStreamExt as _;
use proto::control::BucketInfo;
use proto::object::TagMatch;
use std::ops::Range;
use types::Timestamp;

/// User metadata that says what a book is called.
const TITLE: &str = "title";

/// What is known of a source without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lcp) struct SourceHead {
    pub(in crate::lcp) etag: String,
    pub(in crate::lcp) mtime: Timestamp,
    pub(in crate::lcp) size: u64,
    pub(in crate::lcp) media_type: Option<String>,
    pub(in crate::lcp) title: Option<String>,
}

impl SourceHead {
    /// As it stands in a title.
    pub(in crate::lcp) fn source_of(&self, bucket: &BucketInfo, key: &str) -> Source {
        Source {
            bucket: bucket.id,
            bucket_name: bucket.name.clone(),
            key: key.to_owned(),
            etag: self.etag.clone(),
            mtime: self.mtime,
            size: self.size,
        }
    }
}

/// Bytes of a source were not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::lcp) enum SourceFault {
    /// It is another one by now, or gone.
    #[error("the source was replaced or deleted")]
    Changed,
    /// The cluster's fault, or the key service's.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl Store {
    /// The source at that key as it is now; `None` if there is none.
    pub(in crate::lcp) async fn source_head(
        &self,
        bucket: &BucketInfo,
        key: &str,
    ) -> Result<Option<SourceHead>, ClusterError> {
        let Ok(name) = validate_key(key) else { return Ok(None) };
        let (head, _) = match self.head_of(bucket, name, &GetRequest::default()).await {
            Ok(found) => found,
            Err(ObjectError::NoSuchKey | ObjectError::Bucket(BucketError::NoSuchBucket)) => return Ok(None),
            Err(error) => return Err(cluster_error(error)),
        };
        let title = head.metadata.user.iter().find(|(name, _)| name == TITLE).map(|(_, value)| value.clone());
        Ok(Some(SourceHead {
            etag: head.validators.etag,
            mtime: head.validators.mtime,
            size: head.size,
            media_type: head.metadata.system(SystemHeader::ContentType).map(str::to_owned),
            title,
        }))
    }

    /// A range of a source, all of it, which must be the version with that entity tag.
    pub(in crate::lcp) async fn source_bytes(
        &self,
        bucket: &BucketInfo,
        source: &Source,
        range: Range<u64>,
    ) -> Result<Bytes, SourceFault> {
        let (Some(last), wanted) = (range.end.checked_sub(1), range.end - range.start) else { return Ok(Bytes::new()) };
        let condition =
            ReadCondition { if_match: Some(TagMatch::Tags(vec![source.etag.clone()])), ..ReadCondition::default() };
        let request = GetRequest {
            key: source.key.clone(),
            range: Some(ByteRange::FromTo { first: range.start, last }),
            condition,
            ..GetRequest::default()
        };
        let read = self.read_object(bucket, &request, None).await.map_err(source_fault)?;
        if read.head.size != source.size {
            return Err(SourceFault::Changed);
        }
        let bytes = match read.content {
            Content::Whole(bytes) => bytes,
            Content::Stream(pieces) => {
                let mut all = Vec::with_capacity(wanted as usize);
                pieces
                    .try_for_each(|piece| {
                        all.extend_from_slice(&piece);
                        futures::future::ready(Ok(()))
                    })
                    .await
                    .map_err(source_fault)?;
                all.into()
            }
        };
        if bytes.len() as u64 == wanted { Ok(bytes) } else { Err(SourceFault::Changed) }
    }
}

fn source_fault(error: ObjectError) -> SourceFault {
    match error {
        ObjectError::NoSuchKey
        | ObjectError::PreconditionFailed
        | ObjectError::Changed
        | ObjectError::RangeNotSatisfiable { .. }
        | ObjectError::Bucket(BucketError::NoSuchBucket) => SourceFault::Changed,
        other => SourceFault::Cluster(cluster_error(other)),
    }
}

fn cluster_error(error: ObjectError) -> ClusterError {
    match error {
        ObjectError::Bucket(BucketError::Cluster(error)) => error,
        ObjectError::Seal(SealError::KeysUnavailable) => ClusterError::Unavailable,
        other => ClusterError::Unexpected(other.to_string()),
    }
}
