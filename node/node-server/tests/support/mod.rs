//! What the tests of running nodes share.

#![allow(dead_code, reason = "each test file uses its part")]

use node_server::{GarbageConfig, MemoryConfig, NodeConfig, NodeServer, StartError, StoreConfig};
use placement::{InitialPlan, PlannedNode};
use proto::control::{ControlAnswer, ControlQuery, ControlReply, ControlRequest};
use proto::{Reply, Request};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;
use transport::{Class, ClusterCa, Endpoint, Role, TransportError};
use types::{ClusterId, DiskId, NodeId, PlacementMap};

/// Far more than anything here takes, also on a busy machine.
pub const BOUND: Duration = Duration::from_secs(60);

/// Nodes of one cluster in this process.
pub struct Site {
    folder: TempDir,
    pub ca: ClusterCa,
    pub map: PlacementMap,
}

impl Site {
    /// A cluster of so many nodes; none of them runs yet.
    pub fn new(nodes: u8) -> Site {
        let sockets: Vec<_> = (0..nodes).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")).collect();
        let planned: Vec<_> = (1..=nodes)
            .zip(&sockets)
            .map(|(id, socket)| PlannedNode {
                id: NodeId(u64::from(id)),
                addr: socket.local_addr().expect("an address").to_string(),
                domain: id.to_string(),
                disks: vec![DiskId([id; 16])],
            })
            .collect();
        let map = placement::initial(&planned, &InitialPlan::default()).expect("a map");
        let folder = tempfile::tempdir().expect("a folder");
        Site { folder, ca: ClusterCa::create(ClusterId([1; 16])).expect("an authority"), map }
    }

    pub fn path(&self, id: u64, name: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("node-{id}")).join(name)
    }

    pub fn config(&self, id: u64, create: bool) -> NodeConfig {
        let node = NodeId(id);
        NodeConfig {
            node,
            credentials: self.ca.issue(&Role::Node(node)).expect("credentials"),
            listen: self.map.node(node).expect("a node").addr.parse().expect("an address"),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            meta: self.path(id, "meta"),
            disks: vec![self.path(id, "disk")],
            create,
            memory: MemoryConfig::default(),
            store: StoreConfig { segment_bytes: 8 << 20, reserve_bytes: 0, direct_io: false, ..StoreConfig::default() },
            garbage: GarbageConfig::default(),
            map: self.map.clone(),
        }
    }

    pub async fn start(&self, id: u64, create: bool) -> NodeServer {
        let begin = Instant::now();
        loop {
            match NodeServer::start(self.config(id, create)).await {
                Ok(node) => return node,
                // The socket of a node that was stopped is closed by a task of its own.
                Err(StartError::Bind { .. }) if begin.elapsed() < BOUND => tokio::task::yield_now().await,
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    pub async fn call(&self, client: &Endpoint, id: u64, request: Request) -> Result<Reply, TransportError> {
        let addr = &self.map.node(NodeId(id)).expect("a node").addr;
        let peer = client.peer(NodeId(id), addr);
        let call = peer.call(Class::Small, &request, Default::default(), Duration::from_secs(2));
        call.await.map(|(reply, _)| reply)
    }

    /// The map as one node has applied it.
    pub async fn map_of(&self, client: &Endpoint, id: u64) -> Option<PlacementMap> {
        let request = Request::Control(ControlRequest::StaleQuery(ControlQuery::Map));
        match self.call(client, id, request).await {
            Ok(Reply::Control(Ok(ControlReply::Answer(ControlAnswer::Map(map))))) => map.map(|map| *map),
            _ => None,
        }
    }
}

/// Waits until something holds.
pub async fn until<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let begin = Instant::now();
    while !check().await {
        assert!(begin.elapsed() < BOUND, "{what}");
        // wait-ok: a pause between two looks, bounded above
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
