//! Real endpoints on loopback with a handler that the tests steer.

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use proto::chunk::{ChunkReply, ChunkRequest};
use proto::node::{NodeReply, NodeRequest};
use proto::raft_wire::RaftBatch;
use proto::{Reply, Request};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use transport::{ClusterCa, Endpoint, Handler, Peer, PeerIdentity, Role, TransportConfig, TransportError};
use types::{ClusterId, NodeId};

/// A bound for everything a test waits for.
pub const BOUND: Duration = Duration::from_secs(20);
pub const CLUSTER: ClusterId = ClusterId([0x5a; 16]);

/// Echoes bodies, answers pings, never answers a status, records Raft batches.
#[derive(Default)]
pub struct Echo {
    pub calls: AtomicUsize,
    pub raft: Mutex<Vec<(NodeId, RaftBatch)>>,
}

#[async_trait]
impl Handler for Echo {
    async fn call(&self, _: &PeerIdentity, request: Request, body: Bytes) -> (Reply, Bytes) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match request {
            Request::Node(NodeRequest::Status) => std::future::pending().await,
            Request::Chunk(ChunkRequest::Stat { .. }) => (Reply::Chunk(Ok(ChunkReply::Deleted)), body),
            _ => (Reply::Node(NodeReply::Pong), body),
        }
    }

    fn raft(&self, from: NodeId, batch: RaftBatch) {
        self.raft.lock().push((from, batch));
    }
}

pub fn authority() -> ClusterCa {
    ClusterCa::create(CLUSTER).expect("authority")
}

pub fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A serving node.
pub fn node(ca: &ClusterCa, id: u64, addr: SocketAddr, config: TransportConfig) -> (Endpoint, Arc<Echo>) {
    let credentials = ca.issue(&Role::Node(NodeId(id))).expect("issue");
    let endpoint = Endpoint::bind(addr, &credentials, config).expect("bind");
    let echo = Arc::new(Echo::default());
    endpoint.serve(echo.clone());
    (endpoint, echo)
}

pub fn client(ca: &ClusterCa) -> Endpoint {
    let credentials = ca.issue(&Role::Client("test".into())).expect("issue");
    Endpoint::client(&credentials, TransportConfig::default()).expect("client")
}

pub fn ping() -> Request {
    Request::Node(NodeRequest::Ping)
}

pub async fn ping_peer(peer: &Peer) -> Result<(), TransportError> {
    peer.call(transport::Class::Small, &ping(), Bytes::new(), Duration::from_secs(5)).await.map(drop)
}

/// Waits until `done` holds.
pub async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while !done().await {
        assert!(start.elapsed() < BOUND, "{what} did not come about");
        looks.tick().await;
    }
}
