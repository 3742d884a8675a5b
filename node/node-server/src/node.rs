//! A running node.

use crate::admin;
use crate::config::NodeConfig;
use crate::error::StartError;
use crate::handler::NodeHandler;
use crate::liveness::{self, Liveness};
use crate::map::{self, KnownMap};
use crate::peers::{Peers, SharedPeers};
use crate::{incarnation, repair};
use chunk_server::{ChunkService, PeerSource};
use meta_server::{MetaConfig, MetaServer, QuicNetwork};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use transport::{Endpoint, Role};

/// A node of a cluster. [`NodeServer::stop`] ends it cleanly; a killed process comes back just as well.
pub struct NodeServer {
    endpoint: Endpoint,
    admin_addr: SocketAddr,
    meta: Arc<MetaServer>,
    chunks: Arc<ChunkService>,
    loops: JoinSet<()>,
}

impl NodeServer {
    /// Recovers what is on the disks and begins to serve. It is up when this returns; its groups may take seconds to elect leaders.
    ///
    /// # Errors
    /// [`StartError`] says what to do.
    pub async fn start(config: NodeConfig) -> Result<NodeServer, StartError> {
        check_identity(&config)?;
        admin::install_recorder();
        let incarnation = incarnation::next(&config.meta_dir)?;
        let endpoint = Endpoint::bind(config.listen, &config.credentials, config.transport.clone())?;
        let listener = bind_admin(config.admin).await?;
        let admin_addr = listener.local_addr().unwrap_or(config.admin);
        let peers = Arc::new(Peers::new(endpoint.clone(), &config.map));
        let source = Arc::new(PeerSource(SharedPeers(peers.clone())));
        let chunks = ChunkService::open(config.chunks.clone(), source).await?;
        let meta_config = MetaConfig {
            node: config.node,
            dir: config.meta_dir.clone(),
            map: config.map.clone(),
            incarnation,
            seed: seed(&config, incarnation.0),
            cache_bytes: config.meta_cache_bytes,
            log_window_entries: config.log_window_entries,
            log_window_bytes: config.log_window_bytes,
        };
        let network = Arc::new(QuicNetwork::new(endpoint.clone(), &config.map));
        let meta = MetaServer::start(&meta_config, network)?;
        let known = Arc::new(KnownMap::new(config.map.clone()));
        let liveness = Arc::new(Liveness::new(config.node, incarnation));
        let handler = Arc::new(NodeHandler {
            node: config.node,
            incarnation,
            meta: meta.clone(),
            chunks: chunks.clone(),
            liveness: liveness.clone(),
        });
        endpoint.serve(handler.clone());
        let mut loops = JoinSet::new();
        loops.spawn(map::keep_fresh(known.clone(), meta.clone(), chunks.clone(), peers.clone()));
        loops.spawn(liveness::run(liveness, meta.clone(), known.clone(), peers.clone()));
        loops.spawn(repair::run(config.node, meta.clone(), known.clone(), peers));
        loops.spawn(admin::serve(listener, handler, known));
        tracing::info!(node = %config.node, %incarnation, addr = %endpoint.local_addr(), "node serves");
        Ok(NodeServer { endpoint, admin_addr, meta, chunks, loops })
    }

    /// Where it listens for QUIC.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.endpoint.local_addr()
    }

    /// Where it listens for HTTP.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Stops serving, writes and flushes what is on its way, and closes the disks.
    pub async fn stop(mut self) {
        self.loops.shutdown().await;
        self.endpoint.close().await;
        self.meta.stop().await;
        self.chunks.close().await;
    }
}

fn check_identity(config: &NodeConfig) -> Result<(), StartError> {
    let (_, role) = config.credentials.identity()?;
    if role != Role::Node(config.node) {
        return Err(StartError::Certificate(config.node));
    }
    if config.map.node(config.node).is_none() {
        return Err(StartError::NotInMap(config.node));
    }
    Ok(())
}

async fn bind_admin(addr: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(addr).await.map_err(|source| StartError::Admin { addr, source })
}

/// Different on every node and at every start, so that two candidates do not stay in step.
fn seed(config: &NodeConfig, incarnation: u64) -> u64 {
    config.node.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ incarnation.rotate_left(32)
}
