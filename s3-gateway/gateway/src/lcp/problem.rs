//! Every error, as problem details. One place, no wildcard: what an error tells a client is decided here.
//!
//! Source: RFC 7807; LSD 1.0, section 3.4, for the types.

use super::reply::Reply;
use drm::licence::field::Fault;
use drm::status;
use gateway_core::ClusterError;
use gateway_core::lcp::LcpError;
use http::header::{CONTENT_RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, Response, StatusCode};
use s3s::Body;
use serde_json::json;

/// Base of the types of problems that the standards do not name.
const OWN: &str = "urn:sago:lcp:";

/// A refusal or a failure.
#[derive(Debug)]
pub(crate) struct Problem(Box<Told>);

/// What a client is told; in a box, since all functions of a route have room for it.
#[derive(Debug)]
struct Told {
    status: StatusCode,
    kind: String,
    title: String,
    detail: String,
    header: Option<(HeaderName, String)>,
}

impl Problem {
    fn own(status: StatusCode, kind: &str, title: &str) -> Self {
        let (kind, title) = (format!("{OWN}{kind}"), title.to_owned());
        Problem(Box::new(Told { status, kind, title, detail: String::new(), header: None }))
    }

    fn told(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.0.header = Some((name, value.into()));
        self
    }

    /// There is no such route.
    pub(crate) fn no_route() -> Self {
        Problem::own(StatusCode::NOT_FOUND, "route", "There is no such route")
    }

    /// There is no such licence, title or anything else.
    pub(crate) fn not_found() -> Self {
        (&status::Problem::not_found()).into()
    }

    /// There is no such title.
    pub(crate) fn no_title() -> Self {
        Problem::own(StatusCode::NOT_FOUND, "title", "There is no such title")
    }

    /// A licence that was issued elsewhere.
    pub(crate) fn not_ours() -> Self {
        Problem::own(StatusCode::UNPROCESSABLE_ENTITY, "foreign", "The licence was not issued here")
            .told("licences are issued by POST /v2/licenses, and kept as they were signed")
    }

    /// An end of a loan that is no date.
    pub(crate) fn no_end() -> Self {
        let refused = status::Refusal::RenewDevice(Fault::Date.of("end"));
        Problem::from(&status::Problem::from(&refused)).told("end is no date of RFC 3339")
    }

    /// Not with this method.
    pub(crate) fn method() -> Self {
        Problem::own(StatusCode::METHOD_NOT_ALLOWED, "method", "The route has no such method")
    }

    /// A request that cannot be understood.
    pub(crate) fn bad(detail: String) -> Self {
        Problem::own(StatusCode::BAD_REQUEST, "request", "The request cannot be understood").told(detail)
    }

    /// A body that is too long.
    pub(crate) fn too_large(bytes_max: usize) -> Self {
        Problem::own(StatusCode::PAYLOAD_TOO_LARGE, "size", "The body is too long")
            .told(format!("at most {bytes_max} bytes"))
    }

    /// Nobody has said who he is, or not so that it could be believed.
    pub(crate) fn unauthorised() -> Self {
        Problem::own(StatusCode::UNAUTHORIZED, "authentication", "Authentication is required")
            .told("HTTP Basic: an access key of the cluster and its secret")
            .with(WWW_AUTHENTICATE, "Basic realm=\"sago\", charset=\"UTF-8\"")
    }

    /// He may not.
    pub(crate) fn forbidden(detail: &str) -> Self {
        Problem::own(StatusCode::FORBIDDEN, "forbidden", "Access denied").told(detail)
    }

    /// A condition of the request does not hold.
    pub(crate) fn precondition() -> Self {
        Problem::own(StatusCode::PRECONDITION_FAILED, "precondition", "A condition of the request does not hold")
    }

    /// The range that was asked for is not there.
    pub(crate) fn range(size: u64) -> Self {
        Problem::own(StatusCode::RANGE_NOT_SATISFIABLE, "range", "There are no such bytes")
            .told(format!("there are {size}"))
            .with(CONTENT_RANGE, format!("bytes */{size}"))
    }

    /// Not now.
    pub(crate) fn unavailable() -> Self {
        Problem::own(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service cannot answer now")
            .with(RETRY_AFTER, "1")
    }

    fn server() -> Self {
        (&status::Problem::server()).into()
    }

    /// As it is sent.
    pub(super) fn into_response(self) -> Response<Body> {
        let told = *self.0;
        let mut document = json!({ "type": told.kind, "title": told.title, "status": told.status.as_u16() });
        if !told.detail.is_empty() {
            document["detail"] = told.detail.into();
        }
        let mut reply = Reply::json(told.status, status::PROBLEM_TYPE, &document);
        if let Some((name, value)) = told.header {
            reply = reply.with(name, &value);
        }
        reply.into_response()
    }
}

impl From<&status::Problem> for Problem {
    fn from(problem: &status::Problem) -> Self {
        Problem(Box::new(Told {
            status: StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            kind: problem.type_uri(),
            title: problem.title.to_owned(),
            detail: problem.detail.clone(),
            header: None,
        }))
    }
}

impl From<ClusterError> for Problem {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Unavailable | ClusterError::Busy | ClusterError::BreakerOpen => Problem::unavailable(),
            ClusterError::NoSpace => Problem::own(StatusCode::INSUFFICIENT_STORAGE, "space", "There is no space left")
                .told(error.to_string()),
            ClusterError::Level { .. } => Problem::unavailable().told(error.to_string()),
            ClusterError::Lost(_) | ClusterError::Unexpected(_) => {
                tracing::error!(%error, "the cluster failed a request about books");
                Problem::server()
            }
        }
    }
}

impl From<LcpError> for Problem {
    fn from(error: LcpError) -> Self {
        let text = error.to_string();
        match error {
            LcpError::Cluster(error) => error.into(),
            LcpError::NoSuchLicence => Problem::not_found(),
            LcpError::NoSuchTitle => Problem::no_title(),
            LcpError::OtherKey(_) => Problem::own(StatusCode::CONFLICT, "key", "The title has another key").told(text),
            LcpError::InUse => Problem::own(StatusCode::CONFLICT, "in-use", "The title has licences").told(text),
            LcpError::NotReady => {
                Problem::own(StatusCode::SERVICE_UNAVAILABLE, "protecting", "The title is being protected")
                    .told(text)
                    .with(RETRY_AFTER, "5")
            }
            LcpError::Unprotectable(_) => {
                Problem::own(StatusCode::CONFLICT, "unprotectable", "The title cannot be protected").told(text)
            }
            LcpError::Elsewhere => {
                Problem::own(StatusCode::CONFLICT, "elsewhere", "The title is not kept here").told(text)
            }
            LcpError::Invalid { .. } | LcpError::Grant(_) => Problem::bad(text),
            LcpError::Open => Problem::own(StatusCode::CONFLICT, "open", "The licence is open").told(text),
            LcpError::NonceUsed => {
                Problem::own(StatusCode::CONFLICT, "nonce", "The request is not the same").told(text)
            }
            LcpError::Refused(refusal) => (&status::Problem::from(&refusal)).into(),
            LcpError::Contention => Problem::unavailable().told(text),
            LcpError::AccessDenied => Problem::forbidden(""),
            LcpError::Closed(_) => Problem::own(StatusCode::FORBIDDEN, "closed", "The licence is not open").told(text),
            LcpError::Token(_) => Problem::own(StatusCode::FORBIDDEN, "token", "The token does not hold").told(text),
            LcpError::TooMany { retry_seconds } => {
                Problem::own(StatusCode::TOO_MANY_REQUESTS, "limit", "Too many downloads")
                    .told(text)
                    .with(RETRY_AFTER, retry_seconds.to_string())
            }
            LcpError::Signing(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no licence can be signed");
                Problem::own(StatusCode::SERVICE_UNAVAILABLE, "certificate", "No licence can be signed now")
            }
            LcpError::Key(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a key cannot be had");
                Problem::own(StatusCode::SERVICE_UNAVAILABLE, "keys", "The keys cannot be reached now")
                    .with(RETRY_AFTER, "5")
            }
            LcpError::Damaged(_) => {
                tracing::error!(%text, "a record is damaged");
                Problem::server()
            }
        }
    }
}
