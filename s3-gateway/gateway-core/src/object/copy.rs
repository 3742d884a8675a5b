//! Copying an object: by reference within a metadata group, by reading and writing into another, and into a bucket with another rule of placement.

use super::put::made_visible;
use super::{Stored, content_bytes, validate_key, validators};
use crate::checksum::{ChecksumKind, ObjectChecksum};
use crate::condition::ReadCondition;
use crate::download::Content;
use crate::error::{BodyError, ObjectError, UploadError};
use crate::metadata::{Metadata, checksum_xattrs};
use crate::seal::{Envelope, Layout, PartSealer, SealError, WHOLE, is_envelope, open};
use crate::store::{Caller, Store};
use crate::upload::{Received, Small, Upload};
use bytes::Bytes;
use cluster_client::ChunkOwner;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use proto::control::BucketInfo;
use proto::meta::{Command, Refusal};
use proto::object::{ContentView, ETag, FileKind, ObjectView, Precondition, TagMatch};
use std::ops::Range;
use std::sync::Arc;
use types::FILE_BYTES_MAX;

/// What is copied.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CopySource {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// What is demanded of it.
    pub condition: ReadCondition,
}

/// A copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyRequest {
    /// From.
    pub source: CopySource,
    /// To.
    pub bucket: String,
    /// To.
    pub key: String,
    /// Metadata for the copy; `None` takes the source's along.
    pub metadata: Option<Metadata>,
    /// What must hold of the destination.
    pub precondition: Precondition,
}

/// A source that was found and may be copied.
pub(crate) struct Source {
    pub(crate) bucket: Arc<BucketInfo>,
    pub(crate) key: Bytes,
    pub(crate) object: ObjectView,
    /// Plain bytes.
    pub(crate) size: u64,
    /// If it is sealed.
    pub(crate) envelope: Option<Envelope>,
}

impl Store {
    /// Copies an object in one piece with the judgement of both conditions.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn copy(&self, caller: &Caller, request: CopyRequest) -> Result<Stored, ObjectError> {
        let key = validate_key(&request.key)?;
        let mut xattrs = request.metadata.as_ref().map(Metadata::to_xattrs).transpose()?;
        let bucket = self.bucket(caller, &request.bucket).await?;
        let source = self.source(caller, &request.source).await?;
        if xattrs.is_none() && source.bucket.id == bucket.id && source.key == key {
            return Err(ObjectError::CopyOntoItself);
        }
        let checksum = Metadata::from_xattrs(&source.object.xattrs).checksum;
        if let Some(xattrs) = &mut xattrs {
            xattrs.extend(checksum.iter().flat_map(checksum_xattrs));
        }
        let marked = self.is_marked(&bucket).await?;
        // The chunks of a copy by reference lie where those of the source do.
        let shares = source.bucket.group == bucket.group && source.bucket.rule == bucket.rule;
        let shares = shares
            && match source.envelope {
                None => !marked,
                // Segments are sealed for their bucket and the object id in the envelope, which is copied with them in one piece. With other metadata it
                // would be the envelope of the source as it was a moment ago, and another object of the same bytes may stand there by now.
                Some(_) => source.bucket.id == bucket.id && xattrs.is_none(),
            };
        if shares && source.object.attr.kind == FileKind::File {
            self.check_mark(&bucket, source.envelope.is_some()).await?;
            let command = Command::CopyObject {
                source_bucket: source.bucket.id,
                source_key: source.key.clone(),
                source_precondition: only(&source.object),
                bucket: bucket.id,
                key: key.clone(),
                xattrs: xattrs.clone(),
                precondition: request.precondition.clone(),
            };
            match self.command(&bucket, command).await? {
                // More extents than one log entry may count references of: copied by writing.
                Err(Refusal::TooLarge) => {}
                answer => {
                    let attr = made_visible(answer)?;
                    return Ok(Stored { etag: attr.etag_text(), mtime: attr.mtime, size: source.size, checksum });
                }
            }
        }
        self.rewrite(&bucket, key, &source, xattrs, request.precondition).await
    }

    /// Writes the bytes of a source anew. A composite checksum does not belong to an object put in one piece, so another
    /// is made.
    async fn rewrite(
        &self,
        bucket: &BucketInfo,
        key: Bytes,
        source: &Source,
        xattrs: Option<Vec<proto::object::Xattr>>,
        precondition: Precondition,
    ) -> Result<Stored, ObjectError> {
        let kept = Metadata::from_xattrs(&source.object.xattrs);
        let compute = kept.checksum.as_ref().map(|checksum| checksum.algorithm);
        let sealing = self.begin_sealing(bucket).await?;
        let sealer = sealing.as_ref().map(|sealing| sealing.part(WHOLE));
        let received = self.receive_copy(bucket.into(), source, 0..source.size, compute, Small::Inline, sealer).await?;
        let checksum = received.checksum.as_ref().map(ObjectChecksum::from);
        if let (Some(kept), Some(made)) = (&kept.checksum, &checksum)
            && kept.kind == ChecksumKind::FullObject
            && kept.text != made.text
        {
            return Err(UploadError::ChecksumMismatch(made.algorithm).into());
        }
        let mut xattrs = xattrs.unwrap_or_else(|| source.object.xattrs.clone());
        xattrs.retain(|xattr| !xattr.0.starts_with(b"trusted.s3.checksum-") && !is_envelope(xattr));
        xattrs.extend(checksum.iter().flat_map(checksum_xattrs));
        if let Some(sealing) = &sealing {
            xattrs.push(sealing.envelope(Layout::whole(source.size))?);
        }
        self.check_mark(bucket, sealing.is_some()).await?;
        let attr = self.commit(bucket, key, received.content, ETag::Md5(received.md5), xattrs, precondition).await?;
        Ok(Stored { etag: attr.etag_text(), mtime: attr.mtime, size: source.size, checksum })
    }

    /// Finds a source and judges its conditions; one that does not hold is a failure here, never "not modified".
    pub(crate) async fn source(&self, caller: &Caller, source: &CopySource) -> Result<Source, ObjectError> {
        let bucket = self.bucket(caller, &source.bucket).await?;
        let key = validate_key(&source.key)?;
        if self.is_marked(&bucket).await? {
            self.may_read_plain(&bucket, Some(caller)).await?;
        }
        let (object, content) = self.describe(&bucket, key.clone()).await?;
        let envelope = self.envelope(&bucket, &object.xattrs).await?;
        source.condition.check(&validators(&object.attr)).map_err(|_| ObjectError::PreconditionFailed)?;
        let stored = content_bytes(&object, content.size);
        if let Some(envelope) = &envelope {
            self.may_read_plain(&bucket, Some(caller)).await?;
            self.key_service()?;
            if stored != envelope.layout.sealed() || envelope.layout.runs().is_empty() {
                return Err(SealError::Damaged.into());
            }
        }
        let size = envelope.as_ref().map_or(stored, |envelope| envelope.layout.plain());
        Ok(Source { bucket, key, object, size, envelope })
    }

    /// Reads a range of a source and writes it for another owner.
    pub(crate) async fn receive_copy(
        &self,
        owner: ChunkOwner,
        source: &Source,
        range: Range<u64>,
        compute: Option<crate::checksum::ChecksumAlgorithm>,
        small: Small,
        sealer: Option<PartSealer>,
    ) -> Result<Received, ObjectError> {
        let length = range.end - range.start;
        if length > self.config.put_bytes_max {
            return Err(ObjectError::SourceTooLarge);
        }
        let content = self.source_content(source, range).await?;
        // What went wrong in reading matters, not that the body ended early because of it.
        let failure = Arc::new(Mutex::new(None));
        let noted = failure.clone();
        let body: BoxStream<'static, Result<Bytes, ObjectError>> = match content {
            Content::Whole(data) => stream::iter([Ok(data)]).boxed(),
            Content::Stream(stream) => stream,
        };
        let body = body.map(move |piece| {
            piece.map_err(|error| {
                *noted.lock() = Some(error);
                BodyError::Incomplete
            })
        });
        let upload = Upload { body, length, md5: None, checksum: None, compute };
        let received = self.receive(owner, upload, small, sealer).await;
        match failure.lock().take() {
            Some(error) => Err(error),
            None => Ok(received?),
        }
    }

    async fn source_content(&self, source: &Source, range: Range<u64>) -> Result<Content, ObjectError> {
        if range.is_empty() {
            return Ok(Content::Whole(Bytes::new()));
        }
        let Some(envelope) = &source.envelope else { return self.source_stored(source, range).await };
        let sealer = self.unseal(&source.bucket, envelope).await?;
        let cut = envelope.layout.cut(range).ok_or(SealError::Damaged)?;
        open(self.source_stored(source, cut.stored.clone()).await?, sealer, cut).await
    }

    /// Its bytes as they are stored.
    async fn source_stored(&self, source: &Source, range: Range<u64>) -> Result<Content, ObjectError> {
        let (object, view) =
            self.object(&source.bucket, source.key.clone(), Some((range.start, FILE_BYTES_MAX))).await?;
        // What changes of a sealed object is how its key is wrapped.
        let same = object.attr.change == source.object.attr.change || source.envelope.is_some();
        if object.attr.ino != source.object.attr.ino || !same {
            return Err(ObjectError::PreconditionFailed);
        }
        let view: ContentView = view.unwrap_or_default();
        self.download(object.attr.ino, &view, range).await
    }
}

/// Exactly this object.
fn only(object: &ObjectView) -> Precondition {
    Precondition { if_match: Some(TagMatch::Tags(vec![object.attr.etag_text()])), if_none_match: None }
}
