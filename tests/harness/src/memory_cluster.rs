//! A whole cluster in memory: the real state machines over rows in a map, chunks in another. For tests of the faces.
//!
//! Everything is durable at once and nothing is ever lost, unless a test says so.

use async_trait::async_trait;
use bytes::Bytes;
use cluster_client::{CallError, ChunkOwner, Cluster, ReadError, WriteError, WrittenChunk};
use meta_core::memory::MemoryKv;
use meta_core::{Applied, apply, control_query, query};
use parking_lot::Mutex;
use proto::control::{AccessKey, ControlAnswer, ControlCommand, ControlOutcome, ControlQuery, ControlRefusal};
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use proto::record::{RecordContent, RecordKey, RecordSpace, RecordView, Revision};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use types::{
    BucketId, CHUNK_BYTES_MAX, ChunkId, ChunkIdParts, ChunkRef, GroupId, GroupPlacement, NodeId, PlacementMap,
    PlacementRule, RequestId, RuleEntry, RuleId, SessionId, Slot, Timestamp, WriterEpoch, leaves_of, root_of,
};

/// The cluster.
pub struct MemoryCluster {
    groups: Mutex<BTreeMap<GroupId, Group>>,
    chunks: Mutex<BTreeMap<ChunkId, Bytes>>,
    session: SessionId,
    chunk_seq: AtomicU64,
    bytes_read: AtomicU64,
    marked: Mutex<Option<BucketId>>,
    faults: Mutex<Faults>,
}

#[derive(Default)]
struct Group {
    rows: MemoryKv,
    seq: u64,
}

/// What goes wrong, for tests.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Commands and queries of metadata groups fail so.
    pub call: Option<CallError>,
    /// Calls to the control group fail so.
    pub control: Option<CallError>,
    /// Chunk writes fail so.
    pub write: Option<WriteError>,
    /// Chunk reads find no intact copy.
    pub lost: bool,
    /// Commands and queries of records fail so.
    pub records: Option<CallError>,
}

impl MemoryCluster {
    /// A cluster with so many metadata groups and no users. It has a rule of placement beside the default one, 1.
    ///
    /// # Panics
    /// The state machines refuse an empty cluster.
    #[must_use]
    pub fn new(metadata_groups: u32) -> Arc<Self> {
        let mut cluster = MemoryCluster {
            groups: Mutex::new((0..=metadata_groups).map(|id| (GroupId(id), Group::default())).collect()),
            chunks: Mutex::default(),
            session: SessionId(0),
            chunk_seq: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            marked: Mutex::default(),
            faults: Mutex::default(),
        };
        let raft_groups = (0..=metadata_groups).map(|id| GroupPlacement::founding(GroupId(id), vec![NodeId(1)]));
        let raft_groups = raft_groups.collect();
        let rules = vec![RuleEntry { id: RuleId(1), name: "fast".to_owned(), rule: PlacementRule::default() }];
        let map = PlacementMap { version: 1, raft_groups, rules, ..PlacementMap::default() };
        cluster.change(ControlCommand::Bootstrap { map }).expect("an empty cluster takes a map");
        match cluster.change(ControlCommand::OpenSession { kind: "test".into() }) {
            Ok(ControlOutcome::Session(session)) => cluster.session = session,
            other => panic!("no session: {other:?}"),
        }
        Arc::new(cluster)
    }

    /// Makes a user with a key pair.
    ///
    /// # Panics
    /// The state machine refuses the name.
    pub fn add_user(&self, name: &str) -> AccessKey {
        let key = AccessKey {
            access_key: format!("AK{}", name.to_uppercase()),
            secret_key: format!("secret/of+{name}"),
            user: name.to_owned(),
        };
        self.change(ControlCommand::CreateUser { name: name.to_owned() }).expect("a good name");
        self.change(ControlCommand::CreateKey { key: key.clone() }).expect("a new key");
        key
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }

    /// Chunks stored and their bytes.
    #[must_use]
    pub fn stored(&self) -> (usize, u64) {
        let chunks = self.chunks.lock();
        (chunks.len(), chunks.values().map(|data| data.len() as u64).sum())
    }

    /// Everything that is stored: each chunk, and each row's key and value.
    #[must_use]
    pub fn everything(&self) -> Vec<Bytes> {
        let groups = self.groups.lock();
        let rows = groups.values().flat_map(|group| group.rows.0.iter());
        let rows = rows.flat_map(|(key, value)| [key.clone(), value.clone()]);
        self.chunks.lock().values().cloned().chain(rows).collect()
    }

    /// Bytes of chunks that were read until now.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Chunks, in the order in which they were written.
    #[must_use]
    pub fn chunks(&self) -> Vec<(ChunkId, Bytes)> {
        self.chunks.lock().iter().map(|(id, data)| (*id, data.clone())).collect()
    }

    /// Puts other bytes in the place of a chunk's, and lets every reader believe that they are the right ones: what an intruder could do who has all disks
    /// and all metadata.
    pub fn forge(&self, chunk: ChunkId, data: Bytes) {
        self.chunks.lock().insert(chunk, data);
    }

    /// Puts other bytes in the place of the values of rows: `change` is shown each and says whether it has changed it. Returns how many it has.
    pub fn forge_rows(&self, mut change: impl FnMut(&mut Vec<u8>) -> bool) -> usize {
        let mut groups = self.groups.lock();
        let mut changed = 0;
        for value in groups.values_mut().flat_map(|group| group.rows.0.values_mut()) {
            let mut bytes = value.to_vec();
            if change(&mut bytes) {
                *value = bytes.into();
                changed += 1;
            }
        }
        changed
    }

    /// From now on every bucket but one is as if it had been marked when it was made: programs that know nothing of marks can then be run on marked buckets.
    pub fn mark_all_but(&self, bucket: BucketId) {
        *self.marked.lock() = Some(bucket);
    }

    /// The settings of a bucket, if that is what is asked for and all are marked.
    fn mark(&self, wanted: &Query) -> Option<Answer> {
        let Query::Records { bucket, keys } = wanted else { return None };
        let [RecordKey { space: RecordSpace(0), key }] = keys.as_slice() else { return None };
        if key != "settings" || self.marked.lock().is_none_or(|but| but == *bucket) {
            return None;
        }
        let content = RecordContent { value: Bytes::from_static(&[1, 1, 0]), entries: Vec::new() };
        Some(Answer::Records(vec![Some(RecordView { key: key.clone(), revision: Revision(1), content })]))
    }

    fn records_fault(&self, records: bool) -> Option<CallError> {
        self.faults.lock().records.clone().filter(|_| records)
    }

    /// All rows of all groups, keys and values: for a look whether something stands where it must not.
    #[must_use]
    pub fn rows(&self) -> Vec<(Bytes, Bytes)> {
        let groups = self.groups.lock();
        let rows = groups.values().flat_map(|group| &group.rows.0);
        rows.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn change(&self, command: ControlCommand) -> Result<ControlOutcome, ControlRefusal> {
        match self.apply(GroupId::CONTROL, |_| LogCommand::Control(command)) {
            Applied::Control(result) => result,
            Applied::Meta(result) => panic!("the control group answered {result:?}"),
        }
    }

    fn apply(&self, group: GroupId, command: impl FnOnce(u64) -> LogCommand) -> Applied {
        let mut groups = self.groups.lock();
        let group_state = groups.get_mut(&group).expect("tests ask for groups that exist");
        group_state.seq += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let time = Timestamp::from_secs(now.as_secs() as i64, now.subsec_nanos());
        let batch = LogBatch { time, commands: vec![command(group_state.seq)] };
        let mut applied = apply(&mut group_state.rows, group, &batch).expect("memory does not fail");
        applied.pop().expect("one result for one command")
    }
}

#[async_trait]
impl Cluster for MemoryCluster {
    async fn command(&self, group: GroupId, command: Command) -> Result<Result<Outcome, Refusal>, CallError> {
        if let Some(error) = self.faults.lock().call.clone() {
            return Err(error);
        }
        if let Some(error) = self.records_fault(matches!(command, Command::PutRecords { .. })) {
            return Err(error);
        }
        let session = self.session;
        match self.apply(group, |seq| LogCommand::Meta(Some(RequestId { session, seq, low: seq }), command)) {
            Applied::Meta(result) => Ok(result),
            Applied::Control(result) => panic!("a metadata group answered {result:?}"),
        }
    }

    async fn query(&self, group: GroupId, wanted: Query) -> Result<Result<Answer, Refusal>, CallError> {
        if let Some(error) = self.faults.lock().call.clone() {
            return Err(error);
        }
        if let Some(error) = self.records_fault(matches!(wanted, Query::Records { .. } | Query::ScanRecords { .. })) {
            return Err(error);
        }
        if let Some(answer) = self.mark(&wanted) {
            return Ok(Ok(answer));
        }
        let groups = self.groups.lock();
        let rows = &groups.get(&group).expect("tests ask for groups that exist").rows;
        Ok(query(rows, group, &wanted).expect("memory does not fail"))
    }

    async fn control(&self, command: ControlCommand) -> Result<Result<ControlOutcome, ControlRefusal>, CallError> {
        match self.faults.lock().control.clone() {
            Some(error) => Err(error),
            None => Ok(self.change(command)),
        }
    }

    async fn control_query(&self, wanted: ControlQuery) -> Result<ControlAnswer, CallError> {
        if let Some(error) = self.faults.lock().control.clone() {
            return Err(error);
        }
        let groups = self.groups.lock();
        let rows = &groups.get(&GroupId::CONTROL).expect("there is always a control group").rows;
        Ok(control_query(rows, &wanted).expect("memory does not fail"))
    }

    async fn write_chunk(&self, owner: ChunkOwner, data: Bytes) -> Result<WrittenChunk, WriteError> {
        if let Some(error) = self.faults.lock().write.clone() {
            return Err(error);
        }
        if data.is_empty() || data.len() > CHUNK_BYTES_MAX {
            return Err(WriteError::Invalid);
        }
        let seq = self.chunk_seq.fetch_add(1, Ordering::Relaxed) as u32;
        let (session, epoch) = (self.session, WriterEpoch(1));
        let id = ChunkId::new(ChunkIdParts { slot: Slot(seq as u16), group: owner.group, session, epoch, seq });
        let chunk = ChunkRef { id, len: data.len() as u32, root: root_of(&data, &leaves_of(&data)) };
        self.chunks.lock().insert(id, data);
        Ok(WrittenChunk { chunk, missing: 0 })
    }

    async fn read_chunk(&self, chunk: ChunkRef, range: Range<u32>) -> Result<Bytes, ReadError> {
        let chunks = self.chunks.lock();
        let data = chunks.get(&chunk.id).filter(|_| !self.faults.lock().lost).ok_or(ReadError::Lost(chunk.id))?;
        if range.start >= range.end || range.end as usize > data.len() {
            return Err(ReadError::Invalid(chunk.id));
        }
        self.bytes_read.fetch_add(range.len() as u64, Ordering::Relaxed);
        Ok(data.slice(range.start as usize..range.end as usize))
    }
}
