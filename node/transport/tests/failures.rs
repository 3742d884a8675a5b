//! Peers that die, come back, are not who they should be, or do not speak the protocol.

mod support;

use bytes::Bytes;
use parking_lot::Mutex;
use proto::frame::{HEADER_BYTES, Header};
use proto::node::NodeRequest;
use proto::raft_wire::RaftBatch;
use proto::rpc::Rejection;
use proto::{Reply, Request};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{BOUND, CLUSTER, authority, client, loopback, node, ping, ping_peer, until};
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};
use transport::{
    BindError, Class, ClusterCa, Credentials, Endpoint, PeerHealth, Role, TransportConfig, TransportError,
};
use types::{ClusterId, GroupId, NodeId};

const SECOND: Duration = Duration::from_secs(1);

/// A node in a runtime of its own, with one thread. Dropping the runtime is as abrupt as a kill, or almost.
fn mortal_node(credentials: &Credentials, addr: SocketAddr) -> (Runtime, Endpoint) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
    let guard = runtime.enter();
    let endpoint = Endpoint::bind(addr, credentials, TransportConfig::default()).expect("bind");
    endpoint.serve(Arc::new(support::Echo::default()));
    drop(guard);
    (runtime, endpoint)
}

fn kill((runtime, endpoint): (Runtime, Endpoint)) {
    drop(endpoint);
    // Nothing is answered any more once this returns; a runtime is waited for on a thread that runs no tasks.
    std::thread::scope(|scope| scope.spawn(|| runtime.shutdown_timeout(10 * SECOND)).join()).expect("kill");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused() {
    let ca = authority();
    let (server, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let addr = server.local_addr().to_string();
    // Another authority of the same cluster id, and another cluster altogether.
    for other in [authority(), ClusterCa::create(ClusterId([1; 16])).expect("authority")] {
        let stranger = client(&other).peer(NodeId(1), &addr);
        assert_eq!(ping_peer(&stranger).await, Err(TransportError::NotSent));
        assert_eq!(stranger.health(), PeerHealth::Down);
    }
    // The right authority, but not the node that was asked for.
    assert_eq!(ping_peer(&client(&ca).peer(NodeId(2), &addr)).await, Err(TransportError::NotSent));
    assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
    ping_peer(&client(&ca).peer(NodeId(1), &addr)).await.expect("one of the cluster");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_cannot_pose_as_a_node() {
    let ca = authority();
    let credentials = ca.issue(&Role::Client("gateway".into())).expect("issue");
    let refused = Endpoint::bind(loopback(), &credentials, TransportConfig::default());
    assert!(matches!(refused, Err(BindError::NotANode(_))));
    // Past the courtesy of our own endpoint: a raw server with that certificate.
    let (impostor, addr) = raw_server(&credentials);
    assert_eq!(ping_peer(&client(&ca).peer(NodeId(1), &addr.to_string())).await, Err(TransportError::NotSent));
    drop(impostor);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_frames_close_the_connection_and_other_versions_are_told_so() {
    let ca = authority();
    let (server, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let credentials = ca.issue(&Role::Client("hostile".into())).expect("issue");
    let good = Header { envelope: 0, body: 0 }.encode();
    let patched = |at: usize, bytes: &[u8]| {
        let mut header = good;
        header[at..at + bytes.len()].copy_from_slice(bytes);
        header
    };
    // Lengths over the limits, and no magic.
    for hostile in [patched(8, &[0xff; 4]), patched(12, &[0xff; 4]), patched(0, b"HTTP")] {
        let connection = raw_connection(&credentials, server.local_addr()).await;
        let (mut send, _recv) = connection.open_bi().await.expect("stream");
        send.write_all(&hostile).await.expect("write");
        timeout(BOUND, connection.closed()).await.expect("the connection is closed");
    }
    // A version of the future is answered.
    let connection = raw_connection(&credentials, server.local_addr()).await;
    let reply = raw_call(&connection, &patched(4, &[9, 0])).await;
    assert_eq!(reply, Reply::Rejected(Rejection::Version { theirs: 9, ours: 1 }));
    // So is an envelope that cannot be decoded; the connection goes on.
    let reply = raw_call(&connection, &[&patched(8, &[3])[..], &[0xff; 3]].concat()).await;
    assert_eq!(reply, Reply::Rejected(Rejection::Malformed));
    // Bytes behind the body.
    let envelope = proto::encode(&Request::Node(NodeRequest::Ping));
    let header = Header { envelope: envelope.len(), body: 1 }.encode();
    let (mut send, _recv) = connection.open_bi().await.expect("stream");
    send.write_all(&[&header[..], &envelope, b"too much"].concat()).await.expect("write");
    timeout(BOUND, connection.closed()).await.expect("the connection is closed");
    assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_sender_is_given_up() {
    let ca = authority();
    let config = TransportConfig { request_read_timeout: Duration::from_millis(100), ..TransportConfig::default() };
    let (server, echo) = node(&ca, 1, loopback(), config);
    let credentials = ca.issue(&Role::Client("slow".into())).expect("issue");
    let connection = raw_connection(&credentials, server.local_addr()).await;
    let (mut send, mut recv) = connection.open_bi().await.expect("stream");
    let envelope = proto::encode(&ping());
    let header = Header { envelope: envelope.len(), body: 1 << 20 }.encode();
    send.write_all(&[&header[..], &envelope, &[0; 100]].concat()).await.expect("write");
    let end = timeout(BOUND, recv.read_to_end(100)).await.expect("given up in time");
    assert!(end.is_err(), "the stream is reset");
    assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
    // A call that was cut off in its body was not executed either.
    let (mut send, mut recv) = connection.open_bi().await.expect("stream");
    send.write_all(&[&header[..], &envelope, &[0; 100]].concat()).await.expect("write");
    send.finish().expect("finish");
    assert!(timeout(BOUND, recv.read_to_end(100)).await.expect("in time").is_err());
    assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_raft_stream_closes_the_connection() {
    let ca = authority();
    let (server, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let credentials = ca.issue(&Role::Node(NodeId(2))).expect("issue");
    let connection = raw_connection(&credentials, server.local_addr()).await;
    let mut send = connection.open_uni().await.expect("stream");
    send.write_all(&Header { envelope: 0, body: 5 }.encode()).await.expect("write");
    timeout(BOUND, connection.closed()).await.expect("the connection is closed");
    assert!(echo.raft.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_server_is_noticed_at_once_and_found_again() {
    let ca = authority();
    let (server, _) = node(&ca, 1, loopback(), TransportConfig::default());
    let addr = server.local_addr();
    let caller = client(&ca);
    let peer = caller.peer(NodeId(1), &addr.to_string());
    ping_peer(&peer).await.expect("ping");
    let hanging = tokio::spawn({
        let peer = peer.clone();
        let status = Request::Node(NodeRequest::Status);
        async move { peer.call(Class::Small, &status, Bytes::new(), 20 * SECOND).await }
    });
    server.close().await;
    drop(server);
    until("the end of the connection", async || peer.health() == PeerHealth::Down).await;
    let lost = timeout(BOUND, hanging).await.expect("in time").expect("task");
    assert!(matches!(lost, Err(TransportError::Lost | TransportError::NotSent)), "{lost:?}");
    assert_eq!(ping_peer(&peer).await, Err(TransportError::NotSent));
    // The socket is given back when the last task of the old endpoint is gone.
    let credentials = ca.issue(&Role::Node(NodeId(1))).expect("issue");
    let mut again = None;
    until("the port", async || {
        again = Endpoint::bind(addr, &credentials, TransportConfig::default()).ok();
        again.is_some()
    })
    .await;
    again.expect("bound").serve(Arc::new(support::Echo::default()));
    until("a call on the new server", async || ping_peer(&peer).await.is_ok()).await;
    assert!(peer.is_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_noticed_by_its_silence() {
    let ca = authority();
    let credentials = ca.issue(&Role::Node(NodeId(1))).expect("issue");
    let (runtime, server) = mortal_node(&credentials, loopback());
    let peer = client(&ca).peer(NodeId(1), &server.local_addr().to_string());
    ping_peer(&peer).await.expect("ping");
    // Its only thread stands still, as after SIGSTOP.
    let (thaw, thawed) = std::sync::mpsc::channel::<()>();
    runtime.spawn(async move {
        let _ = thawed.recv();
    });
    let frozen = Instant::now();
    let hanging = tokio::spawn({
        let peer = peer.clone();
        let status = Request::Node(NodeRequest::Status);
        async move { peer.call(Class::Small, &status, Bytes::new(), 20 * SECOND).await }
    });
    // First it counts as down, then its calls are given up.
    until("suspicion", async || peer.health() == PeerHealth::Down).await;
    assert!(frozen.elapsed() < TransportConfig::default().suspect_after + 2 * SECOND, "{:?}", frozen.elapsed());
    assert_eq!(hanging.await.expect("task"), Err(TransportError::Lost));
    assert!(frozen.elapsed() < TransportConfig::default().silence_max + 3 * SECOND, "{:?}", frozen.elapsed());
    // From now on calls fail fast, and never past their deadline.
    for _ in 0..20 {
        let start = Instant::now();
        let deadline = Duration::from_millis(50);
        assert_eq!(peer.call(Class::Bulk, &ping(), Bytes::new(), deadline).await, Err(TransportError::NotSent));
        assert!(start.elapsed() < SECOND);
        assert_eq!(peer.health(), PeerHealth::Down);
    }
    drop(thaw);
    until("a call on the thawed server", async || ping_peer(&peer).await.is_ok()).await;
    kill((runtime, server));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_and_started_again_is_found_again() {
    let ca = authority();
    let credentials = ca.issue(&Role::Node(NodeId(1))).expect("issue");
    let server = mortal_node(&credentials, loopback());
    let addr = server.1.local_addr();
    let (sender, _) = node(&ca, 2, loopback(), TransportConfig::default());
    let peer = sender.peer(NodeId(1), &addr.to_string());
    ping_peer(&peer).await.expect("ping");
    kill(server);
    let dead = Instant::now();
    let mut again = None;
    until("the port", async || {
        again = Endpoint::bind(addr, &credentials, TransportConfig::default()).ok();
        again.is_some()
    })
    .await;
    let echo = Arc::new(support::Echo::default());
    again.expect("bound").serve(echo.clone());
    until("a call on the new server", async || ping_peer(&peer).await.is_ok()).await;
    assert!(dead.elapsed() < TransportConfig::default().silence_max, "{:?}", dead.elapsed());
    // Raft goes on, on a new stream.
    let batch = RaftBatch { messages: vec![(GroupId(1), Bytes::from_static(b"hello"))] };
    until("raft on the new stream", async || {
        peer.send_raft(batch.clone());
        !echo.raft.lock().is_empty()
    })
    .await;
}

/// Passes datagrams between its callers and `target`, which may change under way as if another process took over the address.
async fn relay(target: Arc<Mutex<SocketAddr>>) -> SocketAddr {
    let front = UdpSocket::bind(loopback()).await.expect("socket");
    let back = UdpSocket::bind(loopback()).await.expect("socket");
    let addr = front.local_addr().expect("addr");
    tokio::spawn(async move {
        let (mut there, mut here) = (vec![0; 65_536], vec![0; 65_536]);
        let mut caller = None;
        loop {
            tokio::select! {
                Ok((len, from)) = front.recv_from(&mut there) => {
                    caller = Some(from);
                    let target = *target.lock();
                    let _ = back.send_to(&there[..len], target).await;
                }
                Ok((len, from)) = back.recv_from(&mut here) => {
                    let current = from == *target.lock();
                    if let (Some(caller), true) = (caller, current) {
                        let _ = front.send_to(&here[..len], caller).await;
                    }
                }
            }
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_life_of_a_node_resets_the_connections_of_the_old_one() {
    let ca = authority();
    let credentials = ca.issue(&Role::Node(NodeId(1))).expect("issue");
    let lives = [(); 2].map(|()| {
        let life = Endpoint::bind(loopback(), &credentials, TransportConfig::default()).expect("bind");
        life.serve(Arc::new(support::Echo::default()));
        life
    });
    let target = Arc::new(Mutex::new(lives[0].local_addr()));
    let addr = relay(target.clone()).await;
    let peer = client(&ca).peer(NodeId(1), &addr.to_string());
    ping_peer(&peer).await.expect("ping");
    *target.lock() = lives[1].local_addr();
    let reborn = Instant::now();
    // The old connection is not waited for until it has been silent for long: the first packet on it is answered.
    assert_eq!(ping_peer(&peer).await, Err(TransportError::Lost));
    ping_peer(&peer).await.expect("ping");
    assert!(reborn.elapsed() < SECOND, "{:?}", reborn.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raft_to_a_dead_node_is_dropped_not_hoarded() {
    let ca = authority();
    let (sender, _) = node(&ca, 2, loopback(), TransportConfig::default());
    // Nobody is there.
    let silent = std::net::UdpSocket::bind(loopback()).expect("socket");
    let peer = sender.peer(NodeId(1), &silent.local_addr().expect("addr").to_string());
    let message = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..200 {
        peer.send_raft(RaftBatch { messages: vec![(GroupId(1), message.clone())] });
    }
    until("the attempt's failure", async || peer.health() == PeerHealth::Down).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_address_replaces_the_peer() {
    let ca = authority();
    let (first, _) = node(&ca, 1, loopback(), TransportConfig::default());
    let (second, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let caller = client(&ca);
    let (first, second) = (first.local_addr().to_string(), second.local_addr().to_string());
    ping_peer(&caller.peer(NodeId(1), &first)).await.expect("ping");
    assert!(caller.peer(NodeId(1), &first).is_connected(), "the same peer");
    ping_peer(&caller.peer(NodeId(1), &second)).await.expect("ping");
    assert_eq!(echo.calls.load(Ordering::SeqCst), 1);
    assert_eq!(caller.cluster(), CLUSTER);
}

#[tokio::test]
async fn senseless_settings_are_refused() {
    let credentials = authority().issue(&Role::Client("tool".into())).expect("issue");
    let config = TransportConfig { body_bytes_max: 1, ..TransportConfig::default() };
    assert!(matches!(Endpoint::client(&credentials, config), Err(BindError::Config("body_bytes_max"))));
}

// A bare QUIC client and server with the cluster's certificates, for what our own endpoint would not send.

fn der(credentials: &Credentials) -> (CertificateDer<'static>, PrivateKeyDer<'static>, Arc<rustls::RootCertStore>) {
    let cert = CertificateDer::from_pem_slice(credentials.cert.as_bytes()).expect("cert");
    let key = PrivateKeyDer::from_pem_slice(credentials.key.as_bytes()).expect("key");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(credentials.ca.as_bytes()).expect("ca")).expect("root");
    (cert, key, Arc::new(roots))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

async fn raw_connection(credentials: &Credentials, addr: SocketAddr) -> quinn::Connection {
    let (cert, key, roots) = der(credentials);
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![cert], key)
        .expect("tls");
    tls.alpn_protocols = vec![b"sago/1".to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("quic");
    let endpoint = quinn::Endpoint::client(loopback()).expect("endpoint");
    let name = format!("node-1.{CLUSTER}.sago");
    let connecting = endpoint.connect_with(quinn::ClientConfig::new(Arc::new(tls)), addr, &name);
    connecting.expect("connect").await.expect("connection")
}

async fn raw_call(connection: &quinn::Connection, bytes: &[u8]) -> Reply {
    let (mut send, mut recv) = connection.open_bi().await.expect("stream");
    send.write_all(bytes).await.expect("write");
    let reply = timeout(BOUND, recv.read_to_end(1000)).await.expect("in time").expect("reply");
    proto::decode(&reply[HEADER_BYTES..]).expect("decode")
}

fn raw_server(credentials: &Credentials) -> (quinn::Endpoint, SocketAddr) {
    let (cert, key, _) = der(credentials);
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .expect("tls");
    tls.alpn_protocols = vec![b"sago/1".to_vec()];
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("quic");
    let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    let endpoint = quinn::Endpoint::server(config, loopback()).expect("endpoint");
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            let _ = incoming.await;
        }
    });
    let addr = endpoint.local_addr().expect("addr");
    (endpoint, addr)
}
