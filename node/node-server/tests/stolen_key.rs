//! What the holder of one node's key can do to a cluster, as far as it is refused: docs/OPERATIONS.md, *If a node is stolen*, has the whole table.

mod support;

use async_trait::async_trait;
use bytes::Bytes;
use cluster_client::{Client, ClientConfig, Cluster};
use proto::chunk::{ChunkReply, ChunkRequest};
use proto::control::{ControlCommand, ControlOutcome, ControlRequest};
use proto::node::{NodeReply, NodeRequest};
use proto::raft_wire::RaftBatch;
use proto::rpc::Rejection;
use proto::{Reply, Request};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{BOUND, Site};
use tokio::time::Instant;
use transport::{ClusterCa, Endpoint, Handler, NodeKey, PeerIdentity, Role, TransportConfig};
use types::{ClusterId, GroupId, InvitationId, NodeId};

const CHUNK_BYTES: usize = 9_000;
const DONE: Result<ControlOutcome, proto::control::ControlRefusal> = Ok(ControlOutcome::Done);

/// Answers every read with bytes of its own, and nothing else.
#[derive(Default)]
struct Liar {
    told: AtomicUsize,
}

#[async_trait]
impl Handler for Liar {
    async fn call(&self, _: &PeerIdentity, request: Request, _: Bytes) -> (Reply, Bytes) {
        let Request::Chunk(ChunkRequest::Get { .. }) = request else {
            return (Reply::Rejected(Rejection::Busy), Bytes::new());
        };
        self.told.fetch_add(1, Ordering::Relaxed);
        let data = ChunkReply::Data { first_leaf: 0, chunk_len: CHUNK_BYTES as u32, leaves: Vec::new() };
        (Reply::Chunk(Ok(data)), Bytes::from(vec![0xee; CHUNK_BYTES]))
    }

    fn raft(&self, _: NodeId, _: RaftBatch) {}
}

fn data(number: usize) -> Bytes {
    Bytes::from(vec![number as u8; CHUNK_BYTES])
}

fn reader(site: &Site) -> Arc<Client> {
    let addrs = (1..=3).map(|id| (NodeId(id), site.addr(id).to_owned())).collect();
    Client::connect(ClientConfig::new(site.endpoint(&Role::Client("reader".into())), addrs, "reader"))
}

#[tokio::test(flavor = "multi_thread")]
async fn c05_a_stolen_node_passes_no_other_bytes_off_as_a_chunk() {
    let site = Site::new(3);
    let (one, two, three) = tokio::join!(site.start(1, true), site.start(2, true), site.start(3, true));
    let client = reader(&site);
    let begin = Instant::now();
    let mut written = Vec::new();
    while written.len() < 20 {
        assert!(begin.elapsed() < BOUND, "no three copies");
        match client.write_chunk(GroupId(1).into(), data(written.len())).await {
            Ok(chunk) if chunk.at(0).missing == 0 => written.push(chunk.at(0).extent.chunk),
            // A node that was just started has no lease for a moment.
            _ => tokio::time::sleep(Duration::from_millis(50)).await, // wait-ok: a pause between two tries, bounded above
        }
    }
    three.stop().await;
    let (liar, addr) = (Arc::new(Liar::default()), site.addr(3).parse::<SocketAddr>().expect("an address"));
    let stolen = site.ca.issue(&Role::Node(NodeId(3))).expect("credentials");
    let mut endpoint = Endpoint::bind(addr, &stolen, TransportConfig::default());
    while endpoint.is_err() && begin.elapsed() < BOUND {
        // The socket of a node that was stopped is closed by a task of its own.
        tokio::task::yield_now().await;
        endpoint = Endpoint::bind(addr, &stolen, TransportConfig::default());
    }
    let endpoint = endpoint.expect("the address of node 3");
    endpoint.serve(liar.clone());
    while liar.told.load(Ordering::Relaxed) < 5 {
        assert!(begin.elapsed() < BOUND, "nobody asks node 3: {} lies", liar.told.load(Ordering::Relaxed));
        // One that has not learnt yet that node 3 is of no use.
        let client = reader(&site);
        for (number, chunk) in written.iter().enumerate() {
            let read = client.read_chunk(*chunk, 0..CHUNK_BYTES as u32).await.expect("two copies are intact");
            assert!(read == data(number), "chunk {number} has other bytes");
        }
    }
    endpoint.close().await;
    for node in [one, two] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c05_a_stolen_node_lets_nobody_in() {
    let site = Site::new(3);
    let (one, two, three) = tokio::join!(site.start(1, true), site.start(2, true), site.start(3, true));
    let thief = site.endpoint(&Role::Node(NodeId(3)));
    let invitation = site.invitation(4, Duration::from_secs(600));
    let (id, invite) = (invitation.id, ControlCommand::Invite { invitation });
    assert_eq!(site.control(&site.endpoint(&Role::Operator("kim".into())), &[1, 2, 3], invite).await, DONE);
    // An accomplice, let in by the stolen node with a certificate of an authority of its own.
    let (key, other) =
        (NodeKey::generate().expect("a key"), ClusterCa::create(ClusterId([1; 16])).expect("an authority"));
    let request = key.request().expect("a request");
    let cert = other.certify(&Role::Node(NodeId(4)), &request).expect("certified");
    let claim = ControlCommand::ClaimInvitation { id, request: request.clone(), proof: [0; 32] };
    assert_eq!(site.control(&thief, &[1, 2, 3], claim).await, DONE, "it can spoil an invitation");
    let admit = ControlCommand::AdmitNode { id, request, cert: cert.clone() };
    let _ = site.control(&thief, &[1, 2, 3], admit).await;
    let credentials = key.credentials(site.ca.to_pem().0, cert);
    let accomplice = Endpoint::client(&credentials, TransportConfig::default()).expect("an endpoint");
    for node in 1..=3 {
        let ping = || Request::Node(NodeRequest::Ping);
        assert_eq!(site.call(&thief, node, ping()).await, Ok(Reply::Node(NodeReply::Pong)));
        assert!(
            site.call(&accomplice, node, ping()).await.is_err(),
            "node {node} hears who has no certificate of the authority"
        );
    }
    // Nor does it invite anybody without leave: whoever knocks for an invitation needs a certificate that the authority has lent.
    let lent = other.invite(InvitationId([5; 16]), Duration::from_secs(600)).expect("lent");
    let stranger = Endpoint::client(&lent, TransportConfig::default()).expect("an endpoint");
    let knock = Request::Node(NodeRequest::Join { request: Vec::new(), proof: [0; 32] });
    assert!(site.call(&stranger, 1, knock).await.is_err());
    let control = Request::Control(ControlRequest::Command(ControlCommand::RevokeInvitation { id }));
    assert!(site.call(&accomplice, 1, control).await.is_err());
    for node in [one, two, three] {
        node.stop().await;
    }
}
