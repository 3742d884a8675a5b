//! Listings of keys.

use super::Operations;
use super::buckets::owner;
use crate::convert::{etag, time};
use crate::request::caller;
use crate::s3_error::{self, WireError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use gateway_core::{LIST_KEYS_MAX, ListRequest, ListedObject};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

impl Operations {
    pub(super) async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let caller = caller(&request)?;
        let input = request.input;
        let names = Names::of(input.encoding_type.as_ref())?;
        let max = page(input.max_keys)?;
        let wanted = ListRequest {
            prefix: bytes(input.prefix.as_deref()),
            delimiter: bytes(input.delimiter.as_deref()),
            after: bytes(input.marker.as_deref()),
            max,
        };
        let listing =
            self.store.list(&caller, &input.bucket, wanted).await.map_err(|error| s3_error::bucket(&error))?;
        let contents = listing.objects.into_iter().map(|found| object(found, names, Some(owner(&caller.user))));
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(names.show(input.prefix.unwrap_or_default().as_bytes())),
            marker: Some(names.show(input.marker.unwrap_or_default().as_bytes())),
            max_keys: Some(max as i32),
            is_truncated: Some(listing.next.is_some()),
            contents: Some(contents.collect()),
            common_prefixes: Some(prefixes(&listing.prefixes, names)),
            // Without a delimiter a client goes on behind the last key; naming it does no harm.
            next_marker: listing.next.map(|next| names.show(&next)),
            delimiter: input.delimiter.map(|delimiter| names.show(delimiter.as_bytes())),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }

    pub(super) async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let caller = caller(&request)?;
        let input = request.input;
        let names = Names::of(input.encoding_type.as_ref())?;
        let max = page(input.max_keys)?;
        let after = match &input.continuation_token {
            Some(token) => from_token(token)?,
            None => bytes(input.start_after.as_deref()),
        };
        let wanted = ListRequest {
            prefix: bytes(input.prefix.as_deref()),
            delimiter: bytes(input.delimiter.as_deref()),
            after,
            max,
        };
        let listing =
            self.store.list(&caller, &input.bucket, wanted).await.map_err(|error| s3_error::bucket(&error))?;
        let shown = input.fetch_owner.unwrap_or(false).then(|| owner(&caller.user));
        let count = listing.objects.len() + listing.prefixes.len();
        let contents = listing.objects.into_iter().map(|found| object(found, names, shown.clone()));
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(names.show(input.prefix.unwrap_or_default().as_bytes())),
            max_keys: Some(max as i32),
            key_count: Some(count as i32),
            continuation_token: input.continuation_token,
            is_truncated: Some(listing.next.is_some()),
            next_continuation_token: listing.next.as_deref().map(to_token),
            contents: Some(contents.collect()),
            common_prefixes: Some(prefixes(&listing.prefixes, names)),
            delimiter: input.delimiter.map(|delimiter| names.show(delimiter.as_bytes())),
            encoding_type: input.encoding_type,
            start_after: input.start_after.map(|after| names.show(after.as_bytes())),
            request_charged: None,
        }))
    }
}

/// How names stand in the XML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// As they are; bytes that are no UTF-8 percent-encoded.
    Plain,
    /// Percent-encoded.
    Url,
}

impl Names {
    pub(super) fn of(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None | Some("") => Ok(Names::Plain),
            Some(EncodingType::URL) => Ok(Names::Url),
            Some(_) => Err(WireError::InvalidArgument("Invalid Encoding Method specified in Request").into()),
        }
    }

    pub(super) fn show(self, name: &[u8]) -> String {
        let mut out = String::with_capacity(name.len());
        match self {
            Names::Url => encode(name, |byte| byte.is_ascii_alphanumeric() || b"-_.~/*".contains(&byte), &mut out),
            Names::Plain => {
                for chunk in name.utf8_chunks() {
                    out.push_str(chunk.valid());
                    encode(chunk.invalid(), |_| false, &mut out);
                }
            }
        }
        out
    }
}

fn encode(bytes: &[u8], plain: impl Fn(u8) -> bool, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if plain(*byte) {
            out.push(char::from(*byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

pub(super) fn bytes(text: Option<&str>) -> Bytes {
    Bytes::copy_from_slice(text.unwrap_or_default().as_bytes())
}

/// The size of a page: 1,000 unless fewer are wanted.
pub(super) fn page(wanted: Option<i32>) -> S3Result<u32> {
    let wanted = wanted.unwrap_or(LIST_KEYS_MAX as i32);
    let wanted =
        u32::try_from(wanted).map_err(|_| WireError::InvalidArgument("A page cannot have less than 0 keys"))?;
    Ok(wanted.min(LIST_KEYS_MAX))
}

pub(super) fn prefixes(prefixes: &[Bytes], names: Names) -> Vec<CommonPrefix> {
    prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(names.show(prefix)) }).collect()
}

fn object(found: ListedObject, names: Names, owner: Option<Owner>) -> Object {
    Object {
        key: Some(names.show(&found.key)),
        size: Some(found.size as i64),
        last_modified: Some(time(found.mtime)),
        e_tag: Some(etag(found.etag)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        owner,
        ..Object::default()
    }
}

fn to_token(after: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(after)
}

fn from_token(token: &str) -> S3Result<Bytes> {
    let after = URL_SAFE_NO_PAD.decode(token).ok().filter(|after| !after.is_empty());
    Ok(after.ok_or(WireError::InvalidArgument("The continuation token provided is incorrect"))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_asked() {
        let name = "a b+%/ü~".as_bytes();
        assert_eq!(Names::Url.show(name), "a%20b%2B%25/%C3%BC~");
        assert_eq!(Names::Plain.show(name), "a b+%/ü~");
        assert_eq!(Names::Plain.show(b"a\xff\xfeb"), "a%FF%FEb");
    }

    #[test]
    fn a_token_comes_back_and_no_other_text_is_one() {
        assert_eq!(from_token(&to_token(b"a/\xff")).expect("ours"), &b"a/\xff"[..]);
        assert!(from_token("").is_err());
        assert!(from_token("a b").is_err());
    }
}
