//! The one place where what went wrong becomes an S3 error code.

use crate::body::BodyFault;
use crate::screen::ScreenError;
use gateway_core::{
    BodyError, BucketError, ClusterError, MultipartError, ObjectError, SealError, UploadError, Validators,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use s3s::{S3Error, S3ErrorCode};

/// What a face refuses by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WireError {
    /// Known to S3, not to us.
    NotImplemented(&'static str),
    /// An argument that makes no sense.
    InvalidArgument(&'static str),
    /// A combination that makes no sense.
    InvalidRequest(&'static str),
    /// A `Content-MD5` that is none.
    InvalidDigest,
    /// A body without a length.
    MissingLength,
    /// Grants to others.
    NoGrants,
    /// A bucket in another region.
    WrongLocation,
    /// Too many keys, or none.
    MalformedXml,
    /// Somebody else's, or nobody's.
    AccessDenied,
    /// No such access key.
    InvalidAccessKey,
}

impl From<WireError> for S3Error {
    fn from(error: WireError) -> Self {
        match error {
            WireError::NotImplemented(what) => S3Error::with_message(S3ErrorCode::NotImplemented, what),
            WireError::InvalidArgument(what) => S3Error::with_message(S3ErrorCode::InvalidArgument, what),
            WireError::InvalidRequest(what) => S3Error::with_message(S3ErrorCode::InvalidRequest, what),
            WireError::InvalidDigest => plain(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified was invalid."),
            WireError::MissingLength => {
                plain(S3ErrorCode::MissingContentLength, "You must provide the Content-Length HTTP header.")
            }
            WireError::NoGrants => custom(
                "AccessControlListNotSupported",
                StatusCode::BAD_REQUEST,
                "The bucket does not allow ACLs: its objects belong to its owner alone.",
            ),
            WireError::WrongLocation => custom(
                "InvalidLocationConstraint",
                StatusCode::BAD_REQUEST,
                "The specified location constraint is not valid.",
            ),
            WireError::MalformedXml => plain(
                S3ErrorCode::MalformedXML,
                "The XML you provided was not well-formed or did not validate against our published schema.",
            ),
            WireError::AccessDenied => denied(),
            WireError::InvalidAccessKey => {
                plain(S3ErrorCode::InvalidAccessKeyId, "The access key ID you provided does not exist in our records.")
            }
        }
    }
}

/// What the gateway refuses before it authenticates.
pub(crate) fn screened(error: &ScreenError, region: &str) -> S3Error {
    let text = error.to_string();
    match error {
        ScreenError::HeadersTooLarge => {
            custom("RequestHeaderSectionTooLarge", StatusCode::BAD_REQUEST, "Your request header is too large.")
        }
        ScreenError::UriTooLong => custom("InvalidURI", StatusCode::URI_TOO_LONG, "The URI is too long."),
        ScreenError::Ambiguous(_) | ScreenError::TwoWays => S3Error::with_message(S3ErrorCode::InvalidArgument, text),
        ScreenError::OldSignature => plain(
            S3ErrorCode::InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256 (for boto3 and \
             the aws command line: signature_version = s3v4).",
        ),
        ScreenError::FormUpload => S3Error::with_message(S3ErrorCode::NotImplemented, text),
        ScreenError::HeaderAuth(_) => S3Error::with_message(S3ErrorCode::AuthorizationHeaderMalformed, text),
        ScreenError::HeaderRegion => {
            let text = format!("The authorization header is malformed; the region is wrong; expecting '{region}'");
            let mut error = S3Error::with_message(S3ErrorCode::AuthorizationHeaderMalformed, text);
            if let Ok(region) = HeaderValue::from_str(region) {
                error.set_headers(HeaderMap::from_iter([(REGION, region), xml()]));
            }
            error
        }
        ScreenError::QueryAuth(_) => {
            let mut error = S3Error::with_message(S3ErrorCode::AuthorizationQueryParametersError, text);
            error.set_status_code(StatusCode::BAD_REQUEST);
            error
        }
        ScreenError::Unsigned => {
            plain(S3ErrorCode::AccessDenied, "There were headers present in the request which were not signed")
        }
        ScreenError::NoHost => S3Error::with_message(S3ErrorCode::InvalidRequest, text),
    }
}

const REGION: header::HeaderName = header::HeaderName::from_static("x-amz-bucket-region");

fn xml() -> (header::HeaderName, HeaderValue) {
    (header::CONTENT_TYPE, HeaderValue::from_static("application/xml"))
}

/// A fault of a body that the S3 library read by itself.
pub(crate) fn document(fault: BodyFault) -> S3Error {
    match fault {
        BodyFault::Incomplete => body(BodyError::Incomplete),
        BodyFault::Stalled => body(BodyError::Stalled),
        BodyFault::Malformed => body(BodyError::Malformed),
        BodyFault::Busy => body(BodyError::Busy),
        BodyFault::TooLarge => plain(S3ErrorCode::MaxMessageLengthExceeded, "Your request was too large."),
        BodyFault::Md5 => upload(&UploadError::Md5Mismatch),
        BodyFault::Checksum(algorithm) => upload(&UploadError::ChecksumMismatch(algorithm)),
    }
}

/// A body that could not be read to its end.
pub(crate) fn body(error: BodyError) -> S3Error {
    match error {
        BodyError::Incomplete | BodyError::TooLong => plain(
            S3ErrorCode::IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header",
        ),
        BodyError::Stalled => plain(
            S3ErrorCode::RequestTimeout,
            "Your socket connection to the server was not read from or written to within the timeout period.",
        ),
        BodyError::Malformed => plain(S3ErrorCode::InvalidRequest, "The request body is malformed."),
        BodyError::Signature => plain(
            S3ErrorCode::SignatureDoesNotMatch,
            "The signature of a chunk of the body does not match the one we calculated.",
        ),
        BodyError::PayloadHash => custom(
            "XAmzContentSHA256Mismatch",
            StatusCode::BAD_REQUEST,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        ),
        BodyError::Busy => cluster(&ClusterError::Busy),
    }
}

pub(crate) fn cluster(error: &ClusterError) -> S3Error {
    match error {
        ClusterError::Unavailable => {
            plain(S3ErrorCode::ServiceUnavailable, "The service is unable to handle the request now. Try again.")
        }
        ClusterError::Busy => plain(S3ErrorCode::SlowDown, "Please reduce your request rate."),
        ClusterError::NoSpace => {
            custom("InsufficientStorage", StatusCode::INSUFFICIENT_STORAGE, "There is no space left.")
        }
        // As overload, so that clients slow down and try again: an operator may lift the breaker meanwhile.
        ClusterError::BreakerOpen => plain(
            S3ErrorCode::SlowDown,
            "Too many objects of this bucket were deleted or overwritten within ten minutes: its breaker is open. Nothing was \
             changed. It closes after ten minutes, or at once with: sago bucket breaker lift BUCKET",
        ),
        ClusterError::Lost(lost) => {
            tracing::error!(error = %lost, "no intact copy of a chunk is left");
            plain(S3ErrorCode::InternalError, "No intact copy of the object could be read.")
        }
        ClusterError::Level { .. } => {
            tracing::warn!(%error, "a request needs what the cluster cannot do yet");
            plain(S3ErrorCode::ServiceUnavailable, "The cluster has to be finalized for this. Ask its operator.")
        }
        ClusterError::Unexpected(what) => {
            tracing::error!(what, "the cluster gave an unexpected answer");
            plain(S3ErrorCode::InternalError, "We encountered an internal error. Please try again.")
        }
    }
}

pub(crate) fn bucket(error: &BucketError) -> S3Error {
    match error {
        BucketError::NoSuchBucket => plain(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist"),
        BucketError::AccessDenied => denied(),
        BucketError::NotEmpty => plain(S3ErrorCode::BucketNotEmpty, "The bucket you tried to delete is not empty"),
        BucketError::ExistsYours => plain(
            S3ErrorCode::BucketAlreadyOwnedByYou,
            "Your previous request to create the named bucket succeeded and you already own it.",
        ),
        BucketError::Exists => plain(S3ErrorCode::BucketAlreadyExists, "The requested bucket name is not available."),
        BucketError::InvalidName => plain(S3ErrorCode::InvalidBucketName, "The specified bucket is not valid."),
        BucketError::TooMany => {
            plain(S3ErrorCode::TooManyBuckets, "You have attempted to create more buckets than allowed")
        }
        BucketError::Cluster(error) => cluster(error),
    }
}

pub(crate) fn upload(error: &UploadError) -> S3Error {
    match error {
        UploadError::Body(error) => body(*error),
        UploadError::TooLarge => {
            plain(S3ErrorCode::EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
        }
        UploadError::Md5Mismatch => {
            plain(S3ErrorCode::BadDigest, "The Content-MD5 you specified did not match what we received.")
        }
        UploadError::ChecksumMismatch(algorithm) => S3Error::with_message(
            S3ErrorCode::BadDigest,
            format!("The {} you specified did not match the calculated checksum.", algorithm.name().to_uppercase()),
        ),
        UploadError::ChecksumMissing(algorithm) => S3Error::with_message(
            S3ErrorCode::InvalidRequest,
            format!("Value for x-amz-checksum-{algorithm} trailing header is invalid."),
        ),
        UploadError::Seal(error) => seal(error),
        UploadError::Cluster(error) => cluster(error),
    }
}

pub(crate) fn object(error: &ObjectError) -> S3Error {
    match error {
        ObjectError::Bucket(error) => bucket(error),
        ObjectError::NoSuchKey => plain(S3ErrorCode::NoSuchKey, "The specified key does not exist."),
        ObjectError::KeyTooLong => plain(S3ErrorCode::KeyTooLongError, "Your key is too long"),
        ObjectError::InvalidKey => plain(S3ErrorCode::InvalidArgument, "The key is not valid"),
        ObjectError::MetadataTooLarge => {
            plain(S3ErrorCode::MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size")
        }
        ObjectError::InvalidMetadata => plain(S3ErrorCode::InvalidArgument, "A metadata header is not valid"),
        ObjectError::PreconditionFailed => {
            plain(S3ErrorCode::PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
        }
        ObjectError::NotModified(validators) => not_modified(validators),
        ObjectError::RangeNotSatisfiable { size } => {
            let mut error = plain(S3ErrorCode::InvalidRange, "The requested range is not satisfiable");
            if let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}")) {
                error.set_headers(HeaderMap::from_iter([(header::CONTENT_RANGE, range), xml()]));
            }
            error
        }
        ObjectError::NoSuchPart => custom(
            "InvalidPartNumber",
            StatusCode::RANGE_NOT_SATISFIABLE,
            "The requested partnumber is not satisfiable",
        ),
        ObjectError::CopyOntoItself => plain(
            S3ErrorCode::InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata.",
        ),
        ObjectError::SourceTooLarge => plain(
            S3ErrorCode::InvalidRequest,
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
        ),
        ObjectError::Changed => plain(S3ErrorCode::OperationAborted, "The object was changed while it was being read."),
        ObjectError::Seal(error) => seal(error),
        ObjectError::Upload(error) => upload(error),
    }
}

/// What stands between a request and the content of an encrypted bucket.
fn seal(error: &SealError) -> S3Error {
    match error {
        SealError::NoKeys => plain(
            S3ErrorCode::ServiceUnavailable,
            "The bucket is encrypted, and this gateway has no key-encryption key. Its operator has to name the key file or the key \
             service in the gateway's configuration.",
        ),
        SealError::NoSuchKek { kek } => {
            tracing::error!(kek, "content is encrypted under a key-encryption key that this gateway does not have");
            plain(
                S3ErrorCode::ServiceUnavailable,
                "The object is encrypted under a key-encryption key that this gateway does not have. Its operator has to add it.",
            )
        }
        SealError::KeysUnavailable => {
            plain(S3ErrorCode::ServiceUnavailable, "The key service cannot be reached now. Try again.")
        }
        SealError::KeysRefuse(why) => {
            tracing::error!(why, "the key service refuses");
            plain(S3ErrorCode::ServiceUnavailable, "The key service refuses. Ask the operator of the gateway.")
        }
        SealError::Unsealed => plain(
            S3ErrorCode::AccessDenied,
            "The object is not encrypted as its bucket demands, and is not shown. It can be deleted and put again.",
        ),
        SealError::Damaged => {
            tracing::error!("sealed content is damaged");
            plain(S3ErrorCode::InternalError, "The encrypted object is damaged.")
        }
        SealError::TooManyRuns => plain(
            S3ErrorCode::InvalidRequest,
            "The sizes of the parts change too often for an encrypted bucket. Upload parts of equal size.",
        ),
        SealError::Overtaken => {
            plain(S3ErrorCode::ServiceUnavailable, "The bucket has been protected just now. Try again.")
        }
        SealError::Random => {
            tracing::error!("the operating system gives no random bytes");
            plain(S3ErrorCode::InternalError, "We encountered an internal error. Please try again.")
        }
    }
}

pub(crate) fn multipart(error: &MultipartError) -> S3Error {
    match error {
        MultipartError::Object(error) => object(error),
        MultipartError::NoSuchUpload => plain(
            S3ErrorCode::NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or \
             completed.",
        ),
        MultipartError::InvalidPartNumber => {
            plain(S3ErrorCode::InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
        }
        MultipartError::InvalidPart => plain(
            S3ErrorCode::InvalidPart,
            "One or more of the specified parts could not be found. The part may not have been uploaded, or the \
             specified entity tag may not match the part's entity tag.",
        ),
        MultipartError::InvalidPartOrder => plain(
            S3ErrorCode::InvalidPartOrder,
            "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
        ),
        MultipartError::PartTooSmall(part) => S3Error::with_message(
            S3ErrorCode::EntityTooSmall,
            format!("Your proposed upload is smaller than the minimum allowed size: part {part}"),
        ),
        MultipartError::InvalidPartList => WireError::MalformedXml.into(),
        MultipartError::ChecksumKind => plain(
            S3ErrorCode::InvalidRequest,
            "The checksum type or algorithm does not agree with the one the upload was created with.",
        ),
        MultipartError::SizeMismatch => plain(
            S3ErrorCode::InvalidRequest,
            "The provided 'x-amz-mp-object-size' header does not match the size of the object.",
        ),
    }
}

/// 304 with the headers that RFC 9110 wants; its body is dropped on the way out.
fn not_modified(validators: &Validators) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    error.set_status_code(StatusCode::NOT_MODIFIED);
    let mut headers = HeaderMap::new();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", validators.etag)) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(date) = crate::convert::http_date(validators.mtime) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    error.set_headers(headers);
    error
}

fn denied() -> S3Error {
    plain(S3ErrorCode::AccessDenied, "Access Denied")
}

fn plain(code: S3ErrorCode, message: &'static str) -> S3Error {
    S3Error::with_message(code, message)
}

fn custom(code: &'static str, status: StatusCode, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}
