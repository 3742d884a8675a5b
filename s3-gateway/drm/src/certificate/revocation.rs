//! The list of certificates that an authority has taken back.

use super::{Certificate, Root, frame, parse_der, significant, sound, time};
use std::collections::BTreeSet;
use types::Timestamp;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// Bytes of a list: a hundred thousand certificates. An authority for book sellers has a few hundred.
const LIST_BYTES_MAX: usize = 4 << 20;

/// What is no list of that root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRevocationList {
    /// No DER of one list, or far too long.
    #[error("no X.509 revocation list in DER")]
    Der,
    /// Signed with an algorithm that is not trusted, or not by the root.
    #[error("the revocation list is not signed by the root")]
    NotSigned,
    /// A list of a kind that names only some certificates, or says something critical that is not understood.
    #[error("the revocation list is of a kind that is not understood")]
    Kind,
}

/// A list that its root has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    serials: BTreeSet<Vec<u8>>,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
}

impl RevocationList {
    /// Reads a list and checks that `root` has signed it.
    ///
    /// # Errors
    /// [`BadRevocationList`].
    pub fn parse(der: &[u8], root: &Root) -> Result<Self, BadRevocationList> {
        if der.len() > LIST_BYTES_MAX {
            return Err(BadRevocationList::Der);
        }
        let (rest, list) = CertificateRevocationList::from_der(der).map_err(|_| BadRevocationList::Der)?;
        let framed = frame::is_der(der, list.tbs_cert_list.as_ref(), &list.signature_value.data);
        (rest.is_empty() && framed).then_some(()).ok_or(BadRevocationList::Der)?;
        check_signature(&list, root)?;
        check_kind(&list)?;
        Ok(RevocationList {
            serials: list.iter_revoked_certificates().map(|entry| significant(entry.raw_serial())).collect(),
            this_update: time(list.last_update()),
            next_update: list.next_update().map(time),
        })
    }

    /// Whether it names that certificate, which is assumed to be one of the same root.
    #[must_use]
    pub fn revokes(&self, certificate: &Certificate) -> bool {
        self.serials.contains(&certificate.serial)
    }

    /// When it was made.
    #[must_use]
    pub fn made(&self) -> Timestamp {
        self.this_update
    }

    /// Whether a newer one should have come by now. It still revokes what it names.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.next_update.is_some_and(|next| next < now)
    }
}

fn check_signature(list: &CertificateRevocationList<'_>, root: &Root) -> Result<(), BadRevocationList> {
    let root = parse_der(root.certificate().der()).map_err(|_| BadRevocationList::NotSigned)?;
    let same_name = list.issuer().as_raw() == root.subject().as_raw();
    if !same_name || !sound(&list.signature_algorithm, &list.tbs_cert_list.signature) {
        return Err(BadRevocationList::NotSigned);
    }
    list.verify_signature(root.public_key()).map_err(|_| BadRevocationList::NotSigned)
}

fn check_kind(list: &CertificateRevocationList<'_>) -> Result<(), BadRevocationList> {
    for extension in list.extensions() {
        let understood = match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) => {
                let partial = point.only_contains_ca_certs || point.only_contains_attribute_certs;
                !partial && !point.indirect_crl && point.only_some_reasons.is_none()
            }
            _ => !extension.critical,
        };
        understood.then_some(()).ok_or(BadRevocationList::Kind)?;
    }
    Ok(())
}
