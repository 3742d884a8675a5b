//! Why an endpoint could not be made, and what became of a call.

use crate::credentials::CredentialsError;
use crate::identity::Role;
use proto::rpc::Rejection;
use types::RetryClass;

/// An endpoint could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The credentials cannot be used.
    #[error("credentials")]
    Credentials(#[from] CredentialsError),
    /// Only a node accepts connections.
    #[error("{0:?} may not accept connections, only a node may")]
    NotANode(Role),
    /// TLS would not take the credentials.
    #[error("TLS set-up")]
    Tls(#[from] rustls::Error),
    /// TLS would not take the authority as one.
    #[error("TLS verifier: {0}")]
    Verifier(String),
    /// The address cannot be bound.
    #[error("socket")]
    Socket(#[from] std::io::Error),
    /// Not called from inside a tokio runtime.
    #[error("no tokio runtime")]
    NoRuntime,
    /// A setting is out of its range.
    #[error("the setting {0} is out of range")]
    Config(&'static str),
}

/// A call got no answer, or one that says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The request did not reach the peer in full: it was certainly not executed.
    #[error("not sent")]
    NotSent,
    /// The deadline passed after the request was sent; it may or may not have been executed.
    #[error("no answer before the deadline")]
    Deadline,
    /// The connection broke after the request was sent; it may or may not have been executed.
    #[error("connection lost")]
    Lost,
    /// The peer would not look at the request; it was not executed. A request larger than a frame may be is
    /// `Rejection::Malformed` without being sent.
    #[error("rejected: {0}")]
    Rejected(Rejection),
    /// The answer makes no sense; the request may or may not have been executed.
    #[error("malformed answer")]
    Malformed,
}

impl TransportError {
    /// What the caller may do about it.
    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        match self {
            TransportError::NotSent => RetryClass::RetryElsewhere,
            TransportError::Deadline | TransportError::Lost => RetryClass::Unknown,
            TransportError::Rejected(Rejection::Busy) => RetryClass::Retry,
            TransportError::Rejected(_) | TransportError::Malformed => RetryClass::Fatal,
        }
    }
}
