//! What belongs to a node, by its configuration.

use crate::cluster::FIRST_START;
use crate::config::{ClusterFile, NodeFile, beside, folder_of, load};
use crate::exit::{Done, Failure, Kind};
use std::path::{Path, PathBuf};
use types::{DiskId, NodeId};

/// The folders of a node.
pub(crate) struct Site {
    pub(crate) node: NodeId,
    /// Where `node.toml` stands.
    pub(crate) folder: PathBuf,
    pub(crate) meta: PathBuf,
    /// Where its certificate and key are.
    pub(crate) credentials: PathBuf,
    /// The cluster as it was set up, or as it was when the node joined; `None` if the file is not there.
    pub(crate) cluster: Option<ClusterFile>,
    /// Data directories, and the disk that the cluster file says each is.
    pub(crate) disks: Vec<(PathBuf, Option<DiskId>)>,
    /// Which of them were taken out for good, by their places in the list.
    pub(crate) gone: Vec<usize>,
}

impl Site {
    /// Reads `node.toml`, which is `path` or stands in it, and the cluster file if it is there.
    pub(crate) fn load(path: &Path) -> Done<Site> {
        let file = if path.is_dir() { path.join("node.toml") } else { path.to_owned() };
        let node: NodeFile = load(&file)?;
        let cluster = beside(&file, &node.cluster);
        // A folder that was brought from another machine may have come alone: then less can be compared.
        let mut known = if cluster.exists() { Some(ClusterFile::load(&cluster)?) } else { None };
        if let Some(known) = &mut known {
            node.add_to(&mut known.map)?;
        }
        let entry = known.as_ref().and_then(|known| known.map.node(NodeId(node.id)));
        if known.is_some() && entry.is_none() {
            let what = format!("{}: node {} is not in {}", file.display(), node.id, cluster.display());
            return Err(Failure::new(Kind::Usage, what));
        }
        let id = |number: usize| entry.and_then(|entry| entry.disks.get(number)).map(|disk| disk.id);
        let disks = node.disks.iter().enumerate().map(|(number, disk)| (beside(&file, disk), id(number))).collect();
        let (meta, folder) = (beside(&file, &node.meta), folder_of(&file).to_owned());
        let credentials = beside(&file, &node.credentials);
        Ok(Site { node: NodeId(node.id), folder, meta, credentials, cluster: known, disks, gone: node.gone })
    }

    /// Whether the node may make its folders, and has made none.
    pub(crate) fn never_started(&self) -> bool {
        let empty = |path: &Path| std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
        self.folder.join(FIRST_START).exists() && empty(&self.meta) && self.disks.iter().all(|(disk, _)| empty(disk))
    }
}

/// Bytes that the segments of a data directory take, for a bar.
pub(crate) fn segment_bytes(disk: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(disk.join("segments")) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|about| about.len()).sum()
}
