//! How the replicas of a group reach each other.

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use proto::raft_wire::{RaftBatch, SnapshotError, SnapshotReply, SnapshotRequest};
use proto::{Reply, Request};
use std::collections::BTreeMap;
use std::time::Duration;
use transport::{Class, Endpoint};
use types::{NodeId, PlacementMap};

/// How long a piece of a snapshot may take. Opening one includes making and hashing a checkpoint.
const SNAPSHOT_CALL_MAX: Duration = Duration::from_secs(60);

/// The way to the other nodes.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Sends messages, or drops them: Raft repeats what matters. Never blocks.
    fn send(&self, to: NodeId, batch: RaftBatch);

    /// Asks another node for a piece of a snapshot.
    ///
    /// # Errors
    /// What the other node answered, or `Gone` if it did not answer.
    async fn snapshot(&self, from: NodeId, request: SnapshotRequest) -> Result<(SnapshotReply, Bytes), SnapshotError>;

    /// Where the nodes are now.
    fn set_map(&self, map: &PlacementMap) {
        let _ = map;
    }
}

/// The real one.
pub struct QuicNetwork {
    endpoint: Endpoint,
    addresses: RwLock<BTreeMap<NodeId, String>>,
}

impl QuicNetwork {
    /// Reaches the nodes of `map` through `endpoint`.
    #[must_use]
    pub fn new(endpoint: Endpoint, map: &PlacementMap) -> Self {
        let addresses = map.nodes.iter().map(|node| (node.id, node.addr.clone())).collect();
        QuicNetwork { endpoint, addresses: RwLock::new(addresses) }
    }

    fn peer(&self, node: NodeId) -> Option<transport::Peer> {
        let addresses = self.addresses.read();
        addresses.get(&node).map(|addr| self.endpoint.peer(node, addr))
    }
}

#[async_trait]
impl Network for QuicNetwork {
    fn set_map(&self, map: &PlacementMap) {
        *self.addresses.write() = map.nodes.iter().map(|node| (node.id, node.addr.clone())).collect();
    }

    fn send(&self, to: NodeId, batch: RaftBatch) {
        if let Some(peer) = self.peer(to) {
            peer.send_raft(batch);
        }
    }

    async fn snapshot(&self, from: NodeId, request: SnapshotRequest) -> Result<(SnapshotReply, Bytes), SnapshotError> {
        let peer = self.peer(from).ok_or(SnapshotError::Gone)?;
        let request = Request::Snapshot(request);
        match peer.call(Class::Bulk, &request, Bytes::new(), SNAPSHOT_CALL_MAX).await {
            Ok((Reply::Snapshot(reply), body)) => reply.map(|reply| (reply, body)),
            Ok(_) | Err(_) => Err(SnapshotError::Gone),
        }
    }
}
