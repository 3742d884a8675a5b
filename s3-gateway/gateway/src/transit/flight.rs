//! One question for all who ask the same at once.

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;

type Flight<V> = BoxFuture<'static, V>;

/// Questions that are under way. Whoever asks what is being asked already waits for that answer, a failure too. A question goes on while anybody waits for it.
pub(super) struct Flights<K, V: Clone> {
    flights: Mutex<HashMap<K, WeakShared<Flight<V>>>>,
}

impl<K, V: Clone> Default for Flights<K, V> {
    fn default() -> Self {
        Flights { flights: Mutex::default() }
    }
}

impl<K: Eq + Hash, V: Clone> Flights<K, V> {
    /// The answer for `key`, which `ask` gets unless somebody is getting it.
    pub(super) fn join<F>(&self, key: K, ask: impl FnOnce() -> F) -> Shared<Flight<V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.upgrade().is_some());
        let flight = ask().boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key, weak);
        }
        flight
    }
}
