//! A small cache in front of the control group.
//!
//! ```text
//! age          fresh               stale                      older
//! lookup       answered from here  answered from here, and    waits for the
//!                                  asked for again behind     control group
//! ```
//! So a change of leader of the control group stops nobody who was here a moment ago, and a change made elsewhere is
//! seen after `stale` at the latest. What does not exist is remembered too, but only while it is fresh.

use crate::error::ClusterError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

struct Entry<V> {
    value: Option<V>,
    asked: Instant,
    asking: bool,
}

/// Values by name, each with an age.
pub(crate) struct Cache<K, V> {
    entries: Mutex<HashMap<K, Entry<V>>>,
    fresh: Duration,
    stale: Duration,
    entries_max: usize,
}

enum Found<V> {
    Use(Option<V>),
    UseAndAsk(Option<V>),
    Ask,
}

impl<K: Eq + Hash + Clone + Send + 'static, V: Clone + Send + 'static> Cache<K, V> {
    pub(crate) fn new(fresh: Duration, stale: Duration, entries_max: usize) -> Arc<Self> {
        Arc::new(Cache { entries: Mutex::default(), fresh, stale, entries_max })
    }

    /// The value of `key`, asked of `ask` if need be.
    pub(crate) async fn get<F>(self: &Arc<Self>, key: &K, ask: impl FnOnce() -> F) -> Result<Option<V>, ClusterError>
    where
        F: Future<Output = Result<Option<V>, ClusterError>> + Send + 'static,
    {
        match self.find(key) {
            Found::Use(value) => Ok(value),
            Found::UseAndAsk(value) => {
                let (cache, key, answer) = (self.clone(), key.clone(), ask());
                tokio::spawn(async move {
                    match answer.await {
                        Ok(value) => cache.set(key, value),
                        Err(_) => cache.asked_in_vain(&key),
                    }
                });
                Ok(value)
            }
            Found::Ask => {
                let value = ask().await?;
                self.set(key.clone(), value.clone());
                Ok(value)
            }
        }
    }

    /// What is fresh, if anything is.
    pub(crate) fn known(&self, key: &K) -> Option<V> {
        let entries = self.entries.lock();
        entries.get(key).filter(|entry| entry.asked.elapsed() < self.fresh).and_then(|entry| entry.value.clone())
    }

    /// Sets what is known for sure.
    pub(crate) fn set(&self, key: K, value: Option<V>) {
        let mut entries = self.entries.lock();
        if entries.len() >= self.entries_max && !entries.contains_key(&key) {
            let stale = self.stale;
            entries.retain(|_, entry| entry.asked.elapsed() < stale);
            if entries.len() >= self.entries_max {
                return;
            }
        }
        entries.insert(key, Entry { value, asked: Instant::now(), asking: false });
    }

    /// Forgets a key.
    pub(crate) fn forget(&self, key: &K) {
        self.entries.lock().remove(key);
    }

    fn find(&self, key: &K) -> Found<V> {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(key) else { return Found::Ask };
        let age = entry.asked.elapsed();
        if age < self.fresh {
            return Found::Use(entry.value.clone());
        }
        if age >= self.stale || entry.value.is_none() {
            return Found::Ask;
        }
        if std::mem::replace(&mut entry.asking, true) {
            return Found::Use(entry.value.clone());
        }
        Found::UseAndAsk(entry.value.clone())
    }

    fn asked_in_vain(&self, key: &K) {
        if let Some(entry) = self.entries.lock().get_mut(key) {
            entry.asking = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: Duration = Duration::from_secs(3600);
    type Answer = Result<Option<u32>, ClusterError>;

    async fn get(cache: &Arc<Cache<u32, u32>>, answer: Answer) -> Answer {
        cache.get(&1, || async { answer }).await
    }

    #[tokio::test]
    async fn what_is_fresh_is_used_even_if_it_does_not_exist() {
        let cache = Cache::new(AGES, AGES, 10);
        assert_eq!(get(&cache, Ok(Some(1))).await, Ok(Some(1)));
        assert_eq!(get(&cache, Ok(Some(2))).await, Ok(Some(1)));
        cache.set(1, None);
        assert_eq!(get(&cache, Ok(Some(2))).await, Ok(None));
        cache.forget(&1);
        assert_eq!(get(&cache, Ok(Some(3))).await, Ok(Some(3)));
    }

    #[tokio::test]
    async fn what_is_stale_is_used_and_asked_for_behind() {
        let cache = Cache::new(Duration::ZERO, AGES, 10);
        assert_eq!(get(&cache, Ok(Some(1))).await, Ok(Some(1)));
        assert_eq!(get(&cache, Err(ClusterError::Unavailable)).await, Ok(Some(1)));
        tokio::task::yield_now().await;
        assert_eq!(get(&cache, Ok(Some(3))).await, Ok(Some(1)));
        tokio::task::yield_now().await;
        assert_eq!(get(&cache, Ok(Some(4))).await, Ok(Some(3)));
        cache.set(1, None);
        assert_eq!(get(&cache, Ok(Some(5))).await, Ok(Some(5)), "absence is never used when it is not fresh");
    }

    #[tokio::test]
    async fn what_is_old_is_asked_for() {
        let cache = Cache::new(Duration::ZERO, Duration::ZERO, 10);
        assert_eq!(get(&cache, Ok(Some(1))).await, Ok(Some(1)));
        assert_eq!(get(&cache, Err(ClusterError::Unavailable)).await, Err(ClusterError::Unavailable));
        assert_eq!(get(&cache, Ok(Some(2))).await, Ok(Some(2)));
    }

    #[test]
    fn it_never_grows_beyond_its_bound() {
        let full: Arc<Cache<u32, u32>> = Cache::new(AGES, AGES, 3);
        (0..10).for_each(|key| full.set(key, Some(key)));
        assert_eq!(full.entries.lock().len(), 3);
        let old: Arc<Cache<u32, u32>> = Cache::new(Duration::ZERO, Duration::ZERO, 3);
        (0..10).for_each(|key| old.set(key, Some(key)));
        assert!(old.entries.lock().len() <= 3);
        assert!(old.entries.lock().contains_key(&9), "the old make room");
    }
}
