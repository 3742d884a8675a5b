//! A count of bytes that must not pass a limit.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Bytes taken and given back; [`Budget::freed`] wakes whoever waits for some.
#[derive(Debug)]
pub(crate) struct Budget {
    used: Mutex<usize>,
    max: usize,
    /// Notified whenever bytes are given back.
    pub(crate) freed: Notify,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Budget { used: Mutex::new(0), max, freed: Notify::new() }
    }

    /// Takes `bytes` if they fit; a request larger than the whole budget fits when nothing else is taken.
    pub(crate) fn try_take(&self, bytes: usize) -> bool {
        let mut used = self.used.lock();
        let fits = *used == 0 || used.saturating_add(bytes) <= self.max;
        if fits {
            *used += bytes;
        }
        fits
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut used = self.used.lock();
        debug_assert!(*used >= bytes, "more given back than taken");
        *used = used.saturating_sub(bytes);
        drop(used);
        self.freed.notify_waiters();
    }

    /// Bytes taken now.
    pub(crate) fn used(&self) -> usize {
        *self.used.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_up_to_the_limit_and_one_oversized_request() {
        let budget = Budget::new(10);
        assert!(budget.try_take(6) && !budget.try_take(5) && budget.try_take(4));
        budget.give_back(10);
        assert!(budget.try_take(100));
        assert!(!budget.try_take(1));
        assert_eq!(budget.used(), 100);
    }
}
