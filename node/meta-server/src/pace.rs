//! Whether the disk of the raft log holds up the groups that this node leads, while those of the other voters would not.

use std::time::{Duration, Instant};

/// A flush that takes this long is slow, if the other voters did not need as long.
const SLOW: Duration = Duration::from_millis(100);
/// After so long with nothing but slow flushes others lead better.
const SLOW_MAX: Duration = Duration::from_secs(3);

/// What is known of the flushes of what this node leads.
#[derive(Default)]
pub(crate) struct Pace {
    /// When the first of the slow flushes began that no other has interrupted, and when the last one ended.
    slow: Option<(Instant, Instant)>,
}

impl Pace {
    /// A leader's entries have become durable at `now`, after a flush that took so long; `overtaken`: a quorum of others had them before.
    /// Whether somebody else had better lead; then it begins anew.
    pub(crate) fn flushed(&mut self, now: Instant, took: Duration, overtaken: bool) -> bool {
        if took < SLOW || !overtaken {
            self.slow = None;
            return false;
        }
        let begun = now.checked_sub(took).unwrap_or(now);
        let since = match self.slow {
            // Nothing is known of what lay between.
            Some((since, until)) if begun.saturating_duration_since(until) < SLOW_MAX => since,
            _ => begun,
        };
        let too_long = now.saturating_duration_since(since) >= SLOW_MAX;
        self.slow = (!too_long).then_some((since, now));
        too_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flushes that end one after the other, each a time after the one before; when somebody else had better lead.
    fn too_long(flushes: &[(u64, u64, bool)]) -> Vec<usize> {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut flushed = |(pause, took, overtaken): (u64, u64, bool)| {
            now += Duration::from_millis(pause + took);
            pace.flushed(now, Duration::from_millis(took), overtaken)
        };
        (0..flushes.len()).filter(|i| flushed(flushes[*i])).collect()
    }

    #[test]
    fn nothing_but_slow_flushes_for_a_while_is_too_long() {
        assert_eq!(too_long(&[(0, 500, true); 12]), [5, 11], "it begins anew");
        assert_eq!(too_long(&[(20, 100, true); 26]), [25]);
        assert_eq!(too_long(&[(0, 3000, true)]), [0]);
        assert_eq!(too_long(&[(0, 1500, true), (0, 1500, true)]), [1]);
    }

    #[test]
    fn a_flush_that_is_quick_or_as_quick_as_those_of_others_or_a_pause_begins_anew() {
        for other in [(0, 50, true), (0, 500, false), (3000, 500, true)] {
            let mut flushes = vec![(0, 500, true); 5];
            flushes.push(other);
            flushes.extend([(0, 500, true); 4]);
            assert_eq!(too_long(&flushes), []);
        }
    }
}
