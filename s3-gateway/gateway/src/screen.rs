//! What is refused before the S3 library sees a request: everything about its authentication that the library does not
//! check, or takes for something else.
//!
//! ```text
//! one way to authenticate       header or query, once; signature version 4 only
//! credential scope              this region, service s3, terminator aws4_request
//! signed headers                host, and every x-amz-* header that is there
//! presigned                     1 s to 7 days
//! ```
//! The signature itself, the clock and the chunks are the library's. Whoever gets past it has a `Caller`.

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use std::collections::BTreeSet;

/// Names and values of all headers together.
const HEADERS_BYTES_MAX: usize = 16 << 10;

/// Path and query; a key of 1,024 bytes takes 3 KiB in percent-encoding, and a listing can name three of them.
const URI_BYTES_MAX: usize = 16 << 10;

/// Seven days.
const EXPIRES_SECS_MAX: u32 = 604_800;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Why a request is not even looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScreenError {
    /// Headers over the limit.
    #[error("the headers are too large")]
    HeadersTooLarge,
    /// Path and query over the limit.
    #[error("the URI is too long")]
    UriTooLong,
    /// Something that must stand once stands more often, or two lengths.
    #[error("{0} is ambiguous")]
    Ambiguous(&'static str),
    /// Header and query both authenticate.
    #[error("only one way to authenticate is allowed")]
    TwoWays,
    /// Signature version 2.
    #[error("only AWS4-HMAC-SHA256 is supported")]
    OldSignature,
    /// A form with a file in it.
    #[error("uploads by form are not supported")]
    FormUpload,
    /// The header cannot be read, or names another region or service.
    #[error("the Authorization header is malformed: {0}")]
    HeaderAuth(&'static str),
    /// The header names another region.
    #[error("the region is wrong")]
    HeaderRegion,
    /// As for the header.
    #[error("the query's authorization is malformed: {0}")]
    QueryAuth(&'static str),
    /// A header that must be signed is not.
    #[error("a header that must be signed is not")]
    Unsigned,
    /// No host.
    #[error("the Host header is missing")]
    NoHost,
}

/// Refuses what the library would let pass.
pub(crate) fn screen(request: &Parts, region: &str) -> Result<(), ScreenError> {
    let headers = &request.headers;
    bounds(request)?;
    unambiguous(headers)?;
    if is_form(request) {
        return Err(ScreenError::FormUpload);
    }
    let query = query_names(request);
    let mut seen = BTreeSet::new();
    if query.iter().filter(|name| name.starts_with("x-amz-")).any(|name| !seen.insert(name)) {
        return Err(ScreenError::Ambiguous("a query parameter"));
    }
    let by_query =
        query.iter().any(|name| matches!(name.as_str(), "x-amz-signature" | "x-amz-algorithm" | "x-amz-credential"));
    if query.iter().any(|name| matches!(name.as_str(), "signature" | "awsaccesskeyid")) {
        return Err(ScreenError::OldSignature);
    }
    match headers.get(AUTHORIZATION) {
        Some(_) if by_query => Err(ScreenError::TwoWays),
        Some(value) => screen_header(headers, value.to_str().unwrap_or_default(), region),
        None if by_query => screen_query(request, region),
        // The library refuses whoever does not authenticate at all.
        None => Ok(()),
    }
}

fn bounds(request: &Parts) -> Result<(), ScreenError> {
    let headers: usize = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers > HEADERS_BYTES_MAX {
        return Err(ScreenError::HeadersTooLarge);
    }
    let uri = request.uri.path_and_query().map_or(0, |text| text.as_str().len());
    if uri > URI_BYTES_MAX {
        return Err(ScreenError::UriTooLong);
    }
    if request.headers.get(HOST).is_none() { Err(ScreenError::NoHost) } else { Ok(()) }
}

fn unambiguous(headers: &HeaderMap) -> Result<(), ScreenError> {
    let often = |name: &http::HeaderName| headers.get_all(name).iter().nth(1).is_some();
    if often(&AUTHORIZATION) {
        return Err(ScreenError::Ambiguous("Authorization"));
    }
    if often(&HOST) {
        return Err(ScreenError::Ambiguous("Host"));
    }
    if often(&CONTENT_LENGTH) || (headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING)) {
        return Err(ScreenError::Ambiguous("the length"));
    }
    if headers.keys().any(|name| name.as_str().starts_with("x-amz-") && often(name)) {
        return Err(ScreenError::Ambiguous("an x-amz header"));
    }
    Ok(())
}

fn is_form(request: &Parts) -> bool {
    let form = request.headers.get(CONTENT_TYPE).is_some_and(|value| {
        value.as_bytes().get(..19).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/form-data"))
    });
    form && request.method == http::Method::POST
}

/// Names of the query's parameters in lower case, percent-decoded as far as they could name an authentication.
fn query_names(request: &Parts) -> Vec<String> {
    pairs(request).map(|(name, _)| decode(name).to_ascii_lowercase()).collect()
}

fn pairs(request: &Parts) -> impl Iterator<Item = (&str, &str)> {
    let query = request.uri.query().unwrap_or_default();
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut rest = bytes.clone();
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match (byte, hex(rest.next()), hex(rest.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                bytes = rest;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn screen_header(headers: &HeaderMap, value: &str, region: &str) -> Result<(), ScreenError> {
    if value.starts_with("AWS ") {
        return Err(ScreenError::OldSignature);
    }
    let fields = value.strip_prefix(ALGORITHM).ok_or(ScreenError::HeaderAuth("unknown algorithm"))?;
    let field = |name: &str| fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
    let credential = field("Credential").ok_or(ScreenError::HeaderAuth("no Credential"))?;
    field("Signature").ok_or(ScreenError::HeaderAuth("no Signature"))?;
    let signed = field("SignedHeaders").ok_or(ScreenError::HeaderAuth("no SignedHeaders"))?;
    match scope(credential, region) {
        Ok(()) => {}
        Err("region") => return Err(ScreenError::HeaderRegion),
        Err(wrong) => return Err(ScreenError::HeaderAuth(wrong)),
    }
    all_signed(headers, signed, &[])
}

fn screen_query(request: &Parts, region: &str) -> Result<(), ScreenError> {
    let field = |name: &str| pairs(request).find(|(key, _)| decode(key) == name).map(|(_, value)| decode(value));
    let credential = field("X-Amz-Credential").ok_or(ScreenError::QueryAuth("no X-Amz-Credential"))?;
    field("X-Amz-Signature").ok_or(ScreenError::QueryAuth("no X-Amz-Signature"))?;
    field("X-Amz-Date").ok_or(ScreenError::QueryAuth("no X-Amz-Date"))?;
    let signed = field("X-Amz-SignedHeaders").ok_or(ScreenError::QueryAuth("no X-Amz-SignedHeaders"))?;
    let expires = field("X-Amz-Expires").and_then(|text| text.parse::<u32>().ok());
    if !expires.is_some_and(|secs| (1..=EXPIRES_SECS_MAX).contains(&secs)) {
        return Err(ScreenError::QueryAuth("X-Amz-Expires must be 1 to 604800"));
    }
    scope(&credential, region).map_err(ScreenError::QueryAuth)?;
    // The library compares the body with this hash even if it is not signed.
    all_signed(&request.headers, &signed, &["x-amz-content-sha256"])
}

/// `KEY/DATE/REGION/SERVICE/aws4_request`; what is wrong with it.
fn scope(credential: &str, region: &str) -> Result<(), &'static str> {
    let mut parts = credential.rsplitn(5, '/');
    let (terminator, service, scoped) = (parts.next(), parts.next(), parts.next());
    let (date, key) = (parts.next(), parts.next());
    match () {
        () if terminator != Some("aws4_request") => Err("the scope must end in aws4_request"),
        () if service != Some("s3") => Err("the service must be s3"),
        () if date.is_none_or(str::is_empty) || key.is_none_or(str::is_empty) => Err("the credential is incomplete"),
        () if scoped != Some(region) => Err("region"),
        () => Ok(()),
    }
}

fn all_signed(headers: &HeaderMap, signed: &str, except: &[&str]) -> Result<(), ScreenError> {
    let signed: BTreeSet<&str> = signed.split(';').collect();
    let free = |name: &str| !name.starts_with("x-amz-") || except.contains(&name) || signed.contains(name);
    let all = signed.contains("host") && headers.keys().all(|name| free(name.as_str()));
    if all { Ok(()) } else { Err(ScreenError::Unsigned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Result<(), ScreenError> {
        let mut builder = http::Request::builder().uri(uri).header("host", "s3");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (parts, ()) = builder.body(()).expect("a request").into_parts();
        screen(&parts, "us-east-1")
    }

    fn auth(scope: &str, signed: &str) -> String {
        format!("{ALGORITHM} Credential=AK/20260101/{scope}, SignedHeaders={signed}, Signature=0")
    }

    #[test]
    fn a_proper_header_passes_and_a_wrong_scope_does_not() {
        let good = auth("us-east-1/s3/aws4_request", "host;x-amz-date");
        assert_eq!(request("/b/k", &[("authorization", &good), ("x-amz-date", "x")]), Ok(()));
        assert_eq!(request("/b/k", &[]), Ok(()), "nobody is refused later, by the library");
        for (scope, expected) in [
            ("eu-west-1/s3/aws4_request", ScreenError::HeaderRegion),
            ("us-east-1/sts/aws4_request", ScreenError::HeaderAuth("the service must be s3")),
            ("us-east-1/s3/aws5_request", ScreenError::HeaderAuth("the scope must end in aws4_request")),
        ] {
            assert_eq!(request("/b", &[("authorization", &auth(scope, "host"))]), Err(expected));
        }
    }

    #[test]
    fn every_amz_header_and_the_host_must_be_signed() {
        let host = auth("us-east-1/s3/aws4_request", "host");
        let none = auth("us-east-1/s3/aws4_request", "content-type");
        let extra = ("x-amz-copy-source", "/b/secret");
        assert_eq!(request("/b/k", &[("authorization", &host), extra]), Err(ScreenError::Unsigned));
        assert_eq!(request("/b/k", &[("authorization", &none)]), Err(ScreenError::Unsigned));
    }

    #[test]
    fn there_is_one_way_to_authenticate_and_it_is_version_four() {
        let good = auth("us-east-1/s3/aws4_request", "host");
        let header = ("authorization", good.as_str());
        assert_eq!(request("/b?X-Amz-Signature=0", &[header]), Err(ScreenError::TwoWays));
        assert_eq!(request("/b?%58-amz-signature=0", &[header]), Err(ScreenError::TwoWays));
        assert_eq!(request("/b", &[header, header]), Err(ScreenError::Ambiguous("Authorization")));
        assert_eq!(request("/b", &[("authorization", "AWS AK:sig")]), Err(ScreenError::OldSignature));
        assert_eq!(request("/b?AWSAccessKeyId=AK&Signature=x&Expires=1", &[]), Err(ScreenError::OldSignature));
        let twice = [("x-amz-date", "1"), ("X-AMZ-DATE", "2")];
        assert_eq!(request("/b", &twice), Err(ScreenError::Ambiguous("an x-amz header")));
        assert_eq!(request("/b?X-Amz-Date=1&x-amz-date=2", &[]), Err(ScreenError::Ambiguous("a query parameter")));
    }

    #[test]
    fn a_presigned_request_lives_a_second_to_a_week() {
        let uri = |expires: &str| {
            format!(
                "/b/k?X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request\
                 &X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=0&X-Amz-Expires={expires}"
            )
        };
        for expires in ["1", "604800"] {
            assert_eq!(request(&uri(expires), &[]), Ok(()));
        }
        for expires in ["", "0", "-1", "604801", "99999999999999", "1e3"] {
            assert!(matches!(request(&uri(expires), &[]), Err(ScreenError::QueryAuth(_))), "{expires:?}");
        }
        assert_eq!(request(&uri("9"), &[("x-amz-acl", "public-read")]), Err(ScreenError::Unsigned));
    }

    #[test]
    fn size_is_bounded() {
        let long = "x".repeat(HEADERS_BYTES_MAX);
        assert_eq!(request("/", &[("x-long", &long)]), Err(ScreenError::HeadersTooLarge));
        let long = format!("/?{}", "x".repeat(URI_BYTES_MAX));
        assert_eq!(request(&long, &[]), Err(ScreenError::UriTooLong));
    }
}
