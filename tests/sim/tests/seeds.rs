//! Many seeds hold, one seed twice is the same, and a set of seeds goes through everything that is rare.

use sim::{Report, Script, Totals, run, shrink};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Seeds of `make test`; `SAGO_SIM_SEEDS` runs another number, `SAGO_SIM_FIRST` begins elsewhere than at 0, `SAGO_SIM_THREADS` takes so many at once.
/// As many, or more, have to go through everything that is rare.
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

/// Has all threads end soon once one of them has failed.
struct LastOnPanic<'a>(&'a AtomicU64);

impl Drop for LastOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(u64::MAX / 2, Ordering::Relaxed);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_every_answer_is_linearizable() {
    let seeds = number("SAGO_SIM_SEEDS").unwrap_or(SEEDS);
    let first = number("SAGO_SIM_FIRST").unwrap_or(0);
    let threads = number("SAGO_SIM_THREADS").unwrap_or(1).max(1);
    let (begun, next, all) = (Instant::now(), AtomicU64::new(first), Mutex::new(Totals::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _last = LastOnPanic(&next);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    let report = sound(seed);
                    let mut totals = all.lock().expect("nobody else has failed");
                    totals.add(&report);
                    if totals.seeds.is_multiple_of(500) {
                        println!("{} seeds after {:.0?}", totals.seeds, begun.elapsed());
                    }
                }
            });
        }
    });
    let totals = all.into_inner().expect("nobody has failed");
    let hourly = seeds as f64 * 3600.0 / begun.elapsed().as_secs_f64();
    println!("{totals}seeds {first} to {}: no violation; {hourly:.0} an hour, by {threads} threads", first + seeds - 1);
    if seeds >= SEEDS {
        let shortfalls = totals.shortfalls();
        assert!(shortfalls.is_empty(), "these runs prove less than they should:\n{}", shortfalls.join("\n"));
    }
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
