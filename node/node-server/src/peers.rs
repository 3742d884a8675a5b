//! Calls of this node to others.

use async_trait::async_trait;
use bytes::Bytes;
use chunk_server::ChunkCall;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest};
use proto::{Reply, Request};
use std::collections::BTreeMap;
use std::time::Duration;
use transport::{Class, Endpoint, Peer};
use types::{NodeId, PlacementMap};

/// How long another node may take over a chunk.
const CHUNK_CALL_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Peers {
    endpoint: Endpoint,
    addresses: BTreeMap<NodeId, String>,
}

impl Peers {
    pub(crate) fn new(endpoint: Endpoint, map: &PlacementMap) -> Self {
        Peers { endpoint, addresses: map.nodes.iter().map(|node| (node.id, node.addr.clone())).collect() }
    }

    fn peer(&self, node: NodeId) -> Option<Peer> {
        self.addresses.get(&node).map(|addr| self.endpoint.peer(node, addr))
    }

    /// A small call; `None` if there was no answer.
    pub(crate) async fn small(&self, node: NodeId, request: &Request, deadline: Duration) -> Option<Reply> {
        let answer = self.peer(node)?.call(Class::Small, request, Bytes::new(), deadline).await;
        answer.ok().map(|(reply, _)| reply)
    }
}

#[async_trait]
impl ChunkCall for Peers {
    async fn call(&self, node: NodeId, request: ChunkRequest) -> Option<(Result<ChunkReply, ChunkError>, Bytes)> {
        let request = Request::Chunk(request);
        match self.peer(node)?.call(Class::Bulk, &request, Bytes::new(), CHUNK_CALL_MAX).await {
            Ok((Reply::Chunk(reply), body)) => Some((reply, body)),
            Ok(_) | Err(_) => None,
        }
    }
}

#[async_trait]
impl ChunkCall for SharedPeers {
    async fn call(&self, node: NodeId, request: ChunkRequest) -> Option<(Result<ChunkReply, ChunkError>, Bytes)> {
        self.0.call(node, request).await
    }
}

/// The same, shared with the chunk service.
pub(crate) struct SharedPeers(pub(crate) std::sync::Arc<Peers>);
