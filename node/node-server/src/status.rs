//! What a node says of itself.

use crate::garbage;
use crate::heartbeat::LastHeard;
use crate::peers::Peers;
use chunk_server::{ChunkService, Unmade};
use meta_server::MetaServer;
use parking_lot::Mutex;
use proto::meta::GarbageStatus;
use proto::node::{NodeStatus, OrphanStatus};
use std::sync::Arc;
use types::{GroupId, Incarnation, NodeId};

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
    pub(crate) orphans: Arc<Mutex<OrphanStatus>>,
    pub(crate) unmade: Arc<Mutex<Unmade>>,
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
            garbage: self.garbage(),
            orphans: *self.orphans.lock(),
        }
    }

    /// Of the groups this node leads.
    fn garbage(&self) -> Vec<(GroupId, GarbageStatus)> {
        let groups = self.meta.groups().filter(|group| *group != GroupId::CONTROL && self.meta.is_leader(*group));
        groups.filter_map(|group| Some((group, garbage::status_of(&self.meta, group)?))).collect()
    }
}
