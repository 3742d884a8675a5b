//! The client itself.

use super::sign::{Credentials, Signed, Signer, amz_date, encode_path, encode_query};
use super::{S3Error, xml};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::{Body, Method, Response, StatusCode};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::timeout;

/// Longest silence of a server before a request counts as failed. Twice the deadline of the cluster's own calls (10 s), so that an
/// answer that is merely late still tells its outcome.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// The slowest that a body may be taken without counting as silence: 256 KiB a second.
const BODY_BYTES_PER_SECOND_MIN: u64 = 256 << 10;
/// A piece of a repeated body.
const PIECE_BYTES: usize = 1 << 20;

/// A body and its SHA-256, so that sending it a thousand times hashes it once.
#[derive(Clone, Debug)]
pub struct Payload {
    block: Bytes,
    repeat: u64,
    hash: Arc<str>,
    /// Between two blocks.
    pause: Duration,
}

impl Payload {
    /// One piece of bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let block = bytes.into();
        let hash = hex::encode(Sha256::digest(&block)).into();
        Self { block, repeat: 1, hash, pause: Duration::ZERO }
    }

    /// `len` bytes (a multiple of 1 MiB) made by sending one random MiB again and again: large bodies without large memory.
    ///
    /// # Panics
    /// If `len` is not a multiple of 1 MiB.
    #[must_use]
    pub fn repeated(len: u64, rng: &mut impl rand::RngCore) -> Self {
        assert_eq!(len % PIECE_BYTES as u64, 0, "a repeated body is a multiple of 1 MiB");
        let mut block = vec![0; PIECE_BYTES];
        rng.fill_bytes(&mut block);
        Self::blocks(block.into(), len / PIECE_BYTES as u64, Duration::ZERO)
    }

    /// `block` again and again with a pause after each: a client on a bad line.
    #[must_use]
    pub fn slow(block: impl Into<Bytes>, repeat: u64, pause: Duration) -> Self {
        Self::blocks(block.into(), repeat, pause)
    }

    fn blocks(block: Bytes, repeat: u64, pause: Duration) -> Self {
        let mut hash = Sha256::new();
        for _ in 0..repeat {
            hash.update(&block);
        }
        Self { block, repeat, hash: hex::encode(hash.finalize()).into(), pause }
    }

    /// `len` random bytes.
    #[must_use]
    pub fn random(len: usize, rng: &mut impl rand::RngCore) -> Self {
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        Self::new(bytes)
    }

    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.block.len() as u64 * self.repeat
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn body(&self) -> Body {
        if self.repeat == 1 {
            return self.block.clone().into();
        }
        let (block, pause) = (self.block.clone(), self.pause);
        let pieces = futures::stream::iter(0..self.repeat).then(move |_| {
            let block = block.clone();
            async move {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                Ok::<_, std::io::Error>(block)
            }
        });
        Body::wrap_stream(pieces)
    }

    /// How long a server may take to answer it.
    fn patience(&self) -> Duration {
        let pauses = self.pause.saturating_mul(u32::try_from(self.repeat).unwrap_or(u32::MAX));
        SILENCE_MAX + pauses + Duration::from_secs(self.len() / BODY_BYTES_PER_SECOND_MIN)
    }
}

/// A body that was read and forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Time to its first byte, or to its end if it has none.
    pub first: Duration,
    /// Bytes.
    pub bytes: u64,
}

impl Drained {
    /// Reads an answer to its end. The request was made at `started`.
    ///
    /// # Errors
    /// [`S3Error`]; a body shorter than announced is [`S3Error::Transport`].
    pub async fn of(mut response: Response, started: Instant) -> Result<Self, S3Error> {
        let (mut first, mut bytes) = (None, 0);
        while let Some(piece) = piece(&mut response).await? {
            first.get_or_insert_with(|| started.elapsed());
            bytes += piece.len() as u64;
        }
        Ok(Drained { first: first.unwrap_or_else(|| started.elapsed()), bytes })
    }
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Keys in the order they came.
    pub keys: Vec<String>,
    /// Common prefixes in the order they came.
    pub prefixes: Vec<String>,
    /// How to go on; none on the last page.
    pub next: Option<String>,
}

/// A client of one endpoint with one key pair. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct S3Client {
    http: reqwest::Client,
    endpoint: Arc<str>,
    host: Arc<str>,
    signer: Arc<Mutex<Signer>>,
    /// Seconds by which its clock is ahead.
    ahead: i64,
}

impl S3Client {
    /// A client of `endpoint`, such as `http://127.0.0.1:9000`.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(endpoint: &str, credentials: Credentials) -> Result<Self, S3Error> {
        let http = Self::http()?;
        let endpoint = endpoint.trim_end_matches('/');
        let host = endpoint.split("://").last().unwrap_or(endpoint);
        Ok(Self {
            http,
            endpoint: endpoint.into(),
            host: host.into(),
            signer: Arc::new(Mutex::new(Signer::new(credentials))),
            ahead: 0,
        })
    }

    /// What it speaks HTTP with.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn http() -> Result<reqwest::Client, S3Error> {
        // Another part of the process may have chosen the provider already; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().no_proxy().http1_only().tcp_nodelay(true);
        Ok(builder.retry(reqwest::retry::never()).build()?)
    }

    /// The same client with a clock that is so many seconds ahead, or behind if negative: what it signs is of that time.
    #[must_use]
    pub fn with_clock(mut self, ahead: i64) -> Self {
        self.ahead = ahead;
        self
    }

    /// Creates a bucket.
    ///
    /// # Errors
    /// [`S3Error`], also if it exists.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), S3Error> {
        self.send(Method::PUT, &format!("/{bucket}"), &[], &[], None).await.map(drop)
    }

    /// Stores an object and returns its ETag.
    ///
    /// # Errors
    /// [`S3Error`]; unless the server refused the request as such (4xx) the outcome is unknown.
    pub async fn put(&self, bucket: &str, key: &str, payload: &Payload) -> Result<String, S3Error> {
        let response = self.send(Method::PUT, &format!("/{bucket}/{key}"), &[], &[], Some(payload)).await?;
        Ok(header(&response, "etag"))
    }

    /// As [`Self::put`] with headers, whose names are in lower case.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn put_with(
        &self,
        bucket: &str,
        key: &str,
        payload: &Payload,
        headers: &[(&str, &str)],
    ) -> Result<String, S3Error> {
        let response = self.send(Method::PUT, &format!("/{bucket}/{key}"), &[], headers, Some(payload)).await?;
        Ok(header(&response, "etag"))
    }

    /// Some headers of an object, in the order asked for; empty where there is none.
    ///
    /// # Errors
    /// [`S3Error`].
    pub async fn head_of(&self, bucket: &str, key: &str, names: &[&str]) -> Result<Vec<String>, S3Error> {
        let response = self.send(Method::HEAD, &format!("/{bucket}/{key}"), &[], &[], None).await?;
        Ok(names.iter().map(|name| header(&response, name)).collect())
    }

    /// Deletes up to 1,000 objects at once. Returns the codes of those that were refused.
    ///
    /// # Errors
    /// [`S3Error`]; the outcome is unknown.
    pub async fn delete_many(&self, bucket: &str, keys: &[String]) -> Result<Vec<String>, S3Error> {
        let objects: String =
            keys.iter().map(|key| format!("<Object><Key>{}</Key></Object>", xml::escape(key))).collect();
        let body = Payload::new(format!("<Delete><Quiet>true</Quiet>{objects}</Delete>"));
        let response = self.send(Method::POST, &format!("/{bucket}"), &[("delete", "")], &[], Some(&body)).await?;
        let text = text(response).await?;
        Ok(xml::all(&text, "Code").collect())
    }

    /// Deletes an empty bucket.
    ///
    /// # Errors
    /// [`S3Error`].
    pub async fn delete_bucket(&self, bucket: &str) -> Result<(), S3Error> {
        self.send(Method::DELETE, &format!("/{bucket}"), &[], &[], None).await.map(drop)
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// [`S3Error`]; a body shorter than announced is [`S3Error::Transport`].
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, S3Error> {
        whole(self.send(Method::GET, &format!("/{bucket}/{key}"), &[], &[], None).await?).await
    }

    /// Reads `len` bytes from `start`.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_range(&self, bucket: &str, key: &str, start: u64, len: u64) -> Result<Bytes, S3Error> {
        let range = format!("bytes={start}-{}", start + len.max(1) - 1);
        let response = self.send(Method::GET, &format!("/{bucket}/{key}"), &[], &[("range", &range)], None).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(S3Error::Malformed("a range was answered with the whole"));
        }
        whole(response).await
    }

    /// Reads a whole object and forgets it; returns the number of bytes.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn drain(&self, bucket: &str, key: &str) -> Result<u64, S3Error> {
        Ok(self.drain_timed(bucket, key, Instant::now()).await?.bytes)
    }

    /// The same, with the time from `started` to the first byte.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn drain_timed(&self, bucket: &str, key: &str, started: Instant) -> Result<Drained, S3Error> {
        Drained::of(self.send(Method::GET, &format!("/{bucket}/{key}"), &[], &[], None).await?, started).await
    }

    /// The length of an object.
    ///
    /// # Errors
    /// [`S3Error`].
    pub async fn head(&self, bucket: &str, key: &str) -> Result<u64, S3Error> {
        let response = self.send(Method::HEAD, &format!("/{bucket}/{key}"), &[], &[], None).await?;
        header(&response, "content-length").parse().map_err(|_| S3Error::Malformed("no content-length"))
    }

    /// Deletes an object; one that is not there counts as deleted.
    ///
    /// # Errors
    /// [`S3Error`]; the outcome is unknown.
    pub async fn delete(&self, bucket: &str, key: &str) -> Result<(), S3Error> {
        self.send(Method::DELETE, &format!("/{bucket}/{key}"), &[], &[], None).await.map(drop)
    }

    /// One page of at most `max` keys (ListObjectsV2).
    ///
    /// # Errors
    /// [`S3Error`].
    pub async fn list(&self, bucket: &str, prefix: &str, next: Option<&str>, max: usize) -> Result<Listing, S3Error> {
        let max = max.to_string();
        let mut query = vec![("list-type", "2"), ("prefix", prefix), ("max-keys", &max)];
        query.extend(next.map(|token| ("continuation-token", token)));
        let response = self.send(Method::GET, &format!("/{bucket}"), &query, &[], None).await?;
        let text = text(response).await?;
        let truncated = xml::first(&text, "IsTruncated").ok_or(S3Error::Malformed("no IsTruncated"))? == "true";
        let next = xml::first(&text, "NextContinuationToken");
        if truncated && next.is_none() {
            return Err(S3Error::Malformed("truncated without a token"));
        }
        let prefixes = xml::all(&text, "CommonPrefixes").filter_map(|inner| xml::first(&inner, "Prefix")).collect();
        Ok(Listing { keys: xml::all(&text, "Key").collect(), prefixes, next: next.filter(|_| truncated) })
    }

    /// Every key under a prefix.
    ///
    /// # Errors
    /// [`S3Error`] of any page.
    pub async fn list_all(&self, bucket: &str, prefix: &str) -> Result<Vec<String>, S3Error> {
        let mut page = self.list(bucket, prefix, None, 1000).await?;
        let mut keys = std::mem::take(&mut page.keys);
        while let Some(next) = page.next.take() {
            page = self.list(bucket, prefix, Some(&next), 1000).await?;
            keys.append(&mut page.keys);
        }
        Ok(keys)
    }

    /// Begins a multipart upload and returns its id.
    ///
    /// # Errors
    /// [`S3Error`].
    pub async fn create_upload(&self, bucket: &str, key: &str) -> Result<String, S3Error> {
        let response = self.send(Method::POST, &format!("/{bucket}/{key}"), &[("uploads", "")], &[], None).await?;
        xml::first(&text(response).await?, "UploadId").ok_or(S3Error::Malformed("no UploadId"))
    }

    /// Stores one part and returns its ETag.
    ///
    /// # Errors
    /// [`S3Error`].
    pub async fn put_part(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
        payload: &Payload,
    ) -> Result<String, S3Error> {
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", upload)];
        let response = self.send(Method::PUT, &format!("/{bucket}/{key}"), &query, &[], Some(payload)).await?;
        Ok(header(&response, "etag"))
    }

    /// Puts the parts together; `etags` in the order of the part numbers from 1.
    ///
    /// # Errors
    /// [`S3Error`]; an error that S3 sends inside a 200 counts as refused.
    pub async fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        etags: &[String],
    ) -> Result<(), S3Error> {
        let parts: String = etags
            .iter()
            .zip(1..)
            .map(|(etag, number)| {
                format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", xml::escape(etag))
            })
            .collect();
        let body = Payload::new(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"));
        let query = [("uploadId", upload)];
        let response = self.send(Method::POST, &format!("/{bucket}/{key}"), &query, &[], Some(&body)).await?;
        let text = text(response).await?;
        match xml::first(&text, "Code") {
            Some(code) => {
                Err(S3Error::Refused { status: 200, code, message: xml::first(&text, "Message").unwrap_or_default() })
            }
            None => Ok(()),
        }
    }

    /// Signs and sends one request; an answer other than success is read and becomes an error.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        payload: Option<&Payload>,
    ) -> Result<Response, S3Error> {
        const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let (path, query) = (encode_path(path), encode_query(query));
        let moved = Duration::from_secs(self.ahead.unsigned_abs());
        let now = SystemTime::now();
        let date = amz_date(if self.ahead < 0 { now - moved } else { now + moved });
        let hash = payload.map_or(EMPTY, |payload| &payload.hash);
        let mut signed = vec![("host", &*self.host), ("x-amz-content-sha256", hash), ("x-amz-date", &date)];
        signed.extend_from_slice(headers);
        signed.sort_unstable();
        let request = Signed {
            method: method.as_str(),
            path: &path,
            query: &query,
            headers: &signed,
            payload: hash,
            date: &date,
        };
        let authorization = self.signer.lock().unwrap_or_else(PoisonError::into_inner).authorize(&request);
        let mark = if query.is_empty() { "" } else { "?" };
        let mut builder = self.http.request(method, format!("{}{path}{mark}{query}", self.endpoint));
        for (name, value) in signed.iter().filter(|(name, _)| *name != "host") {
            builder = builder.header(*name, *value);
        }
        builder = builder.header("authorization", authorization);
        if let Some(payload) = payload {
            builder = builder.header("content-length", payload.len()).body(payload.body());
        }
        let patience = payload.map_or(SILENCE_MAX, Payload::patience);
        let response = timeout(patience, builder.send()).await.map_err(|_| S3Error::Silent)??;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let text = text(response).await.unwrap_or_default();
        let field = |name| xml::first(&text, name).unwrap_or_default();
        Err(S3Error::Refused { status, code: field("Code"), message: field("Message") })
    }
}

/// The next piece of a body; none at its end.
async fn piece(response: &mut Response) -> Result<Option<Bytes>, S3Error> {
    Ok(timeout(SILENCE_MAX, response.chunk()).await.map_err(|_| S3Error::Silent)??)
}

async fn whole(mut response: Response) -> Result<Bytes, S3Error> {
    // The length is a hint of the server's: what is held grows with what has really come.
    const FIRST_BYTES_MAX: u64 = 64 << 20;
    let hint = response.content_length().unwrap_or(0).min(FIRST_BYTES_MAX);
    let mut body = BytesMut::with_capacity(hint as usize);
    while let Some(piece) = piece(&mut response).await? {
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

async fn text(response: Response) -> Result<String, S3Error> {
    String::from_utf8(whole(response).await?.into()).map_err(|_| S3Error::Malformed("not UTF-8"))
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
