use crate::testing::{BUCKET, Group, chunks, create, extent, inline, name};
use proto::meta::{Command, Query, Refusal, SetTime};
use proto::object::{FileKind, NewContent};
use types::{BucketId, Ino, Timestamp};

fn rename(parent: Ino, from: &str, new_parent: Ino, to: &str) -> Command {
    Command::Rename { parent, name: name(from), new_parent, new_name: name(to), no_replace: false }
}

fn unlink(parent: Ino, text: &str) -> Command {
    Command::Unlink { parent, name: name(text) }
}

fn rmdir(parent: Ino, text: &str) -> Command {
    Command::Rmdir { parent, name: name(text) }
}

fn resize(ino: Ino, size: u64) -> Command {
    Command::SetAttr { ino, mode: None, uid: None, gid: None, size: Some(size), atime: None, mtime: None }
}

fn write(ino: Ino, extents: Vec<proto::object::NewExtent>) -> Command {
    Command::Write { ino, inline: None, extents, append: false }
}

#[test]
fn a_created_file_has_what_was_asked_for() {
    let mut group = Group::new();
    let attr = group.create(group.root, "a", inline(b"hello"));
    assert_eq!((attr.mode, attr.uid, attr.gid, attr.nlink, attr.size, attr.stored), (0o640, 5, 6, 1, 5, 5));
    assert_eq!(group.lookup(group.root, "a"), Ok(attr.clone()));
    assert_eq!(group.content(attr.ino).inline, "hello");
    let root = group.lookup(group.root, "b");
    assert_eq!(root, Err(Refusal::NotFound));
}

#[test]
fn a_taken_name_is_refused_or_handed_back() {
    let mut group = Group::new();
    let file = group.create(group.root, "a", inline(b"1"));
    group.mkdir(group.root, "d");
    let root = group.root;
    let again = |name: &str, kind, exclusive| {
        let Command::Create { parent, name, mode, uid, gid, content, .. } = create(root, name, kind, inline(b""))
        else {
            unreachable!()
        };
        Command::Create { parent, name, kind, mode, uid, gid, content, exclusive }
    };
    assert_eq!(group.run(again("a", FileKind::File, true)), Err(Refusal::Exists));
    assert_eq!(group.attr_of(again("a", FileKind::File, false)), file);
    assert_eq!(group.run(again("d", FileKind::File, false)), Err(Refusal::IsDirectory));
    assert_eq!(group.run(again("a", FileKind::Directory, false)), Err(Refusal::Exists));
    assert_eq!(group.run(again("d", FileKind::Directory, true)), Err(Refusal::Exists));
}

#[test]
fn names_a_mount_cannot_have_are_refused() {
    let mut group = Group::new();
    for bad in ["", ".", "..", "a/b", "a\0"] {
        let command = create(group.root, bad, FileKind::File, inline(b""));
        assert_eq!(group.run(command), Err(Refusal::Invalid), "{bad:?}");
    }
    let long = "x".repeat(256);
    assert_eq!(group.run(create(group.root, &long, FileKind::File, inline(b""))), Err(Refusal::NameTooLong));
    let symlink = create(group.root, "s", FileKind::Symlink, inline(b""));
    assert_eq!(group.run(symlink), Err(Refusal::Invalid), "a symbolic link without a target");
    let full = create(group.root, "d", FileKind::Directory, inline(b"x"));
    assert_eq!(group.run(full), Err(Refusal::Invalid), "a directory with content");
}

#[test]
fn an_unlinked_file_goes_on_and_waits_in_the_trash() {
    let mut group = Group::new();
    let dir = group.mkdir(group.root, "d");
    let file = group.create(dir, "f", chunks(1, 2, 100));
    group.ok(unlink(dir, "f"));
    assert_eq!(group.lookup(dir, "f"), Err(Refusal::NotFound));
    assert_eq!(group.content(file.ino).extents.len(), 2);
    let attr = group.attr_of(write(file.ino, vec![extent(3, 200, 50)]));
    assert_eq!((attr.nlink, attr.size), (0, 250));
    let trash = group.rows(crate::key::Table::Trash);
    assert_eq!(trash.len(), 1);
    let row = crate::row::decode::<crate::key::trash::TrashKey>(&trash[0].0, &trash[0].1).expect("a row");
    assert_eq!((row.path.as_ref(), row.scratch), (&b"d/f"[..], true));
    assert_eq!(group.run(Command::Link { ino: file.ino, parent: dir, name: name("g") }), Err(Refusal::StaleInode));
}

#[test]
fn unlink_and_rmdir_mind_what_stands_there() {
    let mut group = Group::new();
    let dir = group.mkdir(group.root, "d");
    group.create(dir, "f", inline(b""));
    assert_eq!(group.run(unlink(group.root, "d")), Err(Refusal::IsDirectory));
    assert_eq!(group.run(rmdir(group.root, "d")), Err(Refusal::NotEmpty));
    assert_eq!(group.run(rmdir(dir, "f")), Err(Refusal::NotDirectory));
    assert_eq!(group.run(rmdir(dir, "g")), Err(Refusal::NotFound));
    group.ok(unlink(dir, "f"));
    group.ok(rmdir(group.root, "d"));
    assert_eq!(group.run(create(dir, "x", FileKind::File, inline(b""))), Err(Refusal::StaleInode));
}

#[test]
fn a_directory_made_for_a_key_stays_when_a_mount_empties_it() {
    let mut group = Group::new();
    group.put("a/b/c", inline(b"1"));
    let a = group.lookup(group.root, "a").expect("made").ino;
    let b = group.lookup(a, "b").expect("made").ino;
    group.ok(unlink(b, "c"));
    group.create(b, "d", inline(b"2"));
    group.ok(unlink(b, "d"));
    group.ok(rmdir(a, "b"));
    group.ok(rmdir(group.root, "a"));
    assert_eq!(group.keys("", "/"), (vec![], vec![]));
}

#[test]
fn hard_links_share_an_inode_and_its_attributes() {
    let mut group = Group::new();
    let file = group.create(group.root, "a", inline(b"12"));
    let dir = group.mkdir(group.root, "d");
    let linked = group.attr_of(Command::Link { ino: file.ino, parent: dir, name: name("b") });
    assert_eq!(linked.nlink, 2);
    group.ok(resize(file.ino, 7));
    let sizes: Vec<u64> = group.list("", "", "", 10).objects.iter().map(|object| object.size).collect();
    assert_eq!(sizes, [7, 7]);
    group.ok(unlink(group.root, "a"));
    assert_eq!(group.lookup(dir, "b").map(|attr| (attr.ino, attr.nlink)), Ok((file.ino, 1)));
    group.ok(rename(dir, "b", group.root, "c"));
    assert_eq!(group.run(Command::Link { ino: dir, parent: dir, name: name("x") }), Err(Refusal::IsDirectory));
    let taken = Command::Link { ino: file.ino, parent: group.root, name: name("d") };
    assert_eq!(group.run(taken), Err(Refusal::Exists));
}

#[test]
fn rename_replaces_as_posix_has_it() {
    let mut group = Group::new();
    let root = group.root;
    let a = group.create(root, "a", inline(b"1"));
    group.create(root, "b", inline(b"22"));
    group.ok(rename(root, "a", root, "b"));
    assert_eq!(group.lookup(root, "b").map(|attr| attr.ino), Ok(a.ino));
    assert_eq!(group.lookup(root, "a"), Err(Refusal::NotFound));
    let dir = group.mkdir(root, "d");
    let sub = group.mkdir(dir, "e");
    assert_eq!(group.run(rename(root, "b", root, "d")), Err(Refusal::IsDirectory));
    assert_eq!(group.run(rename(root, "d", root, "b")), Err(Refusal::NotDirectory));
    assert_eq!(group.run(rename(root, "d", sub, "x")), Err(Refusal::Invalid));
    assert_eq!(group.run(rename(root, "d", dir, "x")), Err(Refusal::Invalid));
    group.mkdir(root, "full");
    let full = group.lookup(root, "full").expect("made").ino;
    group.create(full, "f", inline(b""));
    assert_eq!(group.run(rename(root, "d", root, "full")), Err(Refusal::NotEmpty));
    group.mkdir(root, "empty");
    group.ok(rename(root, "full", root, "empty"));
    assert_eq!(group.lookup(root, "empty").map(|attr| attr.ino), Ok(full));
    group.ok(rename(dir, "e", root, "e"));
    group.ok(rename(root, "e", root, "e"));
    assert_eq!(group.run(rename(root, "none", root, "e")), Err(Refusal::NotFound));
    let no_replace =
        Command::Rename { parent: root, name: name("b"), new_parent: root, new_name: name("e"), no_replace: true };
    assert_eq!(group.run(no_replace), Err(Refusal::Exists));
}

#[test]
fn renaming_one_name_of_a_file_over_another_changes_nothing() {
    let mut group = Group::new();
    let root = group.root;
    let file = group.create(root, "a", inline(b"1"));
    group.ok(Command::Link { ino: file.ino, parent: root, name: name("b") });
    group.ok(rename(root, "a", root, "b"));
    assert_eq!(group.keys("", "").0, ["a", "b"]);
}

#[test]
fn buckets_are_worlds_apart() {
    let mut group = Group::new();
    let other = BucketId(2);
    group.ok(Command::EnsureBucket { bucket: other });
    let file = group.create(group.root, "a", inline(b"1"));
    let Ok(proto::meta::Answer::Attr(root)) = group.ask(Query::BucketRoot { bucket: other }) else {
        panic!("the bucket is there")
    };
    assert_eq!(group.run(rename(group.root, "a", root.ino, "a")), Err(Refusal::CrossBucket));
    let link = Command::Link { ino: file.ino, parent: root.ino, name: name("a") };
    assert_eq!(group.run(link), Err(Refusal::CrossBucket));
    group.ok(Command::SealBucket { bucket: other });
    let sealed = create(root.ino, "x", FileKind::File, inline(b""));
    assert_eq!(group.run(sealed), Err(Refusal::BucketSealed));
    assert_eq!(group.run(Command::EnsureBucket { bucket: other }), Err(Refusal::BucketSealed));
    assert_eq!(group.run(Command::SealBucket { bucket: BUCKET }), Err(Refusal::NotEmpty));
}

#[test]
fn attributes_change_one_by_one() {
    let mut group = Group::new();
    let file = group.create(group.root, "a", inline(b"123"));
    let command = Command::SetAttr {
        ino: file.ino,
        mode: Some(0o4755),
        uid: None,
        gid: Some(9),
        size: None,
        atime: Some(SetTime::At(Timestamp(-5))),
        mtime: Some(SetTime::Now),
    };
    let attr = group.attr_of(command);
    assert_eq!((attr.mode, attr.uid, attr.gid, attr.size), (0o4755, 5, 9, 3));
    assert_eq!((attr.atime, attr.mtime), (Timestamp(-5), attr.ctime));
    assert!(attr.change > file.change);
    let mode = Command::SetAttr {
        ino: file.ino,
        mode: Some(0o10000),
        uid: None,
        gid: None,
        size: None,
        atime: None,
        mtime: None,
    };
    assert_eq!(group.run(mode), Err(Refusal::Invalid));
    assert_eq!(group.run(resize(group.root, 0)), Err(Refusal::IsDirectory));
    assert_eq!(group.run(resize(file.ino, (5 << 40) + 1)), Err(Refusal::TooLarge));
}

#[test]
fn a_cut_file_that_grows_again_shows_zeros_not_its_past() {
    let mut group = Group::new();
    let file = group.create(group.root, "a", inline(b"0123456789")).ino;
    group.ok(resize(file, 4));
    group.ok(resize(file, 8));
    let view = group.content(file);
    assert_eq!((view.size, view.inline.as_ref()), (8, &b"0123"[..]));
    let chunked = group.create(group.root, "b", chunks(1, 6, 100)).ino;
    group.ok(resize(chunked, 150));
    group.ok(resize(chunked, 600));
    assert_eq!(group.extents(chunked), [(0, 100, 1), (100, 50, 2)]);
    group.ok(resize(chunked, 0));
    assert_eq!(group.extents(chunked), []);
}

#[test]
fn writes_lie_over_what_was_there() {
    let mut group = Group::new();
    let file = group.create(group.root, "a", NewContent::Chunks(vec![])).ino;
    group.ok(write(file, vec![extent(1, 0, 100)]));
    group.ok(write(file, vec![extent(2, 30, 10), extent(3, 150, 10)]));
    assert_eq!(group.extents(file), [(0, 30, 1), (30, 10, 2), (40, 60, 1), (150, 10, 3)]);
    let attr = group.attr_of(Command::Write { ino: file, inline: None, extents: vec![extent(4, 5, 10)], append: true });
    assert_eq!((attr.size, attr.stored), (175, 120));
    assert_eq!(group.extents(file).last(), Some(&(165, 10, 4)));
    group.ok(Command::Write {
        ino: file,
        inline: Some(bytes::Bytes::from_static(b"abc")),
        extents: vec![extent(5, 3, 10)],
        append: false,
    });
    assert_eq!((group.extents(file), group.content(file).size), (vec![(3, 10, 5)], 13));
    assert_eq!(group.content(file).inline, "abc");
}

#[test]
fn a_list_is_edited_where_it_is_until_it_is_shared() {
    let mut group = Group::new();
    let file = group.create(group.root, "a", chunks(1, 100, 10)).ino;
    let lists = |group: &Group| group.rows(crate::key::Table::List).iter().filter(|(key, _)| key[9] == b'H').count();
    group.ok(write(file, vec![extent(200, 15, 20)]));
    assert_eq!(lists(&group), 1);
    assert_eq!(group.extents(file)[1..4], [(10, 5, 2), (15, 20, 200), (35, 5, 4)]);
    group.ok(Command::CopyObject {
        source_bucket: BUCKET,
        source_key: name("a"),
        source_precondition: Default::default(),
        bucket: BUCKET,
        key: name("b"),
        xattrs: None,
        precondition: Default::default(),
    });
    assert_eq!(lists(&group), 1);
    let copy = group.object("b").expect("copied").ino;
    group.ok(write(file, vec![extent(201, 500, 10)]));
    assert_eq!(group.extents(copy)[50..52], [(500, 10, 51), (510, 10, 52)]);
    assert_eq!(group.extents(file)[50], (500, 10, 201));
    group.ok(resize(copy, 25));
    assert_eq!(group.extents(copy), [(0, 10, 1), (10, 5, 2), (15, 10, 200)]);
    assert_eq!(group.content(file).extents.len(), 100);
}
