//! A key service in memory.

use async_trait::async_trait;
use gateway_core::{KeyError, KeyService, SecretKey, WrappedKey};
use parking_lot::Mutex;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Wraps keys under keys that are gone when the test ends.
pub struct MemoryKeys {
    /// The newest last; the place of each is its name.
    keks: Mutex<Vec<LessSafeKey>>,
    away: AtomicBool,
    unwrapped: AtomicUsize,
}

impl MemoryKeys {
    /// With a new key.
    ///
    /// # Panics
    /// There is no randomness.
    #[must_use]
    pub fn new() -> Self {
        let keys = MemoryKeys { keks: Mutex::default(), away: AtomicBool::new(false), unwrapped: AtomicUsize::new(0) };
        keys.rotate();
        keys
    }

    /// Wraps under another key from now on.
    ///
    /// # Panics
    /// There is no randomness.
    pub fn rotate(&self) {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).expect("randomness");
        self.keks.lock().push(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).expect("32 bytes")));
    }

    fn newest(&self) -> String {
        format!("memory:{}", self.keks.lock().len())
    }

    /// Whether it does not answer from now on.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// How often a key was unwrapped.
    #[must_use]
    pub fn unwrapped(&self) -> usize {
        self.unwrapped.load(Ordering::SeqCst)
    }

    fn reachable(&self) -> Result<(), KeyError> {
        let away = self.away.load(Ordering::SeqCst);
        (!away).then_some(()).ok_or_else(|| KeyError::Unavailable("the test took it away".into()))
    }
}

impl Default for MemoryKeys {
    fn default() -> Self {
        MemoryKeys::new()
    }
}

#[async_trait]
impl KeyService for MemoryKeys {
    async fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<WrappedKey, KeyError> {
        self.reachable()?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).expect("randomness");
        let mut sealed = key.expose().to_vec();
        let sealing = Nonce::assume_unique_for_key(nonce);
        let kek = self.newest();
        let keks = self.keks.lock();
        let newest = keks.last().expect("never without one");
        newest.seal_in_place_append_tag(sealing, Aad::from(context), &mut sealed).expect("short");
        Ok(WrappedKey { kek, sealed: [nonce.as_slice(), &sealed].concat() })
    }

    async fn unwrap(&self, context: &[u8], wrapped: &WrappedKey) -> Result<SecretKey, KeyError> {
        self.reachable()?;
        let keks = self.keks.lock();
        let place = wrapped.kek.strip_prefix("memory:").and_then(|place| place.parse::<usize>().ok());
        let kek = place.and_then(|place| keks.get(place.checked_sub(1)?));
        let kek = kek.ok_or_else(|| KeyError::NoSuchKek { kek: wrapped.kek.clone() })?;
        let (nonce, sealed) = wrapped.sealed.split_at_checked(NONCE_LEN).ok_or(KeyError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Damaged)?;
        let mut sealed = sealed.to_vec();
        let plain = kek.open_in_place(nonce, Aad::from(context), &mut sealed).map_err(|_| KeyError::Damaged)?;
        self.unwrapped.fetch_add(1, Ordering::SeqCst);
        plain.try_into().map(|key: &mut [u8; 32]| SecretKey::new(*key)).map_err(|_| KeyError::Damaged)
    }

    async fn is_newest(&self, wrapped: &WrappedKey) -> Result<bool, KeyError> {
        Ok(wrapped.kek == self.newest())
    }
}
