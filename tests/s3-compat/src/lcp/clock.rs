//! Time that passes when a test says so.

use gateway_core::lcp::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use types::Timestamp;

/// A time as documents write it.
///
/// # Panics
/// It is no date.
#[must_use]
pub fn at(text: &str) -> Timestamp {
    drm::rfc3339::read(text).expect("a date")
}

/// A clock that stands still.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// At that time.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        TestClock(Arc::new(AtomicI64::new(now.0)))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    /// Sets it.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Lets seconds pass.
    pub fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds * Timestamp::SECOND, Ordering::SeqCst);
    }

    /// As the store of books takes it.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let clock = self.clone();
        Clock::new(move || clock.now())
    }
}
