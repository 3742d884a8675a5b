//! What the collector and the look for orphans need, from the services of this node and the leaders elsewhere.

use crate::clock;
use crate::peers::Peers;
use async_trait::async_trait;
use chunk_server::{ChunkCall, ChunkService, CollectHost, SweepHost};
use meta_server::MetaServer;
use proto::chunk::{ChunkReply, ChunkRequest};
use proto::control::{ControlAnswer, ControlQuery, ControlReply, ControlRequest, GarbageOptions};
use proto::meta::{Answer, ChunkVerdict, Command, GarbageStatus, MetaOp, MetaReply, MetaRequest, Outcome, Query};
use proto::rpc::GroupError;
use proto::{Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use types::{ChunkId, GroupId, NodeId, PlacementMap, SessionId, Timestamp};

/// How long a group may take to apply a command of the collector.
const PROPOSE_MAX: Duration = Duration::from_secs(10);
/// How long one node may take to answer a question.
const ASK_MAX: Duration = Duration::from_secs(3);

pub(crate) struct Host {
    pub(crate) meta: Arc<MetaServer>,
    pub(crate) chunks: Arc<ChunkService>,
    pub(crate) peers: Peers,
}

impl Host {
    /// Puts a question to the leader of a group, be it this node or another. `None` from whoever does not lead, and for every error.
    async fn ask_leader<T>(
        &self,
        group: GroupId,
        request: Request,
        take: fn(Reply) -> Result<T, Option<NodeId>>,
    ) -> Option<T> {
        if self.meta.is_leader(group) {
            let reply = timeout(ASK_MAX, self.answer(request)).await.ok().flatten()?;
            return take(reply).ok();
        }
        // Whom this node takes for the leader first, then every voter, and at most one hint.
        let map = self.peers.map();
        let mut others: Vec<NodeId> = self.meta.leader_of(group).into_iter().collect();
        others.extend(map.voters(group).iter().copied().filter(|voter| map.is_up(*voter)));
        others.retain(|node| *node != self.peers.own());
        let mut hinted = false;
        let mut at = 0;
        while let Some(node) = others.get(at).copied() {
            at += 1;
            match self.peers.call(node, &request, ASK_MAX).await.map(take) {
                Some(Ok(answer)) => return Some(answer),
                Some(Err(Some(leader))) if !hinted && leader != self.peers.own() => {
                    hinted = true;
                    others.insert(at, leader);
                }
                Some(Err(_)) | None => {}
            }
        }
        None
    }

    /// What this node answers itself.
    async fn answer(&self, request: Request) -> Option<Reply> {
        match request {
            Request::Meta(request) => Some(Reply::Meta(self.meta.meta(request).await)),
            Request::Control(request) => Some(Reply::Control(self.meta.control(request).await)),
            Request::Chunk(_) | Request::Node(_) | Request::Snapshot(_) => None,
        }
    }

    async fn ask_control(&self, query: ControlQuery) -> Option<ControlAnswer> {
        let request = Request::Control(ControlRequest::Query(query));
        self.ask_leader(GroupId::CONTROL, request, take_control).await
    }

    async fn garbage_options(&self) -> Option<GarbageOptions> {
        match self.ask_control(ControlQuery::Garbage).await? {
            ControlAnswer::Garbage(options) => Some(options),
            _ => None,
        }
    }

    async fn delete_on(&self, node: NodeId, chunks: Vec<ChunkId>) -> bool {
        let request = ChunkRequest::Delete { chunks };
        let reply = if node == self.peers.own() {
            Some(self.chunks.handle(true, request, bytes::Bytes::new()).await.0)
        } else {
            ChunkCall::call(&self.peers, node, request).await.map(|(reply, _)| reply)
        };
        matches!(reply, Some(Ok(ChunkReply::Deleted)))
    }
}

#[async_trait]
impl CollectHost for Host {
    fn led_groups(&self) -> Vec<GroupId> {
        self.meta.groups().filter(|group| *group != GroupId::CONTROL && self.meta.is_leader(*group)).collect()
    }

    fn map(&self) -> Arc<PlacementMap> {
        self.peers.map()
    }

    fn now(&self) -> Timestamp {
        clock::now()
    }

    async fn agreed(&self, group: GroupId) -> Option<Timestamp> {
        let (others, voters) = clock::of_others(&self.peers, group).await;
        // A group's time that is ahead does no harm here: the earlier of it and the clocks counts.
        clock::agree(clock::now(), &others, voters, Timestamp(i64::MIN)).ok()
    }

    async fn options(&self) -> Option<GarbageOptions> {
        self.garbage_options().await
    }

    async fn open_sessions(&self) -> Option<(Vec<SessionId>, SessionId)> {
        match self.ask_control(ControlQuery::OpenSessions).await? {
            ControlAnswer::OpenSessions { open, last } => Some((open, last)),
            _ => None,
        }
    }

    async fn ask(&self, group: GroupId, query: Query) -> Option<Answer> {
        ask_here(self.meta.clone(), group, query).await
    }

    async fn propose(&self, group: GroupId, command: Command) -> Option<Outcome> {
        match timeout(PROPOSE_MAX, self.meta.own(group, command)).await {
            Ok(Ok(Ok(outcome))) => Some(outcome),
            Ok(Ok(Err(refusal))) => {
                tracing::warn!(%group, %refusal, "a command of the collector was refused");
                None
            }
            Ok(Err(_)) | Err(_) => None,
        }
    }

    async fn delete(&self, node: NodeId, chunks: Vec<ChunkId>) -> bool {
        self.delete_on(node, chunks).await
    }
}

/// The answer in a reply, or who leads instead, if it says so.
fn take_control(reply: Reply) -> Result<ControlAnswer, Option<NodeId>> {
    match reply {
        Reply::Control(Ok(ControlReply::Answer(answer))) => Ok(answer),
        Reply::Control(Err(GroupError::NotLeader { leader })) => Err(leader),
        _ => Err(None),
    }
}

/// The verdicts in a reply, or who leads instead, if it says so.
fn take_verdicts(reply: Reply) -> Result<Vec<ChunkVerdict>, Option<NodeId>> {
    match reply {
        Reply::Meta(Ok(MetaReply::Answer(Ok(answer)))) => match *answer {
            Answer::Judged(verdicts) => Ok(verdicts),
            _ => Err(None),
        },
        Reply::Meta(Err(GroupError::NotLeader { leader })) => Err(leader),
        _ => Err(None),
    }
}

/// What this node's own replica of a group answers.
pub(crate) async fn ask_here(meta: Arc<MetaServer>, group: GroupId, query: Query) -> Option<Answer> {
    match tokio::task::spawn_blocking(move || meta.query(group, &query)).await {
        Ok(Ok(MetaReply::Answer(Ok(answer)))) => Some(*answer),
        _ => None,
    }
}

/// How much garbage a group has, as this node's replica sees it.
pub(crate) fn status_of(meta: &MetaServer, group: GroupId) -> Option<GarbageStatus> {
    match meta.query(group, &Query::Garbage) {
        Ok(MetaReply::Answer(Ok(answer))) => match *answer {
            Answer::Garbage(status) => Some(status),
            _ => None,
        },
        _ => None,
    }
}

#[async_trait]
impl SweepHost for Host {
    async fn list(&self, after: Option<ChunkId>, max: usize) -> Option<Vec<ChunkId>> {
        self.chunks.list(after, max).await
    }

    fn chunks(&self) -> u64 {
        self.chunks.statuses().iter().map(|disk| disk.chunks).sum()
    }

    async fn options(&self) -> Option<GarbageOptions> {
        self.garbage_options().await
    }

    async fn judge(&self, group: GroupId, chunks: Vec<ChunkId>) -> Option<Vec<ChunkVerdict>> {
        let request = MetaRequest { group, op: MetaOp::Query(Query::JudgeChunks { chunks }) };
        self.ask_leader(group, Request::Meta(request), take_verdicts).await
    }

    async fn delete_here(&self, chunks: Vec<ChunkId>) -> bool {
        self.delete_on(self.peers.own(), chunks).await
    }
}
