//! What every request about books shares.

use super::{LcpConfig, LcpError, LicenceEntry, Signers, Title, TitleId};
use crate::config::ConfigError;
use crate::keyring::{KeyService, SecretKey};
use crate::lcp::download::Downloads;
use crate::lcp::records::Held;
use crate::store::Store;
use bytes::Bytes;
use drm::licence::LicenceId;
use drm::{ContentKey, Entropy};
use std::sync::Arc;
use tokio::sync::Notify;

/// Books of a cluster: titles, licences, downloads. Cheap to clone.
#[derive(Clone)]
pub struct Lending {
    pub(crate) store: Store,
    pub(crate) keys: Arc<dyn KeyService>,
    pub(crate) signers: Arc<dyn Signers>,
    pub(crate) config: Arc<LcpConfig>,
    /// Told when a title was queued here, so that a worker of this gateway need not wait until it next looks.
    pub(crate) queued: Arc<Notify>,
    pub(super) downloads: Arc<Downloads>,
}

/// The operating system's randomness.
pub(crate) struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}

impl Lending {
    /// Over a cluster's store.
    ///
    /// # Errors
    /// [`ConfigError`]: a setting is out of its range.
    pub fn new(
        store: Store,
        keys: Arc<dyn KeyService>,
        signers: Arc<dyn Signers>,
        config: LcpConfig,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let downloads = Arc::new(Downloads::new(&config));
        Ok(Lending { store, keys, signers, config: Arc::new(config), queued: Arc::default(), downloads })
    }

    /// The store, with keys.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How it behaves.
    #[must_use]
    pub fn config(&self) -> &LcpConfig {
        &self.config
    }

    /// A title.
    ///
    /// # Errors
    /// [`LcpError::NoSuchTitle`], or the cluster's.
    pub async fn title(&self, id: &TitleId) -> Result<Held<Title>, LcpError> {
        let key = Bytes::copy_from_slice(id.as_str().as_bytes());
        self.store.record(key).await?.ok_or(LcpError::NoSuchTitle)
    }

    /// A licence as it is kept. Linearizable: it is what the last step of any gateway has left.
    ///
    /// # Errors
    /// [`LcpError::NoSuchLicence`], or the cluster's.
    pub async fn licence(&self, id: LicenceId) -> Result<Held<LicenceEntry>, LcpError> {
        self.store.record(LicenceEntry::key_of(id)).await?.ok_or(LcpError::NoSuchLicence)
    }

    /// The content key of a title, in the clear.
    pub(crate) async fn content_key(&self, title: &Title) -> Result<ContentKey, LcpError> {
        let key = self.keys.unwrap(&title.id.key_context(), &title.content_key).await?;
        ContentKey::try_from(key.expose().as_slice()).map_err(|error| LcpError::Damaged(error.to_string()))
    }

    /// Wraps a content key for a title.
    pub(crate) async fn wrap(&self, id: &TitleId, key: &ContentKey) -> Result<crate::keyring::WrappedKey, LcpError> {
        Ok(self.keys.wrap(&id.key_context(), &SecretKey::new(*key.expose())).await?)
    }
}
