//! The attacks on the wire of reliability's list, by their numbers: C-01 identity, C-02 invitations, C-04 replay and amplification, C-07 bombs.

mod support;

use bytes::Bytes;
use proto::control::{ControlQuery, ControlRequest};
use proto::frame::{HEADER_BYTES, Header};
use proto::node::NodeRequest;
use proto::rpc::Rejection;
use proto::{Reply, Request};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{BOUND, CLUSTER, authority, client, loopback, node, ping, ping_peer, until};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use transport::{Class, ClusterCa, Endpoint, Role, TransportConfig, TransportError};
use types::{ClusterId, InvitationId, NodeId};

/// A certificate and its key, in PEM.
struct Forged {
    cert: String,
    key: String,
}

/// What a forger changes about the certificate of node 1.
enum Forgery {
    Expired,
    NotYetValid,
    /// The right names, signed by itself.
    SelfSigned,
    /// Signed by the cluster's authority for TLS, but naming no role.
    NameOnly,
}

fn forge(ca: &ClusterCa, forgery: &Forgery) -> Forged {
    forge_as(ca, "node/1", forgery)
}

fn forge_as(ca: &ClusterCa, role: &str, forgery: &Forgery) -> Forged {
    let (ca_cert, ca_key) = ca.to_pem();
    let ca_key = KeyPair::from_pem(&ca_key).expect("key");
    let issuer = Issuer::from_ca_cert_pem(&ca_cert, &ca_key).expect("issuer");
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let uri = SanType::URI(format!("sago://{CLUSTER}/{role}").try_into().expect("uri"));
    let dns = SanType::DnsName(format!("node-1.{CLUSTER}.sago").try_into().expect("name"));
    params.subject_alt_names = vec![uri, dns];
    match forgery {
        Forgery::Expired => {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        Forgery::NotYetValid => {
            params.not_before = rcgen::date_time_ymd(2090, 1, 1);
            params.not_after = rcgen::date_time_ymd(2095, 1, 1);
        }
        Forgery::NameOnly => drop(params.subject_alt_names.remove(0)),
        Forgery::SelfSigned => {}
    }
    let key = KeyPair::generate().expect("key");
    let cert = match forgery {
        Forgery::SelfSigned => params.self_signed(&key).expect("signed").pem(),
        _ => params.signed_by(&key, &issuer).expect("signed").pem(),
    };
    Forged { cert, key: key.serialize_pem() }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn client_config(ca: &str, forged: &Forged, early: bool) -> quinn::ClientConfig {
    let cert = CertificateDer::from_pem_slice(forged.cert.as_bytes()).expect("cert");
    let key = PrivateKeyDer::from_pem_slice(forged.key.as_bytes()).expect("key");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).expect("ca")).expect("root");
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![cert], key)
        .expect("tls");
    tls.alpn_protocols = vec![b"sago/1".to_vec()];
    tls.enable_early_data = early;
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("quic");
    quinn::ClientConfig::new(Arc::new(tls))
}

fn server_with(forged: &Forged) -> (quinn::Endpoint, SocketAddr) {
    let cert = CertificateDer::from_pem_slice(forged.cert.as_bytes()).expect("cert");
    let key = PrivateKeyDer::from_pem_slice(forged.key.as_bytes()).expect("key");
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .expect("tls");
    tls.alpn_protocols = vec![b"sago/1".to_vec()];
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("quic");
    let endpoint = quinn::Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(tls)), loopback());
    let endpoint = endpoint.expect("endpoint");
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            let _ = incoming.await;
        }
    });
    let addr = endpoint.local_addr().expect("addr");
    (endpoint, addr)
}

fn valid(ca: &ClusterCa, role: &Role) -> Forged {
    let credentials = ca.issue(role).expect("issued");
    Forged { cert: credentials.cert, key: credentials.key }
}

async fn connect(config: quinn::ClientConfig, addr: SocketAddr) -> Result<quinn::Connection, quinn::ConnectionError> {
    let endpoint = quinn::Endpoint::client(loopback()).expect("endpoint");
    let name = format!("node-1.{CLUSTER}.sago");
    endpoint.connect_with(config, addr, &name).expect("connect").await
}

/// One call over a fresh connection, as far as it gets.
async fn call_as(config: quinn::ClientConfig, addr: SocketAddr) -> Option<Vec<u8>> {
    ask_as(config, addr, &ping()).await
}

async fn ask_as(config: quinn::ClientConfig, addr: SocketAddr, request: &Request) -> Option<Vec<u8>> {
    let connection = connect(config, addr).await.ok()?;
    let (mut send, mut recv) = connection.open_bi().await.ok()?;
    let envelope = proto::encode(request);
    let frame = [&Header { envelope: envelope.len(), body: 0 }.encode()[..], &envelope].concat();
    send.write_all(&frame).await.ok()?;
    let _ = send.finish();
    timeout(BOUND, recv.read_to_end(1000)).await.expect("an end in time").ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c01_certificates_of_others_of_another_time_or_without_a_role_are_refused_both_ways() {
    let ca = authority();
    let (ca_cert, _) = ca.to_pem();
    let (server, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let addr = server.local_addr();
    let other = ClusterCa::create(ClusterId([1; 16])).expect("authority");
    let node_1 = Role::Node(NodeId(1));
    let forgeries = [
        forge(&ca, &Forgery::Expired),
        forge(&ca, &Forgery::NotYetValid),
        forge(&ca, &Forgery::SelfSigned),
        forge(&ca, &Forgery::NameOnly),
        // The right names, by an authority made for the same cluster id, and a certificate of another cluster.
        valid(&authority(), &node_1),
        valid(&other, &node_1),
    ];
    for (at, forged) in forgeries.iter().enumerate() {
        let answer = call_as(client_config(&ca_cert, forged, false), addr).await;
        assert_eq!(answer, None, "forgery {at} was answered");
        let (impostor, addr) = server_with(forged);
        let called = ping_peer(&client(&ca).peer(NodeId(1), &addr.to_string())).await;
        assert_eq!(called, Err(TransportError::NotSent), "forgery {at} was believed");
        drop(impostor);
    }
    // A client's certificate does not serve, and a node's serves only under its own id.
    for role in [Role::Client("gateway".into()), Role::Node(NodeId(2))] {
        let (impostor, addr) = server_with(&valid(&ca, &role));
        let called = ping_peer(&client(&ca).peer(NodeId(1), &addr.to_string())).await;
        assert_eq!(called, Err(TransportError::NotSent), "{role:?} was believed");
        drop(impostor);
    }
    assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
    let answer = call_as(client_config(&ca_cert, &valid(&ca, &node_1), false), addr).await;
    assert!(answer.is_some(), "one of the cluster was refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c01_the_sender_of_raft_messages_is_who_its_certificate_says() {
    let ca = authority();
    let (server, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let (other, _) = node(&ca, 2, loopback(), TransportConfig::default());
    let batch = proto::raft_wire::RaftBatch { messages: vec![(types::GroupId(1), Bytes::from_static(b"I am node-3"))] };
    other.peer(NodeId(1), &server.local_addr().to_string()).send_raft(batch);
    until("a message", async || !echo.raft.lock().is_empty()).await;
    assert_eq!(echo.raft.lock()[0].0, NodeId(2));
    // A client's never arrive.
    let config = client_config(&ca.to_pem().0, &valid(&ca, &Role::Client("tool".into())), false);
    let connection = connect(config, server.local_addr()).await.expect("a client of the cluster");
    if let Ok(mut send) = connection.open_uni().await {
        let _ = send.write_all(&Header { envelope: 0, body: 5 }.encode()).await;
        timeout(BOUND, connection.closed()).await.expect("the connection is closed");
    }
    assert!(echo.raft.lock().iter().all(|(from, _)| *from == NodeId(2)));
}

/// Guesses at a token. What there is to guess is a signature of the authority, so none of any number gets further than the handshake.
const GUESSES: usize = 250;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c02_a_token_of_another_cluster_or_time_and_any_number_of_guesses_are_refused() {
    let ca = authority();
    let (ca_cert, _) = ca.to_pem();
    let (server, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let addr = server.local_addr();
    let join = Request::Node(NodeRequest::Join { request: vec![1; 100], proof: [0; 32] });
    let role = |guess: usize| format!("join/{guess:032x}");
    let lent = |ca: &ClusterCa| {
        let lent = ca.invite(InvitationId([7; 16]), Duration::from_secs(600)).expect("lent");
        Forged { cert: lent.cert, key: lent.key }
    };
    // Of another cluster, of an authority made for this cluster's id, and one whose hour is over.
    let other = ClusterCa::create(ClusterId([1; 16])).expect("authority");
    for forged in [lent(&other), lent(&authority()), forge_as(&ca, &role(1), &Forgery::Expired)] {
        assert_eq!(ask_as(client_config(&ca_cert, &forged, false), addr, &join).await, None);
    }
    for guess in 0..GUESSES {
        let forged = forge_as(&ca, &role(guess), &Forgery::SelfSigned);
        assert_eq!(ask_as(client_config(&ca_cert, &forged, false), addr, &join).await, None, "guess {guess}");
    }
    assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
    // Nor do they lock out who was invited.
    assert!(ask_as(client_config(&ca_cert, &lent(&ca), false), addr, &join).await.is_some());
    assert_eq!(echo.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c02_who_was_invited_may_ask_to_be_let_in_and_nothing_else_and_asks_nobody_but_the_cluster() {
    let ca = authority();
    let (server, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let lent = ca.invite(InvitationId([7; 16]), Duration::from_secs(600)).expect("lent");
    let joiner = Endpoint::client(&lent, TransportConfig::default()).expect("an endpoint");
    let peer = joiner.peer(NodeId(1), &server.local_addr().to_string());
    let snapshot = proto::raft_wire::SnapshotRequest::Close { group: types::GroupId(1), id: 1 };
    let map = ControlRequest::StaleQuery(ControlQuery::Map);
    for request in [ping(), Request::Node(NodeRequest::Status), Request::Control(map), Request::Snapshot(snapshot)] {
        let refused = peer.call(Class::Small, &request, Bytes::new(), BOUND).await.map(drop);
        assert_eq!(refused, Err(TransportError::Rejected(Rejection::Forbidden)), "{request:?}");
    }
    assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
    // It cannot serve as a node either, and what says that it is the cluster has to show it first.
    let forged = Forged { cert: lent.cert.clone(), key: lent.key.clone() };
    let (impostor, addr) = server_with(&forged);
    assert_eq!(ping_peer(&client(&ca).peer(NodeId(1), &addr.to_string())).await, Err(TransportError::NotSent));
    drop(impostor);
    let join = Request::Node(NodeRequest::Join { request: vec![1; 100], proof: [0; 32] });
    let (impostor, addr) = server_with(&valid(&authority(), &Role::Node(NodeId(2))));
    let stranger = joiner.peer(NodeId(2), &addr.to_string());
    let asked = stranger.call(Class::Small, &join, Bytes::new(), BOUND).await.map(drop);
    assert_eq!(asked, Err(TransportError::NotSent), "a stranger was asked");
    drop(impostor);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c04_nothing_can_be_sent_before_the_handshake_nor_replayed() {
    let ca = authority();
    let (server, _) = node(&ca, 1, loopback(), TransportConfig::default());
    // One configuration for both connections, so that a ticket of the first could serve the second.
    let config = client_config(&ca.to_pem().0, &valid(&ca, &Role::Client("replay".into())), true);
    assert!(call_as(config.clone(), server.local_addr()).await.is_some());
    let endpoint = quinn::Endpoint::client(loopback()).expect("endpoint");
    let name = format!("node-1.{CLUSTER}.sago");
    let connecting = endpoint.connect_with(config, server.local_addr(), &name).expect("connect");
    assert!(connecting.into_0rtt().is_err(), "early data is possible");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c04_an_address_that_was_not_proven_gets_three_times_what_it_sent_and_the_rest_of_a_datagram() {
    let ca = authority();
    let (server, _) = node(&ca, 1, loopback(), TransportConfig::default());
    let target = server.local_addr();
    // Between a client and the node: passes the client's first datagram and swallows everything else, so that the node never hears
    // that what it sends arrives.
    let (front, back) =
        (UdpSocket::bind(loopback()).await.expect("bind"), UdpSocket::bind(loopback()).await.expect("bind"));
    let addr = front.local_addr().expect("addr");
    let (sent, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (sent_, answered_) = (sent.clone(), answered.clone());
    let relay = tokio::spawn(async move {
        let (mut from_client, mut from_node) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            tokio::select! {
                Ok((len, _)) = front.recv_from(&mut from_client) => {
                    if sent_.load(Ordering::SeqCst) == 0 {
                        sent_.store(len, Ordering::SeqCst);
                        let _ = back.send_to(&from_client[..len], target).await;
                    }
                }
                Ok((len, _)) = back.recv_from(&mut from_node) => {
                    answered_.fetch_add(len, Ordering::SeqCst);
                }
            }
        }
    });
    let config = client_config(&ca.to_pem().0, &valid(&ca, &Role::Client("victim".into())), false);
    // Long enough for several retransmissions of the node's.
    let handshake = timeout(Duration::from_secs(4), connect(config, addr)).await;
    assert!(!matches!(handshake, Ok(Ok(_))));
    relay.abort();
    let (sent, answered) = (sent.load(Ordering::SeqCst), answered.load(Ordering::SeqCst));
    // The datagram that reaches the limit goes out whole.
    assert!(answered > 0 && answered <= 3 * sent + DATAGRAM_BYTES, "{sent} bytes were answered with {answered}");
}

/// A datagram before anything is known of the path.
const DATAGRAM_BYTES: usize = 1200;

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c07_bombs_in_lengths_and_numbers_cost_their_sender_and_no_memory() {
    let ca = authority();
    let (server, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let config = client_config(&ca.to_pem().0, &valid(&ca, &Role::Client("hostile".into())), false);
    let connection = connect(config.clone(), server.local_addr()).await.expect("connection");
    let before = resident_bytes();
    // Numbers of more than ten bytes; lists and texts that claim to be huge, at every place where one could begin; deep nesting of
    // tags. All fit their frame, so they are told that they make no sense.
    let mut envelopes = vec![vec![0xff; 64], vec![0x80; 4096]];
    for tag in 0..8u8 {
        for inner in 0..16u8 {
            envelopes.push([&[tag, inner][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]].concat());
            envelopes.push([&vec![inner; 1000][..], &[0xff; 20]].concat());
        }
    }
    // Some of the shortest happen to be requests with very large numbers.
    envelopes.retain(|envelope| proto::decode::<Request>(envelope).is_err());
    assert!(envelopes.len() > 200, "only {} make no sense", envelopes.len());
    for envelope in &envelopes {
        let (mut send, mut recv) = connection.open_bi().await.expect("stream");
        let frame = [&Header { envelope: envelope.len(), body: 0 }.encode()[..], envelope].concat();
        send.write_all(&frame).await.expect("write");
        send.finish().expect("finish");
        let reply = timeout(BOUND, recv.read_to_end(1000)).await.expect("in time").expect("reply");
        assert_eq!(proto::decode::<Reply>(&reply[HEADER_BYTES..]), Ok(Reply::Rejected(Rejection::Malformed)));
    }
    // Lengths of the frame itself: the connection is closed before anything is allocated for them.
    for (envelope, body) in [(u32::MAX, 0), (0, u32::MAX), (u32::MAX, u32::MAX), (1 << 31, 1)] {
        let connection = connect(config.clone(), server.local_addr()).await.expect("connection");
        let mut header = Header { envelope: 0, body: 0 }.encode();
        header[8..12].copy_from_slice(&envelope.to_le_bytes());
        header[12..].copy_from_slice(&body.to_le_bytes());
        let (mut send, _recv) = connection.open_bi().await.expect("stream");
        send.write_all(&header).await.expect("write");
        timeout(BOUND, connection.closed()).await.expect("the connection is closed");
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
}
