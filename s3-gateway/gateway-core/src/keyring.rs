//! Keys that wrap keys: what a [`KeyService`] promises, and what it gives out.
//!
//! Contents and titles have keys of their own. These are kept wrapped under a *key-encryption key* that no node and no mount has: a gateway has it from a
//! file, or asks a service that keeps it. To rotate it is to wrap the small keys anew; what they encrypt stays as it is.

mod file;

pub use file::{KEK_COUNT_MAX, KeyFile, KeyFileError, KeyLineFault, ReloadedKeys};

use async_trait::async_trait;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of the name of a key-encryption key.
pub const KEK_NAME_BYTES_MAX: usize = 64;
/// Bytes of a wrapped key, in whatever form its service has it. Both kinds of ours make less than 200.
pub const WRAPPED_BYTES_MAX: usize = 512;

/// A key in the clear. It does not print itself, and its memory is wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Zeroizing<[u8; KEY_BYTES]>);

impl SecretKey {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        SecretKey(Zeroizing::new(bytes))
    }

    /// A new one, of random bytes from the system.
    ///
    /// # Errors
    /// [`KeyError::Unavailable`]: the system has none.
    pub fn random() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let filled = SystemRandom::new().fill(bytes.as_mut_slice());
        filled.map_err(|_| KeyError::Unavailable("the system has no random bytes".into()))?;
        Ok(SecretKey(bytes))
    }

    /// The bytes, for a cipher.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(secret)")
    }
}

/// A key as it is kept: useless without the key-encryption key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// Name of the key-encryption key, with its version; at most [`KEK_NAME_BYTES_MAX`] bytes.
    pub kek: String,
    /// At most [`WRAPPED_BYTES_MAX`] bytes that only the service understands.
    pub sealed: Vec<u8>,
}

/// Why a key was not wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The service does not answer, or not now.
    #[error("the key service cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// This gateway has no such key-encryption key.
    #[error("there is no key-encryption key {kek} here")]
    NoSuchKek {
        /// Its name.
        kek: String,
    },
    /// It was wrapped for something else, or changed.
    #[error("the wrapped key is damaged or belongs to something else")]
    Damaged,
    /// The service refuses.
    #[error("the key service refuses: {0}")]
    Refused(String),
}

/// Wraps keys under a key-encryption key.
#[async_trait]
pub trait KeyService: Send + Sync {
    /// Wraps a key under the newest key-encryption key. It can be unwrapped only with the same `context`, which says what the key is for.
    ///
    /// # Errors
    /// [`KeyError`].
    async fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<WrappedKey, KeyError>;

    /// Gives back a wrapped key.
    ///
    /// # Errors
    /// [`KeyError`].
    async fn unwrap(&self, context: &[u8], wrapped: &WrappedKey) -> Result<SecretKey, KeyError>;

    /// Whether it was wrapped under the newest key-encryption key: if not, a rotation has to wrap it anew.
    ///
    /// # Errors
    /// [`KeyError`]: the service has to be asked and does not answer.
    async fn is_newest(&self, wrapped: &WrappedKey) -> Result<bool, KeyError>;
}
