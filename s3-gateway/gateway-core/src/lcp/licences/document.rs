//! The document of a licence: what it names, how it changes, how it is shown.

use crate::lcp::{LcpError, Lending, LicenceEntry, Package, Place, Title};
use drm::licence::{Change, Issued, Publication, Unsigned, change};
use drm::status::{self, Language, View};
use serde_json::Value;
use types::Timestamp;

impl Lending {
    /// How licences of a title name a package of it. The address differs with the version, so that it never leads to other bytes than the hash beside it.
    #[must_use]
    pub fn publication(&self, title: &Title, package: &Package) -> Publication {
        let href = match &package.place {
            Place::Here { .. } => {
                format!("{}/lcp/contents/{}?version={}", self.config.base, title.id, package.version)
            }
            Place::There { href } => href.clone(),
        };
        Publication {
            href,
            media_type: package.media_type.clone(),
            title: title.name.clone(),
            length: package.len,
            sha256: package.sha256,
            hash_form: self.config.hash_form,
        }
    }

    /// The status document, for anybody who has the link. With the events it says how the reader calls his devices, which is for him and for the store.
    #[must_use]
    pub fn status_document(&self, licence: &LicenceEntry, language: Language, with_events: bool) -> Value {
        let view = View { language, with_events };
        let config = &self.config;
        status::document(&licence.status, &config.links, &config.policy, view, config.clock.now())
    }

    pub(super) fn signed(&self, unsigned: Unsigned, now: Timestamp) -> Result<Issued, LcpError> {
        Ok(unsigned.sign(&*self.signers.current(), now)?)
    }

    /// The title of a licence, which may have been removed since.
    pub(super) async fn title_behind(&self, licence: &LicenceEntry) -> Result<Option<Title>, LcpError> {
        match self.title(&licence.title).await {
            Ok(title) => Ok(Some(title.value)),
            Err(LcpError::NoSuchTitle) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A licence whose document has changed, and names the newest package.
    pub(super) fn amended(
        &self,
        licence: &LicenceEntry,
        title: Option<&Title>,
        mut changed: Change,
        now: Timestamp,
    ) -> Result<LicenceEntry, LcpError> {
        let mut next = licence.clone();
        if let Some((title, package)) = newer(licence, title) {
            changed.publication = Some(self.publication(title, package));
            next.version = package.version;
        }
        let stored = licence.read()?;
        let issued = self.signed(change(&stored, &changed, now)?, now)?;
        let end = changed.rights.map_or(stored.terms().rights.end, |rights| rights.end);
        next.redrawn(issued, end);
        Ok(next)
    }
}

impl LicenceEntry {
    /// Takes a new document, whose rights end then.
    pub(super) fn redrawn(&mut self, issued: Issued, end: Option<Timestamp>) {
        self.status.licence_changed(issued.last_change, end);
        self.document = issued.document;
    }
}

/// The package that a licence should name and does not.
pub(super) fn newer<'a>(licence: &LicenceEntry, title: Option<&'a Title>) -> Option<(&'a Title, &'a Package)> {
    let title = title?;
    let package = title.package()?;
    (package.version > licence.version).then_some((title, package))
}
