//! Metadata services in one process, on real disks, joined by a network that can be cut.

#![allow(missing_docs, dead_code, clippy::unwrap_used)]

use async_trait::async_trait;
use bytes::Bytes;
use meta_server::{MetaConfig, MetaServer, Network};
use parking_lot::{Mutex, RwLock};
use proto::meta::{Answer, Command, MetaOp, MetaReply, MetaRequest, Outcome, Query, Refusal};
use proto::object::{ETag, NewContent, Precondition};
use proto::raft_wire::{RaftBatch, SnapshotError, SnapshotReply, SnapshotRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::{
    BucketId, FeatureLevel, GroupId, GroupPlacement, Incarnation, LogIndex, NodeId, PlacementMap, RequestId, SessionId,
};

pub const GROUP: GroupId = GroupId(1);
pub const BUCKET: BucketId = BucketId(7);
/// Twice what a leader waits before it offers a snapshot anew, should the offer have been lost.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Delivers messages to whoever is up.
#[derive(Default)]
pub struct Wires {
    pub servers: RwLock<BTreeMap<NodeId, Arc<MetaServer>>>,
    pub cut: RwLock<BTreeSet<NodeId>>,
}

pub struct Plug {
    pub node: NodeId,
    pub wires: Arc<Wires>,
}

impl Plug {
    fn server(&self, to: NodeId) -> Option<Arc<MetaServer>> {
        let cut = self.wires.cut.read();
        if cut.contains(&to) || cut.contains(&self.node) {
            return None;
        }
        self.wires.servers.read().get(&to).cloned()
    }
}

#[async_trait]
impl Network for Plug {
    fn send(&self, to: NodeId, batch: RaftBatch) {
        if let Some(server) = self.server(to) {
            server.raft(self.node, batch);
        }
    }

    async fn snapshot(&self, from: NodeId, request: SnapshotRequest) -> Result<(SnapshotReply, Bytes), SnapshotError> {
        let server = self.server(from).ok_or(SnapshotError::Gone)?;
        let (reply, body) = server.snapshot(self.node, request).await;
        reply.map(|reply| (reply, body))
    }
}

pub struct Cluster {
    pub wires: Arc<Wires>,
    pub dir: tempfile::TempDir,
    pub window: u64,
    seq: Mutex<u64>,
}

impl Drop for Cluster {
    /// The servers end before their folders do: one that cannot write any more takes the whole process with it.
    fn drop(&mut self) {
        let servers: Vec<_> = std::mem::take(&mut *self.wires.servers.write()).into_values().collect();
        tokio::task::block_in_place(|| {
            let runtime = tokio::runtime::Handle::current();
            servers.iter().for_each(|server| runtime.block_on(server.stop()));
        });
    }
}

impl Cluster {
    pub fn new(window: u64) -> Self {
        let cluster = Cluster { wires: Arc::default(), dir: tempfile::tempdir().unwrap(), window, seq: Mutex::new(0) };
        for node in 1..=3 {
            cluster.start(NodeId(node));
        }
        cluster
    }

    pub fn start(&self, node: NodeId) {
        let voters: Vec<_> = (1..=3).map(NodeId).collect();
        let raft_groups = (0..=1).map(|id| GroupPlacement::founding(GroupId(id), voters.clone())).collect();
        let config = MetaConfig {
            node,
            dir: self.path(node),
            map: PlacementMap { raft_groups, ..PlacementMap::default() },
            incarnation: Incarnation(1),
            seed: 42,
            cache_bytes: 8 << 20,
            log_window_entries: self.window,
            log_window_bytes: MetaConfig::LOG_WINDOW_BYTES,
            lease_reads: true,
            hash_entries: 16,
            level: FeatureLevel::NEWEST,
        };
        let network = Arc::new(Plug { node, wires: self.wires.clone() });
        let server = MetaServer::start(&config, network).unwrap();
        self.wires.servers.write().insert(node, server);
    }

    pub fn path(&self, node: NodeId) -> std::path::PathBuf {
        self.dir.path().join(node.0.to_string())
    }

    pub async fn stop(&self, node: NodeId) {
        let server = self.wires.servers.write().remove(&node);
        if let Some(server) = server {
            server.stop().await;
            // A call that still waits for its answer keeps the stores open.
            self.until("nobody calls it any more", || Arc::strong_count(&server) == 1).await;
        }
    }

    /// Asks whoever leads until someone answers.
    pub async fn call(&self, op: MetaOp) -> MetaReply {
        let begun = Instant::now();
        loop {
            let servers: Vec<_> = {
                let cut = self.wires.cut.read();
                let servers = self.wires.servers.read();
                servers.iter().filter(|(node, _)| !cut.contains(node)).map(|(_, server)| server.clone()).collect()
            };
            for server in servers.iter().filter(|server| server.is_leader(GROUP)) {
                let answer = tokio::time::timeout(
                    Duration::from_secs(3),
                    server.meta(MetaRequest { group: GROUP, op: op.clone() }),
                );
                if let Ok(Ok(reply)) = answer.await {
                    return reply;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "nobody answered {op:?}");
            tokio::time::sleep(Duration::from_millis(20)).await; // wait-ok: polls for a leader, bounded by PATIENCE
        }
    }

    pub async fn command(&self, command: Command) -> Result<Outcome, Refusal> {
        let seq = {
            let mut seq = self.seq.lock();
            *seq += 1;
            *seq
        };
        let id = RequestId { session: SessionId(1), seq, low: seq.saturating_sub(100).max(1) };
        match self.call(MetaOp::Command(id, command)).await {
            MetaReply::Applied(result) => result,
            MetaReply::Answer(_) => panic!("an answer to a command"),
        }
    }

    pub async fn put(&self, key: &str, value: &str) {
        let command = Command::PutObject {
            bucket: BUCKET,
            key: Bytes::copy_from_slice(key.as_bytes()),
            content: NewContent::Inline(Bytes::copy_from_slice(value.as_bytes())),
            etag: ETag::Md5([0; 16]),
            xattrs: Vec::new(),
            precondition: Precondition::default(),
        };
        assert!(matches!(self.command(command).await, Ok(Outcome::Object(_))));
    }

    pub async fn get(&self, key: &str) -> Option<Bytes> {
        match self.call(MetaOp::Query(object(key))).await {
            MetaReply::Answer(answer) => content(answer),
            MetaReply::Applied(_) => panic!("a result to a query"),
        }
    }

    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < PATIENCE, "{what} did not come about");
            tokio::time::sleep(Duration::from_millis(20)).await; // wait-ok: polls a condition, bounded by PATIENCE
        }
    }

    /// Who leads among those that are not cut off.
    pub fn leader(&self) -> Option<NodeId> {
        let cut = self.wires.cut.read();
        let servers = self.wires.servers.read();
        let leads = servers.iter().find(|(node, server)| !cut.contains(node) && server.is_leader(GROUP));
        leads.map(|(node, _)| *node)
    }

    pub fn applied(&self, node: NodeId) -> LogIndex {
        let servers = self.wires.servers.read();
        let statuses = servers.get(&node).map(|server| server.statuses()).unwrap_or_default();
        statuses.iter().find(|status| status.group == GROUP).map_or(LogIndex(0), |status| status.applied)
    }

    pub async fn caught_up(&self, node: NodeId) {
        let to = self.leader().map_or(LogIndex(0), |leader| self.applied(leader));
        self.until("catching up", || self.applied(node) >= to).await;
    }

    pub fn server(&self, node: NodeId) -> Arc<MetaServer> {
        self.wires.servers.read()[&node].clone()
    }

    pub fn stale_get(&self, node: NodeId, key: &str) -> Option<Bytes> {
        let server = self.wires.servers.read().get(&node).cloned()?;
        match server.query(GROUP, &object(key)).ok()? {
            MetaReply::Answer(answer) => content(answer),
            MetaReply::Applied(_) => None,
        }
    }
}

pub fn object(key: &str) -> Query {
    Query::Object { bucket: BUCKET, key: Bytes::copy_from_slice(key.as_bytes()), content: Some((0, 4096)) }
}

pub fn content(answer: Result<Box<Answer>, Refusal>) -> Option<Bytes> {
    match answer.map(|answer| *answer) {
        Ok(Answer::Object(_, Some(content))) => Some(content.inline),
        // A replica that waits for its first snapshot knows no bucket.
        Err(Refusal::NotFound | Refusal::NoSuchBucket) => None,
        other => panic!("unexpected {other:?}"),
    }
}
