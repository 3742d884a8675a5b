//! Waiting for a condition, with a bound. The only place in the tests that sleeps.

use anyhow::bail;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `condition` holds and returns how long that took.
///
/// # Errors
/// It does not hold within `bound`; the error names `what`.
pub fn until(what: &str, bound: Duration, mut condition: impl FnMut() -> bool) -> anyhow::Result<Duration> {
    within(what, bound, || condition().then_some(())).map(|((), took)| took)
}

/// Waits until `attempt` gives a value and returns it with how long that took.
///
/// # Errors
/// It gives none within `bound`; the error names `what`.
pub fn within<T>(what: &str, bound: Duration, mut attempt: impl FnMut() -> Option<T>) -> anyhow::Result<(T, Duration)> {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return Ok((value, start.elapsed()));
        }
        if start.elapsed() > bound {
            bail!("{what}: not within {} s", bound.as_secs());
        }
        // wait-ok: between two looks at a condition with a bound
        std::thread::sleep(LOOK);
    }
}

/// Waits for a moment of a schedule: when the next fault is due. Not for a condition to come true: that is [`until`].
pub fn schedule(moment: Instant) {
    // wait-ok: the schedule of the faults
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_waited_for_and_bounded() {
        let mut looks = 0;
        let met = until("three looks", Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        });
        assert!(met.is_ok());
        assert!(until("never", Duration::from_millis(30), || false).is_err());
    }
}
