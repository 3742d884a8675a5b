//! Many seeds hold, one seed twice is the same, and a set of seeds goes through everything that is rare.

use sim::{Fault, Mark, Report, Script, Totals, run, shrink};
use std::time::Instant;

/// Seeds of `make test`; `SAGO_SIM_SEEDS` runs another number, `SAGO_SIM_FIRST` begins elsewhere than at 0.
const SEEDS: u64 = 200;
/// Seeds of which each must come to the same twice.
const SEEDS_TWICE: u64 = 20;
/// Runs that are spent on making a failing one shorter.
const SHRINK_RUNS: u64 = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a seed. One that fails is shrunk and printed, with the command that runs it again.
fn sound(seed: u64) -> Report {
    let script = Script::draw(seed, None);
    run(&script).unwrap_or_else(|violation| {
        let shrunk = shrink(&script, SHRINK_RUNS);
        println!("{}", shrunk.script);
        panic!(
            "seed {seed}: {}\nshrunk in {} runs to {} faults and {} operations (above): {}\nrun again: make sim SEED={seed}",
            violation.text,
            shrunk.runs,
            shrunk.script.faults.len(),
            shrunk.script.operations.len(),
            shrunk.violation.text
        )
    })
}

#[test]
fn nothing_acknowledged_is_lost_and_every_answer_is_linearizable() {
    let seeds = number("SAGO_SIM_SEEDS").unwrap_or(SEEDS);
    let first = number("SAGO_SIM_FIRST").unwrap_or(0);
    let (mut totals, begun) = (Totals::default(), Instant::now());
    for seed in first..first + seeds {
        totals.add(&sound(seed));
        if totals.seeds.is_multiple_of(500) {
            println!("{} seeds after {:.0?}", totals.seeds, begun.elapsed());
        }
    }
    println!("{totals}seeds {first} to {}: {:.0} an hour", first + seeds - 1, hourly(seeds, begun));
    if seeds < SEEDS {
        return;
    }
    let (operations, faults) = totals.least.expect("there were runs");
    assert!(operations >= 500 && faults >= 5, "a run is too quiet: {operations} operations, {faults} faults");
    for fault in Fault::ALL {
        let seen = totals.faults.get(&fault).map_or(0, |(_, seeds)| *seeds);
        assert!(100 * seen >= totals.seeds, "{fault}: in {seen} of {} seeds", totals.seeds);
    }
    for mark in Mark::ALL {
        assert!(totals.marks.contains_key(&mark), "no run has come to: {mark}");
    }
}

fn hourly(seeds: u64, begun: Instant) -> f64 {
    seeds as f64 * 3600.0 / begun.elapsed().as_secs_f64()
}

#[test]
fn one_seed() {
    let report = sound(number("SAGO_SIM_SEED").unwrap_or(7));
    println!("{report:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let mut traces = Vec::new();
    for seed in 0..SEEDS_TWICE {
        let (one, other) = (sound(seed), sound(seed));
        assert_eq!(one, other, "seed {seed}");
        traces.push(one.trace.0);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len() as u64, SEEDS_TWICE, "different seeds give different runs");
}
