//! Three metadata services in one process, on real disks, joined by a network that can be cut.

#![allow(missing_docs, clippy::unwrap_used)]

use async_trait::async_trait;
use bytes::Bytes;
use meta_server::{MetaConfig, MetaServer, Network};
use parking_lot::{Mutex, RwLock};
use proto::meta::{Answer, Command, MetaOp, MetaReply, MetaRequest, Outcome, Query, Refusal};
use proto::object::{ETag, NewContent, Precondition};
use proto::raft_wire::{RaftBatch, SnapshotError, SnapshotReply, SnapshotRequest};
use proto::rpc::GroupError;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::{BucketId, GroupId, GroupPlacement, Incarnation, LogIndex, NodeId, PlacementMap, RequestId, SessionId};

const GROUP: GroupId = GroupId(1);
const BUCKET: BucketId = BucketId(7);
const PATIENCE: Duration = Duration::from_secs(30);

/// Delivers messages to whoever is up.
#[derive(Default)]
struct Wires {
    servers: RwLock<BTreeMap<NodeId, Arc<MetaServer>>>,
    cut: RwLock<BTreeSet<NodeId>>,
}

struct Plug {
    node: NodeId,
    wires: Arc<Wires>,
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
        let (reply, body) = server.snapshot(request).await;
        reply.map(|reply| (reply, body))
    }
}

struct Cluster {
    wires: Arc<Wires>,
    dir: tempfile::TempDir,
    window: u64,
    seq: Mutex<u64>,
}

impl Cluster {
    fn new(window: u64) -> Self {
        let cluster = Cluster { wires: Arc::default(), dir: tempfile::tempdir().unwrap(), window, seq: Mutex::new(0) };
        for node in 1..=3 {
            cluster.start(NodeId(node));
        }
        cluster
    }

    fn start(&self, node: NodeId) {
        let voters: Vec<_> = (1..=3).map(NodeId).collect();
        let raft_groups = (0..=1).map(|id| GroupPlacement { id: GroupId(id), voters: voters.clone() }).collect();
        let config = MetaConfig {
            node,
            dir: self.path(node),
            map: PlacementMap { raft_groups, ..PlacementMap::default() },
            incarnation: Incarnation(1),
            seed: 42,
            cache_bytes: 8 << 20,
            log_window_entries: self.window,
            log_window_bytes: MetaConfig::LOG_WINDOW_BYTES,
        };
        let network = Arc::new(Plug { node, wires: self.wires.clone() });
        let server = MetaServer::start(&config, network).unwrap();
        self.wires.servers.write().insert(node, server);
    }

    fn path(&self, node: NodeId) -> std::path::PathBuf {
        self.dir.path().join(node.0.to_string())
    }

    async fn stop(&self, node: NodeId) {
        let server = self.wires.servers.write().remove(&node);
        if let Some(server) = server {
            server.stop().await;
        }
    }

    /// Asks whoever leads until someone answers.
    async fn call(&self, op: MetaOp) -> MetaReply {
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

    async fn command(&self, command: Command) -> Result<Outcome, Refusal> {
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

    async fn put(&self, key: &str, value: &str) {
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

    async fn get(&self, key: &str) -> Option<Bytes> {
        match self.call(MetaOp::Query(object(key))).await {
            MetaReply::Answer(answer) => content(answer),
            MetaReply::Applied(_) => panic!("a result to a query"),
        }
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < PATIENCE, "{what} did not come about");
            tokio::time::sleep(Duration::from_millis(20)).await; // wait-ok: polls a condition, bounded by PATIENCE
        }
    }

    fn leader(&self) -> Option<NodeId> {
        self.wires.servers.read().iter().find(|(_, server)| server.is_leader(GROUP)).map(|(node, _)| *node)
    }

    fn applied(&self, node: NodeId) -> LogIndex {
        let servers = self.wires.servers.read();
        let statuses = servers.get(&node).map(|server| server.statuses()).unwrap_or_default();
        statuses.iter().find(|status| status.group == GROUP).map_or(LogIndex(0), |status| status.applied)
    }

    async fn caught_up(&self, node: NodeId) {
        let to = self.leader().map_or(LogIndex(0), |leader| self.applied(leader));
        self.until("catching up", || self.applied(node) >= to).await;
    }

    fn stale_get(&self, node: NodeId, key: &str) -> Option<Bytes> {
        let server = self.wires.servers.read().get(&node).cloned()?;
        match server.query(GROUP, &object(key)).ok()? {
            MetaReply::Answer(answer) => content(answer),
            MetaReply::Applied(_) => None,
        }
    }
}

fn object(key: &str) -> Query {
    Query::Object { bucket: BUCKET, key: Bytes::copy_from_slice(key.as_bytes()), content: Some((0, 4096)) }
}

fn content(answer: Result<Box<Answer>, Refusal>) -> Option<Bytes> {
    match answer.map(|answer| *answer) {
        Ok(Answer::Object(_, Some(content))) => Some(content.inline),
        Err(Refusal::NotFound) => None,
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_every_restart() {
    let cluster = Cluster::new(10_000);
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    for round in 0..3 {
        for i in 0..20 {
            cluster.put(&format!("{round}/{i}"), &format!("value {round} {i}")).await;
        }
        let victim = cluster.leader().unwrap();
        cluster.stop(victim).await;
        cluster.put(&format!("{round}/without"), "one node").await;
        cluster.start(victim);
        cluster.caught_up(victim).await;
    }
    for node in 1..=3 {
        cluster.stop(NodeId(node)).await;
    }
    for node in 1..=3 {
        cluster.start(NodeId(node));
    }
    for round in 0..3 {
        for i in 0..20 {
            let value = format!("value {round} {i}");
            assert_eq!(cluster.get(&format!("{round}/{i}")).await.as_deref(), Some(value.as_bytes()));
        }
        assert_eq!(cluster.get(&format!("{round}/without")).await.as_deref(), Some(&b"one node"[..]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_too_long_gets_a_snapshot() {
    let cluster = Cluster::new(50);
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    let away = (1..=3).map(NodeId).find(|node| Some(*node) != cluster.leader()).unwrap();
    cluster.stop(away).await;
    for i in 0..400 {
        cluster.put(&format!("key-{i:03}"), &format!("{i}")).await;
    }
    let leader = cluster.leader().unwrap();
    let first = {
        let servers = cluster.wires.servers.read();
        let statuses = servers[&leader].statuses();
        statuses.iter().find(|status| status.group == GROUP).unwrap().first
    };
    assert!(first > LogIndex(100), "the log was not cut: it begins at {first}");
    cluster.start(away);
    cluster.caught_up(away).await;
    for i in 0..400 {
        let value = cluster.stale_get(away, &format!("key-{i:03}"));
        assert_eq!(value.as_deref(), Some(i.to_string().as_bytes()));
    }
    // And it goes on from there, also after a restart.
    cluster.put("after", "the snapshot").await;
    cluster.stop(away).await;
    cluster.start(away);
    cluster.caught_up(away).await;
    assert_eq!(cluster.stale_get(away, "after").as_deref(), Some(&b"the snapshot"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_cut_off_answers_no_read() {
    let cluster = Cluster::new(10_000);
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    cluster.put("key", "old").await;
    let old = cluster.leader().unwrap();
    cluster.wires.cut.write().insert(old);
    let server = cluster.wires.servers.read()[&old].clone();
    let read = server.meta(MetaRequest { group: GROUP, op: MetaOp::Query(object("key")) });
    let read = tokio::time::timeout(PATIENCE, read).await.expect("a deposed leader must answer");
    assert!(matches!(read, Err(GroupError::NotLeader { .. } | GroupError::Unknown)), "{read:?}");
    cluster.put("key", "new").await;
    cluster.wires.cut.write().clear();
    cluster.caught_up(old).await;
    assert_eq!(cluster.get("key").await.as_deref(), Some(&b"new"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_has_another_lead_first() {
    let cluster = Cluster::new(10_000);
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    cluster.put("key", "old").await;
    let old = cluster.leader().unwrap();
    let server = cluster.wires.servers.read()[&old].clone();
    // It lives and is heard: nobody else would lead if it were not for this.
    server.hand_over().await;
    cluster.until("another leader", || cluster.leader().is_some_and(|leader| leader != old)).await;
    cluster.put("key", "new").await;
    assert_eq!(cluster.get("key").await.as_deref(), Some(&b"new"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_is_applied_once() {
    let cluster = Cluster::new(10_000);
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    let create = Command::CreateUpload {
        bucket: BUCKET,
        key: Bytes::from_static(b"k"),
        upload: types::UploadId([1; 16]),
        xattrs: Vec::new(),
    };
    let id = RequestId { session: SessionId(9), seq: 1, low: 1 };
    let first = cluster.call(MetaOp::Command(id, create.clone())).await;
    let again = cluster.call(MetaOp::Command(id, create)).await;
    assert_eq!(first, again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_folder_is_refused() {
    let cluster = Cluster::new(10_000);
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    for node in 1..=3 {
        cluster.stop(NodeId(node)).await;
    }
    let swap = |from: &Path, to: &Path| std::fs::rename(from, to).unwrap();
    let aside = cluster.dir.path().join("aside");
    swap(&cluster.path(NodeId(1)), &aside);
    swap(&cluster.path(NodeId(2)), &cluster.path(NodeId(1)));
    let config = MetaConfig {
        node: NodeId(1),
        dir: cluster.path(NodeId(1)),
        map: PlacementMap::default(),
        incarnation: Incarnation(2),
        seed: 1,
        cache_bytes: 1 << 20,
        log_window_entries: 100,
        log_window_bytes: 1 << 20,
    };
    let network = Arc::new(Plug { node: NodeId(1), wires: cluster.wires.clone() });
    assert!(MetaServer::start(&config, network).is_err());
}
