//! The root, and the chain of two.

use super::{BadCertificate, Certificate, parse_der};

/// Why a certificate is not one of a provider under that root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// Another authority issued it.
    #[error("the certificate was issued by another authority")]
    OtherIssuer,
    /// The root's name is on it, its signature is not.
    #[error("the certificate is not signed by the root")]
    NotSigned,
    /// An authority itself: the chain has exactly two certificates.
    #[error("the certificate is that of an authority, not of a provider")]
    Authority,
}

/// The certificate of an authority that is trusted because whoever runs this says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(Certificate);

impl Root {
    /// Reads a root from DER.
    ///
    /// # Errors
    /// [`BadCertificate`], among it that it is none of an authority.
    pub fn parse(der: &[u8]) -> Result<Self, BadCertificate> {
        let certificate = Certificate::parse(der)?;
        certificate.is_authority.then_some(()).ok_or(BadCertificate::NoAuthority)?;
        Ok(Root(certificate))
    }

    /// The certificate itself.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.0
    }

    /// Whether this root signed the certificate of a provider. Dates and revocation are other questions.
    ///
    /// # Errors
    /// [`BrokenChain`].
    pub fn signed(&self, provider: &Certificate) -> Result<(), BrokenChain> {
        if provider.is_authority {
            return Err(BrokenChain::Authority);
        }
        // Both were parsed before; only what they borrow was not kept.
        let (Ok(root), Ok(leaf)) = (parse_der(&self.0.der), parse_der(&provider.der)) else {
            return Err(BrokenChain::NotSigned);
        };
        if leaf.issuer().as_raw() != root.subject().as_raw() {
            return Err(BrokenChain::OtherIssuer);
        }
        leaf.verify_signature(Some(root.public_key())).map_err(|_| BrokenChain::NotSigned)
    }
}
