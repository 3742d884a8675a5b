//! The parts of an upload.

use super::parse_upload;
use crate::checksum::{ChecksumAlgorithm, ObjectChecksum};
use crate::error::{BodyError, MultipartError, ObjectError, multipart_refusal};
use crate::metadata::{agreement, checksum_xattrs};
use crate::object::{CopySource, validate_key};
use crate::range::ByteRange;
use crate::seal::PartSealer;
use crate::store::{Caller, Store};
use crate::upload::{ClaimedChecksum, Received, Small, Upload};
use bytes::Bytes;
use futures::Stream;
use proto::control::BucketInfo;
use proto::meta::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use types::{PARTS_MAX, Timestamp, UploadId};

/// Which part of which upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartTarget {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The upload.
    pub upload: String,
    /// The part's number.
    pub part: i32,
}

/// A part that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPart {
    /// Entity tag without quotes.
    pub etag: String,
    /// Its checksum.
    pub checksum: Option<ObjectChecksum>,
}

/// A part that was copied from an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedPart {
    /// As of any part.
    pub part: UploadedPart,
    /// When.
    pub mtime: Timestamp,
}

/// A part's place, looked up.
struct Place {
    bucket: Arc<BucketInfo>,
    key: Bytes,
    upload: UploadId,
    part: u16,
    checksum: Option<ChecksumAlgorithm>,
    sealer: Option<PartSealer>,
}

impl Store {
    /// Stores a body as a part; one of the same number is replaced.
    ///
    /// # Errors
    /// [`MultipartError`].
    pub async fn put_part<S>(
        &self,
        caller: &Caller,
        target: &PartTarget,
        upload: Upload<S>,
    ) -> Result<UploadedPart, MultipartError>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Unpin + Send,
    {
        let place = self.place(caller, target).await?;
        let claimed = upload.checksum.as_ref().map(ClaimedChecksum::algorithm);
        if let (Some(agreed), Some(claimed)) = (place.checksum, claimed)
            && agreed != claimed
        {
            return Err(MultipartError::ChecksumKind);
        }
        let upload = Upload { compute: place.checksum, ..upload };
        let received = self.receive((&*place.bucket).into(), upload, Small::Chunk, place.sealer.clone()).await?;
        self.keep(place, received).await
    }

    /// Stores a range of an object as a part, by reading and writing it.
    ///
    /// # Errors
    /// [`MultipartError`]; a range that is not wholly inside the source is not satisfiable.
    pub async fn copy_part(
        &self,
        caller: &Caller,
        target: &PartTarget,
        source: &CopySource,
        range: Option<(u64, u64)>,
    ) -> Result<CopiedPart, MultipartError> {
        let place = self.place(caller, target).await?;
        let source = self.source(caller, source).await?;
        let size = source.size;
        let range = match range {
            None => 0..size,
            Some((_, last)) if last >= size => return Err(ObjectError::RangeNotSatisfiable { size }.into()),
            Some((first, last)) => {
                ByteRange::FromTo { first, last }.resolve(size).ok_or(ObjectError::RangeNotSatisfiable { size })?
            }
        };
        let (owner, sealer) = ((&*place.bucket).into(), place.sealer.clone());
        let received = self.receive_copy(owner, &source, range, place.checksum, Small::Chunk, sealer).await?;
        let part = self.keep(place, received).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(CopiedPart { part, mtime: Timestamp::from_secs(now.as_secs() as i64, now.subsec_nanos()) })
    }

    /// Finds the upload before its body is read.
    async fn place(&self, caller: &Caller, target: &PartTarget) -> Result<Place, MultipartError> {
        let part = u16::try_from(target.part).ok().filter(|part| (1..=PARTS_MAX).contains(part));
        let part = part.ok_or(MultipartError::InvalidPartNumber)?;
        let key = validate_key(&target.key)?;
        let upload = parse_upload(&target.upload)?;
        let bucket = self.bucket(caller, &target.bucket).await?;
        let listing = self.parts(&bucket, key.clone(), upload, 0, 0).await?;
        let checksum = agreement(&listing.xattrs).map(|(algorithm, _)| algorithm);
        let sealer = match self.envelope(&bucket, &listing.xattrs).await? {
            None => None,
            Some(envelope) => Some(PartSealer { sealer: self.unseal(&bucket, &envelope).await?, part }),
        };
        Ok(Place { bucket, key, upload, part, checksum, sealer })
    }

    async fn keep(&self, place: Place, received: Received) -> Result<UploadedPart, MultipartError> {
        let Received { content, md5, checksum } = received;
        let checksum = checksum.as_ref().map(ObjectChecksum::from);
        self.check_mark(&place.bucket, place.sealer.is_some()).await?;
        let command = Command::PutPart {
            bucket: place.bucket.id,
            key: place.key,
            upload: place.upload,
            part: place.part,
            content,
            md5,
            xattrs: checksum.iter().flat_map(checksum_xattrs).collect(),
        };
        self.command(&place.bucket, command).await?.map_err(|refusal| multipart_refusal(&refusal))?;
        Ok(UploadedPart { etag: hex::encode(md5), checksum })
    }
}
