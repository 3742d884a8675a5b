//! What a node is started with.

use chunk_server::ServiceConfig;
use std::net::SocketAddr;
use std::path::PathBuf;
use transport::{Credentials, TransportConfig};
use types::{NodeId, PlacementMap};

/// Settings of a node.
#[derive(Clone)]
pub struct NodeConfig {
    /// Its id; must agree with the certificate.
    pub node: NodeId,
    /// Where it listens for QUIC.
    pub listen: SocketAddr,
    /// Where it listens for HTTP: `/metrics`, `/health`, `/status`. Keep it off public networks.
    pub admin: SocketAddr,
    /// Its certificate and the cluster's.
    pub credentials: Credentials,
    /// QUIC settings.
    pub transport: TransportConfig,
    /// Folder for metadata: the Raft log, the state of the groups, the incarnation. Wants a fast disk.
    pub meta_dir: PathBuf,
    /// The map the cluster was set up with.
    pub map: PlacementMap,
    /// The disks and budgets of the chunk service.
    pub chunks: ServiceConfig,
    /// Block cache for metadata, bytes. Default 64 MiB.
    pub meta_cache_bytes: usize,
    /// Log entries of a group kept for slow followers.
    pub log_window_entries: u64,
    /// The same in bytes.
    pub log_window_bytes: u64,
}
