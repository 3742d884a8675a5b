use crate::key::Table;
use crate::key::list::ListKey;
use crate::kv::KvRead;
use crate::list::{EDIT_PIECES_MAX, LIST_DEPTH_MAX};
use crate::testing::{BUCKET, Group, chunks, extent, name};
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use proto::object::{NewContent, NewExtent, Precondition};
use types::{Ino, ListId};

fn write(ino: Ino, extents: Vec<NewExtent>) -> Command {
    Command::Write { ino, inline: None, extents, append: false }
}

fn append(ino: Ino, extents: Vec<NewExtent>) -> Command {
    Command::Write { ino, inline: None, extents, append: true }
}

fn resize(ino: Ino, size: u64) -> Command {
    Command::SetAttr { ino, mode: None, uid: None, gid: None, size: Some(size), atime: None, mtime: None }
}

fn copy(from: &str, to: &str) -> Command {
    Command::CopyObject {
        source_bucket: BUCKET,
        source_key: name(from),
        source_precondition: Precondition::default(),
        bucket: BUCKET,
        key: name(to),
        xattrs: None,
        precondition: Precondition::default(),
    }
}

/// `count` extents of one byte each from `at` on.
fn bytes(first: u32, count: u32, at: u64) -> Vec<NewExtent> {
    (0..count).map(|i| extent(first + i, at + u64::from(i), 1)).collect()
}

fn all_extents(group: &Group, ino: Ino) -> Vec<(u64, u32)> {
    let mut at = 0;
    let mut all = Vec::new();
    loop {
        let Ok(Answer::Content(view)) = group.ask(Query::Content { ino, offset: at, len: u64::MAX }) else {
            panic!("content")
        };
        all.extend(view.extents.iter().map(|extent| (extent.file_offset, extent.chunk.id.parts().seq)));
        match view.next {
            Some(next) => at = next,
            None => return all,
        }
    }
}

#[test]
fn an_append_writes_one_row_of_a_list() {
    let mut group = Group::new();
    let ino = group.create(group.root, "a", chunks(1, 2000, 1)).ino;
    let before = group.rows(Table::List);
    group.ok(append(ino, vec![extent(5000, 0, 7)]));
    let after = group.rows(Table::List);
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(before.iter().filter(|row| !after.contains(row)).count(), 0);
    assert_eq!(all_extents(&group, ino).last(), Some(&(2000, 5000)));
}

#[test]
fn a_write_in_the_middle_touches_its_neighbours_only() {
    let mut group = Group::new();
    let ino = group.create(group.root, "a", chunks(1, 2000, 10)).ino;
    let before = group.rows(Table::List);
    group.ok(write(ino, vec![extent(5000, 10_005, 20)]));
    let after = group.rows(Table::List);
    assert!(before.iter().filter(|row| !after.contains(row)).count() <= 2);
    let all = all_extents(&group, ino);
    assert_eq!(&all[1000..1004], [(10_000, 1001), (10_005, 5000), (10_025, 1003), (10_030, 1004)]);
}

#[test]
fn an_edit_too_large_for_a_command_lays_a_window() {
    let mut group = Group::new();
    let count = EDIT_PIECES_MAX as u32 + 500;
    let ino = group.create(group.root, "a", NewContent::Chunks(bytes(1, count, 0))).ino;
    let rows = group.rows(Table::Chunk).len();
    group.ok(write(ino, vec![extent(9000, 2, count - 4)]));
    let expected = [(0, 1), (1, 2), (2, 9000), (u64::from(count) - 2, count - 1), (u64::from(count) - 1, count)];
    assert_eq!(all_extents(&group, ino), expected);
    assert_eq!(group.rows(Table::Chunk).len(), rows + 1);
    let big = group.create(group.root, "b", NewContent::Chunks(bytes(20_000, count, 0))).ino;
    group.ok(resize(big, 3));
    group.ok(resize(big, 1 << 20));
    assert_eq!(all_extents(&group, big), [(0, 20_000), (1, 20_001), (2, 20_002)]);
    assert_eq!(group.lookup(group.root, "b").map(|attr| attr.stored), Ok(3));
}

#[test]
fn dropping_a_large_content_is_one_piece_of_garbage() {
    let mut group = Group::new();
    let ino = group.create(group.root, "a", NewContent::Chunks(bytes(1, 2000, 0))).ino;
    let chunk_rows = group.rows(Table::Chunk);
    group.ok(resize(ino, 0));
    assert_eq!(group.rows(Table::Chunk), chunk_rows);
    assert_eq!(group.rows(Table::Garbage).len(), 1);
}

/// Copy, write into the copy, copy that, and so on: each generation adds a level until a copy is refused; a write never is.
#[test]
fn copies_of_copies_end_before_writes_do() {
    let mut group = Group::new();
    group.put("0", NewContent::Chunks(bytes(1, 200, 0)));
    let mut generation = 0;
    let refused = loop {
        let (from, to) = (generation.to_string(), (generation + 1).to_string());
        match group.run(copy(&from, &to)) {
            Ok(Outcome::Object(attr)) => {
                // Many pieces far apart, so that the copy gets a list of its own too long to be copied in turn.
                let first = 1000 * (generation + 1);
                let apart = (0..100).map(|i| extent(first + i, u64::from(2 * i), 1)).collect();
                group.ok(write(attr.ino, apart));
                assert_eq!(all_extents(&group, attr.ino).len(), 200);
                assert_eq!(all_extents(&group, attr.ino)[0], (0, first));
            }
            other => break other,
        }
        generation += 1;
        assert!(generation < 100, "copies never end");
    };
    assert_eq!(refused, Err(Refusal::TooLarge));
    assert!(generation >= u32::from(LIST_DEPTH_MAX) - 2);
    let deepest = (1..100).filter_map(|list| crate::row::read(&group.kv, &ListKey(ListId(list))).expect("memory"));
    assert!(deepest.map(|header| header.depth).max() <= Some(LIST_DEPTH_MAX));
    assert!(group.kv.get(b"none").expect("memory").is_none());
}

#[test]
fn a_range_shows_what_touches_it() {
    let mut group = Group::new();
    let ino = group.create(group.root, "a", chunks(1, 100, 10)).ino;
    let view = |offset, len| match group.ask(Query::Content { ino, offset, len }) {
        Ok(Answer::Content(view)) => view,
        other => panic!("{other:?}"),
    };
    let offsets = |offset, len| view(offset, len).extents.iter().map(|extent| extent.file_offset).collect::<Vec<_>>();
    assert_eq!(offsets(25, 10), [20, 30]);
    assert_eq!(offsets(30, 10), [30]);
    assert_eq!(offsets(999, u64::MAX), [990]);
    assert_eq!(offsets(1000, 5), []);
    assert_eq!(offsets(u64::MAX, u64::MAX), []);
    assert_eq!(offsets(5, 0), []);
    assert_eq!((view(0, 0).size, view(0, 0).next), (1000, None));
}
