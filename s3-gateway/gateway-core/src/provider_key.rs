//! The provider's certificate and the key that signs licences.
//!
//! ```text
//! certificate (PEM or DER) ─┐ read, matched by a trial ─▶ ProviderKey ── drm::Signer
//! key (PKCS #8, PEM) ───────┘                                 ▲ swapped whole by a reload
//!                                                        ProviderKeys
//! ```
//! A pair is taken if the key is that of the certificate. Whether it may sign depends on the time: outside of the certificate's validity nothing is issued, since
//! readers would call the signature wrong and their buyers could not know better. A pair that is read anew must be valid at that moment, or the old one stays.
//!
//! A new certificate signs nothing by itself: licences that were issued stay as they are and are good, for readers look at the time of their last change. One that is
//! signed again and last changed before the new certificate begins gets its beginning as `updated` (`drm::licence::Unsigned::sign`).
//!
//! `ring` keeps the key in memory that it does not wipe.

mod holder;
mod read;

pub use holder::{END_NEAR_DAYS, ProviderKeys};

use crate::secret_file::SecretFileError;
use drm::Signer;
use drm::certificate::{BadCertificate, Certificate, OutsideValidity};
use drm::licence::{SigningError, check_signer};
use drm::signature::{Algorithm, SignerFailed};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a certificate and key are not used.
#[derive(Debug, thiserror::Error)]
pub enum ProviderKeyError {
    /// The key's file cannot be read, or others can read it too.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// The certificate's file cannot be read.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not of the form that it should be.
    #[error("{path}: {fault}")]
    Form {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        fault: FormFault,
    },
    /// The certificate is none that signs licences.
    #[error("{path}")]
    Certificate {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: BadCertificate,
    },
    /// The key is none for this certificate: of another kind or size, or damaged.
    #[error("{path}: the key is not one of {wanted} ({reason})")]
    Key {
        /// Its file.
        path: PathBuf,
        /// What the certificate asks for.
        wanted: &'static str,
        /// What is wrong, in a word; nothing of the key is in it.
        reason: &'static str,
    },
    /// The key is not the certificate's.
    #[error("{key} does not sign for {certificate}")]
    OtherKey {
        /// File of the key.
        key: PathBuf,
        /// File of the certificate.
        certificate: PathBuf,
        /// What came of the trial.
        #[source]
        source: Box<SigningError>,
    },
    /// A pair that is to take the place of another is not valid now.
    #[error("{path}")]
    Dates {
        /// File of the certificate.
        path: PathBuf,
        /// When it is.
        #[source]
        source: OutsideValidity,
    },
}

/// What is wrong with a file of a certificate or key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormFault {
    /// Neither a certificate in PEM nor DER.
    #[error("there is no certificate in it, neither PEM nor DER")]
    NoCertificate,
    /// A chain: a licence holds one certificate.
    #[error("there is more than one certificate in it; leave the provider's alone")]
    Certificates,
    /// A root's: reading apps take licences from providers alone.
    #[error("the certificate is that of an authority, and no reading app takes a licence signed with it")]
    Authority,
    /// No private key in PEM.
    #[error("there is no private key in it (PEM, \"PRIVATE KEY\")")]
    NoKey,
    /// Two private keys.
    #[error("there is more than one private key in it")]
    Keys,
    /// A private key in one of the older forms.
    #[error("the private key is not in PKCS #8; convert it: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW")]
    Older,
    /// A private key under a password.
    #[error(
        "the private key is under a password; a gateway has nobody to ask: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW"
    )]
    Encrypted,
    /// Broken PEM.
    #[error("its PEM is broken")]
    Pem,
}

enum PrivateKey {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
}

/// A provider's certificate and the key that goes with it.
pub struct ProviderKey {
    certificate: Certificate,
    key: PrivateKey,
}

impl ProviderKey {
    /// Reads a certificate (PEM or DER) and its key: PKCS #8 in PEM, RSA of 2048 to 4096 bits or ECDSA on P-256, in a file that other users cannot reach. That
    /// the key is the certificate's is found out by a trial. Dates are not looked at.
    ///
    /// # Errors
    /// [`ProviderKeyError`].
    pub fn load(certificate_file: &Path, key_file: &Path) -> Result<Self, ProviderKeyError> {
        let certificate = read::certificate(certificate_file)?;
        let key = read::key(key_file, certificate.algorithm())?;
        let loaded = ProviderKey { certificate, key };
        // At a moment of its validity, since that is another question.
        let within = loaded.certificate.validity().0;
        check_signer(&loaded, within).map_err(|source| ProviderKeyError::OtherKey {
            key: key_file.to_owned(),
            certificate: certificate_file.to_owned(),
            source: Box::new(source),
        })?;
        Ok(loaded)
    }

    /// The certificate.
    #[must_use]
    pub fn parsed_certificate(&self) -> &Certificate {
        &self.certificate
    }
}

impl Signer for ProviderKey {
    fn algorithm(&self) -> Algorithm {
        match self.key {
            PrivateKey::Rsa(_) => Algorithm::RsaSha256,
            PrivateKey::Ecdsa(_) => Algorithm::EcdsaSha256,
        }
    }

    fn certificate(&self) -> &[u8] {
        self.certificate.der()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFailed> {
        let random = SystemRandom::new();
        let failed = |_| SignerFailed("no random bytes, or a key that cannot sign".into());
        match &self.key {
            PrivateKey::Rsa(key) => {
                let mut value = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut value).map_err(failed)?;
                Ok(value)
            }
            PrivateKey::Ecdsa(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (subject, serial) = (self.certificate.subject(), self.certificate.serial());
        f.debug_struct("ProviderKey").field("subject", &subject).field("serial", &serial).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
