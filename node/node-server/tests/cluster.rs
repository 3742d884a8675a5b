//! Three nodes in one process: they find each other, tell the truth about their health, and notice who is gone.

mod support;

use node_server::{NodeConfig, NodeServer, StartError};
use proto::control::{ControlCommand, ControlOutcome, ControlRefusal, ControlRequest};
use proto::meta::{Command, Outcome};
use proto::node::{NodeReply, NodeRequest};
use proto::record::{Expected, RecordChange, RecordContent, RecordKey, RecordSpace};
use proto::rpc::Rejection;
use proto::{Reply, Request};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use support::{BOUND, Site, page, until};
use tokio::time::timeout;
use transport::{ClusterCa, Endpoint, Role, TransportConfig, TransportError};
use types::{BucketId, ClusterId, FeatureLevel, Incarnation, NodeId, NodeState};

async fn healthy(node: &NodeServer) -> bool {
    page(node.admin_addr(), "/health").await.0 == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_form_a_cluster_notice_who_is_gone_and_take_it_back() {
    let site = Site::new(3);
    let (one, two, three) = tokio::join!(site.start(1, true), site.start(2, true), site.start(3, true));
    for node in [&one, &two, &three] {
        until("all are healthy", || healthy(node)).await;
    }
    let credentials = site.ca.issue(&Role::Client("test".to_owned())).expect("credentials");
    let client = Endpoint::client(&credentials, TransportConfig::default()).expect("a client");
    let state = |id: u64| {
        let (site, client) = (&site, &client);
        async move {
            let map = site.map_of(client, 1).await?;
            map.node(NodeId(id)).map(|node| (node.state, node.incarnation))
        }
    };
    until("the first life is recorded", || async { state(3).await == Some((NodeState::Up, Incarnation(1))) }).await;

    let said = async || site.map_of(&client, 1).await.and_then(|map| map.level_of_all()).map(|(level, _)| level);
    until("all say what they can do", async || said().await == Some(FeatureLevel::NEWEST)).await;

    three.stop().await;
    until("it is gone", || async { state(3).await == Some((NodeState::Down, Incarnation(1))) }).await;
    let three = site.start(3, false).await;
    assert_eq!(three.incarnation(), Incarnation(2));
    until("it is back", || async { state(3).await == Some((NodeState::Up, Incarnation(2))) }).await;
    until("it is healthy", || healthy(&three)).await;

    let (_, status) = page(one.admin_addr(), "/status").await;
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!((&status["node"], &status["map"]["placement_groups"]), (&1.into(), &64.into()));
    assert_eq!(status["disks"][0]["disk"], "01".repeat(16));
    let (_, metrics) = page(one.admin_addr(), "/metrics").await;
    assert!(metrics.contains("sago_group_leading{group=\"0\"}"), "{metrics}");

    two.stop().await;
    three.stop().await;
    until("one of three is not healthy", || async { !healthy(&one).await }).await;
    let (code, body) = page(one.admin_addr(), "/health").await;
    assert!(code == 503 && body.contains("no leader"), "{code} {body}");
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_older_than_the_cluster_does_not_start() {
    let mut site = Site::new(3);
    site.map.level = FeatureLevel(FeatureLevel::NEWEST.0 + 1);
    let refused = NodeServer::start(site.config(1, true)).await;
    assert!(matches!(refused, Err(StartError::TooOld { .. })));
    // Refused before it left a trace.
    site.map.level = FeatureLevel::NEWEST;
    site.start(1, true).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_program_before_cannot_read_is_neither_asked_of_it_nor_proposed() {
    const OLD: FeatureLevel = FeatureLevel::RESTS;
    const NEW: FeatureLevel = FeatureLevel::RECORDS;
    let mut site = Site::new(3);
    site.map.level = OLD;
    let operator = site.endpoint(&Role::Operator("kim".to_owned()));
    let bucket = BucketId(7);
    let change = RecordChange {
        key: RecordKey { space: RecordSpace(1), key: "key".into() },
        expected: Expected::Absent,
        content: Some(RecordContent::default()),
    };
    let put = || Command::PutRecords { bucket, changes: vec![change.clone()] };
    let finalize = ControlCommand::Finalize { level: NEW };
    // The first two elect one of them.
    let (one, two) = tokio::join!(site.start(1, true), site.start(2, true));
    assert_eq!(site.command(&operator, &[1, 2], Command::EnsureBucket { bucket }).await, Ok(Ok(Outcome::Done)));
    let early = site.command(&operator, &[1, 2], put()).await;
    assert!(matches!(early, Err((NEW, at)) if at <= OLD), "{early:?}");

    let before = |create| NodeConfig { level: OLD, ..site.config(3, create) };
    let three = NodeServer::start(before(true)).await.expect("the program before");
    let unread = site.call(&operator, 3, site.command_of(put())).await;
    assert!(matches!(unread, Err(TransportError::Rejected(Rejection::Malformed))), "{unread:?}");
    let said = async || site.map_of(&operator, 1).await.and_then(|map| map.level_of_all());
    until("all say what they can do", async || said().await == Some((OLD, NodeId(3)))).await;
    let behind = site.control(&operator, &[1, 2], finalize.clone()).await;
    assert_eq!(behind, Err(ControlRefusal::NodeBehind { node: NodeId(3), speaks: OLD }));

    three.stop().await;
    let three = site.start(3, false).await;
    until("it can do it now", async || said().await.map(|(level, _)| level) == Some(NEW)).await;
    let nodes = [1, 2, 3];
    assert_eq!(site.control(&operator, &nodes, finalize).await, Ok(ControlOutcome::Done));
    // Whoever leads hears of it before long.
    let put = async || matches!(site.command(&operator, &nodes, put()).await, Ok(Ok(Outcome::Records(_))));
    until("records are taken", put).await;
    let level = async || site.map_of(&operator, 3).await.map(|map| map.level);
    until("the third knows it", async || level().await == Some(NEW)).await;
    three.stop().await;
    // At another port: the socket of a node that was stopped is closed by a task of its own.
    let elsewhere = NodeConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..before(false) };
    assert!(matches!(NodeServer::start(elsewhere).await, Err(StartError::TooOld { .. })));
    tokio::join!(one.stop(), two.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_may_not_speak_for_nodes_and_strangers_may_not_speak_at_all() {
    let site = Site::new(3);
    let node = site.start(1, true).await;
    let endpoint = |ca: &ClusterCa| {
        let credentials = ca.issue(&Role::Client("test".to_owned())).expect("credentials");
        Endpoint::client(&credentials, TransportConfig::default()).expect("a client")
    };
    let client = endpoint(&site.ca);
    let answered = site.call(&client, 1, Request::Node(NodeRequest::Ping)).await;
    assert_eq!(answered.ok(), Some(Reply::Node(NodeReply::Pong)));
    let (node_id, incarnation, state) = (NodeId(2), Incarnation(9), NodeState::Down);
    let lie = proto::control::ControlCommand::SetNodeState { node: node_id, incarnation, state };
    let refused = site.call(&client, 1, Request::Control(ControlRequest::Command(lie))).await;
    assert!(matches!(refused, Err(TransportError::Rejected(Rejection::Forbidden))), "{refused:?}");
    let stranger = endpoint(&ClusterCa::create(ClusterId([1; 16])).expect("another authority"));
    assert!(site.call(&stranger, 1, Request::Node(NodeRequest::Ping)).await.is_err());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_mounted_stops_the_start_and_leaves_no_trace() {
    let site = Site::new(3);
    // At another port: the socket of a node that was stopped is closed by a task of its own.
    let elsewhere = |config: NodeConfig| NodeConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..config };
    let refused = |id: u64| NodeServer::start(elsewhere(site.config(id, false)));
    assert!(matches!(refused(1).await, Err(StartError::MetaMissing(_))));
    assert!(!site.path(1, "meta").exists());
    let node = site.start(1, true).await;
    assert!(matches!(timeout(BOUND, refused(1)).await, Ok(Err(StartError::Locked(_)))));
    node.stop().await;
    let (disk, aside) = (site.path(1, "disk"), site.path(1, "aside"));
    std::fs::rename(&disk, &aside).expect("unmounted");
    assert!(matches!(refused(1).await, Err(StartError::Chunks(_))));
    std::fs::rename(&aside, &disk).expect("mounted");
    let again = site.start(1, false).await;
    assert!(again.incarnation() > Incarnation(1) && Path::new(&disk).exists());
    again.stop().await;
    let mut other = site.config(1, false);
    other.credentials = site.ca.issue(&Role::Node(NodeId(2))).expect("credentials");
    assert!(matches!(NodeServer::start(other).await, Err(StartError::Config(_))));
}

/// Groups that `node` votes in, and those it has a replica of, as `asked` and it tell.
async fn votes_of(site: &Site, client: &Endpoint, asked: u64, node: u64) -> Option<usize> {
    let map = site.map_of(client, asked).await?;
    let in_map = map.raft_groups.iter().filter(|group| {
        group.voters.contains(&NodeId(node)) || group.wanted.contains(&NodeId(node)) || group.voters.len() != 3
    });
    Some(in_map.count())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_votes_of_a_node_that_is_gone_go_to_others_and_come_back_with_it() {
    let mut site = Site::new(4);
    site.map.options.out_after_seconds = 2;
    let (one, two) = tokio::join!(site.start(1, true), site.start(2, true));
    let (three, four) = tokio::join!(site.start(3, true), site.start(4, true));
    let credentials = site.ca.issue(&Role::Client("test".into())).expect("credentials");
    let client = Endpoint::client(&credentials, TransportConfig::default()).expect("a client");
    let asked =
        *site.map.raft_groups[0].voters.iter().find(|voter| voter.0 != 4).expect("a voter of the control group");
    until("a map", async || site.map_of(&client, asked.0).await.is_some()).await;
    assert_ne!(votes_of(&site, &client, asked.0, 4).await, Some(0), "it has no votes to lose");
    four.stop().await;
    until("the votes of node 4 go to others", async || votes_of(&site, &client, asked.0, 4).await == Some(0)).await;
    // It comes back, drops the replicas it was let go from, and gets votes again, as another replica.
    let four = site.start(4, false).await;
    let level = async || {
        let Some(map) = site.map_of(&client, asked.0).await else { return false };
        let votes = |node| map.raft_groups.iter().filter(|group| group.voters.contains(&NodeId(node))).count();
        let counts = [1, 2, 3, 4].map(votes);
        let settled = map.raft_groups.iter().all(|group| group.voters.len() == 3);
        settled && counts.iter().max().zip(counts.iter().min()).is_some_and(|(most, least)| most - least <= 1)
    };
    until("level votes", level).await;
    until("replicas as the map has them", async || {
        let Some(map) = site.map_of(&client, asked.0).await else { return false };
        let status = site.call(&client, 4, Request::Node(NodeRequest::Status)).await;
        let Ok(Reply::Node(NodeReply::Status(status))) = status else { return false };
        let here: Vec<_> = status.groups.iter().map(|group| group.group).collect();
        let mapped = map.raft_groups.iter().filter(|group| group.voters.contains(&NodeId(4)));
        here == mapped.map(|group| group.id).collect::<Vec<_>>()
    })
    .await;
    for node in [one, two, three, four] {
        node.stop().await;
    }
}
