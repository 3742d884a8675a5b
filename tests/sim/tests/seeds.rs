//! Many seeds hold, one seed twice is the same, and planted mistakes are found.

use sim::{Bug, Fault, Options, Report, run};
use std::collections::BTreeMap;

/// Seeds of `make test`; `SAGO_SIM_SEEDS` runs another number, `SAGO_SIM_FIRST` begins elsewhere than at 0.
const SEEDS: u64 = 200;
/// Seeds within which a planted mistake must be found.
const SEEDS_TO_FIND: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn sound(seed: u64) -> Report {
    run(Options { seed, bug: None }).unwrap_or_else(|violation| {
        panic!("{}; run again: SAGO_SIM_SEED={seed} cargo test -p sim one_seed", violation.0)
    })
}

#[test]
fn nothing_acknowledged_is_lost_and_every_read_is_linearizable() {
    let seeds = number("SAGO_SIM_SEEDS").unwrap_or(SEEDS);
    let mut faults: BTreeMap<Fault, u64> = BTreeMap::new();
    let (mut answered, mut unknown, mut snapshots) = (0, 0, 0);
    let first = number("SAGO_SIM_FIRST").unwrap_or(0);
    for seed in first..first + seeds {
        let report = sound(seed);
        report.faults.iter().for_each(|(fault, count)| *faults.entry(*fault).or_default() += count);
        answered += report.tally.answered;
        unknown += report.tally.unknown;
        snapshots += report.snapshots;
    }
    println!("{seeds} seeds: {answered} operations answered, {unknown} unknown; {snapshots} snapshots");
    for (fault, count) in &faults {
        println!("  {fault}: {count}");
    }
    assert_eq!(faults.len(), Fault::ALL.len(), "a kind of fault was never made");
    assert!(answered > 100 * seeds && unknown > 0 && snapshots > 0, "the runs are too quiet");
}

#[test]
fn one_seed() {
    let report = sound(number("SAGO_SIM_SEED").unwrap_or(7));
    println!("{report:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(sound(3), sound(3));
    assert_ne!(sound(3).trace, sound(4).trace);
}

fn found(bug: Bug) {
    let found =
        (0..SEEDS_TO_FIND).find_map(|seed| run(Options { seed, bug: Some(bug) }).err().map(|found| (seed, found)));
    let (seed, violation) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS_TO_FIND} seeds"));
    println!("{bug:?} was found by seed {seed}: {}", violation.0);
}

#[test]
fn promises_before_the_flush_are_found() {
    found(Bug::PromiseBeforeFlush);
}

#[test]
fn reads_without_a_quorum_are_found() {
    found(Bug::ReadWithoutQuorum);
}

#[test]
fn one_copy_that_passes_for_three_is_found() {
    found(Bug::OneCopyIsEnough);
}

#[test]
fn retries_under_another_number_are_found() {
    found(Bug::RetryUnderAnotherNumber);
}

#[test]
fn readers_that_believe_replicas_are_found() {
    found(Bug::BelieveReplicas);
}
