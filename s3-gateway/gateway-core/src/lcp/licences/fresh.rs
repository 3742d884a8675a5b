//! A licence as readers get it: brought up to date, or issued anew.

use super::document::newer;
use super::issue::{check_links, profile_of};
use crate::lcp::records::put;
use crate::lcp::service::OsEntropy;
use crate::lcp::{LcpError, Lending, LicenceEntry, Title};
use drm::PassphraseHash;
use drm::certificate::Certificate;
use drm::licence::{Change, Grant, Keys, LicenceId, Link, Reader, reissue};
use proto::record::Expected;
use types::Timestamp;

/// What a store says of the reader of a licence that it wants anew: his passphrase has changed, or his name.
#[derive(Clone, Debug)]
pub struct Anew {
    /// The reader. How the store calls him is changed by [`Lending::change_licence`] and not here.
    pub reader: Reader,
    /// What reminds him of his passphrase.
    pub hint: String,
    /// His secret. It is used and forgotten.
    pub passphrase: PassphraseHash,
    /// Links of this licence alone; `None`: those that it has.
    pub links: Option<Vec<Link>>,
    /// The profile, as in [`super::NewLicence`].
    pub profile: Option<String>,
}

impl Lending {
    /// A licence, brought up to date: it names the newest package of its title, and is signed by the newest certificate.
    ///
    /// With `anew` its keys and what it says of the reader are made anew, under the rights that it has. One that is final stays as it is, whatever is asked.
    ///
    /// If nothing can be signed at present, what was signed before is as good as it was, and is given; with `anew` it is an error.
    ///
    /// # Errors
    /// [`LcpError::NoSuchLicence`]; with `anew` also [`LcpError::NoSuchTitle`], [`LcpError::Invalid`], [`LcpError::Grant`], [`LcpError::Signing`],
    /// [`LcpError::Key`].
    pub async fn fresh(&self, id: LicenceId, anew: Option<Anew>) -> Result<LicenceEntry, LcpError> {
        let anew = anew.as_ref();
        self.store
            .change_by(|| async move {
                let held = self.licence(id).await?;
                let licence = held.value;
                if licence.is_final() {
                    return Ok((Vec::new(), licence));
                }
                let title = self.title_behind(&licence).await?;
                let now = self.config.clock.now();
                let next = match anew {
                    Some(anew) => Some(self.reissued(&licence, title.as_ref(), anew, now).await?),
                    None => self.up_to_date(&licence, title.as_ref(), now)?,
                };
                Ok(match next {
                    Some(next) => (vec![put(&next, Expected::Revision(held.revision))?], next),
                    None => (Vec::new(), licence),
                })
            })
            .await
    }

    /// A licence as it should be, if that is another than it is and can be signed.
    fn up_to_date(
        &self,
        licence: &LicenceEntry,
        title: Option<&Title>,
        now: Timestamp,
    ) -> Result<Option<LicenceEntry>, LcpError> {
        let next = if newer(licence, title).is_some() {
            self.amended(licence, title, Change::default(), now)
        } else {
            let stored = licence.read()?;
            if !is_newer(self.signers.current().certificate(), &stored.signature().certificate) {
                return Ok(None);
            }
            let unsigned = stored.unsigned().ok_or_else(|| LcpError::Damaged("a licence is too long".to_owned()))?;
            self.signed(unsigned, now).map(|issued| {
                let mut next = licence.clone();
                next.redrawn(issued, stored.terms().rights.end);
                next
            })
        };
        match next {
            Ok(next) => Ok(Some(next)),
            Err(LcpError::Signing(error)) => {
                tracing::warn!(licence = %licence.id, %error, "a licence is given out as it was, since it cannot be signed");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn reissued(
        &self,
        licence: &LicenceEntry,
        title: Option<&Title>,
        anew: &Anew,
        now: Timestamp,
    ) -> Result<LicenceEntry, LcpError> {
        let profile = profile_of(anew.profile.as_deref())?;
        if anew.reader.id != licence.user {
            return Err(LcpError::invalid("user.id", "the licence is another reader's"));
        }
        let title = title.ok_or(LcpError::NoSuchTitle)?;
        let package = title.package().ok_or(LcpError::NotReady)?;
        let key = self.content_key(title).await?;
        let stored = licence.read()?;
        let terms = stored.terms();
        let provider = self.provider(Some(&terms.provider));
        let mut next = licence.clone();
        next.version = package.version;
        next.links = anew.links.clone().unwrap_or(next.links);
        check_links(&next.links)?;
        let grant = Grant {
            provider: &provider,
            publication: &self.publication(title, package),
            reader: &anew.reader,
            hint: &anew.hint,
            rights: &terms.rights,
            links: &next.links,
        };
        let keys = Keys { profile, content_key: &key, passphrase: &anew.passphrase };
        let unsigned = reissue(&stored, &grant, keys, now, &mut OsEntropy)?;
        let issued = self.signed(unsigned, now)?;
        next.redrawn(issued, terms.rights.end);
        Ok(next)
    }
}

/// Whether a certificate takes the place of another one: it begins later, or ends later if they begin together. While a new one comes to the gateways one after
/// the other, those that have it sign licences anew and those that have not leave them alone.
fn is_newer(ours: &[u8], of_document: &[u8]) -> bool {
    let validity = |der: &[u8]| Certificate::parse(der).ok().map(|certificate| certificate.validity());
    ours != of_document && validity(ours) > validity(of_document)
}
