//! What a gateway or a command needs to lend books, made of `[gateway.lcp]`: key-encryption keys, the provider's certificate and key, settings.

use crate::cli::ClientArgs;
use crate::config::{ConfigError, LcpSection, TransitSection, beside};
use crate::connect::{Session, load};
use crate::exit::{Done, Failure, Kind};
use gateway::LcpParts;
use gateway::transit::{TransitKeys, TransitOptions};
use gateway_core::lcp::{LcpConfig, Lending};
use gateway_core::provider_key::ProviderKeys;
use gateway_core::{KeyFile, KeyService, Store};
use proto::control::{ControlAnswer, ControlQuery};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often files of keys and certificates are read anew, so that a rotation needs no restart.
const RELOAD: Duration = Duration::from_secs(10);

/// All of it.
pub struct Shop {
    keys: Arc<dyn KeyService>,
    file: Option<Arc<KeyFile>>,
    provider: Arc<ProviderKeys>,
    config: LcpConfig,
}

impl Shop {
    /// Reads keys and certificate; `path` is that of the file of settings. A key service is tried, so that a wrong token shows now and not when a book is sold.
    ///
    /// # Errors
    /// [`Failure`]: something cannot be used.
    pub async fn open(section: &LcpSection, path: &Path) -> Done<Self> {
        let config = section.config()?;
        let (keys, file) = keys(section, path).await?;
        let (certificate, key) = (beside(path, &section.certificate), beside(path, &section.key));
        let provider = ProviderKeys::open(&certificate, &key, config.clock.now()).map_err(unusable)?;
        Ok(Shop { keys, file, provider: Arc::new(provider), config })
    }

    /// For a gateway.
    #[must_use]
    pub fn parts(&self) -> LcpParts {
        LcpParts { keys: self.keys.clone(), signers: self.provider.clone(), config: self.config.clone() }
    }

    /// For a command.
    ///
    /// # Errors
    /// A setting is out of its range.
    pub fn lending(&self, store: &Store) -> Done<Lending> {
        let store = store.clone().with_keys(self.keys.clone());
        let lending = Lending::new(store, self.keys.clone(), self.provider.clone(), self.config.clone());
        lending.map_err(|error| ConfigError::value("gateway.lcp", error.to_string()).into())
    }

    /// Reads files anew as they change, for ever. What cannot be used is told and changes nothing.
    pub async fn keep_fresh(&self) {
        loop {
            tokio::time::sleep(RELOAD).await;
            if let Some(file) = &self.file {
                match file.reload() {
                    Ok(change) if change.is_change() => {
                        tracing::info!(added = ?change.added, removed = ?change.removed, "key-encryption keys read anew");
                    }
                    Ok(_) => {}
                    Err(error) => tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "key-encryption keys stay as they were"
                    ),
                }
            }
            let now = self.config.clock.now();
            match self.provider.reload(now) {
                Ok(true) => {
                    tracing::info!(days = self.provider.days_left(now), "the provider's certificate was read anew")
                }
                Ok(false) => drop(self.provider.look(now)),
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the provider's certificate stays as it was"
                ),
            }
        }
    }
}

/// The key-encryption keys, and the file that they are in, if it is one.
async fn keys(section: &LcpSection, path: &Path) -> Done<(Arc<dyn KeyService>, Option<Arc<KeyFile>>)> {
    match (&section.kek, &section.transit) {
        (_, Some(transit)) => Ok((Arc::new(transit_keys(transit, path).await?), None)),
        (Some(kek), None) => {
            let file = Arc::new(KeyFile::open(&beside(path, kek)).map_err(unusable)?);
            Ok((file.clone(), Some(file)))
        }
        (None, None) => Err(ConfigError::value("gateway.lcp", "kek or transit is missing").into()),
    }
}

/// Gives a command the key-encryption keys of `[gateway.lcp]` if it is about a bucket that is encrypted. Where there is no such section, the store says what is
/// missing when it comes to that.
///
/// # Errors
/// [`Failure`]: the keys cannot be used, or the cluster does not say whether the bucket is encrypted.
pub async fn give_keys(session: &mut Session, args: &ClientArgs, bucket: &str) -> Done {
    let ControlAnswer::Bucket(Some(bucket)) =
        session.cluster.control_query(ControlQuery::Bucket { name: bucket.to_owned() }).await?
    else {
        return Ok(());
    };
    let (file, path) = load(args)?;
    if let Some(section) = &file.gateway.lcp
        && session.store.bucket_settings(&bucket).await?.protection.is_some()
    {
        let (keys, _) = keys(section, &path).await?;
        session.store = session.store.clone().with_keys(keys);
    }
    Ok(())
}

async fn transit_keys(section: &TransitSection, path: &Path) -> Done<TransitKeys> {
    let mut options = TransitOptions::new(&section.address, &section.key, beside(path, &section.token_file));
    options.mount.clone_from(&section.mount);
    options.ca_file = section.ca.as_ref().map(|ca| beside(path, ca));
    let keys = TransitKeys::new(&options).map_err(unusable)?;
    keys.check().await.map_err(|error| {
        Failure::new(Kind::Unavailable, format!("{:#}", anyhow::Error::from(error)))
            .while_doing("trying the key service")
    })?;
    Ok(keys)
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new(Kind::Usage, format!("{:#}", anyhow::Error::from(error)))
}
