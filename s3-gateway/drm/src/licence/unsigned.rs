//! A document before and after it is signed.

use super::{BadGrant, DOCUMENT_BYTES_MAX};
use crate::canonical::canonical_object;
use crate::certificate::{BadCertificate, Certificate, OutsideValidity};
use crate::rfc3339::{self, whole_seconds};
use crate::signature::{self, Signature, Signer, SignerFailed, WrongSignature};
use serde_json::{Map, Value};
use types::Timestamp;

/// Bytes that a document must leave for its signature: RSA-4096 with a certificate of four thousand bytes takes seven thousand.
const SIGNATURE_BYTES: usize = 8 << 10;

/// When a document changes that last changed at `last`: now, but never in the same second, or a reader would take the older of two for the newer.
#[must_use]
pub fn next_change(last: Timestamp, now: Timestamp) -> Timestamp {
    whole_seconds(now).max(Timestamp::from_secs(last.secs().saturating_add(1), 0))
}

/// Why a document is not signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The provider's certificate cannot be read.
    #[error("the provider's certificate")]
    Certificate(#[from] BadCertificate),
    /// Now, or the time of the document, is not within the validity of the certificate.
    #[error("no licence is issued with that certificate")]
    Validity(#[from] OutsideValidity),
    /// The key does not sign.
    #[error(transparent)]
    Signer(#[from] SignerFailed),
    /// The key is not that of the certificate.
    #[error("the provider's key is not that of his certificate")]
    OtherKey(#[from] WrongSignature),
    /// With its signature the document is too long.
    #[error("the licence would have {bytes} bytes, over {DOCUMENT_BYTES_MAX}")]
    Long {
        /// How many it would have.
        bytes: usize,
    },
}

/// Whether a signer can issue at `now`: its certificate can be read and is valid, and its key is that of the certificate. For a server's start, and whenever it
/// reads certificate and key anew. Whether the root of the reading apps signed the certificate says [`crate::certificate::Root::signed`].
///
/// # Errors
/// [`SigningError`].
pub fn check_signer(signer: &dyn Signer, now: Timestamp) -> Result<Certificate, SigningError> {
    let certificate = Certificate::parse(signer.certificate())?;
    certificate.may_issue(now)?;
    // No canonical text of a licence, so that it is good for nothing.
    signed("a trial", signer, &certificate)?;
    Ok(certificate)
}

/// A document without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    members: Map<String, Value>,
    last_change: Timestamp,
}

impl Unsigned {
    /// Of the members of a document, which are sound.
    pub(super) fn new(members: Map<String, Value>) -> Result<Self, BadGrant> {
        let date = |name: &str| members.get(name).and_then(Value::as_str).and_then(|text| rfc3339::read(text).ok());
        let last_change = date("updated").or_else(|| date("issued")).unwrap_or_default();
        let unsigned = Unsigned { members, last_change };
        let bytes = unsigned.text().len() + SIGNATURE_BYTES;
        if bytes > DOCUMENT_BYTES_MAX {
            return Err(BadGrant::Long { bytes });
        }
        Ok(unsigned)
    }

    /// What is signed: the canonical text.
    #[must_use]
    pub fn text(&self) -> String {
        written(&self.members)
    }

    /// `updated`, or else `issued`.
    #[must_use]
    pub fn last_change(&self) -> Timestamp {
        self.last_change
    }

    /// Signs the document, at `now`.
    ///
    /// One that last changed before the certificate begins gets the beginning as `updated`, since readers check the certificate at the time of the last change.
    /// The signature is checked before it is given out, so that a key that is not the certificate's is found here and not by readers.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn sign(mut self, signer: &dyn Signer, now: Timestamp) -> Result<Issued, SigningError> {
        let certificate = Certificate::parse(signer.certificate())?;
        certificate.may_issue(now)?;
        if let Some(start) = certificate.moves_change_to(self.last_change) {
            self.members.insert("updated".to_owned(), rfc3339::write(start).into());
            self.last_change = start;
        }
        certificate.valid_at(self.last_change)?;
        let signature = signed(&self.text(), signer, &certificate)?;
        self.members.insert("signature".to_owned(), signature.to_json());
        let document = written(&self.members);
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(SigningError::Long { bytes: document.len() });
        }
        Ok(Issued { document, last_change: self.last_change })
    }
}

fn signed(text: &str, signer: &dyn Signer, certificate: &Certificate) -> Result<Signature, SigningError> {
    if signer.algorithm() != certificate.algorithm() {
        return Err(SigningError::OtherKey(WrongSignature));
    }
    let value = signer.sign(text.as_bytes())?;
    signature::verify(signer.algorithm(), certificate.public_key(), text.as_bytes(), &value)?;
    Ok(Signature { algorithm: signer.algorithm(), certificate: certificate.der().to_vec(), value })
}

fn written(members: &Map<String, Value>) -> String {
    canonical_object(members, None).expect("what is built or was read has integers only and is not deep")
}

/// A signed document, as it is kept, spliced into a publication and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Its text, canonical, with the signature.
    pub document: String,
    /// Its `updated`, or else its `issued`: what the status document says of it.
    pub last_change: Timestamp,
}
