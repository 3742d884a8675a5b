//! Everything that a reader checks before he opens a publication, and a checker before it calls a licence right.
//!
//! ```text
//! document -> profile -> chain -> revocation -> certificate dates -> signature -> rights -> passphrase
//! ```
//! All checks are made, also after one has failed: whoever looks for a fault wants to see all of them. Without a document there is nothing to check.
//!
//! Source: LCP 1.0, section 5.5.

mod report;

pub use report::{Check, Failure, Finding, Outcome, Report, Skipped};

use crate::certificate::{Certificate, RevocationList, Root};
use crate::licence::{Licence, Unlocked};
use crate::{PassphraseHash, Profile, signature};
use types::Timestamp;

/// What a reader trusts, and what he knows.
#[derive(Clone, Copy)]
pub struct Trust<'a> {
    /// The root in the reading app. Without one nothing is known of who signed, and a checker has to say so.
    pub root: Option<&'a Root>,
    /// The list of the root, if one could be fetched. Without it a licence is not refused.
    pub revocations: Option<&'a RevocationList>,
    /// The profiles that he can read.
    pub profiles: &'a [&'a dyn Profile],
}

/// What came of it.
#[derive(Debug)]
pub struct Verified {
    /// Every check.
    pub report: Report,
    /// The licence, if it could be read.
    pub licence: Option<Licence>,
    /// What the passphrase opened. Only to be used if [`Report::is_right`].
    pub unlocked: Option<Unlocked>,
}

/// Checks a licence as of `now`, with the hash of a passphrase or without.
#[must_use]
pub fn verify(document: &[u8], trust: Trust<'_>, passphrase: Option<&PassphraseHash>, now: Timestamp) -> Verified {
    let mut report = Report::default();
    let licence = match Licence::parse(document) {
        Ok(licence) => licence,
        Err(bad) => {
            report.add(Check::Document, Outcome::Failed(Failure::Document(bad)));
            return Verified { report, licence: None, unlocked: None };
        }
    };
    report.add(Check::Document, Outcome::Passed);
    let profile = trust.profiles.iter().copied().find(|profile| profile.uri() == licence.terms().profile);
    report.add(Check::Profile, if profile.is_some() { Outcome::Passed } else { Outcome::Failed(Failure::Profile) });
    check_certificate(&licence, trust, now, &mut report);
    report.add(Check::Rights, licence.terms().rights.hold_at(now).into());
    let unlocked = unlock(&licence, profile, passphrase, &mut report);
    Verified { report, licence: Some(licence), unlocked }
}

/// The certificate, and the signature that it stands for.
fn check_certificate(licence: &Licence, trust: Trust<'_>, now: Timestamp, report: &mut Report) {
    let signature = licence.signature();
    let certificate = match Certificate::parse(&signature.certificate) {
        Ok(certificate) => certificate,
        Err(bad) => {
            report.add(Check::Chain, Outcome::Failed(Failure::Certificate(bad)));
            for check in [Check::Revocation, Check::CertificateDates, Check::Signature] {
                report.add(check, Outcome::Skipped(Skipped::NoCertificate));
            }
            return;
        }
    };
    report.add(
        Check::Chain,
        trust.root.map_or(Outcome::Skipped(Skipped::NoRoot), |root| root.signed(&certificate).into()),
    );
    report.add(Check::Revocation, revocation(&certificate, trust.revocations, now));
    report.add(Check::CertificateDates, dates(licence, &certificate, trust.root));
    report.add(Check::Signature, signature_of(licence, &certificate));
}

fn revocation(certificate: &Certificate, list: Option<&RevocationList>, now: Timestamp) -> Outcome {
    match list {
        None => Outcome::Skipped(Skipped::NoList),
        Some(list) if list.revokes(certificate) => Outcome::Failed(Failure::Revoked),
        Some(list) if list.is_stale(now) => Outcome::Skipped(Skipped::StaleList),
        Some(_) => Outcome::Passed,
    }
}

/// The certificates, at the time of the last change.
fn dates(licence: &Licence, certificate: &Certificate, root: Option<&Root>) -> Outcome {
    let at = licence.terms().last_change();
    certificate.valid_at(at).and_then(|()| root.map_or(Ok(()), |root| root.certificate().valid_at(at))).into()
}

fn signature_of(licence: &Licence, certificate: &Certificate) -> Outcome {
    let signature = licence.signature();
    if signature.algorithm != certificate.algorithm() {
        return Outcome::Failed(Failure::Signature(signature::WrongSignature));
    }
    let text = licence.signed_text();
    signature::verify(signature.algorithm, certificate.public_key(), text.as_bytes(), &signature.value).into()
}

fn unlock(
    licence: &Licence,
    profile: Option<&dyn Profile>,
    passphrase: Option<&PassphraseHash>,
    report: &mut Report,
) -> Option<Unlocked> {
    let (Some(profile), Some(passphrase)) = (profile, passphrase) else {
        let why = if profile.is_none() { Skipped::NoProfile } else { Skipped::NoPassphrase };
        report.add(Check::Passphrase, Outcome::Skipped(why));
        return None;
    };
    match licence.unlock(profile, passphrase) {
        Ok(unlocked) => {
            report.add(Check::Passphrase, Outcome::Passed);
            Some(unlocked)
        }
        Err(cannot) => {
            report.add(Check::Passphrase, Outcome::Failed(Failure::Passphrase(cannot)));
            None
        }
    }
}

#[cfg(test)]
mod tests;
