//! How long nobody could write.

use std::time::{Duration, Instant};

/// The longest time without a successful write after one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which fault, in order.
    pub fault: usize,
    /// How long.
    pub length: Duration,
}

/// The gap of each fault: `successes` are the ends of a probe's successful writes in order. A time without a success belongs to the last
/// fault before its end; one that has not ended by `end` counts up to there.
#[must_use]
pub fn gaps(successes: &[Instant], faults: &[Instant], end: Instant) -> Vec<Gap> {
    let mut found: Vec<Gap> = (0..faults.len()).map(|fault| Gap { fault, length: Duration::ZERO }).collect();
    let first = faults.first().copied().unwrap_or(end);
    let open = (successes.last().copied().unwrap_or(first), end);
    for (start, stop) in successes.windows(2).map(|pair| (pair[0], pair[1])).chain([open]) {
        if let Some(fault) = faults.iter().rposition(|fault| *fault < stop) {
            found[fault].length = found[fault].length.max(stop - start);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_longest_gap() {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let successes: Vec<Instant> = [0, 100, 200, 1500, 1600, 3000, 3100].map(at).into();
        let found = gaps(&successes, &[at(150), at(2000)], at(3150));
        assert_eq!(found.iter().map(|gap| gap.length.as_millis()).collect::<Vec<_>>(), [1300, 1400]);
    }

    #[test]
    fn a_probe_that_never_comes_back_has_an_open_gap() {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let found = gaps(&[at(0), at(100)], &[at(120)], at(9000));
        assert_eq!(found[0].length.as_millis(), 8900);
        assert_eq!(gaps(&[], &[at(0)], at(50))[0].length.as_millis(), 50);
    }
}
