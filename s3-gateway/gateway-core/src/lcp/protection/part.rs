//! A package on its way into the system bucket: part by part, so that no more than three parts are in memory.

use super::source::SourceFault;
use super::stop::{Stop, Stopped};
use crate::error::{BucketError, ClusterError, MultipartError, ObjectError, UploadError};
use crate::metadata::{Metadata, SystemHeader};
use crate::multipart::{CompletePart, CompleteRequest, NewUpload, PartTarget};
use crate::store::{Caller, Store};
use crate::system::{SYSTEM_BUCKET, SYSTEM_USER};
use crate::upload::Upload;
use bytes::Bytes;
use drm::{Sink, SinkError};
use futures::stream;
use proto::object::Precondition;
use tokio::sync::mpsc;
use types::UploadId;

/// Bytes of a part: two chunks. The largest package allowed has four thousand of them.
pub(super) const PART_BYTES: usize = 8 << 20;

/// Takes what `drm` writes, and hands it on in parts.
pub(super) struct PartSink {
    parts: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
}

impl PartSink {
    pub(super) fn new(parts: mpsc::Sender<Bytes>) -> Self {
        PartSink { parts, buffer: Vec::new() }
    }

    fn hand_on(&mut self) -> Result<(), SinkError> {
        let part = std::mem::take(&mut self.buffer);
        self.parts.blocking_send(part.into()).map_err(|_| SinkError::new(Stopped))
    }

    /// Hands on the rest.
    pub(super) fn finish(mut self) -> Result<(), SinkError> {
        if self.buffer.is_empty() { Ok(()) } else { self.hand_on() }
    }
}

impl Sink for PartSink {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), SinkError> {
        while !bytes.is_empty() {
            if self.buffer.capacity() == 0 {
                self.buffer.reserve_exact(PART_BYTES);
            }
            let (now, rest) = bytes.split_at(bytes.len().min(PART_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
            if self.buffer.len() == PART_BYTES {
                self.hand_on()?;
            }
        }
        Ok(())
    }
}

/// An upload to the system bucket.
pub(super) struct PackageUpload {
    pub(super) store: Store,
    pub(super) key: String,
    pub(super) upload: UploadId,
}

impl PackageUpload {
    pub(super) async fn begin(store: &Store, key: String, media_type: &str) -> Result<Self, ClusterError> {
        let metadata =
            Metadata { system: vec![(SystemHeader::ContentType, media_type.to_owned())], ..Metadata::default() };
        let new = NewUpload { bucket: SYSTEM_BUCKET.to_owned(), key: key.clone(), metadata, checksum: None };
        let upload = store.create_upload(&system(), new).await.map_err(cluster_error)?;
        Ok(PackageUpload { store: store.clone(), key, upload })
    }

    /// Stores parts as they come, to the last.
    pub(super) async fn fill(
        &self,
        mut parts: mpsc::Receiver<Bytes>,
        stop: &Stop,
    ) -> Result<Vec<CompletePart>, Stopped> {
        let mut stored = Vec::new();
        while let Some(bytes) = parts.recv().await {
            let part = stored.len() as i32 + 1;
            let etag = stop.patiently(|| self.put(part, bytes.clone())).await?;
            stored.push(CompletePart { part, etag, checksum: None });
        }
        Ok(stored)
    }

    async fn put(&self, part: i32, bytes: Bytes) -> Result<String, SourceFault> {
        let target = PartTarget {
            bucket: SYSTEM_BUCKET.to_owned(),
            key: self.key.clone(),
            upload: self.upload.to_string(),
            part,
        };
        let length = bytes.len() as u64;
        let body = stream::iter([Ok(bytes)]);
        let upload = Upload { body, length, md5: None, checksum: None, compute: None };
        let stored = self.store.put_part(&system(), &target, upload).await;
        Ok(stored.map_err(cluster_error)?.etag)
    }

    /// Makes an object of the parts, which together have `len` bytes.
    pub(super) async fn complete(&self, parts: Vec<CompletePart>, len: u64, stop: &Stop) -> Result<(), Stopped> {
        let request = CompleteRequest {
            bucket: SYSTEM_BUCKET.to_owned(),
            key: self.key.clone(),
            upload: self.upload.to_string(),
            parts,
            checksum: None,
            kind: None,
            size: Some(len),
            precondition: Precondition::default(),
        };
        let complete = || async {
            let completed = self.store.complete_upload(&system(), request.clone()).await;
            completed.map(drop).map_err(|error| SourceFault::Cluster(cluster_error(error)))
        };
        stop.patiently(complete).await
    }

    /// Forgets it, whatever has become of it. What stays behind a sweep finds.
    pub(super) async fn discard(&self) {
        let upload = self.upload.to_string();
        match self.store.abort_upload(&system(), SYSTEM_BUCKET, &self.key, &upload).await {
            Ok(()) => {}
            Err(MultipartError::NoSuchUpload) => self.store.delete_package(&self.key).await,
            Err(error) => tracing::debug!(key = self.key, %error, "an upload is left to the sweep"),
        }
    }
}

/// Who stores packages.
pub(super) fn system() -> Caller {
    Caller { user: SYSTEM_USER.to_owned() }
}

pub(super) fn cluster_error(error: MultipartError) -> ClusterError {
    match error {
        MultipartError::Object(
            ObjectError::Bucket(BucketError::Cluster(error)) | ObjectError::Upload(UploadError::Cluster(error)),
        ) => error,
        other => ClusterError::Unexpected(other.to_string()),
    }
}
