//! The figures of a run, printed, and which bounds they break.

use harness::{Gap, LoadReport, Verdict};
use std::time::Duration;

/// A write gap that at most one fault of [`GAPS_PER_LONG`] may have.
const GAP_LONG: Duration = Duration::from_secs(3);
const GAPS_PER_LONG: usize = 30;
/// A write gap that no fault may have.
const GAP_MAX: Duration = Duration::from_secs(6);
/// Complaints that are printed of each kind.
const SHOWN_MAX: usize = 10;

/// Prints what was measured and returns each broken bound as a line.
#[must_use]
pub fn conclude(name: &str, gaps: &[Gap], report: &LoadReport, verdict: &Verdict) -> Vec<String> {
    let mut lengths: Vec<Duration> = gaps.iter().map(|gap| gap.length).collect();
    lengths.sort();
    let at =
        |share: f64| lengths.get(((lengths.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        "{name}: {} faults, write gap p50 {:.2} s, longest {:.2} s; {} writes acknowledged, {} unknown; {} reads, {} failed; \
         {} keys checked, {} late, {} faults",
        gaps.len(),
        at(0.5).as_secs_f64(),
        at(1.0).as_secs_f64(),
        report.writes,
        report.failed_writes,
        report.reads,
        report.failed_reads.len(),
        verdict.keys,
        report.late as usize + verdict.late,
        report.violations.len() + verdict.faults.len(),
    );
    for (error, count) in &report.write_errors {
        println!("  {count} writes unknown: {error}");
    }
    let mut broken = Vec::new();
    let long = lengths.iter().filter(|length| **length > GAP_LONG).count();
    if long > gaps.len().div_ceil(GAPS_PER_LONG) {
        broken.push(format!("{long} of {} write gaps over {GAP_LONG:?}: {lengths:?}", gaps.len()));
    }
    if at(1.0) > GAP_MAX {
        broken.push(format!("a write gap of {:?}", at(1.0)));
    }
    for (what, complaints) in [
        ("failed reads", &report.failed_reads),
        ("wrong reads", &report.violations),
        ("wrong at the end", &verdict.faults),
    ] {
        if !complaints.is_empty() {
            let shown = complaints.iter().take(SHOWN_MAX).map(|line| format!("\n  {line}")).collect::<String>();
            broken.push(format!("{} {what}:{shown}", complaints.len()));
        }
    }
    broken
}
