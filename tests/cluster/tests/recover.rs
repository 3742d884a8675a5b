//! Two of three nodes are gone for good, folders and all: `sago recover --unsafe` makes what the third has the only truth, as it stands in
//! docs/OPERATIONS.md.

use anyhow::{Context, ensure};
use cluster::exit::{DONE, FAILED, UNCHECKED, USAGE};
use cluster::{Copies, GROUPS, Newcomer, Shelf, fsck, garbage, hasty_collector, held};
use harness::{Cluster, Options, must, until, within};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The node that is left, and those that are lost. Indexes, not ids.
const LEFT: usize = 0;
const LOST: [usize; 2] = [1, 2];
const OBJECTS: usize = 40;
/// Objects that are deleted, after which their chunks are garbage.
const DELETED: usize = 10;
/// Longest time until a node that was started leads, or ends.
const STARTED_MAX: Duration = Duration::from_secs(60);
/// Longest time until all copies and votes are where they belong again.
const WHOLE_MAX: Duration = Duration::from_secs(300);

#[test]
fn what_one_of_three_has_becomes_the_truth_when_the_others_are_gone_for_good() {
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let shelf = Shelf::new(&cluster, "book", |n| 50_000 + 97 * n)?;
    shelf.store(0..OBJECTS)?;
    // Two copies are enough where a node was not heard for a moment, and the third is made soon after.
    let begun = Instant::now();
    while let Some(lacks) = lacks(&mut cluster)? {
        ensure!(
            begun.elapsed() < WHOLE_MAX,
            "the node that will be left lacks chunks: {lacks}\n{}",
            cluster.last_words()
        );
    }
    // Read at its next start.
    hasty_collector(&cluster, LEFT)?;
    refused_while_anybody_is_there(&mut cluster)?;

    cluster.kill_nodes()?;
    for lost in LOST {
        fs::rename(cluster.node_folder(lost).join("data"), aside(&cluster, lost))?;
    }
    recover_the_one_that_is_left(&mut cluster)?;
    shelf.check(0..OBJECTS).with_context(|| cluster.last_words())?;

    // What is deleted now is garbage at once, and stays on the disk.
    shelf.delete(0..DELETED)?;
    cluster.operate(&["trash", "purge", &shelf.bucket, "--yes"])?;
    cluster.operate(&["cluster", "garbage", "--grace", "0"])?;
    let before = cluster.status(LEFT)?.chunks();
    ensure!(before >= OBJECTS as u64, "there are {before} chunks only");

    an_old_voter_is_refused(&mut cluster)?;
    let many = ["--moves", "64", "--moves-per-node", "32", "--moves-per-disk", "32"];
    cluster.operate(&[&["placement", "set"][..], &many].concat())?;
    let (_fourth, _fifth) = (Newcomer::new(&cluster, 4)?.come(&cluster)?, Newcomer::new(&cluster, 5)?.come(&cluster)?);
    until("the cluster is whole", WHOLE_MAX, || is_whole(&cluster)).with_context(|| cluster.last_words())?;
    shelf.store(OBJECTS..2 * OBJECTS)?;

    let kept = garbage(&cluster, &[])?;
    ensure!(kept["on"] == false && held(&kept) == GROUPS - 1, "not held any more: {kept}");
    // Copies that were left out are made soon after; had anything been deleted, there would be too few for ever.
    let full = || cluster.status(LEFT).ok().map(|page| page.chunks()).filter(|now| *now >= before + OBJECTS as u64);
    let (full, _) =
        within("all there was, and the new ones", WHOLE_MAX, full).with_context(|| format!("{before} before"))?;
    let released = garbage(&cluster, &["--on"])?;
    ensure!(released["on"] == true && held(&released) == 0, "still held: {released}");
    let left = full - DELETED as u64;
    until("the garbage is collected", WHOLE_MAX, || cluster.status(LEFT).is_ok_and(|page| page.chunks() <= left))
        .with_context(|| cluster.last_words())?;

    // Those that joined have all of it: the one that was left is not needed any more.
    cluster.kill(LEFT)?;
    cluster.wait_writable()?;
    shelf.check(DELETED..2 * OBJECTS).with_context(|| cluster.last_words())
}

/// What the node that will be left lacks, as it says itself while it is stopped. Not by how many chunks the others have: a put that it did not take in time was made elsewhere, and
/// what they took of it stays with them until the writer is gone.
fn lacks(cluster: &mut Cluster) -> anyhow::Result<Option<Value>> {
    cluster.kill(LEFT)?;
    let (code, report) = fsck(cluster, LEFT, &[])?;
    cluster.restart(LEFT)?;
    until("all nodes serve again", STARTED_MAX, || cluster.is_whole())?;
    ensure!(code == DONE, "it is damaged: {code}, {report}");
    // Who is killed before its index was written the first time cannot say; it writes it when it starts.
    let homes = report["homes"].clone();
    let all = homes["wanted"].as_u64() >= Some(OBJECTS as u64) && homes["noted"] == 0 && homes["missing"] == 0;
    Ok(Some(homes).filter(|_| !all))
}

fn aside(cluster: &Cluster, node: usize) -> std::path::PathBuf {
    cluster.folder().join(format!("aside-{node}"))
}

/// Runs `sago recover --unsafe` on the node that is left: how it ended, its standard output, and what it said.
fn recover(cluster: &Cluster, words: &[&str], typed: &str) -> anyhow::Result<(i32, String, String)> {
    let mut command = cluster.command();
    command.args(["recover", "--unsafe", "--json"]).arg(cluster.node_folder(LEFT)).args(words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // One that has refused before it asks reads nothing.
    let _ = child.stdin.take().context("its standard input")?.write_all(typed.as_bytes());
    let output = child.wait_with_output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code().context("it was killed")?, text(&output.stdout), text(&output.stderr)))
}

/// Anything but the death of all others ends it, and nothing is written.
fn refused_while_anybody_is_there(cluster: &mut Cluster) -> anyhow::Result<()> {
    let (code, _, said) = recover(cluster, &["--all"], "")?;
    ensure!(code == UNCHECKED, "a node that runs was recovered: {code}, {said}");
    cluster.kill(LEFT)?;
    let before = files(&cluster.node_folder(LEFT).join("data/meta/raft"))?;
    for words in [&["--all"][..], &["--group", "0"], &["--all", "--plan"]] {
        let (code, _, said) = recover(cluster, words, "lose everything\n")?;
        ensure!(code == FAILED && said.contains("answers at"), "{words:?} with two voters alive: {code}, {said}");
    }
    cluster.kill(LOST[0])?;
    let (code, _, said) = recover(cluster, &["--all"], "")?;
    ensure!(code == FAILED && said.contains("answers at"), "with a voter alive: {code}, {said}");
    ensure!(before == files(&cluster.node_folder(LEFT).join("data/meta/raft"))?, "it has changed the log");
    cluster.restart(LEFT)?;
    cluster.restart(LOST[0])?;
    until("all nodes serve again", STARTED_MAX, || cluster.is_whole())?;
    cluster.wait_writable().map(drop)
}

fn recover_the_one_that_is_left(cluster: &mut Cluster) -> anyhow::Result<()> {
    let raft = cluster.node_folder(LEFT).join("data/meta/raft");
    let before = files(&raft)?;
    let (code, plan, said) = recover(cluster, &["--all", "--plan"], "")?;
    ensure!(code == DONE, "no plan: {code}, {said}");
    let plan: Value = serde_json::from_str(&plan)?;
    ensure!(plan["groups"].as_array().map(Vec::len) == Some(GROUPS), "not all groups: {plan}");
    ensure!(plan["lost"] == serde_json::json!([2, 3]) && plan["removes"] == true, "not both of them: {plan}");
    let sentence = plan["sentence"].as_str().context("no sentence")?.to_owned();
    let (code, _, said) = recover(cluster, &["--all"], "yes\n")?;
    ensure!(code == USAGE && said.contains(&sentence), "another word was taken for it: {code}, {said}");
    ensure!(before == files(&raft)?, "a plan has changed the log");

    let (code, _, said) = recover(cluster, &["--all"], &format!("{sentence}\n"))?;
    ensure!(code == DONE, "it was not recovered: {code}, {said}");
    let (code, _, said) = recover(cluster, &["--all"], &format!("{sentence}\n"))?;
    ensure!(code == FAILED && said.contains("only voter"), "it was recovered twice: {code}, {said}");
    cluster.restart(LEFT)?;
    until("it leads all groups", STARTED_MAX, || {
        let groups = cluster.status(LEFT).map(|page| page.groups).unwrap_or_default();
        groups.len() == GROUPS && groups.iter().all(|group| group.role == "leader" && group.voters.len() == 1)
    })
    .with_context(|| cluster.last_words())?;
    let garbage = garbage(cluster, &[])?;
    ensure!(garbage["on"] == false && held(&garbage) == GROUPS - 1, "garbage is collected: {garbage}");
    Ok(())
}

/// A disk turns up, and somebody starts the node.
fn an_old_voter_is_refused(cluster: &mut Cluster) -> anyhow::Result<()> {
    let back = LOST[0];
    fs::rename(aside(cluster, back), cluster.node_folder(back).join("data"))?;
    cluster.restart(back)?;
    until("the lost node ends", STARTED_MAX, || !cluster.runs(back))?;
    let said = cluster.said(back, "was removed from the cluster");
    ensure!(said > 0, "it did not say why\n{}", cluster.last_words());
    cluster.kill(back)?;
    let page = cluster.status(LEFT)?;
    ensure!(page.groups.iter().all(|group| group.role == "leader"), "it was listened to: {:?}", page.groups);
    Ok(())
}

/// Three voters of every group, three copies of every chunk, nothing under way.
fn is_whole(cluster: &Cluster) -> bool {
    let status = cluster.sago(&["cluster", "status", "--json"]).unwrap_or_default();
    let status: Value = serde_json::from_str(&status).unwrap_or_default();
    let groups = status["groups"].as_array().cloned().unwrap_or_default();
    let voters = serde_json::json!([1, 4, 5]);
    let sorted = |group: &Value| {
        let mut voters: Vec<u64> = group["voters"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        voters.sort_unstable();
        serde_json::json!(voters)
    };
    let votes = groups.len() == GROUPS
        && groups.iter().all(|group| {
            sorted(group) == voters && group["wanted"].is_null() && group["learners"] == serde_json::json!([])
        });
    votes && Copies::of(cluster).is_ok_and(|copies| copies.are_whole())
}

/// Names and bytes of the files in a folder and one below it.
fn files(folder: &Path) -> anyhow::Result<Vec<(std::path::PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            let bytes = fs::read(&path)?;
            found.push((path, bytes));
        }
    }
    found.sort_unstable();
    Ok(found)
}
