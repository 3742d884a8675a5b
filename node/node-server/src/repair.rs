//! What the workers of repair and of the audit need, from the services of this node.

use crate::garbage::ask_here;
use crate::peers::Peers;
use async_trait::async_trait;
use chunk_server::{AuditHost, ChunkCall, ChunkService, RepairHost};
use meta_server::MetaServer;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest};
use proto::log::LogCommand;
use proto::meta::{Answer, Command, Query};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use types::{Blake3Root, ChunkId, ChunkRef, GroupId, NodeId, PgEpoch, PlacementMap};

/// How long the group may take to record what was repaired.
const RECORD_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Host {
    pub(crate) meta: Arc<MetaServer>,
    pub(crate) chunks: Arc<ChunkService>,
    pub(crate) peers: Peers,
}

impl Host {
    /// Asks a node, be it this one or another. `None` if there was no answer.
    async fn call(&self, node: NodeId, request: ChunkRequest) -> Option<Result<ChunkReply, ChunkError>> {
        if node == self.peers.own() {
            return Some(self.chunks.handle(true, request, bytes::Bytes::new()).await.0);
        }
        ChunkCall::call(&self.peers, node, request).await.map(|(reply, _)| reply)
    }
}

#[async_trait]
impl RepairHost for Host {
    fn led_groups(&self) -> Vec<GroupId> {
        self.meta.groups().filter(|group| *group != GroupId::CONTROL && self.meta.is_leader(*group)).collect()
    }

    fn map(&self) -> Arc<PlacementMap> {
        self.peers.map()
    }

    async fn lacking(&self, group: GroupId, after: Option<ChunkId>, max: u32) -> Vec<(ChunkRef, u8)> {
        match ask_here(self.meta.clone(), group, Query::UnderReplicated { after, max }).await {
            Some(Answer::UnderReplicated(chunks)) => chunks,
            _ => Vec::new(),
        }
    }

    async fn replicate(
        &self,
        node: NodeId,
        chunk: ChunkRef,
        epoch: PgEpoch,
        sources: Vec<NodeId>,
    ) -> Option<Result<(), ChunkError>> {
        match self.call(node, ChunkRequest::Replicate { chunk, epoch, sources }).await? {
            Ok(ChunkReply::Stored) => Some(Ok(())),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    }

    async fn record_repaired(&self, group: GroupId, chunks: Vec<ChunkId>) -> bool {
        let command = LogCommand::Meta(None, Command::ClearUnderReplicated { chunks });
        matches!(timeout(RECORD_MAX, self.meta.propose(group, command)).await, Ok(Ok(_)))
    }
}

#[async_trait]
impl AuditHost for Host {
    async fn whole(
        &self,
        group: GroupId,
        after: Option<ChunkId>,
        max: u32,
    ) -> Option<(Vec<ChunkRef>, Option<ChunkId>)> {
        match ask_here(self.meta.clone(), group, Query::Whole { after, max }).await? {
            Answer::Whole { chunks, next } => Some((chunks, next)),
            _ => None,
        }
    }

    async fn stat(&self, node: NodeId, chunks: Vec<ChunkId>) -> Option<Vec<Option<(u32, Blake3Root)>>> {
        match self.call(node, ChunkRequest::Stat { chunks }).await? {
            Ok(ChunkReply::Stats(stats)) => Some(stats),
            _ => None,
        }
    }
}
