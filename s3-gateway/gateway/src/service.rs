//! One request: screened, handed to the S3 library, its answer finished.

use crate::auth::{Gate, Keys};
use crate::body::{BodyWatch, Document, Reading, RequestBody, SharedIncoming, SignedBody};
use crate::config::GatewayConfig;
use crate::convert::{content_md5, header_checksum};
use crate::framing::{Framing, FramingKind};
use crate::lcp::Books;
use crate::metrics;
use crate::operations::{Notes, Operations};
use crate::request::Request;
use crate::s3_error;
use crate::screen::screen;
use bytes::{Bytes, BytesMut};
use gateway_core::Store;
use gateway_core::checksum::Digests;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPECT, SERVER};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use parking_lot::Mutex;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, S3Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// Of a refused body so much is still read, so that the client gets to read why.
const UNWANTED_BYTES_MAX: u64 = 1 << 20;
const UNWANTED_WAIT: Duration = Duration::from_secs(1);

/// What all connections share.
pub(crate) struct Service {
    library: S3Service,
    books: Option<Books>,
    config: GatewayConfig,
    signed: Arc<Semaphore>,
}

impl Service {
    pub(crate) fn new(store: &Store, config: GatewayConfig, books: Option<Books>) -> Self {
        let notes = Notes::new(books.as_ref().map(|books| books.lending.clone()));
        let mut builder = S3ServiceBuilder::new(Operations::new(store.clone(), notes, config.region.clone()));
        builder.set_auth(Keys(store.clone()));
        builder.set_access(Gate(store.clone()));
        let mut limits = S3Config::default();
        // The gateway's own bound comes first and is answered as what it is.
        limits.xml_max_body_size = config.xml_bytes_max + 1;
        // Forms never reach the library; these bounds are for the day one does.
        limits.post_object_max_file_size = 0;
        limits.form_max_field_size = 8 << 10;
        limits.form_max_fields_size = 64 << 10;
        limits.form_max_parts = 64;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(limits))));
        let signed = Arc::new(Semaphore::new(config.signed_bytes_max / 1024));
        Service { library: builder.build(), books, config, signed }
    }

    /// What goes on beside requests, until `stop` is ready.
    pub(crate) async fn work(&self, stop: impl Future<Output = ()> + Send + Clone) {
        if let Some(books) = &self.books {
            books.work(stop).await;
        }
    }

    /// Counts what is looked up to be counted, for ever.
    pub(crate) async fn count(&self) {
        if let Some(books) = &self.books {
            books.count().await;
        }
    }

    /// Answers a request. An error ends the connection.
    pub(crate) async fn call(
        &self,
        request: http::Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Body>, HttpError> {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        if let Some(books) = self.books.as_ref().filter(|_| Books::takes(&parts)) {
            return Ok(books.call(parts, body, Some(peer)).await);
        }
        let kind = signed_body(&parts);
        let note = Request::new(format!("{:016X}", rand::random::<u64>()), BodyWatch::new(kind));
        let outline = Outline::of(&parts, &body);
        let body = Arc::new(Mutex::new(body));
        let answer = match self.prepare(&parts, &body, kind, &note) {
            Ok(prepared) => {
                let mut request = http::Request::from_parts(parts, prepared);
                request.extensions_mut().insert(note.clone());
                self.library.call(request).await?
            }
            Err(error) => error.to_http_response().map_err(|error| HttpError::new(Box::new(error)))?,
        };
        let answer = finish(answer, &note, &outline)?;
        if !answer.status().is_success() {
            drain(&body, &outline).await;
        }
        metrics::done(&metrics::Done {
            operation: note.operation(),
            status: answer.status(),
            took: began.elapsed(),
            received: outline.length,
            sent: answer.body().size_hint().exact().unwrap_or(0),
        });
        tracing::debug!(
            req = note.id,
            op = note.operation(),
            status = answer.status().as_u16(),
            micros = began.elapsed().as_micros() as u64,
            "answered"
        );
        Ok(answer)
    }

    fn prepare(&self, parts: &Parts, body: &SharedIncoming, kind: SignedBody, note: &Request) -> S3Result<Body> {
        screen(parts, &self.config.region).map_err(|error| s3_error::screened(&error, &self.config.region))?;
        let reading = match framing(parts, kind, &self.config, &self.signed) {
            Some(kind) => Reading::Framed(Framing::new(kind)),
            None if is_document(parts) => Reading::Document(document(parts, self.config.xml_bytes_max)?),
            None => Reading::Plain,
        };
        let body = RequestBody::new(body.clone(), reading, note.body.clone(), self.config.body_timeout);
        Ok(Body::http_body_unsync(body))
    }
}

/// What of a request is needed after it is gone.
struct Outline {
    path: String,
    length: u64,
    waits: bool,
    is_head: bool,
}

impl Outline {
    fn of(parts: &Parts, body: &Incoming) -> Self {
        Outline {
            path: parts.uri.path().to_owned(),
            length: body.size_hint().exact().unwrap_or(u64::MAX),
            waits: parts.headers.contains_key(EXPECT),
            is_head: parts.method == Method::HEAD,
        }
    }
}

fn content_sha256(parts: &Parts) -> &[u8] {
    parts.headers.get("x-amz-content-sha256").map_or(b"", HeaderValue::as_bytes)
}

fn signed_body(parts: &Parts) -> SignedBody {
    match content_sha256(parts) {
        b"" | b"UNSIGNED-PAYLOAD" => SignedBody::Plain,
        hash if hash.starts_with(b"STREAMING-") => SignedBody::Chunks,
        _ => SignedBody::Hash,
    }
}

fn framing(parts: &Parts, kind: SignedBody, config: &GatewayConfig, budget: &Arc<Semaphore>) -> Option<FramingKind> {
    match (kind, content_sha256(parts)) {
        (SignedBody::Chunks, b"STREAMING-UNSIGNED-PAYLOAD-TRAILER") => Some(FramingKind::Unsigned),
        (SignedBody::Chunks, _) => {
            Some(FramingKind::Signed { chunk_bytes_max: config.signed_chunk_bytes_max, budget: budget.clone() })
        }
        (SignedBody::Plain | SignedBody::Hash, _) => None,
    }
}

/// Whether the library reads the body by itself: everything but an object or a part.
fn is_document(parts: &Parts) -> bool {
    let has_key = parts.uri.path().trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    parts.method == Method::POST || !has_key
}

/// The digests a document must have; the library takes it without looking at them.
fn document(parts: &Parts, bytes_max: usize) -> S3Result<Document> {
    let md5 = content_md5(parts.headers.get("content-md5").map(|value| value.to_str().unwrap_or_default()))?;
    // The checksum of a completion is the object's, not the document's.
    let completes = parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("uploadId=")));
    let checksum = if completes { None } else { header_checksum(&parts.headers)? };
    let running = Digests::new(checksum.as_ref().map(|checksum| checksum.algorithm));
    Ok(Document { left: bytes_max, md5, checksum, running })
}

/// Gives an answer what the library leaves out.
fn finish(mut answer: Response<Body>, note: &Request, outline: &Outline) -> Result<Response<Body>, HttpError> {
    // A document's fault reaches us as an internal error of the library.
    if answer.status() == StatusCode::INTERNAL_SERVER_ERROR
        && let Some(fault) = note.body.fault()
    {
        answer = s3_error::document(fault).to_http_response().map_err(|error| HttpError::new(Box::new(error)))?;
    }
    let status = answer.status();
    if status == StatusCode::OK && outline.is_head && answer.headers().contains_key(CONTENT_RANGE) {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if status == StatusCode::NOT_MODIFIED {
        *answer.body_mut() = Body::empty();
        answer.headers_mut().remove(CONTENT_LENGTH);
        answer.headers_mut().remove(CONTENT_TYPE);
    } else if status.is_client_error() || status.is_server_error() {
        if let Some(body) = answer.body().bytes() {
            *answer.body_mut() = Body::from(with_details(&body, note, outline));
            answer.headers_mut().remove(CONTENT_LENGTH);
        }
        answer.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/xml"));
    }
    // A client that waits for "continue" and gets an answer instead may be confused by the next one on this connection
    // (botocore is); S3 itself ends it too.
    if outline.waits && (outline.length == 0 || !note.body.begun()) {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(id) = HeaderValue::from_str(&note.id) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer.headers_mut().insert(SERVER, HeaderValue::from_static("Sago"));
    Ok(answer)
}

/// Resource and request id, which the library does not know.
fn with_details(xml: &Bytes, note: &Request, outline: &Outline) -> Bytes {
    const END: &[u8] = b"</Error>";
    let Some(head) = xml.strip_suffix(END) else { return xml.clone() };
    let mut out = BytesMut::from(head);
    out.extend_from_slice(b"<Resource>");
    for byte in outline.path.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            // Anything else was percent-encoded by the client, or it would not have been a URI.
            byte if byte.is_ascii_graphic() => out.extend_from_slice(&[byte]),
            _ => {}
        }
    }
    out.extend_from_slice(b"</Resource><RequestId>");
    out.extend_from_slice(note.id.as_bytes());
    out.extend_from_slice(b"</RequestId>");
    out.extend_from_slice(END);
    out.freeze()
}

/// Reads what is left of a small body that is not wanted. A client that is still sending when the connection is closed
/// may never see the answer; one that waits for "continue" is not sending.
async fn drain(body: &SharedIncoming, outline: &Outline) {
    if outline.length > UNWANTED_BYTES_MAX || outline.waits {
        return;
    }
    let rest = async {
        while let Some(Ok(_)) = std::future::poll_fn(|cx| {
            let mut body = body.lock();
            hyper::body::Body::poll_frame(std::pin::Pin::new(&mut *body), cx)
        })
        .await
        {}
    };
    drop(tokio::time::timeout(UNWANTED_WAIT, rest).await);
}

/// An answer to what is no S3 request.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::from(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}
