//! The store through its public face, on real files.

use bytes::Bytes;
use chunk_store::{
    BatchWritten, ChunkStore, DeleteError, Files, GetError, Observer, OpenError, OsFiles, PutError, SegmentFile, Space,
    StoreConfig,
};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tempfile::TempDir;
use types::{Blake3Root, CHUNK_BYTES_MAX, ChunkId, LEAF_BYTES, NodeId, RetryClass};

struct Fixture {
    folder: TempDir,
    config: StoreConfig,
}

fn fixture(disks: usize) -> Fixture {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let paths = (0..disks).map(|disk| folder.path().join(format!("disk{disk}"))).collect();
    let config = StoreConfig { segment_bytes: 8 << 20, reserve_bytes: 0, ..StoreConfig::new(NodeId(1), paths) };
    Fixture { folder, config }
}

fn sample(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    std::iter::repeat_with(step).take(len).collect::<Vec<u8>>().into()
}

fn root_of(data: &[u8]) -> Blake3Root {
    types::root_of(data, &types::leaves_of(data))
}

async fn put(store: &ChunkStore, disk: usize, id: u128, data: &Bytes) -> Result<(), PutError> {
    store.put(disk, ChunkId(id), root_of(data), data.clone()).await
}

async fn whole(store: &ChunkStore, id: u128, len: usize) -> Result<Bytes, GetError> {
    store.get(ChunkId(id), 0, len as u32).await.map(|read| read.data)
}

#[tokio::test]
async fn chunks_of_every_size_come_back_after_a_restart() {
    let Fixture { config, folder: _folder } = fixture(2);
    let sizes = [1, 4096, LEAF_BYTES, LEAF_BYTES + 1, 300_000, CHUNK_BYTES_MAX - 1, CHUNK_BYTES_MAX];
    for direct_io in [true, false] {
        let config = StoreConfig { direct_io, ..config.clone() };
        let store = ChunkStore::open(&config).expect("the store opens");
        for (i, len) in sizes.into_iter().enumerate() {
            put(&store, i % 2, i as u128, &sample(i as u64, len)).await.expect("a put");
        }
        store.close().await;
        assert!(matches!(put(&store, 0, 99, &sample(1, 1)).await, Err(PutError::Closed)));
    }
    let store = ChunkStore::open(&config).expect("the store opens");
    for (i, len) in sizes.into_iter().enumerate() {
        assert!(whole(&store, i as u128, len).await.expect("a read") == sample(i as u64, len));
    }
    let infos = store.disks();
    assert_eq!(infos.iter().map(|info| info.chunks).sum::<u64>(), sizes.len() as u64);
    assert_eq!(infos.iter().map(|info| info.bytes).sum::<u64>(), sizes.iter().sum::<usize>() as u64);
    assert!(infos.iter().all(|info| !info.fenced && info.total > 0 && info.recovery.records == 0));
}

#[tokio::test]
async fn a_store_that_was_not_closed_finds_everything_again() {
    let Fixture { config, folder } = fixture(1);
    let store = ChunkStore::open(&config).expect("the store opens");
    for id in 0..50 {
        put(&store, 0, id, &sample(id as u64, 10_000)).await.expect("a put");
    }
    store.delete(0, vec![ChunkId(7)]).await.expect("a delete");
    // As after kill -9: the segments are what they are, the index has nothing.
    let copy = folder.path().join("copy");
    std::fs::create_dir_all(copy.join("segments")).expect("a folder");
    for name in ["IDENTITY", "segments/0000000000000001.seg"] {
        std::fs::copy(config.disks[0].join(name), copy.join(name)).expect("a copy");
    }
    let store = ChunkStore::open(&StoreConfig { disks: vec![copy], ..config }).expect("the copy opens");
    assert_eq!(store.disks()[0].recovery.records, 51);
    for id in (0..50).filter(|id| *id != 7) {
        assert!(whole(&store, id, 10_000).await.expect("a read") == sample(id as u64, 10_000));
    }
    assert!(matches!(whole(&store, 7, 10_000).await, Err(GetError::Deleted)));
}

#[tokio::test]
async fn ranges_are_widened_to_leaves_and_verify() {
    let Fixture { config, folder: _folder } = fixture(1);
    let store = ChunkStore::open(&config).expect("the store opens");
    let data = sample(3, 5 * LEAF_BYTES + 17);
    put(&store, 0, 1, &data).await.expect("a put");
    let len = data.len() as u32;
    let leaf = LEAF_BYTES as u32;
    for (offset, wanted) in
        [(0, 1), (leaf - 1, 2), (leaf, leaf), (2 * leaf + 5, 2 * leaf), (len - 1, 1), (0, len), (5 * leaf, 17)]
    {
        let read = store.get(ChunkId(1), offset, wanted).await.expect("a read");
        assert_eq!(read.range(offset, wanted), data.slice(offset as usize..(offset + wanted) as usize));
        assert_eq!((read.chunk_len, read.root, read.first_leaf), (len, root_of(&data), offset / leaf));
        assert_eq!(types::verify_range(&read.root, &read.leaves, read.first_leaf as usize, &read.data), Ok(()));
    }
    for (offset, wanted) in [(0, 0), (len, 1), (0, len + 1), (u32::MAX, 2), (5, u32::MAX)] {
        let refused = store.get(ChunkId(1), offset, wanted).await;
        assert!(matches!(refused, Err(GetError::Range { chunk_len, .. }) if chunk_len == len), "{offset}+{wanted}");
    }
    assert!(matches!(store.get(ChunkId(2), 0, 1).await, Err(GetError::NotFound)));
}

#[tokio::test]
async fn puts_are_idempotent_and_refuse_what_does_not_fit() {
    let Fixture { config, folder: _folder } = fixture(2);
    let store = ChunkStore::open(&config).expect("the store opens");
    let (data, other) = (sample(1, 1000), sample(2, 1000));
    put(&store, 0, 1, &data).await.expect("a put");
    put(&store, 0, 1, &data).await.expect("the same again");
    put(&store, 1, 1, &data).await.expect("the same on another disk");
    assert_eq!(store.disks().iter().map(|info| info.chunks).collect::<Vec<_>>(), [1, 0]);
    for disk in [0, 1] {
        let refused = put(&store, disk, 1, &other).await.expect_err("a conflict");
        assert!(matches!(refused, PutError::Conflict));
        assert_eq!(refused.retry_class(), RetryClass::Fatal);
    }
    let mismatch = store.put(0, ChunkId(2), root_of(&data), other.clone()).await;
    assert!(matches!(mismatch, Err(PutError::HashMismatch)));
    assert!(matches!(put(&store, 0, 2, &Bytes::new()).await, Err(PutError::Invalid { len: 0 })));
    let large = Bytes::from(vec![0; CHUNK_BYTES_MAX + 1]);
    assert!(matches!(put(&store, 0, 2, &large).await, Err(PutError::Invalid { .. })));
    assert!(matches!(put(&store, 2, 2, &data).await, Err(PutError::NoSuchDisk { disk: 2 })));
    assert_eq!(store.stat(vec![ChunkId(1), ChunkId(2)]).await.expect("stat"), [Some((1000, root_of(&data))), None]);
}

#[tokio::test]
async fn a_deleted_id_is_gone_for_good() {
    let Fixture { config, folder: _folder } = fixture(2);
    let store = ChunkStore::open(&config).expect("the store opens");
    let data = sample(1, 1000);
    put(&store, 0, 1, &data).await.expect("a put");
    put(&store, 1, 2, &data).await.expect("a put");
    for _ in 0..2 {
        store.delete(0, vec![ChunkId(1), ChunkId(2), ChunkId(3)]).await.expect("a delete");
    }
    store.close().await;
    drop(store);
    let store = ChunkStore::open(&config).expect("the store opens");
    for id in 1..=3 {
        assert!(matches!(whole(&store, id, 1000).await, Err(GetError::Deleted)), "{id}");
        for disk in [0, 1] {
            assert!(matches!(put(&store, disk, id, &data).await, Err(PutError::Deleted)), "{id}");
        }
    }
    assert_eq!(store.disks().iter().map(|info| info.chunks).sum::<u64>(), 0);
    let many = (0..5000).map(ChunkId).collect();
    assert!(matches!(store.delete(0, many).await, Err(DeleteError::TooMany { len: 5000 })));
}

#[tokio::test]
async fn listing_merges_the_disks_in_pages() {
    let Fixture { config, folder: _folder } = fixture(3);
    let store = ChunkStore::open(&config).expect("the store opens");
    for id in 0..20u128 {
        put(&store, (id % 3) as usize, id, &sample(id as u64, 100)).await.expect("a put");
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(after, 7).await.expect("a listing");
        assert!(page.iter().all(|listed| listed.disk == (listed.chunk.0 % 3) as usize && listed.len == 100));
        seen.extend(page.iter().map(|listed| listed.chunk.0));
        after = page.last().map(|listed| listed.chunk);
        if page.len() < 7 {
            break;
        }
    }
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_rotten_replica_is_an_error_then_quarantined_then_replaced() {
    let Fixture { config, folder: _folder } = fixture(1);
    let store = ChunkStore::open(&config).expect("the store opens");
    let data = sample(1, 3 * LEAF_BYTES);
    put(&store, 0, 1, &data).await.expect("a put");
    let path = config.disks[0].join("segments/0000000000000001.seg");
    // The record begins behind the first block; 128 bytes of header; the second leaf.
    flip(&path, 4096 + 128 + LEAF_BYTES as u64 + 5);
    assert!(matches!(store.get(ChunkId(1), LEAF_BYTES as u32, 1).await, Err(GetError::Corrupt)));
    // The queue is worked off in order, so what was asked before is done when this is.
    put(&store, 0, 2, &data).await.expect("a put");
    assert_eq!(store.stat(vec![ChunkId(1)]).await.expect("stat"), [None]);
    assert!(matches!(store.get(ChunkId(1), 0, 1).await, Err(GetError::Corrupt)));
    assert!(matches!(put(&store, 0, 1, &sample(9, 77)).await, Err(PutError::Conflict)));
    put(&store, 0, 1, &data).await.expect("a put again");
    assert!(whole(&store, 1, data.len()).await.expect("a read") == data);
}

fn flip(path: &Path, offset: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(path).expect("the segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("a read");
    file.write_all_at(&[byte[0] ^ 1], offset).expect("a write");
}

/// Files that can be told to fail or to wait, and that count.
#[derive(Default)]
struct Control {
    fail_sync: AtomicBool,
    hold_sync: std::sync::Mutex<()>,
    syncs: AtomicUsize,
}

struct ControlledFiles(OsFiles, Arc<Control>);
struct ControlledFile(Arc<dyn SegmentFile>, Arc<Control>);

impl Files for ControlledFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(ControlledFile(self.0.create(name, bytes)?, self.1.clone())))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(ControlledFile(self.0.open(name)?, self.1.clone())))
    }
    fn size(&self, name: &str) -> io::Result<u64> {
        self.0.size(name)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn space(&self) -> io::Result<Space> {
        self.0.space()
    }
}

impl SegmentFile for ControlledFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn sync(&self) -> io::Result<()> {
        drop(self.1.hold_sync.lock());
        self.1.syncs.fetch_add(1, Ordering::SeqCst);
        if self.1.fail_sync.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.0.sync()
    }
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.0.next_data(offset)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}

fn controlled(config: &StoreConfig, observer: Arc<dyn Observer>) -> (ChunkStore, Arc<Control>) {
    let control = Arc::new(Control::default());
    let first = config.disks[0].join("segments");
    let make = |folder: &Path| -> io::Result<Arc<dyn Files>> {
        let files = OsFiles::open(folder, true)?;
        Ok(if folder == first { Arc::new(ControlledFiles(files, control.clone())) } else { Arc::new(files) })
    };
    let store = ChunkStore::open_with(config, observer, &make).expect("the store opens");
    (store, control)
}

#[derive(Default)]
struct Counts {
    records: AtomicU64,
    batches: AtomicU64,
    fenced: AtomicU64,
}

impl Observer for Counts {
    fn batch_written(&self, batch: BatchWritten) {
        self.records.fetch_add(batch.records as u64, Ordering::SeqCst);
        self.batches.fetch_add(1, Ordering::SeqCst);
    }
    fn fenced(&self, disk: usize) {
        assert_eq!(disk, 0);
        self.fenced.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn writers_that_come_together_share_a_flush() {
    let Fixture { config, folder: _folder } = fixture(1);
    let counts = Arc::new(Counts::default());
    let (store, control) = controlled(&config, counts.clone());
    put(&store, 0, 1000, &sample(1, 100)).await.expect("a put");
    let before = control.syncs.load(Ordering::SeqCst);
    let store = Arc::new(store);
    let held = control.hold_sync.lock().expect("the lock");
    let mut tasks: Vec<_> = Vec::new();
    for id in 0..32u128 {
        let store = store.clone();
        let mut task = Box::pin(async move { put(&store, 0, id, &sample(id as u64, 1000)).await });
        // Polled once, it is in the queue.
        assert!(futures_poll_once(&mut task).is_none());
        tasks.push(task);
    }
    drop(held);
    for task in tasks {
        task.await.expect("a put");
    }
    let flushes = control.syncs.load(Ordering::SeqCst) - before;
    assert!((1..=2).contains(&flushes), "{flushes} flushes for 32 puts");
    assert_eq!(counts.records.load(Ordering::SeqCst), 33);
}

/// Polls a future once.
fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn beyond_the_queues_bytes_it_is_busy_and_dropped_puts_do_no_harm() {
    let Fixture { config, folder: _folder } = fixture(1);
    let config = StoreConfig { queue_bytes_max: CHUNK_BYTES_MAX, ..config };
    let (store, control) = controlled(&config, Arc::new(Counts::default()));
    let small = sample(1, 100_000);
    let held = control.hold_sync.lock().expect("the lock");
    let mut busy = 0;
    for id in 0..50 {
        let mut task = Box::pin(put(&store, 0, id, &small));
        match futures_poll_once(&mut task) {
            // Dropped while it waits.
            None => {}
            Some(Err(error)) => {
                assert!(matches!(error, PutError::Busy), "{error}");
                assert_eq!(error.retry_class(), RetryClass::Retry);
                busy += 1;
            }
            Some(Ok(())) => panic!("nothing is durable yet"),
        }
    }
    assert_eq!(busy, 50 - CHUNK_BYTES_MAX / 100_000);
    drop(held);
    // What was dropped is written nevertheless; the queue is empty again after it, which a chunk of full size needs.
    let large = sample(2, CHUNK_BYTES_MAX);
    let stored = async {
        while let Err(error) = put(&store, 0, 100, &large).await {
            assert!(matches!(error, PutError::Busy), "{error}");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), stored).await.expect("the queue empties");
    assert!(whole(&store, 0, 100_000).await.expect("a read") == small);
}

#[tokio::test]
async fn a_failed_flush_fences_that_disk_alone() {
    let Fixture { config, folder: _folder } = fixture(2);
    let counts = Arc::new(Counts::default());
    let (store, control) = controlled(&config, counts.clone());
    let data = sample(1, 1000);
    put(&store, 0, 1, &data).await.expect("a put");
    control.fail_sync.store(true, Ordering::SeqCst);
    assert!(matches!(put(&store, 0, 2, &data).await, Err(PutError::Fenced { .. })));
    control.fail_sync.store(false, Ordering::SeqCst);
    let refused = put(&store, 0, 3, &data).await.expect_err("fenced");
    assert_eq!(refused.retry_class(), RetryClass::RetryElsewhere);
    assert!(matches!(put(&store, 0, 1, &data).await, Err(PutError::Fenced { .. })), "not even what is there");
    assert!(matches!(store.delete(0, vec![ChunkId(1)]).await, Err(DeleteError::Fenced { .. })));
    assert_eq!(counts.fenced.load(Ordering::SeqCst), 1);
    assert_eq!(store.disks().iter().map(|info| info.fenced).collect::<Vec<_>>(), [true, false]);
    put(&store, 1, 4, &data).await.expect("the other disk goes on");
    assert!(whole(&store, 1, 1000).await.expect("verified reads go on") == data);
    assert!(matches!(whole(&store, 2, 1000).await, Err(GetError::NotFound)));
}

#[tokio::test]
async fn a_disk_that_does_not_open_is_not_a_dead_node() {
    let Fixture { config, folder: _folder } = fixture(2);
    drop(ChunkStore::open(&config).expect("the store opens"));
    let broken = config.disks[0].join("segments");
    let make = |folder: &Path| -> io::Result<Arc<dyn Files>> {
        if folder == broken {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(Arc::new(OsFiles::open(folder, false)?))
    };
    let counts = Arc::new(Counts::default());
    let store = ChunkStore::open_with(&config, counts.clone(), &make).expect("the store opens");
    let data = sample(1, 1000);
    assert!(matches!(put(&store, 0, 1, &data).await, Err(PutError::Fenced { .. })));
    put(&store, 1, 1, &data).await.expect("a put");
    assert!(whole(&store, 1, 1000).await.expect("a read") == data);
    assert_eq!(store.disks().iter().map(|info| info.fenced).collect::<Vec<_>>(), [true, false]);
    assert_eq!(counts.fenced.load(Ordering::SeqCst), 1);
}

#[test]
fn directories_are_refused_for_a_reason_that_is_told() {
    let Fixture { config, folder } = fixture(2);
    let store = ChunkStore::open(&config).expect("the store opens");
    let id = store.disks()[1].id;
    assert_eq!(store.disk_number(id), Some(1));
    assert!(matches!(ChunkStore::open(&config), Err(OpenError::Locked { .. })));
    drop(store);
    let twice = StoreConfig { disks: vec![config.disks[0].clone(), config.disks[0].clone()], ..config.clone() };
    assert!(matches!(ChunkStore::open(&twice), Err(OpenError::Locked { .. })));
    let foreign = StoreConfig { node: NodeId(2), ..config.clone() };
    assert!(matches!(ChunkStore::open(&foreign), Err(OpenError::Foreign { owner: NodeId(1), .. })));
    let missing = StoreConfig { create: false, disks: vec![folder.path().join("nowhere")], ..config.clone() };
    assert!(matches!(ChunkStore::open(&missing), Err(OpenError::Missing { .. })));
    std::fs::remove_file(config.disks[0].join("IDENTITY")).expect("the identity");
    let message = ChunkStore::open(&config).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(message.contains("no identity"), "{message}");
    let bad = StoreConfig { segment_bytes: 1000, ..config };
    assert!(matches!(ChunkStore::open(&bad), Err(OpenError::Config { .. })));
}

#[tokio::test]
async fn the_reserve_is_kept_free() {
    let Fixture { config, folder: _folder } = fixture(1);
    let store = ChunkStore::open(&StoreConfig { reserve_bytes: u64::MAX / 2, ..config }).expect("the store opens");
    assert!(matches!(put(&store, 0, 1, &sample(1, 1000)).await, Err(PutError::NoSpace)));
    store.delete(0, vec![ChunkId(1)]).await.expect("deletes go on");
    // The segment that the tombstone opened is there to be used.
    put(&store, 0, 2, &sample(2, 1000)).await.expect("a put");
}
