//! What a disk does by itself: compaction, scrub and the rewriting of damaged copies, with their workers running.

use super::*;
use crate::{CompactionConfig, compact_disks, rewrite_chunks, scrub_disks};
use proto::node::{DiskStatus, Fullness};
use std::future::Future;
use std::path::{Path, PathBuf};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Far more than anything here takes, also on a busy machine.
const BOUND: Duration = Duration::from_secs(60);

async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let begin = Instant::now();
    while !check().await {
        assert!(begin.elapsed() < BOUND, "{what}");
        // wait-ok: a pause between two looks, bounded above
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn work(service: &Arc<ChunkService>) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    workers.spawn(compact_disks(service.clone()));
    workers.spawn(scrub_disks(service.clone()));
    workers.spawn(rewrite_chunks(service.clone()));
    workers
}

fn segments(folder: &TempDir, disk: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.path().join(disk).join("segments")).expect("segments");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn bytes_of(paths: &[PathBuf]) -> u64 {
    paths.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}

/// Flips a byte in the middle of these data, wherever they lie. Whether they were found.
fn rot(paths: &[PathBuf], data: &Bytes) -> bool {
    let mut found = false;
    for path in paths {
        let bytes = std::fs::read(path).expect("a segment");
        for at in find_all(&bytes, &data[..64.min(data.len())]) {
            if bytes.get(at..at + data.len()) == Some(&data[..]) {
                flip(path, at + data.len() / 2, &bytes);
                found = true;
            }
        }
    }
    found
}

fn find_all(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    // Records begin at blocks, data 128 bytes behind.
    let starts = (128..bytes.len()).step_by(4096);
    starts.filter(|at| bytes[*at..].starts_with(wanted)).collect()
}

fn flip(path: &Path, at: usize, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("a segment");
    file.write_all_at(&[bytes[at] ^ 0x10], at as u64).expect("a write");
    file.sync_all().expect("a flush");
}

fn disk(service: &ChunkService, number: usize) -> DiskStatus {
    service.statuses().swap_remove(number)
}

async fn intact(service: &ChunkService, chunk: ChunkId, bytes: &Bytes) -> bool {
    let (reply, body) = get(service, chunk, 0, bytes.len() as u32).await;
    assert!(reply.is_err() || body == *bytes, "wrong bytes");
    reply.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn space_of_deleted_chunks_comes_back() {
    let fast = |config: &mut ServiceConfig| {
        config.compaction = CompactionConfig { live_percent_max: 50, rate_bytes: 1 << 30 };
    };
    let Fixture { service, _folder, .. } = fixture_with(fast, FakeSource::default()).await;
    let bytes = |seq: u32| data(seq as u8, 300_000 + seq as usize);
    for seq in 0..200 {
        assert_eq!(put(&service, id(0, seq), EPOCH, &bytes(seq)).await, Ok(ChunkReply::Stored));
    }
    let before = bytes_of(&segments(&_folder, "a"));
    let workers = work(&service);
    let (gone, kept): (Vec<u32>, Vec<u32>) = (0..200).partition(|seq| seq % 5 != 0);
    for some in gone.chunks(20) {
        let chunks = some.iter().map(|seq| id(0, *seq)).collect();
        let deleted = service.handle(true, ChunkRequest::Delete { chunks }, Bytes::new()).await.0;
        assert_eq!(deleted, Ok(ChunkReply::Deleted));
    }
    let live: u64 = kept.iter().map(|seq| bytes(*seq).len() as u64).sum();
    // Two segments: the one that is appended to, and the preallocated rest of it.
    let allowed = live + live / 20 + 2 * (8 << 20);
    until("the space comes back", || async { bytes_of(&segments(&_folder, "a")) <= allowed }).await;
    assert!(before > 2 * allowed, "the test shows nothing: {before} bytes before, {allowed} allowed");
    for seq in kept {
        assert!(intact(&service, id(0, seq), &bytes(seq)).await, "{seq} is lost");
    }
    for seq in gone {
        assert_eq!(get(&service, id(0, seq), 0, 1).await.0, Err(ChunkError::Deleted), "{seq} came back");
    }
    // What is left lies in segments that are used too well to be worth the copying.
    assert!(disk(&service, 0).garbage <= live, "{} bytes are left", disk(&service, 0).garbage);
    drop(workers);
}

#[tokio::test(flavor = "multi_thread")]
async fn rot_is_found_by_a_scrub_and_written_anew_from_another_member() {
    let Fixture { service, source, _folder } = fixture().await;
    let bytes = |seq: u32| data(seq as u8, 100_000 + 17 * seq as usize);
    for seq in 0..40 {
        assert_eq!(put(&service, id(0, seq), EPOCH, &bytes(seq)).await, Ok(ChunkReply::Stored));
    }
    let rotten = [3, 7, 39];
    for seq in rotten {
        assert!(rot(&segments(&_folder, "a"), &bytes(seq)), "{seq} was not found");
    }
    // The fake gives one chunk for all: they are written anew one by one.
    let workers = work(&service);
    let target = service.scrub_now();
    assert_eq!(target.len(), 2);
    until("the scrub is through", || async { disk(&service, 0).scrub.passes >= target[0].1 }).await;
    until("the rot is found", || async { disk(&service, 0).quarantined == 3 }).await;
    for seq in 0..40 {
        assert_eq!(intact(&service, id(0, seq), &bytes(seq)).await, !rotten.contains(&seq), "{seq}");
    }
    for seq in rotten {
        source.answers.lock().insert(NodeId(2), Err(FetchError::Unreachable(NodeId(2))));
        source.answers.lock().insert(NodeId(3), Ok(bytes(seq)));
        until("it is written anew", || async {
            service.damaged.notify_one();
            intact(&service, id(0, seq), &bytes(seq)).await
        })
        .await;
    }
    assert_eq!(disk(&service, 0).quarantined, 0);
    assert_eq!(service.lost(10), (Vec::new(), 0));
    drop(workers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_without_an_intact_copy_is_an_alarm_until_one_turns_up() {
    let Fixture { service, source, _folder } = fixture().await;
    let bytes = data(1, 200_000);
    assert_eq!(put(&service, id(0, 1), EPOCH, &bytes).await, Ok(ChunkReply::Stored));
    assert!(rot(&segments(&_folder, "a"), &bytes));
    let refused = |node| Err(FetchError::Refused { node: NodeId(node), why: ChunkError::Corrupt });
    source.answers.lock().insert(NodeId(2), refused(2));
    let workers = work(&service);
    // A read finds it; while one member is silent, nothing is said to be lost.
    assert_eq!(get(&service, id(0, 1), 0, 200_000).await.0, Err(ChunkError::Corrupt));
    until("the members were asked", || async { source.asked.lock().contains(&NodeId(3)) }).await;
    assert_eq!(service.lost(10), (Vec::new(), 0));
    source.answers.lock().insert(NodeId(3), refused(3));
    until("the alarm", || async { service.lost(10) == (vec![id(0, 1)], 1) }).await;
    assert_eq!(get(&service, id(0, 1), 0, 1).await.0, Err(ChunkError::Corrupt), "never bytes");
    source.answers.lock().insert(NodeId(3), Ok(bytes.clone()));
    until("the copy that turned up is taken", || intact(&service, id(0, 1), &bytes)).await;
    until("the alarm is over", || async { service.lost(10) == (Vec::new(), 0) }).await;
    drop(workers);
}

/// A replica that was wrong twice in a row is quarantined. Where no other copy is left, a further look decides, not the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_replica_that_is_right_after_all_is_written_anew_from_itself() {
    let Fixture { service, source, _folder } = fixture().await;
    let bytes = data(1, 200_000);
    assert_eq!(put(&service, id(0, 1), EPOCH, &bytes).await, Ok(ChunkReply::Stored));
    assert!(rot(&segments(&_folder, "a"), &bytes));
    assert_eq!(get(&service, id(0, 1), 0, 200_000).await.0, Err(ChunkError::Corrupt));
    until("it is quarantined", || async { disk(&service, 0).quarantined == 1 }).await;
    for node in [2, 3] {
        let why = ChunkError::Corrupt;
        source.answers.lock().insert(NodeId(node), Err(FetchError::Refused { node: NodeId(node), why }));
    }
    let mut rotten = bytes.to_vec();
    rotten[100_000] ^= 0x10;
    assert!(rot(&segments(&_folder, "a"), &Bytes::from(rotten)), "the bit flips back");
    let workers = work(&service);
    until("it is served again", || async {
        service.damaged.notify_one();
        intact(&service, id(0, 1), &bytes).await
    })
    .await;
    until("nothing is in quarantine", || async { disk(&service, 0).quarantined == 0 }).await;
    assert_eq!(service.lost(10), (Vec::new(), 0));
    drop(workers);
}

#[tokio::test]
async fn a_report_is_believed_only_if_the_replica_is_damaged() {
    let Fixture { service, _folder, .. } = fixture().await;
    let bytes = data(1, 200_000);
    assert_eq!(put(&service, id(0, 1), EPOCH, &bytes).await, Ok(ChunkReply::Stored));
    let report = || async { service.handle(false, ChunkRequest::Report { chunk: id(0, 1) }, Bytes::new()).await.0 };
    assert_eq!(report().await, Ok(ChunkReply::Checked { damaged: false }));
    assert!(intact(&service, id(0, 1), &bytes).await);
    assert!(rot(&segments(&_folder, "a"), &bytes));
    for _ in 0..2 {
        assert_eq!(report().await, Ok(ChunkReply::Checked { damaged: true }));
    }
    assert_eq!(get(&service, id(0, 1), 0, 1).await.0, Err(ChunkError::Corrupt));
    let unknown = ChunkRequest::Report { chunk: id(0, 2) };
    let answer = service.handle(false, unknown, Bytes::new()).await.0;
    assert_eq!(answer, Ok(ChunkReply::Checked { damaged: false }));
}

/// Quarantine and the place of the scrub outlive a restart.
#[tokio::test]
async fn a_restart_knows_what_is_damaged_and_where_the_scrub_stood() {
    let Fixture { service, _folder, .. } = fixture().await;
    let bytes = data(1, 200_000);
    for seq in 1..4 {
        assert_eq!(put(&service, id(0, seq), EPOCH, &bytes).await, Ok(ChunkReply::Stored));
    }
    assert!(rot(&segments(&_folder, "a"), &bytes));
    let step = service.store.scrub(0, None, 1).await.expect("a scrub");
    assert_eq!((step.chunks, step.next, step.damaged), (1, Some(id(0, 1)), vec![id(0, 1)]));
    let state = chunk_store::ScrubState { after: step.next, begun: 5, passes: 7, chunks: 1, ..Default::default() };
    service.store.keep_scrub_state(0, &state).expect("kept");
    let config = ServiceConfig::new(StoreConfig {
        segment_bytes: 8 << 20,
        reserve_bytes: 0,
        ..StoreConfig::new(ME, vec![_folder.path().join("a"), _folder.path().join("b")])
    });
    service.close().await;
    drop(service);
    let service = ChunkService::open(config, Arc::new(FakeSource::default())).await.expect("the service opens");
    assert_eq!(disk(&service, 0).quarantined, 1);
    assert_eq!((disk(&service, 0).scrub.passes, disk(&service, 0).scrub.chunks), (7, 1));
    let step = service.store.scrub(0, state.after, 1 << 30).await.expect("a scrub");
    assert_eq!((step.next, step.damaged), (None, vec![id(0, 2), id(0, 3)]));
}

/// A small file system of its own for one disk. `None`, with a word, where this process may not mount.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    fn new(mib: u64) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (image, mount) = (folder.path().join("image"), folder.path().join("mount"));
        std::fs::create_dir(&mount).expect("a folder");
        std::fs::File::create(&image).and_then(|file| file.set_len(mib << 20)).expect("an image");
        let run = |program: &str, args: &[&std::ffi::OsStr]| {
            std::process::Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
        };
        let made = run("mkfs.ext4", &["-q".as_ref(), "-m".as_ref(), "0".as_ref(), image.as_ref()]);
        if made && run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), mount.as_ref()]) {
            return Some(SmallDisk { folder });
        }
        assert!(std::env::var_os("SAGO_CI").is_none(), "a small file system cannot be mounted here");
        eprintln!("SKIPPED: a small file system cannot be mounted here (needs root and loop devices)");
        None
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mount")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_refuses_in_steps_and_comes_back_by_itself() {
    let Some(small) = SmallDisk::new(256) else { return };
    let folder = small.path().join("disk");
    let store =
        StoreConfig { segment_bytes: 8 << 20, reserve_bytes: 1 << 20, ..StoreConfig::new(ME, vec![folder.clone()]) };
    let source = Arc::new(FakeSource::default());
    let service = ChunkService::open(ServiceConfig::new(store), source.clone()).await.expect("the service opens");
    service.set_map(map(1, EPOCH, &service.disk_ids()));
    let workers = work(&service);
    let bytes = |seq: u32| data(seq as u8, 1_000_000 + seq as usize);
    let mut stored = Vec::new();
    let mut steps = vec![disk(&service, 0).fullness];
    let refused = loop {
        let seq = stored.len() as u32;
        match put(&service, id(0, seq), EPOCH, &bytes(seq)).await {
            Ok(_) => stored.push(seq),
            Err(error) => break error,
        }
        steps.push(disk(&service, 0).fullness);
        if disk(&service, 0).fullness == Fullness::Backfill {
            let chunk = reference(id(0, 9000), &bytes(9000));
            assert_eq!(replicate(&service, chunk, EPOCH, &[2]).await, Err(ChunkError::BackfillFull));
        }
        assert!(stored.len() < 1000, "a file system of 256 MiB is never full");
    };
    assert_eq!(refused, ChunkError::NoSpace);
    steps.dedup();
    assert_eq!(steps, [Fullness::Normal, Fullness::Near, Fullness::Backfill, Fullness::Full], "step by step");
    assert!(disk(&service, 0).free > 0, "something is left for deletes");
    for some in stored.chunks(30) {
        let chunks = some.iter().filter(|seq| **seq % 4 != 0).map(|seq| id(0, *seq)).collect();
        let deleted = service.handle(true, ChunkRequest::Delete { chunks }, Bytes::new()).await.0;
        assert_eq!(deleted, Ok(ChunkReply::Deleted), "deletes go on");
    }
    until("the disk comes back", || async { disk(&service, 0).fullness == Fullness::Normal }).await;
    assert_eq!(put(&service, id(0, 5000), EPOCH, &bytes(5000)).await, Ok(ChunkReply::Stored));
    for seq in stored.into_iter().filter(|seq| seq % 4 == 0) {
        assert!(intact(&service, id(0, seq), &bytes(seq)).await, "{seq} is lost");
    }
    drop(workers);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_a_byte_is_fenced_and_a_start_takes_it_back_once_there_is_room() {
    let Some(small) = SmallDisk::new(256) else { return };
    let folder = small.path().join("disk");
    let open = || async {
        let disks = StoreConfig::new(ME, vec![folder.clone()]);
        let store = StoreConfig { segment_bytes: 64 << 20, reserve_bytes: 1 << 20, checkpoint_bytes: 1 << 20, ..disks };
        ChunkService::open(ServiceConfig::new(store), Arc::new(FakeSource::default())).await.expect("the service opens")
    };
    let service = open().await;
    let bytes = |seq: u32| data(seq as u8, 200_000 + seq as usize);
    let store = |seq: u32| {
        let (chunk, service) = (reference(id(0, seq), &bytes(seq)), &service);
        async move { service.store.put(0, chunk.id, chunk.root, bytes(seq)).await }
    };
    let mut stored = vec![0];
    store(0).await.expect("a put");
    let ballast = small.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).expect("a file");
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    // The segment has its room already; the index finds none when it is flushed.
    let fenced = loop {
        let seq = stored.len() as u32;
        match store(seq).await {
            Ok(()) => stored.push(seq),
            Err(error) => break error,
        }
        assert!(stored.len() < 300, "the segment holds no more");
    };
    assert!(matches!(fenced, chunk_store::PutError::Fenced { .. }), "{fenced}");
    assert!(disk(&service, 0).fenced);
    assert_eq!(service.has_room_again(), None, "there is none yet");
    drop(file);
    std::fs::remove_file(ballast).expect("it is removed");
    assert_eq!(service.has_room_again(), Some(disk(&service, 0).disk));
    assert!(disk(&service, 0).fenced, "nothing goes on as if nothing had happened");
    service.close().await;
    drop(service);
    let service = open().await;
    assert!(!disk(&service, 0).fenced);
    assert_eq!(service.has_room_again(), None);
    for seq in stored {
        assert!(intact(&service, id(0, seq), &bytes(seq)).await, "{seq} is lost");
    }
}
