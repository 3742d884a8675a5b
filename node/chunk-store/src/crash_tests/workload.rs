//! A seeded workload on a disk in memory, and the parts of a store that run it without threads.

use super::memory::{Fault, MemoryDisk};
use crate::error::{DeleteError, PutError};
use crate::fence::Fence;
use crate::index::Index;
use crate::observer::NoObserver;
use crate::record::{self, Tag};
use crate::recovery::{RecoveryReport, recover};
use crate::segment::Segments;
use crate::writer::{DeleteJob, Job, PutJob, Writer, WriterSettings};
use parking_lot::Mutex;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rocksdb::Cache;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::oneshot::{self, error::TryRecvError};
use types::{ChunkId, DiskId, LEAF_BYTES};

pub(super) const TAG: Tag = Tag([0x77; 16]);
pub(super) const SEGMENT_BYTES: u64 = 512 << 10;
pub(super) const BATCH_BYTES_MAX: usize = 384 << 10;
const BATCHES: usize = 20;
/// Put alone, last of all.
const LAST: ChunkId = ChunkId(1 << 40);

/// The data of a chunk follows from its id.
pub(super) fn chunk_data(chunk: ChunkId) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(chunk.0 as u64);
    let sizes = [1, 100, 3951, 3952, 3953, 9000, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 1, 150_000];
    let mut data = vec![0; *sizes.choose(&mut rng).expect("there are sizes")];
    rng.fill_bytes(&mut data);
    data
}

/// What a job should come to on a good disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Stored,
    Deleted,
    /// A put after a delete.
    Refused,
}

/// A job and what became of it.
pub(super) struct Done {
    pub(super) chunks: Vec<ChunkId>,
    pub(super) answer: Answer,
    /// Whether it had to write; a repeated put is answered from the index.
    pub(super) wrote: bool,
    /// Operations on the disk before it was asked for.
    pub(super) asked_at: usize,
    /// Operations on the disk before its good answer was seen.
    pub(super) answered_at: Option<usize>,
    pub(super) outcome: Result<Answer, String>,
}

/// A finished workload.
pub(super) struct Run {
    pub(super) disk: MemoryDisk,
    pub(super) tag: Tag,
    pub(super) jobs: Vec<Done>,
    pub(super) snapshots: Vec<(usize, PathBuf)>,
    pub(super) _folder: TempDir,
}

impl Run {
    /// The newest index that a cut behind `cut` operations may leave.
    pub(super) fn snapshot_before(&self, cut: usize) -> Option<&Path> {
        self.snapshots.iter().rev().find(|(at, _)| *at <= cut).map(|(_, path)| path.as_path())
    }

    /// The index after a clean stop.
    pub(super) fn final_snapshot(&self) -> &Path {
        &self.snapshots.last().expect("the workload took one").1
    }
}

/// The parts of a disk, without its threads.
pub(super) struct Rig {
    pub(super) disk: MemoryDisk,
    pub(super) segments: Arc<Segments>,
    pub(super) index: Arc<Index>,
    pub(super) report: RecoveryReport,
    pub(super) tag: Tag,
    writer: Writer,
    _folder: TempDir,
}

impl Rig {
    /// Starts from what is on the disk and, if given, a copy of an index.
    pub(super) fn recover(disk: &MemoryDisk, index: Option<&Path>) -> Rig {
        Rig::recover_as(disk, index, TAG, DiskId([1; 16]))
    }

    /// The same for a disk with another tag and id.
    pub(super) fn recover_as(disk: &MemoryDisk, index: Option<&Path>, tag: Tag, id: DiskId) -> Rig {
        let folder = temporary_folder();
        if let Some(from) = index {
            copy_folder(from, &folder.path().join("index"));
        }
        let cache = Cache::new_lru_cache(1 << 20);
        let (index, position) = Index::open(folder.path(), id, &cache).expect("the index opens");
        let segments = Arc::new(Segments::new(Arc::new(disk.clone())));
        let (tail, report) = recover(&segments, &index, position, &tag).expect("the disk recovers");
        let settings = WriterSettings {
            number: 0,
            disk: id,
            tag,
            segment_bytes: SEGMENT_BYTES,
            batch_bytes_max: BATCH_BYTES_MAX,
            reserve_bytes: SEGMENT_BYTES,
            checkpoint_bytes: u64::MAX,
        };
        let index = Arc::new(index);
        let (fence, observer) =
            (Fence::new(settings.number, settings.disk, Arc::new(NoObserver)), Arc::new(NoObserver));
        let writer = Writer::new(settings, segments.clone(), index.clone(), Arc::new(fence), observer, tail);
        Rig { disk: disk.clone(), segments, index, report, tag, writer, _folder: folder }
    }

    pub(super) fn empty() -> Rig {
        Rig::recover(&MemoryDisk::default(), None)
    }

    pub(super) fn put(&mut self, chunk: ChunkId) -> Result<(), PutError> {
        self.put_data(chunk, chunk_data(chunk))
    }

    pub(super) fn put_data(&mut self, chunk: ChunkId, data: Vec<u8>) -> Result<(), PutError> {
        let (job, answer) = put_job(chunk, data);
        self.writer.commit([job]);
        answer.blocking_recv().expect("every job is answered")
    }

    pub(super) fn delete(&mut self, chunks: Vec<ChunkId>) -> Result<(), DeleteError> {
        let (answer, answered) = oneshot::channel();
        self.writer.commit([Job::Delete(DeleteJob { chunks, answer })]);
        answered.blocking_recv().expect("every job is answered")
    }
}

/// Runs the workload of a seed on a good disk.
pub(super) fn run(seed: u64) -> Run {
    run_with(seed, None)
}

/// Runs it on a disk where something fails.
pub(super) fn run_with(seed: u64, fault: Option<Fault>) -> Run {
    let folder = temporary_folder();
    let disk = MemoryDisk::default();
    let mut rig = Rig::recover(&disk, None);
    let before = disk.ops().len();
    assert!(before <= 1, "an empty disk needs no writes");
    disk.set_fault(fault.map(|fault| shift(fault, before)));
    let waiting: Arc<Mutex<Waiting>> = Arc::default();
    let seen = waiting.clone();
    disk.before_op(move |count| seen.lock().poll(count));

    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut plan = Plan::default();
    let mut snapshots = Vec::new();
    for batch in 0..BATCHES {
        let mut jobs = Vec::new();
        let asked_at = disk.ops().len();
        let planned = if batch + 1 == BATCHES { 0 } else { rng.random_range(1..=5) };
        for _ in 0..planned {
            let (job, done, receiver) = plan.next(&mut rng, asked_at);
            jobs.push(job);
            waiting.lock().add(done, receiver);
        }
        if planned == 0 {
            let (job, receiver) = put_job(LAST, chunk_data(LAST));
            jobs.push(job);
            waiting.lock().add(done(vec![LAST], Answer::Stored, true, asked_at), Receiver::Put(receiver));
        }
        rig.writer.commit(jobs);
        waiting.lock().poll(disk.ops().len());
        if batch % 4 == 2 || batch + 1 == BATCHES {
            let path = folder.path().join(format!("index-{batch}"));
            rig.index.snapshot(&path).expect("a snapshot");
            snapshots.push((disk.ops().len(), path));
        }
    }
    let jobs = std::mem::take(&mut waiting.lock().jobs).into_iter().map(|(done, _)| done).collect();
    Run { disk, tag: TAG, jobs, snapshots, _folder: folder }
}

/// The start of the disk flushes its folder once.
fn shift(fault: Fault, before: usize) -> Fault {
    match fault {
        Fault::SyncFolder(n) => Fault::SyncFolder(n.max(before)),
        other => other,
    }
}

enum Receiver {
    Put(oneshot::Receiver<Result<(), PutError>>),
    Delete(oneshot::Receiver<Result<(), DeleteError>>),
}

impl Receiver {
    fn try_recv(&mut self) -> Option<Result<(), Refusal>> {
        match self {
            Receiver::Put(receiver) => received(receiver.try_recv()).map(|done| match done {
                Err(PutError::Deleted) => Err(Refusal::Deleted),
                other => other.map_err(|error| Refusal::Failed(error.to_string())),
            }),
            Receiver::Delete(receiver) => {
                received(receiver.try_recv()).map(|done| done.map_err(|error| Refusal::Failed(error.to_string())))
            }
        }
    }
}

enum Refusal {
    Deleted,
    Failed(String),
}

fn received<T>(result: Result<T, TryRecvError>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Closed) => panic!("a job was not answered"),
    }
}

/// Jobs whose answers are looked for before every operation of the disk: an answer that comes before the flush it needs is seen.
#[derive(Default)]
struct Waiting {
    jobs: Vec<(Done, Option<Receiver>)>,
}

impl Waiting {
    fn add(&mut self, done: Done, receiver: Receiver) {
        self.jobs.push((done, Some(receiver)));
    }

    fn poll(&mut self, count: usize) {
        for (done, receiver) in &mut self.jobs {
            let Some(result) = receiver.as_mut().and_then(Receiver::try_recv) else { continue };
            *receiver = None;
            done.outcome = match result {
                Ok(()) => Ok(done.answer),
                Err(Refusal::Deleted) => Ok(Answer::Refused),
                Err(Refusal::Failed(error)) => Err(error),
            };
            done.answered_at = done.outcome.is_ok().then_some(count);
        }
    }
}

/// Chooses jobs.
#[derive(Default)]
struct Plan {
    next: u128,
    stored: Vec<ChunkId>,
    deleted: Vec<ChunkId>,
}

impl Plan {
    fn next(&mut self, rng: &mut ChaCha8Rng, asked_at: usize) -> (Job, Done, Receiver) {
        let (chunk, answer, wrote) = match rng.random_range(0..10) {
            0 if self.stored.len() > 2 => return self.delete(rng, asked_at),
            1 if !self.stored.is_empty() => (*self.stored.choose(rng).expect("not empty"), Answer::Stored, false),
            2 if !self.deleted.is_empty() => (*self.deleted.choose(rng).expect("not empty"), Answer::Refused, false),
            _ => {
                self.next += 1;
                self.stored.push(ChunkId(self.next));
                (ChunkId(self.next), Answer::Stored, true)
            }
        };
        let (job, receiver) = put_job(chunk, chunk_data(chunk));
        (job, done(vec![chunk], answer, wrote, asked_at), Receiver::Put(receiver))
    }

    /// Deletes some that are there, and one that never was.
    fn delete(&mut self, rng: &mut ChaCha8Rng, asked_at: usize) -> (Job, Done, Receiver) {
        let mut chunks: Vec<ChunkId> = self.stored.choose_multiple(rng, 2).copied().collect();
        self.stored.retain(|chunk| !chunks.contains(chunk));
        self.next += 1;
        chunks.push(ChunkId(self.next));
        self.deleted.extend(&chunks);
        let (answer, receiver) = oneshot::channel();
        let job = Job::Delete(DeleteJob { chunks: chunks.clone(), answer });
        (job, done(chunks, Answer::Deleted, true, asked_at), Receiver::Delete(receiver))
    }
}

fn done(chunks: Vec<ChunkId>, answer: Answer, wrote: bool, asked_at: usize) -> Done {
    Done { chunks, answer, wrote, asked_at, answered_at: None, outcome: Err("not answered".to_owned()) }
}

fn put_job(chunk: ChunkId, data: Vec<u8>) -> (Job, oneshot::Receiver<Result<(), PutError>>) {
    let leaves = types::leaves_of(&data);
    let root = types::root_of(&data, &leaves);
    let crc = record::body_crc(&data, &leaves);
    let (answer, receiver) = oneshot::channel();
    (Job::Put(PutJob { chunk, root, data: data.into(), leaves, crc, answer }), receiver)
}

/// In memory where there is such a place: an index in these tests is never looked at after a real crash, and its flushes take time.
pub(super) fn temporary_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}
