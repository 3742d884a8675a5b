//! Five nodes under load: one is drained, one is lost for good, and nothing fails or is forgotten.

mod support;

use bytes::Bytes;
use cluster_client::{Client, ClientConfig, Cluster};
use proto::chunk::{ChunkReply, ChunkRequest};
use proto::control::{ControlCommand, ControlOutcome};
use proto::meta::Command;
use proto::node::{NodeReply, NodeRequest};
use proto::{Reply, Request};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::Site;
use tokio::time::Instant;
use transport::{Class, Endpoint, Role, TransportConfig};
use types::{ChunkRef, GroupId, NodeId, NodeMode, NodeState, PlacementMap, PlacementOptions};

const GROUP: GroupId = GroupId(1);
/// Far more than a move of all groups takes here.
const MOVED_MAX: Duration = Duration::from_secs(300);
/// Chunks of one writer at most.
const CHUNKS_MAX: u64 = 1500;

/// What a writer wrote, and what went wrong.
#[derive(Default)]
struct Written {
    chunks: BTreeMap<u64, ChunkRef>,
    failures: Vec<String>,
}

/// Bytes that only their number tells.
fn sample(number: u64) -> Bytes {
    let len = 1 + (number * 7919 % 30_000) as usize;
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = move || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect::<Vec<u8>>().into()
}

/// Writes chunks, records them as the metadata has them, and reads an older one after each, until told to stop.
async fn load(client: Arc<Client>, from: u64, stop: Arc<AtomicBool>) -> Written {
    let mut written = Written::default();
    let mut number = from;
    while !stop.load(Ordering::Acquire) && number < from + CHUNKS_MAX {
        match client.write_chunk(GROUP, sample(number)).await {
            Ok(done) => {
                let stage = Command::Stage { chunks: vec![(done.chunk, done.missing)] };
                match client.command(GROUP, stage).await {
                    Ok(Ok(_)) => drop(written.chunks.insert(number, done.chunk)),
                    other => written.failures.push(format!("stage {number}: {other:?}")),
                }
            }
            Err(error) => written.failures.push(format!("write {number}: {error}")),
        }
        let older = from + number.wrapping_mul(31) % (number - from + 1);
        if let Some(chunk) = written.chunks.get(&older) {
            match client.read_chunk(*chunk, 0..chunk.len).await {
                Ok(data) if data == sample(older) => {}
                other => written.failures.push(format!("read {older}: {:?}", other.map(|data| data.len()))),
            }
        }
        number += 1;
    }
    written
}

struct Running {
    site: Site,
    endpoint: Endpoint,
    client: Arc<Client>,
}

impl Running {
    async fn map(&self) -> PlacementMap {
        let begin = Instant::now();
        loop {
            if let Some(map) = self.site.map_of(&self.endpoint, 1).await {
                return map;
            }
            assert!(begin.elapsed() < support::BOUND, "node 1 has no map");
        }
    }

    /// Waits until no group has anything to do with a node, nor anything on its way.
    async fn emptied(&self, node: u64) {
        let begin = Instant::now();
        loop {
            let map = self.map().await;
            let busy = map.groups.iter().filter(|group| group.moving.is_some()).count();
            let left = map.groups.iter().filter(|group| group.takers().any(|taker| taker.node == NodeId(node))).count();
            if busy + left == 0 {
                return;
            }
            assert!(begin.elapsed() < MOVED_MAX, "{left} groups are still on node {node}, {busy} move");
            // wait-ok: a pause between two looks, bounded above
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

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

    /// Members that do not give a chunk as it was written.
    async fn lacking(&self, map: &PlacementMap, number: u64, chunk: &ChunkRef) -> Vec<NodeId> {
        let mut lacking = Vec::new();
        for member in &map.group_of(chunk.id.slot()).expect("a group").members {
            let addr = &map.node(member.node).expect("a node").addr;
            let peer = self.endpoint.peer(member.node, addr);
            let get = Request::Chunk(ChunkRequest::Get { chunk: chunk.id, offset: 0, len: chunk.len });
            let got = peer.call(Class::Bulk, &get, Bytes::new(), Duration::from_secs(5)).await;
            let whole =
                matches!(&got, Ok((Reply::Chunk(Ok(ChunkReply::Data { .. })), data)) if *data == sample(number));
            if !whole {
                lacking.push(member.node);
            }
        }
        lacking
    }

    /// Waits until every member of every chunk's group gives it, byte for byte. What was written with a copy missing is made whole by repair.
    async fn whole(&self, chunks: &BTreeMap<u64, ChunkRef>) {
        let begin = Instant::now();
        let map = self.map().await;
        for (number, chunk) in chunks {
            loop {
                let lacking = self.lacking(&map, *number, chunk).await;
                if lacking.is_empty() {
                    break;
                }
                assert!(begin.elapsed() < MOVED_MAX, "chunk {number} is not on {lacking:?}");
            }
        }
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
        ..PlacementOptions::default()
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
    cluster.emptied(5).await;
    let empty = async || cluster.chunks_on(5).await == Some(0);
    let begin = Instant::now();
    while !empty().await {
        assert!(begin.elapsed() < MOVED_MAX, "node 5 still has {:?} chunks", cluster.chunks_on(5).await);
        // wait-ok: a pause between two looks, bounded above
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    nodes.remove(3).stop().await;
    cluster.emptied(4).await;
    let map = cluster.map().await;
    assert_eq!(map.node(NodeId(4)).map(|node| node.state), Some(NodeState::Out));
    stop.store(true, Ordering::Release);
    let mut chunks = BTreeMap::new();
    for writer in writers {
        let written = writer.await.expect("a writer");
        assert_eq!(written.failures, Vec::<String>::new(), "{} chunks written", written.chunks.len());
        chunks.extend(written.chunks);
    }
    assert!(chunks.len() > 100, "only {} chunks were written", chunks.len());
    cluster.whole(&chunks).await;
    let live: std::collections::BTreeSet<_> =
        map.groups.iter().flat_map(|group| &group.members).map(|member| member.node.0).collect();
    assert_eq!(live, [1, 2, 3].into());
    cluster.client.close().await;
    for node in nodes {
        node.stop().await;
    }
}
