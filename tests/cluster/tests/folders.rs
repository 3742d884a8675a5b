//! A node comes up with the wrong data: none, old ones, damaged ones. It harms nobody, and says what to do.
//!
//! T18, T19 and T20 of the battery. Plain folders: no fault disk is needed.

use anyhow::{Context, ensure};
use cluster::Campaign;
use harness::{must, until};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest time until a node has refused to start.
const REFUSES_MAX: Duration = Duration::from_secs(30);

#[test]
fn wrong_data_under_a_known_id_harm_nobody() {
    let _turn = harness::exclusive();
    must(wrong_data());
}

fn wrong_data() -> anyhow::Result<()> {
    let mut campaign = Campaign::start(cluster::options())?;
    wiped(&mut campaign, "data", "holds no metadata of this node")?;
    wiped(&mut campaign, "data/disk-0", "is the file system mounted")?;
    old_copy(&mut campaign)?;
    campaign.judge_all()
}

/// On a cluster of its own: its node does not come back, so the others must have every chunk, and not only one of them because a disk was
/// swapped a moment ago.
#[test]
fn a_damaged_log_is_refused_and_nothing_is_forgotten() {
    let _turn = harness::exclusive();
    must(Campaign::start(cluster::options()).and_then(|mut campaign| damaged_log(&mut campaign)));
}

/// T19. A node without the data it had must not start as if it were new: it would vote against what it has promised.
fn wiped(campaign: &mut Campaign, what: &str, says: &str) -> anyhow::Result<()> {
    const VICTIM: usize = 1;
    let load = campaign.load()?;
    campaign.cluster.kill(VICTIM)?;
    let (data, aside) = (campaign.cluster.node_folder(VICTIM).join(what), campaign.cluster.folder().join("aside"));
    fs::rename(&data, &aside)?;
    fs::create_dir(&data)?;
    refuses(campaign, VICTIM, says)?;
    let left: Vec<PathBuf> = fs::read_dir(&data)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    println!("round {}: without {what} the node refuses; {} files were made there", campaign.rounds() + 1, left.len());
    // It was only not mounted.
    fs::remove_dir_all(&data)?;
    fs::rename(&aside, &data)?;
    campaign.cluster.restart(VICTIM)?;
    campaign.whole_again()?;
    campaign.judge(load)
}

/// T20. An old copy of the folder is swapped in, of before writes that the node has acknowledged. It does not vote until it has caught up, and
/// the one that had everything meanwhile may die.
fn old_copy(campaign: &mut Campaign) -> anyhow::Result<()> {
    const VICTIM: usize = 2;
    const COPIED: &str = "this folder is a copy";
    let load = campaign.load()?;
    campaign.cluster.kill(VICTIM)?;
    let (data, old) = (campaign.cluster.node_folder(VICTIM).join("data"), campaign.cluster.folder().join("old"));
    let copied = Command::new("cp").arg("-a").args([&data, &old]).status()?;
    ensure!(copied.success(), "cp -a failed");
    campaign.cluster.restart(VICTIM)?;
    campaign.whole_again()?;
    // With one node away, every write is acknowledged by this one.
    campaign.cluster.kill(0)?;
    let more = load.writes() + 50;
    until("more is written", Duration::from_secs(60), || load.writes() > more)?;
    campaign.cluster.kill(VICTIM)?;
    fs::remove_dir_all(&data)?;
    fs::rename(&old, &data)?;
    let before = campaign.cluster.said(VICTIM, COPIED);
    campaign.cluster.restart(VICTIM)?;
    campaign.cluster.restart(0)?;
    let took = campaign.serves_again(Instant::now())?;
    println!("round {}: an old copy was swapped in, served after {:.1} s", campaign.rounds() + 1, took.as_secs_f64());
    ensure!(campaign.cluster.said(VICTIM, COPIED) > before, "the node takes an old copy for what it had");
    campaign.whole_again()?;
    campaign.judge(load)
}

/// T18. The write-ahead log is damaged in its middle, and another node is down: nothing is served rather than something forgotten. With that
/// node back the two go on, and everything is there.
fn damaged_log(campaign: &mut Campaign) -> anyhow::Result<()> {
    const VICTIM: usize = 1;
    const DOWN: usize = 0;
    let load = campaign.load()?;
    campaign.cluster.kill(VICTIM)?;
    campaign.cluster.kill(DOWN)?;
    damage(&campaign.cluster.node_folder(VICTIM).join("data/meta/raft/db"))?;
    refuses(campaign, VICTIM, "replace the node")?;
    campaign.cluster.restart(DOWN)?;
    let took = campaign.serves_again(Instant::now())?;
    println!("round {}: a damaged log is refused, served after {:.1} s", campaign.rounds() + 1, took.as_secs_f64());
    campaign.judge(load)
}

/// Changes a byte in the middle of the largest write-ahead log.
fn damage(db: &Path) -> anyhow::Result<()> {
    let logs = fs::read_dir(db)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "log"));
    let sized = logs.map(|path| (fs::metadata(&path).map_or(0, |about| about.len()), path));
    let (bytes, path) = sized.max().context("no write-ahead log")?;
    ensure!(bytes > 4096, "{} has {bytes} bytes only: nothing is in its middle", path.display());
    let mut file = File::options().read(true).write(true).open(&path)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(bytes / 2))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(bytes / 2))?;
    Ok(file.write_all(&[byte[0] ^ 0x40])?)
}

/// Starts a node that must end by itself, having said why.
fn refuses(campaign: &mut Campaign, node: usize, says: &str) -> anyhow::Result<()> {
    let before = campaign.cluster.said(node, says);
    campaign.cluster.restart(node)?;
    until("the node refuses to start", REFUSES_MAX, || !campaign.cluster.runs(node))?;
    ensure!(campaign.cluster.said(node, says) > before, "it did not say {says:?}\n{}", campaign.cluster.last_words());
    campaign.cluster.kill(node)
}
