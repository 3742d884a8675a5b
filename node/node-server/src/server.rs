//! A running node: started in the order in which its parts need each other, stopped in the other.

use crate::admin;
use crate::config::NodeConfig;
use crate::dispatch::Dispatch;
use crate::error::{ConfigError, StartError};
use crate::garbage;
use crate::heartbeat::{LastHeard, beat};
use crate::incarnation::{self, MetaFolder};
use crate::join::Door;
use crate::leases::expire;
use crate::liveness::{TICK, Verdict};
use crate::mandate::Mandate;
use crate::map_feed::feed;
use crate::map_note;
use crate::membership;
use crate::metrics;
use crate::move_host::Mover;
use crate::moves::drive;
use crate::peers::Peers;
use crate::repair::Host;
use crate::status::Status;
use crate::trash::{Host as TrashHost, TrashKeeper};
use chunk_server::{
    AuditWorker, ChunkService, CollectWorker, CompactionConfig, LeftoverWorker, PeerSource, PullWorker, RepairWorker,
    ServiceConfig, SweepWorker, Unmade, compact_disks, rewrite_chunks, scrub_disks,
};
use meta_server::{MetaConfig, MetaServer, QuicNetwork};
use parking_lot::Mutex;
use proto::control::ControlCommand;
use proto::log::LogCommand;
use proto::node::OrphanStatus;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use transport::{Endpoint, Role, TransportConfig};
use types::{DiskId, FeatureLevel, GroupId, Incarnation, NodeId};

/// How often histograms are worked off.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often it is looked whether a disk that is fenced for want of room has some again.
const ROOM_LOOK: Duration = Duration::from_secs(5);
/// How long the recording of a node's state may take before it is tried again.
const RECORD_MAX: Duration = Duration::from_secs(2);

/// A node that runs.
pub struct NodeServer {
    node: NodeId,
    incarnation: Incarnation,
    listen: SocketAddr,
    admin: SocketAddr,
    endpoint: Endpoint,
    meta: Arc<MetaServer>,
    chunks: Arc<ChunkService>,
    tasks: Mutex<JoinSet<()>>,
    peers: Peers,
    _folder: MetaFolder,
}

impl NodeServer {
    /// Recovers what lies on the disks, and serves. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then, though the start was counted.
    pub async fn start(config: NodeConfig) -> Result<NodeServer, StartError> {
        config.validate()?;
        let (_, role) = config.credentials.identity()?;
        if role != Role::Node(config.node) {
            return Err(ConfigError::Identity(config.node).into());
        }
        metrics::install();
        // Before anything is opened, so that what is in the way shows without a trace on the disks.
        let pages = admin::bind(config.admin).await;
        let pages = pages.map_err(|source| StartError::Admin { addr: config.admin, source })?;
        let admin = pages.local_addr().map_err(|source| StartError::Admin { addr: config.admin, source })?;
        let endpoint = Endpoint::bind(config.listen, &config.credentials, transport_config(&config))
            .map_err(|source| StartError::Bind { addr: config.listen, source })?;
        // Newer than the cluster file, if there is one: that says who there was at the beginning.
        let last = map_note::read(&config.meta).filter(|noted| noted.version > config.map.version);
        let peers = Peers::new(config.node, endpoint.clone(), last.unwrap_or_else(|| config.map.clone()));
        let Services { folder, chunks, meta } = match Services::open(&config, &endpoint, &peers).await {
            Ok(services) => services,
            Err(error) => {
                endpoint.close().await;
                return Err(error);
            }
        };
        let last_heard = Arc::new(LastHeard::default());
        let orphans: Arc<Mutex<OrphanStatus>> = Arc::default();
        let unmade: Arc<Mutex<Unmade>> = Arc::default();
        let status = Arc::new(Status {
            node: config.node,
            incarnation: folder.incarnation,
            meta: meta.clone(),
            chunks: chunks.clone(),
            peers: peers.clone(),
            last_heard: last_heard.clone(),
            orphans: orphans.clone(),
            unmade: unmade.clone(),
        });
        let liveness = Mutex::default();
        let (meta_, chunks_) = (meta.clone(), chunks.clone());
        let mandate = Mandate::default();
        let door = Door { meta: meta.clone(), peers: peers.clone(), last_heard: last_heard.clone() };
        let (status_, level) = (status.clone(), config.level);
        let dispatch = Dispatch { meta: meta_, chunks: chunks_, status: status_, liveness, mandate, door, level };
        let dispatch = Arc::new(dispatch);
        // A node that was just started has no lease yet.
        chunks.lease(0, Instant::now());
        endpoint.serve(dispatch.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(feed(meta.clone(), chunks.clone(), peers.clone(), (config.map, config.meta), level));
        tasks.spawn(beat(peers.clone(), folder.incarnation, dispatch.clone(), last_heard.clone()));
        tasks.spawn(drive(dispatch.clone(), peers.clone()));
        let mover = Mover { dispatch: dispatch.clone(), peers: peers.clone(), last_heard: last_heard.clone() };
        let mover = Arc::new(mover);
        tasks.spawn(PullWorker::new(mover.clone(), chunks.clone(), config.node).run());
        tasks.spawn(LeftoverWorker::new(mover, chunks.clone(), config.node).run());
        tasks.spawn(expire(dispatch.clone(), config.garbage.session_lease));
        tasks.spawn(membership::keep(meta.clone(), peers.clone(), last_heard, level));
        tasks.spawn(judge(dispatch, peers.clone()));
        let trash = TrashHost { meta: meta.clone(), peers: peers.clone() };
        tasks.spawn(TrashKeeper::new(trash).run());
        let collector = Arc::new(garbage::Host { meta: meta.clone(), chunks: chunks.clone(), peers: peers.clone() });
        tasks.spawn(CollectWorker::new(collector.clone(), config.garbage.round).run());
        tasks.spawn(SweepWorker::new(collector, config.garbage.sweep, orphans).run());
        let host = Arc::new(Host { meta: meta.clone(), chunks: chunks.clone(), peers: peers.clone() });
        tasks.spawn(RepairWorker::new(host.clone()).run());
        tasks.spawn(AuditWorker::new(host, config.store.audit, unmade).run());
        tasks.spawn(compact_disks(chunks.clone()));
        tasks.spawn(scrub_disks(chunks.clone()));
        tasks.spawn(rewrite_chunks(chunks.clone()));
        tasks.spawn(admin::serve(pages, status));
        tasks.spawn(keep_metrics());
        let listen = endpoint.local_addr();
        tracing::info!(node = %config.node, incarnation = %folder.incarnation, %listen, %admin, "node serves");
        Ok(NodeServer {
            node: config.node,
            incarnation: folder.incarnation,
            listen,
            admin,
            endpoint,
            meta,
            chunks,
            tasks: Mutex::new(tasks),
            peers,
            _folder: folder,
        })
    }

    /// Which node this is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// How often it was started.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The UDP address it listens at.
    #[must_use]
    pub fn listen_addr(&self) -> SocketAddr {
        self.listen
    }

    /// The TCP address of its admin pages.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Returns once the cluster has told this node that it was removed, else never: nobody listens to it any more. Cancel safe.
    pub async fn removed(&self) {
        self.peers.removed().await;
    }

    /// Returns once a disk that is fenced for want of room has room again, and has had for a while; else never. The disk is taken back when the
    /// node is started anew: what is on it is found out as after a crash, and not believed to be what it was. Cancel safe.
    pub async fn room_again(&self) -> DiskId {
        let mut looks = interval(ROOM_LOOK);
        let mut before = None;
        loop {
            looks.tick().await;
            let disk = self.chunks.has_room_again();
            match disk {
                Some(disk) if before == Some(disk) => return disk,
                _ => before = disk,
            }
        }
    }

    /// Stops serving, finishes what was begun on the disks, and flushes it. Calls in progress are lost; nothing acknowledged is.
    pub async fn stop(self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        self.meta.hand_over().await;
        self.endpoint.close().await;
        self.meta.stop().await;
        self.chunks.close().await;
        tracing::info!(node = %self.node, "node stopped");
    }
}

/// Whether this program can do what the cluster relies on, as far as the map says that was noted last. What the replica of the control
/// group says is looked at where that is opened.
fn understands(peers: &Peers, program: FeatureLevel) -> Result<(), StartError> {
    let cluster = peers.map().level;
    if cluster > program { Err(StartError::TooOld { cluster, program }) } else { Ok(()) }
}

/// What is opened on the disks.
struct Services {
    folder: MetaFolder,
    chunks: Arc<ChunkService>,
    meta: Arc<MetaServer>,
}

impl Services {
    async fn open(config: &NodeConfig, endpoint: &Endpoint, peers: &Peers) -> Result<Services, StartError> {
        understands(peers, config.level)?;
        let folder = incarnation::begin(&config.meta, config.create)?;
        let chunks = ChunkService::open(service_config(config)?, Arc::new(PeerSource(peers.clone()))).await?;
        let network = Arc::new(QuicNetwork::new(endpoint.clone(), &peers.map()));
        match MetaServer::start(&meta_config(config, folder.incarnation), network) {
            Ok(meta) => Ok(Services { folder, chunks, meta }),
            Err(error) => {
                chunks.close().await;
                Err(error.into())
            }
        }
    }
}

fn transport_config(config: &NodeConfig) -> TransportConfig {
    let network = u32::try_from(config.memory.network_bytes).unwrap_or(u32::MAX);
    TransportConfig { body_bytes_max: network, ..TransportConfig::default() }
}

fn service_config(config: &NodeConfig) -> Result<ServiceConfig, ConfigError> {
    let mut store = chunk_server::StoreConfig::new(config.node, config.disks.clone());
    store.create = config.create;
    store.gone.clone_from(&config.gone);
    store.disk_ids = config.entry()?.disks.iter().map(|disk| disk.id).collect();
    store.segment_bytes = config.store.segment_bytes;
    store.reserve_bytes = config.store.reserve_bytes;
    store.direct_io = config.store.direct_io;
    store.queue_bytes_max = config.memory.disk_queue_bytes;
    store.index_cache_bytes = config.memory.index_cache_bytes;
    let mut service = ServiceConfig::new(store);
    service.body_bytes_max = config.memory.network_bytes;
    service.read_bytes_max = config.memory.read_bytes;
    service.scrub_days = config.store.scrub_days;
    service.fullness = config.store.fullness();
    service.compaction = CompactionConfig {
        live_percent_max: config.store.compact_percent,
        rate_bytes: config.store.compact_rate_bytes,
    };
    Ok(service)
}

fn meta_config(config: &NodeConfig, incarnation: Incarnation) -> MetaConfig {
    MetaConfig {
        node: config.node,
        dir: config.meta.clone(),
        map: config.map.clone(),
        incarnation,
        seed: rand::random(),
        cache_bytes: config.memory.state_cache_bytes,
        log_window_entries: config.raft.log_entries,
        log_window_bytes: config.raft.log_bytes,
        lease_reads: config.raft.lease_reads,
        hash_entries: MetaConfig::HASH_ENTRIES,
        level: config.level,
    }
}

/// Looks at the heartbeats for ever, and has the control group record who is up and who is down, if this node leads it.
async fn judge(dispatch: Arc<Dispatch>, peers: Peers) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The newest map: a verdict that is recorded must not be given again.
        let map = dispatch.meta.map();
        let verdicts = dispatch.tick(map.as_ref().unwrap_or(&peers.map()));
        if map.is_some() {
            for verdict in verdicts {
                record(&dispatch, verdict).await;
            }
        }
    }
}

async fn record(dispatch: &Dispatch, verdict: Verdict) {
    let Verdict { node, incarnation, state } = verdict;
    tracing::info!(%node, %incarnation, ?state, "state of a node");
    let command = LogCommand::Control(ControlCommand::SetNodeState { node, incarnation, state });
    match timeout(RECORD_MAX, dispatch.meta.propose(GroupId::CONTROL, command)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%node, %error, "not recorded yet"),
        Err(_) => tracing::debug!(%node, "not recorded in time"),
    }
}

async fn keep_metrics() {
    let mut ticks = interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics::upkeep();
    }
}
