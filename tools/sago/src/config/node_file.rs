//! `node.toml`: how one node runs.

use super::{ConfigError, Size};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use types::{DiskEntry, NodeId, PlacementMap};

/// Settings of a node. Flags and `SAGO_NODE_*` variables of `sago node` stand over them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFile {
    /// Which node of the cluster file this is. 1 or more.
    pub id: u64,
    /// The cluster file. Default `../cluster.toml`.
    #[serde(default = "default_cluster")]
    pub cluster: PathBuf,
    /// Folder of `ca.pem`, `cert.pem` and `key.pem`; the key must not be accessible to other users. Default: this file's folder.
    #[serde(default = "default_credentials")]
    pub credentials: PathBuf,
    /// UDP address to listen at. Default: all addresses, with the port of the node's address in the cluster file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// TCP address of /metrics, /health and /status; they are not authenticated. Default `127.0.0.1:7401`.
    #[serde(default = "default_admin")]
    pub admin: SocketAddr,
    /// Folder of the metadata: Raft log and state. Put it on the fastest disk. Default `data/meta`.
    #[serde(default = "default_meta")]
    pub meta: PathBuf,
    /// Data directories of the chunks, one a disk, in the order of the cluster file. Default `["data/disk-0"]`.
    #[serde(default = "default_disks")]
    pub disks: Vec<PathBuf>,
    /// Ids of the disks that were added since the cluster file was written, in order (`sago node disk add`). Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Numbers, from 0, of the data directories whose disks were taken out for good (`sago node disk remove`). Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<usize>,
    /// Memory.
    #[serde(default)]
    pub memory: MemorySection,
    /// How chunks lie on the disks.
    #[serde(default)]
    pub store: StoreSection,
    /// How what nobody needs is found.
    #[serde(default)]
    pub garbage: GarbageSection,
    /// How much of the metadata's log is kept.
    #[serde(default)]
    pub raft: RaftSection,
}

impl NodeFile {
    /// Has the map of the cluster file know the disks that this node was given since.
    ///
    /// # Errors
    /// [`ConfigError`]: one is no id.
    pub fn add_to(&self, map: &mut PlacementMap) -> Result<(), ConfigError> {
        let Some(entry) = map.nodes.iter_mut().find(|entry| entry.id == NodeId(self.id)) else { return Ok(()) };
        for added in &self.added {
            let id = added.parse().map_err(|_| ConfigError::value("added", format!("{added:?} is no id of a disk")))?;
            entry.disks.push(DiskEntry::new(id));
        }
        Ok(())
    }
}

/// `[memory]`: what a node may hold. With the defaults it stays under 512 MiB beside the two caches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySection {
    /// Cache of metadata, all groups together. 8 MiB to 1 TiB, default 64 MiB.
    pub state_cache: Size,
    /// Cache of the chunk index, all disks together. 8 MiB to 1 TiB, default 32 MiB.
    pub index_cache: Size,
    /// Bodies of requests that have arrived and are not yet answered. 8 MiB to 2 GiB, default 96 MiB. Beyond it requests wait, then
    /// are answered "busy".
    pub network: Size,
    /// Chunks being read and sent. 8 MiB to 2 GiB, default 64 MiB.
    pub read: Size,
    /// Chunks that wait for one disk. 8 MiB to 2 GiB, default 64 MiB.
    pub disk_queue: Size,
}

/// `[store]`: how chunks lie on the disks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSection {
    /// Size of a segment file, preallocated. A multiple of 4 KiB, 8 MiB to 1 TiB, default 1 GiB.
    pub segment: Size,
    /// Space of each disk's file system that chunks leave free, so that deletes and metadata go on when it is full. Default 1 GiB.
    pub reserve: Size,
    /// Write past the page cache where the file system can. Default true.
    pub direct_io: bool,
    /// Segments of which at most this share is in use are emptied to give space back, percent. 1 to 95, default 50.
    pub compact_percent: u8,
    /// How much that may copy in a second, per disk. 1 MiB to 16 GiB, default 32 MiB.
    pub compact_rate: Size,
    /// Every chunk is looked at within this many days. 1 to 60, default 14.
    pub scrub_days: u64,
    /// Every copy that metadata says is here is asked for within this many days, and soon after the node was started. 1 to 60, default 7.
    pub audit_days: u64,
    /// Used share of a disk's file system from which on there is a warning, percent. Default 85.
    pub nearfull_percent: u8,
    /// From which on the disk takes no copies from other nodes, percent. Above the former, default 90.
    pub backfillfull_percent: u8,
    /// From which on it takes no chunks, percent. Above the former, at most 99, default 95.
    pub full_percent: u8,
}

/// `[garbage]`: how what nobody needs is found, in milliseconds. Whether it is collected at all and after what grace time is said for
/// the whole cluster by `sago cluster garbage`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GarbageSection {
    /// How long a gateway, mount or tool lives without a sign of life. The same on all nodes. 1 s to 1 day, default 15 minutes: 900000.
    pub session_lease: u64,
    /// Pause between two rounds of the collector. 10 ms to 1 h, default 10 s: 10000.
    pub round: u64,
    /// Pause between two looks for orphans among all chunks of the node. 100 ms to 30 days, default 1 day: 86400000.
    pub sweep: u64,
}

/// `[raft]`: how much of each group's log is kept for replicas that are behind (one that is further behind gets a snapshot), and how leaders read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftSection {
    /// Entries; up to twice as many are kept. 16 to 10,000,000, default 10,000.
    pub log_entries: u64,
    /// Bytes of them, in the same way. 1 MiB to 16 GiB, default 64 MiB.
    pub log_bytes: Size,
    /// Whether a leader that a quorum has answered within 0.7 s reads without asking again. Default true. Turn it off where a hypervisor stops machines for longer
    /// than that without their clocks going on: a leader that was stopped could answer one read by what was true before.
    pub lease_reads: bool,
}

impl Default for RaftSection {
    fn default() -> Self {
        RaftSection { log_entries: 10_000, log_bytes: Size(64 << 20), lease_reads: true }
    }
}

impl Default for GarbageSection {
    fn default() -> Self {
        GarbageSection { session_lease: 1000 * types::SESSION_LEASE_SECONDS, round: 10_000, sweep: 24 * 3_600_000 }
    }
}

impl Default for MemorySection {
    fn default() -> Self {
        MemorySection {
            state_cache: Size(64 << 20),
            index_cache: Size(32 << 20),
            network: Size(96 << 20),
            read: Size(64 << 20),
            disk_queue: Size(64 << 20),
        }
    }
}

impl Default for StoreSection {
    fn default() -> Self {
        StoreSection {
            segment: Size(1 << 30),
            reserve: Size(1 << 30),
            direct_io: true,
            compact_percent: 50,
            compact_rate: Size(32 << 20),
            scrub_days: 14,
            audit_days: 7,
            nearfull_percent: 85,
            backfillfull_percent: 90,
            full_percent: 95,
        }
    }
}

fn default_cluster() -> PathBuf {
    "../cluster.toml".into()
}

fn default_credentials() -> PathBuf {
    ".".into()
}

fn default_admin() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7401))
}

fn default_meta() -> PathBuf {
    "data/meta".into()
}

fn default_disks() -> Vec<PathBuf> {
    vec!["data/disk-0".into()]
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use std::path::Path;

    fn read(text: &str) -> Result<NodeFile, String> {
        parse(Path::new("node.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_id_is_enough() {
        let file = read("id = 3").expect("the defaults");
        assert_eq!((file.id, file.admin.port(), file.memory), (3, 7401, MemorySection::default()));
    }

    #[test]
    fn unknown_keys_are_refused_and_named() {
        for text in ["id = 1\nlisten_on = \"x\"", "id = 1\n[memory]\nstate_cash = 1", "id = 1\n[stor]\nsegment = 1"] {
            let error = read(text).expect_err("must be refused");
            assert!(error.contains("node.toml") && error.contains("unknown field"), "{error}");
        }
        assert!(read("").expect_err("no id").contains("id"));
        assert!(read("id = 1\nmemory = { network = \"many\" }").is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut file = read("id = 1").expect("the defaults");
        file.store.segment = Size(64 << 20);
        file.listen = Some(SocketAddr::from(([0, 0, 0, 0], 7400)));
        let text = toml::to_string(&file).expect("plain data");
        assert_eq!(read(&text), Ok(file));
    }
}
