//! `sago fsck` on the folders of a real cluster: nothing to report after a kill, nothing changed, and a damage is named until it is mended.

use anyhow::ensure;
use cluster::exit::{DAMAGE, DONE, UNCHECKED};
use cluster::{Shelf, fsck};
use harness::{Cluster, Options, must, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const OBJECTS: usize = 40;
/// The object that is damaged on one node.
const DAMAGED: usize = 7;
/// Within this time a damaged copy is found and written anew.
const REWRITTEN_MAX: Duration = Duration::from_secs(60);
/// Longest time until a node that was started again serves.
const BACK_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_stopped_node_is_looked_at_and_what_was_damaged_is_named() {
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    const VICTIM: usize = 1;
    let mut cluster = Cluster::start(Options::default())?;
    let shelf = fill(&cluster)?;
    let (code, _) = fsck(&cluster, VICTIM, &["--deep"])?;
    ensure!(code == UNCHECKED, "a node that runs was checked: {code}");

    cluster.kill(VICTIM)?;
    let folder = cluster.node_folder(VICTIM);
    let before = bytes_of(&folder)?;
    for _ in 0..2 {
        let (code, report) = fsck(&cluster, VICTIM, &["--deep"])?;
        ensure!(code == DONE, "a node that was killed is damaged: {code}, {report}");
        let homes = &report["homes"];
        ensure!(homes["wanted"].as_u64().unwrap_or(0) >= OBJECTS as u64, "too few chunks are wanted here: {report}");
        ensure!(homes["missing"] == 0, "chunks are missing: {report}");
        ensure!(before == bytes_of(&folder)?, "fsck has changed something");
    }

    flip(&folder, &shelf.titles.content(DAMAGED))?;
    let (code, report) = fsck(&cluster, VICTIM, &["--deep"])?;
    // By the index, or by the segment if the node died before its index was written the first time.
    let named = count(&report, "chunk-damaged") + count(&report, "segment-damaged");
    ensure!(code == DAMAGE && named == 1, "the damage is not named: {code}, {report}");

    cluster.restart(VICTIM)?;
    until("the node serves again", BACK_MAX, || cluster.is_whole())?;
    cluster.sago(&["scrub", "--wait", "--json"])?;
    until("the damaged copy is written anew", REWRITTEN_MAX, || {
        let Ok(status) = cluster.sago(&["cluster", "status", "--json"]) else { return false };
        let Ok(status) = serde_json::from_str::<Value>(&status) else { return false };
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let disks = nodes.iter().flat_map(|node| node["disks"].as_array().cloned().unwrap_or_default());
        disks.map(|disk| disk["quarantined"].as_u64()).all(|damaged| damaged == Some(0))
    })?;
    cluster.kill_nodes()?;
    for node in 0..cluster.nodes() {
        let (code, report) = fsck(&cluster, node, &["--deep"])?;
        ensure!(code == DONE, "node {node} is damaged: {code}, {report}");
    }
    Ok(())
}

/// Objects of one chunk each, small ones that lie in the metadata, and some that are deleted.
fn fill(cluster: &Cluster) -> anyhow::Result<Shelf> {
    let shelf = Shelf::new(cluster, "fsck", |number| 60_000 + 1009 * number)?;
    shelf.store(0..OBJECTS + 10)?;
    Shelf::new(cluster, "small", |_| 100)?.store(0..OBJECTS + 10)?;
    for number in OBJECTS..OBJECTS + 10 {
        cluster.sago(&["rm", &format!("{}/{}", shelf.bucket, shelf.titles.key(number))])?;
    }
    Ok(shelf)
}

fn count(report: &Value, code: &str) -> u64 {
    let counts = report["counts"].as_array().cloned().unwrap_or_default();
    let of = counts.iter().find(|count| count["code"] == code);
    of.and_then(|count| count["count"].as_u64()).unwrap_or(0)
}

/// Every file below a folder and a hash of what is in it.
fn bytes_of(root: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    use sha2::{Digest, Sha256};
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        files.insert(folder.clone(), Vec::new());
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let hash = Sha256::digest(fs::read(&path)?).to_vec();
                files.insert(path, hash);
            }
        }
    }
    Ok(files)
}

/// Changes a byte in the middle of these data, wherever they lie below a folder.
fn flip(root: &Path, data: &[u8]) -> anyhow::Result<()> {
    let mut found = 0;
    for path in bytes_of(root)?.into_keys().filter(|path| path.extension().is_some_and(|end| end == "seg")) {
        let mut bytes = fs::read(&path)?;
        // A record begins at a block, its data 128 bytes behind.
        let Some(at) = (128..bytes.len()).step_by(4096).find(|at| bytes[*at..].starts_with(data)) else { continue };
        bytes[at + data.len() / 2] ^= 1;
        fs::write(&path, bytes)?;
        found += 1;
    }
    ensure!(found == 1, "the object lies at {found} places of the node, not at one");
    Ok(())
}
