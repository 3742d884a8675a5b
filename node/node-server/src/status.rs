//! What a node says of itself.

use crate::heartbeat::LastHeard;
use crate::peers::Peers;
use chunk_server::ChunkService;
use meta_server::MetaServer;
use proto::node::NodeStatus;
use std::sync::Arc;
use types::{Incarnation, NodeId};

/// Everything that status, health and metrics are made from.
pub(crate) struct Status {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) meta: Arc<MetaServer>,
    pub(crate) chunks: Arc<ChunkService>,
    pub(crate) peers: Peers,
    pub(crate) last_heard: Arc<LastHeard>,
}

impl Status {
    pub(crate) fn node(&self) -> NodeStatus {
        NodeStatus {
            node: self.node,
            incarnation: self.incarnation,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            groups: self.meta.statuses(),
            disks: self.chunks.statuses(),
        }
    }
}
