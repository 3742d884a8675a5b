//! Multipart uploads: begun, filled part by part, completed or aborted.
//!
//! An upload may be begun with an *agreement*: every part gets a checksum of that algorithm, sent by the client or made
//! here, and the finished object one made of them.

mod complete;
mod part;

pub use complete::{CompletePart, CompleteRequest, Completed};
pub use part::{CopiedPart, PartTarget, UploadedPart};

use crate::checksum::{ChecksumAlgorithm, ChecksumKind, ObjectChecksum};
use crate::error::{MultipartError, multipart_refusal};
use crate::list::{LIST_KEYS_MAX, bucket_refusal};
use crate::metadata::{Metadata, agreement, agreement_xattrs};
use crate::object::validate_key;
use crate::seal::{Layout, SealError, is_envelope, plain_bytes};
use crate::store::{Caller, Store, surprise};
use bytes::Bytes;
use proto::control::BucketInfo;
use proto::meta::{Answer, Command, PartListing, Query, UploadListing};
use types::{Timestamp, UploadId};

/// Parts in one page of a listing, as S3 has it.
const LIST_PARTS_MAX: u32 = 1000;

/// A multipart upload to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUpload {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Metadata of the object to be.
    pub metadata: Metadata,
    /// Checksums of the parts, and what the object's is to cover (`None`: what is usual for the algorithm).
    pub checksum: Option<(ChecksumAlgorithm, Option<ChecksumKind>)>,
}

/// Which parts to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartListRequest {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The upload.
    pub upload: String,
    /// Only part numbers greater than this.
    pub after: u16,
    /// At most so many; cut to 1,000.
    pub max: u32,
}

/// A part in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub part: u16,
    /// Bytes.
    pub size: u64,
    /// Entity tag without quotes.
    pub etag: String,
    /// When it was stored.
    pub mtime: Timestamp,
    /// Its checksum.
    pub checksum: Option<ObjectChecksum>,
}

/// A page of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartPage {
    /// The parts, in order.
    pub parts: Vec<ListedPart>,
    /// More follow after the last one.
    pub truncated: bool,
    /// What the upload was begun with.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// Which uploads to list.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UploadListRequest {
    /// Only keys that begin so.
    pub prefix: Bytes,
    /// Rolled up as in a listing of keys.
    pub delimiter: Bytes,
    /// Only uploads after this key, or after this upload of it.
    pub after: Option<(Bytes, Option<String>)>,
    /// At most so many; cut to [`LIST_KEYS_MAX`].
    pub max: u32,
}

impl Store {
    /// Begins an upload.
    ///
    /// # Errors
    /// [`MultipartError`].
    pub async fn create_upload(&self, caller: &Caller, request: NewUpload) -> Result<UploadId, MultipartError> {
        let key = validate_key(&request.key)?;
        let mut xattrs = request.metadata.to_xattrs()?;
        if let Some((algorithm, kind)) = request.checksum {
            let kind = kind.unwrap_or(algorithm.default_kind());
            if !algorithm.allows(kind) {
                return Err(MultipartError::ChecksumKind);
            }
            xattrs.extend(agreement_xattrs(algorithm, kind));
        }
        let bucket = self.bucket(caller, &request.bucket).await?;
        if let Some(sealing) = self.begin_sealing(&bucket).await? {
            xattrs.push(sealing.envelope(Layout::default())?);
        }
        let upload = UploadId(rand::random());
        let command = Command::CreateUpload { bucket: bucket.id, key, upload, xattrs };
        self.command(&bucket, command).await?.map_err(|refusal| multipart_refusal(&refusal))?;
        Ok(upload)
    }

    /// Forgets an upload and its parts.
    ///
    /// # Errors
    /// [`MultipartError::NoSuchUpload`] also if it was completed.
    pub async fn abort_upload(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        upload: &str,
    ) -> Result<(), MultipartError> {
        let key = validate_key(key)?;
        let upload = parse_upload(upload)?;
        let bucket = self.bucket(caller, bucket).await?;
        let command = Command::AbortUpload { bucket: bucket.id, key, upload };
        self.command(&bucket, command).await?.map_err(|refusal| multipart_refusal(&refusal))?;
        Ok(())
    }

    /// A page of the parts of an upload.
    ///
    /// # Errors
    /// [`MultipartError`].
    pub async fn list_parts(&self, caller: &Caller, request: &PartListRequest) -> Result<PartPage, MultipartError> {
        let key = validate_key(&request.key)?;
        let upload = parse_upload(&request.upload)?;
        let bucket = self.bucket(caller, &request.bucket).await?;
        let max = request.max.min(LIST_PARTS_MAX);
        let listing = self.parts(&bucket, key, upload, request.after, max).await?;
        let parts = listing.parts.iter().map(|part| ListedPart {
            part: part.part,
            size: part.size,
            etag: hex::encode(part.md5),
            mtime: part.mtime,
            checksum: Metadata::from_xattrs(&part.xattrs).checksum,
        });
        let parts = parts.collect();
        Ok(PartPage { parts, truncated: listing.truncated, checksum: agreement(&listing.xattrs) })
    }

    /// A page of the uploads of a bucket that are neither completed nor aborted.
    ///
    /// # Errors
    /// [`MultipartError`].
    pub async fn list_uploads(
        &self,
        caller: &Caller,
        bucket: &str,
        request: UploadListRequest,
    ) -> Result<UploadListing, MultipartError> {
        let bucket = self.bucket(caller, bucket).await?;
        let after = match request.after {
            Some((key, upload)) => Some((key, upload.as_deref().map(parse_upload).transpose()?)),
            None => None,
        };
        let query = Query::ListUploads {
            bucket: bucket.id,
            prefix: request.prefix,
            delimiter: request.delimiter,
            after,
            max: request.max.min(LIST_KEYS_MAX),
        };
        match self.query(&bucket, query).await? {
            Ok(Answer::Uploads(listing)) => Ok(listing),
            Ok(other) => Err(surprise(&other).into()),
            Err(refusal) => Err(bucket_refusal(&refusal).into()),
        }
    }

    /// Parts of an upload, with their plain sizes.
    async fn parts(
        &self,
        bucket: &BucketInfo,
        key: Bytes,
        upload: UploadId,
        after: u16,
        max: u32,
    ) -> Result<PartListing, MultipartError> {
        match self.query(bucket, Query::ListParts { bucket: bucket.id, key, upload, after, max }).await? {
            Ok(Answer::Parts(mut listing)) => {
                if listing.xattrs.iter().any(is_envelope) {
                    for part in &mut listing.parts {
                        part.size = plain_bytes(part.size).ok_or(SealError::Damaged)?;
                    }
                }
                Ok(listing)
            }
            Ok(other) => Err(surprise(&other).into()),
            Err(refusal) => Err(multipart_refusal(&refusal)),
        }
    }
}

/// Text that is no upload's id names no upload.
fn parse_upload(text: &str) -> Result<UploadId, MultipartError> {
    text.parse().map_err(|_| MultipartError::NoSuchUpload)
}
