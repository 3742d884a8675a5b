//! Three nodes become six and three again, others than at first, under load.

mod support;

use cluster_client::{Client, ClientConfig, Cluster};
use node_server::NodeServer;
use proto::control::{ControlCommand, ControlOutcome};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::load::{MOVED_MAX, emptied, load, newest_map, whole};
use support::{Site, until};
use tokio::time::Instant;
use transport::{Endpoint, Role};
use types::{NodeId, NodeMode, PlacementMap, PlacementOptions};

const OLD: [u64; 3] = [1, 2, 3];
const NEW: [u64; 3] = [4, 5, 6];
const ALL: [u64; 6] = [1, 2, 3, 4, 5, 6];

/// The most and the fewest of something that the nodes have.
fn spread(nodes: &[u64], of: impl Fn(NodeId) -> usize) -> (usize, usize) {
    let counts = nodes.iter().map(|node| of(NodeId(*node)));
    (counts.clone().max().unwrap_or(0), counts.min().unwrap_or(0))
}

/// Whether copies and votes lie evenly on the nodes, on no others, and nothing is on its way.
fn level(map: &PlacementMap, nodes: &[u64]) -> bool {
    let on =
        |node: NodeId| move |group: &&types::PlacementGroup| group.members.iter().any(|member| member.node == node);
    let copies = spread(nodes, |node| map.groups.iter().filter(on(node)).count());
    let votes = spread(nodes, |node| map.raft_groups.iter().filter(|group| group.voters.contains(&node)).count());
    let settled = map.raft_groups.iter().all(|group| {
        let within = group.voters.iter().all(|voter| nodes.contains(&voter.0));
        group.voters.len() == 3 && within && group.wanted.iter().all(|voter| group.voters.contains(voter))
    });
    let still = map.groups.iter().all(|group| group.moving.is_none());
    // Five in a hundred of 32 copies each.
    settled && still && copies.0 - copies.1 <= 3 && votes.0 - votes.1 <= 1
}

async fn levelled(site: &Site, endpoint: &Endpoint, nodes: &[u64]) {
    let begin = Instant::now();
    loop {
        let map = newest_map(site, endpoint, nodes).await;
        if level(&map, nodes) {
            return;
        }
        assert!(begin.elapsed() < MOVED_MAX, "not level on {nodes:?}: {:?}", map.raft_groups);
        // wait-ok: a pause between two looks, bounded above
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_become_six_and_three_others_under_load_and_nothing_fails() {
    let mut site = Site::new(3);
    site.map.options = PlacementOptions {
        moves_max: 64,
        moves_per_node_max: 32,
        moves_per_disk_max: 32,
        copy_bytes_per_second: 0,
        ..PlacementOptions::default()
    };
    let mut nodes: BTreeMap<u64, NodeServer> = BTreeMap::new();
    for id in OLD {
        nodes.insert(id, site.start(id, true).await);
    }
    let endpoint = site.endpoint(&Role::Client("test".into()));
    let operator = site.endpoint(&Role::Operator("kim".into()));
    let seeds = site.map.nodes.iter().map(|node| (node.id, node.addr.clone())).collect();
    let mut config = ClientConfig::new(endpoint.clone(), seeds, "test");
    config.deadline = Duration::from_secs(30);
    let client = Client::connect(config);
    client.ready().await.expect("the cluster answers");
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2).map(|at| tokio::spawn(load(client.clone(), at * 1_000_000, stop.clone()))).collect();

    for id in 4..=6 {
        nodes.insert(u64::from(id), site.join(&operator, &OLD, id).await);
    }
    levelled(&site, &endpoint, &ALL).await;

    for id in OLD {
        let drain = ControlCommand::SetNodeMode { node: NodeId(id), mode: NodeMode::Draining };
        assert_eq!(site.control(&operator, &ALL, drain).await, Ok(ControlOutcome::Done));
    }
    emptied(&site, &endpoint, &ALL, &OLD).await;
    levelled(&site, &endpoint, &NEW).await;
    for id in OLD {
        let remove = ControlCommand::SetNodeMode { node: NodeId(id), mode: NodeMode::Removed };
        assert_eq!(site.control(&operator, &NEW, remove).await, Ok(ControlOutcome::Done));
    }
    for id in OLD {
        nodes.remove(&id).expect("it runs").stop().await;
    }
    // What began with the three that are gone goes on without them.
    let known = async || newest_map(&site, &endpoint, &NEW).await.node(NodeId(1)).map(|node| node.mode);
    until("all are removed", async || known().await == Some(NodeMode::Removed)).await;
    stop.store(true, Ordering::Release);
    let mut chunks = BTreeMap::new();
    for writer in writers {
        let written = writer.await.expect("a writer");
        assert_eq!(written.failures, Vec::<String>::new(), "{} chunks written", written.chunks.len());
        chunks.extend(written.chunks);
    }
    assert!(chunks.len() > 100, "only {} chunks were written", chunks.len());
    whole(&site, &endpoint, &NEW, &chunks).await;

    // All at once, from what is on their disks: their cluster files name voters that are gone.
    for id in NEW {
        nodes.remove(&id).expect("it runs").stop().await;
    }
    for id in NEW {
        nodes.insert(id, site.start(id, false).await);
    }
    let (number, chunk) = chunks.iter().next().expect("a chunk");
    let reads = async || {
        let read = client.read_chunk(*chunk, 0..chunk.len).await;
        read.is_ok_and(|data| data == support::load::sample(*number))
    };
    until("it is read", reads).await;
    let session = async || client.control(ControlCommand::OpenSession { kind: "test".into() }).await.is_ok();
    until("the control group answers", session).await;
    client.close().await;
    for (_, node) in nodes {
        node.stop().await;
    }
}
