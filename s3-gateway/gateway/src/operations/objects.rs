//! Objects.

use super::{Operations, received};
use crate::convert::{
    ChecksumFields, etag, header_name, metadata, precondition, range, read_condition, refuse_unsupported, time,
};
use crate::request::caller;
use crate::s3_error::{self, WireError};
use futures::StreamExt as _;
use gateway_core::{
    Caller, Content, CopyRequest, CopySource, GetRequest, IfRange, ObjectHead, PutRequest, Stored, SystemHeader,
};
use http::{HeaderMap, HeaderValue};
use http_body_util::StreamBody;
use s3s::dto::{self, *};
use s3s::{Body, S3Request, S3Response, S3Result};
use std::ops::Range as Span;

const VERSION_NULL: &str = "null";

impl Operations {
    pub(super) async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        refuse_unsupported(&request.headers)?;
        let caller = caller(&request)?;
        let body = request.input.body.take();
        let input = &request.input;
        let upload = received::upload(&request, body, input.content_length, input.content_md5.as_deref())?;
        let put = PutRequest {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            metadata: metadata(&request.headers, input.metadata.clone())?,
            precondition: precondition(input.if_match.as_ref(), input.if_none_match.as_ref()),
        };
        let stored = self.store.put(&caller, put, upload).await.map_err(|error| s3_error::object(&error))?;
        self.notes.note(&input.bucket, &[&input.key]).await;
        let checksum = ChecksumFields::from(stored.checksum.as_ref());
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(etag(stored.etag)),
            checksum_crc32: checksum.crc32,
            checksum_crc32c: checksum.crc32c,
            checksum_crc64nvme: checksum.crc64nvme,
            checksum_sha1: checksum.sha1,
            checksum_sha256: checksum.sha256,
            checksum_type: checksum.kind,
            ..PutObjectOutput::default()
        }))
    }

    pub(super) async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let caller = caller(&request)?;
        let input = request.input;
        only_version(input.version_id.as_deref())?;
        let get = GetRequest {
            bucket: input.bucket,
            key: input.key,
            range: input.range.map(range),
            if_range: if_range(&request.headers),
            part: part(input.part_number)?,
            condition: read_condition(
                input.if_match.as_ref(),
                input.if_none_match.as_ref(),
                input.if_modified_since.as_ref(),
                input.if_unmodified_since.as_ref(),
            ),
        };
        let read = self.store.get(&caller, &get).await.map_err(|error| s3_error::object(&error))?;
        let mut shown = Shown::of(&read.head, read.range.as_ref(), input.checksum_mode.as_ref());
        // What the query wants instead is set by the library, before these: they give way.
        shown.give_way(request.uri.query().unwrap_or_default());
        let body = match read.content {
            Content::Whole(data) => Body::from(data),
            Content::Stream(pieces) => Body::http_body_unsync(StreamBody::new(pieces.map(|piece| match piece {
                Ok(data) => Ok(http_body::Frame::data(data)),
                Err(error) => {
                    tracing::warn!(%error, "a download was cut short");
                    Err(error)
                }
            }))),
        };
        let output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::from(body)),
            content_length: Some(shown.length as i64),
            content_range: shown.content_range,
            content_type: shown.content_type,
            e_tag: Some(shown.etag),
            last_modified: Some(shown.last_modified),
            metadata: shown.metadata,
            missing_meta: shown.missing_meta,
            checksum_crc32: shown.checksum.crc32,
            checksum_crc32c: shown.checksum.crc32c,
            checksum_crc64nvme: shown.checksum.crc64nvme,
            checksum_sha1: shown.checksum.sha1,
            checksum_sha256: shown.checksum.sha256,
            checksum_type: shown.checksum.kind,
            ..GetObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, shown.headers))
    }

    pub(super) async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let caller = caller(&request)?;
        let input = request.input;
        only_version(input.version_id.as_deref())?;
        let get = GetRequest {
            bucket: input.bucket,
            key: input.key,
            range: input.range.map(range),
            if_range: if_range(&request.headers),
            part: part(input.part_number)?,
            condition: read_condition(
                input.if_match.as_ref(),
                input.if_none_match.as_ref(),
                input.if_modified_since.as_ref(),
                input.if_unmodified_since.as_ref(),
            ),
        };
        let (head, range) = self.store.head(&caller, &get).await.map_err(|error| s3_error::object(&error))?;
        let shown = Shown::of(&head, range.as_ref(), input.checksum_mode.as_ref());
        let output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(shown.length as i64),
            content_range: shown.content_range,
            content_type: shown.content_type,
            e_tag: Some(shown.etag),
            last_modified: Some(shown.last_modified),
            metadata: shown.metadata,
            missing_meta: shown.missing_meta,
            checksum_crc32: shown.checksum.crc32,
            checksum_crc32c: shown.checksum.crc32c,
            checksum_crc64nvme: shown.checksum.crc64nvme,
            checksum_sha1: shown.checksum.sha1,
            checksum_sha256: shown.checksum.sha256,
            checksum_type: shown.checksum.kind,
            ..HeadObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, shown.headers))
    }

    pub(super) async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let caller = caller(&request)?;
        let input = request.input;
        only_version(input.version_id.as_deref())?;
        let condition = precondition(input.if_match.as_ref(), None);
        self.store
            .delete(&caller, &input.bucket, &input.key, condition)
            .await
            .map_err(|error| s3_error::object(&error))?;
        self.notes.note(&input.bucket, &[&input.key]).await;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    pub(super) async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        const KEYS_MAX: usize = 1000;
        let caller = caller(&request)?;
        let DeleteObjectsInput { bucket, delete, .. } = request.input;
        let quiet = delete.quiet.unwrap_or(false);
        if delete.objects.is_empty() || delete.objects.len() > KEYS_MAX {
            return Err(WireError::MalformedXml.into());
        }
        let mut deleted = Vec::new();
        let mut errors = Vec::new();
        let mut keys = Vec::new();
        for object in delete.objects {
            let version = object.version_id.as_deref();
            if object.e_tag.is_some() || object.last_modified_time.is_some() || object.size.is_some() {
                let text = "Conditions of single keys are not supported";
                errors.push(refused(object.key, &WireError::NotImplemented(text).into()));
            } else if let Err(error) = only_version(version) {
                errors.push(refused(object.key, &error));
            } else {
                keys.push(object.key);
            }
        }
        let answers = self
            .store
            .delete_many(&caller, &bucket, &keys, gateway_core::Precondition::default())
            .await
            .map_err(|error| s3_error::object(&error))?;
        let done = keys.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        self.notes.note(&bucket, &done.map(|(key, _)| key.as_str()).collect::<Vec<_>>()).await;
        for (key, answer) in keys.into_iter().zip(answers) {
            match answer {
                Ok(_) if quiet => {}
                Ok(_) => deleted.push(DeletedObject { key: Some(key), ..DeletedObject::default() }),
                Err(error) => errors.push(refused(key, &s3_error::object(&error))),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None }))
    }

    pub(super) async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        refuse_unsupported(&request.headers)?;
        let caller = caller(&request)?;
        let input = &request.input;
        let condition = read_condition(
            input.copy_source_if_match.as_ref(),
            input.copy_source_if_none_match.as_ref(),
            input.copy_source_if_modified_since.as_ref(),
            input.copy_source_if_unmodified_since.as_ref(),
        );
        let replaced = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
            None | Some(MetadataDirective::COPY) => None,
            Some(MetadataDirective::REPLACE) => Some(metadata(&request.headers, input.metadata.clone())?),
            Some(_) => return Err(WireError::InvalidArgument("Unknown metadata directive.").into()),
        };
        let copy = CopyRequest {
            source: copy_source(&input.copy_source, condition)?,
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            metadata: replaced,
            precondition: precondition_headers(&request.headers),
        };
        let stored = self.copy(&caller, copy).await?;
        self.notes.note(&input.bucket, &[&input.key]).await;
        let checksum = ChecksumFields::from(stored.checksum.as_ref());
        let result = CopyObjectResult {
            e_tag: Some(etag(stored.etag)),
            last_modified: Some(time(stored.mtime)),
            checksum_crc32: checksum.crc32,
            checksum_crc32c: checksum.crc32c,
            checksum_crc64nvme: checksum.crc64nvme,
            checksum_sha1: checksum.sha1,
            checksum_sha256: checksum.sha256,
            checksum_type: checksum.kind,
        };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() }))
    }

    async fn copy(&self, caller: &Caller, request: CopyRequest) -> S3Result<Stored> {
        self.store.copy(caller, request).await.map_err(|error| s3_error::object(&error))
    }
}

/// What GET and HEAD show of an object.
struct Shown {
    length: u64,
    content_range: Option<String>,
    content_type: Option<String>,
    etag: dto::ETag,
    last_modified: Timestamp,
    metadata: Option<Metadata>,
    missing_meta: Option<i32>,
    checksum: ChecksumFields,
    headers: HeaderMap,
}

impl Shown {
    fn of(head: &ObjectHead, range: Option<&Span<u64>>, mode: Option<&ChecksumMode>) -> Self {
        let length = range.map_or(head.size, |range| range.end - range.start);
        let content_range = range.map(|range| format!("bytes {}-{}/{}", range.start, range.end - 1, head.size));
        let metadata = &head.metadata;
        // A checksum of the whole is of no use beside a part of it, and confuses clients.
        let wanted = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) && range.is_none();
        let mut headers = HeaderMap::new();
        for (name, value) in &metadata.system {
            if *name != SystemHeader::ContentType
                && let Ok(value) = HeaderValue::from_bytes(value.as_bytes())
            {
                headers.insert(header_name(*name), value);
            }
        }
        let content_type = metadata.system(SystemHeader::ContentType).unwrap_or("binary/octet-stream");
        Shown {
            length,
            content_range,
            content_type: Some(content_type.to_owned()),
            etag: etag(head.validators.etag.clone()),
            last_modified: time(head.validators.mtime),
            metadata: (!metadata.user.is_empty()).then(|| metadata.user.iter().cloned().collect()),
            missing_meta: (metadata.hidden > 0).then_some(metadata.hidden as i32),
            checksum: ChecksumFields::from(metadata.checksum.as_ref().filter(|_| wanted)),
            headers,
        }
    }

    /// Drops the stored headers that the query asks to be replaced.
    fn give_way(&mut self, query: &str) {
        for header in SystemHeader::ALL {
            let name = format!("response-{}=", header.name());
            if query.split('&').any(|pair| pair.starts_with(&name)) {
                self.headers.remove(header_name(header));
            }
        }
    }
}

fn refused(key: String, error: &s3s::S3Error) -> Error {
    Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(key),
        message: error.message().map(str::to_owned),
        version_id: None,
    }
}

/// There is one version of an object.
fn only_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("" | VERSION_NULL) => Ok(()),
        Some(_) => Err(WireError::InvalidArgument("Invalid version id specified").into()),
    }
}

fn part(number: Option<i32>) -> S3Result<Option<u16>> {
    let invalid = || WireError::InvalidArgument("Part number must be an integer between 1 and 10000, inclusive").into();
    match number {
        None => Ok(None),
        Some(number) => {
            u16::try_from(number).ok().filter(|part| (1..=10_000).contains(part)).map(Some).ok_or_else(invalid)
        }
    }
}

fn if_range(headers: &HeaderMap) -> Option<IfRange> {
    let text = headers.get("if-range")?.to_str().ok()?;
    match Timestamp::parse(TimestampFormat::HttpDate, text) {
        Ok(date) => crate::convert::from_time(&date).map(IfRange::Date),
        Err(_) => Some(IfRange::Tag(text.trim_matches('"').to_owned())),
    }
}

/// `If-Match` and `If-None-Match` of a copy's destination, which the library does not read.
fn precondition_headers(headers: &HeaderMap) -> gateway_core::Precondition {
    let condition = |name: &str| ETagCondition::parse_http_header(headers.get(name)?.as_bytes()).ok();
    precondition(condition("if-match").as_ref(), condition("if-none-match").as_ref())
}

/// A source in this cluster; there is no other.
pub(super) fn copy_source(source: &dto::CopySource, condition: gateway_core::ReadCondition) -> S3Result<CopySource> {
    match source {
        dto::CopySource::Bucket { bucket, key, version_id } => {
            only_version(version_id.as_deref())?;
            Ok(CopySource { bucket: bucket.to_string(), key: key.to_string(), condition })
        }
        dto::CopySource::AccessPoint { .. } | dto::CopySource::Outpost { .. } => {
            Err(WireError::NotImplemented("Access points are not supported").into())
        }
    }
}
