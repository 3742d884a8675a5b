//! Disks without room: one node's, which somebody else fills, to where it takes no chunks and to the last byte; and those of all nodes, filled
//! through S3. T27 of the battery. Nothing is lost, deletes and Raft go on wherever there is a byte left, and writes come back by themselves.

use anyhow::{Context, ensure};
use cluster::{Campaign, Shelf, on_fault_disks};
use harness::{Cluster, Options, S3Error, must, schedule, until};
use proto::node::Fullness;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest time until a node has noticed how full its disk is.
const NOTICED_MAX: Duration = Duration::from_secs(30);
/// How long a disk stays full under load.
const FULL: Duration = Duration::from_secs(10);
/// Longest time until writes come back after space was given back: a round of the collector, one of the compaction, and their work.
const BACK_MAX: Duration = Duration::from_secs(240);
/// Each node's disk where all of them are filled: the store leaves 256 MiB of it free.
const SMALL_DISK: u64 = 1280 << 20;
/// Bytes of an object that fills them.
const OBJECT: usize = 4 << 20;
/// More objects than they can hold.
const OBJECTS_MAX: usize = 400;

/// A file of somebody else on a node's disk.
struct Ballast(PathBuf);

impl Ballast {
    /// Leaves `free` bytes of the file system.
    fn put(folder: &Path, free: u64) -> anyhow::Result<Self> {
        let ballast = Ballast(folder.join("ballast"));
        let file = File::create(&ballast.0)?;
        let mut at = 0;
        // In steps, halved where one does not fit: what is left is in many places, and the node takes some of it meanwhile.
        let mut step = 1 << 30;
        while step >= 4096 {
            let room = statvfs(folder)?;
            let left = (room.f_bfree * room.f_frsize).saturating_sub(free);
            if left >= step && fallocate(&file, FallocateFlags::empty(), at, step).is_ok() {
                at += step;
            } else {
                step /= 2;
            }
        }
        Ok(ballast)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn one_full_disk_holds_up_nobody() {
    let _turn = harness::exclusive();
    let Some(options) = on_fault_disks() else { return };
    must(one_node(options));
}

fn one_node(options: Options) -> anyhow::Result<()> {
    let mut campaign = Campaign::start(options)?;
    crowded(&mut campaign)?;
    to_the_last_byte(&mut campaign)?;
    campaign.judge_all()
}

fn fullness(cluster: &Cluster, at: usize) -> Option<Fullness> {
    cluster.status(at).ok()?.disks.first().map(|disk| disk.fullness)
}

/// So full that it takes no chunks, with room for everything else.
fn crowded(campaign: &mut Campaign) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let victim = campaign.cluster.leader()?;
    let data = campaign.cluster.node_folder(victim).join("data");
    let room = statvfs(&data)?;
    let ballast = Ballast::put(&data, room.f_blocks * room.f_frsize / 33)?;
    until("the node knows that it is full", NOTICED_MAX, || {
        fullness(&campaign.cluster, victim) == Some(Fullness::Full)
    })?;
    until("the planner knows it too", NOTICED_MAX, || {
        campaign.cluster.sago(&["placement", "status", "--json"]).is_ok_and(|map| map.contains("\"state\":\"full\""))
    })?;
    let before = load.writes();
    schedule(Instant::now() + FULL);
    let during = load.writes() - before;
    ensure!(campaign.cluster.runs(victim), "the node has stopped: {}", campaign.cluster.last_words());
    drop(ballast);
    println!("round {}: a full disk, {during} writes in {} s", campaign.rounds() + 1, FULL.as_secs());
    ensure!(during > 0, "nothing is written while one disk is full");
    until("the planner counts on it again", NOTICED_MAX, || {
        campaign.cluster.sago(&["placement", "status", "--json"]).is_ok_and(|map| !map.contains("\"state\":\"full\""))
    })?;
    campaign.whole_again()?;
    campaign.judge_reads(load)
}

/// Not a byte is left, not even for the log: the node may stop, or fence its disk, and harms nobody. With room again it ends, if it has not, and
/// whoever keeps it running has it back whole.
fn to_the_last_byte(campaign: &mut Campaign) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let victim = campaign.cluster.leader()?;
    let data = campaign.cluster.node_folder(victim).join("data");
    let ballast = Ballast::put(&data, 0)?;
    let start = Instant::now();
    schedule(start + FULL);
    let took = campaign.serves_again(start)?;
    let before = load.writes();
    schedule(Instant::now() + FULL);
    let during = load.writes() - before;
    let stopped = !campaign.cluster.runs(victim);
    drop(ballast);
    println!(
        "round {}: a disk without a byte, its node {}, served after {:.1} s, {during} writes in {} s",
        campaign.rounds() + 1,
        if stopped { "stopped itself" } else { "went on" },
        took.as_secs_f64(),
        FULL.as_secs()
    );
    ensure!(during > 0, "nothing is written while one disk has no room");
    let cluster = &mut campaign.cluster;
    let back = until("all nodes are at work", NOTICED_MAX * 2, || {
        if !cluster.runs(victim) {
            must(cluster.restart(victim));
        }
        cluster.is_whole()
    });
    back.with_context(|| cluster.last_words())?;
    campaign.judge(load)
}

#[test]
fn a_full_cluster_refuses_writes_and_comes_back_by_itself() {
    let _turn = harness::exclusive();
    let Some(options) = on_fault_disks() else { return };
    must(all_nodes(Options { disk_bytes: Some(SMALL_DISK), mount: false, ..options }));
}

fn all_nodes(options: Options) -> anyhow::Result<()> {
    let cluster = Cluster::start(options)?;
    let shelf = Shelf::new(&cluster, "shelf", |_| OBJECT)?;
    fill_and_empty(&cluster, &shelf).with_context(|| cluster.last_words())
}

fn fill_and_empty(cluster: &Cluster, shelf: &Shelf) -> anyhow::Result<()> {
    let mut stored = 0;
    let refusal = loop {
        ensure!(stored < OBJECTS_MAX, "{stored} objects of 4 MiB on a disk of {} MiB", SMALL_DISK >> 20);
        match shelf.put(stored) {
            Ok(()) => stored += 1,
            Err(refusal) => break refusal,
        }
    };
    ensure!(
        matches!(&refusal, S3Error::Refused { status: 507, code, .. } if code == "InsufficientStorage"),
        "a full cluster says so: {refusal}"
    );
    println!("full after {stored} objects: {refusal}");
    for at in 0..cluster.nodes() {
        ensure!(cluster.runs(at), "node {at} has stopped");
    }
    shelf.check(0..stored)?;

    // Raft and deletes go on, and so does what a person does about it.
    cluster.sago(&["user", "create", "librarian", "--json"])?;
    let (kept, given) = (0..stored).partition::<Vec<usize>, _>(|n| n % 2 == 0);
    shelf.delete(given.iter().copied())?;
    cluster.operate(&["cluster", "garbage", "--grace", "0"])?;
    cluster.operate(&["trash", "purge", &shelf.bucket, "--yes", "--json"])?;

    let start = Instant::now();
    until("writes come back", BACK_MAX, || shelf.put(given[0]).is_ok())?;
    println!("{} objects purged, writes came back after {:.1} s", given.len(), start.elapsed().as_secs_f64());
    shelf.check(kept.into_iter().chain([given[0]]))
}
