//! The index alone.

use super::*;
use crate::record::record_bytes;

const GONE: Entry = Entry::Tombstone(SegmentNo(1));

fn located(offset: u64, len: u32) -> Located {
    Located { place: Place { segment: SegmentNo(1), offset }, len, root: Blake3Root([offset as u8; 32]) }
}

fn position(offset: u64) -> Position {
    Position { place: Place { segment: SegmentNo(1), offset }, batch: BatchNo(offset) }
}

fn open(folder: &Path) -> (Index, Option<Position>) {
    Index::open(folder, DiskId([1; 16]), &Cache::new_lru_cache(1 << 20)).expect("the index opens")
}

#[test]
fn entries_survive_encoding() {
    for entry in [Entry::Live(located(4096, 7)), GONE, Entry::Quarantined(located(8192, u32::MAX))] {
        assert_eq!(decode(&encode(&entry)), Some(entry));
    }
    for hostile in [&[][..], &[1], &[2], &[2, 0], &[3; TOMBSTONE_BYTES], &[9; LOCATED_BYTES], &[1; LOCATED_BYTES + 1]] {
        assert_eq!(decode(hostile), None);
    }
}

#[test]
fn state_position_and_totals_come_back_together() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (index, at) = open(folder.path());
    assert_eq!(at, None);
    let changes = [(ChunkId(1), Entry::Live(located(1, 10))), (ChunkId(2), Entry::Live(located(2, 20)))];
    index.apply(&changes, position(3)).expect("a write");
    index.apply(&[(ChunkId(1), GONE)], position(4)).expect("a write");
    index.flush(true).expect("a flush");
    drop(index);
    let (index, at) = open(folder.path());
    assert_eq!(at, Some(position(4)));
    assert_eq!(index.totals(), Totals { chunks: 1, bytes: 20, quarantined: 0 });
    assert_eq!(index.get(ChunkId(1)).expect("a read"), Some(GONE));
    assert_eq!(index.get(ChunkId(2)).expect("a read"), Some(Entry::Live(located(2, 20))));
    assert_eq!(index.get(ChunkId(3)).expect("a read"), None);
}

#[test]
fn a_tombstone_stays_and_quarantine_takes_only_the_replica_it_names() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (index, _) = open(folder.path());
    let state = |entry| {
        index.apply(&[(ChunkId(1), entry)], position(1)).expect("a write");
        index.get(ChunkId(1)).expect("a read")
    };
    let (old, new) = (located(1, 10), located(2, 10));
    assert_eq!(state(Entry::Live(old)), Some(Entry::Live(old)));
    assert_eq!(state(Entry::Quarantined(old)), Some(Entry::Quarantined(old)));
    assert_eq!(state(Entry::Live(new)), Some(Entry::Live(new)));
    assert_eq!(state(Entry::Quarantined(old)), Some(Entry::Live(new)));
    assert_eq!(state(GONE), Some(GONE));
    assert_eq!(state(Entry::Live(new)), Some(GONE));
    assert_eq!(index.totals(), Totals::default());
}

#[test]
fn several_changes_of_one_chunk_in_one_write_count_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (index, _) = open(folder.path());
    let changes = [(ChunkId(1), Entry::Live(located(1, 10))), (ChunkId(1), Entry::Live(located(2, 10)))];
    index.apply(&changes, position(3)).expect("a write");
    assert_eq!(index.totals(), Totals { chunks: 1, bytes: 10, quarantined: 0 });
    index.apply(&[(ChunkId(1), GONE), (ChunkId(1), GONE)], position(3)).expect("a write");
    assert_eq!(index.totals(), Totals::default());
}

#[test]
fn listing_goes_in_pages_over_live_chunks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (index, _) = open(folder.path());
    let changes: Vec<_> = (0..10u128).map(|id| (ChunkId(id << 64), Entry::Live(located(1, 1)))).collect();
    index.apply(&changes, position(1)).expect("a write");
    index.apply(&[(ChunkId(3 << 64), GONE)], position(1)).expect("a write");
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let page = index.list(after, 4).expect("a listing");
        ids.extend(page.iter().map(|(chunk, _)| chunk.0 >> 64));
        after = page.last().map(|(chunk, _)| *chunk);
        if page.len() < 4 {
            break;
        }
    }
    assert_eq!(ids, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_damaged_or_foreign_index_begins_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (index, _) = open(folder.path());
    index.apply(&[(ChunkId(1), GONE)], position(1)).expect("a write");
    index.flush(true).expect("a flush");
    drop(index);
    let other = Index::open(folder.path(), DiskId([2; 16]), &Cache::new_lru_cache(1 << 20)).expect("the index opens");
    assert_eq!(other.1, None);
    drop(other);

    let (index, _) = open(folder.path());
    index.apply(&[(ChunkId(1), GONE)], position(1)).expect("a write");
    index.flush(true).expect("a flush");
    drop(index);
    std::fs::write(folder.path().join("index/CURRENT"), "MANIFEST-no").expect("a write");
    let (index, at) = open(folder.path());
    assert_eq!((at, index.get(ChunkId(1)).expect("a read")), (None, None));
}

#[test]
fn an_index_that_gave_wrong_answers_is_not_believed_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (index, _) = open(folder.path());
    index.apply(&[(ChunkId(1), GONE)], position(1)).expect("a write");
    index.db.put(key(ChunkId(2)), b"nonsense").expect("a write");
    index.flush(true).expect("a flush");
    assert!(matches!(index.get(ChunkId(2)), Err(IndexError::Malformed)));
    drop(index);
    let (index, at) = open(folder.path());
    assert_eq!((at, index.get(ChunkId(2)).expect("a read")), (None, None));
}

#[test]
fn what_is_in_use_is_counted_by_segment_and_comes_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (index, _) = open(folder.path());
    let at = |segment: u64, len: u32| Located {
        place: Place { segment: SegmentNo(segment), offset: 4096 },
        len,
        root: Blake3Root([1; 32]),
    };
    let live = |id, segment| (ChunkId(id), Entry::Live(at(segment, 5000)));
    index.apply(&[live(1, 1), live(2, 1), live(3, 1), live(4, 2)], position(1)).expect("a write");
    index.apply(&[(ChunkId(1), Entry::Tombstone(SegmentNo(2))), live(2, 3)], position(2)).expect("a write");
    index.apply(&[(ChunkId(3), Entry::Quarantined(at(1, 5000)))], position(3)).expect("a write");
    let record = record_bytes(5000);
    let expected = [
        (SegmentNo(1), Use { live: 0, quarantined: record, tombstones: 0 }),
        (SegmentNo(2), Use { live: record, quarantined: 0, tombstones: 1 }),
        (SegmentNo(3), Use { live: record, quarantined: 0, tombstones: 0 }),
    ];
    assert!(index.sums_hold());
    assert_eq!(expected.map(|(segment, _)| index.use_of(segment)), expected.map(|(_, in_use)| in_use));
    let quarantined = index.quarantined(None, 10).expect("a listing");
    assert_eq!(quarantined, [(ChunkId(3), at(1, 5000))]);
    // A tombstone moves, a quarantined chunk is written anew: nothing of segments 1 and 2 is left but the live one.
    index.apply(&[(ChunkId(1), Entry::Tombstone(SegmentNo(4))), live(3, 4)], position(4)).expect("a write");
    index.flush(true).expect("a flush");
    drop(index);
    let (index, _) = open(folder.path());
    assert_eq!(index.use_of(SegmentNo(1)), Use::default());
    assert_eq!(index.use_of(SegmentNo(4)), Use { live: record, quarantined: 0, tombstones: 1 });
    assert_eq!(index.quarantined(None, 10).expect("a listing"), []);
    index.forget(&[ChunkId(1), ChunkId(2)], SegmentNo(4), position(5)).expect("a write");
    assert_eq!((index.get(ChunkId(1)).expect("a read"), index.use_of(SegmentNo(4)).tombstones), (None, 0));
    let (found, next) = index.in_segment(SegmentNo(3), None, 10).expect("a listing");
    assert_eq!((found, next), (vec![live(2, 3)], None));
}

#[test]
fn an_index_of_the_first_version_is_made_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (index, _) = open(folder.path());
    index.apply(&[(ChunkId(1), GONE)], position(1)).expect("a write");
    index.db.put(POSITION_KEY, [0; 56]).expect("a write");
    index.flush(true).expect("a flush");
    drop(index);
    let (index, at) = open(folder.path());
    assert_eq!((at, index.get(ChunkId(1)).expect("a read")), (None, None));
}
