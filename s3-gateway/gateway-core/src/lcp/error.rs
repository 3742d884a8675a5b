//! What can go wrong with books.

use super::TokenFault;
use crate::error::{BucketError, ClusterError, ObjectError};
use crate::keyring::KeyError;
use drm::licence::{BadGrant, BadLicence, SigningError};
use drm::splice::SpliceError;
use drm::status::Refusal;

/// Why a request about titles, licences or downloads was not carried out. Nothing was changed, but for an outcome that is unknown
/// ([`ClusterError::Unavailable`]): all requests may then be made again.
#[derive(Debug, thiserror::Error)]
pub enum LcpError {
    /// The cluster's fault.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// No such title, or none that the caller may see.
    #[error("no such title")]
    NoSuchTitle,
    /// No such licence.
    #[error("no such licence")]
    NoSuchLicence,
    /// A title of that id is there, with another content key.
    #[error("there is a title {0} with another content key: licences that were issued would not open it")]
    OtherKey(String),
    /// Licences of the title are open.
    #[error("licences of the title are still open")]
    InUse,
    /// The title has no package yet.
    #[error("the title is not protected yet")]
    NotReady,
    /// The title cannot be protected; it is not offered.
    #[error("the title cannot be protected: {0}")]
    Unprotectable(String),
    /// The package is kept elsewhere.
    #[error("the package of the title is not kept here")]
    Elsewhere,
    /// A field of the request.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// What was asked for cannot stand in a licence.
    #[error(transparent)]
    Grant(#[from] BadGrant),
    /// No licence can be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The licence is open, and what was asked for would leave it out of anybody's reach.
    #[error("the licence is open: it has to be revoked first")]
    Open,
    /// A request of that name was made before, and asked for something else.
    #[error("another request was made under the same name")]
    NonceUsed,
    /// The state of the licence does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The content key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Others changed the same record again and again.
    #[error("too many changes of the same record at once, try again")]
    Contention,
    /// The caller may not.
    #[error("access denied")]
    AccessDenied,
    /// The licence does not allow a download now.
    #[error("the licence is {0}")]
    Closed(&'static str),
    /// The token that was shown opens nothing.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// Limits of the reader or of the title.
    #[error("too many downloads, try again later")]
    TooMany {
        /// After so many seconds.
        retry_seconds: u32,
    },
    /// Something stored is not what this program wrote.
    #[error("a stored record is damaged: {0}")]
    Damaged(String),
}

impl LcpError {
    /// A field of a request that cannot be used.
    pub fn invalid(field: &'static str, reason: impl ToString) -> Self {
        LcpError::Invalid { field, reason: reason.to_string() }
    }
}

impl From<BucketError> for LcpError {
    fn from(error: BucketError) -> Self {
        match error {
            BucketError::Cluster(error) => LcpError::Cluster(error),
            BucketError::AccessDenied => LcpError::AccessDenied,
            other => LcpError::Cluster(ClusterError::Unexpected(other.to_string())),
        }
    }
}

impl From<ObjectError> for LcpError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Bucket(error) => error.into(),
            other => LcpError::Cluster(ClusterError::Unexpected(other.to_string())),
        }
    }
}

impl From<SpliceError> for LcpError {
    fn from(error: SpliceError) -> Self {
        LcpError::Damaged(error.to_string())
    }
}

impl From<BadLicence> for LcpError {
    fn from(error: BadLicence) -> Self {
        LcpError::Damaged(error.to_string())
    }
}
