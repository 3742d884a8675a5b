//! Key-encryption keys that never leave a service: the Transit engine of Vault or OpenBao, or what speaks like it.
//!
//! ```text
//! wrap      POST v1/MOUNT/encrypt/KEY  {plaintext, associated_data}   -> vault:vN:…
//! unwrap    cache ─▶ flight ─▶ POST v1/MOUNT/decrypt/KEY              -> the key; kept for a while
//! newest?   GET  v1/MOUNT/keys/KEY                                    -> latest_version; believed for a while
//! ```
//! The context of a key goes along as associated data, so the engine itself refuses a wrapped key that was put in the place of another; [`TransitKeys::check`] proves that
//! it does. A rotation at the engine makes a new version; what is wrapped says which one it needs.
//!
//! Bounds: bytes of an answer, time of an attempt, attempts, requests at once, keys in the cache and how long. Redirects are not followed and no proxy is used: the
//! token would go where nobody has said.
//!
//! What is wiped: keys here, requests and answers as they are put together here. What the TLS and HTTP libraries copy is not.
//!
//! Source: docs/adr/0033-key-services.md.

mod cache;
mod client;
mod flight;
mod options;
mod token;
mod wire;

pub use options::{BadTransitOption, TransitOptions};

use async_trait::async_trait;
use cache::UnwrappedKeys;
use client::{Client, Failed};
use flight::Flights;
use gateway_core::{KeyError, KeyService, SecretKey, WrappedKey};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wire::Ciphertext;

/// What a context and a wrapped key are found by in the cache: their hash.
type KeyId = [u8; 32];

/// A key of a Transit engine.
pub struct TransitKeys {
    client: Arc<Client>,
    unwrapped: Arc<UnwrappedKeys>,
    flights: Flights<KeyId, Result<SecretKey, Failed>>,
    /// The highest version that was seen, and when the engine last said that there is none above.
    latest: Mutex<(u32, Option<Instant>)>,
    latest_time: Duration,
}

impl TransitKeys {
    /// Prepares to speak with an engine; nothing is asked yet.
    ///
    /// # Errors
    /// [`BadTransitOption`].
    pub fn new(options: &TransitOptions) -> Result<Self, BadTransitOption> {
        Ok(TransitKeys {
            client: Arc::new(Client::new(options)?),
            unwrapped: Arc::new(UnwrappedKeys::new(options.cache_entries, options.cache_time)),
            flights: Flights::default(),
            latest: Mutex::new((0, None)),
            latest_time: options.latest_time,
        })
    }

    /// Asks the engine for the key and tries it: that it is of a kind that binds what it encrypts to a context, and that the engine does so. Gives the newest
    /// key-encryption key. For a start.
    ///
    /// # Errors
    /// [`KeyError`]; [`KeyError::Refused`] for a key that would not do.
    pub async fn check(&self) -> Result<String, KeyError> {
        let newest = self.ask_latest(true).await?;
        let (key, own, other) = (SecretKey::random()?, b"sago trial 1", b"sago trial 2");
        let wrapped = self.wrap(own, &key).await?;
        if self.unwrap(own, &wrapped).await? != key {
            return Err(KeyError::Refused("the engine gives back another key than it was given".to_owned()));
        }
        match self.unwrap(other, &wrapped).await {
            Err(KeyError::Damaged) => Ok(self.client.kek(newest)),
            Err(error) => Err(error),
            Ok(_) => Err(KeyError::Refused(
                "the engine ignores associated data, so that wrapped keys could be exchanged; a newer one does not"
                    .to_owned(),
            )),
        }
    }

    /// Forgets what was unwrapped.
    pub fn forget(&self) {
        self.unwrapped.clear();
    }

    async fn ask_latest(&self, judge: bool) -> Result<u32, KeyError> {
        let asked = Instant::now();
        let key = self.client.key().await.map_err(|failed| failed.of(self.client.name()))?;
        if judge {
            key.judge().map_err(|why| KeyError::Refused(why.to_owned()))?;
        }
        let mut latest = self.latest.lock();
        *latest = (latest.0.max(key.latest_version), Some(asked));
        Ok(latest.0)
    }

    fn saw(&self, version: u32) {
        let mut latest = self.latest.lock();
        latest.0 = latest.0.max(version);
    }

    /// The version in a wrapped key of this service.
    fn version_of(&self, wrapped: &WrappedKey) -> Result<(u32, Ciphertext), KeyError> {
        let version = self.client.version_of_kek(&wrapped.kek);
        let version = version.ok_or_else(|| KeyError::NoSuchKek { kek: wrapped.kek.clone() })?;
        let ciphertext = Ciphertext::parse(&wrapped.sealed).ok_or(KeyError::Damaged)?;
        if ciphertext.version() != version {
            return Err(KeyError::Damaged);
        }
        Ok((version, ciphertext))
    }
}

#[async_trait]
impl KeyService for TransitKeys {
    async fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<WrappedKey, KeyError> {
        let ciphertext = self.client.encrypt(context, key).await.map_err(|failed| failed.of(self.client.name()))?;
        self.saw(ciphertext.version());
        Ok(WrappedKey { kek: self.client.kek(ciphertext.version()), sealed: ciphertext.into_bytes() })
    }

    async fn unwrap(&self, context: &[u8], wrapped: &WrappedKey) -> Result<SecretKey, KeyError> {
        let (version, ciphertext) = self.version_of(wrapped)?;
        let id = id(context, &wrapped.sealed);
        if let Some(key) = self.unwrapped.get(&id, Instant::now()) {
            return Ok(key);
        }
        let answer = self.flights.join(id, || {
            let (client, unwrapped, context) = (self.client.clone(), self.unwrapped.clone(), context.to_vec());
            async move {
                let key = client.decrypt(&context, &ciphertext).await?;
                unwrapped.put(id, key.clone(), Instant::now());
                Ok(key)
            }
        });
        let key = answer.await.map_err(|failed| failed.of(&wrapped.kek))?;
        self.saw(version);
        Ok(key)
    }

    async fn is_newest(&self, wrapped: &WrappedKey) -> Result<bool, KeyError> {
        let (version, _) = self.version_of(wrapped)?;
        let (latest, asked) = *self.latest.lock();
        // Versions only grow, so an old one needs no asking.
        if version < latest {
            return Ok(false);
        }
        if asked.is_some_and(|asked| asked.elapsed() < self.latest_time) {
            return Ok(version >= latest);
        }
        Ok(version >= self.ask_latest(false).await?)
    }
}

fn id(context: &[u8], sealed: &[u8]) -> KeyId {
    let mut hash = Sha256::new();
    hash.update((context.len() as u64).to_be_bytes());
    hash.update(context);
    hash.update(sealed);
    hash.finalize().into()
}

impl fmt::Debug for TransitKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransitKeys").field("key", &self.client.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
