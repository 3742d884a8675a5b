use super::*;
use crate::config::StoreConfig;
use crate::record::{self, BLOCK_BYTES, HEADER_BYTES, Header, TRAILER_BYTES};
use crate::segment::name_of;
use crate::store::ChunkStore;
use bytes::Bytes;
use rocksdb::{DB, Options};
use std::fs;
use std::os::unix::fs::FileExt;
use tempfile::TempDir;
use types::Severity;

const NODE: NodeId = NodeId(3);
const DISK: DiskId = DiskId([7; 16]);
/// Live chunks of a filled disk; another one is deleted, and one has moved away.
const LIVE: u64 = 12;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
}

fn id(number: u64) -> ChunkId {
    ChunkId(u128::from(number) << 64)
}

fn data(number: u64) -> Bytes {
    let len = if number.is_multiple_of(2) { 1 << 20 } else { 5_000 };
    (0..len).map(|i: u64| (i.wrapping_mul(31) ^ number) as u8).collect::<Vec<_>>().into()
}

fn store(path: &Path) -> ChunkStore {
    let mut config = StoreConfig::new(NODE, vec![path.to_owned()]);
    config.disk_ids = vec![DISK];
    config.segment_bytes = 8 << 20;
    config.reserve_bytes = 1 << 20;
    ChunkStore::open(&config).expect("the store opens")
}

async fn put(store: &ChunkStore, number: u64) {
    let data = data(number);
    let root = types::root_of(&data, &types::leaves_of(&data));
    store.put(0, id(number), root, data).await.expect("stored");
}

/// A disk with two segments, closed in order.
fn filled() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = store(dir.path());
    run(async {
        for number in 1..=LIVE + 2 {
            put(&store, number).await;
        }
        store.delete(0, vec![id(LIVE + 1)]).await.expect("deleted");
        store.forget(0, vec![id(LIVE + 2)]).await.expect("let go");
        // Long enough for a second segment.
        for number in (100..100 + LIVE).step_by(2) {
            put(&store, number).await;
            store.delete(0, vec![id(number)]).await.expect("deleted");
        }
        store.close().await;
    });
    dir
}

fn bytes_of(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        files.insert(folder.display().to_string(), Vec::new());
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(files.insert(path.display().to_string(), fs::read(&path).expect("a file"))),
            }
        }
    }
    files
}

/// Checks, and holds that nothing was changed.
fn checked(path: &Path, deep: bool) -> (Findings, Option<CheckedDisk>) {
    let before = bytes_of(path);
    let mut findings = Findings::default();
    let disk = check(path, NODE, Some(DISK), deep, &mut findings, &mut |_| {}).expect("it can be checked");
    assert!(before == bytes_of(path), "the check has changed something");
    (findings, disk)
}

/// What was found that is more than a note.
fn found(path: &Path, deep: bool) -> Vec<(&'static str, u64)> {
    let (findings, _) = checked(path, deep);
    findings
        .counts()
        .filter(|(_, severity, _)| *severity > Severity::Note)
        .map(|(code, _, count)| (code, count))
        .collect()
}

/// Where a replica lies.
fn located(path: &Path, number: u64) -> Located {
    let (index, _) = Index::open_read_only(path, DISK).expect("readable").expect("an index");
    match index.get(id(number)) {
        Ok(Some(Entry::Live(located))) => located,
        other => panic!("{other:?}"),
    }
}

fn segment_of(path: &Path, located: &Located) -> std::path::PathBuf {
    path.join("segments").join(name_of(located.place.segment))
}

fn flip(file: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(file).expect("a segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
}

fn plant(path: &Path, change: impl FnOnce(&DB)) {
    let db = DB::open(&Options::default(), path.join("index")).expect("the index opens");
    change(&db);
    db.flush().expect("flushed");
}

fn row_key(number: u64) -> Vec<u8> {
    [&b"c"[..], &id(number).to_bytes()].concat()
}

#[test]
fn a_sound_disk_has_nothing_to_report_and_is_not_changed() {
    let dir = filled();
    for deep in [false, true] {
        let (findings, disk) = checked(dir.path(), deep);
        assert_eq!(findings, Findings::default());
        let disk = disk.expect("a disk");
        assert_eq!((disk.disk, disk.summary.chunks, disk.summary.segments), (DISK, LIVE, 2));
        assert_eq!(disk.summary.rowless, 1, "the one that moved away");
        let mut live = Vec::new();
        disk.each_live(|chunk| live.push(chunk));
        assert_eq!(live, (1..=LIVE).map(id).collect::<Vec<_>>());
        assert!(matches!(disk.held(id(1)), Held::Live(5_000, _)));
        assert_eq!((disk.held(id(LIVE + 1)), disk.held(id(LIVE + 2))), (Held::Deleted, Held::Nothing));
    }
    drop(store(dir.path()));
}

#[test]
fn a_disk_in_use_is_not_checked_and_one_being_checked_is_not_opened() {
    let dir = filled();
    let open = store(dir.path());
    let refused = check(dir.path(), NODE, None, false, &mut Findings::default(), &mut |_| {}).err();
    assert!(matches!(refused, Some(OpenError::Locked { .. })));
    drop(open);
    let (_, held) = checked(dir.path(), false);
    let config = StoreConfig::new(NODE, vec![dir.path().to_owned()]);
    assert!(matches!(ChunkStore::open(&config).err(), Some(OpenError::Locked { .. })));
    drop(held);
}

#[test]
fn damage_of_a_replica_is_named_wherever_it_is() {
    for (number, at, expected) in [
        (2, HEADER_BYTES as u64 + 70_000, "chunk-damaged"),
        // Nobody can tell any more what lay there, except the index.
        (2, 40, "chunk-frame-damaged"),
        (3, HEADER_BYTES as u64 + 1, "chunk-damaged"),
    ] {
        let dir = filled();
        let located = located(dir.path(), number);
        flip(&segment_of(dir.path(), &located), located.place.offset + at);
        assert_eq!(found(dir.path(), false), [(expected, 1), ("segment-damaged", 1)]);
    }
    let dir = filled();
    let there = located(dir.path(), 5);
    let end = there.place.offset + (HEADER_BYTES + there.len as usize + TRAILER_BYTES) as u64;
    flip(&segment_of(dir.path(), &there), end - 1);
    assert_eq!(found(dir.path(), false), [("chunk-frame-damaged", 1), ("segment-damaged", 1)]);
}

#[test]
fn data_with_a_right_checksum_and_a_wrong_hash_is_found_by_a_deep_look() {
    let dir = filled();
    let there = located(dir.path(), 2);
    let (file, place) = (segment_of(dir.path(), &there), there.place);
    let text = fs::read_to_string(dir.path().join(IDENTITY)).expect("the identity");
    let tag = Identity::decode(&text).expect("an identity").tag;
    let mut bytes = vec![0; record::record_bytes(there.len as usize) as usize];
    let opened = File::options().read(true).write(true).open(&file).expect("a segment");
    opened.read_exact_at(&mut bytes, place.offset).expect("read");
    let head = bytes.first_chunk::<HEADER_BYTES>().expect("a header");
    let header = Header::decode(head, &tag, place).expect("a header");
    let other = vec![9; there.len as usize];
    let leaves = types::leaves_of(&other);
    let crc = record::body_crc(&other, &leaves);
    record::encode_into(&mut bytes, &header, &tag, &other, &leaves, crc);
    opened.write_all_at(&bytes, place.offset).expect("written");
    assert_eq!(found(dir.path(), false), []);
    assert_eq!(found(dir.path(), true), [("chunk-damaged", 1)]);
}

#[test]
fn a_segment_that_is_gone_or_cut_short_is_named_with_the_chunks_it_cost() {
    let dir = filled();
    let file = segment_of(dir.path(), &located(dir.path(), 1));
    fs::remove_file(&file).expect("removed");
    let lost = found(dir.path(), false);
    assert!(lost.iter().any(|(code, count)| *code == "chunk-damaged" && *count == LIVE), "{lost:?}");

    let dir = filled();
    let last = located(dir.path(), LIVE);
    let file = File::options().write(true).open(segment_of(dir.path(), &last)).expect("a segment");
    file.set_len(last.place.offset + BLOCK_BYTES).expect("cut");
    let lost = found(dir.path(), false);
    assert!(lost.contains(&("chunk-damaged", 1)), "{lost:?}");

    let dir = filled();
    fs::remove_dir_all(dir.path().join("segments")).expect("removed");
    assert_eq!(found(dir.path(), false), [("segments-missing", 1)]);

    let dir = filled();
    flip(&segment_of(dir.path(), &located(dir.path(), 1)), 8);
    assert_eq!(found(dir.path(), false), [("segment-head-damaged", 1)]);
}

#[test]
fn an_index_that_says_other_than_the_segments_is_named() {
    let dir = filled();
    plant(dir.path(), |db| db.delete(row_key(2)).expect("deleted"));
    let (findings, disk) = checked(dir.path(), false);
    assert_eq!((findings.worst(), findings.count("index-sums")), (Some(Severity::Warning), 1));
    assert_eq!(disk.map(|disk| (disk.summary.rowless, disk.held(id(2)))), Some((2, Held::Nothing)));

    let dir = filled();
    plant(dir.path(), |db| {
        let mut row = db.get(row_key(2)).expect("readable").expect("a row");
        row[30] ^= 1;
        db.put(row_key(2), row).expect("written");
    });
    assert_eq!(found(dir.path(), false), [("chunk-damaged", 1), ("index-differs", 1)]);

    let dir = filled();
    plant(dir.path(), |db| {
        let row = db.get(row_key(2)).expect("readable").expect("a row");
        db.put(row_key(LIVE + 1), row).expect("written");
    });
    let odd = found(dir.path(), false);
    let expected = [("chunk-frame-damaged", 1), ("index-differs", 1), ("index-sums", 1)];
    assert_eq!(odd, expected, "another chunk lies there");

    let dir = filled();
    plant(dir.path(), |db| db.put(row_key(2), b"?").expect("written"));
    let odd = found(dir.path(), false);
    assert!(odd.iter().any(|(code, _)| *code == "index-damaged"), "{odd:?}");
}

#[test]
fn an_index_that_is_missing_distrusted_or_rotten_is_no_loss() {
    let dir = filled();
    fs::write(dir.path().join(DISTRUST), "").expect("written");
    assert_eq!(found(dir.path(), false), [("index-damaged", 1)]);
    fs::remove_file(dir.path().join(DISTRUST)).expect("removed");

    let files = fs::read_dir(dir.path().join("index")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let manifest = files.into_iter().find(|path| path.display().to_string().contains("MANIFEST")).expect("a manifest");
    flip(&manifest, 10);
    assert_eq!(found(dir.path(), false), [("index-damaged", 1)]);

    fs::remove_dir_all(dir.path().join("index")).expect("removed");
    let (findings, disk) = checked(dir.path(), true);
    assert_eq!((findings.worst(), findings.count("index-missing")), (Some(Severity::Note), 1));
    assert!(matches!(disk.map(|disk| disk.held(id(1))), Some(Held::Live(..))), "the segments say it");
}

#[test]
fn a_known_damage_is_named_and_so_is_what_a_crash_left() {
    let dir = filled();
    let there = located(dir.path(), 2);
    flip(&segment_of(dir.path(), &there), there.place.offset + HEADER_BYTES as u64);
    let open = store(dir.path());
    run(async {
        assert!(open.recheck(id(2)).await.expect("looked at"), "it is damaged");
        open.close().await;
    });
    drop(open);
    assert_eq!(found(dir.path(), false), [("chunk-quarantined", 1), ("segment-damaged", 1)]);

    // Written anew it is no damage any more, also for who has no index.
    let open = store(dir.path());
    run(async {
        put(&open, 2).await;
        open.close().await;
    });
    drop(open);
    fs::remove_dir_all(dir.path().join("index")).expect("removed");
    let (findings, disk) = checked(dir.path(), true);
    assert_eq!((findings.worst(), findings.count("segment-damaged")), (Some(Severity::Note), 1));
    assert!(matches!(disk.map(|disk| disk.held(id(2))), Some(Held::Live(..))));

    // The folder as a kill leaves it: flushed segments, and an index of before.
    let (dir, killed) = (filled(), tempfile::tempdir().expect("a temporary folder"));
    let open = store(dir.path());
    run(put(&open, 50));
    for (name, bytes) in bytes_of(dir.path()) {
        let to = killed.path().join(Path::new(&name).strip_prefix(dir.path()).expect("below"));
        match Path::new(&name).is_dir() {
            true => fs::create_dir_all(to).expect("a folder"),
            false => fs::write(to, bytes).expect("written"),
        }
    }
    drop(open);
    let (findings, disk) = checked(killed.path(), true);
    assert_eq!((findings.worst(), findings.count("index-behind")), (Some(Severity::Note), 1));
    assert!(matches!(disk.map(|disk| disk.held(id(50))), Some(Held::Live(..))));
}

#[test]
fn who_the_disk_is_must_be_told() {
    let dir = filled();
    let place = dir.path().join(IDENTITY);
    let text = fs::read_to_string(&place).expect("the identity");
    let mut findings = Findings::default();
    drop(check(dir.path(), NodeId(4), None, false, &mut findings, &mut |_| {}).expect("it can be checked"));
    drop(check(dir.path(), NODE, Some(DiskId([8; 16])), false, &mut findings, &mut |_| {}).expect("it can be checked"));
    assert_eq!((findings.count("disk-foreign"), findings.count("disk-swapped")), (1, 1));
    fs::write(&place, text.replace("node 3", "node 4")).expect("written");
    assert_eq!(found(dir.path(), false), [("disk-identity-damaged", 1)]);
    fs::remove_file(&place).expect("removed");
    assert_eq!(found(dir.path(), false), [("disk-identity-missing", 1)]);
    let empty = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(found(empty.path(), false), [("disk-missing", 1)]);
    assert_eq!(found_missing(&empty.path().join("none")), 1);
}

fn found_missing(path: &Path) -> u64 {
    let mut findings = Findings::default();
    let disk = check(path, NODE, None, false, &mut findings, &mut |_| {}).expect("it can be checked");
    assert!(disk.is_none());
    findings.count("disk-missing")
}

#[test]
fn what_does_not_belong_there_is_noted() {
    let dir = filled();
    fs::write(dir.path().join("notes.txt"), "mine").expect("written");
    fs::write(dir.path().join("segments/probe.tmp"), "").expect("written");
    fs::write(dir.path().join(SCRUB), "sago-scrub 1\n").expect("written");
    let (findings, _) = checked(dir.path(), false);
    assert_eq!(findings.worst(), Some(Severity::Note));
    assert_eq!((findings.count("disk-stranger"), findings.count("scrub-damaged")), (2, 1));
}
