//! Every cut, every torn write, every flipped record.
//!
//! A workload runs on a disk in memory that keeps a trace of all creations, writes, flushes and removals, and of when
//! each job was answered. Then, for every prefix of the trace, disks are made as a power cut there could have left them, a
//! store is recovered from each, with the index as old as it may be or gone, and compared with what was answered by then.

mod compaction;
mod image;
mod memory;
mod scrub;
mod workload;

use crate::error::PutError;
use crate::get;
use crate::index::Entry;
use crate::record::{self, BLOCK_BYTES, HEADER_BYTES, Kind, TRAILER_BYTES};
use image::{Image, Torn};
use memory::{Fault, Op};
use std::collections::BTreeMap;
use std::io;
use types::{ChunkId, DiskId};
use workload::{Answer, Rig, Run, chunk_data, run};

const SEED: u64 = 0x5a60;

/// What the model says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Acknowledged: there and right.
    There,
    /// Acknowledged as deleted.
    Gone,
    /// Asked for but not answered: whole or absent.
    Maybe,
    /// It was there, and its deletion was asked for but not answered.
    MaybeDeleted,
}

/// What must hold after a cut behind the first `cut` operations.
fn expected(run: &Run, cut: usize) -> BTreeMap<ChunkId, Expected> {
    let mut state = BTreeMap::new();
    for job in &run.jobs {
        let asked = job.asked_at <= cut;
        let answered = job.answered_at.is_some_and(|at| at <= cut);
        for chunk in &job.chunks {
            let former = state.get(chunk).copied();
            let next = match (job.answer, asked, answered) {
                (_, false, _) => former,
                (Answer::Stored, _, true) => Some(Expected::There),
                (Answer::Stored, _, false) if former.is_none() => Some(Expected::Maybe),
                (Answer::Deleted, _, true) => Some(Expected::Gone),
                (Answer::Deleted, _, false) if former == Some(Expected::There) => Some(Expected::MaybeDeleted),
                (Answer::Deleted, _, false) => Some(former.unwrap_or(Expected::Maybe)),
                (Answer::Stored | Answer::Refused, ..) => former,
            };
            if let Some(next) = next {
                state.insert(*chunk, next);
            }
        }
    }
    state
}

/// Compares a recovered disk with what must be there.
fn check(rig: &Rig, expected: &BTreeMap<ChunkId, Expected>, context: &str) {
    for (chunk, expected) in expected {
        let entry = rig.index.get(*chunk).expect("the index answers");
        let read = match entry {
            Some(Entry::Live(located)) => Some(get::read(&rig.segments, &located, 0, located.len)),
            _ => None,
        };
        if let Some(read) = &read {
            let data = read.as_ref().map(|read| read.data.clone());
            assert!(
                data.is_ok_and(|data| data == chunk_data(*chunk)),
                "{context}: {chunk} is not what was put: {read:?}"
            );
        }
        let fits = match expected {
            Expected::There => read.is_some(),
            Expected::Gone => matches!(entry, Some(Entry::Tombstone(_))),
            Expected::Maybe => true,
            Expected::MaybeDeleted => read.is_some() || matches!(entry, Some(Entry::Tombstone(_))),
        };
        assert!(fits, "{context}: {chunk} should be {expected:?} and is {entry:?}");
    }
    let live = rig.index.list(None, usize::MAX).expect("a listing");
    assert!(live.iter().all(|(chunk, _)| expected.contains_key(chunk)), "{context}: a chunk that nobody put");
    let totals = rig.index.totals();
    let bytes: u64 = live.iter().map(|(_, located)| u64::from(located.len)).sum();
    assert_eq!((totals.chunks, totals.bytes), (live.len() as u64, bytes), "{context}: totals");
    assert!(rig.index.sums_hold(), "{context}: the sums are not those of the rows");
}

/// The disk goes on after the cut: what was not answered is asked for again, new chunks come, and all is there after another
/// start without an index. What the cut left behind is not taken for rot then, unless it lies before a whole record of the
/// same batch.
fn go_on(mut rig: Rig, mut expected: BTreeMap<ChunkId, Expected>, torn: &Torn, context: &str) {
    for (chunk, state) in &mut expected {
        if matches!(state, Expected::Maybe) {
            match rig.put(*chunk) {
                Ok(()) => *state = Expected::There,
                Err(PutError::Deleted) => *state = Expected::Gone,
                Err(error) => panic!("{context}: {chunk} again: {error}"),
            }
        }
    }
    for number in 1000..1003 {
        let chunk = ChunkId(number);
        rig.put(chunk).unwrap_or_else(|error| panic!("{context}: {chunk}: {error}"));
        expected.insert(chunk, Expected::There);
    }
    check(&rig, &expected, context);
    let again = Rig::recover_as(&rig.disk.after_power_cut(), None, rig.tag, DiskId([1; 16]));
    check(&again, &expected, &format!("{context}, then again from the segments alone"));
    if !matches!(torn, Torn::Suffix(_) | Torn::Sectors(_)) {
        assert_eq!(again.report.damaged, 0, "{context}: false alarm later {:?}", again.report);
    }
}

/// Recovers an image with the newest index there can be, and with none.
fn check_image(run: &Run, cut: usize, torn: &Torn, context: &str) {
    let image = Image::at(&run.disk.ops(), cut, torn);
    let expected = expected(run, cut);
    for index in [run.snapshot_before(cut), None] {
        let context = format!("{context}, index {}", if index.is_some() { "old" } else { "gone" });
        let rig = Rig::recover(&image.disk(), index);
        assert_eq!(rig.report.damaged, 0, "{context}: false alarm {:?}", rig.report);
        check(&rig, &expected, &context);
        go_on(rig, expected.clone(), torn, &context);
    }
}

#[test]
fn a_cut_after_any_operation_loses_nothing_acknowledged() {
    let run = run(SEED);
    let ops = run.disk.ops();
    assert!(ops.len() > 50, "the workload is too small: {} operations", ops.len());
    for cut in 0..=ops.len() {
        for (what, torn) in [("unsynced dropped", Torn::Dropped), ("unsynced kept", Torn::Kept)] {
            check_image(&run, cut, &torn, &format!("cut {cut}, {what}"));
        }
    }
}

#[test]
fn a_torn_write_is_whole_or_absent() {
    let run = run(SEED);
    let ops = run.disk.ops();
    for cut in 1..=ops.len() {
        let Op::Write { bytes, .. } = &ops[cut - 1] else { continue };
        for torn in Torn::variants(bytes.len(), cut as u64) {
            check_image(&run, cut, &torn, &format!("cut {cut}, {torn:?}"));
        }
    }
}

/// Remains of a torn write stay where they are: they may be all that is left of something.
#[test]
fn what_a_cut_left_behind_is_not_written_over() {
    let run = run(SEED);
    let ops = run.disk.ops();
    let mut torn_tails = 0;
    for cut in 1..=ops.len() {
        let Op::Write { bytes, .. } = &ops[cut - 1] else { continue };
        let disk = Image::at(&ops, cut, &Torn::Prefix(bytes.len() / 1024 * 512)).disk();
        let mut rig = Rig::recover(&disk, run.snapshot_before(cut));
        torn_tails += rig.report.torn;
        let before = rig.disk.contents();
        for number in 1000..1010 {
            assert!(rig.put(ChunkId(number)).is_ok());
        }
        let after = rig.disk.contents();
        for (name, old) in before {
            let kept = old.iter().zip(&after[&name]).all(|(old, new)| *old == 0 || old == new);
            let cut_off = old.get(after[&name].len()..).unwrap_or_default();
            assert!(kept && cut_off.iter().all(|byte| *byte == 0), "cut {cut}: {name} was written over");
        }
    }
    assert!(torn_tails > 0);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (first, second) = (run(SEED), run(SEED));
    assert!(first.disk.ops() == second.disk.ops());
    assert!(first.disk.ops() != run(SEED + 1).disk.ops());
}

/// Flips one byte in every part of every record, with the index as it is after a clean stop and with none.
#[test]
fn rot_is_an_error_and_hides_nothing_else() {
    let run = run(SEED);
    let ops = run.disk.ops();
    let all = expected(&run, usize::MAX);
    let image = Image::at(&ops, ops.len(), &Torn::Kept);
    let records = image.records();
    let last_batch = records.iter().map(|(_, header)| header.batch).max();
    assert!(records.len() > 40);
    for (name, header) in &records {
        let len = header.len as u64;
        let leaves = 32 * record::leaf_count(header.len as usize) as u64;
        let data = HEADER_BYTES as u64;
        let mut parts =
            vec![("magic", 0), ("header", 60), ("data", data), ("middle", data + len / 2), ("end", data + len - 1)];
        parts.extend((leaves > 0).then_some(("leaves", data + len)));
        parts.extend([("trailer", data + len + leaves), ("last", data + len + leaves + TRAILER_BYTES as u64 - 1)]);
        for (part, at) in parts {
            let disk = image.disk();
            disk.flip(name, header.place.offset + at);
            for index in [Some(run.final_snapshot()), None] {
                let rebuilt = index.is_none();
                let rig = Rig::recover(&disk, index);
                let context = format!("{part} of {header:?} flipped, rebuilt: {rebuilt}");
                let hit = |chunk: &ChunkId| header.kind == Kind::Put && header.chunk == *chunk;
                let others = all.iter().filter(|(chunk, _)| !hit(chunk)).map(|(chunk, expected)| (*chunk, *expected));
                if header.kind == Kind::Put || !rebuilt {
                    for (chunk, expected) in others {
                        check_one(&rig, chunk, expected, &context);
                    }
                }
                if rebuilt && Some(header.batch) < last_batch {
                    assert_eq!(rig.report.damaged, 1, "{context}: {:?}", rig.report);
                    let named = rig.report.damage[0].chunk == Some(header.chunk);
                    assert_eq!(named, at >= HEADER_BYTES as u64, "{context}");
                }
                if header.kind == Kind::Put {
                    check_rotten(&rig, header.chunk, &context);
                }
            }
        }
    }
}

fn check_one(rig: &Rig, chunk: ChunkId, expected: Expected, context: &str) {
    let entry = rig.index.get(chunk).expect("the index answers");
    match (expected, entry) {
        (Expected::There, Some(Entry::Live(located))) => {
            let read = get::read(&rig.segments, &located, 0, located.len).expect("an intact chunk is read");
            assert!(read.data == chunk_data(chunk), "{context}: {chunk}");
        }
        (Expected::Gone, Some(Entry::Tombstone(_))) | (Expected::Maybe | Expected::MaybeDeleted, _) => {}
        _ => panic!("{context}: {chunk} should be {expected:?} and is {entry:?}"),
    }
}

/// Whatever is said of a rotten replica, no wrong byte is given out.
fn check_rotten(rig: &Rig, chunk: ChunkId, context: &str) {
    if let Some(Entry::Live(located)) = rig.index.get(chunk).expect("the index answers")
        && let Ok(read) = get::read(&rig.segments, &located, 0, located.len)
    {
        assert!(read.data == chunk_data(chunk), "{context}: wrong bytes of {chunk}");
    }
}

/// A rotten first block of a segment costs nothing but a warning at most.
#[test]
fn a_rotten_segment_header_loses_no_record() {
    let run = run(SEED);
    let ops = run.disk.ops();
    let all = expected(&run, usize::MAX);
    let image = Image::at(&ops, ops.len(), &Torn::Kept);
    for name in image.names() {
        for at in [0, 9, 41, 125] {
            let disk = image.disk();
            disk.flip(&name, at);
            for index in [Some(run.final_snapshot()), None] {
                let rig = Rig::recover(&disk, index);
                check(&rig, &all, &format!("byte {at} of {name}"));
            }
        }
    }
}

/// A quarantined replica can be put again, and the new one is found by the next scan.
#[test]
fn a_quarantined_replica_is_replaced() {
    let run = run(SEED);
    let ops = run.disk.ops();
    let image = Image::at(&ops, ops.len(), &Torn::Kept);
    let records = image.records();
    let all = expected(&run, usize::MAX);
    let there = |chunk: &ChunkId| all.get(chunk) == Some(&Expected::There);
    let (name, header) =
        records.iter().find(|(_, header)| header.kind == Kind::Put && there(&header.chunk)).expect("a put");
    let disk = image.disk();
    disk.flip(name, header.place.offset + HEADER_BYTES as u64);
    let mut rig = Rig::recover(&disk, None);
    assert!(matches!(rig.index.get(header.chunk), Ok(Some(Entry::Quarantined(_)))));
    assert!(rig.put(header.chunk).is_ok());
    check(&rig, &all, "after the new put");
    check(&Rig::recover(&disk.after_power_cut(), None), &all, "after another start");
}

/// A file system where a flush failed once: nothing is acknowledged by that disk any more, and what was is there.
#[test]
fn nothing_is_acknowledged_after_a_failed_flush_or_write() {
    let clean = run(SEED);
    let count = |of: fn(&Op) -> bool| clean.disk.ops().iter().filter(|op| of(op)).count();
    let syncs = count(|op| matches!(op, Op::Sync { .. }));
    let writes = count(|op| matches!(op, Op::Write { .. }));
    let folders = count(|op| matches!(op, Op::SyncFolder));
    let faults = (0..syncs)
        .flat_map(|n| [Fault::Sync(n), Fault::SyncFull(n)])
        .chain((0..writes).map(|n| Fault::Write(n, io::ErrorKind::Other)))
        .chain((0..folders).map(Fault::SyncFolder));
    for fault in faults {
        let run = workload::run_with(SEED, Some(fault));
        let failed_at = run.disk.failed_at().expect("the fault was met");
        for job in &run.jobs {
            let stored = job.outcome.as_ref().is_ok_and(|answer| *answer != Answer::Refused);
            let late = job.answered_at.is_some_and(|at| at > failed_at);
            assert!(!(stored && late && job.wrote), "{fault:?}: acknowledged after the failure");
        }
        assert!(run.jobs.last().is_some_and(|job| job.outcome.is_err()), "{fault:?}: the disk is not fenced");
        let expected = expected(&run, failed_at);
        let rig = Rig::recover(&run.disk.after_power_cut(), None);
        check(&rig, &expected, &format!("{fault:?}, after a power cut"));
    }
}

/// After a failed flush the page cache shows what the disk does not have. A process that starts on it, acknowledges and then loses
/// power must still have what it acknowledged.
#[test]
fn what_only_the_page_cache_has_is_not_believed() {
    let syncs = run(SEED).disk.ops().iter().filter(|op| matches!(op, Op::Sync { .. })).count();
    for fault in (0..syncs).map(Fault::Sync) {
        let run = workload::run_with(SEED, Some(fault));
        let mut rig = Rig::recover(&run.disk.after_process_crash(), None);
        let mut acknowledged = BTreeMap::new();
        for (chunk, _) in expected(&run, usize::MAX) {
            if rig.put(chunk).is_ok() {
                acknowledged.insert(chunk, Expected::There);
            }
        }
        let again = Rig::recover(&rig.disk.after_power_cut(), None);
        for (chunk, expected) in acknowledged {
            check_one(&again, chunk, expected, &format!("{fault:?}"));
        }
    }
}

/// A full disk refuses, keeps what it has and takes more once there is room.
#[test]
fn a_full_disk_refuses_and_goes_on() {
    let clean = run(SEED);
    let writes = clean.disk.ops().iter().filter(|op| matches!(op, Op::Write { .. })).count();
    // The last write is that of the put which shows that the disk goes on.
    for n in 0..writes - 1 {
        let fault = Fault::Write(n, io::ErrorKind::StorageFull);
        let run = workload::run_with(SEED, Some(fault));
        let failed_at = run.disk.failed_at().expect("the fault was met");
        assert!(run.jobs.last().is_some_and(|job| job.outcome.is_ok()), "{fault:?}: the disk does not go on");
        assert!(run.jobs.iter().any(|job| job.outcome.is_err()), "{fault:?}: nobody was refused");
        assert!(failed_at < run.disk.ops().len());
        let all = expected(&run, usize::MAX);
        for index in [Some(run.final_snapshot()), None] {
            let rig = Rig::recover(&run.disk.after_power_cut(), index);
            check(&rig, &all, &format!("{fault:?}"));
        }
    }
}

/// No room for another segment: puts are refused at once, deletes go on in the reserve.
#[test]
fn deletes_go_on_when_the_reserve_is_reached() {
    let mut rig = Rig::empty();
    let mut stored = Vec::new();
    rig.disk.set_free(3 * workload::SEGMENT_BYTES);
    let full = (0..1000).map(ChunkId).find(|chunk| match rig.put(*chunk) {
        Ok(()) => {
            stored.push(*chunk);
            false
        }
        Err(PutError::NoSpace) => true,
        Err(error) => panic!("{chunk}: {error}"),
    });
    assert!(full.is_some() && !stored.is_empty());
    for chunk in &stored {
        assert!(rig.delete(vec![*chunk]).is_ok(), "{chunk}");
    }
    let many = (0..60).map(|number| ChunkId(5000 + number));
    for chunk in many {
        assert!(rig.delete(vec![chunk]).is_ok(), "{chunk}");
    }
    let mut rig = Rig::recover(&rig.disk.after_power_cut(), None);
    for chunk in stored {
        check_one(&rig, chunk, Expected::Gone, "after the reserve was used");
    }
    rig.disk.set_free(u64::MAX);
    assert!(rig.put(ChunkId(9000)).is_ok());
}

/// Bytes of a chunk that look like a record of this very disk, in the place where they lie, are taken for one only if they
/// carry the tag, which nobody knows; and then only if the chunk's own header is rotten.
#[test]
fn a_chunk_that_contains_records_injects_nothing() {
    for (tag, outcome) in [(record::Tag([0; 16]), Expected::There), (workload::TAG, Expected::Gone)] {
        let mut rig = Rig::empty();
        let name = crate::segment::name_of(record::SegmentNo(1));
        assert!(rig.put_data(ChunkId(1), chunk_data(ChunkId(1))).is_ok());
        let Ok(Some(Entry::Live(first))) = rig.index.get(ChunkId(1)) else { panic!("the chunk is there") };
        let forger_at = first.place.offset + record::record_bytes(first.len as usize);
        let ids = record::tombstones_encode(&[ChunkId(1)]);
        let header = record::Header {
            kind: Kind::Tombstones,
            place: record::Place { segment: record::SegmentNo(1), offset: forger_at + BLOCK_BYTES },
            batch: record::BatchNo(2),
            batch_at: forger_at,
            chunk: ChunkId(1),
            len: 16,
            root: types::root_of(&ids, &[]),
        };
        let mut forged = vec![0; 2 * BLOCK_BYTES as usize - HEADER_BYTES];
        let block = &mut forged[BLOCK_BYTES as usize - HEADER_BYTES..];
        record::encode_into(block, &header, &tag, &ids, &[], record::body_crc(&ids, &[]));
        assert!(rig.put_data(ChunkId(2), forged).is_ok());
        assert!(rig.put(ChunkId(3)).is_ok());
        rig.disk.flip(&name, forger_at);
        let rig = Rig::recover(&rig.disk, None);
        check_one(&rig, ChunkId(1), outcome, "forged");
        check_one(&rig, ChunkId(3), Expected::There, "forged");
    }
}

/// A failed disk that comes up with fewer segments than its index knows says so.
#[test]
fn a_lost_segment_is_reported() {
    let run = run(SEED);
    let ops = run.disk.ops();
    let image = Image::at(&ops, ops.len(), &Torn::Kept);
    let last = image.names().pop().expect("a segment");
    let disk = image.disk();
    disk.lose(&last);
    let mut rig = Rig::recover(&disk, Some(run.final_snapshot()));
    assert!(rig.report.damaged > 0);
    assert!(rig.put(ChunkId(7777)).is_ok());
    let lost = rig
        .index
        .list(None, usize::MAX)
        .expect("a listing")
        .into_iter()
        .filter(|(_, located)| get::read(&rig.segments, located, 0, located.len).is_err());
    assert!(lost.count() > 0);
}
