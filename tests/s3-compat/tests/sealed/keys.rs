//! A key service in memory: a wrapped key is a handle that only it understands.

use async_trait::async_trait;
use gateway_core::{KeyError, KeyService, SecretKey, WrappedKey};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct State {
    newest: u32,
    /// Key-encryption keys below it are gone.
    oldest: u32,
    away: bool,
    kept: BTreeMap<u64, (u32, Vec<u8>, SecretKey)>,
}

/// The service.
#[derive(Clone, Default)]
pub struct MemoryKeys(Arc<Mutex<State>>);

impl MemoryKeys {
    /// From now on another key-encryption key is the newest.
    pub fn rotate(&self) {
        self.0.lock().expect("not poisoned").newest += 1;
    }

    /// Forgets all but the newest.
    pub fn forget_old(&self) {
        let mut state = self.0.lock().expect("not poisoned");
        state.oldest = state.newest;
    }

    /// Whether it answers.
    pub fn set_away(&self, away: bool) {
        self.0.lock().expect("not poisoned").away = away;
    }
}

fn name(kek: u32) -> String {
    format!("kek-{kek}")
}

#[async_trait]
impl KeyService for MemoryKeys {
    async fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<WrappedKey, KeyError> {
        let mut state = self.0.lock().expect("not poisoned");
        if state.away {
            return Err(KeyError::Unavailable("away".into()));
        }
        let (handle, kek) = (state.kept.len() as u64, state.newest);
        state.kept.insert(handle, (kek, context.to_vec(), key.clone()));
        Ok(WrappedKey { kek: name(kek), sealed: handle.to_be_bytes().to_vec() })
    }

    async fn unwrap(&self, context: &[u8], wrapped: &WrappedKey) -> Result<SecretKey, KeyError> {
        let state = self.0.lock().expect("not poisoned");
        if state.away {
            return Err(KeyError::Unavailable("away".into()));
        }
        let handle = wrapped.sealed.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| KeyError::Damaged)?;
        let (kek, meant, key) = state.kept.get(&handle).ok_or(KeyError::Damaged)?;
        match () {
            () if *kek < state.oldest => Err(KeyError::NoSuchKek { kek: wrapped.kek.clone() }),
            () if meant == context && wrapped.kek == name(*kek) => Ok(key.clone()),
            () => Err(KeyError::Damaged),
        }
    }

    async fn is_newest(&self, wrapped: &WrappedKey) -> Result<bool, KeyError> {
        Ok(wrapped.kek == name(self.0.lock().expect("not poisoned").newest))
    }
}
