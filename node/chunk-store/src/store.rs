//! All disks of a node.

use crate::compaction::{CompactGoal, Compacted};
use crate::config::StoreConfig;
use crate::disk::{Disk, DiskInfo, Prepared};
use crate::error::{CompactError, DeleteError, GetError, IndexError, OpenError, PutError, ScrubError};
use crate::files::{Files, OsFiles, Space};
use crate::get::RangedRead;
use crate::index::Entry;
use crate::observer::{NoObserver, Observer};
use crate::record::TOMBSTONES_MAX;
use crate::scrub::{ScrubState, Scrubbed, look, scrub};
use crate::verify::read_record;
use bytes::Bytes;
use rocksdb::Cache;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use tokio::sync::Semaphore;
use types::{Blake3Root, CHUNK_BYTES_MAX, ChunkId, DiskId};

/// Chunks up to this size are hashed where `put` is called, about 50 us; larger ones on a thread that may block.
const INLINE_HASH_BYTES_MAX: usize = 128 << 10;

/// A chunk that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its length, bytes.
    pub len: u32,
    /// Its hash.
    pub root: Blake3Root,
    /// Which of the node's disks it lies on.
    pub disk: usize,
}

/// What one disk knows of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The chunk.
    pub chunk: ChunkId,
    /// Length and hash; `None` if it was deleted.
    pub live: Option<(u32, Blake3Root)>,
    /// Which of the node's disks says so.
    pub disk: usize,
}

enum Slot {
    Open(Arc<Disk>),
    /// It could not be opened; the node goes on without it.
    Failed(PathBuf),
}

/// The chunk store of a node.
///
/// Disks are numbered as in the configuration. The directories are free for another process once this is dropped.
pub struct ChunkStore {
    slots: Arc<Vec<Slot>>,
    reads: Arc<Semaphore>,
}

impl ChunkStore {
    /// Opens all disks: locks them, checks whose they are, brings their indices up to their segments. Blocks; after a crash it scans
    /// what was appended since the last checkpoint.
    ///
    /// A disk whose medium fails is left out and reported as fenced, as long as one disk opens.
    ///
    /// # Errors
    /// [`OpenError`]: nothing is open.
    pub fn open(config: &StoreConfig) -> Result<ChunkStore, OpenError> {
        Self::open_observed(config, Arc::new(NoObserver))
    }

    /// As [`ChunkStore::open`]; `observer` hears of flushes and failures.
    ///
    /// # Errors
    /// As there.
    pub fn open_observed(config: &StoreConfig, observer: Arc<dyn Observer>) -> Result<ChunkStore, OpenError> {
        let direct = config.direct_io;
        Self::open_with(config, observer, &|folder| Ok(Arc::new(OsFiles::open(folder, direct)?)))
    }

    /// As [`ChunkStore::open_observed`], with `make_files` opening the segment folder of each disk.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(
        config: &StoreConfig,
        observer: Arc<dyn Observer>,
        make_files: &(dyn Fn(&Path) -> io::Result<Arc<dyn Files>> + Sync),
    ) -> Result<ChunkStore, OpenError> {
        config.validate()?;
        let cache = Cache::new_lru_cache(config.index_cache_bytes);
        let opened: Vec<Option<Result<Disk, OpenError>>> = std::thread::scope(|scope| {
            let open = |(number, path)| {
                let (cache, observer) = (&cache, observer.clone());
                let open = move || Disk::open(number, path, config, cache, observer, make_files);
                (!config.gone.contains(&number)).then(|| scope.spawn(open))
            };
            let threads: Vec<_> = config.disks.iter().map(PathBuf::as_path).enumerate().map(open).collect();
            let join = |thread: ScopedJoinHandle<_>| thread.join().expect("opening a disk does not panic");
            threads.into_iter().map(|thread| thread.map(join)).collect()
        });
        let any = opened.iter().flatten().any(Result::is_ok);
        let mut slots = Vec::with_capacity(opened.len());
        for (number, disk) in opened.into_iter().enumerate() {
            slots.push(match disk {
                None => Slot::Failed(config.disks[number].clone()),
                Some(Ok(disk)) => Slot::Open(Arc::new(disk)),
                Some(Err(OpenError::Disk { path, source })) if any => {
                    tracing::error!(path = %path.display(), error = %source, "the disk does not open; the node goes on without it");
                    observer.fenced(number);
                    Slot::Failed(path)
                }
                Some(Err(error)) => return Err(error),
            });
        }
        Ok(ChunkStore { slots: Arc::new(slots), reads: Arc::new(Semaphore::new(config.reads_max)) })
    }

    /// The number of the open disk with this id.
    #[must_use]
    pub fn disk_number(&self, id: DiskId) -> Option<usize> {
        self.slots.iter().position(|slot| matches!(slot, Slot::Open(disk) if disk.id() == id))
    }

    /// Stores one whole replica of `chunk` on a disk and makes it durable.
    ///
    /// `data` is 1..=`CHUNK_BYTES_MAX` bytes with the BLAKE3 hash `root`, which is checked before anything is written. After `Ok` a power cut
    /// cannot lose the replica. Repeating the call is a no-op; so is a call for a chunk that another disk of this node
    /// has. A quarantined replica is written anew. Dropping the future leaves at most an unreferenced record.
    ///
    /// # Errors
    /// [`PutError`]. `Busy` and `NoSpace`: nothing was kept. `Fenced`: not acknowledged, may have been kept.
    pub async fn put(&self, disk: usize, chunk: ChunkId, root: Blake3Root, data: Bytes) -> Result<(), PutError> {
        self.store(disk, chunk, root, data, false).await
    }

    /// As [`ChunkStore::put`], also if another disk of this node has the chunk: for a copy that moves between disks.
    ///
    /// # Errors
    /// As there.
    pub async fn put_copy(&self, disk: usize, chunk: ChunkId, root: Blake3Root, data: Bytes) -> Result<(), PutError> {
        self.store(disk, chunk, root, data, true).await
    }

    async fn store(
        &self,
        disk: usize,
        chunk: ChunkId,
        root: Blake3Root,
        data: Bytes,
        twice: bool,
    ) -> Result<(), PutError> {
        if data.is_empty() || data.len() > CHUNK_BYTES_MAX {
            return Err(PutError::Invalid { len: data.len() });
        }
        let target = match self.slots.get(disk) {
            None => return Err(PutError::NoSuchDisk { disk }),
            Some(Slot::Failed(_)) => return Err(PutError::Fenced { disk: DiskId::default() }),
            Some(Slot::Open(target)) => target.clone(),
        };
        let permit = target.reserve(data.len())?;
        let len = data.len();
        let slots = self.slots.clone();
        let prepare = move || match elsewhere(&slots, disk, chunk, root, len)? {
            true if !twice => Ok(None),
            _ => Prepared::new(chunk, root, data).map(Some),
        };
        let prepared = if len <= INLINE_HASH_BYTES_MAX { prepare() } else { blocking(prepare).await };
        match prepared? {
            Some(prepared) => target.put(prepared, permit).await,
            None => Ok(()),
        }
    }

    /// Reads whole leaves that cover a range of a chunk, from whichever disk has it; checked against its hash.
    ///
    /// `len` is at least 1. Waits while too many reads run. A damaged replica is quarantined: `stat` no longer names it and it may be put again.
    ///
    /// # Errors
    /// [`GetError`]; never wrong bytes.
    pub async fn get(&self, chunk: ChunkId, offset: u32, len: u32) -> Result<RangedRead, GetError> {
        let permit = self.reads.clone().acquire_owned().await.map_err(|_| GetError::Closed)?;
        let slots = self.slots.clone();
        blocking(move || {
            let _permit = permit;
            get(&slots, chunk, offset, len)
        })
        .await
    }

    /// Length and hash of each of these chunks that is here, live and not known to be damaged.
    ///
    /// # Errors
    /// An index failed.
    pub async fn stat(&self, chunks: Vec<ChunkId>) -> Result<Vec<Option<(u32, Blake3Root)>>, IndexError> {
        let slots = self.slots.clone();
        blocking(move || chunks.iter().map(|chunk| stat(&slots, *chunk)).collect()).await
    }

    /// Deletes chunks: durable tombstones on `disk`, which is where they belong, and on every other disk that has one of them. Their ids
    /// can never be put there again. Ids that were never here get a tombstone too. Idempotent.
    ///
    /// `chunks` are at most 4096.
    ///
    /// # Errors
    /// [`DeleteError`]; some may have been deleted.
    pub async fn delete(&self, disk: usize, chunks: Vec<ChunkId>) -> Result<(), DeleteError> {
        if chunks.len() > TOMBSTONES_MAX {
            return Err(DeleteError::TooMany { len: chunks.len() });
        }
        let target = match self.slots.get(disk) {
            None => return Err(DeleteError::NoSuchDisk { disk }),
            Some(Slot::Failed(_)) => return Err(DeleteError::Fenced { disk: DiskId::default() }),
            Some(Slot::Open(target)) => target.clone(),
        };
        for (number, other) in open(&self.slots) {
            if number == disk {
                continue;
            }
            let mut here = Vec::new();
            for chunk in &chunks {
                if matches!(other.entry(*chunk)?, Some(Entry::Live(_) | Entry::Quarantined(_))) {
                    here.push(*chunk);
                }
            }
            if !here.is_empty() {
                other.delete(here).await?;
            }
        }
        target.delete(chunks).await
    }

    /// Takes replicas off a disk, as if they had never been there; for those that other disks or nodes keep. They may be put again. Without
    /// a flush: a crash may bring them back. Idempotent; tombstones stay.
    ///
    /// # Errors
    /// [`DeleteError`]; some may have been taken off.
    pub async fn forget(&self, disk: usize, chunks: Vec<ChunkId>) -> Result<(), DeleteError> {
        if chunks.len() > TOMBSTONES_MAX {
            return Err(DeleteError::TooMany { len: chunks.len() });
        }
        match self.slots.get(disk) {
            None => Err(DeleteError::NoSuchDisk { disk }),
            Some(Slot::Failed(_)) => Err(DeleteError::Fenced { disk: DiskId::default() }),
            Some(Slot::Open(target)) => target.clone().forget(chunks).await,
        }
    }

    /// What is known of chunks from `first` to `last` with ids above `after`: up to `max` ids, ascending, each once for every disk that knows
    /// it. Fewer only at the end.
    ///
    /// # Errors
    /// An index failed.
    pub async fn known(
        &self,
        first: ChunkId,
        last: ChunkId,
        after: Option<ChunkId>,
        max: usize,
    ) -> Result<Vec<Known>, IndexError> {
        let slots = self.slots.clone();
        blocking(move || {
            let mut all = Vec::new();
            for (number, disk) in open(&slots) {
                for (chunk, entry) in disk.range(first, last, after, max)? {
                    let live = match entry {
                        Entry::Live(at) => Some((at.len, at.root)),
                        Entry::Tombstone(_) | Entry::Quarantined(_) => None,
                    };
                    all.push(Known { chunk, live, disk: number });
                }
            }
            all.sort_unstable_by_key(|known| (known.chunk, known.disk));
            let (mut ids, mut former) = (0, None);
            let beyond = all.iter().position(|known| {
                ids += usize::from(former != Some(known.chunk));
                former = Some(known.chunk);
                ids > max
            });
            all.truncate(beyond.unwrap_or(all.len()));
            Ok(all)
        })
        .await
    }

    /// Up to `max` live chunks with higher ids than `after`, ascending.
    ///
    /// # Errors
    /// An index failed.
    pub async fn list(&self, after: Option<ChunkId>, max: usize) -> Result<Vec<Listed>, IndexError> {
        let slots = self.slots.clone();
        blocking(move || {
            let mut all = Vec::new();
            for (number, disk) in open(&slots) {
                let rows = disk.list(after, max)?.into_iter();
                all.extend(rows.map(|(chunk, at)| Listed { chunk, len: at.len, root: at.root, disk: number }));
            }
            all.sort_unstable_by_key(|listed| listed.chunk);
            all.truncate(max);
            Ok(all)
        })
        .await
    }

    /// For every disk whether it failed and takes no more requests. Asks no disk.
    #[must_use]
    pub fn fenced(&self) -> Vec<bool> {
        let fenced = |slot: &Slot| match slot {
            Slot::Open(disk) => disk.is_fenced(),
            Slot::Failed(_) => true,
        };
        self.slots.iter().map(fenced).collect()
    }

    /// For every disk whether it is fenced only because its file system had no room. Once it has room again, a start of the store takes it back.
    #[must_use]
    pub fn lacked_room(&self) -> Vec<bool> {
        self.slots.iter().map(|slot| matches!(slot, Slot::Open(disk) if disk.lacked_room())).collect()
    }

    /// Gives back space of deleted and superseded chunks, up to a budget. Chunks stay readable and deletable meanwhile; a crash at any
    /// moment loses nothing and brings nothing back. Blocks a thread; has no timer: call it again while there is more.
    ///
    /// # Errors
    /// [`CompactError`]; what was done stays done.
    pub async fn compact(&self, disk: usize, goal: CompactGoal) -> Result<Compacted, CompactError> {
        let target = match self.slots.get(disk) {
            None => return Err(CompactError::NoSuchDisk { disk }),
            Some(Slot::Failed(_)) => return Err(CompactError::Fenced { disk: DiskId::default() }),
            Some(Slot::Open(target)) => target.clone(),
        };
        blocking(move || target.compact(&goal)).await
    }

    /// Reads chunks of a disk from its medium, in the order of their ids, behind `after`, until `budget` bytes were read, and quarantines those
    /// that are not what they should be. Blocks a thread; has no timer.
    ///
    /// # Errors
    /// [`ScrubError`]; what was found before is quarantined.
    pub async fn scrub(&self, disk: usize, after: Option<ChunkId>, budget: u64) -> Result<Scrubbed, ScrubError> {
        let target = self.scrubbed(disk)?;
        blocking(move || scrub(&target, after, budget)).await
    }

    /// Looks at every live replica of one chunk, as [`ChunkStore::scrub`] does. Whether one is damaged, now or before.
    ///
    /// # Errors
    /// [`ScrubError`].
    pub async fn recheck(&self, chunk: ChunkId) -> Result<bool, ScrubError> {
        let slots = self.slots.clone();
        blocking(move || {
            let mut done = Scrubbed::default();
            let mut known = false;
            for (_, disk) in open(&slots) {
                match disk.entry(chunk)? {
                    Some(Entry::Live(located)) => look(disk, chunk, located, &mut done)?,
                    Some(Entry::Quarantined(_)) => known = true,
                    Some(Entry::Tombstone(_)) | None => {}
                }
            }
            Ok(known || !done.damaged.is_empty())
        })
        .await
    }

    /// Where the scrub of a disk stands, as it was kept last.
    ///
    /// # Errors
    /// There is no such disk.
    pub fn scrub_state(&self, disk: usize) -> Result<ScrubState, ScrubError> {
        Ok(ScrubState::load(self.scrubbed(disk)?.path()))
    }

    /// Keeps where the scrub of a disk stands.
    ///
    /// # Errors
    /// It was not kept.
    pub fn keep_scrub_state(&self, disk: usize, state: &ScrubState) -> Result<(), ScrubError> {
        state.save(self.scrubbed(disk)?.path()).map_err(ScrubError::State)
    }

    fn scrubbed(&self, disk: usize) -> Result<Arc<Disk>, ScrubError> {
        match self.slots.get(disk) {
            None => Err(ScrubError::NoSuchDisk { disk }),
            Some(Slot::Failed(_)) => Err(ScrubError::Fenced { disk: DiskId::default() }),
            Some(Slot::Open(target)) => Ok(target.clone()),
        }
    }

    /// Up to `max` chunks above `after` whose replica on a disk is damaged. A put on that disk writes them anew.
    ///
    /// # Errors
    /// An index failed.
    pub async fn quarantined(&self, after: Option<ChunkId>, max: usize) -> Result<Vec<Listed>, IndexError> {
        let slots = self.slots.clone();
        blocking(move || {
            let mut all = Vec::new();
            for (number, disk) in open(&slots).filter(|(_, disk)| !disk.is_fenced()) {
                let rows = disk.index.quarantined(after, max)?.into_iter();
                all.extend(rows.map(|(chunk, at)| Listed { chunk, len: at.len, root: at.root, disk: number }));
            }
            all.sort_unstable_by_key(|listed| (listed.chunk, listed.disk));
            all.truncate(max);
            Ok(all)
        })
        .await
    }

    /// The data of a chunk whose replica on a disk is quarantined, if a further look at the medium finds it right after all: what was wrong may
    /// have been the way from it. `None` if it is damaged, or not quarantined any more.
    ///
    /// # Errors
    /// [`ScrubError`].
    pub async fn read_quarantined(&self, disk: usize, chunk: ChunkId) -> Result<Option<Bytes>, ScrubError> {
        let target = self.scrubbed(disk)?;
        blocking(move || {
            let Some(Entry::Quarantined(located)) = target.entry(chunk)? else { return Ok(None) };
            match read_record(&target.segments, target.tag(), chunk, &located) {
                Ok(verified) => Ok(Some(verified.data)),
                Err(error) if crate::get::is_damage(&error) => Ok(None),
                Err(error) => Err(ScrubError::Read(error)),
            }
        })
        .await
    }

    /// Room on the file system of a disk; `None` if it is not open or cannot be asked.
    #[must_use]
    pub fn space(&self, disk: usize) -> Option<Space> {
        match self.slots.get(disk) {
            Some(Slot::Open(disk)) => disk.segments.files().space().ok(),
            Some(Slot::Failed(_)) | None => None,
        }
    }

    /// The state of every disk.
    #[must_use]
    pub fn disks(&self) -> Vec<DiskInfo> {
        let info = |slot: &Slot| match slot {
            Slot::Open(disk) => disk.info(),
            Slot::Failed(path) => DiskInfo {
                id: DiskId::default(),
                path: path.clone(),
                chunks: 0,
                bytes: 0,
                quarantined: 0,
                garbage: 0,
                free: 0,
                total: 0,
                fenced: true,
                recovery: crate::RecoveryReport::default(),
            },
        };
        self.slots.iter().map(info).collect()
    }

    /// Finishes what was asked before, flushes the indices and stops the writers; later puts and deletes are refused. The next start
    /// has nothing to scan.
    pub async fn close(&self) {
        let slots = self.slots.clone();
        blocking(move || open(&slots).for_each(|(_, disk)| disk.stop())).await;
    }
}

fn open(slots: &[Slot]) -> impl Iterator<Item = (usize, &Arc<Disk>)> {
    slots.iter().enumerate().filter_map(|(number, slot)| match slot {
        Slot::Open(disk) => Some((number, disk)),
        Slot::Failed(_) => None,
    })
}

/// Whether another disk has the chunk already; refused if it has it deleted, or other bytes under its id. (What the disk
/// itself has is its writer's business.)
fn elsewhere(slots: &[Slot], disk: usize, chunk: ChunkId, root: Blake3Root, len: usize) -> Result<bool, PutError> {
    for (number, other) in open(slots) {
        if number == disk || other.is_fenced() {
            continue;
        }
        match other.entry(chunk) {
            Ok(Some(Entry::Tombstone(_))) => return Err(PutError::Deleted),
            Ok(Some(Entry::Live(here))) if here.root == root && here.len as usize == len => return Ok(true),
            Ok(Some(Entry::Live(_))) => return Err(PutError::Conflict),
            Ok(Some(Entry::Quarantined(_)) | None) => {}
            Err(error) => tracing::error!(disk = %other.id(), %error, "the index of a disk cannot be read"),
        }
    }
    Ok(false)
}

fn get(slots: &[Slot], chunk: ChunkId, offset: u32, len: u32) -> Result<RangedRead, GetError> {
    let mut worst = GetError::NotFound;
    for (_, disk) in open(slots) {
        worst = match disk.entry(chunk) {
            Ok(None) => continue,
            Ok(Some(Entry::Live(located))) => match disk.read(chunk, &located, offset, len) {
                Err(error) => error,
                found => return found,
            },
            Ok(Some(Entry::Quarantined(_))) => GetError::Corrupt,
            Ok(Some(Entry::Tombstone(_))) if matches!(worst, GetError::NotFound) => GetError::Deleted,
            Ok(Some(Entry::Tombstone(_))) => continue,
            Err(error) => GetError::Index(error),
        };
    }
    Err(worst)
}

fn stat(slots: &[Slot], chunk: ChunkId) -> Result<Option<(u32, Blake3Root)>, IndexError> {
    for (_, disk) in open(slots) {
        if let Some(Entry::Live(located)) = disk.entry(chunk)? {
            return Ok(Some((located.len, located.root)));
        }
    }
    Ok(None)
}

/// Runs on a thread that may block; a panic there goes on here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => panic!("the runtime shuts down under the chunk store"),
        },
    }
}
