//! A node is killed again and again, each time after a moment: while it fetches and installs a snapshot, while another sends it, while it compacts
//! its segments. In the end it is whole, and holds alone what another one loses. T35 of the battery.

use anyhow::{Context, ensure};
use cluster::exit::DAMAGE;
use cluster::{Campaign, Shelf, fsck, segments};
use harness::{Load, Options, must, schedule, until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Entries of a group's log that are kept: few, so that a node that was away for a moment needs a snapshot.
const LOG_ENTRIES: &str = "64";
/// Files in the metadata, so that a snapshot takes its time: inline ones of 3 to 4 KiB.
const FILES: usize = 1500;
/// Longest time until the log has gone on without the node.
const BEHIND_MAX: Duration = Duration::from_secs(120);
/// Longest time until a node that was started begins to fetch.
const FETCHES_MAX: Duration = Duration::from_secs(20);
/// A life ends up to so long after the fetch has begun, or after the start, in milliseconds.
const AFTER_FETCH_MAX: u64 = 250;
const LIFE_MAX: u64 = 2500;
/// Longest time until a node has caught up.
const CAUGHT_UP_MAX: Duration = Duration::from_secs(90);
/// Chunks that are deleted in each life of the compaction, 1 MiB each, and how small segments are.
const CHUNKS: usize = 24;
const SEGMENT: &str = "\"8MiB\"";
/// What a node says when a snapshot is in place.
const INSTALLED: &str = "snapshot installed";

/// Lives of a round.
fn lives() -> usize {
    if harness::battery() { 25 } else { 4 }
}

#[test]
fn a_node_that_is_killed_in_the_middle_of_everything_is_whole_again() {
    if !harness::in_tier_two("T35") {
        return;
    }
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let mut campaign = Campaign::start(Options { mount: false, ..cluster::options() })?;
    for at in 0..campaign.cluster.nodes() {
        let settings =
            [("log_entries", LOG_ENTRIES), ("segment", SEGMENT), ("compact_percent", "95"), ("round", "1000")];
        settings.iter().try_for_each(|(key, value)| campaign.cluster.configure(at, key, value))?;
    }
    campaign.cluster.operate(&["cluster", "garbage", "--grace", "0"])?;
    campaign.cluster.restart_each()?;
    let small = Shelf::new(&campaign.cluster, "small", |n| 3000 + n % 1000)?;
    small.store(0..FILES)?;
    let mut rng = StdRng::seed_from_u64(campaign.seed);
    let rounds = if harness::battery() { 6 } else { 1 };
    for _ in 0..rounds {
        for sender_dies in [false, true] {
            while_snapshots_are_fetched(&mut campaign, sender_dies, &mut rng)?;
        }
        while_segments_are_compacted(&mut campaign, &mut rng)?;
    }
    campaign.judge_all()?;
    small.check(0..FILES)?;
    sound(&mut campaign)
}

/// Where each group's log ends on a node, by its page.
fn ends(campaign: &Campaign, at: usize) -> anyhow::Result<BTreeMap<u32, u64>> {
    let page = campaign.cluster.status(at)?;
    Ok(page.groups.iter().map(|group| (group.group.0, group.last.0)).collect())
}

/// Whether a group's leader has cut off what comes next in the log of a node that ends like this.
fn is_behind(campaign: &Campaign, ends: &BTreeMap<u32, u64>) -> bool {
    let pages = (0..campaign.cluster.nodes()).filter_map(|at| campaign.cluster.status(at).ok());
    let mut leading = pages.flat_map(|page| page.groups).filter(|group| group.role == "leader");
    leading.any(|group| ends.get(&group.group.0).is_some_and(|end| group.first.0 > end + 1))
}

/// Whether a node has applied all that is committed.
fn has_caught_up(campaign: &Campaign, victim: usize) -> bool {
    let others = (0..campaign.cluster.nodes()).filter(|at| *at != victim);
    let pages: Vec<_> = others.filter_map(|at| campaign.cluster.status(at).ok()).collect();
    let committed = |group: u32| {
        let groups = pages.iter().flat_map(|page| &page.groups).filter(|own| own.group.0 == group);
        groups.map(|group| group.commit.0).max().unwrap_or(u64::MAX)
    };
    campaign.cluster.status(victim).is_ok_and(|page| {
        page.groups.iter().all(|group| group.applied.0 >= committed(group.group.0) && !group.diverged)
    })
}

/// Whether a node is fetching a snapshot just now.
fn is_fetching(campaign: &Campaign, at: usize) -> bool {
    let folder = campaign.cluster.node_folder(at).join("data/meta/snapshots");
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("fetched-") && fs::read_dir(entry.path()).is_ok_and(|it| it.count() > 0)
    })
}

fn while_snapshots_are_fetched(campaign: &mut Campaign, sender_dies: bool, rng: &mut StdRng) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let victim = (campaign.cluster.leader()? + 1) % campaign.cluster.nodes();
    let mut end = ends(campaign, victim)?;
    campaign.cluster.kill(victim)?;
    let (mut fetches, before) = (0, campaign.cluster.said(victim, INSTALLED));
    for life in 0..lives() {
        until("the log has gone on without the node", BEHIND_MAX, || is_behind(campaign, &end))?;
        campaign.cluster.restart(victim)?;
        // One life in three ends at any moment, the others at one that matters.
        let begun = life % 3 < 2 && until("it fetches", FETCHES_MAX, || is_fetching(campaign, victim)).is_ok();
        fetches += usize::from(begun);
        let length = rng.random_range(0..if begun { AFTER_FETCH_MAX } else { LIFE_MAX });
        schedule(Instant::now() + Duration::from_millis(length));
        if sender_dies {
            let leader = campaign.cluster.leader().ok().filter(|leader| *leader != victim);
            if let Some(leader) = leader {
                campaign.cluster.kill(leader)?;
                campaign.cluster.restart(leader)?;
            }
        }
        // Where it stands now, if it says so: what it has got already it will not need again.
        end = ends(campaign, victim).unwrap_or(end);
        campaign.cluster.kill(victim)?;
    }
    campaign.cluster.restart(victim)?;
    until("the node has caught up", CAUGHT_UP_MAX, || has_caught_up(campaign, victim))
        .with_context(|| campaign.cluster.last_words())?;
    let installed = campaign.cluster.said(victim, INSTALLED) - before;
    println!(
        "round {}: {} lives of node {}, {fetches} times killed while it fetched{}, {installed} snapshots installed",
        campaign.rounds() + 1,
        lives(),
        victim + 1,
        if sender_dies { " and its sender too" } else { "" }
    );
    ensure!(fetches > 0 && installed > 0, "no snapshot was fetched, or none was installed");
    alone(campaign, victim, load)
}

/// Deleted chunks make room to be given back all the time; a segment that is gone was compacted.
fn while_segments_are_compacted(campaign: &mut Campaign, rng: &mut StdRng) -> anyhow::Result<()> {
    let load = campaign.load()?;
    let victim = rng.random_range(0..campaign.cluster.nodes());
    let shelf = Shelf::new(&campaign.cluster, "waste", |_| 1 << 20)?;
    let files = |campaign: &Campaign| -> anyhow::Result<BTreeSet<PathBuf>> {
        Ok(segments(&campaign.cluster, victim)?.into_iter().collect())
    };
    let mut gone = 0;
    for _ in 0..lives() {
        let before = files(campaign)?;
        let worked = shelf.store(0..CHUNKS).and_then(|()| shelf.delete(0..CHUNKS));
        worked.with_context(|| campaign.cluster.last_words())?;
        let bucket = &campaign.cluster.target().bucket;
        campaign.cluster.operate(&["trash", "purge", bucket, "--prefix", "waste/", "--yes", "--json"])?;
        // The collector's rounds are a second; compaction begins with the deletes.
        schedule(Instant::now() + Duration::from_millis(1000 + rng.random_range(0..LIFE_MAX)));
        campaign.cluster.kill(victim)?;
        gone += before.difference(&files(campaign)?).count();
        campaign.cluster.restart(victim)?;
        campaign.whole_again()?;
    }
    println!("round {}: {} lives of node {}, {gone} segments compacted", campaign.rounds() + 1, lives(), victim + 1);
    ensure!(gone > 0, "nothing was compacted");
    until("the node has caught up", CAUGHT_UP_MAX, || has_caught_up(campaign, victim))?;
    alone(campaign, victim, load)
}

/// Another node is away: what the one that was killed so often has installed and kept is needed now.
fn alone(campaign: &mut Campaign, victim: usize, load: Load) -> anyhow::Result<()> {
    campaign.whole_again()?;
    let other = (victim + 1) % campaign.cluster.nodes();
    campaign.cluster.kill(other)?;
    campaign.serves_again(Instant::now())?;
    campaign.judge(load)?;
    // What the load has deleted and overwritten would fill the disks.
    let bucket = &campaign.cluster.target().bucket;
    campaign.cluster.operate(&["trash", "purge", bucket, "--yes", "--json"])?;
    campaign.cluster.restart(other)?;
    campaign.whole_again()?;
    // Its log is behind by more than the others keep: whoever is killed next would leave nobody to agree with.
    until("the node that was away has caught up", CAUGHT_UP_MAX, || has_caught_up(campaign, other))
        .map(drop)
        .with_context(|| campaign.cluster.last_words())
}

/// Everything is looked at from outside.
fn sound(campaign: &mut Campaign) -> anyhow::Result<()> {
    campaign.whole_again()?;
    campaign.cluster.kill_nodes()?;
    for at in 0..campaign.cluster.nodes() {
        let (code, report) = fsck(&campaign.cluster, at, &["--deep"])?;
        ensure!(code != DAMAGE, "node {} is damaged: {report}", at + 1);
    }
    Ok(())
}
