//! What the workers of moves need, from the services of this node.

use crate::dispatch::Dispatch;
use crate::heartbeat::{LEASE, LastHeard};
use crate::peers::Peers;
use async_trait::async_trait;
use bytes::Bytes;
use chunk_server::{ChunkCall, MoveHost};
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest};
use proto::control::{ControlCommand, ControlOutcome, ControlReply, ControlRequest};
use proto::{Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use types::{NodeId, PgEpoch, PgId, PlacementMap, SetDigest};

/// How long the control group may take to record a step.
const RECORD_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Mover {
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) peers: Peers,
    pub(crate) last_heard: Arc<LastHeard>,
}

/// A chunk call to a node, this one among them.
pub(crate) async fn chunk_call(
    dispatch: &Dispatch,
    peers: &Peers,
    node: NodeId,
    request: ChunkRequest,
) -> Option<Result<ChunkReply, ChunkError>> {
    match node == peers.own() {
        true => Some(dispatch.chunks.handle(true, request, Bytes::new()).await.0),
        false => Some(ChunkCall::call(peers, node, request).await?.0),
    }
}

#[async_trait]
impl MoveHost for Mover {
    fn map(&self) -> Arc<PlacementMap> {
        self.peers.map()
    }

    async fn call(&self, node: NodeId, request: ChunkRequest) -> Option<Result<ChunkReply, ChunkError>> {
        chunk_call(&self.dispatch, &self.peers, node, request).await
    }

    async fn note_synced(&self, pg: PgId, epoch: PgEpoch, chunks: u64, digest: SetDigest) -> bool {
        let command = ControlCommand::NoteSynced { pg, epoch, chunks, digest };
        let request = ControlRequest::Command(command);
        let Some(leader) = self.last_heard.leader(LEASE) else { return false };
        let reply = if leader == self.peers.own() {
            self.dispatch.meta.control(request).await.ok()
        } else {
            match self.peers.call(leader, &Request::Control(request), RECORD_MAX).await {
                Some(Reply::Control(reply)) => reply.ok(),
                _ => None,
            }
        };
        matches!(reply, Some(ControlReply::Applied(Ok(ControlOutcome::Done))))
    }
}
