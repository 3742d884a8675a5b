//! The metadata of a cluster are lost on all nodes and restored from a backup that is older than the data: everything that is in the backup is
//! there, chunks that only the lost metadata knew are kept, and nothing is collected before an operator says so. T38 of the battery.

use anyhow::{Context, ensure};
use cluster::exit::{DAMAGE, DONE, FAILED};
use cluster::{GROUPS, Shelf, garbage, hasty_collector, held};
use harness::{Cluster, Options, must, until};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Objects in the backup, and such as were stored after it.
const OLD: usize = 30;
const NEW: usize = 12;
/// Objects of the backup that were deleted after it.
const DELETED: usize = 5;
/// Longest time until nodes that were started serve, or end.
const STARTED_MAX: Duration = Duration::from_secs(60);
/// Longest time until every node has its copies of what was just stored.
const GROWN_MAX: Duration = Duration::from_secs(60);
/// Longest time until orphans are gone.
const COLLECTED_MAX: Duration = Duration::from_secs(120);
#[test]
fn a_backup_of_the_metadata_that_is_older_than_the_data_is_restored_and_orphans_are_kept() {
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let shelf = Shelf::new(&cluster, "book", |n| 50_000 + 97 * n)?;
    shelf.store(0..OLD)?;
    let backup = back_up(&mut cluster)?;

    // By a process whose session the backup does not know.
    (OLD..OLD + NEW).try_for_each(|number| put_by_command(&cluster, &shelf, number))?;
    shelf.delete(0..DELETED)?;
    // A node that was just started, and has no lease yet, is given what it missed.
    until("every node has its copies", GROWN_MAX, || {
        chunks(&cluster).is_ok_and(|now| now.iter().all(|chunks| *chunks >= (OLD + NEW) as u64))
    })
    .with_context(|| format!("{:?}", chunks(&cluster)))?;
    let before = chunks(&cluster)?;

    lose_all_metadata(&mut cluster)?;
    restore(&mut cluster, &backup)?;
    shelf.check(0..OLD).with_context(|| cluster.last_words())?;
    (OLD..OLD + NEW).try_for_each(|number| is_gone(&shelf, number))?;

    // It goes on, and no number comes back: what is stored now is not taken for what lies there.
    shelf.store(100..100 + NEW)?;
    shelf.check(100..100 + NEW)?;
    let kept = garbage(&cluster, &[])?;
    ensure!(kept["on"] == false && held(&kept) == GROUPS - 1, "not held: {kept}");
    let grown = |(full, before): (&u64, &u64)| *full >= before + NEW as u64;
    until("every node has the new ones, and all it had", GROWN_MAX, || {
        chunks(&cluster).is_ok_and(|full| full.iter().zip(&before).all(grown))
    })
    .with_context(|| format!("{before:?}, now {:?}", chunks(&cluster)))?;
    let full = chunks(&cluster)?;

    let released = garbage(&cluster, &["--on"])?;
    ensure!(released["on"] == true && held(&released) == 0, "still held: {released}");
    until("orphans are collected", COLLECTED_MAX, || {
        let left = |(now, full): (&u64, &u64)| *now <= full - NEW as u64;
        chunks(&cluster).is_ok_and(|now| now.iter().zip(&full).all(left))
    })
    .with_context(|| cluster.last_words())?;
    shelf.check((0..OLD).chain(100..100 + NEW)).with_context(|| cluster.last_words())
}

/// An export of a node that runs, which is the one that is used later, and one of the same node stopped.
fn back_up(cluster: &mut Cluster) -> anyhow::Result<PathBuf> {
    const NODE: usize = 0;
    let folder = node(cluster, NODE)?;
    let (running, stopped) = (cluster.folder().join("backup-running"), cluster.folder().join("backup"));
    until("the node has applied everything", STARTED_MAX, || has_applied_all(cluster, NODE))?;
    let export = |to: &Path, words: &[&str]| meta(cluster, &["export", &folder, "--to"], to, words);
    let (code, _) = export(&running, &[])?;
    ensure!(code != DONE, "a node that runs was exported as one that is stopped");
    let (code, said) = export(&running, &["--running"])?;
    ensure!(code == DONE && groups(&said) == GROUPS, "no export of a running node: {code}, {said}");
    cluster.kill(NODE)?;
    let (code, said) = meta(cluster, &["export", &folder, "--to"], &stopped, &[])?;
    ensure!(code == DONE && groups(&said) == GROUPS, "no export of a stopped node: {code}, {said}");
    // A copy of what is in the log and not yet in the states is in neither.
    let behind: u64 =
        said["groups"].as_array().into_iter().flatten().filter_map(|group| group["behind"].as_u64()).sum();
    println!("{behind} entries are behind the states");
    cluster.restart(NODE)?;
    until("the node serves again", STARTED_MAX, || cluster.is_whole())?;
    Ok(running)
}

/// Whether no group is further than the replica on a node.
fn has_applied_all(cluster: &Cluster, at: usize) -> bool {
    let status = cluster.sago(&["cluster", "status", "--json"]).unwrap_or_default();
    let status: Value = serde_json::from_str(&status).unwrap_or_default();
    let groups = status["groups"].as_array().cloned().unwrap_or_default();
    groups.len() == GROUPS && groups.iter().all(|group| group["behind"][(at + 1).to_string()] == 0)
}

fn lose_all_metadata(cluster: &mut Cluster) -> anyhow::Result<()> {
    cluster.kill_nodes()?;
    for at in 0..cluster.nodes() {
        let meta = cluster.node_folder(at).join("data/meta");
        fs::rename(&meta, cluster.folder().join(format!("lost-meta-{at}")))?;
        hasty_collector(cluster, at)?;
        // Without its metadata a node does not begin anew.
        cluster.restart(at)?;
        until("the node ends", STARTED_MAX, || !cluster.runs(at))?;
        ensure!(cluster.said(at, "holds no metadata of this node") > 0, "{}", cluster.last_words());
        cluster.kill(at)?;
    }
    Ok(())
}

fn restore(cluster: &mut Cluster, backup: &Path) -> anyhow::Result<()> {
    let damaged = cluster.folder().join("damaged");
    fs::create_dir(&damaged)?;
    for entry in fs::read_dir(backup)? {
        let path = entry?.path();
        fs::copy(&path, damaged.join(path.file_name().context("a name")?))?;
    }
    let file = damaged.join("group-1.meta");
    let mut bytes = fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes)?;
    for at in 0..cluster.nodes() {
        let folder = node(cluster, at)?;
        let (code, said) = meta(cluster, &["import", &folder, "--from"], &damaged, &[])?;
        ensure!(code == DAMAGE, "a damaged backup was restored: {code}, {said}");
        ensure!(!Path::new(&folder).join("data/meta").exists(), "a damaged backup has left something");
        let (code, said) = meta(cluster, &["import", &folder, "--from"], backup, &[])?;
        ensure!(code == DONE && groups(&said) == GROUPS, "node {at} was not restored: {code}, {said}");
        let (code, _) = meta(cluster, &["import", &folder, "--from"], backup, &[])?;
        ensure!(code == FAILED, "it was restored over what was there");
    }
    (0..cluster.nodes()).try_for_each(|at| cluster.restart(at))?;
    until("the nodes serve again", STARTED_MAX, || cluster.is_whole()).with_context(|| cluster.last_words())?;
    cluster.wait_writable().map(drop)
}

/// Stores an object by a process of its own.
fn put_by_command(cluster: &Cluster, shelf: &Shelf, number: usize) -> anyhow::Result<()> {
    let file = cluster.folder().join(format!("object-{number}"));
    fs::write(&file, shelf.titles.content(number))?;
    let file = file.to_str().context("a name of text")?;
    cluster.sago(&["put", file, &format!("{}/{}", shelf.bucket, shelf.titles.key(number))]).map(drop)
}

/// Objects that the backup does not know are not there.
fn is_gone(shelf: &Shelf, number: usize) -> anyhow::Result<()> {
    let found = shelf.look(number)?;
    let gone = matches!(&found, Err(error) if error.is_not_found());
    ensure!(gone, "{}, which the backup does not know: {found:?}", shelf.titles.key(number));
    Ok(())
}

fn node(cluster: &Cluster, at: usize) -> anyhow::Result<String> {
    Ok(cluster.node_folder(at).to_str().context("a folder with a name of text")?.to_owned())
}

/// Runs `sago meta ... FOLDER`: how it ended, and what it printed.
fn meta(cluster: &Cluster, words: &[&str], folder: &Path, more: &[&str]) -> anyhow::Result<(i32, Value)> {
    let folder = folder.to_str().context("a folder with a name of text")?;
    let words = [&["meta"], words, &[folder, "--json"], more].concat();
    let (code, said) = cluster.sago_alone(&words)?;
    Ok((code, if said.is_empty() { Value::Null } else { serde_json::from_str(&said)? }))
}

fn groups(said: &Value) -> usize {
    said["groups"].as_array().map_or(0, Vec::len)
}

/// Chunks on each node.
fn chunks(cluster: &Cluster) -> anyhow::Result<Vec<u64>> {
    (0..cluster.nodes()).map(|at| Ok(cluster.status(at)?.chunks())).collect()
}
