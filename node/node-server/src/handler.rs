//! Requests from the network, to the service that answers them.

use crate::liveness::Liveness;
use async_trait::async_trait;
use bytes::Bytes;
use chunk_server::ChunkService;
use meta_server::MetaServer;
use proto::node::{NodeReply, NodeRequest, NodeStatus};
use proto::raft_wire::RaftBatch;
use proto::rpc::Rejection;
use proto::{Reply, Request};
use std::sync::Arc;
use transport::{Handler, PeerIdentity};
use types::{GroupId, Incarnation, NodeId};

pub(crate) struct NodeHandler {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) meta: Arc<MetaServer>,
    pub(crate) chunks: Arc<ChunkService>,
    pub(crate) liveness: Arc<Liveness>,
}

impl NodeHandler {
    pub(crate) fn status(&self) -> NodeStatus {
        NodeStatus {
            node: self.node,
            incarnation: self.incarnation,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            groups: self.meta.statuses(),
            disks: self.chunks.statuses(),
        }
    }

    fn node_call(&self, peer: &PeerIdentity, request: &NodeRequest) -> Reply {
        match request {
            NodeRequest::Ping => Reply::Node(NodeReply::Pong),
            NodeRequest::Status => Reply::Node(NodeReply::Status(self.status())),
            NodeRequest::Heartbeat { node, incarnation } if peer.node() == Some(*node) => {
                let leading = self.meta.is_leader(GroupId::CONTROL);
                self.liveness.heard(*node, *incarnation);
                Reply::Node(NodeReply::Heard { leading })
            }
            // A certificate speaks for its own node only.
            NodeRequest::Heartbeat { .. } => Reply::Rejected(Rejection::Forbidden),
        }
    }
}

#[async_trait]
impl Handler for NodeHandler {
    async fn call(&self, peer: &PeerIdentity, request: Request, body: Bytes) -> (Reply, Bytes) {
        let reply = match request {
            Request::Chunk(request) => {
                let (reply, body) = self.chunks.handle(peer.is_node(), request, body).await;
                return (Reply::Chunk(reply), body);
            }
            Request::Meta(request) => Reply::Meta(self.meta.meta(request).await),
            Request::Control(request) => Reply::Control(self.meta.control(request).await),
            Request::Node(request) => self.node_call(peer, &request),
            Request::Snapshot(_) if !peer.is_node() => Reply::Rejected(Rejection::Forbidden),
            Request::Snapshot(request) => {
                let (reply, body) = self.meta.snapshot(request).await;
                return (Reply::Snapshot(reply), body);
            }
        };
        (reply, Bytes::new())
    }

    fn raft(&self, from: NodeId, batch: RaftBatch) {
        self.meta.raft(from, batch);
    }
}
