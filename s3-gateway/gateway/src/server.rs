//! The listener: connections are counted, timed and, at the end, let go in good order.

use crate::admin;
use crate::config::GatewayConfig;
use crate::lcp::{Books, LcpParts};
use crate::metrics::{self, Connection};
use crate::service::{Service, plain};
use crate::stall::Stalling;
use futures::FutureExt as _;
use gateway_core::{Cluster, ConfigError, Store};
use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// A request has some twenty headers; SDKs with much user metadata send more.
const HEADERS_MAX: usize = 128;

/// What hyper buffers of a connection at most: large enough that a body comes in few pieces.
const BUFFER_BYTES_MAX: usize = 256 << 10;

/// After a failure to accept, for example because files have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long the last records may take, and a worker to leave its title to others.
const WORK_END_MAX: Duration = Duration::from_secs(10);

/// How often what has gathered in histograms is worked off.
const UPKEEP: Duration = Duration::from_secs(5);

/// Answers "ok"; `-` is no bucket's name.
const HEALTH: &str = "/-/health";

/// The gateway cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A setting.
    #[error("invalid setting: {0}")]
    Config(#[from] ConfigError),
    /// The address.
    #[error("cannot listen on {addr}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A gateway that listens and does not answer yet.
pub struct Gateway {
    listener: TcpListener,
    admin: Option<(TcpListener, Store)>,
    local_addr: SocketAddr,
    service: Arc<Service>,
    config: GatewayConfig,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining,
    Over,
}

impl Gateway {
    /// Listens.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub async fn bind(cluster: Arc<dyn Cluster>, config: GatewayConfig) -> Result<Self, GatewayError> {
        Gateway::bind_with(cluster, config, None).await
    }

    /// Listens, and lends books if it has what that needs.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub async fn bind_with(
        cluster: Arc<dyn Cluster>,
        config: GatewayConfig,
        lcp: Option<LcpParts>,
    ) -> Result<Self, GatewayError> {
        config.validate()?;
        let addr = config.listen;
        let failed = |source| GatewayError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let mut store = Store::new(cluster, config.store.clone())?;
        if let Some(parts) = &lcp {
            store = store.with_keys(parts.keys.clone());
        }
        let books = lcp.map(|parts| Books::new(&store, &config, parts)).transpose()?;
        let admin = match config.admin {
            Some(addr) => {
                metrics::install();
                let bound = TcpListener::bind(addr).await.map_err(|source| GatewayError::Listen { addr, source })?;
                Some((bound, store.clone()))
            }
            None => None,
        };
        let service = Arc::new(Service::new(&store, config.clone(), books));
        Ok(Gateway { listener, admin, local_addr, service, config })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` is ready, then lets requests in progress finish within `GatewayConfig::drain`.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let service = self.service.clone();
        let pages = self.admin.take().map(|(listener, store)| {
            AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::join!(admin::serve(listener, store), upkeep(), service.count());
            }))
        });
        let (phase, phases) = watch::channel(Phase::Serving);
        let tasks = TaskTracker::new();
        let (over, service) = (CancellationToken::new(), self.service.clone());
        let stop = over.clone();
        let work = tokio::spawn(async move { service.work(stop.cancelled_owned().shared()).await });
        tokio::select! {
            () = shutdown => {}
            () = self.accept(&tasks, &phases) => {}
        }
        drop(self.listener);
        tasks.close();
        phase.send_replace(Phase::Draining);
        if tokio::time::timeout(self.config.drain, tasks.wait()).await.is_err() {
            phase.send_replace(Phase::Over);
            tasks.wait().await;
        }
        // Only now has every download ended that is to be recorded.
        over.cancel();
        if tokio::time::timeout(WORK_END_MAX, work).await.is_err() {
            tracing::warn!("what was under way beside requests was not ended in time");
        }
        drop(pages);
    }

    async fn accept(&self, tasks: &TaskTracker, phases: &watch::Receiver<Phase>) {
        let room = Arc::new(Semaphore::new(self.config.connections_max));
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (service, phases) = (self.service.clone(), phases.clone());
            let stall = self.config.stall_timeout;
            let head = self.config.head_timeout;
            tasks.spawn(async move {
                let _counted = (Connection::open(), permit);
                if let Err(error) = connection((stream, peer), service, phases, head, stall).await {
                    tracing::debug!(%error, "connection ended");
                }
            });
        }
    }
}

async fn upkeep() {
    loop {
        tokio::time::sleep(UPKEEP).await;
        metrics::upkeep();
    }
}

async fn connection(
    (stream, peer): (TcpStream, SocketAddr),
    service: Arc<Service>,
    mut phases: watch::Receiver<Phase>,
    head: Duration,
    stall: Duration,
) -> Result<(), hyper::Error> {
    // Without it an answer's last bytes wait for the client's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let working = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Stalling::new(stream, stall, working.clone()));
    let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (service, working) = (service.clone(), working.clone());
        async move {
            if request.uri().path() == HEALTH {
                return Ok(plain(StatusCode::OK, "ok\n"));
            }
            working.store(true, Ordering::Relaxed);
            let answer = service.call(request, peer).await;
            working.store(false, Ordering::Relaxed);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(io, answer);
    let mut connection = std::pin::pin!(connection);
    loop {
        let ended = tokio::select! {
            ended = connection.as_mut() => return ended,
            ended = phases.changed() => ended,
        };
        match ended.map(|()| *phases.borrow_and_update()) {
            Ok(Phase::Serving) => {}
            Ok(Phase::Draining) => connection.as_mut().graceful_shutdown(),
            Ok(Phase::Over) | Err(_) => return Ok(()),
        }
    }
}

/// Listens and serves until `shutdown` is ready.
///
/// # Errors
/// [`GatewayError`]; once it listens there is none.
pub async fn serve(
    cluster: Arc<dyn Cluster>,
    config: GatewayConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), GatewayError> {
    Gateway::bind(cluster, config).await?.run(shutdown).await;
    Ok(())
}
