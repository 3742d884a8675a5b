//! One data directory, open: identity, index, segments and the writer's queue.

use crate::compaction::{self, CompactGoal, Compacted, Progress};
use crate::config::StoreConfig;
use crate::error::{CompactError, DeleteError, GetError, IndexError, OpenError, PutError, StoreError};
use crate::fence::Fence;
use crate::files::Files;
use crate::get::{self, RangedRead};
use crate::identity::Directory;
use crate::index::{Entry, Index, Located};
use crate::observer::Observer;
use crate::queue::{Permit, Queue};
use crate::record::{self, Tag};
use crate::recovery::{RecoveryReport, recover};
use crate::segment::Segments;
use crate::verify::read_record;
use crate::writer::{DeleteJob, Job, PutJob, Writer, WriterSettings};
use bytes::Bytes;
use parking_lot::Mutex;
use rocksdb::Cache;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::oneshot;
use types::{Blake3Root, ChunkId, DiskId};

/// The state of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskInfo {
    /// Its id; zeros if it could not be opened.
    pub id: DiskId,
    /// Its directory.
    pub path: PathBuf,
    /// Live chunks on it.
    pub chunks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Chunks whose replica here is damaged and waits to be written anew.
    pub quarantined: u64,
    /// Bytes of segments that nothing uses: what compaction could give back.
    pub garbage: u64,
    /// Free bytes of the file system.
    pub free: u64,
    /// Size of the file system.
    pub total: u64,
    /// Whether it failed and takes no more requests.
    pub fenced: bool,
    /// What its start found.
    pub recovery: RecoveryReport,
}

/// How often a read follows a replica that is moved under it, or is repeated because it was misread.
const TRIES_MAX: usize = 4;

/// Why a replica could not be read.
pub(crate) enum Judged {
    /// It lies elsewhere now.
    Moved(Located),
    /// It is right: a second look at the medium found nothing wrong with it.
    Misread,
    /// It is damaged, which was reported just now.
    Damaged(GetError),
    /// It is known already, or gone.
    Is(GetError),
}

/// A disk that is open.
pub(crate) struct Disk {
    number: usize,
    pub(crate) segments: Arc<Segments>,
    pub(crate) index: Arc<Index>,
    pub(crate) queue: Queue,
    pub(crate) compaction: Mutex<Progress>,
    fence: Arc<Fence>,
    observer: Arc<dyn Observer>,
    recovery: RecoveryReport,
    // Last, so that the lock is given back when all else is closed.
    directory: Directory,
}

impl Disk {
    pub(crate) fn open(
        number: usize,
        path: &Path,
        config: &StoreConfig,
        cache: &Cache,
        observer: Arc<dyn Observer>,
        make_files: &(dyn Fn(&Path) -> std::io::Result<Arc<dyn Files>> + Sync),
    ) -> Result<Disk, OpenError> {
        let directory = Directory::open(path, config.node, config.create, config.disk_ids.get(number).copied())?;
        let identity = directory.identity;
        let failed = |source: StoreError| OpenError::Disk { path: path.to_owned(), source };
        let files = make_files(&path.join("segments")).map_err(|error| failed(error.into()))?;
        let segments = Arc::new(Segments::new(files));
        let (index, position) = Index::open(path, identity.disk, cache).map_err(|error| failed(error.into()))?;
        let (tail, recovery) = recover(&segments, &index, position, &identity.tag).map_err(failed)?;
        tracing::info!(disk = %identity.disk, path = %path.display(), chunks = index.totals().chunks, records = recovery.records, torn = recovery.torn, damaged = recovery.damaged, rebuilt = recovery.rebuilt, "disk open");
        let index = Arc::new(index);
        let fence = Arc::new(Fence::new(number, identity.disk, observer.clone()));
        let settings = WriterSettings {
            number,
            disk: identity.disk,
            tag: identity.tag,
            segment_bytes: config.segment_bytes,
            batch_bytes_max: config.batch_bytes_max,
            reserve_bytes: config.reserve_bytes,
            checkpoint_bytes: config.checkpoint_bytes,
        };
        let writer = Writer::new(settings, segments.clone(), index.clone(), fence.clone(), observer.clone(), tail);
        let name = format!("chunk-disk-{number}");
        let queue = Queue::start(writer, name, config.queue_bytes_max, config.batch_bytes_max)
            .map_err(|error| failed(error.into()))?;
        let compaction = Mutex::default();
        Ok(Disk { number, segments, index, queue, compaction, fence, observer, recovery, directory })
    }

    pub(crate) fn id(&self) -> DiskId {
        self.directory.identity.disk
    }

    pub(crate) fn tag(&self) -> &Tag {
        &self.directory.identity.tag
    }

    pub(crate) fn path(&self) -> &Path {
        &self.directory.path
    }

    pub(crate) fn is_fenced(&self) -> bool {
        self.fence.is_set()
    }

    /// Whether it is fenced for want of room alone.
    pub(crate) fn lacked_room(&self) -> bool {
        self.fence.lacked_room()
    }

    pub(crate) fn entry(&self, chunk: ChunkId) -> Result<Option<Entry>, IndexError> {
        self.index.get(chunk)
    }

    pub(crate) fn list(&self, after: Option<ChunkId>, max: usize) -> Result<Vec<(ChunkId, Located)>, IndexError> {
        self.index.list(after, max)
    }

    /// Room in the queue for a chunk.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<Permit, PutError> {
        if self.is_fenced() {
            return Err(PutError::Fenced { disk: self.id() });
        }
        self.queue.reserve(bytes).ok_or(PutError::Busy)
    }

    /// Stores a chunk whose hash was checked.
    pub(crate) async fn put(&self, prepared: Prepared, permit: Permit) -> Result<(), PutError> {
        let (answer, answered) = oneshot::channel();
        let Prepared { chunk, root, data, leaves, crc } = prepared;
        self.queue.push(Job::Put(PutJob { chunk, root, data, leaves, crc, answer }), permit);
        answered.await.unwrap_or_else(|_| match self.is_fenced() {
            true => Err(PutError::Fenced { disk: self.id() }),
            false => Err(PutError::Closed),
        })
    }

    /// Has the writer do something with some chunks. Blocks until it did.
    pub(crate) fn ask(&self, chunks: Vec<ChunkId>, job: impl FnOnce(DeleteJob) -> Job) -> Result<(), DeleteError> {
        self.send(chunks, job)?.blocking_recv().unwrap_or_else(|_| Err(self.unanswered()))
    }

    /// Hands a job about chunks to the writer.
    fn send(
        &self,
        chunks: Vec<ChunkId>,
        job: impl FnOnce(DeleteJob) -> Job,
    ) -> Result<oneshot::Receiver<Result<(), DeleteError>>, DeleteError> {
        let permit = self.queue.reserve(16 * chunks.len()).ok_or(DeleteError::Busy)?;
        let (answer, answered) = oneshot::channel();
        self.queue.push(job(DeleteJob { chunks, answer }), permit);
        Ok(answered)
    }

    /// What it means that the writer dropped a job.
    fn unanswered(&self) -> DeleteError {
        match self.is_fenced() {
            true => DeleteError::Fenced { disk: self.id() },
            false => DeleteError::Closed,
        }
    }

    /// Does something to the segment files; an error fences the disk.
    pub(crate) fn fencing(&self, change: impl FnOnce() -> std::io::Result<()>) -> Result<(), CompactError> {
        if self.is_fenced() {
            return Err(CompactError::Fenced { disk: self.id() });
        }
        change().map_err(|error| {
            self.fence.set(&error.into());
            CompactError::Fenced { disk: self.id() }
        })
    }

    /// Gives space back. Blocks.
    pub(crate) fn compact(&self, goal: &CompactGoal) -> Result<Compacted, CompactError> {
        if self.is_fenced() {
            return Err(CompactError::Fenced { disk: self.id() });
        }
        compaction::compact(self, goal)
    }

    /// Leaves tombstones.
    pub(crate) async fn delete(&self, chunks: Vec<ChunkId>) -> Result<(), DeleteError> {
        if self.is_fenced() {
            return Err(DeleteError::Fenced { disk: self.id() });
        }
        self.send(chunks, Job::Delete)?.await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    /// Takes replicas off the disk.
    pub(crate) async fn forget(&self, chunks: Vec<ChunkId>) -> Result<(), DeleteError> {
        if self.is_fenced() {
            return Err(DeleteError::Fenced { disk: self.id() });
        }
        self.send(chunks, Job::Release)?.await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    /// Rows of the index from `first` to `last`.
    pub(crate) fn range(
        &self,
        first: ChunkId,
        last: ChunkId,
        after: Option<ChunkId>,
        max: usize,
    ) -> Result<Vec<(ChunkId, Entry)>, IndexError> {
        self.index.range(first, last, after, max)
    }

    /// Reads a range of the replica at `located`. A damaged one is reported and quarantined.
    pub(crate) fn read(
        &self,
        chunk: ChunkId,
        located: &Located,
        offset: u32,
        len: u32,
    ) -> Result<RangedRead, GetError> {
        let mut located = *located;
        for _ in 0..TRIES_MAX {
            match get::read(&self.segments, &located, offset, len) {
                Err(error) if get::is_damage(&error) => match self.judge(chunk, &located, error) {
                    Judged::Moved(now) => located = now,
                    Judged::Misread => {}
                    Judged::Damaged(error) | Judged::Is(error) => return Err(error),
                },
                result => return result,
            }
        }
        Err(GetError::Unreadable(std::io::ErrorKind::ResourceBusy.into()))
    }

    /// What it means that the replica at `located` could not be read as it should: compaction or a delete came between, a bit flipped on the way
    /// from a medium that is right, or it is damaged. Then it is reported and quarantined. Blocks.
    pub(crate) fn judge(&self, chunk: ChunkId, located: &Located, error: GetError) -> Judged {
        match self.entry(chunk) {
            Ok(Some(Entry::Live(now))) if now.place != located.place => return Judged::Moved(now),
            Ok(Some(Entry::Live(_))) => {}
            Ok(Some(Entry::Quarantined(_))) => return Judged::Is(GetError::Corrupt),
            Ok(Some(Entry::Tombstone(_))) => return Judged::Is(GetError::Deleted),
            Ok(None) => return Judged::Is(GetError::NotFound),
            Err(error) => return Judged::Is(GetError::Index(error)),
        }
        if self.is_right(chunk, located) {
            return Judged::Misread;
        }
        tracing::error!(%chunk, disk = %self.id(), segment = located.place.segment.0, offset = located.place.offset, %error, "damaged replica");
        self.observer.corrupt(self.number);
        if let Some(permit) = self.queue.reserve(0) {
            self.queue.push(Job::Quarantine(chunk, *located), permit);
        }
        Judged::Damaged(error)
    }

    /// A second look at a record that was not as it should be: whether all of it is right, and it was only misread. What the page cache has
    /// kept of the misread goes with it. Blocks.
    pub(crate) fn is_right(&self, chunk: ChunkId, located: &Located) -> bool {
        let right = read_record(&self.segments, self.tag(), chunk, located).is_ok_and(|verified| verified.framed);
        if right {
            tracing::warn!(%chunk, disk = %self.id(), segment = located.place.segment.0, offset = located.place.offset, "a replica was misread and is right");
            self.observer.misread(self.number);
        }
        right
    }

    pub(crate) fn info(&self) -> DiskInfo {
        let totals = self.index.totals();
        let space = self.segments.files().space();
        DiskInfo {
            id: self.id(),
            path: self.directory.path.clone(),
            chunks: totals.chunks,
            bytes: totals.bytes,
            quarantined: totals.quarantined,
            garbage: compaction::garbage(self),
            free: space.as_ref().map_or(0, |space| space.free),
            total: space.as_ref().map_or(0, |space| space.total),
            fenced: self.is_fenced(),
            recovery: self.recovery.clone(),
        }
    }

    /// Ends the writer. Blocks.
    pub(crate) fn stop(&self) {
        self.queue.stop();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A chunk whose hash was checked, ready to be appended.
pub(crate) struct Prepared {
    chunk: ChunkId,
    root: Blake3Root,
    data: Bytes,
    leaves: types::LeafList,
    crc: u32,
}

impl Prepared {
    /// Hashes `data` once: leaves, root, and the CRC of what will lie on the disk.
    pub(crate) fn new(chunk: ChunkId, root: Blake3Root, data: Bytes) -> Result<Prepared, PutError> {
        let leaves = types::leaves_of(&data);
        if types::root_of(&data, &leaves) != root {
            return Err(PutError::HashMismatch);
        }
        let crc = record::body_crc(&data, &leaves);
        Ok(Prepared { chunk, root, data, leaves, crc })
    }
}
