use crate::key::Table;
use crate::testing::{GROUP, Group, SESSION, chunk, chunks, create, extent, inline, put};
use proto::meta::{Answer, BadChunk, Command, Query, Refusal};
use proto::object::{FileKind, NewContent, NewExtent};
use types::{ChunkId, ChunkIdParts, GroupId, Ino, SessionId, WriterEpoch};

fn refused(group: &mut Group, extents: Vec<NewExtent>) -> BadChunk {
    match group.run(put("a", NewContent::Chunks(extents))) {
        Err(Refusal::BadChunk(bad)) => bad,
        other => panic!("{other:?}"),
    }
}

fn with_id(change: impl FnOnce(&mut ChunkIdParts)) -> NewExtent {
    let mut new = extent(1, 0, 10);
    let mut parts = new.extent.chunk.id.parts();
    change(&mut parts);
    new.extent.chunk.id = ChunkId::new(parts);
    new
}

fn close(epoch: u16) -> Command {
    Command::CloseEpoch { session: SESSION, epoch: WriterEpoch(epoch) }
}

fn under_replicated(group: &Group) -> Vec<(u32, u8)> {
    match group.ask(Query::UnderReplicated { after: None, max: 100 }) {
        Ok(Answer::UnderReplicated(chunks)) => {
            chunks.into_iter().map(|(chunk, missing)| (chunk.id.parts().seq, missing)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn foreign_chunks_are_refused() {
    let mut group = Group::new();
    assert_eq!(refused(&mut group, vec![with_id(|parts| parts.group = GroupId(GROUP.0 + 1))]), BadChunk::Group);
    let session = SessionId(SESSION.0 + 1);
    assert_eq!(refused(&mut group, vec![with_id(|parts| parts.session = session)]), BadChunk::Session);
    let unsigned = group.send(None, put("a", chunks(1, 1, 10)));
    assert_eq!(unsigned, Err(Refusal::BadChunk(BadChunk::Session)), "without a session there are no chunks");
    assert!(group.rows(Table::Chunk).is_empty());
}

#[test]
fn malformed_extents_are_refused() {
    let mut group = Group::new();
    let bent = |change: fn(&mut NewExtent)| {
        let mut new = extent(1, 0, 10);
        change(&mut new);
        vec![new]
    };
    let cases: [fn(&mut NewExtent); 7] = [
        |new| new.extent.len = 0,
        |new| new.extent.len = 11,
        |new| new.extent.chunk_offset = u32::MAX,
        |new| new.extent.chunk.len = u32::MAX,
        |new| new.extent.file_offset = 1,
        |new| new.extent.file_offset = u64::MAX,
        |new| new.missing = 16,
    ];
    for case in cases {
        assert_eq!(refused(&mut group, bent(case)), BadChunk::Malformed);
    }
    assert_eq!(refused(&mut group, vec![extent(1, 0, 10), extent(2, 11, 10)]), BadChunk::Malformed);
    assert_eq!(refused(&mut group, vec![extent(1, 0, 10), extent(2, 9, 10)]), BadChunk::Malformed);
    assert_eq!(refused(&mut group, bent(|new| new.missing = 3)), BadChunk::UnderAcknowledged);
    let many = (0..2049).map(|at| extent(at, u64::from(at), 1)).collect();
    assert_eq!(group.run(put("a", NewContent::Chunks(many))), Err(Refusal::TooLarge));
    let ino = group.create(group.root, "f", inline(b"")).ino;
    let write = |extents| Command::Write { ino, inline: None, extents, append: true };
    let far = Command::SetAttr { ino, mode: None, uid: None, gid: None, size: Some(5 << 40), atime: None, mtime: None };
    group.ok(far);
    let malformed = Err(Refusal::BadChunk(BadChunk::Malformed));
    assert_eq!(group.run(write(vec![extent(1, 0, 1)])), malformed, "beyond the largest file");
    assert_eq!(group.run(write(vec![extent(1, u64::MAX, 1)])), malformed);
}

#[test]
fn an_id_has_one_content() {
    let mut group = Group::new();
    group.put("a", chunks(1, 1, 10));
    let mut other = extent(1, 0, 10);
    other.extent.chunk.root.0[0] ^= 1;
    assert_eq!(refused(&mut group, vec![other]), BadChunk::Conflict);
    let mut longer = extent(1, 0, 10);
    longer.extent.chunk.len = 11;
    assert_eq!(refused(&mut group, vec![longer]), BadChunk::Conflict);
    group.put("b", chunks(1, 1, 10));
}

#[test]
fn a_closed_epoch_takes_staged_chunks_only() {
    let mut group = Group::new();
    let staged = Command::Stage { chunks: vec![(chunk(1, 10), 0), (chunk(2, 10), 4)] };
    group.ok(staged.clone());
    group.ok(staged);
    assert_eq!(group.rows(Table::Staged).len(), 2);
    group.ok(close(1));
    group.ok(close(1));
    assert_eq!(refused(&mut group, vec![extent(3, 0, 10)]), BadChunk::EpochClosed);
    group.put("b", chunks(1, 2, 10));
    assert_eq!(group.rows(Table::Staged).len(), 0);
    assert_eq!(refused(&mut group, vec![extent(1, 0, 10)]), BadChunk::EpochClosed);
    let late = group.run(Command::Stage { chunks: vec![(chunk(9, 10), 0)] });
    assert_eq!(late, Err(Refusal::BadChunk(BadChunk::EpochClosed)));
    let wide = Command::CloseEpoch { session: SessionId(1 << 44), epoch: WriterEpoch(1) };
    assert_eq!(group.run(wide), Err(Refusal::Invalid));
}

#[test]
fn a_missing_copy_is_on_record_until_it_is_cleared() {
    let mut group = Group::new();
    let mut two = vec![extent(1, 0, 10), extent(2, 10, 10)];
    two[1].missing = 4;
    group.put("a", NewContent::Chunks(two));
    group.ok(Command::Stage { chunks: vec![(chunk(3, 10), 1)] });
    assert_eq!(under_replicated(&group), [(2, 4), (3, 1)]);
    let after = Some(chunk(2, 10).id);
    let Ok(Answer::UnderReplicated(rest)) = group.ask(Query::UnderReplicated { after, max: 9 }) else {
        panic!("an answer")
    };
    assert_eq!(rest, [(chunk(3, 10), 1)]);
    group.ok(Command::ClearUnderReplicated { chunks: vec![chunk(2, 10).id, chunk(99, 1).id] });
    assert_eq!(under_replicated(&group), [(3, 1)]);
}

#[test]
fn whole_are_those_that_are_needed_and_lack_no_copy() {
    let mut group = Group::new();
    let mut three = vec![extent(1, 0, 10), extent(2, 10, 10), extent(3, 20, 10)];
    three[1].missing = 4;
    group.put("a", NewContent::Chunks(three));
    group.put("b", chunks(4, 1, 10));
    group.put("b", chunks(5, 1, 10));
    group.ok(Command::Stage { chunks: vec![(chunk(6, 10), 0)] });
    let page = |after: Option<u32>, max| {
        let query = Query::Whole { after: after.map(|seq| chunk(seq, 1).id), max };
        let Ok(Answer::Whole { chunks, next }) = group.ask(query) else { panic!("an answer") };
        let seq = |id: ChunkId| id.parts().seq;
        (chunks.into_iter().map(|chunk| (seq(chunk.id), chunk.len)).collect::<Vec<_>>(), next.map(seq))
    };
    // The fourth lies in the trash and can be had back.
    assert_eq!(page(None, 100), (vec![(1, 10), (3, 10), (4, 10), (5, 10), (6, 10)], None));
    assert_eq!(page(None, 2), (vec![(1, 10)], Some(2)), "two were looked at");
    assert_eq!(page(Some(2), 2), (vec![(3, 10), (4, 10)], Some(4)));
    assert_eq!(page(Some(6), 2), (vec![], None));
}

#[test]
fn the_last_reference_makes_garbage_and_a_new_one_takes_it_back() {
    let mut group = Group::new();
    let ino = group.create(group.root, "a", chunks(1, 1, 10)).ino;
    let write = |seq| Command::Write { ino, inline: None, extents: vec![extent(seq, 0, 10)], append: false };
    group.ok(write(1));
    assert!(group.rows(Table::Garbage).is_empty(), "laid over itself");
    group.ok(write(2));
    assert_eq!(group.rows(Table::Garbage).len(), 1);
    let known = crate::row::read(&group.kv, &crate::key::chunk::ChunkKey(chunk(1, 10).id)).expect("memory");
    assert_eq!(known.map(|known| (known.refs, known.owner)), Some((0, ino)));
    group.ok(write(1));
}

#[test]
fn a_refused_command_leaves_nothing_behind() {
    let mut group = Group::new();
    group.put("a", inline(b"1"));
    let before = group.kv.clone();
    let mut bad = vec![extent(1, 0, 10), extent(2, 10, 10)];
    bad[1].extent.chunk.id.0 ^= 1 << 60;
    group.send(None, put("x/y/z", NewContent::Chunks(bad.clone()))).expect_err("bad");
    let file = create(Ino(group.root.0), "f", FileKind::File, NewContent::Chunks(bad));
    group.send(None, file).expect_err("bad");
    let changed = group.kv.0.iter().filter(|(key, value)| before.0.get(*key) != Some(*value));
    let keys: Vec<u8> = changed.map(|(key, _)| key[0]).collect();
    assert_eq!(keys, [Table::Group as u8], "but the group's time");
}
