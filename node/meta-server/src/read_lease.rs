//! A leader's lease as those see it who read: they ask nobody, not even the raft thread.

use crate::steady_clock;
use raft_core::LEASE_MILLIS;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use types::Moment;

/// Set by the raft thread, looked at by everybody.
#[derive(Default)]
pub(crate) struct ReadLease {
    /// In the milliseconds of [`steady_clock`]; 0: there is none.
    until: AtomicU64,
    /// Somebody has read by it since it was last asked whether to renew it.
    used: AtomicBool,
}

impl ReadLease {
    /// Whoever reads after this returns goes by it.
    pub(crate) fn set(&self, until: Option<Moment>) {
        self.until.store(until.unwrap_or_default().0, Ordering::SeqCst);
    }

    /// Whether what is applied here was, at some moment since the call, the newest there is.
    pub(crate) fn is_held(&self) -> bool {
        let until = self.until.load(Ordering::SeqCst);
        let held = until > 0 && steady_clock::now().0 < until;
        if held {
            self.used.store(true, Ordering::Relaxed);
        }
        held
    }

    /// Whether it is in use and half over. Nothing is asked for the sake of a group that nobody reads.
    pub(crate) fn wants_renewal(&self) -> bool {
        let until = self.until.load(Ordering::SeqCst);
        let half_over = steady_clock::now().0 + LEASE_MILLIS / 2 >= until;
        until > 0 && half_over && self.used.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_holds_until_its_end_and_is_renewed_if_it_was_used() {
        let lease = ReadLease::default();
        assert!(!lease.is_held() && !lease.wants_renewal());
        lease.set(Some(steady_clock::now() + LEASE_MILLIS / 3));
        assert!(!lease.wants_renewal(), "nobody has read");
        assert!(lease.is_held());
        assert!(lease.wants_renewal());
        assert!(!lease.wants_renewal(), "it was asked for");
        lease.set(Some(steady_clock::now() + 60 * LEASE_MILLIS));
        assert!(lease.is_held() && !lease.wants_renewal(), "there is time");
        lease.set(Some(steady_clock::now()));
        assert!(!lease.is_held(), "it is over");
        lease.set(None);
        assert!(!lease.is_held());
    }
}
