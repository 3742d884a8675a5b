use crate::apply;
use crate::key::Table;
use crate::testing::{BUCKET, GROUP, Group, SESSION, UPLOAD, chunk, chunks, extent, inline, put};
use proto::log::LogBatch;
use proto::meta::{Answer, BadChunk, ChunkVerdict, Command, CondemnedStep, GarbageStatus, Outcome, Query, Refusal};
use proto::object::{ETag, NewContent, Precondition};
use types::{ChunkId, Ino, SessionId, Timestamp, WriterEpoch};

/// What the clocks agree on where that does not matter: the group's time is earlier.
const AGREED: Timestamp = Timestamp(i64::MAX);

/// Collects until nothing is due; returns the chunks condemned.
fn collect(group: &mut Group, grace: i64, max: u32) -> u32 {
    collect_by(group, grace, max, AGREED)
}

/// As [`collect`], by clocks that agree on `now`.
fn collect_by(group: &mut Group, grace: i64, max: u32, now: Timestamp) -> u32 {
    let mut all = 0;
    for _ in 0..10_000 {
        match group.send(None, Command::CollectGarbage { grace, max, now }) {
            Ok(Outcome::Collected { condemned, more }) => {
                all += condemned;
                if !more {
                    return all;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it comes to no end");
}

fn condemned(group: &Group) -> Vec<(u32, CondemnedStep)> {
    match group.ask(Query::Condemned { after: None, max: 1000 }) {
        Ok(Answer::Condemned(chunks)) => chunks.into_iter().map(|(chunk, step)| (chunk.parts().seq, step)).collect(),
        other => panic!("{other:?}"),
    }
}

fn status(group: &Group) -> GarbageStatus {
    match group.ask(Query::Garbage) {
        Ok(Answer::Garbage(status)) => status,
        other => panic!("{other:?}"),
    }
}

fn judged(group: &Group, seq: u32) -> ChunkVerdict {
    match group.ask(Query::JudgeChunks { chunks: vec![chunk(seq, 1).id] }) {
        Ok(Answer::Judged(verdicts)) => verdicts[0],
        other => panic!("{other:?}"),
    }
}

fn overwrite(ino: Ino, seq: u32) -> Command {
    Command::Write { ino, inline: None, extents: vec![extent(seq, 0, 10)], append: false }
}

fn resize(ino: Ino, size: u64) -> Command {
    Command::SetAttr { ino, mode: None, uid: None, gid: None, size: Some(size), atime: None, mtime: None }
}

fn cut(ino: Ino) -> Command {
    resize(ino, 0)
}

fn forget(seqs: &[u32]) -> Command {
    Command::ForgetChunks { chunks: seqs.iter().map(|seq| chunk(*seq, 1).id).collect() }
}

fn close(group: &mut Group) {
    group.ok(Command::CloseEpoch { session: SESSION, epoch: WriterEpoch(9) });
}

#[test]
fn what_was_dropped_waits_out_the_grace_time() {
    let mut group = Group::new();
    let ino = group.create(group.root, "a", chunks(1, 1, 10)).ino;
    group.ok(overwrite(ino, 2));
    assert_eq!(status(&group).waiting, 1);
    assert_eq!(collect(&mut group, 1000, 10), 0);
    assert_eq!(judged(&group, 1), ChunkVerdict::Waiting);
    assert_eq!(collect(&mut group, 0, 10), 1);
    assert_eq!((judged(&group, 1), judged(&group, 2)), (ChunkVerdict::Condemned, ChunkVerdict::Referenced));
    assert_eq!(status(&group), GarbageStatus { condemned: 1, ..GarbageStatus::default() });
}

/// A group with one chunk that was dropped.
fn with_garbage() -> Group {
    let mut group = Group::new();
    let ino = group.create(group.root, "a", chunks(1, 1, 10)).ino;
    group.ok(overwrite(ino, 2));
    group
}

#[test]
fn a_clock_that_is_ahead_ends_no_grace_time_early() {
    let mut group = with_garbage();
    let honest = Timestamp(5_000);
    let (half, whole) = (1800 * Timestamp::SECOND, 3600 * Timestamp::SECOND);
    group.pass(3000);
    assert_eq!(collect_by(&mut group, half, 10, honest), 0, "the group's time ran ahead");
    assert_eq!(collect_by(&mut group, whole, 10, AGREED), 0, "the caller's clock is ahead of the group's time");
    assert_eq!(collect_by(&mut group, half, 10, AGREED), 1, "both say so");
}

#[test]
fn a_leap_of_the_groups_time_begins_the_grace_time_anew() {
    let mut group = with_garbage();
    let grace = 1800 * Timestamp::SECOND;
    group.pass(3 * 3600);
    assert_eq!(collect(&mut group, grace, 10), 0, "nobody knows how long ago it was dropped");
    group.pass(1800);
    assert_eq!(collect(&mut group, grace, 10), 1);
}

/// What is dropped while the time stands still gets a stamp that is too early by as long as it does.
#[test]
fn a_clock_that_was_behind_ends_no_grace_time_early() {
    let mut group = Group::new();
    group.pass(600);
    let ino = group.create(group.root, "a", chunks(1, 1, 10)).ino;
    let behind = LogBatch { time: Timestamp(1_000), commands: Vec::new() };
    apply(&mut group.kv, GROUP, &behind).expect("memory");
    group.ok(overwrite(ino, 2));
    let grace = 900 * Timestamp::SECOND;
    // A leader whose clock is right takes over, and only now it shows how long that took.
    apply(&mut group.kv, GROUP, &behind).expect("memory");
    group.pass(1200);
    assert_eq!(collect(&mut group, grace, 10), 0);
    group.pass(900);
    assert_eq!(collect(&mut group, grace, 10), 1);
    // Clocks that lie a little apart hold nothing up.
    let mut group = with_garbage();
    group.pass(50);
    apply(&mut group.kv, GROUP, &behind).expect("memory");
    group.pass(900);
    assert_eq!(collect(&mut group, grace, 10), 1);
}

#[test]
fn a_condemned_chunk_is_never_taken_up_again() {
    let mut group = Group::new();
    let ino = group.create(group.root, "a", chunks(1, 1, 10)).ino;
    group.ok(overwrite(ino, 2));
    collect(&mut group, 0, 10);
    let refused = Err(Refusal::BadChunk(BadChunk::Condemned));
    assert_eq!(group.run(overwrite(ino, 1)), refused);
    assert_eq!(group.run(put("b", chunks(1, 1, 10))), refused);
    assert_eq!(group.run(Command::Stage { chunks: vec![(chunk(1, 10), 0)] }), refused);
    group.send(None, forget(&[1, 2, 77])).expect("forgotten");
    assert_eq!(group.run(put("b", chunks(1, 1, 10))), refused, "its epoch is open: the row stays");
    assert_eq!(judged(&group, 2), ChunkVerdict::Referenced, "only what is condemned is forgotten");
    close(&mut group);
    assert_eq!(condemned(&group), [(1, CondemnedStep::Forget)]);
    group.send(None, forget(&[1])).expect("forgotten");
    group.send(None, forget(&[1])).expect("twice");
    assert!(condemned(&group).is_empty());
    assert_eq!(judged(&group, 1), ChunkVerdict::Garbage);
    assert_eq!(group.run(put("b", chunks(1, 1, 10))), Err(Refusal::BadChunk(BadChunk::EpochClosed)));
}

#[test]
fn deleted_chunks_of_an_open_epoch_wait_for_its_end() {
    let mut group = Group::new();
    let ino = group.create(group.root, "a", chunks(1, 1, 10)).ino;
    group.ok(cut(ino));
    collect(&mut group, 0, 10);
    assert_eq!(condemned(&group), [(1, CondemnedStep::Delete)]);
    group.send(None, forget(&[1])).expect("marked");
    assert_eq!(condemned(&group), [(1, CondemnedStep::Wait)]);
    let end = Command::EndSessions { first: SessionId(1), last: SESSION };
    group.send(None, end).expect("ended");
    assert_eq!(condemned(&group), [(1, CondemnedStep::Forget)]);
}

#[test]
fn a_chunk_taken_up_again_outlives_its_old_garbage_row() {
    let mut group = Group::new();
    let ino = group.create(group.root, "a", chunks(1, 1, 10)).ino;
    group.ok(overwrite(ino, 2));
    group.ok(overwrite(ino, 1));
    assert_eq!(collect(&mut group, 0, 10), 1, "2 alone");
    assert_eq!(judged(&group, 1), ChunkVerdict::Referenced);
    // Dropped again: the time counts from then on, though an older row may name it.
    let mut group = Group::new();
    let ino = group.create(group.root, "a", chunks(1, 1, 10)).ino;
    group.ok(cut(ino));
    group.ok(overwrite(ino, 1));
    for at in 0..10 {
        group.put(&format!("x{at}"), inline(b"1"));
    }
    group.ok(cut(ino));
    assert_eq!(collect(&mut group, 8, 10), 0);
    assert_eq!(judged(&group, 1), ChunkVerdict::Waiting);
    assert_eq!(collect(&mut group, 0, 10), 1);
}

#[test]
fn a_staged_chunk_is_not_collected() {
    let mut group = Group::new();
    let ino = group.create(group.root, "a", chunks(1, 1, 10)).ino;
    group.ok(cut(ino));
    group.ok(Command::Stage { chunks: vec![(chunk(1, 10), 0)] });
    assert_eq!(collect(&mut group, 0, 10), 0);
    assert_eq!(judged(&group, 1), ChunkVerdict::Staged);
    close(&mut group);
    group.put("b", chunks(1, 1, 10));
}

#[test]
fn a_missing_copy_of_a_condemned_chunk_is_not_made_again() {
    let mut group = Group::new();
    let mut content = extent(1, 0, 10);
    content.missing = 4;
    let ino = group.create(group.root, "a", NewContent::Chunks(vec![content])).ino;
    group.ok(cut(ino));
    assert_eq!(group.rows(Table::UnderReplicated).len(), 1);
    collect(&mut group, 0, 10);
    assert!(group.rows(Table::UnderReplicated).is_empty());
}

#[test]
fn a_large_list_goes_in_small_steps() {
    let mut group = Group::new();
    let ino = group.create(group.root, "a", chunks(1, 1000, 10)).ino;
    group.ok(cut(ino));
    let first = group.send(None, Command::CollectGarbage { grace: 0, max: 100, now: AGREED });
    assert_eq!(first, Ok(Outcome::Collected { condemned: 0, more: true }));
    assert!(group.rows(Table::List).len() > 50, "only a part");
    assert_eq!(collect(&mut group, 0, 1), 1000, "each step gets on");
    assert!(group.rows(Table::List).is_empty() && group.rows(Table::Garbage).is_empty());
}

#[test]
fn what_a_dead_list_lets_go_has_waited_already_unless_another_reader_came_later() {
    let mut group = Group::new();
    group.create(group.root, "list", chunks(1, 6, 10));
    let copy = Command::CopyObject {
        source_bucket: BUCKET,
        source_key: "list".into(),
        source_precondition: Precondition::default(),
        bucket: BUCKET,
        key: "copy".into(),
        xattrs: None,
        precondition: Precondition::default(),
    };
    let copy = group.attr_of(copy).ino;
    // The copy unfolds its list, and so refers to the chunks itself.
    group.ok(overwrite(copy, 50));
    let ino = group.object("list").expect("there").ino;
    group.ok(cut(ino));
    for at in 0..20 {
        group.put(&format!("x{at}"), inline(b"1"));
    }
    group.ok(resize(copy, 20));
    // 1 was covered in the copy long ago, 2 is still shown by it, 3 to 6 were until just now.
    assert_eq!(collect(&mut group, 15, 100), 1);
    let seen = [1, 2, 3].map(|seq| judged(&group, seq));
    assert_eq!(seen, [ChunkVerdict::Condemned, ChunkVerdict::Referenced, ChunkVerdict::Waiting]);
    assert_eq!(collect(&mut group, 0, 100), 4);
}

#[test]
fn parts_of_an_upload_are_content_until_it_is_aborted() {
    let mut group = Group::new();
    let key = bytes::Bytes::from_static(b"k");
    let begin = |upload| Command::CreateUpload { bucket: BUCKET, key: "k".into(), upload, xattrs: Vec::new() };
    let part = |upload, part, first| Command::PutPart {
        bucket: BUCKET,
        key: "k".into(),
        upload,
        part,
        content: chunks(first, 5, 10),
        md5: [1; 16],
        xattrs: Vec::new(),
    };
    let other = types::UploadId([8; 16]);
    group.ok(begin(UPLOAD));
    group.ok(begin(other));
    group.ok(part(UPLOAD, 1, 1));
    group.ok(part(UPLOAD, 1, 10));
    group.ok(part(UPLOAD, 2, 20));
    group.ok(part(other, 1, 30));
    close(&mut group);
    assert_eq!(collect(&mut group, 0, 100), 5, "the replaced part");
    let complete = Command::CompleteUpload {
        bucket: BUCKET,
        key: key.clone(),
        upload: UPLOAD,
        parts: vec![(1, [1; 16])],
        etag: ETag::Multipart([1; 16], 1),
        xattrs: Vec::new(),
        part_bytes_min: 0,
        precondition: Precondition::default(),
    };
    group.ok(complete);
    group.ok(Command::AbortUpload { bucket: BUCKET, key, upload: other });
    group.put("x", inline(b"1"));
    group.put("y", inline(b"1"));
    assert_eq!(collect(&mut group, 0, 100), 10, "the part left out and the aborted one");
    assert_eq!((judged(&group, 10), judged(&group, 20)), (ChunkVerdict::Referenced, ChunkVerdict::Condemned));
    let ino = group.object("k").expect("there").ino;
    assert_eq!(group.extents(ino).len(), 5);
}

#[test]
fn nothing_is_collected_by_a_command_out_of_range() {
    let mut group = Group::new();
    for (grace, max) in [(-1, 10), (0, 0), (0, 1025)] {
        assert_eq!(group.send(None, Command::CollectGarbage { grace, max, now: AGREED }), Err(Refusal::Invalid));
    }
    let many = vec![ChunkId(0); 1025];
    assert_eq!(group.send(None, Command::ForgetChunks { chunks: many }), Err(Refusal::TooLarge));
}
