//! Bytes that rot on the disks of running nodes: never returned, written anew without a person where a copy is left, an alarm where
//! none is.

use anyhow::{Context, ensure};
use harness::{Cluster, Options, Payload, must, until};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const OBJECTS: usize = 60;
/// The one that rots on every node.
const LOST: usize = 17;
/// Within this time damaged copies are written anew.
const REWRITTEN_MAX: Duration = Duration::from_secs(60);

#[test]
fn rot_is_never_returned_and_goes_away_or_is_an_alarm() {
    let _turn = harness::exclusive();
    must(rot());
}

fn rot() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options::default())?;
    let (s3, bucket) = (cluster.s3(), cluster.target().bucket.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for number in 0..OBJECTS {
        runtime.block_on(s3.put(&bucket, &key(number), &Payload::new(content(number)))).map(drop)?;
    }
    let nodes = segments(cluster.folder())?;
    ensure!(nodes.len() == 3, "three nodes have segments, not {}", nodes.len());
    for number in 0..OBJECTS {
        for (at, files) in nodes.values().enumerate() {
            if number == LOST || number % 3 == at {
                ensure!(flip(files, &content(number))?, "object {number} is not on node {}", at + 1);
            }
        }
    }
    // What is read before anything was found must be right, or an error.
    for number in 0..OBJECTS {
        let read = runtime.block_on(s3.get(&bucket, &key(number)));
        ensure!(number == LOST || read.is_ok(), "object {number}: {read:?}");
        if let Ok(bytes) = read {
            ensure!(bytes.to_vec() == content(number), "wrong bytes of object {number}");
        }
    }
    // It fails, because there is a chunk without an intact copy; the status says so too.
    let _ = cluster.sago(&["scrub", "--wait", "--json"]);
    until("all but one are written anew, and the one is an alarm", REWRITTEN_MAX, || {
        let Ok(status) = status(&cluster) else { return false };
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let damaged: u64 = nodes
            .iter()
            .flat_map(|node| node["disks"].as_array().cloned().unwrap_or_default())
            .filter_map(|disk| disk["quarantined"].as_u64())
            .sum();
        damaged == 3 && nodes.iter().all(|node| node["lost_count"] == 1)
    })?;
    let text = cluster.sago(&["cluster", "status"])?;
    ensure!(text.contains("ALARM") && text.contains("no intact copy"), "{text}");
    for number in 0..OBJECTS {
        let read = runtime.block_on(s3.get(&bucket, &key(number)));
        match number {
            LOST => ensure!(read.is_err(), "bytes of an object without an intact copy"),
            _ => ensure!(read?.to_vec() == content(number), "wrong bytes of object {number}"),
        }
    }
    // Written anew on every node: each copy alone is enough now.
    for files in segments(cluster.folder())?.values() {
        for number in (0..OBJECTS).filter(|number| *number != LOST) {
            ensure!(!find(files, &content(number))?.is_empty(), "object {number} was not written anew");
        }
    }
    Ok(())
}

fn status(cluster: &Cluster) -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::from_str(&cluster.sago(&["cluster", "status", "--json"])?)?)
}

fn key(number: usize) -> String {
    format!("rot/{number:03}")
}

/// One chunk, unlike any other.
fn content(number: usize) -> Vec<u8> {
    let mut state = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut step = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    (0..100_000 + 3001 * number).map(|_| step()).collect()
}

/// The segment files under a folder, by the node they belong to.
fn segments(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<PathBuf>>> {
    let mut found: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "seg") {
                found.entry(folder.clone()).or_default().push(path);
            }
        }
    }
    Ok(found)
}

/// Where these data lie: in which file and from which byte on.
fn find(files: &[PathBuf], data: &[u8]) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for path in files {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        // A record begins at a block, its data 128 bytes behind.
        let starts = (128..bytes.len()).step_by(4096).filter(|at| bytes[*at..].starts_with(data));
        found.extend(starts.map(|at| (path.clone(), at as u64)));
    }
    Ok(found)
}

/// Flips a bit in the middle of these data. Whether they were there.
fn flip(files: &[PathBuf], data: &[u8]) -> anyhow::Result<bool> {
    let places = find(files, data)?;
    for (path, at) in &places {
        let file = OpenOptions::new().write(true).open(path)?;
        let middle = data.len() / 2;
        file.write_all_at(&[data[middle] ^ 1], at + middle as u64)?;
        file.sync_all()?;
    }
    Ok(!places.is_empty())
}
