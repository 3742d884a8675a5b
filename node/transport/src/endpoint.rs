//! A process's place on the network: one UDP socket for all its connections, in both directions.

use crate::config::{SOCKET_BUFFER_BYTES, TransportConfig};
use crate::credentials::{Credentials, Decoded};
use crate::error::BindError;
use crate::identity::Role;
use crate::link::Dialer;
use crate::peer::Peer;
use crate::server::{Handler, Server};
use crate::tls;
use parking_lot::Mutex;
use proto::frame::{BODY_BYTES_MAX, ENVELOPE_BYTES_MAX};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use types::{ClusterId, NodeId};

/// How long [`Endpoint::close`] waits for peers to take note.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// Calls nodes and, if it is a node itself, answers calls. Cheap to clone. Lives until [`Endpoint::close`] if it serves.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    dialer: Arc<Dialer>,
    role: Role,
    local_addr: SocketAddr,
    peers: Mutex<HashMap<NodeId, Peer>>,
    serving: AtomicBool,
}

impl Endpoint {
    /// A node's endpoint: accepts connections at `addr` once it is told to [`Endpoint::serve`], and calls others from there.
    ///
    /// Must be called inside a tokio runtime, which then carries all connections.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(addr: SocketAddr, credentials: &Credentials, config: TransportConfig) -> Result<Endpoint, BindError> {
        let own = credentials.decode()?;
        if !matches!(own.role, Role::Node(_)) {
            return Err(BindError::NotANode(own.role));
        }
        let server = tls::server(&own, &config)?;
        Self::new(socket(addr)?, own, Some(server), config)
    }

    /// An endpoint that only calls. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn client(credentials: &Credentials, config: TransportConfig) -> Result<Endpoint, BindError> {
        let own = credentials.decode()?;
        let socket =
            socket((Ipv6Addr::UNSPECIFIED, 0).into()).or_else(|_| socket((Ipv4Addr::UNSPECIFIED, 0).into()))?;
        Self::new(socket, own, None, config)
    }

    fn new(
        socket: UdpSocket,
        own: Decoded,
        server: Option<quinn::ServerConfig>,
        config: TransportConfig,
    ) -> Result<Endpoint, BindError> {
        validate(&config)?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let local_addr = socket.local_addr()?;
        let endpoint = quinn::Endpoint::new(tls::endpoint(&own), server, socket, Arc::new(quinn::TokioRuntime))?;
        let tls = tls::client(&own, &config)?;
        let dialer = Arc::new(Dialer { endpoint, tls, cluster: own.cluster, config, runtime });
        let (peers, serving) = (Mutex::default(), AtomicBool::new(false));
        Ok(Endpoint(Arc::new(Inner { dialer, role: own.role, local_addr, peers, serving })))
    }

    /// The address it is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr
    }

    /// The cluster it belongs to.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.0.dialer.cluster
    }

    /// What its certificate entitles it to be.
    #[must_use]
    pub fn role(&self) -> &Role {
        &self.0.role
    }

    /// Begins to accept connections. Only the first call has an effect, and only on an endpoint made by [`Endpoint::bind`].
    pub fn serve(&self, handler: Arc<dyn Handler>) {
        if !self.0.serving.swap(true, Ordering::Relaxed) {
            let Dialer { endpoint, cluster, config, runtime, .. } = &*self.0.dialer;
            runtime.spawn(Server::new(endpoint.clone(), *cluster, config.clone(), handler).run());
        }
    }

    /// A node at `addr` (`host:port`), which is connected to when it is first called. The same node at the same address is the
    /// same peer; another address replaces it.
    #[must_use]
    pub fn peer(&self, node: NodeId, addr: &str) -> Peer {
        let mut peers = self.0.peers.lock();
        match peers.get(&node) {
            Some(peer) if peer.addr() == addr => peer.clone(),
            _ => {
                let peer = Peer::new(&self.0.dialer, node, addr);
                peers.insert(node, peer.clone());
                peer
            }
        }
    }

    /// Closes all connections, telling the peers, and stops to accept new ones. Calls in progress are lost.
    pub async fn close(&self) {
        let endpoint = &self.0.dialer.endpoint;
        endpoint.close(0u32.into(), b"closed");
        let _ = tokio::time::timeout(CLOSE_WAIT, endpoint.wait_idle()).await;
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Inner { role, local_addr, .. } = &*self.0;
        f.debug_struct("Endpoint").field("role", role).field("local_addr", local_addr).finish_non_exhaustive()
    }
}

fn validate(config: &TransportConfig) -> Result<(), BindError> {
    let pulse = crate::config::PULSE;
    let rules = [
        ("connection_calls_max", (1..=65_536).contains(&config.connection_calls_max)),
        ("calls_max", config.calls_max >= 1),
        ("body_bytes_max", config.body_bytes_max as usize >= BODY_BYTES_MAX),
        ("envelope_bytes_max", config.envelope_bytes_max as usize >= ENVELOPE_BYTES_MAX),
        ("suspect_after", config.suspect_after >= config.keep_alive + 2 * pulse),
        ("silence_max", config.silence_max >= config.suspect_after),
    ];
    match rules.iter().find(|(_, holds)| !holds) {
        Some((setting, _)) => Err(BindError::Config(setting)),
        None => Ok(()),
    }
}

fn socket(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    let socket = UdpSocket::from(socket);
    let reference = SockRef::from(&socket);
    reference.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    reference.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    // The kernel silently gives less than it is asked for.
    let given = reference.recv_buffer_size()?.min(reference.send_buffer_size()?);
    if given < SOCKET_BUFFER_BYTES {
        tracing::warn!(
            given,
            wanted = SOCKET_BUFFER_BYTES,
            "small socket buffers lose packets; raise net.core.*mem_max"
        );
    }
    Ok(socket)
}
