//! A node is given a second disk and the first one is taken away, under load: copies follow, nothing is lost, and the node starts without the
//! folder that is gone.

use anyhow::{Context, ensure};
use cluster::{Campaign, Copies};
use harness::{must, within};
use std::fs;
use std::time::Duration;

/// Longest time until copies are where they should be.
const MOVED_MAX: Duration = Duration::from_secs(300);
/// The node, by its index.
const NODE: usize = 1;

#[test]
fn a_disk_comes_and_a_disk_goes() {
    if !harness::in_tier_two("disks that come and go") {
        return;
    }
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let mut campaign = Campaign::start(cluster::options())?;
    let load = campaign.load()?;
    let folder = campaign.cluster.node_folder(NODE);
    let node = folder.to_str().context("a path that is text")?.to_owned();
    let disk =
        |campaign: &Campaign, what: &str, dir: &str| campaign.cluster.operate(&["node", "disk", what, &node, dir]);

    let early = disk(&campaign, "remove", "data/disk-0");
    ensure!(early.as_ref().is_err_and(|error| error.to_string().contains("drain")), "a disk in use: {early:?}");
    disk(&campaign, "add", "data/disk-1")?;
    // Again after an interruption: nothing more happens.
    let again = disk(&campaign, "add", "data/disk-1")?;
    ensure!(again.contains("number 1"), "{again}");
    restart(&mut campaign)?;
    let groups = groups_on(&campaign, |first, second| first > 0 && second > 0)?;
    println!("a disk more: {} groups on the old one, {} on the new one", groups.0, groups.1);

    disk(&campaign, "drain", "data/disk-0")?;
    disk(&campaign, "remove", "data/disk-0")?;
    campaign.cluster.kill(NODE)?;
    fs::remove_dir_all(folder.join("data/disk-0"))?;
    campaign.cluster.restart(NODE)?;
    let groups = groups_on(&campaign, |first, _| first == 0)?;
    println!("a disk less: {} groups on the one that is gone, {} on the other", groups.0, groups.1);
    campaign.judge(load)?;
    // What it has now is good: with another node away every byte is still there.
    campaign.cluster.kill((NODE + 1) % campaign.cluster.nodes())?;
    campaign.cluster.wait_writable()?;
    campaign.judge_all()
}

fn restart(campaign: &mut Campaign) -> anyhow::Result<()> {
    campaign.cluster.kill(NODE)?;
    campaign.cluster.restart(NODE)?;
    campaign.cluster.wait_writable().map(drop)
}

/// Waits until nothing moves and the groups on both disks of the node are so many.
fn groups_on(campaign: &Campaign, wanted: impl Fn(u64, u64) -> bool) -> anyhow::Result<(u64, u64)> {
    let look = || {
        let copies = Copies::of(&campaign.cluster).ok()?;
        let (first, second) = (copies.on(NODE as u64 + 1, 0)?, copies.on(NODE as u64 + 1, 1)?);
        (copies.are_whole() && wanted(first, second)).then_some((first, second))
    };
    within("copies have moved", MOVED_MAX, look)
        .map(|(groups, _)| groups)
        .with_context(|| campaign.cluster.last_words())
}
