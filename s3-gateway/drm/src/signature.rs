//! Signatures of licences.
//!
//! The private key stands in a higher layer, behind [`Signer`]. Here is what a signature looks like and how it is checked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::{Value, json};
use std::error::Error;

/// Characters of a certificate or a value, base64: room for a certificate of twelve thousand bytes, several times what a key of RSA-8192 needs.
const BASE64_CHARS_MAX: usize = 16 << 10;

/// How a licence is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA PKCS #1 v1.5 with SHA-256: what every reader knows.
    RsaSha256,
    /// ECDSA on P-256 with SHA-256; the value is `r` and `s`, 32 bytes each, not DER.
    EcdsaSha256,
}

impl Algorithm {
    /// The URI by which licences name it.
    #[must_use]
    pub fn uri(self) -> &'static str {
        match self {
            Algorithm::RsaSha256 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            Algorithm::EcdsaSha256 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
        }
    }

    /// The algorithm of a URI, if it is one of these.
    #[must_use]
    pub fn of_uri(uri: &str) -> Option<Self> {
        [Algorithm::RsaSha256, Algorithm::EcdsaSha256].into_iter().find(|algorithm| algorithm.uri() == uri)
    }
}

/// The key or its device did not sign.
#[derive(Debug, thiserror::Error)]
#[error("the provider's key did not sign")]
pub struct SignerFailed(#[source] pub Box<dyn Error + Send + Sync>);

/// The provider's private key, and the certificate that goes with it.
pub trait Signer {
    /// How it signs; that of the key in the certificate.
    fn algorithm(&self) -> Algorithm;

    /// The provider's certificate, DER.
    fn certificate(&self) -> &[u8];

    /// Signs `message`, which is hashed on the way. The value has the form that [`Algorithm`] says.
    ///
    /// # Errors
    /// [`SignerFailed`].
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFailed>;
}

/// The value is none of that key over that message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not that of the certificate's key over this text")]
pub struct WrongSignature;

/// Checks a value against a public key as a certificate holds it (of RSA: the PKCS #1 structure, 2048 to 8192 bits; of P-256: the uncompressed point).
///
/// # Errors
/// [`WrongSignature`], also for a key of another kind.
pub fn verify(algorithm: Algorithm, public_key: &[u8], message: &[u8], value: &[u8]) -> Result<(), WrongSignature> {
    let verification: &dyn VerificationAlgorithm = match algorithm {
        Algorithm::RsaSha256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::EcdsaSha256 => &ECDSA_P256_SHA256_FIXED,
    };
    UnparsedPublicKey::new(verification, public_key).verify(message, value).map_err(|_| WrongSignature)
}

/// What cannot be read as the `signature` of a licence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// No object of exactly `algorithm`, `certificate` and `value`, each a text.
    #[error("a signature has an algorithm, a certificate and a value, and nothing else")]
    Shape,
    /// Signed in a way that is not known here.
    #[error("licences are not signed with that algorithm")]
    Algorithm,
    /// Certificate or value is no base64, or far too long.
    #[error("the certificate or the value of a signature is no base64 of a sensible length")]
    Base64,
}

/// The `signature` of a licence. Nothing is said of its being right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// How it was made.
    pub algorithm: Algorithm,
    /// The provider's certificate, DER.
    pub certificate: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

impl Signature {
    /// Reads the member of a licence.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn read(member: &Value) -> Result<Self, BadSignature> {
        let object = member.as_object().filter(|object| object.len() == 3).ok_or(BadSignature::Shape)?;
        let text = |name| object.get(name).and_then(Value::as_str).ok_or(BadSignature::Shape);
        let (algorithm, certificate, value) = (text("algorithm")?, text("certificate")?, text("value")?);
        let algorithm = Algorithm::of_uri(algorithm).ok_or(BadSignature::Algorithm)?;
        Ok(Signature { algorithm, certificate: decode(certificate)?, value: decode(value)? })
    }

    /// The member of a licence.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "algorithm": self.algorithm.uri(),
            "certificate": STANDARD.encode(&self.certificate),
            "value": STANDARD.encode(&self.value),
        })
    }
}

fn decode(text: &str) -> Result<Vec<u8>, BadSignature> {
    if text.len() > BASE64_CHARS_MAX {
        return Err(BadSignature::Base64);
    }
    STANDARD.decode(text).map_err(|_| BadSignature::Base64)
}

#[cfg(test)]
mod tests;
