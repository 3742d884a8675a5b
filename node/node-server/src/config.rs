//! Settings of a node, as data: where they were read from is not known here.
//!
//! Memory: with the defaults a node stays under 512 MiB beside its two caches. Bodies that arrived (`network_bytes`) are the same
//! memory as the chunks that wait for a disk, so the larger of the two counts; chunks being sent take `read_bytes`; the write buffers
//! of the RocksDB instances, Raft's entries in memory and QUIC's windows take the rest.

use crate::error::ConfigError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use transport::Credentials;
use types::{NodeEntry, NodeId, PlacementMap};

/// What a node starts from.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Which node of the map this is.
    pub node: NodeId,
    /// The map the cluster was set up with; the control group's own replaces it once it exists.
    pub map: PlacementMap,
    /// Must be those of this node.
    pub credentials: Credentials,
    /// UDP address to listen at.
    pub listen: SocketAddr,
    /// TCP address of the admin pages, which are not authenticated.
    pub admin: SocketAddr,
    /// Folder of the metadata.
    pub meta: PathBuf,
    /// Data directories, in the order of the map.
    pub disks: Vec<PathBuf>,
    /// Whether folders that are empty or missing are made into this node's. Off after the first start: a disk that is not mounted
    /// must not look like a new one, and a node without its Raft log must not vote.
    pub create: bool,
    /// Memory.
    pub memory: MemoryConfig,
    /// How chunks lie on the disks.
    pub store: StoreConfig,
    /// How long a node is down before its votes go to others, judged while this node leads the control group.
    pub votes_after: Duration,
}

/// What a node may hold in memory, bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Cache of metadata, all groups together. 8 MiB to 1 TiB, default 64 MiB.
    pub state_cache_bytes: usize,
    /// Cache of the chunk index, all disks together. 8 MiB to 1 TiB, default 32 MiB.
    pub index_cache_bytes: usize,
    /// Bodies of requests that have arrived and are not yet answered. 8 MiB to 2 GiB, default 96 MiB.
    pub network_bytes: usize,
    /// Chunks being read and sent. 8 MiB to 2 GiB, default 64 MiB.
    pub read_bytes: usize,
    /// Chunks that wait for one disk. 8 MiB to 2 GiB, default 64 MiB.
    pub disk_queue_bytes: usize,
}

/// How chunks lie on the disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Size of a segment. A multiple of 4 KiB, 8 MiB to 1 TiB, default 1 GiB.
    pub segment_bytes: u64,
    /// Space of each file system that chunks leave free. Default 1 GiB.
    pub reserve_bytes: u64,
    /// Write past the page cache. Default true.
    pub direct_io: bool,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        MemoryConfig {
            state_cache_bytes: 64 << 20,
            index_cache_bytes: 32 << 20,
            network_bytes: 96 << 20,
            read_bytes: 64 << 20,
            disk_queue_bytes: 64 << 20,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig { segment_bytes: 1 << 30, reserve_bytes: 1 << 30, direct_io: true }
    }
}

impl NodeConfig {
    /// Default of [`NodeConfig::votes_after`]: a restart and a reboot are over by then.
    pub const VOTES_AFTER: Duration = Duration::from_secs(300);

    /// This node's entry in the map.
    ///
    /// # Errors
    /// It is not there.
    pub fn entry(&self) -> Result<&NodeEntry, ConfigError> {
        self.map.node(self.node).ok_or(ConfigError::NotInMap(self.node))
    }

    /// Refuses what cannot work.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let disks = self.entry()?.disks.len();
        if self.disks.len() != disks {
            return Err(ConfigError::Disks { node: self.node, given: self.disks.len(), planned: disks });
        }
        let cache = 8 << 20..=1 << 40;
        let budget = 8 << 20..=2 << 30;
        let MemoryConfig { state_cache_bytes, index_cache_bytes, network_bytes, read_bytes, disk_queue_bytes } =
            &self.memory;
        let rules = [
            (cache.contains(state_cache_bytes), "state_cache", "8 MiB to 1 TiB"),
            (cache.contains(index_cache_bytes), "index_cache", "8 MiB to 1 TiB"),
            (budget.contains(network_bytes), "network", "8 MiB to 2 GiB"),
            (budget.contains(read_bytes), "read", "8 MiB to 2 GiB"),
            (budget.contains(disk_queue_bytes), "disk_queue", "8 MiB to 2 GiB"),
            ((8 << 20..=1 << 40).contains(&self.store.segment_bytes), "segment", "8 MiB to 1 TiB"),
            (self.store.segment_bytes.is_multiple_of(4096), "segment", "a multiple of 4 KiB"),
        ];
        match rules.iter().find(|(holds, ..)| !holds) {
            Some((_, setting, range)) => Err(ConfigError::Range { setting, range }),
            None => Ok(()),
        }
    }
}
