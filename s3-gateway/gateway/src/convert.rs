//! Between the wire's types and the store's.

use crate::s3_error::WireError;
use gateway_core::checksum::{Checksum, ChecksumAlgorithm, ObjectChecksum, md5_from_base64};
use gateway_core::{ByteRange, Metadata, Precondition, ReadCondition, SystemHeader, TagMatch};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};
use s3s::dto;
use s3s::{S3Error, S3Result};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use types::Timestamp;

/// The wire's form of a time; one before 1970 is shown as 1970.
pub(crate) fn time(at: Timestamp) -> dto::Timestamp {
    let secs = u64::try_from(at.secs()).unwrap_or(0);
    let nanos = if at.secs() < 0 { 0 } else { at.subsec_nanos() };
    let time: SystemTime = UNIX_EPOCH.checked_add(Duration::new(secs, nanos)).unwrap_or(UNIX_EPOCH);
    time.into()
}

/// The text of a time in a header.
pub(crate) fn http_date(at: Timestamp) -> Option<HeaderValue> {
    let mut text = Vec::new();
    time(at).format(dto::TimestampFormat::HttpDate, &mut text).ok()?;
    HeaderValue::from_bytes(&text).ok()
}

/// A time from the wire, in whole seconds.
pub(crate) fn from_time(time: &dto::Timestamp) -> Option<Timestamp> {
    // The library writes seconds by way of a float, which rounds a fraction up; the date of a header has none.
    let mut date = Vec::new();
    time.format(dto::TimestampFormat::HttpDate, &mut date).ok()?;
    let whole = dto::Timestamp::parse(dto::TimestampFormat::HttpDate, std::str::from_utf8(&date).ok()?).ok()?;
    let mut text = Vec::new();
    whole.format(dto::TimestampFormat::EpochSeconds, &mut text).ok()?;
    let secs = std::str::from_utf8(&text).ok()?.parse().ok()?;
    Some(Timestamp::from_secs(secs, 0))
}

/// An entity tag.
pub(crate) fn etag(text: impl Into<String>) -> dto::ETag {
    dto::ETag::Strong(text.into())
}

/// The tags of a condition; the library hands on a list of them as one text.
pub(crate) fn tags(condition: &dto::ETagCondition) -> TagMatch {
    match condition {
        dto::ETagCondition::Any => TagMatch::Any,
        dto::ETagCondition::ETag(tag) => {
            let one = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
            TagMatch::Tags(tag.value().split(',').map(one).collect())
        }
    }
}

/// The conditions of a change.
pub(crate) fn precondition(
    if_match: Option<&dto::ETagCondition>,
    if_none_match: Option<&dto::ETagCondition>,
) -> Precondition {
    Precondition { if_match: if_match.map(tags), if_none_match: if_none_match.map(tags) }
}

/// The conditions of a read, in the order match, none match, modified, unmodified.
pub(crate) fn read_condition(
    if_match: Option<&dto::ETagCondition>,
    if_none_match: Option<&dto::ETagCondition>,
    if_modified_since: Option<&dto::Timestamp>,
    if_unmodified_since: Option<&dto::Timestamp>,
) -> ReadCondition {
    ReadCondition {
        if_match: if_match.map(tags),
        if_none_match: if_none_match.map(tags),
        if_modified_since: if_modified_since.and_then(from_time),
        if_unmodified_since: if_unmodified_since.and_then(from_time),
    }
}

/// A range from the wire.
pub(crate) fn range(range: dto::Range) -> ByteRange {
    match range {
        dto::Range::Int { first, last: Some(last) } => ByteRange::FromTo { first, last },
        dto::Range::Int { first, last: None } => ByteRange::From(first),
        dto::Range::Suffix { length } => ByteRange::Suffix(length),
    }
}

/// The header in which a system header of an object comes and goes.
pub(crate) fn header_name(header: SystemHeader) -> HeaderName {
    match header {
        SystemHeader::ContentType => header::CONTENT_TYPE,
        SystemHeader::CacheControl => header::CACHE_CONTROL,
        SystemHeader::ContentDisposition => header::CONTENT_DISPOSITION,
        SystemHeader::ContentEncoding => header::CONTENT_ENCODING,
        SystemHeader::ContentLanguage => header::CONTENT_LANGUAGE,
        SystemHeader::Expires => header::EXPIRES,
        SystemHeader::StorageClass => HeaderName::from_static("x-amz-storage-class"),
    }
}

/// The metadata of a request that makes an object. `user` is what the library has decoded.
pub(crate) fn metadata(headers: &HeaderMap, user: Option<dto::Metadata>) -> S3Result<Metadata> {
    let mut system = Vec::new();
    for header in SystemHeader::ALL {
        let Some(value) = headers.get(header_name(header)) else { continue };
        let text =
            std::str::from_utf8(value.as_bytes()).map_err(|_| WireError::InvalidArgument("a header is not UTF-8"))?;
        let text = match header {
            SystemHeader::ContentEncoding => without_framing(text),
            _ => text.to_owned(),
        };
        let is_default = header == SystemHeader::StorageClass && text == "STANDARD";
        if !text.is_empty() && !is_default {
            system.push((header, text));
        }
    }
    let mut user: Vec<_> = user.unwrap_or_default().into_iter().collect();
    user.sort_unstable();
    Ok(Metadata { system, user, checksum: None, hidden: 0 })
}

/// `aws-chunked` describes the request, not the object.
fn without_framing(encodings: &str) -> String {
    let kept = encodings.split(',').map(str::trim).filter(|one| !one.is_empty() && *one != "aws-chunked");
    kept.collect::<Vec<_>>().join(",")
}

/// Refuses what a client must not believe to have got.
pub(crate) fn refuse_unsupported(headers: &HeaderMap) -> S3Result<()> {
    const ENCRYPTION: &str = "x-amz-server-side-encryption";
    for (name, value) in headers {
        let name = name.as_str();
        if name.starts_with("x-amz-grant-") {
            return Err(WireError::NoGrants.into());
        }
        match name {
            "x-amz-acl" if !matches!(value.as_bytes(), b"private" | b"bucket-owner-full-control" | b"") => {
                return Err(WireError::NoGrants.into());
            }
            "x-amz-tagging" => return Err(WireError::NotImplemented("Tags are not supported").into()),
            "x-amz-website-redirect-location" => {
                return Err(WireError::NotImplemented("Redirects are not supported").into());
            }
            "x-amz-write-offset-bytes" => return Err(WireError::NotImplemented("Appending is not supported").into()),
            _ if is_lock(name) && value != "false" && value != "OFF" => {
                return Err(WireError::NotImplemented("Object lock is not supported").into());
            }
            _ if name.starts_with(ENCRYPTION) => {
                return Err(WireError::NotImplemented("Encryption by request is not supported").into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_lock(name: &str) -> bool {
    name.starts_with("x-amz-object-lock-") || name == "x-amz-bucket-object-lock-enabled"
}

/// The MD5 that a request names for its body.
pub(crate) fn content_md5(text: Option<&str>) -> S3Result<Option<[u8; 16]>> {
    match text {
        None => Ok(None),
        Some(text) => md5_from_base64(text).map(Some).ok_or_else(|| S3Error::from(WireError::InvalidDigest)),
    }
}

/// The header of a checksum.
pub(crate) fn checksum_header(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
    }
}

/// The checksum in a request's headers; there can be one at most.
pub(crate) fn header_checksum(headers: &HeaderMap) -> S3Result<Option<Checksum>> {
    let mut found = None;
    for algorithm in ChecksumAlgorithm::ALL {
        let Some(value) = headers.get(checksum_header(algorithm)) else { continue };
        if found.is_some() {
            let text = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
            return Err(WireError::InvalidRequest(text).into());
        }
        let checksum = value.to_str().ok().and_then(|text| Checksum::from_base64(algorithm, text));
        found = Some(checksum.ok_or(WireError::InvalidRequest("Value for an x-amz-checksum header is invalid."))?);
    }
    Ok(found)
}

/// A checksum in the shape of the wire's many outputs.
#[derive(Default)]
pub(crate) struct ChecksumFields {
    pub(crate) crc32: Option<String>,
    pub(crate) crc32c: Option<String>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) sha1: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) kind: Option<dto::ChecksumType>,
}

impl From<Option<&ObjectChecksum>> for ChecksumFields {
    fn from(checksum: Option<&ObjectChecksum>) -> Self {
        let mut fields = ChecksumFields::default();
        let Some(checksum) = checksum else { return fields };
        let slot = match checksum.algorithm {
            ChecksumAlgorithm::Crc32 => &mut fields.crc32,
            ChecksumAlgorithm::Crc32c => &mut fields.crc32c,
            ChecksumAlgorithm::Crc64Nvme => &mut fields.crc64nvme,
            ChecksumAlgorithm::Sha1 => &mut fields.sha1,
            ChecksumAlgorithm::Sha256 => &mut fields.sha256,
        };
        *slot = Some(checksum.text.clone());
        fields.kind = Some(dto::ChecksumType::from_static(checksum.kind.name()));
        fields
    }
}

/// The algorithm that a wire's name stands for.
pub(crate) fn algorithm(name: &dto::ChecksumAlgorithm) -> S3Result<ChecksumAlgorithm> {
    let text = "Checksum algorithm provided is unsupported.";
    ChecksumAlgorithm::from_name(name.as_str()).ok_or_else(|| WireError::InvalidRequest(text).into())
}

/// The wire's name of an algorithm.
pub(crate) fn algorithm_name(algorithm: ChecksumAlgorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from(algorithm.name().to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tags_comes_apart() {
        let list = dto::ETagCondition::ETag(dto::ETag::Strong("a\", W/\"b\",\"c".into()));
        assert_eq!(tags(&list), TagMatch::Tags(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(tags(&dto::ETagCondition::Any), TagMatch::Any);
    }

    #[test]
    fn times_survive_in_whole_seconds() {
        let at = Timestamp::from_secs(1_700_000_000, 999_999_999);
        assert_eq!(from_time(&time(at)), Some(Timestamp::from_secs(1_700_000_000, 0)));
        assert_eq!(http_date(at).expect("a date"), "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(http_date(Timestamp(-5)).expect("a date"), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn the_framing_is_no_encoding_of_the_object() {
        assert_eq!(without_framing("aws-chunked"), "");
        assert_eq!(without_framing("gzip, aws-chunked"), "gzip");
        assert_eq!(without_framing("aws-chunked,gzip, br"), "gzip,br");
    }
}
