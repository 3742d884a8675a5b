//! Packages alone, without a licence: what the publication link of a licence leads to.

use super::super::{LcpError, Lending, Place, TitleId};
use super::{Download, file_name, validators};
use std::sync::Arc;

/// A package, or where it is.
pub enum OpenPackage {
    /// It is kept here. Its bytes never change: who has them by this title and version need never ask again.
    Here(Box<Download>),
    /// It is kept there.
    There(String),
}

impl Lending {
    /// Opens the package of a version of a title, or of the newest. It is the same for everybody, and is neither counted nor recorded: without a licence nobody can
    /// read it. Its entity tag is its SHA-256.
    ///
    /// # Errors
    /// [`LcpError::NoSuchTitle`], also for a version that is not kept. [`LcpError::NotReady`]. The cluster's.
    pub async fn open_package(&self, title: &TitleId, version: Option<u32>) -> Result<OpenPackage, LcpError> {
        let mut known = self.known_title(title).await?;
        if version.is_some_and(|version| known.version(version).is_none()) {
            known = Arc::new(self.title(title).await?.value);
        }
        let package = match version {
            Some(version) => known.version(version).ok_or(LcpError::NoSuchTitle)?,
            None => known.package().ok_or(LcpError::NotReady)?,
        };
        let (key, layout, kind) = match &package.place {
            Place::Here { key, layout, kind } => (key, layout, *kind),
            Place::There { href } => return Ok(OpenPackage::There(href.clone())),
        };
        let shelved = self.downloads.shelf.whole(&self.store, key, layout).await?;
        Ok(OpenPackage::Here(Box::new(Download {
            store: self.store.clone(),
            package: Arc::new(shelved),
            stored: layout.len,
            tail: Default::default(),
            validators: validators(&hex::encode(layout.sha256), package.made),
            media_type: package.media_type.clone(),
            file_name: file_name(&known, kind),
            ticket: None,
        })))
    }
}
