//! Answers.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Body as _;
use s3s::Body;
use serde_json::Value;

/// What JSON goes out as, if it is nothing more special.
pub(crate) const JSON: &str = "application/json";

/// An answer. Unless a handler says otherwise nobody keeps it: most of what is here is for one reader.
pub(crate) struct Reply(Response<Body>);

impl Reply {
    /// Some bytes.
    pub(crate) fn bytes(status: StatusCode, media_type: &str, body: Bytes) -> Self {
        let len = body.len() as u64;
        Reply::body(status, media_type, len, Body::from(body))
    }

    /// A body of that many bytes.
    pub(crate) fn body(status: StatusCode, media_type: &str, len: u64, body: Body) -> Self {
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        let reply = Reply(answer)
            .with(CACHE_CONTROL, "private, no-store")
            .with(X_CONTENT_TYPE_OPTIONS, "nosniff")
            .with(CONTENT_LENGTH, &len.to_string());
        reply.with(CONTENT_TYPE, media_type)
    }

    /// A document.
    pub(crate) fn json(status: StatusCode, media_type: &str, document: &Value) -> Self {
        Reply::bytes(status, media_type, document.to_string().into())
    }

    /// A licence, as the bytes that were signed.
    pub(crate) fn licence(status: StatusCode, document: &str) -> Self {
        let bytes = Bytes::copy_from_slice(document.as_bytes());
        let reply = Reply::bytes(status, gateway_core::lcp::LICENCE_TYPE, bytes);
        reply.with(CONTENT_DISPOSITION, "attachment; filename=\"license.lcpl\"")
    }

    /// Nothing but a status.
    pub(crate) fn empty(status: StatusCode) -> Self {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = status;
        Reply(answer).with(CACHE_CONTROL, "private, no-store")
    }

    /// Sends the client there.
    pub(crate) fn elsewhere(status: StatusCode, href: &str) -> Self {
        Reply::empty(status).with(LOCATION, href)
    }

    /// With a header more, or another one. A value that no header can carry is left out.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => drop(self.0.headers_mut().insert(name, value)),
            Err(error) => tracing::debug!(%name, %error, "a header was left out"),
        }
        self
    }

    /// With that body, of the length that it was made with.
    pub(crate) fn with_body(mut self, body: Body) -> Self {
        *self.0.body_mut() = body;
        self
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub(super) fn into_response(self) -> Response<Body> {
        self.0
    }

    /// As HEAD has it: with the length of what GET would send.
    pub(super) fn without_body(mut self) -> Response<Body> {
        let len = self.0.body().size_hint().exact().filter(|_| self.status() != StatusCode::NOT_MODIFIED);
        if let Some(len) = len {
            self.0.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(len));
        }
        *self.0.body_mut() = Body::empty();
        self.0
    }
}
