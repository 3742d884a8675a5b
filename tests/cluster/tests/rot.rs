//! Bytes that rot on the disks of running nodes: never returned, written anew without a person where a copy is left, an alarm where
//! none is. T07, T08, T09 and T37 of the battery.

use anyhow::{Context, ensure};
use cluster::{Records, Shelf, Traffic, all_take_chunks};
use harness::{Cluster, Options, must, schedule, until};
use std::time::{Duration, Instant};

/// Within this time damaged copies are written anew.
const REWRITTEN_MAX: Duration = Duration::from_secs(60);
/// Damages of the scrub under load (T37).
const DAMAGES: usize = 100;
/// What the slowest of a hundred reads may cost under a scrub, against without (T37). Judged at full length: a few seconds on a busy machine
/// say nothing of one in a hundred.
const SLOWER_MAX: f64 = 1.5;

/// Objects of one chunk each.
fn objects() -> usize {
    if harness::battery() { 6_000 } else { 60 }
}

/// The object that rots on every node, among those that rot nowhere else.
fn lost() -> usize {
    objects() - 1
}

fn len(n: usize) -> usize {
    30_000 + 3001 * (n % 60)
}

#[test]
fn rot_is_never_returned_and_goes_away_or_is_an_alarm() {
    let _turn = harness::exclusive();
    must(rot());
}

fn rot() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options::default())?;
    all_take_chunks(&cluster)?;
    let shelf = Shelf::new(&cluster, "rot", len)?;
    shelf.store(0..objects())?;
    ensure!(cluster.nodes() == 3, "the shares below are of three nodes");
    // T07: a part of one node's copies. At least one, for short runs.
    let start = Instant::now();
    let share = (0..lost()).step_by(100);
    plant(&cluster, &shelf, |at, n| at == 0 && n % 100 == 0)?;
    shelf.check(share.clone()).context("what is read before anything was found")?;
    rewritten(&cluster, &shelf, share.clone(), 0)?;
    println!("{} copies of one node: written anew {:.1} s after", share.count(), start.elapsed().as_secs_f64());
    // T08: every object on another node than the one before.
    let start = Instant::now();
    plant(&cluster, &shelf, |at, n| n != lost() && n % 3 == at)?;
    shelf.check(0..objects()).context("what is read before anything was found")?;
    rewritten(&cluster, &shelf, 0..lost(), 0)?;
    println!("{} copies, helically: written anew {:.1} s after", lost(), start.elapsed().as_secs_f64());
    // T09.
    plant(&cluster, &shelf, |_, n| n == lost())?;
    ensure!(shelf.look(lost())?.is_err(), "an object without an intact copy is served");
    rewritten(&cluster, &shelf, 0..lost(), 1)?;
    let text = cluster.sago(&["cluster", "status"])?;
    ensure!(text.contains("ALARM") && text.contains("no intact copy"), "{text}");
    ensure!(shelf.look(lost())?.is_err(), "bytes of an object without an intact copy");
    shelf.check(0..lost())
}

/// Flips a bit in the middle of the copies that are chosen, by node and object. A record that was written anew lies at two places; both rot.
fn plant(cluster: &Cluster, shelf: &Shelf, chosen: impl Fn(usize, usize) -> bool) -> anyhow::Result<()> {
    for at in 0..cluster.nodes() {
        let records = Records::read(cluster, at)?;
        for n in (0..objects()).filter(|n| chosen(at, *n)) {
            ensure!(records.rot(&shelf.titles.content(n), 0)?, "object {n} is not on node {}", at + 1);
        }
    }
    Ok(())
}

/// Has every chunk looked at, and waits until these objects have a whole copy on each node, and just so many have none anywhere.
fn rewritten(
    cluster: &Cluster,
    shelf: &Shelf,
    numbers: impl Iterator<Item = usize> + Clone,
    lost: u64,
) -> anyhow::Result<()> {
    // It fails if there is a chunk without an intact copy; the status says so too.
    let scrubbed = cluster.sago(&["scrub", "--wait", "--json"]);
    ensure!(scrubbed.is_ok() || lost > 0, "{scrubbed:?}");
    until("what is damaged is written anew, and the rest is an alarm", REWRITTEN_MAX, || {
        (0..cluster.nodes()).all(|at| {
            let page = cluster.status(at);
            page.is_ok_and(|page| {
                page.lost_count == lost && page.disks.iter().map(|disk| disk.quarantined).sum::<u64>() == lost
            })
        })
    })
    .with_context(|| cluster.last_words())?;
    // Each copy alone is enough now.
    for at in 0..cluster.nodes() {
        let records = Records::read(cluster, at)?;
        for n in numbers.clone() {
            let whole = !records.find(&shelf.titles.content(n))?.is_empty();
            ensure!(whole, "object {n} was not written anew on node {}", at + 1);
        }
    }
    Ok(())
}

/// Objects of the scrub under load, and how long readers are measured before it.
fn scrubbed() -> (usize, Duration) {
    if harness::battery() { (4_000, Duration::from_secs(30)) } else { (200, Duration::from_secs(4)) }
}

#[test]
fn a_scrub_under_load_finds_every_damage() {
    let _turn = harness::exclusive();
    must(scrub_under_load());
}

fn scrub_under_load() -> anyhow::Result<()> {
    let (objects, calm) = scrubbed();
    let cluster = Cluster::start(Options::default())?;
    all_take_chunks(&cluster)?;
    let shelf = Shelf::new(&cluster, "scrubbed", len)?;
    shelf.store(0..objects)?;
    let readers = Traffic::of_readers(&shelf, 0..objects);
    schedule(Instant::now() + calm);
    let before = readers.finish(&shelf)?;
    // One copy each, on the nodes in turn.
    let damaged: Vec<usize> = (0..DAMAGES).map(|k| k * objects / DAMAGES).collect();
    for at in 0..cluster.nodes() {
        let records = Records::read(&cluster, at)?;
        for n in damaged.iter().filter(|n| **n % cluster.nodes() == at) {
            ensure!(records.rot(&shelf.titles.content(*n), 0)?, "object {n} is not on node {}", at + 1);
        }
    }
    let readers = Traffic::of_readers(&shelf, 0..objects);
    let start = Instant::now();
    cluster.sago(&["scrub", "--wait", "--json"]).with_context(|| cluster.last_words())?;
    let took = start.elapsed();
    let during = readers.finish(&shelf)?;
    let mut found = 0;
    until("every damage is written anew", REWRITTEN_MAX, || {
        found = whole(&cluster, &shelf, &damaged).unwrap_or(0);
        found == DAMAGES
    })
    .with_context(|| format!("{found} of {DAMAGES}: {}", cluster.last_words()))?;
    let slower = during.p99_ms() / before.p99_ms().max(1e-3);
    println!(
        "a scrub of {objects} objects in {:.1} s: {found} of {DAMAGES} damages found and written anew; p99 of {} reads {:.1} ms before, \
         of {} reads {:.1} ms meanwhile, {slower:.2} times",
        took.as_secs_f64(),
        before.count(),
        before.p99_ms(),
        during.count(),
        during.p99_ms()
    );
    ensure!(!harness::battery() || slower <= SLOWER_MAX, "reads are {slower:.2} times slower under a scrub");
    Ok(())
}

/// How many of the damaged copies are whole again where they were damaged.
fn whole(cluster: &Cluster, shelf: &Shelf, damaged: &[usize]) -> anyhow::Result<usize> {
    let mut whole = 0;
    for at in 0..cluster.nodes() {
        let records = Records::read(cluster, at)?;
        for n in damaged.iter().filter(|n| **n % cluster.nodes() == at) {
            whole += usize::from(!records.find(&shelf.titles.content(*n))?.is_empty());
        }
    }
    Ok(whole)
}
