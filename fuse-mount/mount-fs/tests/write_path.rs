//! What the mount's write path promises, against a cluster that can be told to fail.

#[allow(dead_code, reason = "shared with other tests")]
mod fake;

use cluster_client::{CallError, WriteError};
use fake::{Calls, FakeCluster};
use mount_fs::{Attr, Caller, FsConfig, FsError, MountFs, OpenMode, SetAttr};
use std::sync::Arc;
use std::time::Duration;

const ME: Caller = Caller { uid: 1000, gid: 1000 };
const WRITE: OpenMode = OpenMode { write: true, truncate: false };
const READ: OpenMode = OpenMode { write: false, truncate: false };

async fn mounted(config: FsConfig) -> (Arc<FakeCluster>, Arc<MountFs>) {
    let cluster = FakeCluster::new();
    let fs = MountFs::open_bucket(cluster.clone(), "books", config).await.expect("the fake has the bucket");
    (cluster, fs)
}

async fn create(fs: &Arc<MountFs>, name: &str) -> (Attr, u64) {
    let (attr, opened) = fs.create(fs.ino_of(1), name.as_bytes(), 0o644, ME, false, WRITE).await.expect("create");
    (attr, opened.handle)
}

fn since(cluster: &FakeCluster, before: Calls) -> Calls {
    let now = cluster.calls();
    Calls {
        commands: now.commands - before.commands,
        queries: now.queries - before.queries,
        chunk_writes: now.chunk_writes - before.chunk_writes,
        chunk_reads: now.chunk_reads - before.chunk_reads,
    }
}

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 253) as u8).collect()
}

#[tokio::test]
async fn a_small_file_costs_one_create_one_chunk_and_one_write() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let before = cluster.calls();
    let (_, handle) = create(&fs, "page.png").await;
    fs.write(handle, 0, &sample(64 << 10), false).await.expect("write");
    fs.flush(handle).await.expect("flush");
    fs.release(handle).await.expect("release");
    assert_eq!(since(&cluster, before), Calls { commands: 2, queries: 0, chunk_writes: 1, chunk_reads: 0 });
    assert_eq!(cluster.content("page.png"), sample(64 << 10));
    assert_eq!(fs.memory_used(), (0, 0));
}

async fn make_in(fs: &Arc<MountFs>, dir: &Attr, name: &[u8]) {
    fs.create(dir.ino, name, 0o644, ME, true, WRITE).await.expect("create");
}

#[tokio::test(start_paused = true)]
async fn in_a_directory_made_here_what_is_not_there_is_known_without_asking() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let dir = fs.mkdir(fs.ino_of(1), b"dir", 0o755, ME).await.expect("mkdir");
    let before = cluster.calls();
    for name in [b"a", b"b"] {
        assert_eq!(fs.lookup(dir.ino, name).await, Err(FsError::NotFound));
        make_in(&fs, &dir, name).await;
    }
    assert_eq!(since(&cluster, before), Calls { commands: 2, ..Calls::default() });
    assert!(fs.lookup(dir.ino, b"a").await.is_ok(), "what was made is asked for");

    let another = FsConfig { strict: true, ..FsConfig::default() };
    let theirs = MountFs::open_bucket(cluster.clone(), "books", another).await.expect("the fake has the bucket");
    make_in(&theirs, &dir, b"theirs").await;
    tokio::time::advance(Duration::from_millis(100)).await;
    make_in(&fs, &dir, b"c").await;
    assert!(fs.lookup(dir.ino, b"theirs").await.is_ok(), "somebody else was there");
}

#[tokio::test]
async fn a_strict_mount_asks_for_every_name() {
    let (cluster, fs) = mounted(FsConfig { strict: true, ..FsConfig::default() }).await;
    let dir = fs.mkdir(fs.ino_of(1), b"dir", 0o755, ME).await.expect("mkdir");
    let before = cluster.calls();
    assert_eq!(fs.lookup(dir.ino, b"a").await, Err(FsError::NotFound));
    assert_eq!(since(&cluster, before), Calls { queries: 1, ..Calls::default() });
}

#[tokio::test]
async fn a_tiny_file_goes_inline_and_grows_out_of_it() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let (_, handle) = create(&fs, "note").await;
    fs.write(handle, 0, b"hello", false).await.expect("write");
    fs.flush(handle).await.expect("flush");
    assert!(cluster.is_inline("note"));
    fs.write(handle, 5, b", world", false).await.expect("write");
    fs.flush(handle).await.expect("flush");
    assert!(cluster.is_inline("note"));
    assert_eq!((cluster.content("note"), cluster.calls().chunk_writes), (b"hello, world".to_vec(), 0));
    fs.write(handle, 12, &sample(5000), false).await.expect("write");
    fs.flush(handle).await.expect("flush");
    assert_eq!(cluster.calls().chunk_writes, 1);
    assert_eq!(cluster.content("note"), [b"hello, world".to_vec(), sample(5000)].concat());
}

#[tokio::test]
async fn a_large_file_is_pushed_in_chunks_and_committed_once() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let (_, handle) = create(&fs, "book.pdf").await;
    let data = sample(50 << 20);
    for (i, block) in data.chunks(1 << 20).enumerate() {
        fs.write(handle, (i as u64) << 20, block, false).await.expect("write");
    }
    let before = cluster.calls().commands;
    fs.fsync(handle).await.expect("fsync");
    assert_eq!((cluster.calls().commands - before, cluster.calls().chunk_writes), (1, 13));
    assert!(cluster.content("book.pdf") == data);
    assert_eq!(fs.memory_used().0, 0);
}

#[tokio::test]
async fn what_is_buffered_is_read_and_shown_before_it_is_committed() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let (attr, handle) = create(&fs, "draft").await;
    fs.write(handle, 0, &sample(100_000), false).await.expect("write");
    fs.flush(handle).await.expect("flush");
    fs.write(handle, 50_000, b"fresh", false).await.expect("write");
    fs.write(handle, 200_000, b"far", false).await.expect("write");
    let mut model = sample(100_000);
    model[50_000..50_005].copy_from_slice(b"fresh");
    model.resize(200_000, 0);
    model.extend_from_slice(b"far");
    let seen = fs.read(handle, 0, 300_000).await.expect("read");
    assert!(seen == model, "the overlay is wrong");
    assert_eq!(fs.getattr(attr.ino).await.map(|attr| attr.size), Ok(200_003));
    assert_eq!(cluster.content("draft").len(), 100_000);
    fs.flush(handle).await.expect("flush");
    assert!(cluster.content("draft") == model);
}

#[tokio::test]
async fn scattered_writes_share_a_chunk() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let (_, handle) = create(&fs, "db").await;
    for i in 0..300u64 {
        fs.write(handle, (i * 7919) % 300 * 8192, &sample(4096), false).await.expect("write");
    }
    fs.flush(handle).await.expect("flush");
    assert_eq!((cluster.calls().chunk_writes, cluster.extent_count("db")), (1, 300));
}

#[tokio::test]
async fn appends_from_two_handles_land_one_after_the_other() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let (attr, first) = create(&fs, "log").await;
    let second = fs.open(attr.ino, WRITE).await.expect("open").handle;
    for i in 0..5 {
        fs.write(first, 0, format!("a{i}\n").as_bytes(), true).await.expect("append");
        fs.write(second, 0, format!("b{i}\n").as_bytes(), true).await.expect("append");
        if i == 2 {
            fs.flush(first).await.expect("flush");
        }
    }
    let all = b"a0\nb0\na1\nb1\na2\nb2\na3\nb3\na4\nb4\n";
    assert_eq!(fs.read(first, 0, 100).await.as_deref(), Ok(&all[..]));
    fs.flush(second).await.expect("flush");
    assert_eq!(cluster.content("log"), all);
}

#[tokio::test]
async fn truncate_cuts_what_is_buffered_and_what_is_stored() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let (attr, handle) = create(&fs, "t").await;
    fs.write(handle, 0, &sample(10_000), false).await.expect("write");
    fs.flush(handle).await.expect("flush");
    fs.write(handle, 9_000, &sample(3_000), false).await.expect("write");
    let cut = SetAttr { size: Some(9_500), ..SetAttr::default() };
    assert_eq!(fs.setattr(attr.ino, cut).await.map(|attr| attr.size), Ok(9_500));
    let longer = SetAttr { size: Some(11_000), ..SetAttr::default() };
    fs.setattr(attr.ino, longer).await.expect("setattr");
    let mut model = sample(10_000);
    model.truncate(9_000);
    model.extend_from_slice(&sample(500));
    model.resize(11_000, 0);
    assert!(fs.read(handle, 0, 20_000).await.expect("read") == model);
    fs.release(handle).await.expect("release");
    assert!(cluster.content("t") == model);
}

#[tokio::test]
async fn a_loss_is_reported_once_by_each_handle_and_not_by_later_ones() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let (attr, first) = create(&fs, "f").await;
    let second = fs.open(attr.ino, WRITE).await.expect("open").handle;
    fs.write(first, 0, &sample(10_000), false).await.expect("write");
    cluster.fail_chunks(Some(WriteError::NoSpace));
    assert_eq!(fs.flush(first).await, Err(FsError::NoSpace));
    assert_eq!(fs.flush(first).await, Ok(()));
    cluster.fail_chunks(None);
    assert_eq!(fs.write(second, 0, b"x", false).await, Err(FsError::NoSpace));
    assert_eq!(fs.write(second, 0, b"x", false).await, Ok(1));
    let third = fs.open(attr.ino, WRITE).await.expect("open").handle;
    assert_eq!(fs.fsync(third).await, Ok(()));
    assert_eq!(cluster.content("f"), b"x");
    assert_eq!(fs.memory_used().0, 0);
}

#[tokio::test]
async fn a_commit_with_unknown_outcome_is_reported_and_not_sent_again() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let (_, handle) = create(&fs, "f").await;
    fs.write(handle, 0, b"tiny", false).await.expect("write");
    cluster.fail_commands(Some(CallError::Unknown));
    let before = cluster.calls().commands;
    assert_eq!(fs.fsync(handle).await, Err(FsError::OutcomeUnknown));
    assert_eq!(cluster.calls().commands - before, 1);
    assert_eq!(fs.memory_used().0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_away_for_a_while_is_waited_for_and_then_given_up() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let (_, handle) = create(&fs, "f").await;
    cluster.fail_chunks(Some(WriteError::Unavailable));
    fs.write(handle, 0, &sample(10_000), false).await.expect("write");
    let flush = tokio::spawn({
        let fs = fs.clone();
        async move { fs.flush(handle).await }
    });
    tokio::time::sleep(Duration::from_secs(10)).await; // wait-ok: the clock is paused, no time passes
    cluster.fail_chunks(None);
    assert_eq!(flush.await.expect("joined"), Ok(()));

    cluster.fail_chunks(Some(WriteError::Unavailable));
    fs.write(handle, 0, &sample(10_000), false).await.expect("write");
    let begun = tokio::time::Instant::now();
    assert_eq!(fs.flush(handle).await, Err(FsError::Unavailable));
    assert!(begun.elapsed() <= Duration::from_secs(31), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn writers_wait_while_the_buffer_is_full_and_go_on_when_chunks_are_stored() {
    let config = FsConfig { inode_buffer_bytes: 8 << 20, write_buffer_bytes: 8 << 20, ..FsConfig::default() };
    let (cluster, fs) = mounted(config).await;
    let (_, handle) = create(&fs, "f").await;
    cluster.gate.forget_permits(1 << 20);
    let block = sample(1 << 20);
    for i in 0..8u64 {
        assert_eq!(fs.write_now(handle, i << 20, &block, false), Some(Ok(1 << 20)));
    }
    assert_eq!(fs.write_now(handle, 8 << 20, &block, false), None);
    assert_eq!(fs.memory_used().0, 8 << 20);
    let writer = tokio::spawn({
        let (fs, block) = (fs.clone(), block.clone());
        async move { fs.write(handle, 8 << 20, &block, false).await }
    });
    tokio::task::yield_now().await;
    assert!(!writer.is_finished());
    cluster.gate.add_permits(1 << 20);
    assert_eq!(writer.await.expect("joined"), Ok(1 << 20));
    fs.flush(handle).await.expect("flush");
    assert_eq!(cluster.content("f").len(), 9 << 20);
}

#[tokio::test(start_paused = true)]
async fn old_dirty_data_is_committed_without_being_asked_for() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let (_, handle) = create(&fs, "log").await;
    fs.write(handle, 0, b"line\n", true).await.expect("write");
    tokio::time::sleep(Duration::from_secs(8)).await; // wait-ok: the clock is paused, no time passes
    assert_eq!(cluster.content("log"), b"line\n");
    fs.release(handle).await.expect("release");
}

#[tokio::test]
async fn the_kernel_keeps_its_pages_only_while_nobody_else_writes() {
    let (cluster, here) = mounted(FsConfig::default()).await;
    let there = MountFs::open_bucket(cluster.clone(), "books", FsConfig::default()).await.expect("second mount");
    let (attr, handle) = create(&here, "f").await;
    here.write(handle, 0, &sample(9_000), false).await.expect("write");
    here.release(handle).await.expect("release");
    let again = here.open(attr.ino, READ).await.expect("open");
    assert!(again.keep_cache, "only this mount has written");
    let other = there.open(attr.ino, WRITE).await.expect("open").handle;
    there.write(other, 0, b"theirs", false).await.expect("write");
    there.release(other).await.expect("release");
    let third = here.open(attr.ino, READ).await.expect("open");
    assert!(!third.keep_cache);
    assert_eq!(here.read(again.handle, 0, 6).await.as_deref(), Ok(&b"theirs"[..]), "the older handle sees it too");
}

#[tokio::test]
async fn an_open_of_a_replaced_file_is_stale_and_its_old_handle_reads_on() {
    let (_, fs) = mounted(FsConfig::default()).await;
    let (attr, handle) = create(&fs, "f").await;
    fs.write(handle, 0, b"old", false).await.expect("write");
    fs.flush(handle).await.expect("flush");
    fs.unlink(fs.ino_of(1), b"f").await.expect("unlink");
    assert_eq!(fs.open(attr.ino, READ).await.err(), Some(FsError::Stale));
    fs.write(handle, 3, b"er", false).await.expect("write");
    fs.flush(handle).await.expect("flush");
    assert_eq!(fs.read(handle, 0, 10).await.as_deref(), Ok(&b"older"[..]));
}

#[tokio::test]
async fn a_reader_finds_the_new_extents_when_the_old_chunks_are_gone() {
    let (cluster, here) = mounted(FsConfig::default()).await;
    let there = MountFs::open_bucket(cluster.clone(), "books", FsConfig::default()).await.expect("second mount");
    let (attr, handle) = create(&here, "f").await;
    here.write(handle, 0, &sample(9 << 20), false).await.expect("write");
    here.flush(handle).await.expect("flush");
    here.read(handle, 0, 4096).await.expect("read");
    let other = there.open(attr.ino, WRITE).await.expect("open").handle;
    let new = vec![7; 9 << 20];
    there.write(other, 0, &new, false).await.expect("write");
    there.release(other).await.expect("release");
    cluster.collect_garbage();
    assert_eq!(here.read(handle, 8 << 20, 4096).await.as_deref(), Ok(&new[..4096]));
}

#[tokio::test]
async fn a_file_is_read_with_few_calls() {
    let (cluster, fs) = mounted(FsConfig::default()).await;
    let (attr, handle) = create(&fs, "f").await;
    let data = sample(3 << 20);
    for (i, block) in data.chunks(1 << 20).enumerate() {
        fs.write(handle, (i as u64) << 20, block, false).await.expect("write");
    }
    fs.release(handle).await.expect("release");
    fs.forget(attr.ino);
    let before = cluster.calls();
    let handle = fs.open(attr.ino, READ).await.expect("open").handle;
    let mut seen = Vec::new();
    loop {
        let part = fs.read(handle, seen.len() as u64, 128 << 10).await.expect("read");
        if part.is_empty() {
            break;
        }
        seen.extend_from_slice(&part);
    }
    assert!(seen == data);
    assert_eq!(since(&cluster, before), Calls { queries: 2, chunk_reads: 3, ..Calls::default() });
}

#[tokio::test]
async fn a_directory_is_listed_whole_while_it_changes() {
    let (_, fs) = mounted(FsConfig::default()).await;
    for i in 0..2000 {
        let (_, handle) = create(&fs, &format!("name-{i:05}")).await;
        fs.release(handle).await.expect("release");
    }
    for fresh in [false, true] {
        let dir = fs.opendir(fs.ino_of(1)).expect("opendir");
        let (mut offset, mut names) = (2, Vec::new());
        loop {
            let page = fs.readdir(dir, offset, fresh).await.expect("readdir");
            let items: Vec<_> = page.items().take(50).collect();
            let Some(last) = items.last() else { break };
            offset = last.offset;
            names.extend(items.into_iter().map(|item| item.name));
            if names.len() == 1000 && !fresh {
                fs.unlink(fs.ino_of(1), b"name-00010").await.expect("unlink");
            }
        }
        let mut unique = names.clone();
        unique.dedup();
        assert_eq!((names.len(), unique.len()), (if fresh { 1999 } else { 2000 }, names.len()));
        if fresh {
            let back = fs.readdir(dir, 1002, fresh).await.expect("seek");
            assert_eq!(back.items().next().map(|item| item.name), Some(names[1000].clone()));
        }
        fs.releasedir(dir).expect("releasedir");
    }
}
