use super::*;
use crate::cli::InitArgs;
use crate::cluster::{init, node_folder};
use crate::config::ClusterFile;
use bytes::Bytes;
use chunk_store::{ChunkStore, StoreConfig};
use meta_core::kv::Kv;
use meta_core::{Applied, apply};
use proto::control::ControlCommand;
use proto::log::{LogBatch, LogCommand};
use proto::meta::Command;
use proto::object::{ETag, NewContent, NewExtent, Precondition};
use raft_core::{Entry, EntryKind, HardState, LogStart};
use raft_log::{GroupWrite, RaftLog};
use state_store::{AppliedPoint, SharedCache, StateStore};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use types::{
    BucketId, ChunkId, ChunkIdParts, ChunkRef, Extent, GroupId, LogIndex, NodeId, ReplicaId, RequestId, SessionId,
    Slot, Term, Timestamp, WriterEpoch,
};

pub(crate) const NODE: NodeId = NodeId(2);
pub(crate) const DATA: GroupId = GroupId(1);
const SESSION: SessionId = SessionId(9);
pub(crate) const ENTRIES: u64 = 5;

/// The folder of a node that has run: two groups, a disk with three chunks of one object, of which the third is known to be missing.
pub(crate) struct Node {
    pub(crate) folder: TempDir,
    pub(crate) path: PathBuf,
}

fn chunk(seq: u32) -> (ChunkRef, Bytes) {
    let data = Bytes::from(vec![seq as u8; 3000]);
    let root = types::root_of(&data, &types::leaves_of(&data));
    let id = ChunkId::new(ChunkIdParts { slot: Slot(1), group: DATA, session: SESSION, epoch: WriterEpoch(1), seq });
    (ChunkRef { id, len: data.len() as u32, root }, data)
}

/// The object of three chunks; this node is the member whose bit is set for the last.
fn object(map: &types::PlacementMap) -> Command {
    let group = map.group_of(Slot(1)).expect("a slot in use");
    let at = group.members.iter().position(|member| member.node == NODE).expect("three nodes, three members");
    let extent = |seq: u32| {
        let file_offset = u64::from(seq - 1) * 3000;
        let extent = Extent { file_offset, chunk: chunk(seq).0, chunk_offset: 0, len: 3000 };
        NewExtent { extent, missing: if seq == 3 { 1 << at } else { 0 } }
    };
    Command::PutObject {
        bucket: BucketId(1),
        key: Bytes::from_static(b"book"),
        content: NewContent::Chunks((1..=3).map(extent).collect()),
        etag: ETag::Md5([1; 16]),
        xattrs: Vec::new(),
        precondition: Precondition::default(),
    }
}

fn store(path: &Path) -> ChunkStore {
    let mut config = StoreConfig::new(NODE, vec![path.join("data/disk-0")]);
    let cluster = ClusterFile::load(&path.join("../cluster.toml")).expect("a cluster");
    config.disk_ids = cluster.map.node(NODE).expect("a node").disks.iter().map(|disk| disk.id).collect();
    config.segment_bytes = 8 << 20;
    config.reserve_bytes = 1 << 20;
    ChunkStore::open(&config).expect("the store opens")
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
}

fn entry(index: u64) -> Entry {
    let data = Bytes::from(format!("entry {index}"));
    Entry { term: Term(1), index: LogIndex(index), kind: EntryKind::Normal, data }
}

impl Node {
    pub(crate) fn new() -> Node {
        let folder = tempfile::tempdir().expect("a folder");
        let nodes = ["1=a:7400", "2=b:7400", "3=c:7400"].map(|node| node.parse().expect("a node")).to_vec();
        let args = InitArgs { dir: folder.path().to_owned(), nodes, machines: Vec::new(), disks: 1, meta_groups: 4 };
        init(args, Output { json: true }).expect("a cluster");
        let path = node_folder(folder.path(), 2);
        let node = Node { path, folder };
        node.fill();
        node
    }

    fn fill(&self) {
        let map = ClusterFile::load(&self.folder.path().join("cluster.toml")).expect("a cluster").map;
        let meta = self.meta("");
        fs::create_dir_all(meta.join("state")).expect("a folder");
        fs::write(meta.join("incarnation"), "1\n").expect("written");
        let (log, _) = RaftLog::open(&meta.join("raft"), NODE).expect("a log");
        for group in [GroupId::CONTROL, DATA] {
            log.create_group(group).expect("created");
            let hard_state =
                Some(HardState { term: Term(1), vote: ReplicaId::founding(NodeId(1)), commit: LogIndex(ENTRIES) });
            let entries = (1..=ENTRIES).map(entry).collect();
            log.write(&[GroupWrite { group, entries, hard_state, must_sync: true }]).expect("written");
        }
        drop(log);
        let object = object(&map);
        self.apply(GroupId::CONTROL, vec![LogCommand::Control(ControlCommand::Bootstrap { map })]);
        let id = |seq| Some(RequestId { session: SESSION, seq, low: 1 });
        let bucket = Command::EnsureBucket { bucket: BucketId(1) };
        self.apply(DATA, vec![LogCommand::Meta(id(1), bucket), LogCommand::Meta(id(2), object)]);
        let store = store(&self.path);
        run(async {
            for seq in 1..=2 {
                let (chunk, data) = chunk(seq);
                store.put(0, chunk.id, chunk.root, data).await.expect("stored");
            }
            store.close().await;
        });
    }

    /// Applies an entry to the state of a group, which stands at the end of its log then.
    fn apply(&self, group: GroupId, commands: Vec<LogCommand>) {
        let store = self.state(group);
        let mut batch = store.batch();
        let applied = apply(&mut batch, group, &LogBatch { time: Timestamp(1), commands }).expect("applied");
        let taken = |applied: &Applied| matches!(applied, Applied::Meta(Ok(_)) | Applied::Control(Ok(_)));
        assert!(applied.iter().all(taken), "{applied:?}");
        let point = AppliedPoint { index: LogIndex(ENTRIES), term: Term(1), commit: LogIndex(ENTRIES) };
        store.commit(batch, point, None).expect("committed");
    }

    pub(crate) fn state(&self, group: GroupId) -> StateStore {
        StateStore::open(&self.meta("state").join(group.0.to_string()), &SharedCache::new(8 << 20)).expect("a state")
    }

    pub(crate) fn meta(&self, name: &str) -> PathBuf {
        self.path.join("data/meta").join(name)
    }

    /// What was found, by kind, worst first; and that nothing was changed.
    fn found(&self) -> Vec<(&'static str, &'static str, u64)> {
        let before = bytes_of(self.folder.path());
        let site = Site::load(&self.path).expect("a node");
        let report = inspect(&site, true, true).expect("it can be checked");
        assert!(before == bytes_of(self.folder.path()), "the check has changed something");
        let text = report.text();
        let json = serde_json::to_value(&report).expect("plain data");
        let counts = json["counts"].as_array().expect("a list");
        let mut found = Vec::new();
        for count in counts {
            let code = count["code"].as_str().expect("text").to_owned();
            assert!(text.contains(&code), "{text}");
            let (code, severity): (&'static str, &'static str) =
                (code.leak(), count["severity"].as_str().expect("text").to_owned().leak());
            found.push((code, severity, count["count"].as_u64().expect("a number")));
        }
        found
    }
}

/// What a check of the node's folder reports, as JSON.
pub(crate) fn report(node: &Node) -> serde_json::Value {
    let site = Site::load(&node.path).expect("a node");
    serde_json::to_value(inspect(&site, false, true).expect("it can be checked")).expect("plain data")
}

fn bytes_of(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        files.insert(folder.clone(), Vec::new());
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let bytes = fs::read(&path).expect("a file");
                    files.insert(path, bytes);
                }
            }
        }
    }
    files
}

#[test]
fn a_sound_node_has_nothing_to_report_and_is_not_changed() {
    let node = Node::new();
    assert_eq!(node.found(), []);
    assert_eq!(node.found(), [], "the second time as the first");
    let site = Site::load(&node.path.join("node.toml")).expect("the file is as good as the folder");
    let report = inspect(&site, false, true).expect("it can be checked");
    let homes = report.homes.expect("a map");
    assert_eq!((homes.wanted, homes.noted, homes.missing, homes.unknown), (3, 1, 0, 0));
    assert!(fsck(&FsckArgs { path: node.path.clone(), deep: false }, Output { json: true }).is_ok());
}

#[test]
fn a_node_that_was_never_started_is_no_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let nodes = ["1=a:7400", "2=b:7400", "3=c:7400"].map(|node| node.parse().expect("a node")).to_vec();
    let args = InitArgs { dir: folder.path().to_owned(), nodes, machines: Vec::new(), disks: 1, meta_groups: 4 };
    init(args, Output { json: true }).expect("a cluster");
    let node = Node { path: node_folder(folder.path(), 2), folder };
    assert_eq!(node.found(), [("node-new", "note", 1)]);
}

#[test]
fn a_folder_in_use_is_not_checked() {
    let node = Node::new();
    let code = || {
        let failed = fsck(&FsckArgs { path: node.path.clone(), deep: false }, Output { json: true }).err();
        failed.map(|failure| failure.kind)
    };
    let log = RaftLog::open(&node.meta("raft"), NODE).expect("a log");
    assert_eq!(code(), Some(Kind::Unchecked));
    drop(log);
    let disk = store(&node.path);
    assert_eq!(code(), Some(Kind::Unchecked));
    drop(disk);
    fs::write(node.meta("LOCK"), "").expect("written");
    let lock = fs::File::open(node.meta("LOCK")).expect("a lock");
    lock.try_lock().expect("nobody has it");
    assert_eq!(code(), Some(Kind::Unchecked));
    drop(lock);
    assert_eq!(code(), None);
}

#[test]
fn chunks_that_the_metadata_wants_here_are_looked_for() {
    let forgotten = Node::new();
    let disk = store(&forgotten.path);
    run(async {
        disk.forget(0, vec![chunk(1).0.id]).await.expect("let go");
        disk.close().await;
    });
    drop(disk);
    assert_eq!(forgotten.found(), [("chunk-missing", "damage", 1)]);
    let failed = fsck(&FsckArgs { path: forgotten.path.clone(), deep: false }, Output { json: true }).err();
    assert_eq!(failed.map(|failure| failure.kind), Some(Kind::Damaged));

    // A state that lags behind its log may not know that it moved away.
    let (log, _) = RaftLog::open(&forgotten.meta("raft"), NODE).expect("a log");
    let entries = vec![entry(ENTRIES + 1)];
    log.write(&[GroupWrite { group: DATA, entries, hard_state: None, must_sync: true }]).expect("written");
    drop(log);
    assert_eq!(forgotten.found(), [("chunk-missing", "warning", 1)]);

    let deleted = Node::new();
    let disk = store(&deleted.path);
    run(async {
        disk.delete(0, vec![chunk(2).0.id]).await.expect("deleted");
        disk.close().await;
    });
    drop(disk);
    assert_eq!(deleted.found(), [("chunk-deleted", "warning", 1)]);

    let more = Node::new();
    let disk = store(&more.path);
    run(async {
        let (unknown, data) = chunk(7);
        disk.put(0, unknown.id, unknown.root, data).await.expect("stored");
        disk.close().await;
    });
    drop(disk);
    assert_eq!(more.found(), [("chunk-unknown", "note", 1)]);
}

#[test]
fn a_state_that_does_not_fit_its_log_is_named() {
    let node = Node::new();
    let state = node.meta("state/1");
    // The log goes on behind the end of the state.
    let (log, _) = RaftLog::open(&node.meta("raft"), NODE).expect("a log");
    let to = LogStart { index: LogIndex(ENTRIES), term: Term(1) };
    log.truncate(DATA, to).expect("cut");
    drop(log);
    let aside = node.folder.path().join("aside");
    fs::rename(&state, &aside).expect("moved");
    assert_eq!(node.found(), [("state-missing", "damage", 1)]);
    fs::rename(&aside, &state).expect("moved");
    assert_eq!(node.found(), []);

    let (log, _) = RaftLog::open(&node.meta("raft"), NODE).expect("a log");
    let hard_state = HardState { term: Term(3), vote: ReplicaId::founding(NodeId(1)), commit: LogIndex(9) };
    log.reset(DATA, hard_state, LogStart { index: LogIndex(9), term: Term(2) }).expect("reset");
    drop(log);
    assert_eq!(node.found(), [("state-behind-log", "damage", 1)]);

    let other = Node::new();
    let (log, _) = RaftLog::open(&other.meta("raft"), NODE).expect("a log");
    let entries = (4..=6).map(|index| Entry { term: Term(2), ..entry(index) }).collect();
    let hard_state = Some(HardState { term: Term(2), vote: ReplicaId::founding(NodeId(1)), commit: LogIndex(3) });
    log.write(&[GroupWrite { group: DATA, entries, hard_state, must_sync: true }]).expect("written");
    drop(log);
    assert_eq!(other.found(), [("state-of-other-log", "damage", 1)]);

    let ahead = Node::new();
    let store = ahead.state(DATA);
    let point = AppliedPoint { index: LogIndex(50), term: Term(2), commit: LogIndex(50) };
    store.commit(store.batch(), point, None).expect("committed");
    drop(store);
    assert_eq!(ahead.found(), [("state-ahead", "note", 1)]);
}

#[test]
fn damage_anywhere_in_the_folder_is_named_by_its_kind() {
    type Plant = fn(&Node);
    let cases: [(&str, Plant); 8] = [
        ("meta-count-damaged", |node| fs::write(node.meta("incarnation"), "many").expect("written")),
        ("log-identity-damaged", |node| {
            fs::write(node.meta("raft/IDENTITY"), "SAGORLOG").expect("written");
        }),
        ("state-db-damaged", |node| {
            drop(node.state(DATA));
            let current = fs::read_to_string(node.meta("state/1/CURRENT")).expect("the name of the manifest");
            flip(&node.meta("state/1").join(current.trim()), 10);
        }),
        ("state-chunk", |node| {
            let store = node.state(DATA);
            let mut batch = store.batch();
            batch.delete(&[&[0x30][..], &chunk(1).0.id.to_bytes()].concat());
            store.commit(batch, store.applied(), None).expect("committed");
        }),
        ("state-row-damaged", |node| {
            let store = node.state(GroupId::CONTROL);
            let mut batch = store.batch();
            batch.put(&[0x81], b"a map of a newer program");
            store.commit(batch, store.applied(), None).expect("committed");
        }),
        ("disk-identity-damaged", |node| {
            fs::write(node.path.join("data/disk-0/IDENTITY"), "sago-disk 1\n").expect("written");
        }),
        ("chunk-damaged", |node| {
            let segments = fs::read_dir(node.path.join("data/disk-0/segments")).expect("a folder");
            let segment = segments.map(|entry| entry.expect("an entry").path()).next().expect("a segment");
            let bytes = fs::read(&segment).expect("a segment");
            flip(&segment, bytes.windows(100).position(|run| run == [1; 100]).expect("the first chunk"));
        }),
        ("disk-missing", |node| fs::remove_dir_all(node.path.join("data/disk-0")).expect("removed")),
    ];
    for (code, plant) in cases {
        let node = Node::new();
        plant(&node);
        let found = node.found();
        assert!(found.iter().any(|(found, severity, _)| *found == code && *severity == "damage"), "{code}: {found:?}");
    }
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).expect("a file");
    bytes[at] ^= 1;
    fs::write(file, bytes).expect("written");
}
