//! Five nodes under load: one is drained, one is lost for good, and nothing fails or is forgotten.

mod support;

use cluster_client::{Client, ClientConfig, Cluster};
use proto::control::{ControlCommand, ControlOutcome};
use proto::node::{NodeReply, NodeRequest};
use proto::{Reply, Request};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::Site;
use support::load::{MOVED_MAX, emptied, load, newest_map, whole};
use tokio::time::Instant;
use transport::{Endpoint, Role, TransportConfig};
use types::{NodeId, NodeMode, NodeState, PlacementOptions};

/// Those that live to the end.
const LIVE: [u64; 3] = [1, 2, 3];

struct Running {
    site: Site,
    endpoint: Endpoint,
    client: Arc<Client>,
}

impl Running {
    /// Chunks on a node's disks, as it says.
    async fn chunks_on(&self, node: u64) -> Option<u64> {
        match self.site.call(&self.endpoint, node, Request::Node(NodeRequest::Status)).await {
            Ok(Reply::Node(NodeReply::Status(status))) => Some(status.disks.iter().map(|disk| disk.chunks).sum()),
            _ => None,
        }
    }

    async fn change(&self, command: ControlCommand) {
        assert_eq!(self.client.control(command).await.expect("an answer"), Ok(ControlOutcome::Done));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_ends_empty_and_a_lost_one_is_made_good_while_nothing_fails() {
    let mut site = Site::new(5);
    site.map.options = PlacementOptions {
        out_after_seconds: 2,
        moves_max: 64,
        moves_per_node_max: 32,
        moves_per_disk_max: 32,
        copy_bytes_per_second: 0,
    };
    let mut nodes = Vec::new();
    for id in 1..=5 {
        nodes.push(site.start(id, true).await);
    }
    let credentials = site.ca.issue(&Role::Operator("test".to_owned())).expect("credentials");
    let endpoint = Endpoint::client(&credentials, TransportConfig::default()).expect("a client");
    let seeds = site.map.nodes.iter().map(|node| (node.id, node.addr.clone())).collect();
    let mut config = ClientConfig::new(endpoint.clone(), seeds, "test");
    config.deadline = Duration::from_secs(30);
    let client = Client::connect(config);
    client.ready().await.expect("the cluster answers");
    let cluster = Running { site, endpoint, client };
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..2).map(|at| tokio::spawn(load(cluster.client.clone(), at * 1_000_000, stop.clone()))).collect();
    let some = async || cluster.chunks_on(5).await.is_some_and(|chunks| chunks > 20);
    support::until("node 5 has chunks", some).await;

    cluster.change(ControlCommand::SetNodeMode { node: NodeId(5), mode: NodeMode::Draining }).await;
    emptied(&cluster.site, &cluster.endpoint, &LIVE, &[5]).await;
    let empty = async || cluster.chunks_on(5).await == Some(0);
    let begin = Instant::now();
    while !empty().await {
        assert!(begin.elapsed() < MOVED_MAX, "node 5 still has {:?} chunks", cluster.chunks_on(5).await);
        // wait-ok: a pause between two looks, bounded above
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    nodes.remove(3).stop().await;
    emptied(&cluster.site, &cluster.endpoint, &LIVE, &[4]).await;
    let map = newest_map(&cluster.site, &cluster.endpoint, &LIVE).await;
    assert_eq!(map.node(NodeId(4)).map(|node| node.state), Some(NodeState::Out));
    stop.store(true, Ordering::Release);
    let mut chunks = BTreeMap::new();
    for writer in writers {
        let written = writer.await.expect("a writer");
        assert_eq!(written.failures, Vec::<String>::new(), "{} chunks written", written.chunks.len());
        chunks.extend(written.chunks);
    }
    assert!(chunks.len() > 100, "only {} chunks were written", chunks.len());
    whole(&cluster.site, &cluster.endpoint, &LIVE, &chunks).await;
    let live: std::collections::BTreeSet<_> =
        map.groups.iter().flat_map(|group| &group.members).map(|member| member.node.0).collect();
    assert_eq!(live, LIVE.into());
    cluster.client.close().await;
    for node in nodes {
        node.stop().await;
    }
}
