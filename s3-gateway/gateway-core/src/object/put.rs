//! Putting an object.

use super::{Stored, validate_key};
use crate::checksum::ObjectChecksum;
use crate::error::{BodyError, ObjectError, object_refusal};
use crate::metadata::{Metadata, checksum_xattrs};
use crate::seal::{Layout, WHOLE};
use crate::store::{Caller, Store, surprise};
use crate::upload::{Small, Upload};
use bytes::Bytes;
use futures::Stream;
use proto::control::BucketInfo;
use proto::meta::{Command, Outcome, Refusal};
use proto::object::{Attr, ETag, NewContent, Precondition, Xattr};

/// Where an object goes and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRequest {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Metadata; a checksum in it is ignored.
    pub metadata: Metadata,
    /// Judged in one piece with the change.
    pub precondition: Precondition,
}

impl Store {
    /// Stores a body as an object. After `Ok` it is durable and visible; after an error nothing has changed, except that
    /// after [`crate::ClusterError::Unavailable`] it may be visible, whole.
    ///
    /// # Errors
    /// [`ObjectError`]; the body may not have been read to its end.
    pub async fn put<S>(&self, caller: &Caller, request: PutRequest, upload: Upload<S>) -> Result<Stored, ObjectError>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Unpin + Send,
    {
        let key = validate_key(&request.key)?;
        let mut xattrs = request.metadata.to_xattrs()?;
        let bucket = self.bucket(caller, &request.bucket).await?;
        let (sealing, size) = (self.begin_sealing(&bucket).await?, upload.length);
        let sealer = sealing.as_ref().map(|sealing| sealing.part(WHOLE));
        let received = self.receive((&*bucket).into(), upload, Small::Inline, sealer).await?;
        let checksum = received.checksum.as_ref().map(ObjectChecksum::from);
        xattrs.extend(checksum.iter().flat_map(checksum_xattrs));
        if let Some(sealing) = &sealing {
            xattrs.push(sealing.envelope(Layout::whole(size))?);
        }
        self.check_mark(&bucket, sealing.is_some()).await?;
        let etag = ETag::Md5(received.md5);
        let attr = self.commit(&bucket, key, received.content, etag, xattrs, request.precondition).await?;
        Ok(Stored { etag: attr.etag_text(), mtime: attr.mtime, size, checksum })
    }

    pub(super) async fn commit(
        &self,
        bucket: &BucketInfo,
        key: Bytes,
        content: NewContent,
        etag: ETag,
        xattrs: Vec<Xattr>,
        precondition: Precondition,
    ) -> Result<Attr, ObjectError> {
        let command = Command::PutObject { bucket: bucket.id, key, content, etag, xattrs, precondition };
        made_visible(self.command(bucket, command).await?)
    }
}

/// The object that a command made visible.
pub(crate) fn made_visible(answer: Result<Outcome, Refusal>) -> Result<Attr, ObjectError> {
    match answer {
        Ok(Outcome::Object(attr)) => Ok(attr),
        Ok(other) => Err(surprise(&other).into()),
        Err(refusal) => Err(object_refusal(&refusal)),
    }
}
