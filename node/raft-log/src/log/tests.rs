use super::*;
use bytes::Bytes;
use raft_core::EntryKind;
use std::collections::BTreeSet;
use std::fs;
use tempfile::TempDir;

const NODE: NodeId = NodeId(5);
const A: GroupId = GroupId(1);
const B: GroupId = GroupId(9);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn open(path: &Path) -> (Arc<RaftLog>, Recovery) {
    let (log, recovery) = RaftLog::open(path, NODE).expect("the log opens");
    (Arc::new(log), recovery)
}

fn refused(path: &Path) -> OpenError {
    RaftLog::open(path, NODE).err().expect("the log is refused")
}

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
    HardState { term: Term(term), vote: ReplicaId(vote), commit: LogIndex(commit) }
}

fn write(group: GroupId, entries: Vec<Entry>, hard_state: Option<HardState>) -> GroupWrite {
    GroupWrite { group, entries, hard_state, must_sync: true }
}

fn start(index: u64, term: u64) -> LogStart {
    LogStart { index: LogIndex(index), term: Term(term) }
}

fn mark(log: &RaftLog, group: GroupId) -> (GroupId, Mark) {
    let GroupLog { hard_state, last, .. } = log.load(group).expect("the group exists");
    (group, Mark { term: hard_state.term, vote: hard_state.vote, last })
}

/// A log with three entries in A and one in B, acknowledged.
fn filled(path: &Path) -> Arc<RaftLog> {
    let (log, _) = open(path);
    log.create_group(A).expect("created");
    log.create_group(B).expect("created");
    log.write(&[
        write(A, entries(1, &[1, 1, 2]), Some(state(2, 3, 1))),
        write(B, entries(1, &[4]), Some(state(4, 0, 0))),
    ])
    .expect("written");
    log.acknowledged(&[mark(&log, A), mark(&log, B)]);
    log.settle().expect("settled");
    log
}

fn all(log: &Arc<RaftLog>, group: GroupId) -> Vec<Entry> {
    let GroupLog { start, last, .. } = log.load(group).expect("the group exists");
    log.reader(group).entries(LogIndex(start.index.0 + 1), LogIndex(last.0 + 1), u64::MAX).expect("readable")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folder");
    for entry in fs::read_dir(from).expect("folder") {
        let path = entry.expect("entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(drop).expect("copied") }
    }
}

#[test]
fn what_was_written_is_there_after_an_orderly_restart() {
    let dir = folder();
    drop(filled(dir.path()));
    let (log, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::default());
    assert_eq!(log.groups(), [A, B]);
    let expected = GroupLog {
        hard_state: state(2, 3, 1),
        start: start(0, 0),
        last: LogIndex(3),
        last_term: Term(2),
        owed: None,
        replica: None,
    };
    assert_eq!(log.load(A), Some(expected));
    assert_eq!(log.load(GroupId(2)), None);
    assert_eq!((all(&log, A), all(&log, B)), (entries(1, &[1, 1, 2]), entries(1, &[4])));
    let terms: Vec<_> = (0..5).map(|index| log.term(A, LogIndex(index)).expect("known")).collect();
    assert_eq!(terms, [Some(Term(0)), Some(Term(1)), Some(Term(1)), Some(Term(2)), None]);
}

#[test]
fn a_crash_is_noticed_and_loses_nothing() {
    let (dir, image) = (folder(), folder());
    let log = filled(dir.path());
    copy(dir.path(), image.path());
    drop(log);
    let (log, recovery) = open(image.path());
    assert_eq!(recovery, Recovery { unclean: true, amnesia: vec![] });
    assert_eq!((all(&log, A), all(&log, B)), (entries(1, &[1, 1, 2]), entries(1, &[4])));
    assert_eq!(log.load(A).map(|log| log.hard_state), Some(state(2, 3, 1)));
}

#[test]
fn new_entries_replace_the_conflicting_tail() {
    let dir = folder();
    let log = filled(dir.path());
    log.write(&[write(A, entries(2, &[3]), None)]).expect("written");
    assert_eq!(all(&log, A), [entries(1, &[1]), entries(2, &[3])].concat());
    assert!(log.reader(A).entries(LogIndex(1), LogIndex(4), u64::MAX).is_err());
    drop(log);
    let (log, recovery) = open(dir.path());
    assert_eq!(recovery.amnesia, []);
    assert_eq!(all(&log, A), [entries(1, &[1]), entries(2, &[3])].concat());
}

#[test]
fn a_read_stops_at_its_budget_but_not_before_the_first() {
    let dir = folder();
    let log = filled(dir.path());
    let read = |from, to, max| log.reader(A).entries(LogIndex(from), LogIndex(to), max).expect("readable").len();
    assert_eq!((read(1, 4, 0), read(1, 4, 40), read(2, 4, u64::MAX), read(2, 2, 9)), (1, 2, 2, 0));
    assert!(log.reader(A).entries(LogIndex(0), LogIndex(2), 9).is_err());
    assert!(log.reader(GroupId(3)).entries(LogIndex(1), LogIndex(2), 9).is_err());
}

#[test]
fn truncated_entries_are_gone_and_removed_in_large_steps() {
    let dir = folder();
    let (log, _) = open(dir.path());
    log.create_group(A).expect("created");
    log.write(&[write(A, entries(1, &[1; 6000]), None)]).expect("written");
    let rows = || log.db.iterator(rocksdb::IteratorMode::Start).count();
    log.truncate(A, start(4000, 1)).expect("truncated");
    log.truncate(A, start(3000, 1)).expect("an older truncation changes nothing");
    assert_eq!(rows(), 6001);
    assert!(log.reader(A).entries(LogIndex(4000), LogIndex(4002), 99).is_err());
    log.truncate(A, start(4500, 1)).expect("truncated");
    assert_eq!(rows(), 1501);
    assert_eq!(all(&log, A), entries(4501, &[1; 1500]));
    log.truncate(A, start(6000, 1)).expect("truncated");
    drop(log);
    let (log, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::default());
    let empty = GroupLog {
        hard_state: state(0, 0, 0),
        start: start(6000, 1),
        last: LogIndex(6000),
        last_term: Term(1),
        owed: None,
        replica: None,
    };
    assert_eq!(log.load(A), Some(empty));
    log.write(&[write(A, entries(6001, &[1; 4000]), None)]).expect("written");
    log.truncate(A, start(10_000, 1)).expect("truncated");
    assert_eq!(log.db.iterator(rocksdb::IteratorMode::Start).count(), 1, "leftovers of before the restart go too");
}

#[test]
fn a_snapshot_empties_the_log_even_of_a_new_group() {
    let dir = folder();
    let log = filled(dir.path());
    log.reset(A, state(5, 0, 50), start(50, 4)).expect("reset");
    log.reset(GroupId(7), state(1, 0, 8), start(8, 1)).expect("reset");
    log.write(&[write(A, entries(51, &[5]), None)]).expect("written");
    drop(log);
    let (log, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::default());
    assert_eq!(log.load(A).map(|log| (log.hard_state, log.start)), Some((state(5, 0, 50), start(50, 4))));
    assert_eq!(all(&log, A), entries(51, &[5]));
    assert_eq!(log.load(GroupId(7)).map(|log| log.last), Some(LogIndex(8)));
}

#[test]
fn a_misfit_fences_the_log_and_leaves_it_unclean() {
    let dir = folder();
    let log = filled(dir.path());
    assert!(log.write(&[write(A, entries(9, &[9]), None)]).is_err());
    let later = log.write(&[write(A, entries(4, &[9]), None)]).expect_err("fenced");
    assert!(matches!(later.cause, Cause::Fenced(_)));
    assert!(log.create_group(GroupId(2)).is_err() && log.truncate(A, start(1, 1)).is_err());
    drop(log);
    assert!(open(dir.path()).1.unclean);
    let other = folder();
    assert!(matches!(filled(other.path()).write(&[write(GroupId(2), vec![], None)]), Err(Fatal { .. })));
}

#[test]
fn a_folder_of_someone_else_is_refused() {
    let dir = folder();
    let log = filled(dir.path());
    assert!(matches!(refused(dir.path()), OpenError::Locked { .. }));
    drop(log);
    let foreign = RaftLog::open(dir.path(), NodeId(6)).err().expect("refused");
    assert!(matches!(foreign, OpenError::ForeignNode { found: NODE, .. }));
    let identity = dir.path().join("IDENTITY");
    let bytes = fs::read(&identity).expect("identity");
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        fs::write(&identity, bad).expect("written");
        assert!(matches!(refused(dir.path()), OpenError::DamagedIdentity { .. }));
    }
    fs::write(&identity, [bytes.clone(), vec![0]].concat()).expect("written");
    assert!(matches!(refused(dir.path()), OpenError::DamagedIdentity { .. }));
    fs::remove_file(&identity).expect("removed");
    assert!(matches!(refused(dir.path()), OpenError::NotALog { .. }));
    fs::write(&identity, bytes).expect("written");
    assert!(RaftLog::open(dir.path(), NODE).is_ok());
}

#[test]
fn an_interrupted_creation_is_begun_again() {
    let (dir, image) = (folder(), folder());
    let log = filled(dir.path());
    copy(dir.path(), image.path());
    drop(log);
    fs::rename(image.path().join("IDENTITY"), image.path().join("IDENTITY.new")).expect("renamed");
    let (log, recovery) = open(image.path());
    assert_eq!((log.groups(), recovery), (vec![], Recovery::default()));
}

#[test]
fn a_wiped_log_is_amnesia_until_it_was_refilled() {
    let dir = folder();
    drop(filled(dir.path()));
    fs::remove_dir_all(dir.path().join("db")).expect("wiped");
    let (log, recovery) = open(dir.path());
    assert_eq!((log.groups(), recovery.amnesia), (vec![], vec![A, B]));
    log.create_group(A).expect("created");
    log.write(&[write(A, entries(1, &[1, 1]), Some(state(3, 0, 2)))]).expect("written");
    log.acknowledged(&[mark(&log, A)]);
    drop(log);
    let (log, recovery) = open(dir.path());
    assert_eq!(recovery.amnesia, [A, B]);
    assert_eq!(log.load(A).and_then(|log| log.owed), Some(LogIndex(3)));
    log.write(&[write(A, entries(2, &[1]), None)]).expect("a rewrite does not pay the debt");
    log.acknowledged(&[mark(&log, A)]);
    drop(log);
    let (log, recovery) = open(dir.path());
    assert_eq!(recovery.amnesia, [A, B]);
    log.write(&[write(A, entries(3, &[2]), None)]).expect("written");
    log.reset(B, state(4, 0, 1), start(1, 4)).expect("refilled by a snapshot");
    drop(log);
    let (_, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::default());
}

#[test]
fn a_lost_vote_is_amnesia_even_if_the_log_is_whole() {
    let (dir, image) = (folder(), folder());
    let log = filled(dir.path());
    copy(dir.path(), image.path());
    log.write(&[write(B, vec![], Some(state(5, 7, 0)))]).expect("written");
    log.acknowledged(&[mark(&log, B)]);
    drop(log);
    for slot in ["WATERMARK-0", "WATERMARK-1"] {
        fs::copy(dir.path().join(slot), image.path().join(slot)).expect("copied");
    }
    let (log, recovery) = open(image.path());
    assert_eq!(recovery.amnesia, [B]);
    log.write(&[write(B, vec![], Some(state(6, 0, 0)))]).expect("written");
    drop(log);
    assert_eq!(open(image.path()).1.amnesia, [], "a newer term cannot be voted in twice");
}

#[test]
fn a_lost_rewrite_is_amnesia_although_the_log_is_long_enough() {
    let (dir, image) = (folder(), folder());
    let log = filled(dir.path());
    log.write(&[write(A, vec![], Some(state(6, 0, 1)))]).expect("written");
    copy(dir.path(), image.path());
    log.write(&[write(A, entries(2, &[5, 5]), None)]).expect("written");
    log.acknowledged(&[mark(&log, A)]);
    drop(log);
    for slot in ["WATERMARK-0", "WATERMARK-1"] {
        fs::copy(dir.path().join(slot), image.path().join(slot)).expect("copied");
    }
    let (log, recovery) = open(image.path());
    assert_eq!((recovery.amnesia, log.load(A).map(|log| log.last)), (vec![A], Some(LogIndex(3))));
    drop(log);
    let (log, recovery) = open(image.path());
    assert_eq!(recovery.amnesia, [A], "the debt stays");
    log.write(&[write(A, entries(2, &[5, 5, 6]), None)]).expect("written");
    drop(log);
    assert_eq!(open(image.path()).1.amnesia, []);
}

#[test]
fn marks_of_replaced_entries_do_not_accuse() {
    let dir = folder();
    let log = filled(dir.path());
    let stale = mark(&log, A);
    log.write(&[write(A, entries(2, &[3]), None)]).expect("written");
    log.acknowledged(&[stale, (GroupId(3), stale.1)]);
    drop(log);
    assert_eq!(open(dir.path()).1, Recovery::default());
}

#[test]
fn a_log_shorter_than_its_commit_index_is_amnesia() {
    let dir = folder();
    let log = filled(dir.path());
    log.write(&[write(A, vec![], Some(state(2, 3, 3)))]).expect("written");
    log.db.delete(row::entry_key(A, LogIndex(3))).expect("deleted");
    drop(log);
    let (log, recovery) = open(dir.path());
    assert_eq!(recovery.amnesia, [A]);
    assert_eq!(log.load(A).map(|log| log.hard_state.commit), Some(LogIndex(2)));
}

#[test]
fn holes_and_damaged_rows_are_refused_by_name() {
    let broken = |damage: &dyn Fn(&DB)| {
        let dir = folder();
        let log = filled(dir.path());
        damage(&log.db);
        drop(log);
        refused(dir.path())
    };
    let hole = broken(&|db| db.delete(row::entry_key(A, LogIndex(2))).expect("deleted"));
    assert!(matches!(hole, OpenError::Hole { group: A, after: LogIndex(1), found: LogIndex(3) }));
    assert!(hole.to_string().contains("replace the node"));
    let damaged: [&dyn Fn(&DB); 6] = [
        &|db| db.put(row::entry_key(A, LogIndex(2)), b"x").expect("put"),
        &|db| db.put(row::entry_key(B, LogIndex(2)), row::encode_entry(B, &entries(2, &[3])[0])).expect("put"),
        &|db| db.put(row::hard_state_key(B), b"").expect("put"),
        &|db| db.put(row::start_key(B), [1; 45]).expect("put"),
        &|db| db.delete(row::start_key(A)).expect("deleted"),
        &|db| db.put([0, 0, 0, 1, b'e', 7], b"").expect("put"),
    ];
    for damage in damaged {
        assert!(matches!(broken(damage), OpenError::DamagedRow { group: A | B, .. }));
    }
    assert!(matches!(broken(&|db| db.put(b"zz", b"").expect("put")), OpenError::DamagedRow { .. }));
    assert!(matches!(broken(&|db| db.put([255; 13], b"").expect("put")), OpenError::DamagedRow { .. }));
}

#[test]
fn without_a_watermark_the_log_is_refused() {
    let dir = folder();
    drop(filled(dir.path()));
    fs::remove_file(dir.path().join("WATERMARK-0")).expect("removed");
    drop(open(dir.path()));
    fs::remove_file(dir.path().join("WATERMARK-0")).expect("removed");
    fs::write(dir.path().join("WATERMARK-1"), b"SAGOWMRK").expect("written");
    assert!(matches!(refused(dir.path()), OpenError::WatermarkLost { .. }));
}

#[test]
fn a_database_that_vanished_in_part_is_refused() {
    let dir = folder();
    drop(filled(dir.path()));
    fs::remove_file(dir.path().join("db/CURRENT")).expect("removed");
    assert!(matches!(refused(dir.path()), OpenError::Database { .. }));
}

#[test]
fn many_threads_may_write_read_and_acknowledge() {
    let dir = folder();
    let (log, _) = open(dir.path());
    let groups: Vec<_> = (0..4).map(GroupId).collect();
    std::thread::scope(|scope| {
        for group in &groups {
            let log = &log;
            scope.spawn(move || {
                log.create_group(*group).expect("created");
                for index in 1..=50 {
                    log.write(&[write(*group, entries(index, &[1]), Some(state(1, 0, index - 1)))]).expect("written");
                    log.acknowledged(&[mark(log, *group)]);
                    assert_eq!(all(log, *group).len() as u64, index);
                }
            });
        }
    });
    drop(log);
    let (log, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::default());
    let lasts: BTreeSet<_> = groups.iter().filter_map(|group| log.load(*group)).map(|log| log.last).collect();
    assert_eq!(lasts, BTreeSet::from([LogIndex(50)]));
}

#[test]
fn a_group_that_was_let_go_leaves_its_name_and_no_promise() {
    let dir = folder();
    let log = filled(dir.path());
    log.remove_group(A).expect("removed");
    log.remove_group(GroupId(77)).expect("there was none");
    let founder = ReplicaId::founding(NODE);
    assert_eq!((log.load(A), log.former(A), log.former(B)), (None, Some(founder), None));
    drop(log);
    let (log, recovery) = open(dir.path());
    assert_eq!((recovery, log.groups(), log.former(A)), (Recovery::default(), vec![B], Some(founder)));
    let newer = ReplicaId::new(NODE, LogIndex(40));
    log.admit(A, newer).expect("admitted");
    assert_eq!(log.load(A), Some(GroupLog { replica: Some(newer), ..GroupLog::default() }));
    // A log shorter than that of the former replica owes nothing.
    log.write(&[write(A, entries(1, &[1]), Some(state(1, 0, 0)))]).expect("written");
    log.acknowledged(&[mark(&log, A)]);
    drop(log);
    let (log, recovery) = open(dir.path());
    assert_eq!((recovery, log.former(A)), (Recovery::default(), None));
    assert_eq!(log.load(A).and_then(|log| log.replica), Some(newer));
    log.remove_group(A).expect("removed");
    assert_eq!(log.former(A), Some(newer));
    assert!(log.admit(A, newer).is_err(), "the same replica came back");
}

#[test]
fn a_replica_that_is_here_is_not_admitted_again() {
    let dir = folder();
    let log = filled(dir.path());
    assert!(log.admit(B, ReplicaId::new(NODE, LogIndex(9))).is_err());
}
