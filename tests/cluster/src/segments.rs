//! The segments of a node from outside: where they lie on its disk, and which chunk lies where in them.

use anyhow::{Context, ensure};
use harness::Cluster;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A record begins at a block, its data so many bytes behind (docs/formats/segments.md).
const BLOCK: usize = 4096;
const HEADER: usize = 128;
/// Bytes by which data are told apart; shorter data are not found.
const PREFIX: usize = 32;

/// The segment files of a node.
///
/// # Errors
/// Its folder cannot be read.
pub fn segments(cluster: &Cluster, at: usize) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![cluster.node_folder(at).join("data")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "seg") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Where the segments of a node lie on its fault disk; what is preallocated and not written yet among it.
///
/// # Errors
/// `filefrag` cannot tell.
pub fn places(cluster: &Cluster, at: usize) -> anyhow::Result<Vec<Range<u64>>> {
    let mut all: Vec<Range<u64>> = Vec::new();
    for segment in segments(cluster, at)? {
        // Compaction may have taken it away.
        let Ok(places) = cluster.disk(at).places(&segment) else { continue };
        for place in places {
            // The file system tells written and unwritten parts apart; for the disk they are one.
            match all.last_mut().filter(|last| last.end == place.start) {
                Some(last) => last.end = place.end,
                None => all.push(place),
            }
        }
    }
    Ok(all)
}

/// Has the kernel forget what it has cached of the segments of a node, so that the next reads ask its fault disk.
///
/// # Errors
/// A segment cannot be opened.
pub fn forget_cached(cluster: &Cluster, at: usize) -> anyhow::Result<()> {
    for segment in segments(cluster, at)?.iter().filter(|segment| segment.exists()) {
        cluster.disk(at).forget_cached(segment)?;
    }
    Ok(())
}

/// What lies where in the segments of a node, as of one look.
#[derive(Debug)]
pub struct Records {
    files: Vec<PathBuf>,
    starts: BTreeMap<[u8; PREFIX], Vec<(usize, u64)>>,
}

impl Records {
    /// Looks.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn read(cluster: &Cluster, at: usize) -> anyhow::Result<Self> {
        let files = segments(cluster, at)?;
        ensure!(!files.is_empty(), "node {} has no segments", at + 1);
        let mut starts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (number, path) in files.iter().enumerate() {
            let bytes = fs::read(path).with_context(|| path.display().to_string())?;
            for start in (HEADER..bytes.len()).step_by(BLOCK) {
                let prefix = bytes.get(start..start + PREFIX).and_then(|prefix| <[u8; PREFIX]>::try_from(prefix).ok());
                if let Some(prefix) = prefix.filter(|prefix| prefix.iter().any(|byte| *byte != 0)) {
                    starts.entry(prefix).or_default().push((number, start as u64));
                }
            }
        }
        Ok(Records { files, starts })
    }

    /// Where these data lie whole: in which file and from which byte on.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn find(&self, data: &[u8]) -> anyhow::Result<Vec<(&Path, u64)>> {
        let prefix = data.first_chunk::<PREFIX>().context("too short to be found")?;
        let mut found = Vec::new();
        for (number, start) in self.starts.get(prefix).into_iter().flatten() {
            let path = self.files[*number].as_path();
            let mut bytes = vec![0; data.len()];
            let read = File::open(path)?.read_exact_at(&mut bytes, *start);
            if read.is_ok() && bytes == data {
                found.push((path, *start));
            }
        }
        Ok(found)
    }

    /// Flips a bit of these data, `back` bytes before their middle. Whether they were there.
    ///
    /// # Errors
    /// A segment cannot be written.
    pub fn rot(&self, data: &[u8], back: usize) -> anyhow::Result<bool> {
        let places = self.find(data)?;
        let at = (data.len() / 2).saturating_sub(back);
        for (path, start) in &places {
            let file = File::options().write(true).open(path)?;
            file.write_all_at(&[data[at] ^ 1], start + at as u64)?;
            file.sync_all()?;
        }
        Ok(!places.is_empty())
    }
}
