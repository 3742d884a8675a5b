//! `sago node`.

use crate::config::Size;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Example:
  sago node --config site/node-1/node.toml

It stops cleanly on SIGTERM and SIGINT. Its health is at http://ADMIN/health, figures for Prometheus at /metrics.";

/// How to run a node. What is given here stands over `node.toml`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct NodeArgs {
    /// The node's `node.toml`.
    #[arg(long, env = "SAGO_NODE_CONFIG", value_name = "FILE")]
    pub config: PathBuf,
    /// UDP address to listen at.
    #[arg(long, env = "SAGO_NODE_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// TCP address of /metrics, /health and /status.
    #[arg(long, env = "SAGO_NODE_ADMIN", value_name = "ADDRESS:PORT")]
    pub admin: Option<SocketAddr>,
    /// Cache of metadata.
    #[arg(long, env = "SAGO_NODE_STATE_CACHE", value_name = "SIZE")]
    pub state_cache: Option<Size>,
    /// Cache of the chunk index.
    #[arg(long, env = "SAGO_NODE_INDEX_CACHE", value_name = "SIZE")]
    pub index_cache: Option<Size>,
    /// Request bodies that have arrived and are not yet answered.
    #[arg(long, env = "SAGO_NODE_NETWORK", value_name = "SIZE")]
    pub network: Option<Size>,
    /// Chunks that wait for one disk.
    #[arg(long, env = "SAGO_NODE_DISK_QUEUE", value_name = "SIZE")]
    pub disk_queue: Option<Size>,
    /// End when the process of this id, our parent, does.
    #[arg(long, hide = true, value_name = "PID")]
    pub with_parent: Option<i32>,
}
