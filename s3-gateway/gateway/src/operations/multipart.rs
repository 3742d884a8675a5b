//! Multipart uploads.

use super::buckets::owner;
use super::listing::{Names, bytes, page, prefixes};
use super::objects::copy_source;
use super::{Operations, received};
use crate::convert::{
    ChecksumFields, algorithm, algorithm_name, etag, metadata, precondition, read_condition, refuse_unsupported, time,
};
use crate::request::caller;
use crate::s3_error::{self, WireError};
use gateway_core::checksum::{ChecksumAlgorithm, ChecksumKind};
use gateway_core::{
    CompletePart, CompleteRequest, ListedPart, NewUpload, PartListRequest, PartTarget, UploadListRequest,
};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

impl Operations {
    pub(super) async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        refuse_unsupported(&request.headers)?;
        let caller = caller(&request)?;
        let input = &request.input;
        let kind = input.checksum_type.as_ref().map(kind).transpose()?;
        let checksum = match &input.checksum_algorithm {
            Some(name) => Some((algorithm(name)?, kind)),
            None if kind.is_some() => {
                let text = "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.";
                return Err(WireError::InvalidRequest(text).into());
            }
            None => None,
        };
        let new = NewUpload {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            metadata: metadata(&request.headers, input.metadata.clone())?,
            checksum,
        };
        let upload = self.store.create_upload(&caller, new).await.map_err(|error| s3_error::multipart(&error))?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(request.input.bucket),
            key: Some(request.input.key),
            upload_id: Some(upload.to_string()),
            checksum_algorithm: checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
            checksum_type: checksum.map(|(algorithm, kind)| kind_name(kind.unwrap_or(algorithm.default_kind()))),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        refuse_unsupported(&request.headers)?;
        let caller = caller(&request)?;
        let body = request.input.body.take();
        let input = &request.input;
        let upload = received::upload(&request, body, input.content_length, input.content_md5.as_deref())?;
        let target = PartTarget {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            upload: input.upload_id.clone(),
            part: input.part_number,
        };
        let part = self.store.put_part(&caller, &target, upload).await;
        let part = part.map_err(|error| s3_error::multipart(&error))?;
        let checksum = ChecksumFields::from(part.checksum.as_ref());
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(etag(part.etag)),
            checksum_crc32: checksum.crc32,
            checksum_crc32c: checksum.crc32c,
            checksum_crc64nvme: checksum.crc64nvme,
            checksum_sha1: checksum.sha1,
            checksum_sha256: checksum.sha256,
            ..UploadPartOutput::default()
        }))
    }

    pub(super) async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        refuse_unsupported(&request.headers)?;
        let caller = caller(&request)?;
        let input = request.input;
        let condition = read_condition(
            input.copy_source_if_match.as_ref(),
            input.copy_source_if_none_match.as_ref(),
            input.copy_source_if_modified_since.as_ref(),
            input.copy_source_if_unmodified_since.as_ref(),
        );
        let range = input.copy_source_range.as_deref().map(copy_range).transpose()?;
        let source = copy_source(&input.copy_source, condition)?;
        let target =
            PartTarget { bucket: input.bucket, key: input.key, upload: input.upload_id, part: input.part_number };
        let copied = self.store.copy_part(&caller, &target, &source, range).await;
        let copied = copied.map_err(|error| s3_error::multipart(&error))?;
        let checksum = ChecksumFields::from(copied.part.checksum.as_ref());
        let result = CopyPartResult {
            e_tag: Some(etag(copied.part.etag)),
            last_modified: Some(time(copied.mtime)),
            checksum_crc32: checksum.crc32,
            checksum_crc32c: checksum.crc32c,
            checksum_crc64nvme: checksum.crc64nvme,
            checksum_sha1: checksum.sha1,
            checksum_sha256: checksum.sha256,
        };
        Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() }))
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let caller = caller(&request)?;
        let input = request.input;
        let mut parts = Vec::new();
        for part in input.multipart_upload.and_then(|list| list.parts).unwrap_or_default() {
            let sums = [
                (ChecksumAlgorithm::Crc32, part.checksum_crc32),
                (ChecksumAlgorithm::Crc32c, part.checksum_crc32c),
                (ChecksumAlgorithm::Crc64Nvme, part.checksum_crc64nvme),
                (ChecksumAlgorithm::Sha1, part.checksum_sha1),
                (ChecksumAlgorithm::Sha256, part.checksum_sha256),
            ];
            parts.push(CompletePart {
                part: part.part_number.ok_or(WireError::MalformedXml)?,
                etag: part.e_tag.ok_or(WireError::MalformedXml)?.into_value(),
                checksum: one(sums),
            });
        }
        let sums = [
            (ChecksumAlgorithm::Crc32, input.checksum_crc32),
            (ChecksumAlgorithm::Crc32c, input.checksum_crc32c),
            (ChecksumAlgorithm::Crc64Nvme, input.checksum_crc64nvme),
            (ChecksumAlgorithm::Sha1, input.checksum_sha1),
            (ChecksumAlgorithm::Sha256, input.checksum_sha256),
        ];
        let size = input.mpu_object_size.map(|size| {
            u64::try_from(size).map_err(|_| WireError::InvalidArgument("The size of an object cannot be negative"))
        });
        let complete = CompleteRequest {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            upload: input.upload_id,
            parts,
            checksum: one(sums),
            kind: input.checksum_type.as_ref().map(kind).transpose()?,
            size: size.transpose()?,
            precondition: precondition(input.if_match.as_ref(), input.if_none_match.as_ref()),
        };
        let done = self.store.complete_upload(&caller, complete).await;
        let done = done.map_err(|error| s3_error::multipart(&error))?;
        self.notes.note(&input.bucket, &[&input.key]).await;
        let checksum = ChecksumFields::from(done.checksum.as_ref());
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, Names::Url.show(input.key.as_bytes()))),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(etag(done.etag)),
            checksum_crc32: checksum.crc32,
            checksum_crc32c: checksum.crc32c,
            checksum_crc64nvme: checksum.crc64nvme,
            checksum_sha1: checksum.sha1,
            checksum_sha256: checksum.sha256,
            checksum_type: checksum.kind,
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let caller = caller(&request)?;
        let AbortMultipartUploadInput { bucket, key, upload_id, .. } = request.input;
        let aborted = self.store.abort_upload(&caller, &bucket, &key, &upload_id).await;
        aborted.map_err(|error| s3_error::multipart(&error))?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    pub(super) async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let caller = caller(&request)?;
        let input = request.input;
        let max = page(input.max_parts)?;
        let after = input.part_number_marker.unwrap_or(0);
        let wanted = PartListRequest {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            upload: input.upload_id.clone(),
            after: u16::try_from(after).map_err(|_| WireError::InvalidArgument("Invalid part-number-marker"))?,
            max,
        };
        let listing = self.store.list_parts(&caller, &wanted).await.map_err(|error| s3_error::multipart(&error))?;
        let next = listing.parts.last().map_or(after, |last| i32::from(last.part));
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            checksum_algorithm: listing.checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
            checksum_type: listing.checksum.map(|(_, kind)| kind_name(kind)),
            is_truncated: Some(listing.truncated),
            max_parts: Some(max as i32),
            part_number_marker: Some(after),
            next_part_number_marker: Some(next),
            owner: Some(owner(&caller.user)),
            initiator: Some(Initiator { display_name: Some(caller.user.clone()), id: Some(caller.user) }),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            parts: Some(listing.parts.into_iter().map(listed).collect()),
            ..ListPartsOutput::default()
        }))
    }

    pub(super) async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let caller = caller(&request)?;
        let input = request.input;
        let names = Names::of(input.encoding_type.as_ref())?;
        let max = page(input.max_uploads)?;
        // An upload's marker counts only beside a key's.
        let key_marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
        let upload_marker = input.upload_id_marker.clone().filter(|marker| !marker.is_empty());
        let wanted = UploadListRequest {
            prefix: bytes(input.prefix.as_deref()),
            delimiter: bytes(input.delimiter.as_deref()),
            after: key_marker.map(|key| (bytes(Some(&key)), upload_marker)),
            max,
        };
        let listing = self.store.list_uploads(&caller, &input.bucket, wanted).await;
        let listing = listing.map_err(|error| s3_error::multipart(&error))?;
        // The page ends with an upload or with a prefix, whichever is greater.
        let last_upload = listing.uploads.last().map(|(key, upload, _)| (key.clone(), Some(upload.to_string())));
        let last_prefix = listing.prefixes.last().map(|prefix| (prefix.clone(), None));
        let next = last_upload.max(last_prefix).filter(|_| listing.truncated);
        let uploads = listing.uploads.iter().map(|(key, upload, begun)| MultipartUpload {
            key: Some(names.show(key)),
            upload_id: Some(upload.to_string()),
            initiated: Some(time(*begun)),
            owner: Some(owner(&caller.user)),
            initiator: Some(Initiator { display_name: Some(caller.user.clone()), id: Some(caller.user.clone()) }),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..MultipartUpload::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            bucket: Some(input.bucket),
            common_prefixes: Some(prefixes(&listing.prefixes, names)),
            delimiter: input.delimiter.map(|delimiter| names.show(delimiter.as_bytes())),
            encoding_type: input.encoding_type,
            is_truncated: Some(listing.truncated),
            key_marker: Some(names.show(input.key_marker.unwrap_or_default().as_bytes())),
            max_uploads: Some(max as i32),
            next_key_marker: next.as_ref().map(|(key, _)| names.show(key)),
            next_upload_id_marker: next.and_then(|(_, upload)| upload),
            prefix: Some(names.show(input.prefix.unwrap_or_default().as_bytes())),
            upload_id_marker: input.upload_id_marker,
            request_charged: None,
        }))
    }
}

fn listed(part: ListedPart) -> Part {
    let checksum = ChecksumFields::from(part.checksum.as_ref());
    Part {
        part_number: Some(i32::from(part.part)),
        size: Some(part.size as i64),
        e_tag: Some(etag(part.etag)),
        last_modified: Some(time(part.mtime)),
        checksum_crc32: checksum.crc32,
        checksum_crc32c: checksum.crc32c,
        checksum_crc64nvme: checksum.crc64nvme,
        checksum_sha1: checksum.sha1,
        checksum_sha256: checksum.sha256,
    }
}

fn kind(name: &ChecksumType) -> S3Result<ChecksumKind> {
    let text = "Value for x-amz-checksum-type header is invalid.";
    ChecksumKind::from_name(name.as_str()).ok_or_else(|| WireError::InvalidRequest(text).into())
}

fn kind_name(kind: ChecksumKind) -> ChecksumType {
    ChecksumType::from_static(kind.name())
}

/// The first checksum that is there.
fn one(sums: [(ChecksumAlgorithm, Option<String>); 5]) -> Option<(ChecksumAlgorithm, String)> {
    sums.into_iter().find_map(|(algorithm, sum)| Some((algorithm, sum?)))
}

/// `bytes=FIRST-LAST`, both of them.
fn copy_range(text: &str) -> S3Result<(u64, u64)> {
    let text = text.strip_prefix("bytes=").and_then(|text| text.split_once('-'));
    let range = text.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let what = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
                zero-based offsets of the first and last bytes to copy";
    range.filter(|(first, last)| first <= last).ok_or_else(|| WireError::InvalidArgument(what).into())
}
