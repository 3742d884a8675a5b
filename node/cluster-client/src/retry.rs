//! How often and how fast calls are repeated: soon, so that a new leader is found as soon as there is one, but not so often
//! that many callers keep a struggling cluster from recovering.

use parking_lot::Mutex;
use rand::Rng;
use std::time::Duration;

/// Between two rounds of asking while there is no leader. An election takes 1-2 s; callers must succeed within 3.
const PAUSE_MILLIS: std::ops::Range<u64> = 40..90;
/// The same when the budget is used up.
const PAUSE_POOR_MILLIS: std::ops::Range<u64> = 300..600;
/// First and longest pause of a caller who was told that the node is busy.
const BUSY_PAUSE_MIN: Duration = Duration::from_millis(20);
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(640);
/// Retries that may be made at once after a quiet time. An election of 2 s costs one lone caller about 40.
const TOKENS_MAX: f64 = 2000.0;
/// What a fresh call adds: retries are about a tenth of all calls in the long run.
const TOKENS_PER_CALL: f64 = 0.1;

/// Retries all callers of a client share.
pub(crate) struct Budget {
    tokens: Mutex<f64>,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Budget { tokens: Mutex::new(TOKENS_MAX) }
    }

    /// A fresh call.
    pub(crate) fn earn(&self) {
        let mut tokens = self.tokens.lock();
        *tokens = (*tokens + TOKENS_PER_CALL).min(TOKENS_MAX);
    }

    /// How long to wait before another round; longer when too many have been made.
    pub(crate) fn pause(&self) -> Duration {
        let mut tokens = self.tokens.lock();
        let range = if *tokens >= 1.0 {
            *tokens -= 1.0;
            PAUSE_MILLIS
        } else {
            PAUSE_POOR_MILLIS
        };
        Duration::from_millis(rand::rng().random_range(range))
    }
}

/// Pauses of one caller who is told that the node is busy: growing, and never two callers' in step.
pub(crate) struct BusyPause(Duration);

impl BusyPause {
    pub(crate) fn new() -> Self {
        BusyPause(BUSY_PAUSE_MIN)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0.mul_f64(rand::rng().random_range(0.5..1.0));
        self.0 = (2 * self.0).min(BUSY_PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_slow_down_when_they_are_no_small_part_of_the_calls() {
        let budget = Budget::new();
        let quick = (0..).take_while(|_| budget.pause() < Duration::from_millis(100)).count();
        assert_eq!(quick, TOKENS_MAX as usize);
        (0..100).for_each(|_| budget.earn());
        // Sums of tenths are not exact.
        let quick = (0..).take_while(|_| budget.pause() < Duration::from_millis(100)).count();
        assert!((9..=10).contains(&quick));
    }
}
