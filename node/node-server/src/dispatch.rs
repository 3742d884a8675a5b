//! What peers ask, handed to whom it concerns, after a look at what their certificate allows.
//!
//! The transport refuses what a role may never do (snapshots, deletes and heartbeats of clients). Here are the rules that need a look
//! into a command: states of nodes, the first map and repaired chunks are recorded by nodes only.

use crate::liveness::{Liveness, Verdict};
use crate::status::Status;
use async_trait::async_trait;
use bytes::Bytes;
use chunk_server::ChunkService;
use meta_server::MetaServer;
use parking_lot::Mutex;
use proto::control::{ControlCommand, ControlReply, ControlRequest};
use proto::meta::{Command, MetaOp, MetaReply, MetaRequest};
use proto::node::{NodeReply, NodeRequest};
use proto::raft_wire::RaftBatch;
use proto::rpc::{GroupError, Rejection};
use proto::{Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use transport::{Handler, PeerIdentity};
use types::{GroupId, Incarnation, NodeId, PlacementMap};

/// Longer than any client waits; a call must come to an end even if its group never does.
const CALL_MAX: Duration = Duration::from_secs(30);

/// Answers for this node.
pub(crate) struct Dispatch {
    pub(crate) meta: Arc<MetaServer>,
    pub(crate) chunks: Arc<ChunkService>,
    pub(crate) status: Arc<Status>,
    pub(crate) liveness: Mutex<Liveness>,
}

impl Dispatch {
    pub(crate) fn heard(&self, node: NodeId, incarnation: Incarnation) {
        self.liveness.lock().heard(node, incarnation);
    }

    pub(crate) fn tick(&self, map: &PlacementMap) -> Vec<Verdict> {
        self.liveness.lock().tick(self.leads_control(), map)
    }

    pub(crate) fn leads_control(&self) -> bool {
        self.meta.is_leader(GroupId::CONTROL)
    }

    async fn meta_call(&self, request: MetaRequest) -> Result<MetaReply, GroupError> {
        let late = if matches!(request.op, MetaOp::Command(..)) { GroupError::Unknown } else { GroupError::Busy };
        timeout(CALL_MAX, self.meta.meta(request)).await.unwrap_or(Err(late))
    }

    async fn control_call(&self, request: ControlRequest) -> Result<ControlReply, GroupError> {
        let late = if matches!(request, ControlRequest::Command(_)) { GroupError::Unknown } else { GroupError::Busy };
        timeout(CALL_MAX, self.meta.control(request)).await.unwrap_or(Err(late))
    }

    async fn node_call(&self, request: NodeRequest) -> NodeReply {
        match request {
            NodeRequest::Ping => NodeReply::Pong,
            NodeRequest::Heartbeat { node, incarnation } => {
                self.heard(node, incarnation);
                NodeReply::Heard { leading: self.leads_control() }
            }
            NodeRequest::Status => NodeReply::Status(self.status.node()),
            NodeRequest::Members { group } => {
                let members = timeout(CALL_MAX, self.meta.members(group)).await.unwrap_or(Err(GroupError::Busy));
                NodeReply::Members(members.map(|members| members.all().collect()))
            }
        }
    }
}

#[async_trait]
impl Handler for Dispatch {
    async fn call(&self, peer: &PeerIdentity, request: Request, body: Bytes) -> (Reply, Bytes) {
        if !allowed(peer, &request) {
            return (Reply::Rejected(Rejection::Forbidden), Bytes::new());
        }
        match request {
            Request::Chunk(request) => {
                let (reply, body) = self.chunks.handle(peer.is_node(), request, body).await;
                (Reply::Chunk(reply), body)
            }
            Request::Meta(request) => (Reply::Meta(self.meta_call(request).await), Bytes::new()),
            Request::Control(request) => (Reply::Control(self.control_call(request).await), Bytes::new()),
            Request::Node(request) => (Reply::Node(self.node_call(request).await), Bytes::new()),
            Request::Snapshot(request) => {
                let (reply, body) = self.meta.snapshot(request).await;
                (Reply::Snapshot(reply), body)
            }
        }
    }

    fn raft(&self, from: NodeId, batch: RaftBatch) {
        self.meta.raft(from, batch);
    }
}

/// Whether the peer's role allows what is inside the request.
fn allowed(peer: &PeerIdentity, request: &Request) -> bool {
    let nodes_only = match request {
        Request::Control(ControlRequest::Command(command)) => {
            matches!(
                command,
                ControlCommand::Bootstrap { .. }
                    | ControlCommand::SetNodeState { .. }
                    | ControlCommand::RecordVoters { .. }
            )
        }
        Request::Meta(request) => matches!(&request.op, MetaOp::Command(_, Command::ClearUnderReplicated { .. })),
        Request::Snapshot(_) => true,
        Request::Control(_) | Request::Chunk(_) | Request::Node(_) => false,
    };
    !nodes_only || peer.is_node()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::control::ControlQuery;
    use transport::Role;
    use types::{NodeState, RequestId, SessionId};

    #[test]
    fn clients_do_not_speak_for_nodes() {
        let client = PeerIdentity { role: Role::Client("tool".to_owned()) };
        let node = PeerIdentity { role: Role::Node(NodeId(1)) };
        let id = RequestId { session: SessionId(1), seq: 1, low: 1 };
        let state =
            ControlCommand::SetNodeState { node: NodeId(1), incarnation: Incarnation(1), state: NodeState::Down };
        let clear = MetaOp::Command(id, Command::ClearUnderReplicated { chunks: Vec::new() });
        for request in [
            Request::Control(ControlRequest::Command(state)),
            Request::Control(ControlRequest::Command(ControlCommand::Bootstrap { map: PlacementMap::default() })),
            Request::Meta(MetaRequest { group: GroupId(1), op: clear }),
        ] {
            assert!(allowed(&node, &request) && !allowed(&client, &request), "{request:?}");
        }
        assert!(allowed(&client, &Request::Control(ControlRequest::Query(ControlQuery::Map))));
        assert!(allowed(&client, &Request::Node(NodeRequest::Status)));
    }
}
