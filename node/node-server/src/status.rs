//! What a node says of itself.

use crate::heartbeat::LastHeard;
use crate::peers::Peers;
use chunk_server::ChunkService;
use meta_server::MetaServer;
use proto::node::NodeStatus;
use std::sync::Arc;
use types::{Incarnation, NodeId};

/// Chunks without an intact copy that are named; all are counted.
const LOST_SHOWN_MAX: usize = 16;

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
        let (lost, lost_count) = self.chunks.lost(LOST_SHOWN_MAX);
        NodeStatus {
            node: self.node,
            incarnation: self.incarnation,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            groups: self.meta.statuses(),
            disks: self.chunks.statuses(),
            lost,
            lost_count,
        }
    }
}
