use super::import::{Checked, Plan, check_all, plan};
use super::*;
use crate::cli::{MetaExportArgs, MetaImportArgs};
use crate::config::ClusterFile;
use crate::exit::Kind;
use crate::fsck::tests::{DATA, ENTRIES, NODE, Node};
use crate::fsck::{Site, metadata};
use meta_core::control_query;
use proto::control::{ControlAnswer, ControlQuery};
use raft_core::{HardState, LogStart, Members};
use raft_log::RaftLog;
use std::fs;
use types::{Findings, LogIndex, NodeId, PlacementMap, ReplicaId, Term};

const QUIET: Output = Output { json: true };

/// A node that has run, with all groups of the cluster file, and its export.
struct Backup {
    node: Node,
    files: PathBuf,
    map: PlacementMap,
}

impl Backup {
    fn new() -> Backup {
        let node = Node::new();
        let map = ClusterFile::load(&node.folder.path().join("cluster.toml")).expect("a cluster").map;
        // The fixture fills two groups; an import wants all.
        for group in map.metadata_groups().filter(|group| *group != DATA) {
            let store = node.state(group);
            store.commit(store.batch(), store.applied(), None).expect("committed");
        }
        let files = node.folder.path().join("backup");
        let backup = Backup { node, files, map };
        backup.export().expect("exported");
        backup
    }

    fn export(&self) -> Done {
        let args = MetaExportArgs { path: self.node.path.clone(), to: self.files.clone(), running: false };
        run_alone(MetaCommand::Export(args))
    }

    fn import(&self) -> Done {
        self.import_as(false)
    }

    fn import_as(&self, plan: bool) -> Done {
        let args = MetaImportArgs { path: self.node.path.clone(), from: self.files.clone(), plan };
        run_alone(MetaCommand::Import(args))
    }

    fn lose_metadata(&self) {
        fs::remove_dir_all(self.node.meta("")).expect("removed");
    }

    fn checked(&self) -> Vec<Checked> {
        let cluster = ClusterFile::load(&self.node.folder.path().join("cluster.toml")).expect("a cluster").cluster;
        check_all(&self.files, cluster, true).expect("whole files")
    }
}

fn run_alone(command: MetaCommand) -> Done {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(run(command, QUIET))
}

fn kind(done: Done) -> Option<Kind> {
    done.err().map(|failure| failure.kind)
}

#[test]
fn what_was_exported_is_there_again_under_other_names_and_numbers() {
    let backup = Backup::new();
    let files: Vec<_> = backup.checked().iter().map(|file| file.head.group.0).collect();
    assert_eq!(files, [0, 1, 2, 3, 4]);
    backup.lose_metadata();
    assert!(backup.import_as(true).is_ok() && !backup.node.meta("").exists(), "a plan has written something");
    backup.import().expect("imported");

    let site = Site::load(&backup.node.path).expect("a node");
    let mut findings = Findings::default();
    let found = metadata(&site, &mut findings, true).expect("it can be looked at");
    assert_eq!(findings, Findings::default());
    let (index, term) = (LogIndex(ENTRIES + build::NUMBERS), Term(1 + build::NUMBERS));
    for group in [GroupId::CONTROL, DATA] {
        let log = &found.log.groups()[&group];
        let replica = ReplicaId::new(NODE, index);
        let hard_state = HardState { term, vote: ReplicaId(0), commit: index };
        assert_eq!(
            (log.replica, log.hard_state, log.start, log.last),
            (Some(replica), hard_state, LogStart { index, term }, index)
        );
        let state = &found.groups.states()[&group];
        assert_eq!(state.rows.applied.index, index);
        let voters = [1, 2, 3].map(|node| ReplicaId::new(NodeId(node), index)).into();
        let members = Members::decode(state.rows.members.as_deref().expect("members"));
        assert_eq!(members, Some(Members { voters, ..Members::default() }));
    }
    let map = found.groups.map().expect("a map");
    assert!(map.version > backup.map.version + (1 << 31));
    let control = &found.groups.states()[&GroupId::CONTROL].rows;
    let Ok(ControlAnswer::Garbage(options)) = control_query(control, &ControlQuery::Garbage) else {
        panic!("no options")
    };
    assert!(!options.on);
    assert_eq!(found.folder.incarnation.map(|count| count.0), Some(build::NUMBERS));
    drop(found);
    // The chunks that were there are those that the metadata want.
    let report = crate::fsck::tests::report(&backup.node);
    assert_eq!((report["homes"]["wanted"].as_u64(), report["homes"]["missing"].as_u64()), (Some(3), Some(0)));
    // And it is not done over what is there.
    assert_eq!(kind(backup.import()), Some(Kind::Failed));
}

#[test]
fn all_voters_come_to_the_same_members_and_a_node_that_does_not_vote_has_no_log() {
    let backup = Backup::new();
    let mut map = backup.map.clone();
    let placed = map.raft_groups.iter_mut().find(|placed| placed.id == GroupId(2)).expect("a group");
    placed.wanted = [1, 3].map(NodeId).into();
    let planned = |node: u64| plan(NodeId(node), &backup.map, &map, backup.checked()).expect("a plan");
    let groups = |plan: &Plan| plan.groups.iter().map(|file| file.head.group.0).collect::<Vec<_>>();
    let (one, two) = (planned(1), planned(2));
    assert_eq!((groups(&one), groups(&two)), (vec![0, 1, 2, 3, 4], vec![0, 1, 3, 4]));
    assert_eq!((&one.former[..], &two.former[..]), (&[][..], &[GroupId(2)][..]));
    assert_eq!((&one.voters, &one.recovery), (&two.voters, &two.recovery));
    assert!(plan(NodeId(9), &backup.map, &map, backup.checked()).is_err(), "a stranger");
    let without: Vec<_> = backup.checked().into_iter().filter(|file| file.head.group != GroupId(3)).collect();
    let refused = plan(NodeId(1), &backup.map, &map, without).expect_err("a group is missing").message;
    assert!(refused.contains("group-3.meta"), "{refused}");
}

#[test]
fn a_group_that_has_moved_away_leaves_a_tombstone() {
    let backup = Backup::new();
    let mut map = backup.map.clone();
    let placed = map.raft_groups.iter_mut().find(|placed| placed.id == GroupId(2)).expect("a group");
    placed.wanted = [1, 3].map(NodeId).into();
    let planned = plan(NODE, &backup.map, &map, backup.checked()).expect("a plan");
    backup.lose_metadata();
    let site = Site::load(&backup.node.path).expect("a node");
    build::build(&site.meta, &planned, &Default::default(), true).expect("built");
    let (log, _) = RaftLog::open(&backup.node.meta("raft"), NODE).expect("the log opens");
    assert_eq!((log.former(GroupId(2)), log.load(GroupId(2))), (Some(ReplicaId::founding(NODE)), None));
}

#[test]
fn a_damaged_a_foreign_and_a_missing_file_are_refused_and_nothing_is_written() {
    let backup = Backup::new();
    backup.lose_metadata();
    let head = backup.checked()[0].head;
    let good = fs::read(file_of(&backup.files, DATA)).expect("a file");
    let refused = |bytes: &[u8], what: &str| {
        fs::write(file_of(&backup.files, DATA), bytes).expect("written");
        let failed = kind(backup.import());
        assert!(!backup.node.meta("").exists(), "{what}: something was written");
        failed
    };
    // Every byte in the unit tests of the format; here some of each part.
    for at in (0..good.len()).step_by(good.len() / 40).chain([good.len() - 1]) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert_eq!(refused(&bad, "a flipped bit"), Some(Kind::Damaged), "byte {at}");
        assert_eq!(refused(&good[..at], "a cut"), Some(Kind::Damaged), "cut at {at}");
    }
    assert_eq!(refused(&[0xff; 300], "hostile"), Some(Kind::Damaged));
    // Whole, and of an entry that no log can have.
    for (index, term) in [(u64::MAX, 1), (1 << 43, 1), (1, u64::MAX)] {
        let head = state_store::ExportHead { group: DATA, index: LogIndex(index), term: Term(term), ..head };
        let mut bytes = Vec::new();
        let nothing = meta_core::memory::MemoryKv::new();
        state_store::write_export(&mut bytes, &head, &nothing, &mut |_| {}).expect("written");
        assert_eq!(refused(&bytes, "an impossible point"), Some(Kind::Damaged));
    }
    let other = fs::read(file_of(&backup.files, GroupId(2))).expect("a file");
    assert_eq!(refused(&other, "another group's"), Some(Kind::Damaged));
    fs::write(file_of(&backup.files, DATA), &good).expect("written");

    let stranger = Backup::new();
    fs::copy(file_of(&stranger.files, GroupId(4)), file_of(&backup.files, GroupId(4))).expect("copied");
    assert_eq!(kind(backup.import()), Some(Kind::Failed), "another cluster's");
    fs::remove_file(file_of(&backup.files, GroupId(4))).expect("removed");
    assert_eq!(kind(backup.import()), Some(Kind::Failed), "a group is missing");
    fs::remove_file(file_of(&backup.files, GroupId::CONTROL)).expect("removed");
    assert_eq!(kind(backup.import()), Some(Kind::Failed), "no control group");
    assert!(!backup.node.meta("").exists());
}

#[test]
fn rows_that_contradict_each_other_are_neither_exported_nor_imported() {
    use meta_core::kv::{Kv, KvRead};
    let backup = Backup::new();
    let store = backup.node.state(DATA);
    let (chunk, _) = store.view().scan(&[0x30], &[0x31], 1).expect("readable").remove(0);
    let mut batch = store.batch();
    batch.delete(&chunk);
    store.commit(batch, store.applied(), None).expect("committed");
    // The file of a program that did not look.
    let head = backup.checked().into_iter().find(|file| file.head.group == DATA).expect("a file").head;
    let mut bytes = Vec::new();
    state_store::write_export(&mut bytes, &head, &store.view(), &mut |_| {}).expect("written");
    drop(store);
    let fresh = backup.node.folder.path().join("fresh");
    let args = MetaExportArgs { path: backup.node.path.clone(), to: fresh, running: false };
    assert_eq!(kind(run_alone(MetaCommand::Export(args))), Some(Kind::Damaged));
    fs::write(file_of(&backup.files, DATA), bytes).expect("written");
    backup.lose_metadata();
    assert_eq!(kind(backup.import()), Some(Kind::Damaged));
    // What was begun is marked, and the next import throws it away.
    assert!(backup.node.meta("import-unfinished").exists());
    fs::remove_dir_all(&backup.files).expect("removed");
    let good = Backup::new();
    fs::copy(good.node.folder.path().join("cluster.toml"), backup.node.folder.path().join("cluster.toml"))
        .expect("copied");
    fs::rename(&good.files, &backup.files).expect("moved");
    backup.import().expect("imported");
}

#[test]
fn nothing_is_exported_over_what_is_there() {
    let backup = Backup::new();
    let before = fs::read(file_of(&backup.files, DATA)).expect("a file");
    assert_eq!(kind(backup.export()), Some(Kind::Failed));
    assert_eq!(fs::read(file_of(&backup.files, DATA)).expect("a file"), before);
}
