//! The completion of an upload.

use super::{LIST_PARTS_MAX, parse_upload};
use crate::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind, ObjectChecksum, combine};
use crate::error::{MultipartError, ObjectError, UploadError, multipart_refusal};
use crate::etag;
use crate::metadata::{Metadata, agreement, checksum_xattrs};
use crate::object::validate_key;
use crate::seal::{Layout, sealed_bytes};
use crate::store::{Caller, Store, surprise};
use bytes::Bytes;
use proto::control::BucketInfo;
use proto::meta::{Command, Outcome, PartView};
use proto::object::{Precondition, Xattr};
use std::collections::BTreeMap;
use types::{PARTS_MAX, UploadId};

/// A part as the client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletePart {
    /// Its number.
    pub part: i32,
    /// Its entity tag, with or without quotes.
    pub etag: String,
    /// Its checksum, if the client names it.
    pub checksum: Option<(ChecksumAlgorithm, String)>,
}

/// An upload to complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteRequest {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The upload.
    pub upload: String,
    /// The parts the object is made of, ascending.
    pub parts: Vec<CompletePart>,
    /// The object's checksum, if the client names it.
    pub checksum: Option<(ChecksumAlgorithm, String)>,
    /// What that covers, if the client says so.
    pub kind: Option<ChecksumKind>,
    /// The object's size, if the client names it.
    pub size: Option<u64>,
    /// What must hold of the key.
    pub precondition: Precondition,
}

/// An upload that has become an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// Entity tag without quotes.
    pub etag: String,
    /// The checksum kept with it.
    pub checksum: Option<ObjectChecksum>,
}

/// What was found of the parts.
struct Judged {
    /// The object's checksum, if there is an agreement on one.
    checksum: Option<ObjectChecksum>,
    /// The object's envelope, if it is sealed.
    envelope: Option<Xattr>,
}

impl Store {
    /// Makes the object of the named parts visible. Repeating a completion whose answer was lost gives it again, as long
    /// as the object stands.
    ///
    /// # Errors
    /// [`MultipartError`]; the upload is as it was.
    pub async fn complete_upload(
        &self,
        caller: &Caller,
        request: CompleteRequest,
    ) -> Result<Completed, MultipartError> {
        let key = validate_key(&request.key)?;
        let upload = parse_upload(&request.upload)?;
        let parts = named_parts(&request.parts)?;
        let etag = etag::of_parts(&parts);
        let bucket = self.bucket(caller, &request.bucket).await?;
        let made = self.complete(&bucket, key.clone(), upload, &request, parts, etag).await;
        match made {
            Err(MultipartError::NoSuchUpload) => {
                let object = match self.describe(&bucket, key).await {
                    Err(ObjectError::NoSuchKey) => return Err(MultipartError::NoSuchUpload),
                    found => found?.0,
                };
                if object.attr.etag != etag {
                    return Err(MultipartError::NoSuchUpload);
                }
                let checksum = Metadata::from_xattrs(&object.xattrs).checksum;
                Ok(Completed { etag: object.attr.etag_text(), checksum })
            }
            made => made,
        }
    }

    async fn complete(
        &self,
        bucket: &BucketInfo,
        key: Bytes,
        upload: UploadId,
        request: &CompleteRequest,
        parts: Vec<(u16, [u8; 16])>,
        etag: proto::object::ETag,
    ) -> Result<Completed, MultipartError> {
        let Judged { checksum, envelope } = self.judge_parts(bucket, &key, upload, request, &parts).await?;
        let part_bytes_min = self.config.part_bytes_min;
        let part_bytes_min = if envelope.is_some() { sealed_bytes(part_bytes_min) } else { part_bytes_min };
        self.check_mark(bucket, envelope.is_some()).await?;
        let command = Command::CompleteUpload {
            bucket: bucket.id,
            key,
            upload,
            parts,
            etag,
            xattrs: checksum.iter().flat_map(checksum_xattrs).chain(envelope).collect(),
            part_bytes_min,
            precondition: request.precondition.clone(),
        };
        match self.command(bucket, command).await? {
            Ok(Outcome::Object(attr)) => Ok(Completed { etag: attr.etag_text(), checksum }),
            Ok(other) => Err(surprise(&other).into()),
            Err(refusal) => Err(multipart_refusal(&refusal)),
        }
    }

    /// Compares what the client names with what was stored.
    async fn judge_parts(
        &self,
        bucket: &BucketInfo,
        key: &Bytes,
        upload: UploadId,
        request: &CompleteRequest,
        parts: &[(u16, [u8; 16])],
    ) -> Result<Judged, MultipartError> {
        let mut after = parts[0].0 - 1;
        let mut listing = self.parts(bucket, key.clone(), upload, after, LIST_PARTS_MAX).await?;
        let agreed = agreement(&listing.xattrs);
        let begun = self.envelope(bucket, &listing.xattrs).await?;
        if agreed.is_none() && request.size.is_none() && begun.is_none() {
            return Ok(Judged { checksum: None, envelope: None });
        }
        let mut stored: BTreeMap<u16, PartView> = BTreeMap::new();
        loop {
            stored.extend(listing.parts.drain(..).map(|part| (part.part, part)));
            match stored.last_key_value() {
                Some((last, _)) if listing.truncated && *last > after => after = *last,
                _ => break,
            }
            listing = self.parts(bucket, key.clone(), upload, after, LIST_PARTS_MAX).await?;
        }
        let named: Option<Vec<&PartView>> = parts.iter().map(|(part, _)| stored.get(part)).collect();
        let named = named.ok_or(MultipartError::InvalidPart)?;
        let size: u64 = named.iter().map(|part| part.size).sum();
        if request.size.is_some_and(|claimed| claimed != size) {
            return Err(MultipartError::SizeMismatch);
        }
        let checksum = agreed.map(|(algorithm, kind)| object_checksum(algorithm, kind, request, &named)).transpose()?;
        let envelope = match begun {
            None => None,
            // A part that is replaced meanwhile by other bytes has another MD5, and the completion is refused.
            Some(begun) => {
                let layout = Layout::of_parts(named.iter().map(|part| (part.part, part.size)))?;
                Some(self.resume_sealing(bucket, &begun).await?.envelope(layout)?)
            }
        };
        Ok(Judged { checksum, envelope })
    }
}

fn named_parts(parts: &[CompletePart]) -> Result<Vec<(u16, [u8; 16])>, MultipartError> {
    if parts.is_empty() || parts.len() > usize::from(PARTS_MAX) {
        return Err(MultipartError::InvalidPartList);
    }
    let mut named = Vec::with_capacity(parts.len());
    for part in parts {
        let number = u16::try_from(part.part).ok().filter(|number| (1..=PARTS_MAX).contains(number));
        let number = number.ok_or(MultipartError::InvalidPart)?;
        if named.last().is_some_and(|(last, _)| *last >= number) {
            return Err(MultipartError::InvalidPartOrder);
        }
        named.push((number, etag::parse_md5(&part.etag).ok_or(MultipartError::InvalidPart)?));
    }
    Ok(named)
}

fn object_checksum(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
    request: &CompleteRequest,
    stored: &[&PartView],
) -> Result<ObjectChecksum, MultipartError> {
    if request.kind.is_some_and(|claimed| claimed != kind) {
        return Err(MultipartError::ChecksumKind);
    }
    let mut sums = Vec::with_capacity(stored.len());
    for (claimed, part) in request.parts.iter().zip(stored) {
        let checksum = Metadata::from_xattrs(&part.xattrs).checksum.ok_or(MultipartError::InvalidPart)?;
        if let Some((claimed_algorithm, claimed)) = &claimed.checksum
            && (*claimed_algorithm != algorithm || *claimed != checksum.text)
        {
            return Err(MultipartError::InvalidPart);
        }
        let value = Checksum::from_base64(checksum.algorithm, &checksum.text).ok_or(MultipartError::InvalidPart)?;
        sums.push((value, part.size));
    }
    let made = combine(algorithm, kind, &sums).ok_or(MultipartError::ChecksumKind)?;
    if let Some((claimed_algorithm, claimed)) = &request.checksum {
        let composite = made.text.split_once('-').map_or(made.text.as_str(), |(sum, _)| sum);
        if *claimed_algorithm != algorithm || (*claimed != made.text && *claimed != composite) {
            return Err(ObjectError::Upload(UploadError::ChecksumMismatch(algorithm)).into());
        }
    }
    Ok(made)
}
