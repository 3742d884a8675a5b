//! Keys that were unwrapped lately, so that a reader who asks range by range does not ask the engine each time.

use super::KeyId;
use gateway_core::SecretKey;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Keys in memory, so many at most, each so long after the engine gave it; being used makes none younger. Each is wiped when it goes.
pub(super) struct UnwrappedKeys {
    entries_max: usize,
    time: Duration,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    keys: HashMap<KeyId, (SecretKey, Instant)>,
    /// In the order in which they came, and so in which they end.
    order: VecDeque<(KeyId, Instant)>,
}

impl UnwrappedKeys {
    pub(super) fn new(entries_max: usize, time: Duration) -> Self {
        UnwrappedKeys { entries_max, time, entries: Mutex::default() }
    }

    pub(super) fn get(&self, id: &KeyId, now: Instant) -> Option<SecretKey> {
        let mut entries = self.entries.lock();
        entries.remove_ended(now, self.time);
        entries.keys.get(id).map(|(key, _)| key.clone())
    }

    pub(super) fn put(&self, id: KeyId, key: SecretKey, now: Instant) {
        if self.entries_max == 0 || self.time.is_zero() {
            return;
        }
        let mut entries = self.entries.lock();
        entries.remove_ended(now, self.time);
        if entries.keys.insert(id, (key, now)).is_none() && entries.keys.len() > self.entries_max {
            entries.remove_oldest();
        }
        entries.order.push_back((id, now));
    }

    pub(super) fn clear(&self) {
        *self.entries.lock() = Entries::default();
    }
}

impl Entries {
    fn remove_ended(&mut self, now: Instant, time: Duration) {
        while self.order.front().is_some_and(|(_, came)| now.saturating_duration_since(*came) >= time) {
            self.remove_oldest();
        }
    }

    /// Removes the oldest that has not come anew since.
    fn remove_oldest(&mut self) {
        if let Some((id, came)) = self.order.pop_front()
            && self.keys.get(&id).is_some_and(|(_, latest)| *latest == came)
        {
            self.keys.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::new([byte; 32])
    }

    #[test]
    fn keys_are_kept_for_their_time_and_no_longer() {
        let (cache, begin) = (UnwrappedKeys::new(9, Duration::from_secs(10)), Instant::now());
        let at = |secs| begin + Duration::from_secs(secs);
        cache.put([1; 32], key(1), at(0));
        assert_eq!(cache.get(&[1; 32], at(9)), Some(key(1)));
        assert_eq!(cache.get(&[2; 32], at(9)), None);
        cache.put([1; 32], key(1), at(8));
        assert_eq!(cache.get(&[1; 32], at(17)), Some(key(1)), "it came anew");
        assert_eq!(cache.get(&[1; 32], at(18)), None);
        assert!(cache.entries.lock().keys.is_empty() && cache.entries.lock().order.is_empty());
        cache.put([3; 32], key(3), at(20));
        cache.clear();
        assert_eq!(cache.get(&[3; 32], at(20)), None);
    }

    #[test]
    fn the_oldest_makes_room() {
        let (cache, now) = (UnwrappedKeys::new(2, Duration::from_secs(10)), Instant::now());
        for byte in 1..=3 {
            cache.put([byte; 32], key(byte), now);
        }
        assert_eq!(cache.get(&[1; 32], now), None);
        assert_eq!((cache.get(&[2; 32], now), cache.get(&[3; 32], now)), (Some(key(2)), Some(key(3))));
        let none = UnwrappedKeys::new(0, Duration::from_secs(10));
        none.put([1; 32], key(1), now);
        assert_eq!(none.get(&[1; 32], now), None);
    }
}
