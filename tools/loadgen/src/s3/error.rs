//! What a request can come to.

use thiserror::Error;

/// Why a request did not succeed.
#[derive(Debug, Error)]
pub enum S3Error {
    /// The server answered with another status than success. For a write the outcome is unknown unless the code says otherwise.
    #[error("{status} {code}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The `<Code>` of the body, or empty (HEAD has no body).
        code: String,
        /// The `<Message>` of the body.
        message: String,
    },
    /// No whole answer came: time-out, cut connection, short body. The outcome of a write is unknown.
    #[error("no whole answer")]
    Transport(#[from] reqwest::Error),
    /// The server said nothing for too long. The outcome of a write is unknown.
    #[error("no answer in time")]
    Silent,
    /// The answer was complete and is not what S3 says it should be.
    #[error("malformed answer: {0}")]
    Malformed(&'static str),
}

impl S3Error {
    /// Whether the server said that there is no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}
