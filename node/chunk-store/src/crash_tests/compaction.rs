//! Compaction cut at every operation: nothing acknowledged is lost, nothing deleted comes back, and an index that survived says the
//! same as one that is made anew.

use super::image::{Image, Torn};
use super::memory::{MemoryDisk, Op};
use super::workload::{Answer, BATCH_BYTES_MAX, Done, Rig, Run, SEGMENT_BYTES, chunk_data, temporary_folder};
use super::{check, expected, go_on};
use crate::compaction::{CompactGoal, Compacted};
use crate::config::StoreConfig;
use crate::disk::{Disk, Prepared};
use crate::error::{CompactError, DeleteError, PutError};
use crate::files::Files;
use crate::index::{Entry, Index};
use crate::observer::NoObserver;
use crate::record::{HEADER_BYTES, SegmentNo};
use crate::segment::{RECORDS_AT, name_of};
use rocksdb::Cache;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use types::{ChunkId, NodeId};

/// A whole disk over memory, with its threads.
pub(super) struct Site {
    pub(super) memory: MemoryDisk,
    pub(super) disk: Disk,
    runtime: Runtime,
    folder: TempDir,
    jobs: Vec<Done>,
}

impl Site {
    pub(super) fn new() -> Site {
        Site::on(MemoryDisk::default(), temporary_folder())
    }

    fn on(memory: MemoryDisk, folder: TempDir) -> Site {
        let config = StoreConfig {
            segment_bytes: SEGMENT_BYTES,
            batch_bytes_max: BATCH_BYTES_MAX,
            reserve_bytes: 2 * SEGMENT_BYTES,
            checkpoint_bytes: u64::MAX,
            ..StoreConfig::new(NodeId(1), Vec::new())
        };
        let files = memory.clone();
        let make = move |_: &Path| -> std::io::Result<Arc<dyn Files>> { Ok(Arc::new(files.clone())) };
        let cache = Cache::new_lru_cache(1 << 20);
        let path = folder.path().join("disk");
        let disk = Disk::open(0, &path, &config, &cache, Arc::new(NoObserver), &make).expect("the disk opens");
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        Site { memory, disk, runtime, folder, jobs: Vec::new() }
    }

    /// The same disk after a clean stop; with `None` the index is gone.
    pub(super) fn restart(self, keep_index: bool) -> Site {
        let Site { memory, disk, folder, .. } = self;
        drop(disk);
        if !keep_index {
            std::fs::remove_dir_all(folder.path().join("disk/index")).expect("an index");
        }
        Site::on(memory, folder)
    }

    pub(super) fn put(&mut self, chunk: ChunkId) -> Result<(), PutError> {
        let data = chunk_data(chunk);
        let root = types::root_of(&data, &types::leaves_of(&data));
        let asked_at = self.memory.ops().len();
        let prepared = Prepared::new(chunk, root, data.into())?;
        let permit = self.disk.reserve(1)?;
        let done = self.runtime.block_on(self.disk.put(prepared, permit));
        self.note(vec![chunk], Answer::Stored, asked_at, done.is_ok());
        done
    }

    pub(super) fn delete(&mut self, chunks: Vec<ChunkId>) -> Result<(), DeleteError> {
        let asked_at = self.memory.ops().len();
        let done = self.runtime.block_on(self.disk.delete(chunks.clone()));
        self.note(chunks, Answer::Deleted, asked_at, done.is_ok());
        done
    }

    fn note(&mut self, chunks: Vec<ChunkId>, answer: Answer, asked_at: usize, ok: bool) {
        let answered_at = ok.then(|| self.memory.ops().len());
        let outcome = if ok { Ok(answer) } else { Err("refused".to_owned()) };
        self.jobs.push(Done { chunks, answer, wrote: true, asked_at, answered_at, outcome });
    }

    fn compact(&self, budget_bytes: u64) -> Result<Compacted, CompactError> {
        self.disk.compact(&CompactGoal { live_percent_max: 60, budget_bytes, never_again: None })
    }

    pub(super) fn compact_all(&self) -> Compacted {
        let mut sum = Compacted::default();
        for _ in 0..1000 {
            let done = self.compact(64 << 10).expect("the disk is good");
            sum.copied += done.copied;
            sum.freed += done.freed;
            sum.segments += done.segments;
            if !done.more {
                return sum;
            }
        }
        panic!("compaction does not come to an end");
    }

    fn bytes(&self) -> u64 {
        self.memory.contents().values().map(|bytes| bytes.len() as u64).sum()
    }
}

/// Chunks in many segments, most of them deleted; then compaction in small steps, with puts and deletes between.
fn run() -> (Run, usize) {
    let mut site = Site::new();
    for number in 1..=90 {
        site.put(ChunkId(number)).expect("a put");
    }
    let gone = (1..=90).filter(|number| number % 4 != 0).map(ChunkId).collect::<Vec<_>>();
    for chunks in gone.chunks(7) {
        site.delete(chunks.to_vec()).expect("a delete");
    }
    for number in 101..=110 {
        site.put(ChunkId(number)).expect("a put");
    }
    let snapshots: Arc<parking_lot::Mutex<Vec<(usize, PathBuf)>>> = Arc::default();
    let (index, taken, root) = (site.disk.index.clone(), snapshots.clone(), site.folder.path().to_owned());
    let snapshot = move |index: &Index, at: usize| {
        let path = root.join(format!("snapshot-{at}"));
        if !path.exists() {
            index.snapshot(&path).expect("a snapshot");
            taken.lock().push((at, path));
        }
    };
    let begin = site.memory.ops().len();
    snapshot(&site.disk.index, begin);
    // Right behind the flush of the index: the oldest one that a cut may leave from here on.
    site.memory.before_removal(move |at| snapshot(&index, at));
    let mut removed = 0;
    for step in 0..200u128 {
        let done = site.compact(24 << 10).expect("the disk is good");
        removed += done.segments;
        if !done.more {
            break;
        }
        if step % 3 == 1 {
            site.put(ChunkId(200 + step)).expect("a put");
            site.delete(vec![ChunkId(4 * (step + 1)), ChunkId(300 + step)]).expect("a delete");
        }
    }
    assert!(removed >= 4, "too little to compact: {removed} segments");
    let Site { memory, disk, folder, jobs, .. } = site;
    let tag = *disk.tag();
    drop(disk);
    let snapshots = std::mem::take(&mut *snapshots.lock());
    (Run { disk: memory, tag, jobs, snapshots, _folder: folder }, begin)
}

fn check_cut(run: &Run, cut: usize, torn: &Torn, go: bool) {
    let image = Image::at(&run.disk.ops(), cut, torn);
    let expected = expected(run, cut);
    let mut truths = Vec::new();
    for index in [run.snapshot_before(cut), None] {
        let context = format!("cut {cut}, {torn:?}, index {}", if index.is_some() { "old" } else { "gone" });
        let id = identity(run);
        let rig = Rig::recover_as(&image.disk(), index, run.tag, id);
        assert_eq!(rig.report.rebuilt, index.is_none(), "{context}: the index was not taken");
        assert_eq!(rig.report.damaged, 0, "{context}: false alarm {:?}", rig.report);
        check(&rig, &expected, &context);
        let kind = |chunk: &ChunkId| match rig.index.get(*chunk).expect("the index answers") {
            Some(Entry::Live(_)) => "live",
            Some(Entry::Tombstone(_)) => "deleted",
            Some(Entry::Quarantined(_)) => "quarantined",
            None => "absent",
        };
        truths.push(expected.keys().map(|chunk| (*chunk, kind(chunk))).collect::<Vec<_>>());
        if go {
            go_on(rig, expected.clone(), torn, &context);
        }
    }
    assert!(truths[0] == truths[1], "cut {cut}, {torn:?}: two truths");
}

fn identity(run: &Run) -> types::DiskId {
    let text = std::fs::read_to_string(run._folder.path().join("disk/IDENTITY")).expect("an identity");
    let hex = text.lines().find_map(|line| line.strip_prefix("disk ")).expect("an id");
    types::DiskId(std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex")))
}

#[test]
fn a_cut_anywhere_in_a_compaction_loses_nothing_and_brings_nothing_back() {
    let (run, begin) = run();
    let ops = run.disk.ops();
    let mut hit = BTreeSet::new();
    for cut in begin..=ops.len() {
        hit.insert(match &ops[cut - 1] {
            Op::Create { .. } => "create",
            Op::Write { .. } => "write",
            Op::Sync { .. } => "sync",
            Op::Truncate { .. } => "truncate",
            Op::Remove { .. } => "remove",
            Op::SyncFolder => "sync folder",
        });
        for torn in [Torn::Dropped, Torn::Kept] {
            check_cut(&run, cut, &torn, cut % 5 == 0);
        }
    }
    assert_eq!(hit.len(), 6, "not every kind of operation was cut: {hit:?}");
}

#[test]
fn a_torn_write_of_a_compaction_is_whole_or_absent() {
    let (run, begin) = run();
    let ops = run.disk.ops();
    for cut in begin + 1..=ops.len() {
        let Op::Write { bytes, .. } = &ops[cut - 1] else { continue };
        for torn in Torn::variants(bytes.len(), cut as u64).into_iter().step_by(3) {
            check_cut(&run, cut, &torn, false);
        }
    }
}

#[test]
fn compaction_gives_the_space_back_and_deleted_chunks_stay_deleted() {
    let mut site = Site::new();
    for number in 1..=120 {
        site.put(ChunkId(number)).expect("a put");
    }
    let (gone, kept): (Vec<_>, Vec<_>) = (1..=120).map(ChunkId).partition(|chunk| chunk.0 % 5 != 0);
    for chunks in gone.chunks(10) {
        site.delete(chunks.to_vec()).expect("a delete");
    }
    let before = site.bytes();
    let done = site.compact_all();
    let live: u64 = kept.iter().map(|chunk| crate::record::record_bytes(chunk_data(*chunk).len())).sum();
    assert!(site.bytes() <= live + 3 * SEGMENT_BYTES, "{} bytes for {live}", site.bytes());
    assert!(before >= 4 * live && done.segments >= 3, "{done:?}");
    // With the index and without it.
    for keep_index in [true, false] {
        site = site.restart(keep_index);
        for chunk in &gone {
            assert!(matches!(site.disk.entry(*chunk), Ok(Some(Entry::Tombstone(_)))), "{chunk} came back");
            assert!(matches!(site.put(*chunk), Err(PutError::Deleted)), "{chunk} was put again");
        }
        for chunk in &kept {
            let Ok(Some(Entry::Live(located))) = site.disk.entry(*chunk) else { panic!("{chunk} is lost") };
            let read = site.disk.read(*chunk, &located, 0, located.len).expect("a read");
            assert!(read.data == chunk_data(*chunk), "{chunk}");
        }
        assert!(site.disk.index.sums_hold());
    }
    assert_eq!(site.compact_all().copied, 0, "nothing is left to do");
}

/// What is rotten is neither copied nor thrown away: its segment stays until the chunk was written anew.
#[test]
fn rot_is_not_propagated_and_its_segment_waits() {
    let mut site = Site::new();
    for number in 1..=40 {
        site.put(ChunkId(number)).expect("a put");
    }
    let large = |chunk: &ChunkId| chunk_data(*chunk).len() > 9000;
    let first = SegmentNo(1);
    let located = |site: &Site, chunk: ChunkId| match site.disk.entry(chunk) {
        Ok(Some(Entry::Live(located) | Entry::Quarantined(located))) => located,
        other => panic!("{chunk}: {other:?}"),
    };
    let here: Vec<ChunkId> =
        (1..=40).map(ChunkId).filter(|chunk| located(&site, *chunk).place.segment == first).collect();
    let rotten = *here.iter().find(|chunk| large(chunk)).expect("a large chunk in the first segment");
    let gone: Vec<_> = here.iter().copied().filter(|chunk| *chunk != rotten && large(chunk)).collect();
    site.delete(gone).expect("a delete");
    let place = located(&site, rotten).place;
    site.memory.flip(&name_of(first), place.offset + HEADER_BYTES as u64 + 5000);
    site.compact_all();
    assert!(matches!(site.disk.entry(rotten), Ok(Some(Entry::Quarantined(at))) if at.place == place));
    assert!(site.memory.contents().contains_key(&name_of(first)), "the segment is gone");
    assert_eq!(site.disk.index.totals().quarantined, 1);
    // Again, also after a start without the index: it is found again.
    site = site.restart(false);
    assert!(matches!(site.disk.entry(rotten), Ok(Some(Entry::Quarantined(_)))));
    site.compact_all();
    site.put(rotten).expect("it is written anew");
    assert_eq!(site.disk.index.totals().quarantined, 0);
    site.compact_all();
    let left = site.memory.contents().get(&name_of(first)).map_or(0, Vec::len) as u64;
    assert!(left <= RECORDS_AT, "the segment still has {left} bytes");
    let read = site.disk.read(rotten, &located(&site, rotten), 0, 1).expect("a read");
    assert_eq!(read.data[0], chunk_data(rotten)[0]);
}

/// Rotten headers hide nothing from compaction: the index knows what lies there.
#[test]
fn what_rotten_headers_hide_is_moved_too() {
    let mut site = Site::new();
    for number in 1..=40 {
        site.put(ChunkId(number)).expect("a put");
    }
    site.delete((1..=30).map(ChunkId).collect()).expect("a delete");
    let live: Vec<ChunkId> = (31..=40).map(ChunkId).collect();
    let Ok(Some(Entry::Tombstone(segment))) = site.disk.entry(ChunkId(1)) else { panic!("a tombstone") };
    for number in 41..=80 {
        site.put(ChunkId(number)).expect("a put");
    }
    site.delete((41..=80).map(ChunkId).collect()).expect("a delete");
    let image = Image::at(&site.memory.ops(), site.memory.ops().len(), &Torn::Kept);
    let mut flipped = 0;
    for (name, header) in image.records_of(site.disk.tag()) {
        if name == name_of(segment) && live.contains(&header.chunk) || header.chunk == ChunkId(1) {
            site.memory.flip(&name, header.place.offset + 60);
            flipped += 1;
        }
    }
    assert!(flipped > 1);
    site.compact_all();
    assert!(site.disk.segments.sizes().get(&segment).is_none_or(|size| *size <= RECORDS_AT), "it was not emptied");
    site = site.restart(false);
    for chunk in live {
        assert!(matches!(site.disk.entry(chunk), Ok(Some(Entry::Live(_)))), "{chunk}");
    }
    for number in 2..=30 {
        assert!(matches!(site.disk.entry(ChunkId(number)), Ok(Some(Entry::Tombstone(_)))), "{number}");
    }
}

/// Tombstones go only when the caller says so, and only when no older segment could bring the chunk back.
#[test]
fn tombstones_are_kept_unless_nothing_can_bring_their_chunks_back() {
    for closed in [false, true] {
        let mut site = Site::new();
        for number in 1..=60 {
            site.put(ChunkId(number)).expect("a put");
        }
        site.delete((1..=60).map(ChunkId).collect()).expect("a delete");
        for number in 61..=90 {
            site.put(ChunkId(number)).expect("a put");
        }
        let never_again: Option<crate::compaction::NeverAgain> =
            if closed { Some(Arc::new(|chunk: ChunkId| chunk.0 <= 30)) } else { None };
        let goal = CompactGoal { live_percent_max: 99, budget_bytes: u64::MAX, never_again };
        site.disk.compact(&goal).expect("the disk is good");
        site = site.restart(false);
        for number in 1..=60 {
            let entry = site.disk.entry(ChunkId(number)).expect("the index answers");
            match entry {
                Some(Entry::Tombstone(_)) => assert!(!closed || number > 30, "{number} was to be forgotten"),
                None => assert!(closed && number <= 30, "the tombstone of {number} is gone"),
                other => panic!("{number} came back: {other:?}"),
            }
        }
    }
}

#[test]
fn a_full_disk_is_compacted_within_half_of_the_reserve() {
    let mut site = Site::new();
    site.memory.set_free(8 * SEGMENT_BYTES);
    let mut stored = Vec::new();
    for number in 1..1000 {
        match site.put(ChunkId(number)) {
            Ok(()) => stored.push(ChunkId(number)),
            Err(PutError::NoSpace) => break,
            Err(error) => panic!("{error}"),
        }
    }
    let gone: Vec<_> = stored.iter().copied().filter(|chunk| chunk.0 % 3 != 0).collect();
    for chunks in gone.chunks(8) {
        site.delete(chunks.to_vec()).expect("deletes go on");
    }
    assert!(site.compact_all().freed > 2 * SEGMENT_BYTES);
    site.put(ChunkId(5000)).expect("there is room again");
}
