//! Space comes back: once what was deleted is purged and collected, disks hold three times what is left, and little more.

use anyhow::{Context, ensure};
use cluster::{Shelf, all_take_chunks, segments};
use harness::{Cluster, Options, must, schedule, until};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

/// Bytes of an object: a chunk.
const OBJECT: usize = 1 << 20;
/// Of so many objects one is kept, so that no segment is without something that must stay.
const KEPT_OF: usize = 3;
/// By how much the disks may exceed what is left, in percent, at full length.
const EXCESS_PERCENT: u64 = 5;
/// The segment that a disk is writing is preallocated, and that of the compaction: beside them little is left of a short run.
const OPEN_SEGMENTS: u64 = 2 * (64 << 20);
/// Longest time until the space is back: rounds of the collector and of the compaction, and their work.
const BACK_MAX: Duration = Duration::from_secs(600);
/// Between two looks at the disks.
const LOOK: Duration = Duration::from_millis(500);

fn objects() -> usize {
    if harness::battery() { 6_000 } else { 450 }
}

#[test]
fn purged_space_comes_back_on_every_disk() {
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options::default())?;
    ensure!(cluster.nodes() == 3, "every node has a copy of everything");
    all_take_chunks(&cluster)?;
    let shelf = Shelf::new(&cluster, "space", |_| OBJECT)?;
    purge(&cluster, &shelf).with_context(|| cluster.last_words())
}

fn purge(cluster: &Cluster, shelf: &Shelf) -> anyhow::Result<()> {
    shelf.store(0..objects())?;
    let (kept, given) = (0..objects()).partition::<Vec<usize>, _>(|n| n % KEPT_OF == 0);
    let before = taken(cluster)?;
    cluster.operate(&["bucket", "breaker", "set", &shelf.bucket, "--limit", "off"])?;
    shelf.delete(given)?;
    schedule(Instant::now() + LOOK);
    ensure!(taken(cluster)? >= before, "what lies in the trash takes its space");

    let start = Instant::now();
    cluster.operate(&["cluster", "garbage", "--grace", "0"])?;
    cluster.operate(&["trash", "purge", &shelf.bucket, "--yes", "--json"])?;
    let left = 3 * (kept.len() * OBJECT) as u64;
    let excess = if harness::battery() { left * EXCESS_PERCENT / 100 } else { 3 * OPEN_SEGMENTS };
    let mut now = before;
    until("the space is back", BACK_MAX, || {
        now = taken(cluster).unwrap_or(before);
        now <= left + excess
    })
    .with_context(|| format!("{} MiB are taken, {} MiB of them for what is left", now >> 20, left >> 20))?;
    println!(
        "{} MiB on all disks before, {} MiB {:.1} s after the purge, {:.3} times what is left",
        before >> 20,
        now >> 20,
        start.elapsed().as_secs_f64(),
        now as f64 / left as f64
    );
    shelf.check(kept)
}

/// Bytes that the segments of all nodes take on their disks.
fn taken(cluster: &Cluster) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for at in 0..cluster.nodes() {
        for segment in segments(cluster, at)? {
            // One that was removed meanwhile takes nothing.
            bytes += fs::metadata(segment).map_or(0, |segment| segment.blocks() * 512);
        }
    }
    Ok(bytes)
}
