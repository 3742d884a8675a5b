//! What many operations came to: how many, how fast, how late the late ones were.

use serde::Serialize;
use std::time::Duration;

/// Operations of one kind, as they end.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    micros: Vec<u32>,
    /// Operations that failed; they have no latency here.
    pub failed: u64,
    /// Body bytes of those that succeeded.
    pub bytes: u64,
}

impl Samples {
    /// Counts one operation that succeeded.
    pub fn add(&mut self, took: Duration, bytes: u64) {
        self.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        self.bytes += bytes;
    }

    /// Puts another worker's samples in with these.
    pub fn merge(&mut self, other: Self) {
        self.micros.extend(other.micros);
        self.failed += other.failed;
        self.bytes += other.bytes;
    }

    /// How many succeeded.
    #[must_use]
    pub fn count(&self) -> usize {
        self.micros.len()
    }

    /// Rates over `wall`, and percentiles.
    #[must_use]
    pub fn summary(mut self, wall: Duration) -> Summary {
        self.micros.sort_unstable();
        let seconds = wall.as_secs_f64().max(1e-9);
        let percentile = |share: f64| {
            let at = (self.micros.len() as f64 * share) as usize;
            self.micros.get(at.min(self.micros.len().saturating_sub(1))).map_or(0.0, |micros| f64::from(*micros) / 1e3)
        };
        Summary {
            ops: self.micros.len() as u64,
            failed: self.failed,
            seconds,
            ops_per_second: self.micros.len() as f64 / seconds,
            megabytes_per_second: self.bytes as f64 / 1e6 / seconds,
            bytes: self.bytes,
            p50_ms: percentile(0.50),
            p99_ms: percentile(0.99),
        }
    }
}

/// Rates and percentiles of one workload.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Operations that succeeded.
    pub ops: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Wall time.
    pub seconds: f64,
    /// Operations a second.
    pub ops_per_second: f64,
    /// Body bytes, in 10^6 a second.
    pub megabytes_per_second: f64,
    /// Body bytes in all.
    pub bytes: u64,
    /// Median latency, ms.
    pub p50_ms: f64,
    /// 99th percentile of the latency, ms.
    pub p99_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_samples() {
        let mut samples = Samples::default();
        for ms in (1..=100).rev() {
            samples.add(Duration::from_millis(ms), 10);
        }
        let summary = samples.summary(Duration::from_secs(2));
        assert_eq!((summary.ops, summary.bytes), (100, 1000));
        assert!((summary.p50_ms - 51.0).abs() < 1e-9 && (summary.p99_ms - 100.0).abs() < 1e-9);
        assert!((summary.ops_per_second - 50.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_has_a_summary_too() {
        assert_eq!(Samples::default().summary(Duration::ZERO).ops, 0);
    }
}
