//! Calls between real endpoints on loopback.

mod support;

use bytes::Bytes;
use proto::chunk::{ChunkReply, ChunkRequest};
use proto::node::{NodeReply, NodeRequest};
use proto::raft_wire::{RaftBatch, SnapshotRequest};
use proto::rpc::Rejection;
use proto::{Reply, Request};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{authority, client, loopback, node, ping, ping_peer, until};
use tokio::task::JoinSet;
use tokio::time::Instant;
use transport::{Class, PeerHealth, TransportConfig, TransportError};
use types::{CHUNK_BYTES_MAX, GroupId, Incarnation, NodeId};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_chunk_goes_there_and_back() {
    let ca = authority();
    let (server, _) = node(&ca, 1, loopback(), TransportConfig::default());
    let peer = client(&ca).peer(NodeId(1), &server.local_addr().to_string());
    assert_eq!(peer.health(), PeerHealth::Untried);
    let body: Bytes = (0..CHUNK_BYTES_MAX).map(|i| (i % 251) as u8).collect::<Vec<_>>().into();
    let request = Request::Chunk(ChunkRequest::Stat { chunks: Vec::new() });
    for _ in 0..3 {
        let (reply, back) = peer.call(Class::Bulk, &request, body.clone(), 10 * SECOND).await.expect("call");
        assert_eq!(reply, Reply::Chunk(Ok(ChunkReply::Deleted)));
        assert!(back == body);
    }
    assert!(peer.is_connected());
    server.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_small_calls_at_once() {
    let ca = authority();
    let (server, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let peer = client(&ca).peer(NodeId(1), &server.local_addr().to_string());
    let mut calls = JoinSet::new();
    for i in 0..1000u32 {
        let peer = peer.clone();
        calls.spawn(async move {
            let body = Bytes::copy_from_slice(&i.to_le_bytes());
            let (reply, back) = peer.call(Class::Small, &ping(), body.clone(), 10 * SECOND).await.expect("call");
            assert_eq!(reply, Reply::Node(NodeReply::Pong));
            assert_eq!(back, body);
        });
    }
    calls.join_all().await;
    assert_eq!(echo.calls.load(Ordering::SeqCst), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_is_kept_and_leaves_the_connection_alone() {
    let ca = authority();
    let (server, _) = node(&ca, 1, loopback(), TransportConfig::default());
    let peer = client(&ca).peer(NodeId(1), &server.local_addr().to_string());
    let status = Request::Node(NodeRequest::Status);
    let start = Instant::now();
    let result = peer.call(Class::Small, &status, Bytes::new(), SECOND / 5).await;
    assert_eq!(result, Err(TransportError::Deadline));
    assert!(start.elapsed() < 3 * SECOND);
    ping_peer(&peer).await.expect("ping");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handler_is_waited_for_beyond_the_silence_of_its_peer() {
    let ca = authority();
    let (server, _) = node(&ca, 1, loopback(), TransportConfig::default());
    let peer = client(&ca).peer(NodeId(1), &server.local_addr().to_string());
    let status = Request::Node(NodeRequest::Status);
    // Longer than `silence_max`: keep-alives show that the peer lives.
    assert_eq!(peer.call(Class::Small, &status, Bytes::new(), 3 * SECOND).await, Err(TransportError::Deadline));
    assert!(peer.is_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_larger_than_a_frame_are_not_sent() {
    let ca = authority();
    let (server, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let peer = client(&ca).peer(NodeId(1), &server.local_addr().to_string());
    let body = Bytes::from(vec![0; CHUNK_BYTES_MAX + 1]);
    let result = peer.call(Class::Bulk, &ping(), body, SECOND).await;
    assert_eq!(result, Err(TransportError::Rejected(Rejection::Malformed)));
    assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_over_the_limit_are_answered_busy() {
    let ca = authority();
    let config = TransportConfig { calls_max: 2, ..TransportConfig::default() };
    let (server, echo) = node(&ca, 1, loopback(), config);
    let peer = client(&ca).peer(NodeId(1), &server.local_addr().to_string());
    let mut hanging = JoinSet::new();
    for _ in 0..2 {
        let peer = peer.clone();
        let status = Request::Node(NodeRequest::Status);
        hanging.spawn(async move { peer.call(Class::Small, &status, Bytes::new(), 20 * SECOND).await });
    }
    until("two calls in progress", async || echo.calls.load(Ordering::SeqCst) == 2).await;
    assert_eq!(ping_peer(&peer).await, Err(TransportError::Rejected(Rejection::Busy)));
    // Even while it is still sending.
    let body = Bytes::from(vec![0; CHUNK_BYTES_MAX]);
    let result = peer.call(Class::Bulk, &ping(), body, 5 * SECOND).await;
    assert_eq!(result, Err(TransportError::Rejected(Rejection::Busy)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_over_the_budget_are_answered_busy_and_small_calls_pass() {
    let ca = authority();
    let config = TransportConfig {
        body_bytes_max: CHUNK_BYTES_MAX as u32,
        budget_wait: Duration::from_millis(50),
        ..TransportConfig::default()
    };
    let (server, echo) = node(&ca, 1, loopback(), config);
    let peer = client(&ca).peer(NodeId(1), &server.local_addr().to_string());
    let body = Bytes::from(vec![0; CHUNK_BYTES_MAX]);
    let hanging = tokio::spawn({
        let (peer, body) = (peer.clone(), body.clone());
        let status = Request::Node(NodeRequest::Status);
        async move { peer.call(Class::Bulk, &status, body, 20 * SECOND).await }
    });
    until("a call that holds the budget", async || echo.calls.load(Ordering::SeqCst) == 1).await;
    let result = peer.call(Class::Bulk, &ping(), body, 5 * SECOND).await;
    assert_eq!(result, Err(TransportError::Rejected(Rejection::Busy)));
    ping_peer(&peer).await.expect("ping");
    hanging.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_for_nodes_is_refused_to_clients() {
    let ca = authority();
    let (server, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let addr = server.local_addr().to_string();
    let (other, _) = node(&ca, 2, loopback(), TransportConfig::default());
    let snapshot = Request::Snapshot(SnapshotRequest::Close { group: GroupId(1), id: 1 });
    let beat = |id| {
        let (node, incarnation) = (NodeId(id), Incarnation(1));
        Request::Node(NodeRequest::Heartbeat { node, incarnation, ailing: Vec::new() })
    };
    let as_client = client(&ca).peer(NodeId(1), &addr);
    let as_node = other.peer(NodeId(1), &addr);
    for (peer, request, allowed) in [
        (&as_client, snapshot.clone(), false),
        (&as_client, beat(2), false),
        (&as_node, snapshot, true),
        (&as_node, beat(2), true),
        (&as_node, beat(1), false),
    ] {
        let result = peer.call(Class::Small, &request, Bytes::new(), 5 * SECOND).await.map(drop);
        let expected = if allowed { Ok(()) } else { Err(TransportError::Rejected(Rejection::Forbidden)) };
        assert_eq!(result, expected, "{request:?}");
    }
    // A client's Raft stream costs it the connection.
    as_client.send_raft(RaftBatch { messages: vec![(GroupId(1), Bytes::from_static(b"vote"))] });
    until("the connection's end", async || as_client.health() == PeerHealth::Down).await;
    assert!(echo.raft.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raft_messages_arrive_in_order() {
    let ca = authority();
    let (server, echo) = node(&ca, 1, loopback(), TransportConfig::default());
    let (sender, _) = node(&ca, 2, loopback(), TransportConfig::default());
    let peer = sender.peer(NodeId(1), &server.local_addr().to_string());
    // From a thread that is none of the runtime's, as Raft's is.
    let pushing = std::thread::spawn(move || {
        for i in 0..1000u32 {
            let message = Bytes::from([i.to_le_bytes().to_vec(), vec![0; 1000]].concat());
            peer.send_raft(RaftBatch { messages: vec![(GroupId(i % 4), message)] });
        }
        peer
    });
    pushing.join().expect("thread");
    let count = || echo.raft.lock().iter().map(|(_, batch)| batch.messages.len()).sum::<usize>();
    until("all messages", async || count() == 1000).await;
    let batches = echo.raft.lock();
    assert!(batches.iter().all(|(from, _)| *from == NodeId(2)));
    let numbers = batches.iter().flat_map(|(_, batch)| &batch.messages).map(|(group, message)| {
        let number = u32::from_le_bytes(message[..4].try_into().expect("number"));
        assert_eq!(group.0, number % 4);
        number
    });
    assert!(numbers.eq(0..1000));
}
