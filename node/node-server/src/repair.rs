//! What the repair worker needs, from the services of this node.

use crate::peers::Peers;
use async_trait::async_trait;
use chunk_server::{ChunkCall, ChunkService, RepairHost};
use meta_server::MetaServer;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest};
use proto::log::LogCommand;
use proto::meta::{Answer, Command, MetaReply, Query};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use types::{ChunkId, ChunkRef, GroupId, NodeId, PgEpoch, PlacementMap};

/// How long the group may take to record what was repaired.
const RECORD_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Host {
    pub(crate) meta: Arc<MetaServer>,
    pub(crate) chunks: Arc<ChunkService>,
    pub(crate) peers: Peers,
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
        let meta = self.meta.clone();
        let look = move || meta.query(group, &Query::UnderReplicated { after, max });
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(MetaReply::Answer(Ok(answer)))) => match *answer {
                Answer::UnderReplicated(chunks) => chunks,
                _ => Vec::new(),
            },
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
        let request = ChunkRequest::Replicate { chunk, epoch, sources };
        let reply = if node == self.peers.own() {
            self.chunks.handle(true, request, bytes::Bytes::new()).await.0
        } else {
            ChunkCall::call(&self.peers, node, request).await?.0
        };
        match reply {
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
