//! Writers and readers that note what goes wrong, and a look at what they wrote.

use super::Site;
use bytes::Bytes;
use cluster_client::{Client, Cluster};
use proto::chunk::{ChunkReply, ChunkRequest};
use proto::meta::Command;
use proto::{Reply, Request};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use transport::{Class, Endpoint};
use types::{ChunkRef, GroupId, NodeId, PlacementMap};

pub const GROUP: GroupId = GroupId(1);
/// Far more than a move of all groups takes here.
pub const MOVED_MAX: Duration = Duration::from_secs(300);
/// Chunks of one writer at most.
const CHUNKS_MAX: u64 = 1500;

/// What a writer wrote, and what went wrong.
#[derive(Default)]
pub struct Written {
    pub chunks: BTreeMap<u64, ChunkRef>,
    pub failures: Vec<String>,
}

/// Bytes that only their number tells.
pub fn sample(number: u64) -> Bytes {
    let len = 1 + (number * 7919 % 30_000) as usize;
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = move || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect::<Vec<u8>>().into()
}

/// Writes chunks, records them as the metadata has them, and reads an older one after each, until told to stop.
pub async fn load(client: Arc<Client>, from: u64, stop: Arc<AtomicBool>) -> Written {
    let mut written = Written::default();
    let mut number = from;
    while !stop.load(Ordering::Acquire) && number < from + CHUNKS_MAX {
        match client.write_chunk(GROUP.into(), sample(number)).await {
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

/// Waits until no group has anything to do with the nodes, nor anything on its way.
pub async fn emptied(site: &Site, endpoint: &Endpoint, asked: &[u64], nodes: &[u64]) {
    let begin = Instant::now();
    loop {
        let map = newest_map(site, endpoint, asked).await;
        let busy = map.groups.iter().filter(|group| group.moving.is_some()).count();
        let on = |group: &&types::PlacementGroup| group.takers().any(|taker| nodes.contains(&taker.node.0));
        let left = map.groups.iter().filter(on).count();
        if busy + left == 0 {
            return;
        }
        assert!(begin.elapsed() < MOVED_MAX, "{left} groups are still on {nodes:?}, {busy} move");
        // wait-ok: a pause between two looks, bounded above
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The newest map that any of the nodes tells.
pub async fn newest_map(site: &Site, endpoint: &Endpoint, asked: &[u64]) -> PlacementMap {
    let begin = Instant::now();
    loop {
        let mut newest: Option<PlacementMap> = None;
        for id in asked {
            if let Some(map) = site.map_of(endpoint, *id).await
                && newest.as_ref().is_none_or(|newest| newest.version < map.version)
            {
                newest = Some(map);
            }
        }
        if let Some(map) = newest {
            return map;
        }
        assert!(begin.elapsed() < super::BOUND, "none of {asked:?} has a map");
    }
}

/// Members that do not give a chunk as it was written.
async fn lacking(endpoint: &Endpoint, map: &PlacementMap, number: u64, chunk: &ChunkRef) -> Vec<NodeId> {
    let mut lacking = Vec::new();
    for member in &map.group_of(chunk.id.slot()).expect("a group").members {
        let addr = &map.node(member.node).expect("a node").addr;
        let peer = endpoint.peer(member.node, addr);
        let get = Request::Chunk(ChunkRequest::Get { chunk: chunk.id, offset: 0, len: chunk.len });
        let got = peer.call(Class::Bulk, &get, Bytes::new(), Duration::from_secs(5)).await;
        let whole = matches!(&got, Ok((Reply::Chunk(Ok(ChunkReply::Data { .. })), data)) if *data == sample(number));
        if !whole {
            lacking.push(member.node);
        }
    }
    lacking
}

/// Waits until every member of every chunk's group gives it, byte for byte. What was written with a copy missing is made whole by repair.
pub async fn whole(site: &Site, endpoint: &Endpoint, asked: &[u64], chunks: &BTreeMap<u64, ChunkRef>) {
    let begin = Instant::now();
    for (number, chunk) in chunks {
        loop {
            let map = newest_map(site, endpoint, asked).await;
            let lacking = lacking(endpoint, &map, *number, chunk).await;
            if lacking.is_empty() {
                break;
            }
            assert!(begin.elapsed() < MOVED_MAX, "chunk {number} is not on {lacking:?}");
        }
    }
}
