//! Answers chunk requests.

use crate::admission::{ByteBudget, Full, counted};
use crate::compaction_worker::CompactionConfig;
use crate::fullness::FullnessConfig;
use crate::in_flight::{Counted, InFlight};
use crate::membership::{NotPlaced, disk_of, place};
use crate::metrics::{self, StoreMetrics};
use crate::replicate::{FetchError, ReplicaSource};
use crate::rewrite_worker::Lost;
use crate::scrub_worker::Scrub;
use crate::{OpenError, StoreConfig, answers};
use ::metrics::counter;
use bytes::Bytes;
use chunk_store::{ChunkStore, PutError, ScrubState, Space};
use parking_lot::Mutex;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest, LIST_CHUNKS_MAX, STAT_CHUNKS_MAX};
use proto::node::{DiskStatus, Fullness, ScrubStatus};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, RwLock, Semaphore, watch};
use tokio::time::{Instant, timeout};
use types::{
    Blake3Root, CHUNK_BYTES_MAX, ChunkId, ChunkRef, DiskId, LEAF_BYTES, NodeId, PgEpoch, PgId, PlacementMap, Slot,
};

mod moving;

/// Sources that one `Replicate` may name.
const SOURCES_MAX: usize = 16;

/// How long a put waits for the map that its writer has and this node has not.
const MAP_WAIT: Duration = Duration::from_secs(1);
/// How long a barrier waits for older puts before it is asked for again.
const BARRIER_WAIT: Duration = Duration::from_secs(4);
/// Locks that keep a chunk from being taken off a disk while the same is put there; slots share them.
const GATES: usize = 64;

/// Settings of the service.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// The disks; names the node too.
    pub store: StoreConfig,
    /// Bytes of chunks that are being stored at once; beyond, `Busy`. At least one chunk. Default 64 MiB.
    pub body_bytes_max: usize,
    /// Bytes of chunks that are being read and sent at once; more reads wait. At least one chunk. Default 64 MiB.
    pub read_bytes_max: usize,
    /// Reads that may wait; beyond, `Busy`. Default 1024.
    pub reads_waiting_max: usize,
    /// Chunks fetched from other nodes at once; beyond, `Busy`. Default 8.
    pub replicate_max: usize,
    /// How long one source may take to give a chunk. Default 5 s.
    pub fetch_timeout: Duration,
    /// How space of deleted chunks comes back.
    pub compaction: CompactionConfig,
    /// Every chunk is looked at within this many days. 1..=60, default 14.
    pub scrub_days: u64,
    /// How full a disk may be for what.
    pub fullness: FullnessConfig,
}

impl ServiceConfig {
    /// The defaults over these disks.
    #[must_use]
    pub fn new(store: StoreConfig) -> Self {
        ServiceConfig {
            store,
            body_bytes_max: 64 << 20,
            read_bytes_max: 64 << 20,
            reads_waiting_max: 1024,
            replicate_max: 8,
            fetch_timeout: Duration::from_secs(5),
            compaction: CompactionConfig::default(),
            scrub_days: 14,
            fullness: FullnessConfig::default(),
        }
    }

    fn validate(&self) -> Result<(), OpenError> {
        let rules = [
            (self.body_bytes_max >= CHUNK_BYTES_MAX, "body_bytes_max must hold one chunk of 4 MiB"),
            (self.read_bytes_max >= CHUNK_BYTES_MAX, "read_bytes_max must hold one chunk of 4 MiB"),
            (self.body_bytes_max.max(self.read_bytes_max) <= 1 << 31, "byte budgets are at most 2 GiB"),
            (self.replicate_max > 0, "replicate_max must not be 0"),
            (self.compaction.is_valid(), "compaction takes 1 to 95 % and 1 MiB to 16 GiB a second"),
            ((1..=60).contains(&self.scrub_days), "scrub_days must be 1 to 60"),
            (self.fullness.is_valid(), "nearfull, backfillfull and full must ascend, 1 to 99 %"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(OpenError::Config { rule }),
            None => Ok(()),
        }
    }
}

/// A node is called by clients for so long after one has called.
const CLIENTS_CALL: Duration = Duration::from_millis(500);

/// The right to take changes.
#[derive(Clone, Copy)]
struct Lease {
    until: Instant,
    /// A later end, once the map of that version is known.
    next: Option<(u64, Instant)>,
}

/// The chunk service of a node. All calls may be dropped at any time: a put leaves an unreferenced replica at most.
pub struct ChunkService {
    node: NodeId,
    pub(crate) store: ChunkStore,
    source: Arc<dyn ReplicaSource>,
    map: watch::Sender<Option<Arc<PlacementMap>>>,
    map_wanted: Notify,
    in_flight: InFlight,
    /// Held for reading while a chunk of the slot is put, for writing while some are taken off a disk.
    gates: Vec<RwLock<()>>,
    /// Until when changes are taken; always, if nobody gives leases.
    lease: Mutex<Option<Lease>>,
    bodies: ByteBudget,
    reads: ByteBudget,
    replications: Semaphore,
    fetch_timeout: Duration,
    pub(crate) compaction: CompactionConfig,
    pub(crate) scrub_days: u64,
    fullness: FullnessConfig,
    /// One a disk: something was deleted there.
    pub(crate) deleted: Vec<Notify>,
    /// One a disk.
    pub(crate) scrubs: Vec<Mutex<Scrub>>,
    pub(crate) scrub_wanted: Vec<Notify>,
    /// A replica was found damaged.
    pub(crate) damaged: Notify,
    pub(crate) lost: Mutex<Lost>,
    calls: AtomicU64,
    client_called: Mutex<Option<Instant>>,
}

impl ChunkService {
    /// Opens the disks. Until [`ChunkService::set_map`] puts are answered `Busy`; reads are served at once.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(config: ServiceConfig, source: Arc<dyn ReplicaSource>) -> Result<Arc<ChunkService>, OpenError> {
        config.validate()?;
        metrics::describe();
        let store_config = config.store.clone();
        let opened =
            tokio::task::spawn_blocking(move || ChunkStore::open_observed(&store_config, Arc::new(StoreMetrics)));
        let store = match opened.await {
            Ok(store) => store?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let disks = store.disks().len();
        let kept: Vec<ScrubState> = (0..disks).map(|disk| store.scrub_state(disk).unwrap_or_default()).collect();
        Ok(Arc::new(ChunkService {
            node: config.store.node,
            store,
            source,
            map: watch::Sender::new(None),
            map_wanted: Notify::new(),
            in_flight: InFlight::default(),
            gates: (0..GATES).map(|_| RwLock::new(())).collect(),
            lease: Mutex::new(None),
            bodies: ByteBudget::new(config.body_bytes_max, 0),
            reads: ByteBudget::new(config.read_bytes_max, config.reads_waiting_max),
            replications: Semaphore::new(config.replicate_max),
            fetch_timeout: config.fetch_timeout,
            compaction: config.compaction,
            scrub_days: config.scrub_days,
            fullness: config.fullness,
            deleted: (0..disks).map(|_| Notify::new()).collect(),
            scrubs: kept.into_iter().map(|state| Mutex::new(Scrub::new(state))).collect(),
            scrub_wanted: (0..disks).map(|_| Notify::new()).collect(),
            damaged: Notify::new(),
            lost: Mutex::default(),
            calls: AtomicU64::new(0),
            client_called: Mutex::new(None),
        }))
    }

    /// Takes up a placement map; one that is older than the known one is ignored.
    pub fn set_map(&self, map: Arc<PlacementMap>) {
        self.map.send_if_modified(|known| {
            let newer = known.as_ref().is_none_or(|known| known.version < map.version);
            if newer {
                *known = Some(map);
            }
            newer
        });
        let version = self.known_map().map_or(0, |map| map.version);
        if let Some(lease) = self.lease.lock().as_mut()
            && let Some((_, until)) = lease.next.take_if(|(wanted, _)| *wanted <= version)
        {
            lease.until = lease.until.max(until);
        }
    }

    /// Takes puts, deletes and copies until then, once the map of this version is known, and unless the lease is renewed; reads are answered
    /// always. Without any call they are taken for ever.
    pub fn lease(&self, map_version: u64, until: Instant) {
        let known = self.known_map().map_or(0, |map| map.version);
        let mut lease = self.lease.lock();
        let lease = lease.get_or_insert(Lease { until, next: None });
        if known >= map_version {
            lease.until = lease.until.max(until);
        } else {
            lease.next = Some((map_version, until));
            self.map_wanted.notify_one();
        }
    }

    /// Whether changes are taken.
    #[must_use]
    pub fn has_lease(&self) -> bool {
        self.lease.lock().is_none_or(|lease| Instant::now() < lease.until)
    }

    /// Waits until a writer showed that there is a newer map than this node's. Then fetch it, call [`ChunkService::set_map`], and wait again.
    pub async fn map_wanted(&self) {
        self.map_wanted.notified().await;
    }

    /// Answers a request. `from_node` says that the peer's certificate is a node's: others are clients, and delete nothing.
    ///
    /// The body of the answer counts against the read budget until it is dropped.
    ///
    /// # Errors
    /// In the result: [`ChunkError`]; nothing was changed, except that a put or delete that failed may have been done.
    pub async fn handle(
        &self,
        from_node: bool,
        request: ChunkRequest,
        body: Bytes,
    ) -> (Result<ChunkReply, ChunkError>, Bytes) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if !from_node {
            *self.client_called.lock() = Some(Instant::now());
        }
        let (call, done) = match request {
            ChunkRequest::Put { chunk, epoch, root } => {
                ("put", self.put(chunk, epoch, root, body).await.map(|()| ChunkReply::Stored).map(bare))
            }
            ChunkRequest::Get { chunk, offset, len } => ("get", self.get(chunk, offset, len).await),
            ChunkRequest::Stat { chunks } => ("stat", self.stat(chunks).await.map(bare)),
            ChunkRequest::Replicate { chunk, epoch, sources } => {
                let done = self.replicate(chunk, epoch, sources).await;
                ("replicate", done.map(|()| ChunkReply::Stored).map(bare))
            }
            ChunkRequest::Delete { .. } | ChunkRequest::Barrier { .. } | ChunkRequest::List { .. } if !from_node => {
                ("delete", Err(ChunkError::Invalid))
            }
            ChunkRequest::Barrier { pg, epoch } => {
                ("barrier", self.barrier(pg, epoch).await.map(|()| ChunkReply::Passed).map(bare))
            }
            ChunkRequest::List { slot, after, max } => {
                ("list", self.list_slot(slot, after, max).await.map(ChunkReply::Listed).map(bare))
            }
            ChunkRequest::Delete { chunks } => {
                ("delete", self.delete(chunks).await.map(|()| ChunkReply::Deleted).map(bare))
            }
            ChunkRequest::Report { chunk } => ("report", self.report(chunk).await.map(bare)),
        };
        metrics::answered(call, done.is_ok());
        if matches!(done, Err(ChunkError::Busy)) {
            counter!(metrics::BUSY).increment(1);
        }
        match done {
            Ok((reply, body)) => (Ok(reply), body),
            Err(error) => (Err(error), Bytes::new()),
        }
    }

    /// Up to `max` chunks on the disks with ids greater than `after`, in order; `None` if a disk's index failed.
    pub async fn list(&self, after: Option<ChunkId>, max: usize) -> Option<Vec<ChunkId>> {
        match self.store.list(after, max).await {
            Ok(listed) => {
                let mut chunks: Vec<ChunkId> = listed.into_iter().map(|listed| listed.chunk).collect();
                chunks.dedup();
                Some(chunks)
            }
            Err(error) => {
                tracing::warn!(%error, "the chunks cannot be listed");
                None
            }
        }
    }

    /// The state of every disk.
    #[must_use]
    pub fn statuses(&self) -> Vec<DiskStatus> {
        let status = |info: chunk_store::DiskInfo| DiskStatus {
            fullness: self.fullness.of(Space { free: info.free, total: info.total }),
            disk: info.id,
            path: info.path.display().to_string(),
            chunks: info.chunks,
            bytes: info.bytes,
            free: info.free,
            total: info.total,
            fenced: info.fenced,
            garbage: info.garbage,
            quarantined: info.quarantined,
            scrub: ScrubStatus::default(),
        };
        let mut statuses: Vec<_> = self.store.disks().into_iter().map(status).collect();
        for (status, scrub) in statuses.iter_mut().zip(&self.scrubs) {
            status.scrub = scrub.lock().status();
        }
        statuses
    }

    /// Chunks whose replica here is damaged and of which every other member said that it has no intact one: the first `max`, and how many
    /// there are.
    #[must_use]
    pub fn lost(&self, max: usize) -> (Vec<ChunkId>, u64) {
        let lost = self.lost.lock();
        (lost.chunks.iter().take(max).copied().collect(), lost.count)
    }

    /// Asks for a look at every chunk, as fast as the disks give them. For each disk the number of passes that are over when it is done.
    pub fn scrub_now(&self) -> Vec<(DiskId, u64)> {
        let ids = self.disk_ids();
        let wanted = self.scrubs.iter().zip(&self.scrub_wanted).zip(ids);
        let ask = |((scrub, notify), id): ((&Mutex<Scrub>, &Notify), DiskId)| {
            let passes = scrub.lock().want();
            notify.notify_one();
            (id, passes)
        };
        wanted.map(ask).collect()
    }

    /// Calls that came since the start.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether clients call this node these days, and not only other nodes.
    pub(crate) fn clients_call(&self) -> bool {
        self.client_called.lock().is_some_and(|called| called.elapsed() < CLIENTS_CALL)
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// For every disk, in the order of the configuration, whether it failed and takes no more requests, and how full it is.
    #[must_use]
    pub fn conditions(&self) -> Vec<(bool, Fullness)> {
        let condition = |(disk, fenced)| (fenced, self.fullness(disk));
        self.store.fenced().into_iter().enumerate().map(condition).collect()
    }

    /// A disk that is fenced only because its file system had no room, and that would take chunks now if it were opened anew.
    #[must_use]
    pub fn has_room_again(&self) -> Option<DiskId> {
        let lacked = self.store.lacked_room();
        let back = (0..lacked.len()).find(|disk| lacked[*disk] && self.fullness(*disk) < Fullness::Full)?;
        self.disk_ids().get(back).copied()
    }

    /// The ids of the disks, in the order of the configuration, as the placement map has to list them.
    #[must_use]
    pub fn disk_ids(&self) -> Vec<DiskId> {
        self.store.disks().into_iter().map(|info| info.id).collect()
    }

    /// Finishes what was asked before and stops the disks' writers; the next start has nothing to scan.
    pub async fn close(&self) {
        self.store.close().await;
    }

    async fn put(&self, chunk: ChunkId, epoch: PgEpoch, root: Blake3Root, data: Bytes) -> Result<(), ChunkError> {
        if data.is_empty() || data.len() > CHUNK_BYTES_MAX {
            return Err(ChunkError::Invalid);
        }
        let _taken = self.bodies.try_take(data.len()).map_err(busy)?;
        let (disk, _counted) = self.admit(chunk, epoch).await?;
        if self.fullness(disk) >= Fullness::Full {
            return Err(ChunkError::NoSpace);
        }
        let _gate = self.gate(chunk.slot()).read().await;
        self.store_on(disk, chunk, root, data).await
    }

    /// How full a disk is now.
    pub(crate) fn fullness(&self, disk: usize) -> Fullness {
        self.store.space(disk).map_or(Fullness::Normal, |space| self.fullness.of(space))
    }

    pub(crate) async fn store_on(
        &self,
        disk: usize,
        chunk: ChunkId,
        root: Blake3Root,
        data: Bytes,
    ) -> Result<(), ChunkError> {
        let len = data.len() as u64;
        self.store.put(disk, chunk, root, data).await.map_err(|error| log_put(chunk, &error))?;
        counter!(metrics::PUT_BYTES).increment(len);
        Ok(())
    }

    async fn get(&self, chunk: ChunkId, offset: u32, len: u32) -> Result<(ChunkReply, Bytes), ChunkError> {
        if len == 0 || len as usize > CHUNK_BYTES_MAX {
            return Err(ChunkError::Invalid);
        }
        // The range grows to whole leaves on both sides.
        let taken = self.reads.take((len as usize + 2 * LEAF_BYTES).min(CHUNK_BYTES_MAX)).await.map_err(busy)?;
        let read = self.store.get(chunk, offset, len).await.map_err(|error| answers::get(&error));
        if matches!(read, Err(ChunkError::Corrupt)) {
            self.damaged.notify_one();
        }
        let read = read?;
        counter!(metrics::GET_BYTES).increment(read.data.len() as u64);
        let reply = ChunkReply::Data { first_leaf: read.first_leaf, chunk_len: read.chunk_len, leaves: read.leaves };
        Ok((reply, counted(read.data, taken)))
    }

    /// A reader says that what it got does not verify. Its word is not taken for it.
    async fn report(&self, chunk: ChunkId) -> Result<ChunkReply, ChunkError> {
        let _taken = self.reads.take(CHUNK_BYTES_MAX).await.map_err(busy)?;
        let damaged = self.store.recheck(chunk).await.map_err(|error| {
            tracing::warn!(%chunk, %error, "a reported replica cannot be looked at");
            ChunkError::Fenced
        })?;
        tracing::info!(%chunk, damaged, "a reader reported a replica");
        if damaged {
            self.damaged.notify_one();
        }
        Ok(ChunkReply::Checked { damaged })
    }

    async fn stat(&self, chunks: Vec<ChunkId>) -> Result<ChunkReply, ChunkError> {
        if chunks.len() > STAT_CHUNKS_MAX {
            return Err(ChunkError::Invalid);
        }
        self.store.stat(chunks).await.map(ChunkReply::Stats).map_err(|error| answers::stat(&error))
    }

    /// Deletes need no epoch: an old member drops its replicas too. What the map places here gets its tombstone on that disk, what
    /// it does not on the first one.
    async fn delete(&self, chunks: Vec<ChunkId>) -> Result<(), ChunkError> {
        if chunks.len() > STAT_CHUNKS_MAX {
            return Err(ChunkError::Invalid);
        }
        self.check_lease()?;
        let map = self.known_map();
        let mut by_disk: BTreeMap<usize, Vec<ChunkId>> = BTreeMap::new();
        for chunk in chunks {
            let disk = map.as_ref().and_then(|map| disk_of(map, self.node, chunk));
            let number = disk.and_then(|disk| self.store.disk_number(disk)).unwrap_or(0);
            by_disk.entry(number).or_default().push(chunk);
        }
        for (number, chunks) in by_disk {
            self.store.delete(number, chunks).await.map_err(|error| answers::delete(&error))?;
        }
        self.deleted.iter().for_each(Notify::notify_one);
        Ok(())
    }

    async fn replicate(&self, chunk: ChunkRef, epoch: PgEpoch, sources: Vec<NodeId>) -> Result<(), ChunkError> {
        if chunk.len == 0 || chunk.len as usize > CHUNK_BYTES_MAX || sources.len() > SOURCES_MAX {
            return Err(ChunkError::Invalid);
        }
        let (disk, _counted) = self.admit(chunk.id, epoch).await?;
        let here = {
            // What is being taken off this node is not here.
            let _gate = self.gate(chunk.id.slot()).read().await;
            self.store.stat(vec![chunk.id]).await.map_err(|error| answers::stat(&error))?
        };
        match here.first().copied().flatten() {
            Some((len, root)) if len == chunk.len && root == chunk.root => return Ok(()),
            Some(_) => return Err(ChunkError::Conflict),
            None => {}
        }
        if self.fullness(disk) >= Fullness::Backfill {
            return Err(ChunkError::BackfillFull);
        }
        let _replication = self.replications.try_acquire().map_err(|_| ChunkError::Busy)?;
        let _taken = self.bodies.try_take(chunk.len as usize).map_err(busy)?;
        let data = self.fetch(chunk, sources).await.ok_or(ChunkError::NoSource)?;
        let _gate = self.gate(chunk.id.slot()).read().await;
        // The map may have moved on while the data came.
        let disk = if self.place(chunk.id, epoch)?.0 == disk { disk } else { return Err(ChunkError::NotMember) };
        self.store_on(disk, chunk.id, chunk.root, data).await
    }

    /// The chunk from the first source that has it.
    async fn fetch(&self, chunk: ChunkRef, sources: Vec<NodeId>) -> Option<Bytes> {
        for node in sources.into_iter().filter(|node| *node != self.node) {
            match self.fetch_from(node, chunk).await {
                Ok(data) => return Some(data),
                Err(error) => tracing::info!(chunk = %chunk.id, %error, "a source did not give the chunk"),
            }
        }
        None
    }

    /// The chunk from one node, verified.
    pub(crate) async fn fetch_from(&self, node: NodeId, chunk: ChunkRef) -> Result<Bytes, FetchError> {
        match tokio::time::timeout(self.fetch_timeout, self.source.fetch(node, chunk)).await {
            Ok(Ok(data)) if is_chunk(&data, &chunk) => Ok(data),
            Ok(Ok(_)) => Err(FetchError::Malformed(node)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(FetchError::Unreachable(node)),
        }
    }

    /// Counts a put of `chunk` under `epoch` and says which disk takes it. Waits a little for a map that the writer has already.
    async fn admit(&self, chunk: ChunkId, epoch: PgEpoch) -> Result<(usize, Counted<'_>), ChunkError> {
        self.check_lease()?;
        // Before the first look, so that no change is missed.
        let mut maps = self.map.subscribe();
        match self.in_flight.admit(|| self.place(chunk, epoch)) {
            Err(ChunkError::StaleEpoch { current }) if current < epoch => {}
            done => return done,
        }
        let knows = |map: &Option<Arc<PlacementMap>>| {
            let group = map.as_ref().and_then(|map| map.group_of(chunk.slot()));
            group.is_some_and(|group| group.epoch >= epoch)
        };
        let newer = async { maps.wait_for(knows).await.is_ok() };
        let _ = timeout(MAP_WAIT, newer).await;
        self.in_flight.admit(|| self.place(chunk, epoch))
    }

    /// The number of the disk that takes a put of `chunk` under `epoch`, with the group and epoch it belongs to.
    fn place(&self, chunk: ChunkId, epoch: PgEpoch) -> Result<(usize, PgId, PgEpoch), ChunkError> {
        let map = self.known_map();
        let (disk, pg, epoch) = place(map.as_deref(), self.node, chunk, epoch).inspect_err(|why| {
            if matches!(why, NotPlaced::Behind { .. } | NotPlaced::NoMap) {
                self.map_wanted.notify_one();
            }
        })?;
        let number = self.store.disk_number(disk).ok_or_else(|| {
            tracing::error!(%chunk, %disk, "the placement map names a disk that is not open here");
            ChunkError::Fenced
        })?;
        Ok((number, pg, epoch))
    }

    pub(crate) fn known_map(&self) -> Option<Arc<PlacementMap>> {
        self.map.borrow().clone()
    }

    fn gate(&self, slot: Slot) -> &RwLock<()> {
        &self.gates[usize::from(slot.0) % GATES]
    }

    fn check_lease(&self) -> Result<(), ChunkError> {
        if self.has_lease() { Ok(()) } else { Err(ChunkError::NoLease) }
    }
}

fn bare(reply: ChunkReply) -> (ChunkReply, Bytes) {
    (reply, Bytes::new())
}

fn busy(_: Full) -> ChunkError {
    ChunkError::Busy
}

fn log_put(chunk: ChunkId, error: &PutError) -> ChunkError {
    if matches!(error, PutError::Conflict | PutError::HashMismatch) {
        tracing::warn!(%chunk, %error, "a put was refused");
    }
    answers::put(error)
}

/// Whether `data` is the chunk. (The store checks the hash once more; a length alone would let a wrong source end the search.)
fn is_chunk(data: &Bytes, chunk: &ChunkRef) -> bool {
    data.len() == chunk.len as usize && types::root_of(data, &types::leaves_of(data)) == chunk.root
}
