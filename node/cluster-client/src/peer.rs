//! Nodes as the client sees them: how to reach them, whether they answer, how they do as sources of chunks.

use crate::config::ClientConfig;
use crate::map::MapCache;
use async_trait::async_trait;
use bytes::Bytes;
use chunk_core::View;
use chunk_core::read::{Piece, Standing};
use parking_lot::Mutex;
use proto::chunk::ChunkError;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use transport::{Endpoint, Peer, PeerHealth};
use types::{Blake3Root, ChunkId, NodeId, NodeState, PgEpoch, PlacementMap};

/// The disks of the node this process is part of. Implemented in `chunk-server`, wired in `sago`.
#[async_trait]
pub trait ChunkPeer: Send + Sync + 'static {
    /// Stores a whole replica durably, as `ChunkRequest::Put`.
    ///
    /// # Errors
    /// As the chunk service answers.
    async fn put(&self, chunk: ChunkId, epoch: PgEpoch, root: Blake3Root, data: Bytes) -> Result<(), ChunkError>;

    /// Reads whole leaves that cover a range, as `ChunkRequest::Get`. What comes back is verified by the caller.
    ///
    /// # Errors
    /// As the chunk service answers.
    async fn get(&self, chunk: ChunkId, offset: u32, len: u32) -> Result<Piece, ChunkError>;
}

/// Weight of the newest of the latencies that make up the mean.
const LATENCY_WEIGHT: f64 = 0.2;
/// A node nobody has read from yet is taken for a fast one, so that it is tried.
const LATENCY_MICROS_UNKNOWN: f64 = 500.0;

pub(crate) struct Nodes {
    endpoint: Endpoint,
    seeds: Vec<(NodeId, String)>,
    own: Option<(NodeId, Arc<dyn ChunkPeer>)>,
    /// Disks to avoid, and until when.
    shunned: Mutex<HashMap<(NodeId, u16), Instant>>,
    sources: Mutex<HashMap<NodeId, Source>>,
}

#[derive(Clone, Copy)]
struct Source {
    latency_micros: f64,
    reading: u32,
}

impl Default for Source {
    fn default() -> Self {
        Source { latency_micros: LATENCY_MICROS_UNKNOWN, reading: 0 }
    }
}

impl Nodes {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        Nodes {
            endpoint: config.endpoint.clone(),
            seeds: config.nodes.clone(),
            own: config.own.clone(),
            shunned: Mutex::default(),
            sources: Mutex::default(),
        }
    }

    /// A node, at the address the map has for it or else the one that was configured.
    pub(crate) fn peer(&self, map: Option<&PlacementMap>, node: NodeId) -> Option<Peer> {
        let known = map.and_then(|map| map.node(node)).map(|entry| entry.addr.as_str());
        let seed = || self.seeds.iter().find(|(id, _)| *id == node).map(|(_, addr)| addr.as_str());
        Some(self.endpoint.peer(node, known.or_else(seed)?))
    }

    /// The disks of this process's own node.
    pub(crate) fn own(&self, node: NodeId) -> Option<&Arc<dyn ChunkPeer>> {
        self.own.as_ref().filter(|(own, _)| *own == node).map(|(_, disks)| disks)
    }

    /// All nodes that are known.
    pub(crate) fn all(&self, map: Option<&PlacementMap>) -> Vec<NodeId> {
        match map {
            Some(map) if !map.nodes.is_empty() => map.nodes.iter().map(|node| node.id).collect(),
            _ => self.seeds.iter().map(|(id, _)| *id).collect(),
        }
    }

    /// Whether a node is believed not to answer: what this process sees itself counts more than what the map says.
    pub(crate) fn is_down(&self, map: Option<&PlacementMap>, node: NodeId) -> bool {
        if self.own(node).is_some() {
            return false;
        }
        match self.peer(map, node).map(|peer| peer.health()) {
            Some(PeerHealth::Up) => false,
            Some(PeerHealth::Down) | None => true,
            Some(PeerHealth::Untried) => {
                map.and_then(|map| map.node(node)).is_some_and(|entry| entry.state != NodeState::Up)
            }
        }
    }

    /// What a writer should believe now.
    pub(crate) fn view(&self, map: &PlacementMap) -> View {
        let now = Instant::now();
        let mut shunned = self.shunned.lock();
        shunned.retain(|_, until| *until > now);
        View {
            down: map.nodes.iter().map(|node| node.id).filter(|node| self.is_down(Some(map), *node)).collect(),
            shunned: shunned.keys().copied().collect(),
        }
    }

    /// Avoids a disk for a while.
    pub(crate) fn shun(&self, node: NodeId, disk: u16, time: Duration) {
        self.shunned.lock().insert((node, disk), Instant::now() + time);
    }

    /// How a node does as a source of chunks.
    pub(crate) fn standing(&self, map: &PlacementMap, node: NodeId) -> Standing {
        let source = self.sources.lock().get(&node).copied().unwrap_or_default();
        Standing {
            down: self.is_down(Some(map), node),
            remote: self.own(node).is_none(),
            cost: (source.latency_micros * f64::from(source.reading + 1)) as u64,
        }
    }

    /// Counts a read from a node until it is dropped.
    pub(crate) fn reading(self: &Arc<Self>, node: NodeId) -> Reading {
        self.sources.lock().entry(node).or_default().reading += 1;
        Reading { nodes: self.clone(), node, begun: Instant::now() }
    }
}

/// A read in progress.
pub(crate) struct Reading {
    nodes: Arc<Nodes>,
    node: NodeId,
    begun: Instant,
}

impl Reading {
    /// It was answered.
    pub(crate) fn answered(&self) {
        let micros = self.begun.elapsed().as_micros() as f64;
        let mut sources = self.nodes.sources.lock();
        let source = sources.entry(self.node).or_default();
        source.latency_micros += LATENCY_WEIGHT * (micros - source.latency_micros);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(source) = self.nodes.sources.lock().get_mut(&self.node) {
            source.reading = source.reading.saturating_sub(1);
        }
    }
}

/// Asks nodes that are taken for dead whether they are, so that it is known when they are back.
pub(crate) fn probe_dead(nodes: &Arc<Nodes>, map: &MapCache, deadline: Duration) {
    let map = map.get();
    let map = map.as_deref();
    for node in nodes.all(map) {
        let Some(peer) = nodes.peer(map, node).filter(|peer| peer.health() == PeerHealth::Down) else { continue };
        tokio::spawn(async move {
            let ping = proto::Request::Node(proto::node::NodeRequest::Ping);
            let _ = peer.call(transport::Class::Small, &ping, Bytes::new(), deadline).await;
        });
    }
}
