//! Bits flip on their way from one node's disk, whose medium is right: nobody gets wrong bytes, no read fails, and no copy is lost for it, not
//! even the last one. T10 of the battery.

use anyhow::{Context, ensure};
use cluster::{Records, Shelf, all_take_chunks, forget_cached, on_fault_disks, places};
use harness::{Cluster, Options, must, until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

/// One chunk each.
const OBJECTS: usize = 40;
/// Reads of segments that show a flipped bit: far more than any disk that still runs.
const PERCENT: u8 = 30;
/// Longest time until nothing is in quarantine any more ("It heals": damaged copies are written anew within 60 s).
const SETTLED_MAX: Duration = Duration::from_secs(60);

/// How long the bits of one disk flip.
fn lasts() -> Duration {
    Duration::from_secs(if harness::battery() { 60 } else { 6 })
}

#[test]
fn bits_that_flip_on_the_way_from_a_disk_cost_no_copy() {
    let _turn = harness::exclusive();
    let Some(options) = on_fault_disks() else { return };
    must(run(Options { mount: false, ..options }));
}

fn run(options: Options) -> anyhow::Result<()> {
    let seed = harness::seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let cluster = Cluster::start(Options { seed, ..options })?;
    all_take_chunks(&cluster)?;
    let shelf = Shelf::new(&cluster, "flips", |n| 100_000 + 3001 * n)?;
    shelf.store(0..OBJECTS)?;
    let rounds = if harness::battery() { 2 * cluster.nodes() } else { 1 };
    for round in 0..rounds {
        let victim = (seed as usize + round) % cluster.nodes();
        of_one_copy(&cluster, &shelf, victim, &mut rng).with_context(|| cluster.last_words())?;
        of_the_last_copy(&cluster, &shelf, victim, &mut rng).with_context(|| cluster.last_words())?;
    }
    Ok(())
}

/// Reads one after the other while the bits of a node's disk flip. Ranges too: they are checked leaf by leaf.
fn of_one_copy(cluster: &Cluster, shelf: &Shelf, victim: usize, rng: &mut StdRng) -> anyhow::Result<()> {
    let disk = cluster.disk(victim);
    let before = disk.counts().flipped;
    disk.flip_reads(places(cluster, victim)?, PERCENT, rng.random());
    // Readers may prefer the other disks all the time; the scrub does not.
    cluster.sago(&["scrub", "--json"])?;
    let start = Instant::now();
    let mut reads = 0;
    while start.elapsed() < lasts() {
        // What was read right is not asked for again until then.
        forget_cached(cluster, victim)?;
        for _ in 0..OBJECTS {
            let n = rng.random_range(0..OBJECTS);
            let content = shelf.titles.content(n);
            let (from, len) = if rng.random() { (0, content.len()) } else { (rng.random_range(0..90_000), 5_000) };
            let key = shelf.titles.key(n);
            let read = shelf.s3.get_range(&shelf.bucket, &key, from as u64, len as u64);
            let bytes = shelf.runtime.block_on(read).with_context(|| key.clone())?;
            ensure!(bytes.as_ref() == &content[from..from + len], "wrong bytes of {key}");
            reads += 1;
        }
    }
    let flipped = disk.counts().flipped - before;
    disk.mend();
    ensure!(flipped > 0, "no read has met the fault");
    let settled = settle(cluster)?;
    println!(
        "node {}: {flipped} reads of its disk showed a flipped bit, {reads} reads of clients were right, nothing in quarantine after {:.1} s",
        victim + 1,
        settled.as_secs_f64()
    );
    Ok(())
}

/// The copies on all other disks are rotten, and the bits of the disk with the good ones flip. An error is allowed meanwhile, wrong bytes are
/// not; and nothing is lost.
fn of_the_last_copy(cluster: &Cluster, shelf: &Shelf, victim: usize, rng: &mut StdRng) -> anyhow::Result<()> {
    for other in (0..cluster.nodes()).filter(|other| *other != victim) {
        let records = Records::read(cluster, other)?;
        for n in 0..OBJECTS {
            ensure!(records.rot(&shelf.titles.content(n), 0)?, "object {n} is not on node {}", other + 1);
        }
    }
    let disk = cluster.disk(victim);
    forget_cached(cluster, victim)?;
    let before = disk.counts().flipped;
    disk.flip_reads(places(cluster, victim)?, PERCENT, rng.random());
    let mut refused = 0;
    for n in 0..OBJECTS {
        refused += usize::from(shelf.look(n)?.is_err());
    }
    let flipped = disk.counts().flipped - before;
    disk.mend();
    // The good copy is served although no other one is left, or was when it was looked at.
    until("every object is served", SETTLED_MAX, || (0..OBJECTS).all(|n| matches!(shelf.look(n), Ok(Ok(())))))?;
    // It may still tell of an alarm that is over a moment later.
    let _ = cluster.sago(&["scrub", "--wait", "--json"]);
    let settled = settle(cluster)?;
    shelf.check(0..OBJECTS)?;
    for at in 0..cluster.nodes() {
        let records = Records::read(cluster, at)?;
        for n in 0..OBJECTS {
            ensure!(!records.find(&shelf.titles.content(n))?.is_empty(), "object {n} has no copy on node {}", at + 1);
        }
    }
    println!(
        "node {} alone had good copies: {flipped} reads of its disk showed a flipped bit, {refused} of {OBJECTS} reads were refused, \
         three copies again after {:.1} s",
        victim + 1,
        settled.as_secs_f64()
    );
    Ok(())
}

/// Waits until nothing is in quarantine and nothing counts as lost.
fn settle(cluster: &Cluster) -> anyhow::Result<Duration> {
    let start = Instant::now();
    until("nothing is in quarantine", SETTLED_MAX, || {
        (0..cluster.nodes()).all(|at| {
            let page = cluster.status(at);
            page.is_ok_and(|page| page.lost_count == 0 && page.disks.iter().all(|disk| disk.quarantined == 0))
        })
    })?;
    Ok(start.elapsed())
}
