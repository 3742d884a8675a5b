//! Answers chunk requests.

use crate::admission::{ByteBudget, Full, counted};
use crate::membership::{NotPlaced, disk_of, place};
use crate::metrics::{self, StoreMetrics};
use crate::replicate::ReplicaSource;
use crate::{OpenError, StoreConfig, answers};
use ::metrics::counter;
use bytes::Bytes;
use chunk_store::{ChunkStore, PutError};
use parking_lot::RwLock;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest, STAT_CHUNKS_MAX};
use proto::node::DiskStatus;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use types::{Blake3Root, CHUNK_BYTES_MAX, ChunkId, ChunkRef, DiskId, LEAF_BYTES, NodeId, PgEpoch, PlacementMap};

/// Sources that one `Replicate` may name.
const SOURCES_MAX: usize = 16;

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
        }
    }

    fn validate(&self) -> Result<(), OpenError> {
        let rules = [
            (self.body_bytes_max >= CHUNK_BYTES_MAX, "body_bytes_max must hold one chunk of 4 MiB"),
            (self.read_bytes_max >= CHUNK_BYTES_MAX, "read_bytes_max must hold one chunk of 4 MiB"),
            (self.body_bytes_max.max(self.read_bytes_max) <= 1 << 31, "byte budgets are at most 2 GiB"),
            (self.replicate_max > 0, "replicate_max must not be 0"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(OpenError::Config { rule }),
            None => Ok(()),
        }
    }
}

/// The chunk service of a node. All calls may be dropped at any time: a put leaves an unreferenced replica at most.
pub struct ChunkService {
    node: NodeId,
    store: ChunkStore,
    source: Arc<dyn ReplicaSource>,
    map: RwLock<Option<Arc<PlacementMap>>>,
    map_wanted: Notify,
    bodies: ByteBudget,
    reads: ByteBudget,
    replications: Semaphore,
    fetch_timeout: Duration,
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
        Ok(Arc::new(ChunkService {
            node: config.store.node,
            store,
            source,
            map: RwLock::new(None),
            map_wanted: Notify::new(),
            bodies: ByteBudget::new(config.body_bytes_max, 0),
            reads: ByteBudget::new(config.read_bytes_max, config.reads_waiting_max),
            replications: Semaphore::new(config.replicate_max),
            fetch_timeout: config.fetch_timeout,
        }))
    }

    /// Takes up a placement map; one that is older than the known one is ignored.
    pub fn set_map(&self, map: Arc<PlacementMap>) {
        let mut known = self.map.write();
        if known.as_ref().is_none_or(|known| known.version < map.version) {
            *known = Some(map);
        }
    }

    /// Waits until a writer showed that there is a newer map than this node's. Then fetch it, call [`ChunkService::set_map`], and wait again.
    pub async fn map_wanted(&self) {
        self.map_wanted.notified().await;
    }

    /// Answers a request. `may_delete` says that the peer's certificate is a node's.
    ///
    /// The body of the answer counts against the read budget until it is dropped.
    ///
    /// # Errors
    /// In the result: [`ChunkError`]; nothing was changed, except that a put or delete that failed may have been done.
    pub async fn handle(
        &self,
        may_delete: bool,
        request: ChunkRequest,
        body: Bytes,
    ) -> (Result<ChunkReply, ChunkError>, Bytes) {
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
            ChunkRequest::Delete { .. } if !may_delete => ("delete", Err(ChunkError::Invalid)),
            ChunkRequest::Delete { chunks } => {
                ("delete", self.delete(chunks).await.map(|()| ChunkReply::Deleted).map(bare))
            }
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
            disk: info.id,
            path: info.path.display().to_string(),
            chunks: info.chunks,
            bytes: info.bytes,
            free: info.free,
            total: info.total,
            fenced: info.fenced,
        };
        self.store.disks().into_iter().map(status).collect()
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
        let disk = self.place(chunk, epoch)?;
        self.store_on(disk, chunk, root, data).await
    }

    async fn store_on(&self, disk: usize, chunk: ChunkId, root: Blake3Root, data: Bytes) -> Result<(), ChunkError> {
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
        let read = self.store.get(chunk, offset, len).await.map_err(|error| answers::get(&error))?;
        counter!(metrics::GET_BYTES).increment(read.data.len() as u64);
        let reply = ChunkReply::Data { first_leaf: read.first_leaf, chunk_len: read.chunk_len, leaves: read.leaves };
        Ok((reply, counted(read.data, taken)))
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
        let map = self.map.read().clone();
        let mut by_disk: BTreeMap<usize, Vec<ChunkId>> = BTreeMap::new();
        for chunk in chunks {
            let disk = map.as_ref().and_then(|map| disk_of(map, self.node, chunk));
            let number = disk.and_then(|disk| self.store.disk_number(disk)).unwrap_or(0);
            by_disk.entry(number).or_default().push(chunk);
        }
        for (number, chunks) in by_disk {
            self.store.delete(number, chunks).await.map_err(|error| answers::delete(&error))?;
        }
        Ok(())
    }

    async fn replicate(&self, chunk: ChunkRef, epoch: PgEpoch, sources: Vec<NodeId>) -> Result<(), ChunkError> {
        if chunk.len == 0 || chunk.len as usize > CHUNK_BYTES_MAX || sources.len() > SOURCES_MAX {
            return Err(ChunkError::Invalid);
        }
        let disk = self.place(chunk.id, epoch)?;
        let here = self.store.stat(vec![chunk.id]).await.map_err(|error| answers::stat(&error))?;
        match here.first().copied().flatten() {
            Some((len, root)) if len == chunk.len && root == chunk.root => return Ok(()),
            Some(_) => return Err(ChunkError::Conflict),
            None => {}
        }
        let _replication = self.replications.try_acquire().map_err(|_| ChunkError::Busy)?;
        let _taken = self.bodies.try_take(chunk.len as usize).map_err(busy)?;
        let data = self.fetch(chunk, sources).await.ok_or(ChunkError::NoSource)?;
        // The map may have moved on while the data came.
        let disk = if self.place(chunk.id, epoch)? == disk { disk } else { return Err(ChunkError::NotMember) };
        self.store_on(disk, chunk.id, chunk.root, data).await
    }

    /// The chunk from the first source that has it.
    async fn fetch(&self, chunk: ChunkRef, sources: Vec<NodeId>) -> Option<Bytes> {
        for node in sources.into_iter().filter(|node| *node != self.node) {
            match tokio::time::timeout(self.fetch_timeout, self.source.fetch(node, chunk)).await {
                Ok(Ok(data)) if is_chunk(&data, &chunk) => return Some(data),
                Ok(Ok(_)) => tracing::warn!(chunk = %chunk.id, %node, "a source sent something else"),
                Ok(Err(error)) => tracing::info!(chunk = %chunk.id, %error, "a source did not give the chunk"),
                Err(_) => tracing::info!(chunk = %chunk.id, %node, "a source did not answer in time"),
            }
        }
        None
    }

    /// The number of the disk that takes a put of `chunk` under `epoch`.
    fn place(&self, chunk: ChunkId, epoch: PgEpoch) -> Result<usize, ChunkError> {
        let map = self.map.read().clone();
        let disk = place(map.as_deref(), self.node, chunk, epoch).inspect_err(|why| {
            if matches!(why, NotPlaced::Behind { .. } | NotPlaced::NoMap) {
                self.map_wanted.notify_one();
            }
        })?;
        self.store.disk_number(disk).ok_or_else(|| {
            tracing::error!(%chunk, %disk, "the placement map names a disk that is not open here");
            ChunkError::Fenced
        })
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
