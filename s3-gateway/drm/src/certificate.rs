//! Certificates of LCP: a root in the reading app, the provider's certificate in the licence, and nothing between them.
//!
//! ```text
//! Root (self-signed, CA) --signs--> Certificate (of the provider) --signs--> licence
//!                        --signs--> RevocationList
//! ```
//! A certificate is checked at the time of the licence's last change (`updated`, or else `issued`), not at the reader's time: what was rightly issued stays good
//! when the certificate ends. So a provider must not issue outside the validity of his own ([`Certificate::may_issue`]).
//!
//! Source: LCP 1.0, section 5; RFC 5280.

mod chain;
mod frame;
mod revocation;

pub use chain::{BrokenChain, Root};
pub use revocation::{BadRevocationList, RevocationList};

use crate::signature::Algorithm;
use std::collections::BTreeSet;
use types::Timestamp;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// Bytes of a certificate, as [`crate::signature`] bounds it.
pub const CERTIFICATE_BYTES_MAX: usize = 12 << 10;
const DAY: i64 = 86_400;

/// What is no certificate that could sign licences or certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// No DER of one certificate, or over [`CERTIFICATE_BYTES_MAX`].
    #[error("no X.509 certificate in DER")]
    Der,
    /// Signed by a hash or a scheme that is not trusted here.
    #[error("the certificate is signed with an algorithm that is not accepted")]
    Algorithm,
    /// Its key is neither RSA nor P-256.
    #[error("the certificate's key is neither RSA nor ECDSA P-256")]
    Key,
    /// It says something critical that is not understood here, or something twice.
    #[error("the certificate has a critical extension that is not understood, or one twice")]
    Extension,
    /// A root that is no authority for certificates.
    #[error("the root certificate is none of an authority")]
    NoAuthority,
}

/// A time at which a certificate is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideValidity {
    /// It is valid only from then on.
    #[error("the certificate is valid only from {} on", crate::rfc3339::write(*.from))]
    NotYet {
        /// The first moment of its validity.
        from: Timestamp,
    },
    /// It was valid until then.
    #[error("the certificate was valid until {}", crate::rfc3339::write(*.until))]
    Expired {
        /// The last moment of its validity.
        until: Timestamp,
    },
}

/// A certificate that was read. Nothing is said of who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    /// Without leading zeros.
    serial: Vec<u8>,
    subject: String,
    not_before: Timestamp,
    not_after: Timestamp,
    algorithm: Algorithm,
    public_key: Vec<u8>,
    is_authority: bool,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`BadCertificate`].
    pub fn parse(der: &[u8]) -> Result<Self, BadCertificate> {
        let parsed = parse_der(der)?;
        sound(&parsed.signature_algorithm, &parsed.tbs_certificate.signature)
            .then_some(())
            .ok_or(BadCertificate::Algorithm)?;
        let is_authority = read_extensions(&parsed)?;
        let key = parsed.public_key();
        Ok(Certificate {
            der: der.to_vec(),
            serial: significant(parsed.raw_serial()),
            subject: parsed.subject().to_string(),
            not_before: time(parsed.validity().not_before),
            not_after: time(parsed.validity().not_after),
            algorithm: algorithm_of(key).ok_or(BadCertificate::Key)?,
            public_key: key.subject_public_key.data.to_vec(),
            is_authority,
        })
    }

    /// Its DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whose it is: a distinguished name, for people.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its serial number in hex, for people.
    #[must_use]
    pub fn serial(&self) -> String {
        hex::encode(&self.serial)
    }

    /// How its key signs licences.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its public key, as [`crate::signature::verify`] takes it.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Its first and last moments, both within its validity.
    #[must_use]
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        (self.not_before, self.not_after)
    }

    /// Whether it is valid at that time.
    ///
    /// # Errors
    /// [`OutsideValidity`].
    pub fn valid_at(&self, at: Timestamp) -> Result<(), OutsideValidity> {
        // The last second counts whole.
        let at = crate::rfc3339::whole_seconds(at);
        if at < self.not_before {
            return Err(OutsideValidity::NotYet { from: self.not_before });
        }
        if at > self.not_after {
            return Err(OutsideValidity::Expired { until: self.not_after });
        }
        Ok(())
    }

    /// Whether licences may be issued now. Readers call what is signed outside the validity a wrong signature, and its buyers cannot know better.
    ///
    /// # Errors
    /// [`OutsideValidity`].
    pub fn may_issue(&self, now: Timestamp) -> Result<(), OutsideValidity> {
        self.valid_at(now)
    }

    /// Whole days until it ends; negative when it has ended.
    #[must_use]
    pub fn days_left(&self, now: Timestamp) -> i64 {
        self.not_after.secs().saturating_sub(now.secs()).div_euclid(DAY)
    }

    /// The `updated` that a licence must get before this certificate signs it, if it last changed before the certificate was: its start. Readers check the
    /// certificate at the time of the last change, and would refuse an old licence that a newer certificate has signed.
    #[must_use]
    pub fn moves_change_to(&self, last_change: Timestamp) -> Option<Timestamp> {
        (crate::rfc3339::whole_seconds(last_change) < self.not_before).then_some(self.not_before)
    }
}

fn parse_der(der: &[u8]) -> Result<X509Certificate<'_>, BadCertificate> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(BadCertificate::Der);
    }
    let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| BadCertificate::Der)?;
    let framed = frame::is_der(der, parsed.tbs_certificate.as_ref(), &parsed.signature_value.data);
    (rest.is_empty() && framed).then_some(parsed).ok_or(BadCertificate::Der)
}

/// Whether something is signed by an algorithm that is trusted, and names the same one inside and outside of what is signed.
fn sound(outside: &AlgorithmIdentifier<'_>, inside: &AlgorithmIdentifier<'_>) -> bool {
    let accepted = [
        oid::OID_PKCS1_SHA256WITHRSA,
        oid::OID_PKCS1_SHA384WITHRSA,
        oid::OID_PKCS1_SHA512WITHRSA,
        oid::OID_SIG_ECDSA_WITH_SHA256,
        oid::OID_SIG_ECDSA_WITH_SHA384,
    ];
    outside == inside && accepted.contains(&outside.algorithm)
}

fn algorithm_of(key: &SubjectPublicKeyInfo<'_>) -> Option<Algorithm> {
    let curve = || key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    if key.algorithm.algorithm == oid::OID_PKCS1_RSAENCRYPTION {
        Some(Algorithm::RsaSha256)
    } else if key.algorithm.algorithm == oid::OID_KEY_TYPE_EC_PUBLIC_KEY && curve() == Some(oid::OID_EC_P256) {
        Some(Algorithm::EcdsaSha256)
    } else {
        None
    }
}

/// Whether it is the certificate of an authority. What is critical must be understood.
fn read_extensions(parsed: &X509Certificate<'_>) -> Result<bool, BadCertificate> {
    // One of these that cannot be read is no less important for not being critical.
    let decides = [oid::OID_X509_EXT_BASIC_CONSTRAINTS, oid::OID_X509_EXT_KEY_USAGE];
    let mut seen: BTreeSet<&[u8]> = BTreeSet::new();
    let (mut is_authority, mut may_sign) = (false, true);
    for extension in parsed.extensions() {
        if !seen.insert(extension.oid.as_bytes()) {
            return Err(BadCertificate::Extension);
        }
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => is_authority = constraints.ca,
            ParsedExtension::KeyUsage(usage) => may_sign = usage.key_cert_sign(),
            ParsedExtension::ExtendedKeyUsage(_) | ParsedExtension::CertificatePolicies(_) => {}
            _ if extension.critical || decides.contains(&extension.oid) => return Err(BadCertificate::Extension),
            _ => {}
        }
    }
    Ok(is_authority && may_sign)
}

fn significant(serial: &[u8]) -> Vec<u8> {
    serial.iter().copied().skip_while(|byte| *byte == 0).collect()
}

fn time(at: ASN1Time) -> Timestamp {
    Timestamp::from_secs(at.timestamp(), 0)
}

#[cfg(test)]
pub(crate) mod tests;
