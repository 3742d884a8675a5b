//! One outgoing connection to one node: made when it is first needed, watched, made anew when it was lost.
//!
//! ```text
//! Idle --call--> Connecting --ok--> Up --closed, or silent for `silence_max`--> Idle
//!   ^                |
//!   +---- failed ----+   (calls fail at once until the back-off has passed)
//! ```

use crate::config::{PULSE, TransportConfig};
use crate::error::TransportError;
use crate::identity::{self, IdentityError, PeerIdentity, Role};
use parking_lot::Mutex;
use quinn::Connection;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use types::{ClusterId, NodeId};

/// What all links of an endpoint share.
pub(crate) struct Dialer {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) tls: quinn::ClientConfig,
    pub(crate) cluster: ClusterId,
    pub(crate) config: TransportConfig,
    pub(crate) runtime: tokio::runtime::Handle,
}

/// What is known of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkHealth {
    Untried,
    Up,
    Down,
}

pub(crate) struct Link {
    dialer: Arc<Dialer>,
    node: NodeId,
    addr: String,
    state: Mutex<State>,
}

enum State {
    /// `failures` attempts in a row have failed; the next one may be made at `retry_at`.
    Idle {
        failures: u32,
        retry_at: Option<Instant>,
    },
    /// The sender of `over` is dropped when the attempt is over. `again` if the link has failed or was lost before.
    Connecting {
        over: watch::Receiver<()>,
        again: bool,
    },
    Up(Live),
}

#[derive(Clone)]
struct Live {
    connection: Connection,
    /// Pulses since anything was heard.
    silent: Arc<AtomicU32>,
}

/// An attempt to connect failed.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("address")]
    Resolve(#[source] io::Error),
    #[error("the address names no host")]
    NoAddress,
    #[error("connect")]
    Connect(#[from] quinn::ConnectError),
    #[error("connection")]
    Connection(#[from] quinn::ConnectionError),
    #[error("identity")]
    Identity(#[from] IdentityError),
    #[error("timed out")]
    TimedOut,
}

impl Link {
    pub(crate) fn new(dialer: Arc<Dialer>, node: NodeId, addr: String) -> Arc<Self> {
        Arc::new(Link { dialer, node, addr, state: Mutex::new(State::Idle { failures: 0, retry_at: None }) })
    }

    /// The connection, if there is one that is open and not silent.
    pub(crate) fn health(&self) -> LinkHealth {
        match &*self.state.lock() {
            State::Up(live) if live.connection.close_reason().is_some() => LinkHealth::Down,
            State::Up(live) => {
                let silence = PULSE * live.silent.load(Ordering::Relaxed);
                if silence < self.dialer.config.suspect_after { LinkHealth::Up } else { LinkHealth::Down }
            }
            State::Idle { retry_at: None, .. } | State::Connecting { again: false, .. } => LinkHealth::Untried,
            State::Idle { .. } | State::Connecting { again: true, .. } => LinkHealth::Down,
        }
    }

    /// The connection. Waits for at most one attempt to connect, and not at all while backing off after a failed one.
    pub(crate) async fn connection(self: &Arc<Self>) -> Result<Connection, TransportError> {
        let mut attempt = match self.begin() {
            Begun::Up(connection) => return Ok(connection),
            Begun::BackingOff => return Err(TransportError::NotSent),
            Begun::Connecting(attempt) => attempt,
        };
        // An error is the sender's end: the attempt is over.
        while attempt.changed().await.is_ok() {}
        match &*self.state.lock() {
            State::Up(live) => Ok(live.connection.clone()),
            _ => Err(TransportError::NotSent),
        }
    }

    fn begin(self: &Arc<Self>) -> Begun {
        let mut state = self.state.lock();
        let (failures, again) = match &*state {
            State::Up(live) if live.connection.close_reason().is_none() => {
                return Begun::Up(live.connection.clone());
            }
            State::Up(_) => (0, true),
            State::Connecting { over, .. } => return Begun::Connecting(over.clone()),
            State::Idle { retry_at: Some(at), .. } if Instant::now() < *at => return Begun::BackingOff,
            State::Idle { failures, .. } => (*failures, *failures > 0),
        };
        let (over, attempt) = watch::channel(());
        *state = State::Connecting { over: attempt.clone(), again };
        self.dialer.runtime.spawn(self.clone().attempt(failures, over));
        Begun::Connecting(attempt)
    }

    /// Dropping `over` wakes those who wait, after the state has changed.
    async fn attempt(self: Arc<Self>, failures: u32, over: watch::Sender<()>) {
        let config = &self.dialer.config;
        let made = tokio::time::timeout(config.connect_timeout, self.connect()).await;
        match made.unwrap_or(Err(ConnectError::TimedOut)) {
            Ok(connection) => {
                tracing::debug!(node = %self.node, addr = self.addr, "connected");
                let live = Live { connection, silent: Arc::new(AtomicU32::new(0)) };
                self.dialer.runtime.spawn(watch_pulse(Arc::downgrade(&self), live.clone(), config.silence_max));
                *self.state.lock() = State::Up(live);
            }
            Err(error) => {
                let error = &error as &(dyn std::error::Error + 'static);
                tracing::debug!(node = %self.node, addr = self.addr, failures, error, "not connected");
                let backoff = config.connect_backoff_min.saturating_mul(1 << failures.min(8));
                let retry_at = Some(Instant::now() + backoff.min(config.connect_backoff_max));
                *self.state.lock() = State::Idle { failures: failures + 1, retry_at };
            }
        }
        drop(over);
    }

    async fn connect(&self) -> Result<Connection, ConnectError> {
        let addrs: Vec<SocketAddr> =
            tokio::net::lookup_host(&self.addr).await.map_err(ConnectError::Resolve)?.collect();
        let mut result = Err(ConnectError::NoAddress);
        for addr in addrs {
            result = self.connect_to(addr).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn connect_to(&self, addr: SocketAddr) -> Result<Connection, ConnectError> {
        let Dialer { endpoint, tls, cluster, .. } = &*self.dialer;
        let name = identity::server_name(*cluster, self.node);
        let connection = endpoint.connect_with(tls.clone(), addr, &name)?.await?;
        // TLS has compared the name; the role must say the same.
        let PeerIdentity { role } = identity::identify(&connection, *cluster)?;
        if role != Role::Node(self.node) {
            connection.close(0u32.into(), b"wrong node");
            return Err(IdentityError::OtherPeer(role).into());
        }
        Ok(connection)
    }
}

enum Begun {
    Up(Connection),
    Connecting(watch::Receiver<()>),
    BackingOff,
}

/// Counts the pulses in which nothing was heard from the peer, and gives the connection up after `silence_max` of them.
///
/// A live peer answers keep-alives well within that. Silence is counted in pulses, not in wall time: while this process
/// itself was stopped or starved it could not have heard anything.
async fn watch_pulse(link: Weak<Link>, live: Live, silence_max: Duration) {
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = 0;
    loop {
        tokio::select! {
            _ = live.connection.closed() => return,
            _ = pulse.tick() => {}
        }
        if link.strong_count() == 0 {
            return;
        }
        let now = live.connection.stats().udp_rx.datagrams;
        if now != heard {
            heard = now;
            live.silent.store(0, Ordering::Relaxed);
            continue;
        }
        let silent = live.silent.fetch_add(1, Ordering::Relaxed) + 1;
        if PULSE * silent >= silence_max {
            tracing::debug!(remote = %live.connection.remote_address(), "silent, connection given up");
            live.connection.close(0u32.into(), b"silent");
            return;
        }
    }
}
