//! What a set of runs has come to, as a table.

use crate::client::Tally;
use crate::event::Millis;
use crate::fault::Fault;
use crate::marks::Mark;
use crate::world::Report;
use std::collections::BTreeMap;
use std::fmt;

/// Sums over runs.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Runs.
    pub seeds: u64,
    /// Operations.
    pub tally: Tally,
    /// Fewest operations and faults of a run.
    pub least: Option<(u64, u64)>,
    /// Faults by kind: how often, and in how many runs.
    pub faults: BTreeMap<Fault, (u64, u64)>,
    /// Rare branches: how often, and in how many runs.
    pub marks: BTreeMap<Mark, (u64, u64)>,
    /// Terms led, log entries, milliseconds of simulated time.
    pub terms: u64,
    /// Log entries.
    pub entries: u64,
    /// Milliseconds of simulated time.
    pub simulated: Millis,
    /// Longest time from the end of all faults to rest.
    pub rest_max: Millis,
}

impl Totals {
    /// Adds a run.
    pub fn add(&mut self, report: &Report) {
        self.seeds += 1;
        let Tally { answered, unknown, failed } = report.tally;
        self.tally.answered += answered;
        self.tally.unknown += unknown;
        self.tally.failed += failed;
        let here = (answered + unknown + failed, report.faults.values().sum());
        let (operations, faults) = self.least.unwrap_or(here);
        self.least = Some((operations.min(here.0), faults.min(here.1)));
        for (fault, count) in &report.faults {
            let sum = self.faults.entry(*fault).or_default();
            *sum = (sum.0 + count, sum.1 + 1);
        }
        for (mark, count) in &report.marks.0 {
            let sum = self.marks.entry(*mark).or_default();
            *sum = (sum.0 + count, sum.1 + 1);
        }
        self.terms += report.terms_led;
        self.entries += report.entries;
        self.simulated += report.simulated;
        self.rest_max = self.rest_max.max(report.rest);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { answered, unknown, failed } = self.tally;
        let (operations, faults) = self.least.unwrap_or_default();
        writeln!(
            f,
            "{} seeds, {} operations: {answered} answered, {unknown} unknown, {failed} without effect",
            self.seeds,
            answered + unknown + failed
        )?;
        writeln!(
            f,
            "at least {operations} operations and {faults} faults a seed; {} terms, {} log entries, {} s simulated",
            self.terms,
            self.entries,
            self.simulated / 1000
        )?;
        writeln!(f, "longest way to rest after the last fault: {} ms", self.rest_max)?;
        for fault in Fault::ALL {
            let (count, seeds) = self.faults.get(&fault).copied().unwrap_or_default();
            writeln!(f, "  {fault:<38} {count:>8} in {seeds} seeds")?;
        }
        for mark in Mark::ALL {
            let (count, seeds) = self.marks.get(&mark).copied().unwrap_or_default();
            writeln!(f, "  {mark:<38} {count:>8} in {seeds} seeds")?;
        }
        Ok(())
    }
}
