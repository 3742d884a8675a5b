//! Settings of a client.

use crate::peer::ChunkPeer;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use transport::Endpoint;
use types::NodeId;

/// What a client needs to know. [`ClientConfig::new`] fills in the defaults.
#[derive(Clone)]
pub struct ClientConfig {
    /// Calls go out from here; its certificate says who the client is.
    pub endpoint: Endpoint,
    /// Some nodes and their addresses (`host:port`), to find the others by.
    pub nodes: Vec<(NodeId, String)>,
    /// What kind of process this is, for `sago cluster status`.
    pub kind: String,
    /// Bytes of chunks being written, counted once however many copies are under way. At least one chunk. QUIC's send buffers
    /// share these bytes, they do not add to them.
    pub write_bytes_max: u32,
    /// Bytes of chunks being read, until they are handed to the caller. At least one chunk. A read that is hedged may for a
    /// while hold as much again.
    pub read_bytes_max: u32,
    /// How long a call may take in all, with its retries.
    pub deadline: Duration,
    /// How long a read waits for a replica before it asks another one as well.
    pub hedge_after: Duration,
    /// How far a member may lag behind its peers before a write goes on without it.
    pub write_lag: Duration,
    /// How often the placement map is looked at.
    pub map_refresh: Duration,
    /// How often the session's lease is renewed.
    pub session_renew: Duration,
    /// How long a session that could not be renewed is used. Not more than the nodes' own lease: they may end it after that.
    pub session_lease: Duration,
    /// The node this process is part of, and its disks, which then are asked without the network.
    pub own: Option<(NodeId, Arc<dyn ChunkPeer>)>,
}

impl ClientConfig {
    /// The defaults.
    #[must_use]
    pub fn new(endpoint: Endpoint, nodes: Vec<(NodeId, String)>, kind: &str) -> Self {
        ClientConfig {
            endpoint,
            nodes,
            kind: kind.to_owned(),
            write_bytes_max: 64 << 20,
            read_bytes_max: 64 << 20,
            deadline: Duration::from_secs(10),
            hedge_after: Duration::from_millis(200),
            write_lag: Duration::from_secs(1),
            map_refresh: Duration::from_secs(1),
            session_renew: Duration::from_secs(5),
            session_lease: Duration::from_secs(types::SESSION_LEASE_SECONDS),
            own: None,
        }
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("nodes", &self.nodes)
            .field("kind", &self.kind)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
