use crate::key::Table;
use crate::testing::{BUCKET, Group, chunks, create, inline, name, put, xattr};
use bytes::Bytes;
use proto::meta::{Answer, Command, Outcome, Query, Refusal, SetXattrMode, Usage};
use proto::object::{ETag, FileKind, Precondition, TagMatch};
use types::BucketId;

fn with(command: Command, wanted: Precondition) -> Command {
    match command {
        Command::PutObject { bucket, key, content, etag, xattrs, .. } => {
            Command::PutObject { bucket, key, content, etag, xattrs, precondition: wanted }
        }
        other => other,
    }
}

fn if_match(tags: TagMatch) -> Precondition {
    Precondition { if_match: Some(tags), if_none_match: None }
}

fn if_none_match(tags: TagMatch) -> Precondition {
    Precondition { if_match: None, if_none_match: Some(tags) }
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

#[test]
fn a_put_object_is_there_with_its_directories() {
    let mut group = Group::new();
    let attr = group.put("a/b/c", inline(b"hello"));
    assert_eq!((attr.mode, attr.uid, attr.size, attr.kind), (0o644, 0, 5, FileKind::File));
    assert_eq!(attr.etag_text(), "01".repeat(16));
    assert_eq!(group.object("a/b/c"), Ok(attr));
    assert_eq!(group.object("a/b"), Err(Refusal::NotFound));
    assert_eq!(group.object("a/b/"), Err(Refusal::NotFound));
    let dir = group.lookup(group.root, "a").expect("made on the way");
    assert_eq!((dir.kind, dir.mode, dir.nlink, dir.size), (FileKind::Directory, 0o755, 3, 1));
}

#[test]
fn the_last_delete_takes_the_directories_that_nobody_asked_for() {
    let mut group = Group::new();
    group.mkdir(group.root, "kept");
    group.put("kept/x/y/z", inline(b"1"));
    group.put("gone/x", inline(b"2"));
    group.put("gone/y/", inline(b""));
    assert!(group.delete("kept/x/y/z"));
    assert!(group.delete("gone/x"));
    assert!(!group.delete("gone/x"));
    assert_eq!(group.keys("", "/").1, ["gone/", "kept/"]);
    assert!(group.delete("gone/y/"));
    assert_eq!(group.keys("", "/").1, ["kept/"]);
}

#[test]
fn what_only_one_world_can_say_is_kept_apart() {
    let mut group = Group::new();
    for key in ["a", "a/", "a//b", "a/./c", "a/../d", "/", "//"] {
        group.put(key, inline(key.as_bytes()));
    }
    let keys = group.keys("", "").0;
    assert_eq!(keys, ["/", "//", "a", "a/", "a/../d", "a/./c", "a//b"]);
    for key in keys {
        let attr = group.object(&key).expect("it is there");
        assert_eq!(group.content(attr.ino).inline, key.as_bytes());
    }
    let dir = group.lookup(group.root, "a").expect("a directory wins");
    assert_eq!((dir.kind, dir.size), (FileKind::Directory, 3));
    assert_eq!(group.run(create(group.root, "a", FileKind::File, inline(b""))), Err(Refusal::Exists));
    group.ok(Command::Unlink { parent: group.root, name: name("a") });
    assert_eq!(group.object("a"), Err(Refusal::NotFound));
}

#[test]
fn a_marker_is_no_entry_and_goes_with_its_directory() {
    let mut group = Group::new();
    group.put("a/", inline(b"marker"));
    let dir = group.lookup(group.root, "a").expect("there");
    assert_eq!(dir.size, 0);
    let entries = group.ask(Query::ReadDir { ino: dir.ino, after: Bytes::new(), max: 10 });
    assert_eq!(entries, Ok(Answer::Entries(Vec::new())));
    assert_eq!(group.run(Command::Unlink { parent: dir.ino, name: Bytes::new() }), Err(Refusal::NotFound));
    group.ok(Command::Rmdir { parent: group.root, name: name("a") });
    assert_eq!(group.object("a/"), Err(Refusal::NotFound));
    assert_eq!(group.rows(Table::Trash).len(), 1);
}

#[test]
fn preconditions_are_judged_in_one_piece_with_the_change() {
    let mut group = Group::new();
    let tag = || TagMatch::Tags(vec!["no".into(), "01".repeat(16)]);
    let other = || TagMatch::Tags(vec!["no".into()]);
    let a = || put("a", inline(b"1"));
    assert_eq!(group.run(with(a(), if_match(TagMatch::Any))), Err(Refusal::PreconditionNotFound));
    group.ok(with(a(), if_none_match(TagMatch::Any)));
    assert_eq!(group.run(with(a(), if_none_match(TagMatch::Any))), Err(Refusal::PreconditionFailed));
    assert_eq!(group.run(with(a(), if_none_match(tag()))), Err(Refusal::PreconditionFailed));
    assert_eq!(group.run(with(a(), if_match(other()))), Err(Refusal::PreconditionFailed));
    group.ok(with(a(), if_match(tag())));
    group.ok(with(a(), if_none_match(other())));
    let delete = |wanted| Command::DeleteObjects {
        bucket: BUCKET,
        keys: vec![name("none"), name("a"), Bytes::new()],
        precondition: wanted,
    };
    let missing = Err(Refusal::PreconditionNotFound);
    let failed = Err(Refusal::PreconditionFailed);
    let refused = Outcome::Deleted(vec![missing.clone(), failed, Err(Refusal::Invalid)]);
    assert_eq!(group.ok(delete(if_match(other()))), refused);
    let deleted = Outcome::Deleted(vec![missing, Ok(true), Err(Refusal::Invalid)]);
    assert_eq!(group.ok(delete(if_match(tag()))), deleted);
}

#[test]
fn the_entity_tag_of_a_mount_changes_with_the_content() {
    let mut group = Group::new();
    let file = group.create(group.root, "a", inline(b"1"));
    let before = file.etag_text();
    assert!(before.ends_with(".p"));
    let write = Command::Write { ino: file.ino, inline: Some(name("2")), extents: vec![], append: false };
    let after = group.attr_of(write).etag_text();
    assert_ne!(before, after);
    assert_eq!(group.list("", "", "", 1).objects[0].etag, after);
    let object = group.put("b", inline(b"1"));
    group.ok(Command::Write { ino: object.ino, inline: Some(name("2")), extents: vec![], append: false });
    assert_eq!(group.object("b").map(|attr| attr.etag), Ok(ETag::Posix));
}

#[test]
fn an_overwritten_object_waits_in_the_trash() {
    let mut group = Group::new();
    let old = group.put("a", chunks(1, 2, 10));
    let new = group.put("a", inline(b"new"));
    assert_ne!(old.ino, new.ino);
    assert_eq!(group.content(old.ino).extents.len(), 2);
    assert_eq!(group.rows(Table::Trash).len(), 1);
    assert_eq!(group.rows(Table::Garbage).len(), 0);
    assert_eq!(
        group.ask(Query::Usage { bucket: BUCKET }),
        Ok(Answer::Usage(Usage { files: 1, bytes: 3, trash_files: 1, trash_bytes: 20 }))
    );
}

#[test]
fn a_copy_refers_to_the_same_chunks() {
    let mut group = Group::new();
    let from = group.put("a", chunks(1, 3, 10));
    group.ok(Command::SetXattr { ino: from.ino, name: name("user.x"), value: name("1"), mode: SetXattrMode::Any });
    let copied = group.attr_of(copy("a", "d/b"));
    assert_eq!(group.extents(copied.ino), group.extents(from.ino));
    assert_eq!(group.ask(Query::ListXattrs { ino: copied.ino }), Ok(Answer::Xattrs(vec![xattr("user.x", "1")])));
    assert_eq!(group.rows(Table::Chunk).len(), 3);
    group.ok(copy("a", "a"));
    assert_eq!(group.run(copy("none", "b")), Err(Refusal::NotFound));
    let elsewhere = match copy("a", "b") {
        Command::CopyObject { source_key, source_precondition, bucket, key, xattrs, precondition, .. } => {
            let source_bucket = BucketId(9);
            Command::CopyObject { source_bucket, source_key, source_precondition, bucket, key, xattrs, precondition }
        }
        _ => unreachable!(),
    };
    assert_eq!(group.run(elsewhere), Err(Refusal::NoSuchBucket));
}

#[test]
fn a_symbolic_link_is_an_object_without_bytes() {
    let mut group = Group::new();
    group.ok(create(group.root, "s", FileKind::Symlink, inline(b"target")));
    assert_eq!(group.lookup(group.root, "s").map(|attr| attr.size), Ok(6));
    assert_eq!(group.object("s").map(|attr| (attr.kind, attr.size)), Ok((FileKind::Symlink, 0)));
    assert_eq!(group.list("", "", "", 10).objects[0].size, 0);
    group.ok(copy("s", "t"));
    let copied = group.lookup(group.root, "t").expect("copied");
    assert_eq!(group.content(copied.ino).inline, "target");
}

#[test]
fn keys_and_metadata_over_their_limits_are_refused() {
    let mut group = Group::new();
    assert_eq!(group.run(put("", inline(b""))), Err(Refusal::Invalid));
    assert_eq!(group.run(put(&"k".repeat(1025), inline(b""))), Err(Refusal::NameTooLong));
    group.put(&"k".repeat(1024), inline(b""));
    group.put(&"/".repeat(1024), inline(b""));
    assert_eq!(group.run(put("a", inline(&[0; 4097]))), Err(Refusal::TooLarge));
    let metadata = |xattrs| match put("a", inline(b"")) {
        Command::PutObject { bucket, key, content, etag, precondition, .. } => {
            Command::PutObject { bucket, key, content, etag, xattrs, precondition }
        }
        _ => unreachable!(),
    };
    let long = "n".repeat(256);
    let big = "v".repeat((64 << 10) + 1);
    let most = "v".repeat(64 << 10);
    assert_eq!(group.run(metadata(vec![xattr(&long, "")])), Err(Refusal::NameTooLong));
    assert_eq!(group.run(metadata(vec![xattr("a", &big)])), Err(Refusal::TooLarge));
    assert_eq!(group.run(metadata(vec![xattr("a", "1"), xattr("a", "2")])), Err(Refusal::Invalid));
    assert_eq!(group.run(metadata(vec![xattr("a", &most), xattr("b", &most)])), Err(Refusal::TooLarge));
    let many = (0..1025).map(|i| xattr(&format!("a{i}"), "")).collect();
    assert_eq!(group.run(metadata(many)), Err(Refusal::TooLarge));
    let attr = group.attr_of(metadata(vec![xattr("a", &most)]));
    let more = Command::SetXattr { ino: attr.ino, name: name("b"), value: name(&most), mode: SetXattrMode::Any };
    assert_eq!(group.run(more), Err(Refusal::TooLarge));
}

#[test]
fn thousands_of_deep_deletes_stay_within_a_command() {
    let mut group = Group::new();
    let keys: Vec<String> = (0..40).map(|i| format!("{i}/{}x", "/".repeat(900))).collect();
    for key in &keys {
        group.send_unchecked(None, put(key, inline(b""))).expect("a key");
    }
    let delete = Command::DeleteObjects {
        bucket: BUCKET,
        keys: keys.iter().map(|key| name(key)).collect(),
        precondition: Precondition::default(),
    };
    let Outcome::Deleted(first) = group.ok(delete.clone()) else { panic!("deleted") };
    let done = first.iter().filter(|deleted| **deleted == Ok(true)).count();
    assert!(done > 0 && first[done..].iter().all(|deleted| *deleted == Err(Refusal::TooLarge)));
    for _ in 0..keys.len() {
        group.ok(delete.clone());
    }
    assert_eq!(group.keys("", "/"), (vec![], vec![]));
}
