//! What goes to the trash comes back whole, or goes for good when its time is over and not before.

use crate::key::Table;
use crate::key::garbage::GarbageKey;
use crate::testing::{BUCKET, GROUP, Group, chunks, create, extent, inline, name, xattr};
use crate::{apply, invariants};
use bytes::Bytes;
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Answer, Command, Outcome, Query, Refusal, Usage};
use proto::object::{Attr, ETag, FileKind, Precondition};
use proto::trash::{
    BucketOptions, BucketStatus, DeleteLimit, NameTaken, Purged, Restored, TrashEntry, TrashFilter, TrashId, TrashPage,
    TrashReason,
};
use types::{BucketId, Ino, RequestId, SessionId, Timestamp};

const DAY: i64 = 24 * 3600;
/// Sends what the scratch rule must not touch.
const OTHER: SessionId = SessionId(8);

impl Group {
    fn other(&mut self, command: Command) -> Result<Outcome, Refusal> {
        let seq = self.next_seq();
        self.send(Some(RequestId { session: OTHER, seq, low: seq }), command)
    }

    fn status(&self) -> BucketStatus {
        match self.ask(Query::BucketStatus { bucket: BUCKET }) {
            Ok(Answer::BucketStatus(status)) => status,
            other => panic!("{other:?}"),
        }
    }

    fn page(&self, filter: TrashFilter, after: Option<TrashId>, max: u32) -> TrashPage {
        match self.ask(Query::ListTrash { bucket: BUCKET, filter, after, max }) {
            Ok(Answer::Trash(page)) => page,
            other => panic!("{other:?}"),
        }
    }

    fn trash(&self) -> Vec<TrashEntry> {
        self.page(TrashFilter::default(), None, 1000).entries
    }

    fn ids(&self) -> Vec<TrashId> {
        self.trash().iter().map(|entry| entry.id).collect()
    }

    fn restore(&mut self, to: &str, taken: NameTaken) -> Vec<Result<Restored, Refusal>> {
        let entries = self.ids();
        match self.ok(Command::RestoreTrash { bucket: BUCKET, entries, to: name(to), taken }) {
            Outcome::Restored(restored) => restored,
            other => panic!("{other:?}"),
        }
    }

    fn released(&mut self, command: Command) -> Purged {
        match self.ok(command) {
            Outcome::Purged(purged) => purged,
            other => panic!("{other:?}"),
        }
    }

    fn expire(&mut self, entries: Vec<TrashId>, now: Timestamp) -> Purged {
        self.released(Command::ExpireTrash { bucket: BUCKET, entries, now })
    }

    fn now(&self) -> Timestamp {
        self.status().time
    }

    fn limit(&mut self, max: u32) {
        let options = BucketOptions { delete_limit: DeleteLimit::Max(max), ..BucketOptions::default() };
        self.ok(Command::SetBucketOptions { bucket: BUCKET, options });
    }
}

fn unlink(parent: Ino, text: &str) -> Command {
    Command::Unlink { parent, name: name(text) }
}

fn truncate(ino: Ino, size: u64) -> Command {
    let (mode, uid, gid, atime, mtime) = (None, None, None, None, None);
    Command::SetAttr { ino, mode, uid, gid, size: Some(size), atime, mtime }
}

fn write(ino: Ino, data: &str) -> Command {
    Command::Write { ino, inline: Some(name(data)), extents: Vec::new(), append: false }
}

fn secs(at: Timestamp, more: i64) -> Timestamp {
    Timestamp(at.0 + more * Timestamp::SECOND)
}

/// What a file keeps on its way through the trash.
fn kept(attr: &Attr) -> (Ino, FileKind, u32, u32, u32, u64, ETag, Timestamp, Timestamp) {
    (attr.ino, attr.kind, attr.mode, attr.uid, attr.gid, attr.size, attr.etag, attr.mtime, attr.crtime)
}

#[test]
fn what_s3_deleted_comes_back_with_all_it_had() {
    let mut group = Group::new();
    let put = Command::PutObject {
        bucket: BUCKET,
        key: name("a/b/c"),
        content: chunks(1, 6, 10),
        etag: ETag::Multipart([3; 16], 2),
        xattrs: vec![xattr("user.x", "1"), xattr("trusted.s3.content-type", "text/html")],
        precondition: Precondition::default(),
    };
    let before = group.attr_of(put);
    let extents = group.extents(before.ino);
    assert!(group.delete("a/b/c"));
    assert_eq!(group.lookup(group.root, "a"), Err(Refusal::NotFound), "the implicit directories went too");
    let entry = group.trash().pop().expect("one");
    assert_eq!((entry.path.as_ref(), entry.size, entry.reason), (&b"a/b/c"[..], 60, TrashReason::Deleted));
    assert!(!entry.scratch, "a gateway's session is everybody's");
    assert_eq!(group.restore("", NameTaken::Refuse), [Ok(Restored::Named)]);
    let after = group.object("a/b/c").expect("it is back");
    assert_eq!(kept(&after), kept(&before));
    assert_eq!(group.extents(after.ino), extents);
    let xattrs = vec![xattr("trusted.s3.content-type", "text/html"), xattr("user.x", "1")];
    assert_eq!(group.ask(Query::ListXattrs { ino: after.ino }), Ok(Answer::Xattrs(xattrs)));
    let usage = Usage { files: 1, bytes: 60, ..Usage::default() };
    assert_eq!((group.status().usage, group.trash()), (usage, Vec::new()));
    assert!(group.delete("a/b/c"), "and its directories are implicit again");
    assert_eq!(group.keys("", ""), (vec![], vec![]));
}

#[test]
fn a_tree_that_a_mount_removed_comes_back_into_lasting_directories_of_the_files_owner() {
    let mut group = Group::new();
    let dir = group.mkdir(group.root, "d");
    group.create(dir, "f", inline(b"1"));
    group.other(unlink(dir, "f")).expect("unlinked");
    group.ok(Command::Rmdir { parent: group.root, name: name("d") });
    assert_eq!(group.restore("", NameTaken::Refuse), [Ok(Restored::Named)]);
    let dir = group.lookup(group.root, "d").expect("made again");
    assert_eq!((dir.mode, dir.uid, dir.gid), (0o755, 5, 6));
    group.ok(unlink(dir.ino, "f"));
    assert!(group.lookup(group.root, "d").is_ok(), "it stays when it is empty");
}

#[test]
fn a_taken_name_is_refused_passed_by_or_replaced() {
    let mut group = Group::new();
    group.put("a", inline(b"old"));
    group.put("a", inline(b"newer"));
    assert_eq!(group.restore("", NameTaken::Refuse), [Err(Refusal::Exists)]);
    assert_eq!(group.object("a").map(|attr| attr.size), Ok(5));
    assert_eq!(group.restore("", NameTaken::KeepBoth), [Ok(Restored::Beside(1))]);
    assert_eq!(group.object("a.restored-1").map(|attr| attr.size), Ok(3));
    group.put("a", inline(b"n"));
    assert_eq!(group.restore("", NameTaken::KeepBoth), [Ok(Restored::Beside(2))]);
    group.put("a", inline(b"the last"));
    assert_eq!(group.restore("", NameTaken::Replace), [Ok(Restored::Named)]);
    assert_eq!(group.object("a").map(|attr| attr.size), Ok(1));
    let trash = group.trash();
    assert_eq!((trash.len(), trash[0].size, trash[0].reason), (1, 8, TrashReason::Replaced));
}

#[test]
fn restoring_again_changes_nothing() {
    let mut group = Group::new();
    group.put("a", inline(b"1"));
    group.delete("a");
    let entries = group.ids();
    let again = Command::RestoreTrash { bucket: BUCKET, entries, to: Bytes::new(), taken: NameTaken::Replace };
    assert_eq!(group.ok(again.clone()), Outcome::Restored(vec![Ok(Restored::Named)]));
    assert_eq!(group.ok(again), Outcome::Restored(vec![Ok(Restored::Already)]));
    let entries = vec![TrashId { time: Timestamp(1), ino: Ino::new(GROUP, 4711) }];
    let gone = Command::RestoreTrash { bucket: BUCKET, entries, to: Bytes::new(), taken: NameTaken::Replace };
    assert_eq!(group.ok(gone), Outcome::Restored(vec![Err(Refusal::NotFound)]));
}

#[test]
fn files_come_back_under_another_prefix() {
    let mut group = Group::new();
    group.put("a/b", inline(b"1"));
    group.put("a/", inline(b"22"));
    group.delete("a/b");
    group.delete("a/");
    assert_eq!(group.restore("back/", NameTaken::Refuse), [Ok(Restored::Named), Ok(Restored::Named)]);
    assert_eq!(group.keys("", "").0, ["back/a/", "back/a/b"]);
}

#[test]
fn a_path_too_long_to_be_kept_leads_back_to_its_directory() {
    let mut group = Group::new();
    let long = "x".repeat(255);
    let mut dir = group.root;
    for _ in 0..70 {
        dir = group.mkdir(dir, &long);
    }
    group.create(dir, "f", inline(b"1"));
    group.other(unlink(dir, "f")).expect("unlinked");
    assert!(group.trash()[0].path.len() < 70 * 255);
    assert_eq!(group.restore("", NameTaken::Refuse), [Ok(Restored::Named)]);
    assert!(group.lookup(dir, "f").is_ok());
    let deep = "d/".repeat(511) + "f";
    group.put(&deep, inline(b"1"));
    group.delete(&deep);
    assert_eq!(group.restore("", NameTaken::Refuse), [Ok(Restored::Named)]);
    assert!(group.object(&deep).is_ok());
}

#[test]
fn a_file_with_several_names_is_in_the_trash_when_the_last_has_gone() {
    let mut group = Group::new();
    let file = group.create(group.root, "a", inline(b"1"));
    group.ok(Command::Link { ino: file.ino, parent: group.root, name: name("b") });
    group.other(unlink(group.root, "a")).expect("unlinked");
    assert_eq!(group.trash(), []);
    group.other(unlink(group.root, "b")).expect("unlinked");
    assert_eq!(group.restore("", NameTaken::Refuse), [Ok(Restored::Named)]);
    let back = group.lookup(group.root, "b").expect("under its last name");
    assert_eq!((back.ino, back.nlink), (file.ino, 1));
}

#[test]
fn truncated_content_can_be_had_back() {
    let mut group = Group::new();
    let file = group.create(group.root, "a", chunks(1, 6, 10));
    group.ok(Command::SetXattr {
        ino: file.ino,
        name: name("user.x"),
        value: name("1"),
        mode: proto::meta::SetXattrMode::Any,
    });
    let before = group.lookup(group.root, "a").expect("there");
    let extents = group.extents(file.ino);
    group.other(truncate(file.ino, 0)).expect("truncated");
    assert_eq!(group.lookup(group.root, "a").map(|attr| (attr.ino, attr.size)), Ok((file.ino, 0)));
    let entry = group.trash().pop().expect("one");
    assert_eq!((entry.path.as_ref(), entry.size, entry.reason), (&b"a"[..], 60, TrashReason::Truncated));
    assert_eq!(group.rows(Table::Garbage).len(), 0, "references moved");
    assert_eq!(group.restore("", NameTaken::Replace), [Ok(Restored::Named)]);
    let after = group.lookup(group.root, "a").expect("there");
    assert_eq!((after.size, after.mode, after.mtime, after.uid), (60, before.mode, before.mtime, before.uid));
    assert_eq!(group.extents(after.ino), extents);
    assert_eq!(group.ask(Query::ListXattrs { ino: after.ino }), Ok(Answer::Xattrs(vec![xattr("user.x", "1")])));
}

#[test]
fn content_written_over_as_a_whole_is_kept_and_grown_content_is_not() {
    let mut group = Group::new();
    let small = group.put("small", inline(b"abc")).ino;
    group.ok(write(small, "abcdef"));
    assert_eq!(group.trash(), [], "it only grew");
    group.ok(write(small, "xyz"));
    assert_eq!(group.trash().len(), 0, "what this session began a moment ago is scratch");
    group.other(write(small, "123")).expect("written");
    let entry = group.trash().pop().expect("one");
    assert_eq!((entry.size, entry.path.as_ref(), entry.session), (3, &b"small"[..], OTHER));
    group.other(write(small, "456")).expect("written");
    assert_eq!(group.trash().len(), 1, "not what it has just begun itself");
    let large =
        group.other(create(group.root, "large", FileKind::File, inline(b"0123456789"))).map(|outcome| match outcome {
            Outcome::Created { attr, .. } => attr.ino,
            other => panic!("{other:?}"),
        });
    let ino = large.expect("made");
    let over = |extents| Command::Write { ino, inline: None, extents, append: false };
    group.ok(over(vec![extent(50, 0, 4)]));
    assert_eq!(group.trash().len(), 1, "a part");
    group.ok(over(vec![extent(51, 0, 4), extent(52, 4, 8)]));
    let last = group.trash().pop().expect("two");
    assert_eq!((last.path.as_ref(), last.size), (&b"large"[..], 10));
    assert_eq!(group.extents(ino), [(0, 4, 51), (4, 8, 52)]);
}

#[test]
fn truncated_content_of_a_file_with_several_names_is_found_again() {
    let mut group = Group::new();
    let file = group.create(group.root, "a", inline(b"1"));
    group.ok(Command::Link { ino: file.ino, parent: group.root, name: name("b") });
    group.other(truncate(file.ino, 0)).expect("truncated");
    assert_eq!(group.restore("", NameTaken::Refuse), [Ok(Restored::Named)]);
    let key = format!("lost+found/{}.{}", file.ino.group().0, file.ino.counter());
    assert_eq!(group.object(&key).map(|attr| attr.size), Ok(1));
}

#[test]
fn the_trash_is_listed_by_path_time_session_and_reason_page_by_page() {
    let mut group = Group::new();
    for key in ["a/1", "a/2", "b/1", "b/2"] {
        group.put(key, inline(b"1"));
        group.delete(key);
    }
    let keys = vec![name("a/1")];
    group.put("a/1", inline(b"2"));
    group
        .other(Command::DeleteObjects { bucket: BUCKET, keys, precondition: Precondition::default() })
        .expect("deleted");
    let all = group.trash();
    let paths = |filter: TrashFilter| -> Vec<String> {
        let entries = group.page(filter, None, 10).entries;
        entries.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
    };
    assert_eq!(paths(TrashFilter::default()), ["a/1", "a/2", "b/1", "b/2", "a/1"]);
    assert_eq!(paths(TrashFilter { prefix: name("b/"), ..TrashFilter::default() }), ["b/1", "b/2"]);
    assert_eq!(paths(TrashFilter { session: Some(OTHER), ..TrashFilter::default() }), ["a/1"]);
    let (since, until) = (Some(all[1].id.time), Some(all[3].id.time));
    assert_eq!(paths(TrashFilter { since, until, ..TrashFilter::default() }), ["a/2", "b/1"]);
    let reason = Some(TrashReason::Overwritten);
    assert_eq!(paths(TrashFilter { reason, ..TrashFilter::default() }), Vec::<String>::new());
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let page = group.page(TrashFilter::default(), after, 2);
        seen.extend(page.entries);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, all);
}

#[test]
fn nothing_expires_before_its_window_and_everything_after_it() {
    let mut group = Group::new();
    let options = BucketOptions { trash_window_secs: 2 * DAY as u64, ..BucketOptions::default() };
    group.ok(Command::SetBucketOptions { bucket: BUCKET, options });
    group.put("a", chunks(1, 6, 10));
    group.delete("a");
    let ids = group.ids();
    let removed = ids[0].time;
    for _ in 0..96 {
        group.pass(1800);
    }
    assert_eq!(group.trash()[0].due, secs(removed, 2 * DAY));
    assert_eq!(group.expire(ids.clone(), secs(removed, 2 * DAY - 1)), Purged::default());
    group.pass(60);
    let now = group.now();
    assert_eq!(group.expire(ids.clone(), secs(removed, 100)), Purged::default(), "the caller's clock is behind");
    assert_eq!(group.expire(ids.clone(), now), Purged { files: 1, bytes: 60, left: 0 });
    assert_eq!(group.expire(ids, now), Purged::default());
    assert_eq!((group.trash(), group.rows(Table::Garbage).len()), (vec![], 1));
    assert_eq!(group.status().usage, Usage::default());
}

#[test]
fn a_leap_of_the_groups_time_begins_all_windows_anew() {
    let mut group = Group::new();
    group.put("a", inline(b"1"));
    group.delete("a");
    let ids = group.ids();
    let removed = ids[0].time;
    group.pass(30 * DAY);
    let leapt = group.now();
    assert!(leapt > secs(removed, 29 * DAY));
    assert_eq!(group.trash()[0].due, secs(leapt, 7 * DAY));
    assert_eq!(group.expire(ids.clone(), leapt), Purged::default(), "nobody knows how long it has lain there");
    // A caller whose clock is ahead of the group's does not move it.
    assert_eq!(group.expire(ids, secs(leapt, 365 * DAY)), Purged::default());
    assert_eq!(group.trash().len(), 1);
}

#[test]
fn scratch_files_expire_after_the_grace_for_open_files() {
    let mut group = Group::new();
    let file = group.create(group.root, "tmp", inline(b"1"));
    group.ok(unlink(group.root, "tmp"));
    let entry = group.trash().pop().expect("one");
    assert!(entry.scratch);
    assert_eq!(entry.due, secs(entry.id.time, DAY));
    for _ in 0..47 {
        group.pass(1800);
    }
    let now = group.now();
    assert_eq!(group.expire(vec![entry.id], now), Purged::default());
    group.ok(write(file.ino, "22"));
    assert_eq!(group.content(file.ino).size, 2, "an open file goes on");
    for _ in 0..2 {
        group.pass(1800);
    }
    let now = group.now();
    assert_eq!(group.expire(vec![entry.id], now), Purged { files: 1, bytes: 2, left: 0 });
    assert_eq!(group.run(write(file.ino, "3")), Err(Refusal::StaleInode));
}

#[test]
fn a_purge_drops_what_is_named_and_keeps_what_others_refer_to() {
    let mut group = Group::new();
    group.put("a", chunks(1, 6, 10));
    group.ok(Command::CopyObject {
        source_bucket: BUCKET,
        source_key: name("a"),
        source_precondition: Precondition::default(),
        bucket: BUCKET,
        key: name("b"),
        xattrs: None,
        precondition: Precondition::default(),
    });
    group.delete("a");
    let entries = group.ids();
    let purge = Command::PurgeTrash { bucket: BUCKET, entries };
    assert_eq!(group.released(purge.clone()), Purged { files: 1, bytes: 60, left: 0 });
    assert_eq!(group.rows(Table::Garbage).len(), 0, "the copy has the content still");
    assert_eq!(group.released(purge), Purged::default());
    group.delete("b");
    let entries = group.ids();
    group.released(Command::PurgeTrash { bucket: BUCKET, entries });
    assert_eq!(group.rows(Table::Garbage).len(), 1);
}

/// Chunks condemned by collecting all that is due after a grace time.
fn condemned(group: &mut Group, grace_secs: i64) -> u32 {
    let mut chunks = 0;
    loop {
        let now = group.now();
        let collect = Command::CollectGarbage { grace: grace_secs * Timestamp::SECOND, max: 100, now };
        let outcome = group.send(None, collect);
        let Ok(Outcome::Collected { condemned, more }) = outcome else { panic!("{outcome:?}") };
        chunks += condemned;
        if !more {
            return chunks;
        }
    }
}

#[test]
fn the_grace_of_what_is_released_counts_from_when_it_lost_its_name() {
    let mut group = Group::new();
    group.put("a", chunks(1, 6, 10));
    group.delete("a");
    let entries = group.ids();
    let removed = entries[0].time;
    group.pass(1800);
    group.released(Command::PurgeTrash { bucket: BUCKET, entries });
    let garbage = group.rows(Table::Garbage).pop().expect("one").0;
    assert_eq!(GarbageKey::decode(&garbage).expect("a key").since, removed);
    assert_eq!(condemned(&mut group, 3600), 0, "a reader may have begun before it was deleted");
    group.pass(1800);
    assert_eq!(condemned(&mut group, 3600), 6);

    let options = BucketOptions { trash_window_secs: 3600, ..BucketOptions::default() };
    group.ok(Command::SetBucketOptions { bucket: BUCKET, options });
    group.put("b", chunks(11, 5, 10));
    group.delete("b");
    let entries = group.ids();
    for _ in 0..49 {
        group.pass(1800);
    }
    let now = group.now();
    assert_eq!(group.expire(entries, now), Purged { files: 1, bytes: 50, left: 0 });
    assert_eq!(condemned(&mut group, DAY), 5, "it has waited in the trash");
}

#[test]
fn a_command_full_of_rows_leaves_the_rest_for_the_next() {
    let mut group = Group::new();
    for number in 0..20 {
        let deep = format!("{number}/") + &"d/".repeat(500) + "f";
        group.put_unchecked(&deep);
        let keys = vec![Bytes::from(deep)];
        group.seq_unchecked(Command::DeleteObjects { bucket: BUCKET, keys, precondition: Precondition::default() });
    }
    let restored = group.restore("", NameTaken::Refuse);
    let done = restored.iter().take_while(|result| result.is_ok()).count();
    assert!((5..20).contains(&done), "{done}");
    assert!(restored[done..].iter().all(|result| *result == Err(Refusal::TooLarge)));
    assert_eq!(group.trash().len(), 20 - done);
    while !group.trash().is_empty() {
        assert_eq!(group.restore("", NameTaken::Refuse)[0], Ok(Restored::Named));
    }
    assert_eq!(group.status().usage, Usage { files: 20, bytes: 20, ..Usage::default() });
    let too_many = vec![TrashId { time: Timestamp(0), ino: Ino(0) }; 513];
    assert_eq!(group.run(Command::PurgeTrash { bucket: BUCKET, entries: too_many }), Err(Refusal::TooLarge));
}

#[test]
fn the_breaker_stops_deletions_until_it_is_lifted_or_its_time_has_passed() {
    let mut group = Group::new();
    group.limit(3);
    for key in 0..9 {
        group.put(&key.to_string(), inline(b"1"));
    }
    let file = group.create(group.root, "f", inline(b"1"));
    let keys = (0..5).map(|key| Bytes::from(key.to_string())).collect();
    let delete = Command::DeleteObjects { bucket: BUCKET, keys, precondition: Precondition::default() };
    let refused = || Err(Refusal::BreakerOpen);
    assert_eq!(group.ok(delete), Outcome::Deleted(vec![Ok(true), Ok(true), Ok(true), refused(), refused()]));
    assert!(group.status().open_until.is_some());
    assert_eq!(group.run(crate::testing::put("5", inline(b"2"))), Err(Refusal::BreakerOpen));
    assert_eq!(group.other(unlink(group.root, "f")), Err(Refusal::BreakerOpen));
    assert_eq!(group.other(truncate(file.ino, 0)), Err(Refusal::BreakerOpen));
    group.put("new", inline(b"1"));
    group.ok(unlink(group.root, "f"));
    assert_eq!(group.restore("", NameTaken::Refuse).len(), 4, "scratch files go, and restoring goes on");

    group.ok(Command::LiftBreaker { bucket: BUCKET });
    assert!(group.delete("5"));
    for key in ["6", "7"] {
        assert!(group.delete(key));
    }
    let delete =
        Command::DeleteObjects { bucket: BUCKET, keys: vec![name("8")], precondition: Precondition::default() };
    assert_eq!(group.ok(delete), Outcome::Deleted(vec![refused()]));
    group.pass(599);
    assert!(group.status().open_until.is_some());
    group.pass(2);
    assert!(group.delete("8"));
}

#[test]
fn a_sealed_bucket_keeps_its_trash_and_opens_again() {
    let mut group = Group::new();
    group.put("a", inline(b"1"));
    group.delete("a");
    group.ok(Command::SealBucket { bucket: BUCKET });
    let entries = group.ids();
    assert_eq!(entries.len(), 1);
    let restore = Command::RestoreTrash { bucket: BUCKET, entries, to: Bytes::new(), taken: NameTaken::Refuse };
    assert_eq!(group.run(restore.clone()), Err(Refusal::BucketSealed));
    assert!(group.status().sealed);
    group.ok(Command::UnsealBucket { bucket: BUCKET });
    group.ok(Command::UnsealBucket { bucket: BUCKET });
    assert_eq!(group.ok(restore), Outcome::Restored(vec![Ok(Restored::Named)]));
    assert_eq!(group.run(Command::UnsealBucket { bucket: BucketId(9) }), Err(Refusal::NoSuchBucket));
}

/// The bytes of the rows, pinned: a change here is a change of format (docs/formats/rows.md).
#[test]
fn rows_are_these_bytes() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut group = Group::new();
    group.limit(7);
    group.put("a/b", inline(b"1"));
    group.delete("a/b");
    let trash = group.rows(Table::Trash).pop().expect("one");
    // Version, parent, name, path, session, reason, scratch.
    assert_eq!(hex(&trash.1), "02838080808080040162".to_owned() + "03612f62" + "07" + "03" + "00");
    let bucket = group.rows(Table::Bucket).pop().expect("one");
    // Version, root, sealed, files, bytes, files and bytes in the trash; window, limit; minute, ten counts, open until.
    let breaker = "00".to_owned() + &"00".repeat(9) + "01" + "00";
    assert_eq!(hex(&bucket.1), "028180808080800400000001 01".replace(' ', "") + "80f524" + "0107" + &breaker);
}

#[test]
fn options_have_bounds() {
    let mut group = Group::new();
    for window in [0, 3599, 365 * DAY as u64 + 1] {
        let options = BucketOptions { trash_window_secs: window, ..BucketOptions::default() };
        assert_eq!(group.run(Command::SetBucketOptions { bucket: BUCKET, options }), Err(Refusal::Invalid), "{window}");
    }
    let options = BucketOptions { delete_limit: DeleteLimit::Max(0), ..BucketOptions::default() };
    assert_eq!(group.run(Command::SetBucketOptions { bucket: BUCKET, options }), Err(Refusal::Invalid));
    assert_eq!(group.status().options, BucketOptions::default());
    assert_eq!(group.ask(Query::GroupBuckets { after: None, max: 9 }), Ok(Answer::GroupBuckets(vec![BUCKET])));
    assert_eq!(group.ask(Query::GroupBuckets { after: Some(BUCKET), max: 9 }), Ok(Answer::GroupBuckets(vec![])));
}

/// A leader whose clock is a month ahead takes over for one entry: what its successors, whose clocks agree, propose cannot expire
/// what was thrown away just before.
#[test]
fn a_clock_that_was_ahead_for_one_entry_shortens_no_window() {
    let mut group = Group::new();
    group.put("a", inline(b"1"));
    group.delete("a");
    let ids = group.ids();
    let honest = group.now();
    let stamp = |kv: &mut crate::memory::MemoryKv, time: Timestamp| {
        let batch = LogBatch { time, commands: Vec::<LogCommand>::new() };
        apply(kv, GROUP, &batch).expect("memory")
    };
    stamp(&mut group.kv, secs(honest, 30 * DAY));
    stamp(&mut group.kv, secs(honest, 1));
    assert_eq!(group.expire(ids.clone(), secs(honest, 60)), Purged::default());
    assert_eq!(group.expire(ids, secs(honest, 30 * DAY)), Purged::default());
    assert_eq!(group.trash().len(), 1);
    assert_eq!(invariants::check(&group.kv, GROUP).expect("rows"), Vec::<String>::new());
}
