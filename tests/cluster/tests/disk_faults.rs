//! One node's disk fails, lies, hangs, is slow or cannot be read, under load. The cluster goes on, and the node does not harm it afterwards.
//!
//! T12 to T16 of the battery, on one cluster, one after the other.

use anyhow::ensure;
use cluster::{Campaign, on_fault_disks};
use harness::{DiskRequest, Kept, SyncFault, must, schedule, until};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest time until a node whose disk fails has taken itself out.
const FENCED_MAX: Duration = Duration::from_secs(30);
/// Longest time until writes go on although a disk hangs or is slow (R12: the leader moves within ten seconds).
const MOVED_MAX: Duration = Duration::from_secs(10);
/// How long a disk hangs at full length (T14).
const HANGS: Duration = Duration::from_secs(60);
/// How long a disk is slow.
const SLOW: Duration = Duration::from_secs(5);
/// What a node says of a replica that does not vote before it has caught up.
const DISTRUST: &str = "may have forgotten promises";
/// How long a disk lies.
const LIES: Duration = Duration::from_secs(3);

#[test]
fn a_failing_disk_harms_nobody_else() {
    let _turn = harness::exclusive();
    let Some(options) = on_fault_disks() else { return };
    must(run(options));
}

fn run(options: harness::Options) -> anyhow::Result<()> {
    let mut campaign = Campaign::start(options)?;
    let rounds = if harness::battery() { 5 } else { 1 };
    for _ in 0..rounds {
        for leads in [true, false] {
            failing_flush(&mut campaign, leads)?;
        }
        lying_flush(&mut campaign)?;
        hanging(&mut campaign)?;
        unreadable_chunks(&mut campaign)?;
        unreadable_log(&mut campaign)?;
        if harness::battery() {
            slow(&mut campaign, true)?;
            slow(&mut campaign, false)?;
        }
    }
    campaign.judge_all()
}

/// The node that leads, or one that does not.
fn victim(campaign: &Campaign, leads: bool) -> anyhow::Result<usize> {
    let leader = campaign.cluster.leader()?;
    Ok(if leads { leader } else { (leader + 1) % campaign.cluster.nodes() })
}

/// T15. A flush fails and its data are gone. The node stops itself before it promises anything more; then its power goes as well, so that
/// whatever its page cache still showed is gone, and it comes back.
fn failing_flush(campaign: &mut Campaign, leads: bool) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let victim = victim(campaign, leads)?;
    campaign.cluster.disk(victim).set_sync(SyncFault::Fail { times: u32::MAX, drop: true });
    until("the node stops itself", FENCED_MAX, || !campaign.cluster.runs(victim))?;
    let took = campaign.serves_again(Instant::now())?;
    let role = if leads { "the leader" } else { "a follower" };
    println!("round {}: flushes of {role} failed, served after {:.1} s", campaign.rounds() + 1, took.as_secs_f64());
    campaign.cluster.power_off(&[victim], |_| Kept::Nothing)?;
    campaign.cluster.power_on(&[victim])?;
    campaign.whole_again()?;
    campaign.judge(load)
}

/// T16. Flushes are answered and not done; then the power goes. The node has forgotten what it had promised, knows it, and is refilled.
fn lying_flush(campaign: &mut Campaign) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let victim = victim(campaign, true)?;
    let before = campaign.cluster.said(victim, DISTRUST);
    campaign.cluster.disk(victim).set_sync(SyncFault::Lie);
    schedule(Instant::now() + LIES);
    let lost = campaign.cluster.power_off(&[victim], |_| Kept::Nothing)?;
    let took = campaign.serves_again(Instant::now())?;
    println!("round {}: a disk lied, {lost:?}, served after {:.1} s", campaign.rounds() + 1, took.as_secs_f64());
    ensure!(lost[0].lost > 0, "the disk had nothing to lie about");
    campaign.cluster.power_on(&[victim])?;
    campaign.whole_again()?;
    ensure!(campaign.cluster.said(victim, DISTRUST) > before, "it votes as if nothing had happened");
    campaign.judge(load)
}

/// T14. The leader's disk answers nothing. Others lead every group until it does, and nothing that a client waits for needs that disk.
fn hanging(campaign: &mut Campaign) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let victim = victim(campaign, true)?;
    campaign.cluster.disk(victim).hang(true);
    let start = Instant::now();
    until("another node leads", MOVED_MAX, || campaign.cluster.led_without(victim))?;
    let moved = start.elapsed();
    let took = campaign.serves_again(start)?;
    let before = load.writes();
    schedule(start + if harness::battery() { HANGS } else { MOVED_MAX });
    let after = load.writes() - before;
    println!(
        "round {}: the leader's disk hung, another led after {:.1} s, writes after {:.1} s, {after} more until it was back",
        campaign.rounds() + 1,
        moved.as_secs_f64(),
        took.as_secs_f64()
    );
    ensure!(after > 0, "nothing is written while one disk hangs");
    campaign.cluster.disk(victim).hang(false);
    campaign.whole_again()?;
    campaign.judge(load)
}

/// T13. Every flush of one node takes half a second longer.
fn slow(campaign: &mut Campaign, leads: bool) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let victim = victim(campaign, leads)?;
    campaign.cluster.disk(victim).delay(DiskRequest::Sync, Duration::from_millis(500));
    let took = campaign.cluster.wait_writable()?;
    ensure!(took <= MOVED_MAX, "a slow disk holds up writes for {took:?}");
    let before = load.writes();
    schedule(Instant::now() + SLOW);
    let after = load.writes() - before;
    println!(
        "round {}: the disk of {} was slow, served after {:.1} s, {after} writes in {} s",
        campaign.rounds() + 1,
        if leads { "the leader" } else { "a follower" },
        took.as_secs_f64(),
        SLOW.as_secs()
    );
    ensure!(after > 0, "nothing is written while one disk is slow");
    campaign.cluster.disk(victim).mend();
    campaign.judge(load)
}

/// T12, chunks. No read fails: others have the chunks.
fn unreadable_chunks(campaign: &mut Campaign) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let victim = victim(campaign, false)?;
    let disk = campaign.cluster.disk(victim);
    let segments = files(&campaign.cluster.node_folder(victim).join("data/disk-0"), "seg");
    ensure!(!segments.is_empty(), "no segments");
    let mut places = Vec::new();
    for segment in &segments {
        disk.forget_cached(segment)?;
        places.extend(disk.places(segment)?);
    }
    let before = disk.counts().errors;
    disk.fail_reads(places);
    until("somebody reads there", FENCED_MAX, || disk.counts().errors > before)?;
    schedule(Instant::now() + Duration::from_secs(2));
    disk.fail_reads(Vec::new());
    println!("round {}: {} reads of chunks failed on one disk", campaign.rounds() + 1, disk.counts().errors - before);
    if !campaign.cluster.runs(victim) {
        campaign.cluster.restart(victim)?;
    }
    campaign.whole_again()?;
    campaign.judge_reads(load)
}

/// T12, the Raft log. A node that cannot read what it has promised does not start; once it can, it does.
fn unreadable_log(campaign: &mut Campaign) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let victim = victim(campaign, false)?;
    campaign.cluster.kill(victim)?;
    let logs = files(&campaign.cluster.node_folder(victim).join("data/meta/raft/db"), "log");
    ensure!(!logs.is_empty(), "no write-ahead log");
    let disk = campaign.cluster.disk(victim);
    let mut places = Vec::new();
    for log in &logs {
        disk.forget_cached(log)?;
        places.extend(disk.places(log)?);
    }
    disk.fail_reads(places);
    campaign.cluster.restart(victim)?;
    until("the node refuses to start", FENCED_MAX, || !campaign.cluster.runs(victim))?;
    let took = campaign.serves_again(Instant::now())?;
    println!("round {}: a log could not be read, served after {:.1} s", campaign.rounds() + 1, took.as_secs_f64());
    campaign.cluster.disk(victim).mend();
    campaign.cluster.kill(victim)?;
    campaign.cluster.restart(victim)?;
    campaign.whole_again()?;
    campaign.judge(load)
}

/// Files of a kind, anywhere below a folder.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    found
}
