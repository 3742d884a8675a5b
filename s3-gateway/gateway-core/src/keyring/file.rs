//! Key-encryption keys in a file: one a line, the newest first.
//!
//! ```text
//! # What starts so is a comment.
//! kek-2026-11-26-1 5d1f…64 hex digits…          new keys are wrapped under this one
//! kek-2025-01-03-1 q83v…44 digits of base64…=   unwraps what is older
//! ```
//! A name stands for one key for ever: what was wrapped under it says nothing but the name. So a file in which a known name has another key is refused, as one that
//! has a name or a key twice is. The bytes of a wrapped key: docs/formats/wrapped-keys.md.
//!
//! Nonces are random. A key is safe for 2^32 wrapped keys, which is more than a cluster has files; a new one each year keeps far from it.
//!
//! `ring` does not wipe the key schedules that it makes of keys.

mod add;
mod seal;
mod text;

pub use text::{KEK_COUNT_MAX, KeyLineFault};

use super::{KeyError, KeyService, SecretKey, WrappedKey};
use crate::secret_file::{self, SecretFileError};
use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of a file: room for [`KEK_COUNT_MAX`] keys and a line of comment for each.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Time between two reads of the file for keys that it does not have: records may name any, again and again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why a key file is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read, or others can.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// It cannot be written.
    #[error("{path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line is none of a key.
    #[error("{path}, line {line}: {fault}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it; nothing of the key is in it.
        fault: KeyLineFault,
    },
    /// A name that no key can have.
    #[error("{0}")]
    Name(KeyLineFault),
    /// A key that is to be added has the name of one that is there.
    #[error("{path}: there is a key {name} already")]
    Taken {
        /// Which file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// Not one key.
    #[error("{0} has no key")]
    Empty(PathBuf),
    /// A name that this process knows has another key now: what was wrapped under it could not be unwrapped.
    #[error("{path}: the key {name} is another one than before; give a new key a new name")]
    Changed {
        /// Which file.
        path: PathBuf,
        /// Of which key.
        name: String,
    },
}

/// What a reload has changed. A name that is gone means that whatever is wrapped under it cannot be read here any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadedKeys {
    /// Names that are new.
    pub added: Vec<String>,
    /// Names that are gone.
    pub removed: Vec<String>,
    /// The newest key, if it is another one than before.
    pub newest: Option<String>,
}

impl ReloadedKeys {
    /// Whether anything has.
    #[must_use]
    pub fn is_change(&self) -> bool {
        *self != ReloadedKeys::default()
    }
}

/// One key of a file.
struct Kek {
    name: String,
    key: SecretKey,
    cipher: seal::Cipher,
}

/// The keys of a file, as this process last read them. It wraps and unwraps without asking anybody, and reads the file anew for a key that it does not know, so
/// that a file which is everywhere before the first gateway reads it is enough for a rotation.
pub struct KeyFile {
    path: PathBuf,
    /// The newest first; never empty.
    keks: RwLock<Arc<[Kek]>>,
    /// When it was last read for a key that it did not have.
    looked: Mutex<Option<Instant>>,
}

impl KeyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        Ok(KeyFile { path: path.to_owned(), keks: RwLock::new(read(path)?.into()), looked: Mutex::new(None) })
    }

    /// Adds a key to a file as its newest, and makes the file if there is none, with mode 0600; one that is there keeps its owner and mode. After `Ok` a power
    /// cut cannot lose the key. Several may add at once.
    ///
    /// # Errors
    /// [`KeyFileError`]: nothing has changed, unless the disk failed at the very end. A name that the file has is refused.
    pub fn add(path: &Path, name: &str, key: &SecretKey) -> Result<(), KeyFileError> {
        add::add(path, name, key)
    }

    /// Reads the file anew. After an error the keys are those of before.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn reload(&self) -> Result<ReloadedKeys, KeyFileError> {
        let new = read(&self.path)?;
        let mut keks = self.keks.write();
        let changed = new.iter().find(|kek| find(&keks, &kek.name).is_some_and(|old| old.key != kek.key));
        if let Some(kek) = changed {
            return Err(KeyFileError::Changed { path: self.path.clone(), name: kek.name.clone() });
        }
        let missing_in = |of: &[Kek], keks: &[Kek]| {
            of.iter().filter(|kek| find(keks, &kek.name).is_none()).map(|kek| kek.name.clone()).collect()
        };
        let reloaded = ReloadedKeys {
            added: missing_in(&new, &keks),
            removed: missing_in(&keks, &new),
            newest: new.first().map(|kek| &kek.name).filter(|name| *name != &keks[0].name).cloned(),
        };
        *keks = new.into();
        Ok(reloaded)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of its keys, the newest first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.keks.read().iter().map(|kek| kek.name.clone()).collect()
    }

    fn keks(&self) -> Arc<[Kek]> {
        self.keks.read().clone()
    }

    /// The keys, with that one among them if the file has it: another gateway may have read a new file a moment earlier, and wrapped under its newest key.
    fn keks_with(&self, name: &str) -> Arc<[Kek]> {
        let keks = self.keks();
        if find(&keks, name).is_some() || !self.may_look() {
            return keks;
        }
        match self.reload() {
            Ok(reloaded) if reloaded.is_change() => {
                tracing::info!(file = %self.path.display(), ?reloaded, "the key file has changed")
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the key file cannot be read anew"),
        }
        self.keks()
    }

    fn may_look(&self) -> bool {
        let mut looked = self.looked.lock();
        let may = looked.is_none_or(|at| at.elapsed() >= LOOK_INTERVAL);
        if may {
            *looked = Some(Instant::now());
        }
        may
    }
}

/// The keys of a file; at least one.
fn read(path: &Path) -> Result<Vec<Kek>, KeyFileError> {
    let text = secret_file::read_text(path, FILE_BYTES_MAX)?;
    let keks = parse(path, &text)?;
    if keks.is_empty() {
        return Err(KeyFileError::Empty(path.to_owned()));
    }
    Ok(keks)
}

/// The keys of a text, none or more.
fn parse(path: &Path, text: &str) -> Result<Vec<Kek>, KeyFileError> {
    let lines = text::parse(text).map_err(|(line, fault)| KeyFileError::Line { path: path.to_owned(), line, fault })?;
    let keks = lines.into_iter().map(|(name, key)| Kek { cipher: seal::Cipher::new(&key), name, key });
    Ok(keks.collect())
}

fn find<'a>(keks: &'a [Kek], name: &str) -> Option<&'a Kek> {
    keks.iter().find(|kek| kek.name == name)
}

#[async_trait]
impl KeyService for KeyFile {
    async fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<WrappedKey, KeyError> {
        let keks = self.keks();
        let newest = &keks[0];
        let sealed = newest.cipher.seal(&newest.name, context, key, &seal::nonce()?)?;
        Ok(WrappedKey { kek: newest.name.clone(), sealed })
    }

    async fn unwrap(&self, context: &[u8], wrapped: &WrappedKey) -> Result<SecretKey, KeyError> {
        let keks = self.keks_with(&wrapped.kek);
        let kek = find(&keks, &wrapped.kek).ok_or_else(|| KeyError::NoSuchKek { kek: wrapped.kek.clone() })?;
        kek.cipher.open(&kek.name, context, &wrapped.sealed)
    }

    async fn is_newest(&self, wrapped: &WrappedKey) -> Result<bool, KeyError> {
        Ok(self.keks()[0].name == wrapped.kek)
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: BTreeSet<String> = self.names().into_iter().collect();
        f.debug_struct("KeyFile").field("path", &self.path).field("names", &names).finish()
    }
}

#[cfg(test)]
mod tests;
