//! What each check found.

use crate::certificate::{BadCertificate, BrokenChain, OutsideValidity};
use crate::licence::{BadLicence, CannotUnlock, OutsideRights};
use crate::signature::WrongSignature;
use std::fmt;

/// One check, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The document can be read as a licence.
    Document,
    /// Its profile is one that the reader knows.
    Profile,
    /// The root signed the provider's certificate.
    Chain,
    /// The certificate has not been taken back.
    Revocation,
    /// The certificates were valid when the licence last changed.
    CertificateDates,
    /// The signature is that of the certificate's key over the document.
    Signature,
    /// The licence has begun and has not ended.
    Rights,
    /// The passphrase opens it.
    Passphrase,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Check::Document => "document",
            Check::Profile => "profile",
            Check::Chain => "chain",
            Check::Revocation => "revocation",
            Check::CertificateDates => "certificate dates",
            Check::Signature => "signature",
            Check::Rights => "rights",
            Check::Passphrase => "passphrase",
        })
    }
}

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Of [`Check::Document`].
    #[error(transparent)]
    Document(#[from] BadLicence),
    /// Of [`Check::Profile`].
    #[error("the licence is of a profile that is not known here")]
    Profile,
    /// Of [`Check::Chain`]: there is no certificate to speak of.
    #[error(transparent)]
    Certificate(#[from] BadCertificate),
    /// Of [`Check::Chain`].
    #[error(transparent)]
    Chain(#[from] BrokenChain),
    /// Of [`Check::Revocation`].
    #[error("the provider's certificate was revoked")]
    Revoked,
    /// Of [`Check::CertificateDates`].
    #[error(transparent)]
    Dates(#[from] OutsideValidity),
    /// Of [`Check::Signature`].
    #[error(transparent)]
    Signature(#[from] WrongSignature),
    /// Of [`Check::Rights`].
    #[error(transparent)]
    Rights(#[from] OutsideRights),
    /// Of [`Check::Passphrase`].
    #[error(transparent)]
    Passphrase(#[from] CannotUnlock),
}

/// Why a check was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// The provider's certificate cannot be read.
    #[error("there is no certificate to check")]
    NoCertificate,
    /// No root is at hand.
    #[error("there is no root certificate to check by")]
    NoRoot,
    /// No revocation list is at hand.
    #[error("there is no revocation list")]
    NoList,
    /// The list does not name the certificate, and a newer one is due.
    #[error("the revocation list is out of date")]
    StaleList,
    /// The profile is not known here.
    #[error("the profile is not known")]
    NoProfile,
    /// Nobody gave a passphrase.
    #[error("no passphrase was given")]
    NoPassphrase,
}

/// What came of one check.
#[derive(Debug)]
pub enum Outcome {
    /// It is as it should be.
    Passed,
    /// It could not be made, which is no fault.
    Skipped(Skipped),
    /// It is not as it should be.
    Failed(Failure),
}

impl<E: Into<Failure>> From<Result<(), E>> for Outcome {
    fn from(result: Result<(), E>) -> Self {
        result.map_or_else(|failure| Outcome::Failed(failure.into()), |()| Outcome::Passed)
    }
}

/// A check and what came of it; as text one line for people.
#[derive(Debug)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// What came of it.
    pub outcome: Outcome,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let check = self.check;
        match &self.outcome {
            Outcome::Passed => write!(f, "{check}: ok"),
            Outcome::Skipped(why) => write!(f, "{check}: not checked, {why}"),
            Outcome::Failed(failure) => write!(f, "{check}: {failure}"),
        }
    }
}

/// All checks of one licence.
#[derive(Debug, Default)]
pub struct Report {
    pub(super) findings: Vec<Finding>,
}

impl Report {
    pub(super) fn add(&mut self, check: Check, outcome: Outcome) {
        self.findings.push(Finding { check, outcome });
    }

    /// In the order of [`Check`].
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What came of one check, if it came to that.
    #[must_use]
    pub fn outcome(&self, check: Check) -> Option<&Outcome> {
        self.findings.iter().find(|finding| finding.check == check).map(|finding| &finding.outcome)
    }

    /// Whether nothing failed. What was skipped is not counted: look at [`Self::findings`] for whether the passphrase was tried.
    #[must_use]
    pub fn is_right(&self) -> bool {
        !self.findings.iter().any(|finding| matches!(finding.outcome, Outcome::Failed(_)))
    }
}
