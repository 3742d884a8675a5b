//! New licences.

use super::nonce::Nonce;
use crate::lcp::records::{beginning, put};
use crate::lcp::service::OsEntropy;
use crate::lcp::{LcpError, Lending, LicenceEntry, Package, Standing, Title, TitleId, TitleIndex};
use drm::licence::{Grant, Keys, LicenceId, Link, Provider, Reader, Rights, issue};
use drm::status::Record as Status;
use drm::{BASIC_PROFILE, BasicProfile, ContentKey, PassphraseHash, Profile};
use proto::record::{Expected, RecordScan};
use types::Timestamp;

/// Bytes of the links of one licence, as they are kept. With a document and events at their largest a record must still take them, or the licence could not be
/// taken back.
const LINKS_BYTES_MAX: usize = 16 << 10;

/// What a store asks for when it has sold or lent a book.
#[derive(Clone, Debug)]
pub struct NewLicence {
    /// The book.
    pub title: TitleId,
    /// Who gets it.
    pub reader: Reader,
    /// What reminds him of his passphrase.
    pub hint: String,
    /// His secret. It is used and forgotten.
    pub passphrase: PassphraseHash,
    /// What he may do.
    pub rights: Rights,
    /// Links of this licence alone.
    pub links: Vec<Link>,
    /// The store, if it is another than the gateway's own.
    pub provider: Option<String>,
    /// The profile; `None`: the basic one, which is the only one here. Those for production are [`Profile`]s.
    pub profile: Option<String>,
    /// Names the request, so that it can be made again. Never the same for two.
    pub nonce: Option<[u8; 16]>,
}

/// A licence that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuance {
    /// It; what has become of it since, if it was issued before.
    pub licence: LicenceEntry,
    /// Whether it was issued before, for the same request.
    pub is_repeated: bool,
}

impl Lending {
    /// Issues a licence.
    ///
    /// It is kept when this returns. If the outcome is unknown ([`crate::ClusterError::Unavailable`]) the same request with the same nonce gives the licence that
    /// there may be; one without a nonce may get a second one.
    ///
    /// # Errors
    /// [`LcpError::NoSuchTitle`], also for one whose source is gone; [`LcpError::NotReady`], [`LcpError::Unprotectable`]: it has no package; [`LcpError::Grant`],
    /// [`LcpError::Invalid`]: what cannot stand in a licence; [`LcpError::NonceUsed`]: another request had that nonce; [`LcpError::Signing`], [`LcpError::Key`].
    pub async fn issue(&self, new: NewLicence) -> Result<Issuance, LcpError> {
        let profile = profile_of(new.profile.as_deref())?;
        check_links(&new.links)?;
        let (title, earlier) = futures::try_join!(self.title(&new.title), self.nonce(new.nonce))?;
        let title = title.value;
        if earlier.is_some() {
            let key = self.content_key(&title).await?;
            return self.again(earlier, &key, &new).await;
        }
        let package = offered(&title)?;
        let key = self.content_key(&title).await?;
        let licence = self.new_entry(&title, package, (profile, &key), &new, self.config.clock.now())?;
        let mut changes = vec![put(&licence, Expected::Absent)?];
        if let Some(nonce) = new.nonce {
            changes.push(put(&Nonce::new(nonce, licence.id, &key, &new)?, Expected::Absent)?);
        }
        if self.store.change_records(changes).await? {
            return Ok(Issuance { licence, is_repeated: false });
        }
        // Ids are random: it was the nonce that somebody else used just now.
        let earlier = self.nonce(new.nonce).await?;
        self.again(earlier, &key, &new).await
    }

    /// The title that a store knows by another id.
    ///
    /// # Errors
    /// [`LcpError::NoSuchTitle`], or the cluster's.
    pub async fn title_called(&self, alt_id: &str) -> Result<Title, LcpError> {
        let scan = beginning(&Title::alt_entry(alt_id), 1);
        let scan = RecordScan { by: Some(TitleIndex::Alt.index()), ..scan };
        let found = self.store.records::<Title>(scan).await?.found.pop().map(|held| held.value);
        found.filter(|title| title.alt_id.as_deref() == Some(alt_id)).ok_or(LcpError::NoSuchTitle)
    }

    async fn nonce(&self, nonce: Option<[u8; 16]>) -> Result<Option<Nonce>, LcpError> {
        let Some(nonce) = nonce else { return Ok(None) };
        Ok(self.store.record::<Nonce>(Nonce::key_of(nonce)).await?.map(|held| held.value))
    }

    async fn again(&self, earlier: Option<Nonce>, key: &ContentKey, new: &NewLicence) -> Result<Issuance, LcpError> {
        let earlier = earlier.ok_or(LcpError::Contention)?;
        if !earlier.is_of(key, new)? {
            return Err(LcpError::NonceUsed);
        }
        let licence = self.licence(earlier.licence).await?.value;
        Ok(Issuance { licence, is_repeated: true })
    }

    fn new_entry(
        &self,
        title: &Title,
        package: &Package,
        (profile, key): (&dyn Profile, &ContentKey),
        new: &NewLicence,
        now: Timestamp,
    ) -> Result<LicenceEntry, LcpError> {
        let id = LicenceId::random(&mut OsEntropy);
        let provider = self.provider(new.provider.as_deref());
        let grant = Grant {
            provider: &provider,
            publication: &self.publication(title, package),
            reader: &new.reader,
            hint: &new.hint,
            rights: &new.rights,
            links: &new.links,
        };
        let keys = Keys { profile, content_key: key, passphrase: &new.passphrase };
        let issued = self.signed(issue(id, &grant, keys, now, &mut OsEntropy)?, now)?;
        let (end, policy) = (new.rights.end, &self.config.policy);
        let mut status = Status::new(id, now, end, policy.max_end(now, end));
        status.licence_changed(issued.last_change, end);
        Ok(LicenceEntry {
            id,
            title: title.id.clone(),
            version: package.version,
            user: new.reader.id.clone(),
            issued: now,
            document: issued.document,
            links: new.links.clone(),
            status,
            nonce: new.nonce,
        })
    }

    /// What stands in all licences, of that store.
    pub(super) fn provider(&self, uri: Option<&str>) -> Provider {
        let own = &self.config.provider;
        Provider { uri: uri.unwrap_or(&own.uri).to_owned(), ..own.clone() }
    }
}

/// The package that readers would get.
fn offered(title: &Title) -> Result<&Package, LcpError> {
    match (&title.standing, title.package()) {
        (Standing::Gone { .. }, _) => Err(LcpError::NoSuchTitle),
        // A version that cannot be protected does not take back the one before it.
        (_, Some(package)) => Ok(package),
        (Standing::Failed { reason, .. }, None) => Err(LcpError::Unprotectable(reason.clone())),
        (Standing::Queued { .. } | Standing::Protecting { .. } | Standing::Ready, None) => Err(LcpError::NotReady),
    }
}

/// Whether links can be kept beside the document.
pub(super) fn check_links(links: &[Link]) -> Result<(), LcpError> {
    match postcard::to_stdvec(links) {
        Ok(bytes) if bytes.len() <= LINKS_BYTES_MAX => Ok(()),
        Ok(_) | Err(_) => Err(LcpError::invalid("links", format!("have more than {LINKS_BYTES_MAX} bytes"))),
    }
}

/// The profile of that name. Here is the place for those of a store that has them under contract.
pub(super) fn profile_of(uri: Option<&str>) -> Result<&'static (dyn Profile + Sync), LcpError> {
    match uri {
        None | Some(BASIC_PROFILE) => Ok(&BasicProfile),
        Some(_) => Err(LcpError::invalid("encryption.profile", format!("licences are of {BASIC_PROFILE} only"))),
    }
}
