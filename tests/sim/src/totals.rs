//! What a set of runs has come to, as a table.

use crate::client::Tally;
use crate::event::Millis;
use crate::fault::Fault;
use crate::marks::Mark;
use crate::script::FAULTS_MIN;
use crate::world::Report;
use std::collections::BTreeMap;
use std::fmt;

/// Operations that a run does at least: a quieter one proves little.
const OPERATIONS_MIN: u64 = 500;

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
        self.least = Some(fewer(self.least, here));
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

    /// What keeps these runs from proving what they should: a run that was too quiet, a kind of fault that was made in fewer than a hundredth of
    /// them, a rare branch that none has come to. One line each.
    #[must_use]
    pub fn shortfalls(&self) -> Vec<String> {
        let mut found = Vec::new();
        let (operations, faults) = self.least.unwrap_or_default();
        if operations < OPERATIONS_MIN || faults < FAULTS_MIN {
            found.push(format!("a run had {operations} operations only, or {faults} faults"));
        }
        for fault in Fault::ALL {
            let (_, seeds) = self.faults.get(&fault).copied().unwrap_or_default();
            if seeds * 100 < self.seeds {
                found.push(format!("{fault}: in {seeds} of {} runs", self.seeds));
            }
        }
        let missed = Mark::ALL.into_iter().filter(|mark| !self.marks.contains_key(mark));
        found.extend(missed.map(|mark| format!("no run has come to: {mark}")));
        found
    }
}

impl Totals {
    fn percent(&self, seeds: u64) -> f64 {
        100.0 * seeds as f64 / self.seeds.max(1) as f64
    }
}

fn fewer(least: Option<(u64, u64)>, here: (u64, u64)) -> (u64, u64) {
    let (operations, faults) = least.unwrap_or(here);
    (operations.min(here.0), faults.min(here.1))
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
            writeln!(f, "  {fault:<38} {count:>8} in {seeds} seeds, {:.1} %", self.percent(seeds))?;
        }
        for mark in Mark::ALL {
            let (count, seeds) = self.marks.get(&mark).copied().unwrap_or_default();
            writeln!(f, "  {mark:<38} {count:>8} in {seeds} seeds, {:.1} %", self.percent(seeds))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::Marks;

    /// A run that has done all that is asked for.
    fn full() -> Report {
        let tally = Tally { answered: OPERATIONS_MIN - 2, unknown: 1, failed: 1 };
        let faults = Fault::ALL.into_iter().map(|fault| (fault, 1)).collect();
        let marks = Marks(Mark::ALL.into_iter().map(|mark| (mark, 1)).collect());
        Report { tally, faults, marks, ..Report::default() }
    }

    fn shortfalls(runs: impl IntoIterator<Item = Report>) -> Vec<String> {
        let mut totals = Totals::default();
        runs.into_iter().for_each(|run| totals.add(&run));
        totals.shortfalls()
    }

    #[test]
    fn a_set_of_runs_that_is_too_quiet_or_misses_something_says_so() {
        assert_eq!(shortfalls([full(), full()]), Vec::<String>::new());
        let mut quiet = full();
        quiet.tally.answered -= 1;
        assert_eq!(shortfalls([full(), quiet]), ["a run had 499 operations only, or 26 faults"]);
        let few = Report { faults: [(Fault::Kill, FAULTS_MIN - 1)].into(), ..full() };
        assert_eq!(shortfalls([full(), few]), ["a run had 500 operations only, or 4 faults"]);
        // In two of 200 runs is often enough, in one is not.
        let kills = || Report { faults: [(Fault::Kill, 9)].into(), ..full() };
        let runs = |full_ones: usize| (0..200).map(move |run| if run < full_ones { full() } else { kills() });
        assert_eq!(shortfalls(runs(2)), Vec::<String>::new());
        let rare = shortfalls(runs(1));
        assert_eq!(rare.len(), Fault::ALL.len() - 1);
        assert!(rare.iter().all(|line| line.contains("in 1 of 200 runs")), "{rare:?}");
        let blind = || Report { marks: Marks::default(), ..full() };
        assert_eq!(shortfalls([blind(), blind()]).len(), Mark::ALL.len());
        assert_eq!(shortfalls([blind(), full()]), Vec::<String>::new());
        assert!(!shortfalls([]).is_empty(), "no run proves anything");
    }
}
