//! The other nodes: where they are, and calls to them.

use async_trait::async_trait;
use bytes::Bytes;
use chunk_server::ChunkCall;
use parking_lot::RwLock;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest};
use proto::rpc::Rejection;
use proto::{Reply, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use transport::{Class, Endpoint, TransportError};
use types::{NodeId, PlacementMap};

/// How long a chunk call to another node may take.
const CHUNK_CALL_MAX: Duration = Duration::from_secs(10);

/// All nodes of the newest map this node knows.
#[derive(Clone)]
pub(crate) struct Peers {
    own: NodeId,
    endpoint: Endpoint,
    map: Arc<RwLock<Arc<PlacementMap>>>,
    /// Whether the map is one that the control group has given out, and not what this node started with.
    heard: Arc<AtomicBool>,
    /// Whether another node has said that this one was removed.
    removed: Arc<watch::Sender<bool>>,
}

impl Peers {
    pub(crate) fn new(own: NodeId, endpoint: Endpoint, map: PlacementMap) -> Self {
        Peers {
            own,
            endpoint,
            map: Arc::new(RwLock::new(Arc::new(map))),
            heard: Arc::default(),
            removed: Arc::default(),
        }
    }

    pub(crate) fn own(&self) -> NodeId {
        self.own
    }

    pub(crate) fn map(&self) -> Arc<PlacementMap> {
        self.map.read().clone()
    }

    pub(crate) fn set_map(&self, map: Arc<PlacementMap>) {
        *self.map.write() = map;
        self.heard.store(true, Ordering::Release);
    }

    /// The newest map that was heard of since the start, if any was.
    pub(crate) fn heard_map(&self) -> Option<Arc<PlacementMap>> {
        self.heard.load(Ordering::Acquire).then(|| self.map())
    }

    /// A small call; `None` if the node is not known or there is no answer in time.
    pub(crate) async fn call(&self, node: NodeId, request: &Request, deadline: Duration) -> Option<Reply> {
        Some(self.send(Class::Small, node, request, deadline).await?.0)
    }

    async fn send(&self, class: Class, node: NodeId, request: &Request, deadline: Duration) -> Option<(Reply, Bytes)> {
        let addr = self.map().node(node)?.addr.clone();
        let peer = self.endpoint.peer(node, &addr);
        let answer = peer.call(class, request, Bytes::new(), deadline).await;
        if matches!(answer, Err(TransportError::Rejected(Rejection::Removed))) {
            self.removed.send_replace(true);
        }
        answer.ok()
    }

    /// Returns once another node has said that this one was removed; else never. Cancel safe.
    pub(crate) async fn removed(&self) {
        // The sender is ours, so the channel does not close.
        let _ = self.removed.subscribe().wait_for(|removed| *removed).await;
    }
}

#[async_trait]
impl ChunkCall for Peers {
    async fn call(&self, node: NodeId, request: ChunkRequest) -> Option<(Result<ChunkReply, ChunkError>, Bytes)> {
        match self.send(Class::Bulk, node, &Request::Chunk(request), CHUNK_CALL_MAX).await? {
            (Reply::Chunk(reply), body) => Some((reply, body)),
            _ => None,
        }
    }
}
