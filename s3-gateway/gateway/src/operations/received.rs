//! The body of an object or part, with what the client claims of it.

use crate::body::BodyWatch;
use crate::convert::{checksum_header, content_md5, header_checksum};
use crate::request;
use crate::s3_error::WireError;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use gateway_core::checksum::ChecksumAlgorithm;
use gateway_core::{BodyError, ClaimedChecksum, Upload};
use http::HeaderMap;
use s3s::dto::StreamingBlob;
use s3s::stream::ByteStream as _;
use s3s::{S3Request, S3Result, TrailingHeaders};
use std::sync::Arc;

/// What the library has read of it so far, or why it would not.
pub(super) type Body = BoxStream<'static, Result<Bytes, BodyError>>;

/// Takes the body of a request.
pub(super) fn upload<T>(
    request: &S3Request<T>,
    body: Option<StreamingBlob>,
    content_length: Option<i64>,
    md5: Option<&str>,
) -> S3Result<Upload<Body>> {
    let declared = content_length.and_then(|length| u64::try_from(length).ok());
    let known = || body.as_ref().map_or(Some(0), |body| body.remaining_length().exact()).map(|length| length as u64);
    let length = declared.or_else(known).ok_or(WireError::MissingLength)?;
    let watch = request::of(request)?.body.clone();
    let trailers = request.trailing_headers.clone();
    let announced = announced(&request.headers)?;
    let checksum = match (header_checksum(&request.headers)?, announced) {
        (Some(_), Some(_)) => {
            return Err(
                WireError::InvalidRequest("Expecting a single checksum, in the head or behind the body.").into()
            );
        }
        (Some(checksum), None) => Some(ClaimedChecksum::Value(checksum)),
        (None, Some(algorithm)) => {
            let trailers = trailers.clone();
            Some(ClaimedChecksum::Trailer(algorithm, Box::new(move || trailer(trailers.as_ref()?, algorithm))))
        }
        (None, None) => None,
    };
    let wanted = request.headers.get("x-amz-sdk-checksum-algorithm");
    if wanted.is_some_and(|wanted| !names(wanted.as_bytes(), checksum.as_ref().map(ClaimedChecksum::algorithm))) {
        let text = "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                    headers were found.";
        return Err(WireError::InvalidRequest(text).into());
    }
    let body = guarded(body, watch, trailers, announced);
    Ok(Upload { body, length, md5: content_md5(md5)?, checksum, compute: None })
}

/// The checksum that is to come behind the body. Nothing else may come there.
fn announced(headers: &HeaderMap) -> S3Result<Option<ChecksumAlgorithm>> {
    let Some(value) = headers.get("x-amz-trailer") else { return Ok(None) };
    let name = value.to_str().unwrap_or_default().trim();
    let found =
        ChecksumAlgorithm::ALL.into_iter().find(|algorithm| checksum_header(*algorithm).eq_ignore_ascii_case(name));
    let text = "The value specified in the x-amz-trailer header is not supported";
    found.map(Some).ok_or_else(|| WireError::InvalidRequest(text).into())
}

fn names(wanted: &[u8], found: Option<ChecksumAlgorithm>) -> bool {
    found.is_some_and(|found| found.name().as_bytes().eq_ignore_ascii_case(wanted))
}

fn trailer(trailers: &TrailingHeaders, algorithm: ChecksumAlgorithm) -> Option<String> {
    trailers.read(|headers| headers.get(checksum_header(algorithm))?.to_str().ok().map(str::to_owned))?
}

/// The library's stream with errors that mean something, and with nothing behind it that was not announced.
fn guarded(
    body: Option<StreamingBlob>,
    watch: Arc<BodyWatch>,
    trailers: Option<TrailingHeaders>,
    announced: Option<ChecksumAlgorithm>,
) -> Body {
    let Some(body) = body else { return stream::empty().boxed() };
    let body = body.map(move |piece| piece.map_err(|_| watch.error()));
    let last = stream::once(async move {
        let right = trailers.and_then(|trailers| trailers.read(|headers| only(headers, announced))).unwrap_or(true);
        if right { Ok(Bytes::new()) } else { Err(BodyError::Malformed) }
    });
    body.chain(last).boxed()
}

fn only(headers: &HeaderMap, announced: Option<ChecksumAlgorithm>) -> bool {
    let expected = announced.map(checksum_header);
    headers.len() <= 1 && headers.keys().all(|name| Some(name.as_str()) == expected)
}
