//! Settings of the metadata service.

use std::path::PathBuf;
use types::{FeatureLevel, Incarnation, NodeId, PlacementMap};

/// What the metadata service of a node starts from.
#[derive(Clone, Debug)]
pub struct MetaConfig {
    /// This node.
    pub node: NodeId,
    /// Folder for the Raft log (`raft/`), the state of each group (`state/`) and snapshots in transfer (`snapshots/`).
    pub dir: PathBuf,
    /// The map the cluster was set up with; the control group's own map replaces it once it exists.
    pub map: PlacementMap,
    /// Counts the starts of this node.
    pub incarnation: Incarnation,
    /// Seed of the election timeouts.
    pub seed: u64,
    /// Bytes of block cache for the state of all groups together.
    pub cache_bytes: usize,
    /// Log entries of a group that are kept for slow followers, between one and two times; beyond that they get a snapshot.
    pub log_window_entries: u64,
    /// The same in bytes.
    pub log_window_bytes: u64,
    /// Whether a leader that a quorum has answered lately reads without asking again.
    pub lease_reads: bool,
    /// Entries of a group from one comparison of its replicas' states to the next. The same on all nodes, or nothing is compared.
    pub hash_entries: u64,
    /// The newest feature level of this program.
    pub level: FeatureLevel,
}

impl MetaConfig {
    /// Default of [`MetaConfig::cache_bytes`].
    pub const CACHE_BYTES: usize = 64 << 20;
    /// Default of [`MetaConfig::log_window_entries`].
    pub const LOG_WINDOW_ENTRIES: u64 = 10_000;
    /// Default of [`MetaConfig::hash_entries`]: a second of load. A comparison is one small message per replica.
    pub const HASH_ENTRIES: u64 = 1024;
    /// Default of [`MetaConfig::log_window_bytes`].
    pub const LOG_WINDOW_BYTES: u64 = 64 << 20;
}
