use super::*;
use crate::log::{GroupWrite, RaftLog};
use crate::row::{self, Reach, StartRow};
use crate::watermark::Mark;
use bytes::Bytes;
use raft_core::{Entry, EntryKind};
use rocksdb::{DB, Options};
use std::fs;
use tempfile::TempDir;
use types::{ReplicaId, Severity};

const NODE: NodeId = NodeId(5);
const A: GroupId = GroupId(1);
const B: GroupId = GroupId(9);

fn entries(from: u64, terms: &[u64]) -> Vec<Entry> {
    let entry = |(i, term): (usize, &u64)| Entry {
        term: Term(*term),
        index: LogIndex(from + i as u64),
        kind: EntryKind::Normal,
        data: Bytes::from(format!("entry {} of term {term}", from + i as u64)),
    };
    terms.iter().enumerate().map(entry).collect()
}

fn state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term: Term(term), vote: ReplicaId::founding(NodeId(vote)), commit: LogIndex(commit) }
}

/// A log closed in order, with five entries in A and one in B, all acknowledged.
fn filled() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (log, _) = RaftLog::open(dir.path(), NODE).expect("a new log");
    for (group, entries, hard_state) in
        [(A, entries(1, &[1, 1, 2, 2, 2]), state(2, 3, 4)), (B, entries(1, &[4]), state(4, 0, 1))]
    {
        log.create_group(group).expect("created");
        let last = entries.last().expect("entries").index;
        let write = GroupWrite { group, entries, hard_state: Some(hard_state), must_sync: true };
        log.write(&[write]).expect("written");
        log.acknowledged(&[(group, Mark { term: hard_state.term, vote: hard_state.vote, last })]);
    }
    log.settle().expect("settled");
    dir
}

/// Every file and what is in it.
fn bytes_of(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        files.insert(folder.display().to_string(), Vec::new());
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.display().to_string(), fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

/// Checks, and holds that nothing was changed.
fn checked(root: &Path) -> (Findings, BTreeMap<GroupId, CheckedGroup>) {
    let before = bytes_of(root);
    let mut findings = Findings::default();
    let mut read = 0;
    let log = check(root, NODE, &mut findings, &mut |bytes| read += bytes).expect("it can be checked");
    let groups = log.groups().clone();
    drop(log);
    assert!(before == bytes_of(root), "the check has changed something");
    (findings, groups)
}

fn damaged(root: &Path) -> Vec<&'static str> {
    let (findings, _) = checked(root);
    let damages = findings.counts().filter(|(_, severity, _)| *severity == Severity::Damage);
    damages.map(|(code, ..)| code).collect()
}

/// Changes rows behind the log's back.
fn plant(root: &Path, change: impl FnOnce(&DB)) {
    let db = DB::open(&Options::default(), root.join("db")).expect("the database opens");
    change(&db);
    db.flush().expect("flushed");
}

#[test]
fn a_sound_log_has_nothing_to_report_and_is_not_changed() {
    let dir = filled();
    let (findings, groups) = checked(dir.path());
    assert_eq!(findings, Findings::default());
    assert_eq!(groups.keys().copied().collect::<Vec<_>>(), [A, B]);
    let a = &groups[&A];
    assert_eq!((a.hard_state, a.start, a.last, a.entries), (state(2, 3, 4), LogStart::default(), LogIndex(5), 5));
    assert_eq!(
        (a.term_at(LogIndex(2)), a.term_at(LogIndex(3)), a.term_at(LogIndex(6))),
        (Some(Term(1)), Some(Term(2)), None)
    );
    // Once more, and then the log opens as ever.
    assert_eq!(checked(dir.path()).0, Findings::default());
    assert!(RaftLog::open(dir.path(), NODE).is_ok());
}

#[test]
fn a_log_in_use_is_not_checked_and_one_being_checked_is_not_opened() {
    let dir = filled();
    let (log, _) = RaftLog::open(dir.path(), NODE).expect("the log opens");
    let refused = check(dir.path(), NODE, &mut Findings::default(), &mut |_| {}).err();
    assert!(matches!(refused, Some(OpenError::Locked { .. })));
    drop(log);
    let held = check(dir.path(), NODE, &mut Findings::default(), &mut |_| {}).expect("it can be checked");
    assert!(matches!(RaftLog::open(dir.path(), NODE).err(), Some(OpenError::Locked { .. })));
    drop(held);
    assert!(RaftLog::open(dir.path(), NODE).is_ok());
}

#[test]
fn a_crash_is_a_note() {
    let dir = filled();
    fs::remove_file(dir.path().join("CLEAN")).expect("removed");
    let (findings, _) = checked(dir.path());
    assert_eq!((findings.worst(), findings.count("log-unclean")), (Some(Severity::Note), 1));
}

#[test]
fn every_planted_damage_of_a_row_is_named() {
    let flip = |db: &DB, key: &[u8]| {
        let mut value = db.get(key).expect("readable").expect("there");
        *value.last_mut().expect("not empty") ^= 1;
        db.put(key, value).expect("written");
    };
    type Plant = Box<dyn Fn(&DB)>;
    let cases: Vec<(&str, Plant)> = vec![
        ("log-hole", Box::new(|db| db.delete(row::entry_key(A, LogIndex(3))).expect("deleted"))),
        ("log-entry-damaged", Box::new(move |db| flip(db, &row::entry_key(A, LogIndex(3))))),
        ("log-start-damaged", Box::new(move |db| flip(db, &row::start_key(A)))),
        ("log-start-missing", Box::new(|db| db.delete(row::start_key(A)).expect("deleted"))),
        ("log-hard-state-damaged", Box::new(move |db| flip(db, &row::hard_state_key(A)))),
        ("log-stray-row", Box::new(|db| db.put(b"\0\0\0\x01x", b"?").expect("written"))),
        ("log-amnesia", Box::new(|db| db.delete(row::entry_key(A, LogIndex(5))).expect("deleted"))),
        (
            "log-amnesia",
            Box::new(|db| {
                db.put(row::hard_state_key(A), row::encode_hard_state(A, &state(2, 1, 4))).expect("written");
            }),
        ),
        (
            "log-term-falls",
            Box::new(|db| {
                let entry = entries(4, &[1]).remove(0);
                db.put(row::entry_key(A, entry.index), row::encode_entry(A, &entry)).expect("written");
            }),
        ),
        (
            "log-group-gone",
            Box::new(|db| {
                for key in [&row::entry_key(B, LogIndex(1))[..], &row::hard_state_key(B), &row::start_key(B)] {
                    db.delete(key).expect("deleted");
                }
            }),
        ),
    ];
    for (code, change) in cases {
        let dir = filled();
        plant(dir.path(), change);
        assert_eq!(damaged(dir.path()), [code]);
    }
}

#[test]
fn committed_entries_that_are_gone_are_named_and_so_is_an_entry_newer_than_the_hard_state() {
    let dir = filled();
    plant(dir.path(), |db| {
        for index in 4..=5 {
            db.delete(row::entry_key(A, LogIndex(index))).expect("deleted");
        }
    });
    assert_eq!(damaged(dir.path()), ["log-amnesia", "log-commit-beyond-end"]);
    let dir = filled();
    plant(dir.path(), |db| {
        let entry = entries(6, &[7]).remove(0);
        db.put(row::entry_key(A, entry.index), row::encode_entry(A, &entry)).expect("written");
    });
    assert_eq!(damaged(dir.path()), ["log-term-behind"]);
}

#[test]
fn a_truncated_log_with_rows_before_its_start_is_sound() {
    let dir = filled();
    plant(dir.path(), |db| {
        let start = LogStart { index: LogIndex(3), term: Term(2) };
        let row = StartRow { start, rewrites: 0, owed: None::<Reach> };
        db.put(row::start_key(A), row::encode_start(A, &row)).expect("written");
    });
    let (findings, groups) = checked(dir.path());
    assert_eq!(findings, Findings::default());
    assert_eq!((groups[&A].entries, groups[&A].last), (2, LogIndex(5)));
}

#[test]
fn a_replica_that_was_let_go_is_no_damage_and_one_that_came_later_is_told() {
    let dir = filled();
    let (log, _) = RaftLog::open(dir.path(), NODE).expect("the log opens");
    let later = ReplicaId::new(NODE, LogIndex(40));
    log.remove_group(B).expect("removed");
    log.remove_group(A).expect("removed");
    log.admit(A, later).expect("admitted");
    let change = Entry { kind: EntryKind::ConfChange, ..entries(1, &[7]).remove(0) };
    let write =
        GroupWrite { group: A, entries: vec![change.clone()], hard_state: Some(state(7, 0, 1)), must_sync: true };
    log.write(&[write]).expect("written");
    drop(log);
    let (findings, groups) = checked(dir.path());
    assert_eq!(findings, Findings::default());
    assert_eq!(groups.keys().copied().collect::<Vec<_>>(), [A]);
    let a = &groups[&A];
    assert_eq!((a.replica, a.newest_term, &a.changes[..], a.promised), (Some(later), Term(7), &[change][..], None));
    plant(dir.path(), |db| db.put(row::replica_key(A), b"?").expect("written"));
    assert_eq!(damaged(dir.path()), ["log-replica-damaged"]);
}

#[test]
fn the_newest_term_is_that_of_the_watermark_if_the_log_has_forgotten_it() {
    let dir = filled();
    let (_, groups) = checked(dir.path());
    let a = &groups[&A];
    let promised = Mark { term: Term(2), vote: ReplicaId::founding(NodeId(3)), last: LogIndex(5) };
    assert_eq!((a.newest_term, a.promised, a.owed), (Term(2), Some(promised), None));
    plant(dir.path(), |db| {
        db.delete(row::hard_state_key(A)).expect("deleted");
        (2..=5).for_each(|index| db.delete(row::entry_key(A, LogIndex(index))).expect("deleted"));
    });
    let (_, groups) = checked(dir.path());
    assert_eq!((groups[&A].newest_term, groups[&A].owed), (Term(2), Some(LogIndex(5))));
}

#[test]
fn every_planted_damage_beside_the_database_is_named() {
    let flip = |path: std::path::PathBuf| {
        let mut bytes = fs::read(&path).expect("a file");
        bytes[12] ^= 1;
        fs::write(&path, bytes).expect("written");
    };
    let dir = filled();
    flip(dir.path().join("IDENTITY"));
    assert_eq!(damaged(dir.path()), ["log-identity-damaged"]);

    let dir = filled();
    fs::remove_file(dir.path().join("IDENTITY")).expect("removed");
    assert_eq!(damaged(dir.path()), ["log-identity-missing"]);

    let dir = filled();
    flip(dir.path().join("WATERMARK-0"));
    let (findings, _) = checked(dir.path());
    assert_eq!((findings.worst(), findings.count("log-slot-unreadable")), (Some(Severity::Warning), 1));
    flip(dir.path().join("WATERMARK-1"));
    assert_eq!(damaged(dir.path()), ["log-watermark-lost"]);

    let dir = filled();
    fs::remove_dir_all(dir.path().join("db")).expect("removed");
    assert_eq!(damaged(dir.path()), ["log-db-missing"]);

    let dir = filled();
    fs::remove_file(dir.path().join("db/CURRENT")).expect("removed");
    assert_eq!(damaged(dir.path()), ["log-db-missing"]);

    let dir = filled();
    fs::write(dir.path().join("notes.txt"), "mine").expect("written");
    let (findings, _) = checked(dir.path());
    assert_eq!((findings.worst(), findings.count("log-stranger")), (Some(Severity::Note), 1));

    let dir = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(damaged(dir.path()), ["log-missing"]);
}

#[test]
fn a_log_of_another_node_or_of_a_newer_program_is_told() {
    let dir = filled();
    let mut findings = Findings::default();
    drop(check(dir.path(), NodeId(6), &mut findings, &mut |_| {}).expect("it can be checked"));
    assert_eq!(findings.count("log-foreign"), 1);
    // The identity of a format to come.
    let mut bytes = fs::read(dir.path().join("IDENTITY")).expect("a file");
    bytes[11] = 9;
    let crc = row::crc_of(&[&bytes[..20]]);
    bytes[20..].copy_from_slice(&crc.to_be_bytes());
    fs::write(dir.path().join("IDENTITY"), bytes).expect("written");
    let refused = check(dir.path(), NODE, &mut Findings::default(), &mut |_| {}).err();
    assert!(matches!(refused, Some(OpenError::Format { found: 9, .. })));
}

#[test]
fn rot_in_the_files_of_the_database_is_found() {
    let dir = filled();
    plant(dir.path(), |_| {});
    let files = fs::read_dir(dir.path().join("db")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let table = files.into_iter().find(|path| path.extension().is_some_and(|end| end == "sst")).expect("a table");
    let mut bytes = fs::read(&table).expect("a file");
    bytes[20] ^= 0x40;
    fs::write(&table, bytes).expect("written");
    let found = damaged(dir.path());
    assert!(found.contains(&"log-unreadable") || found.contains(&"log-db-damaged"), "{found:?}");
}
