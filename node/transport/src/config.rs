//! Settings of the transport. The defaults are the measured ones; tests shorten the times.

use std::time::Duration;

/// Upper bound of path MTU discovery. quinn sends batches of ten datagrams, which together must fit in 64 KiB: 6,500 just
/// does, more is refused by the kernel, which looks like a black hole and falls back to 1,200.
pub(crate) const MTU_UPPER_BOUND: u16 = 6500;
/// Largest datagram accepted.
pub(crate) const UDP_PAYLOAD_BYTES_MAX: u16 = 65_527;
/// Kernel buffers of the socket. The usual 208 KiB drop packets on loopback at once.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Unread bytes of one stream: several chunks, so that a sender never waits for one round trip a chunk.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 16 << 20;
/// Unread bytes of one connection; bounds what a connection can make this process hold.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// First congestion window; no ramp-up on a local network.
pub(crate) const INITIAL_WINDOW_BYTES: u64 = 1 << 20;
/// First guess of the round trip. A lost first packet is sent again after three of them.
pub(crate) const INITIAL_RTT: Duration = Duration::from_millis(50);
/// Packets a peer may take before it acknowledges them. The usual two cost more packets than they save here: most are answered
/// by a reply, which acknowledges too.
pub(crate) const PACKETS_PER_ACK: u32 = 10;
/// How often a connection is looked at for signs of life.
pub(crate) const PULSE: Duration = Duration::from_millis(100);
/// Pieces a body is handed to QUIC in. Until the last one is taken over the peer cannot have executed the call.
pub(crate) const BODY_PIECE_BYTES: usize = 256 << 10;
/// One-way streams of one connection; one is in use, another may be taking over.
pub(crate) const RAFT_STREAMS_MAX: u32 = 4;

/// Limits and times of an endpoint.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Calls of one connection that may be in progress; also its stream limit. 1..=65,536.
    pub connection_calls_max: u32,
    /// Calls in progress in total; more are answered Busy.
    pub calls_max: u32,
    /// Connections accepted.
    pub connections_max: usize,
    /// Bytes of request bodies held in total; requests wait `budget_wait` for room, then are answered Busy.
    pub body_bytes_max: u32,
    /// Bytes of request envelopes held in total, so that small calls do not wait for bulk ones.
    pub envelope_bytes_max: u32,
    /// How long a request waits for room in the two budgets.
    pub budget_wait: Duration,
    /// A request must have arrived in full after this time.
    pub request_read_timeout: Duration,
    /// A reply must have been taken over by the peer after this time.
    pub reply_write_timeout: Duration,
    /// An attempt to connect gives up after this time.
    pub connect_timeout: Duration,
    /// Pause after a failed attempt, doubled each time up to `connect_backoff_max`; calls fail at once meanwhile.
    pub connect_backoff_min: Duration,
    /// Longest pause between attempts. Short, so that a peer that came back is found soon.
    pub connect_backoff_max: Duration,
    /// Silence after which a packet is sent that must be answered.
    pub keep_alive: Duration,
    /// Silence after which a peer counts as down ([`crate::PeerHealth::Down`]); calls on it go on. Above `keep_alive`.
    pub suspect_after: Duration,
    /// Silence after which the connection is given up and its calls are lost. Counted in time this process itself was running.
    pub silence_max: Duration,
    /// Silence after which QUIC itself gives a connection up; a backstop.
    pub idle_timeout: Duration,
    /// Raft batches waiting for one peer; more are dropped, Raft sends again.
    pub raft_queue_batches_max: usize,
    /// Bytes of them.
    pub raft_queue_bytes_max: usize,
}

impl Default for TransportConfig {
    fn default() -> Self {
        TransportConfig {
            connection_calls_max: 4096,
            calls_max: 8192,
            connections_max: 1024,
            body_bytes_max: 128 << 20,
            envelope_bytes_max: 64 << 20,
            budget_wait: Duration::from_millis(500),
            request_read_timeout: Duration::from_secs(10),
            reply_write_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(1),
            connect_backoff_min: Duration::from_millis(50),
            connect_backoff_max: Duration::from_millis(400),
            keep_alive: Duration::from_millis(300),
            suspect_after: Duration::from_millis(700),
            silence_max: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(10),
            raft_queue_batches_max: 1024,
            raft_queue_bytes_max: 16 << 20,
        }
    }
}
