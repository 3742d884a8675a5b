//! Three metadata services in one process, on real disks, joined by a network that can be cut.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use meta_server::{MetaConfig, MetaServer};
use proto::meta::{Command, MetaOp, MetaReply, MetaRequest, Outcome};
use proto::raft_wire::{SnapshotError, SnapshotReply, SnapshotRequest};
use proto::rpc::GroupError;
use std::path::Path;
use std::sync::Arc;
use support::*;
use types::{FeatureLevel, GroupId, GroupPlacement, Incarnation, LogIndex, NodeId, PlacementMap, RequestId, SessionId};

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
        lease_reads: true,
        hash_entries: 16,
        level: FeatureLevel::NEWEST,
    };
    let network = Arc::new(Plug { node: NodeId(1), wires: cluster.wires.clone() });
    assert!(MetaServer::start(&config, network).is_err());
}

/// A follower that died while it fetched a snapshot comes back for another one. What it had begun takes no place from anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_nobody_fetches_any_more_takes_no_place() {
    let cluster = Cluster::new(10_000);
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    cluster.put("key", "value").await;
    let server = cluster.server(cluster.leader().unwrap());
    let open = async |node: u64| {
        server.snapshot(NodeId(node), SnapshotRequest::Open { group: GROUP, index: LogIndex(0) }).await.0
    };
    for _ in 0..5 {
        let opened = open(2).await;
        assert!(matches!(opened, Ok(SnapshotReply::Opened { .. })), "{opened:?}");
    }
    assert!(matches!(open(3).await, Ok(SnapshotReply::Opened { .. })));
    assert_eq!(open(4).await, Err(SnapshotError::Busy), "two at once are all it gives");
    assert!(matches!(open(3).await, Ok(SnapshotReply::Opened { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_proposes_records_once_it_has_heard_that_the_cluster_is_at_their_level() {
    let cluster = Cluster::new(10_000);
    cluster.command(Command::EnsureBucket { bucket: BUCKET }).await.unwrap();
    let server = cluster.server(cluster.leader().unwrap());
    let id = RequestId { session: SessionId(9), seq: 1, low: 1 };
    let op = MetaOp::Command(id, Command::PutRecords { bucket: BUCKET, changes: Vec::new() });
    let put = async || server.meta(MetaRequest { group: GROUP, op: op.clone() }).await;
    let raft_groups = [GroupId::CONTROL, GROUP].map(|id| GroupPlacement::founding(id, (1..=3).map(NodeId).collect()));
    let map = |level| PlacementMap { level, raft_groups: raft_groups.to_vec(), ..PlacementMap::default() };
    let needs = FeatureLevel::RECORDS;
    assert_eq!(put().await, Err(GroupError::Level { needs, at: FeatureLevel(0) }));
    assert!(server.set_map(&map(FeatureLevel::RESTS)));
    assert_eq!(put().await, Err(GroupError::Level { needs, at: FeatureLevel::RESTS }));
    assert!(server.set_map(&map(needs)));
    assert_eq!(put().await, Ok(MetaReply::Applied(Ok(Outcome::Records(Vec::new())))));
    // An old map does not take it back.
    assert!(server.set_map(&map(FeatureLevel::RESTS)));
    assert!(put().await.is_ok());
}
