//! Settings of a node, as data: where they were read from is not known here.
//!
//! Memory: with the defaults a node stays under 512 MiB beside its two caches. Bodies that arrived (`network_bytes`) are the same
//! memory as the chunks that wait for a disk, so the larger of the two counts; chunks being sent take `read_bytes`; the write buffers
//! of the RocksDB instances, Raft's entries in memory and QUIC's windows take the rest.

use crate::error::ConfigError;
use chunk_server::FullnessConfig;
use meta_server::MetaConfig;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use transport::Credentials;
use types::{FeatureLevel, NodeEntry, NodeId, PlacementMap};

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
    /// Numbers of directories whose disks were taken out for good.
    pub gone: Vec<usize>,
    /// Whether folders that are empty or missing are made into this node's. Off after the first start: a disk that is not mounted
    /// must not look like a new one, and a node without its Raft log must not vote.
    pub create: bool,
    /// Memory.
    pub memory: MemoryConfig,
    /// How chunks lie on the disks.
    pub store: StoreConfig,
    /// How what nobody needs is found.
    pub garbage: GarbageConfig,
    /// How much of the metadata's log is kept.
    pub raft: RaftConfig,
    /// The newest feature level that the node does. [`FeatureLevel::NEWEST`], but for tests of upgrades: below it the node behaves as the program before
    /// did, says so, and takes what came later for what it does not understand.
    pub level: FeatureLevel,
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
    /// Segments of which at most this share is in use are emptied by compaction, percent. 1 to 95, default 50.
    pub compact_percent: u8,
    /// Bytes that compaction copies in a second, per disk. 1 MiB to 16 GiB, default 32 MiB.
    pub compact_rate_bytes: u64,
    /// Every chunk is looked at within this many days. 1 to 60, default 14.
    pub scrub_days: u64,
    /// Every copy that metadata says is on a disk is asked for there within this time, and soon after its node was started. 100 ms to 60 days, default 7
    /// days.
    pub audit: Duration,
    /// Used share of a disk's file system from which on there is a warning, percent. Default 85.
    pub nearfull_percent: u8,
    /// From which on the disk takes no copies from other nodes. Above the former, default 90.
    pub backfillfull_percent: u8,
    /// From which on it takes no chunks. Above the former, at most 99, default 95.
    pub full_percent: u8,
}

impl StoreConfig {
    pub(crate) fn fullness(&self) -> FullnessConfig {
        FullnessConfig {
            nearfull_percent: self.nearfull_percent,
            backfillfull_percent: self.backfillfull_percent,
            full_percent: self.full_percent,
        }
    }
}

/// How what nobody needs is found. Whether it is collected, and after what grace time, the control group says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GarbageConfig {
    /// How long a session lives without being renewed; the same on all voters of the control group, and not less than clients believe. 1 s to 1
    /// day, default 15 min.
    pub session_lease: Duration,
    /// Pause between two rounds of the collector. 10 ms to 1 h, default 10 s.
    pub round: Duration,
    /// Pause between two looks for orphans among all chunks of the node. 100 ms to 30 days, default 1 day.
    pub sweep: Duration,
}

/// How Raft groups work here: how much of each group's log is kept for replicas that are behind, one that is further behind getting a snapshot, and how leaders read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftConfig {
    /// Entries; up to twice as many are kept. 16 to 10,000,000, default 10,000.
    pub log_entries: u64,
    /// Bytes of them, in the same way. 1 MiB to 16 GiB, default 64 MiB.
    pub log_bytes: u64,
    /// Whether leaders answer reads by a lease. Default true.
    pub lease_reads: bool,
}

impl Default for RaftConfig {
    fn default() -> Self {
        RaftConfig {
            log_entries: MetaConfig::LOG_WINDOW_ENTRIES,
            log_bytes: MetaConfig::LOG_WINDOW_BYTES,
            lease_reads: true,
        }
    }
}

impl Default for GarbageConfig {
    fn default() -> Self {
        GarbageConfig {
            session_lease: Duration::from_secs(types::SESSION_LEASE_SECONDS),
            round: Duration::from_secs(10),
            sweep: Duration::from_secs(24 * 3600),
        }
    }
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
        StoreConfig {
            segment_bytes: 1 << 30,
            reserve_bytes: 1 << 30,
            direct_io: true,
            compact_percent: 50,
            compact_rate_bytes: 32 << 20,
            scrub_days: 14,
            audit: Duration::from_millis(7 * DAY_MILLIS),
            nearfull_percent: 85,
            backfillfull_percent: 90,
            full_percent: 95,
        }
    }
}

/// A day in milliseconds.
const DAY_MILLIS: u64 = 24 * 3_600_000;

fn within(time: Duration, min_millis: u64, max_millis: u64) -> bool {
    (Duration::from_millis(min_millis)..=Duration::from_millis(max_millis)).contains(&time)
}

impl NodeConfig {
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
            ((1..=95).contains(&self.store.compact_percent), "compact_percent", "1 to 95"),
            ((1 << 20..=16 << 30).contains(&self.store.compact_rate_bytes), "compact_rate", "1 MiB to 16 GiB"),
            ((1..=60).contains(&self.store.scrub_days), "scrub_days", "1 to 60"),
            (within(self.store.audit, 100, 60 * DAY_MILLIS), "audit_days", "1 to 60"),
            (self.store.fullness().is_valid(), "nearfull, backfillfull and full", "ascending, 1 to 99"),
            (within(self.garbage.session_lease, 1_000, DAY_MILLIS), "garbage.session_lease", "1 s to 1 day"),
            (within(self.garbage.round, 10, 3_600_000), "garbage.round", "10 ms to 1 h"),
            (within(self.garbage.sweep, 100, 30 * DAY_MILLIS), "garbage.sweep", "100 ms to 30 days"),
            ((16..=10_000_000).contains(&self.raft.log_entries), "raft.log_entries", "16 to 10,000,000"),
            ((1 << 20..=16 << 30).contains(&self.raft.log_bytes), "raft.log_bytes", "1 MiB to 16 GiB"),
        ];
        match rules.iter().find(|(holds, ..)| !holds) {
            Some((_, setting, range)) => Err(ConfigError::Range { setting, range }),
            None => Ok(()),
        }
    }
}
