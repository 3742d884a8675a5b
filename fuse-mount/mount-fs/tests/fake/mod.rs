//! A cluster of one directory in memory, with faults on demand. Only what a mount needs, and only the plain cases of it: the
//! state machine's own rules are tested where it lives, and together with the mount in `tests/posix`.

use async_trait::async_trait;
use bytes::Bytes;
use cluster_client::{CallError, ChunkOwner, Cluster, ReadError, WriteError, WrittenChunk};
use parking_lot::Mutex;
use proto::control::{BucketInfo, ControlAnswer, ControlCommand, ControlOutcome, ControlQuery, ControlRefusal};
use proto::meta::{Answer, Command, DirEntry, Outcome, Query, Refusal};
use proto::object::{Attr, ContentView, ETag, FileKind};
use proto::record::{RecordContent, RecordView, Revision};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::Semaphore;
use types::{Blake3Root, BucketId, ChunkId, ChunkRef, Extent, GroupId, Ino, RuleId, Timestamp};

const GROUP: GroupId = GroupId(1);

/// What was asked of the cluster so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    pub commands: usize,
    pub queries: usize,
    pub chunk_writes: usize,
    pub chunk_reads: usize,
}

#[derive(Debug, Clone)]
struct Node {
    attr: Attr,
    inline: Bytes,
    extents: Vec<Extent>,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<Bytes, Ino>,
    nodes: HashMap<Ino, Node>,
    chunks: HashMap<ChunkId, Bytes>,
    next: u64,
    clock: i64,
    calls: Calls,
    chunk_fault: Option<WriteError>,
    command_fault: Option<CallError>,
    settings: Option<Bytes>,
    settings_fault: Option<CallError>,
}

/// See the module's head.
pub struct FakeCluster {
    state: Mutex<State>,
    /// Chunk writes wait for a permit; plenty unless a test takes them away.
    pub gate: Semaphore,
}

const ROOT: Ino = Ino(1 << Ino::COUNTER_BITS);

impl FakeCluster {
    pub fn new() -> Arc<Self> {
        let mut state = State { next: 1, ..State::default() };
        let root = state.new_node(FileKind::Directory, ROOT);
        state.nodes.insert(ROOT, root);
        Arc::new(FakeCluster { state: Mutex::new(state), gate: Semaphore::new(1 << 20) })
    }

    pub fn calls(&self) -> Calls {
        self.state.lock().calls
    }

    /// All chunk writes fail with this from now on.
    pub fn fail_chunks(&self, fault: Option<WriteError>) {
        self.state.lock().chunk_fault = fault;
    }

    /// All commands fail with this from now on.
    pub fn fail_commands(&self, fault: Option<CallError>) {
        self.state.lock().command_fault = fault;
    }

    /// What is set for the bucket from now on, or what comes of asking.
    pub fn set_settings(&self, settings: Result<Option<&'static [u8]>, CallError>) {
        let mut state = self.state.lock();
        state.settings_fault = settings.clone().err();
        state.settings = settings.ok().flatten().map(Bytes::from_static);
    }

    /// The bytes of a file as the server has them.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state.lock();
        let node = &state.nodes[&state.names[name.as_bytes()]];
        let mut bytes = vec![0; node.attr.size as usize];
        bytes[..node.inline.len()].copy_from_slice(&node.inline);
        for extent in &node.extents {
            let data = &state.chunks[&extent.chunk.id][extent.chunk_offset as usize..][..extent.len as usize];
            bytes[extent.file_offset as usize..][..data.len()].copy_from_slice(data);
        }
        bytes
    }

    /// Whether a file's content is all in the metadata.
    pub fn is_inline(&self, name: &str) -> bool {
        let state = self.state.lock();
        state.nodes[&state.names[name.as_bytes()]].extents.is_empty()
    }

    /// Forgets all chunks that no file refers to, as the cluster does some time after they were replaced.
    pub fn collect_garbage(&self) {
        let mut state = self.state.lock();
        let used: Vec<_> = state.nodes.values().flat_map(|node| node.extents.iter().map(|e| e.chunk.id)).collect();
        state.chunks.retain(|id, _| used.contains(id));
    }

    pub fn extent_count(&self, name: &str) -> usize {
        let state = self.state.lock();
        state.nodes[&state.names[name.as_bytes()]].extents.len()
    }
}

impl State {
    fn new_node(&mut self, kind: FileKind, ino: Ino) -> Node {
        self.clock += 1;
        let now = Timestamp(self.clock);
        let attr = Attr {
            ino,
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            nlink: 1,
            size: 0,
            stored: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            change: 1,
            etag: ETag::Posix,
        };
        Node { attr, inline: Bytes::new(), extents: Vec::new() }
    }

    fn node(&mut self, ino: Ino) -> Result<&mut Node, Refusal> {
        self.nodes.get_mut(&ino).ok_or(Refusal::StaleInode)
    }

    fn change_dir(&mut self, dir: Ino) {
        let now = Timestamp(self.clock);
        let dir = &mut self.nodes.get_mut(&dir).expect("it is there").attr;
        (dir.mtime, dir.change) = (now, dir.change + 1);
    }

    fn created(&self, attr: Attr, parent: Ino) -> Outcome {
        Outcome::Created { attr, parent: self.nodes[&parent].attr.clone() }
    }

    fn apply(&mut self, command: Command) -> Result<Outcome, Refusal> {
        self.clock += 1;
        let now = Timestamp(self.clock);
        match command {
            Command::Create { parent, name, kind, mode, uid, gid, exclusive, .. } => {
                if let Some(ino) = self.names.get(&name).copied() {
                    let there = self.node(ino)?.attr.clone();
                    return if exclusive { Err(Refusal::Exists) } else { Ok(self.created(there, parent)) };
                }
                let ino = Ino(ROOT.0 + self.next);
                self.next += 1;
                let mut node = self.new_node(kind, ino);
                (node.attr.mode, node.attr.uid, node.attr.gid) = (mode, uid, gid);
                self.names.insert(name, ino);
                self.nodes.insert(ino, node.clone());
                self.change_dir(parent);
                Ok(self.created(node.attr, parent))
            }
            Command::Unlink { name, .. } => {
                let ino = self.names.remove(&name).ok_or(Refusal::NotFound)?;
                let node = self.node(ino)?;
                node.attr.nlink = 0;
                node.attr.change += 1;
                self.change_dir(ROOT);
                Ok(Outcome::Attr(self.node(ROOT)?.attr.clone()))
            }
            Command::SetAttr { ino, mode, size, .. } => {
                let node = self.node(ino)?;
                node.attr.mode = mode.unwrap_or(node.attr.mode);
                if let Some(size) = size {
                    node.cut(size);
                }
                (node.attr.mtime, node.attr.change) = (now, node.attr.change + 1);
                Ok(Outcome::Attr(node.attr.clone()))
            }
            Command::Write { ino, inline, extents, append } => {
                let node = self.node(ino)?;
                if let Some(inline) = inline {
                    node.extents.clear();
                    node.attr.size = inline.len() as u64;
                    node.inline = inline;
                }
                let base = if append { node.attr.size } else { 0 };
                for new in extents {
                    assert!(new.extent.is_well_formed());
                    node.lay(Extent { file_offset: new.extent.file_offset + base, ..new.extent });
                }
                (node.attr.mtime, node.attr.change) = (now, node.attr.change + 1);
                Ok(Outcome::Attr(node.attr.clone()))
            }
            other => panic!("the fake does not know {other:?}"),
        }
    }

    fn answer(&mut self, query: Query) -> Result<Answer, Refusal> {
        match query {
            Query::BucketRoot { .. } => Ok(Answer::Attr(self.node(ROOT)?.attr.clone())),
            Query::GetAttr { ino } => Ok(Answer::Attr(self.node(ino)?.attr.clone())),
            Query::Lookup { name, .. } => {
                let ino = *self.names.get(&name).ok_or(Refusal::NotFound)?;
                Ok(Answer::Attr(self.node(ino)?.attr.clone()))
            }
            Query::Content { ino, offset, len } => {
                let node = self.node(ino)?.clone();
                let end = offset.saturating_add(len);
                let extents = node.extents.iter().filter(|extent| extent.file_offset < end && extent.end() > offset);
                let view = ContentView {
                    size: node.attr.size,
                    change: node.attr.change,
                    inline: node.inline.clone(),
                    extents: extents.copied().collect(),
                    next: None,
                };
                Ok(Answer::Content(view))
            }
            Query::ReadDir { after, max, .. } => {
                let rest: Vec<_> = self.names.range(after..).map(|(name, ino)| (name.clone(), *ino)).collect();
                let entries = rest.into_iter().take(max as usize).map(|(name, ino)| {
                    let cursor = [&name[..], &[0]].concat().into();
                    Ok(DirEntry { name, cursor, attr: self.node(ino)?.attr.clone() })
                });
                Ok(Answer::Entries(entries.collect::<Result<_, Refusal>>()?))
            }
            other => panic!("the fake does not know {other:?}"),
        }
    }
}

fn record(value: Bytes) -> RecordView {
    let content = RecordContent { value, entries: Vec::new() };
    RecordView { key: Bytes::from_static(b"settings"), revision: Revision(1), content }
}

impl Node {
    fn cut(&mut self, size: u64) {
        self.extents = self.extents.iter().filter_map(|extent| extent.clip(0, size)).collect();
        self.inline.truncate(size as usize);
        self.attr.size = size;
    }

    fn lay(&mut self, new: Extent) {
        let mut extents: Vec<Extent> = Vec::new();
        for old in &self.extents {
            extents.extend(old.clip(0, new.file_offset));
            extents.extend(old.clip(new.end(), u64::MAX));
        }
        extents.push(new);
        extents.sort_by_key(|extent| extent.file_offset);
        self.extents = extents;
        self.attr.size = self.attr.size.max(new.end());
    }
}

#[async_trait]
impl Cluster for FakeCluster {
    async fn command(&self, _: GroupId, command: Command) -> Result<Result<Outcome, Refusal>, CallError> {
        let mut state = self.state.lock();
        state.calls.commands += 1;
        match state.command_fault.clone() {
            Some(fault) => Err(fault),
            None => Ok(state.apply(command)),
        }
    }

    async fn query(&self, _: GroupId, query: Query) -> Result<Result<Answer, Refusal>, CallError> {
        let mut state = self.state.lock();
        if matches!(query, Query::Records { .. }) {
            // Asked in the background, so not counted.
            return match state.settings_fault.clone() {
                Some(fault) => Err(fault),
                None => Ok(Ok(Answer::Records(vec![state.settings.clone().map(record)]))),
            };
        }
        state.calls.queries += 1;
        Ok(state.answer(query))
    }

    async fn control(&self, command: ControlCommand) -> Result<Result<ControlOutcome, ControlRefusal>, CallError> {
        panic!("the mount does not send {command:?}")
    }

    async fn control_query(&self, query: ControlQuery) -> Result<ControlAnswer, CallError> {
        let ControlQuery::Bucket { name } = query else { panic!("the mount does not ask {query:?}") };
        let owner = "me".to_owned();
        let info =
            BucketInfo { id: BucketId(1), name, group: GROUP, owner, created: Timestamp(0), rule: RuleId::DEFAULT };
        Ok(ControlAnswer::Bucket(Some(info)))
    }

    async fn write_chunk(&self, _: ChunkOwner, data: Bytes) -> Result<WrittenChunk, WriteError> {
        let _permit = self.gate.acquire().await;
        let mut state = self.state.lock();
        state.calls.chunk_writes += 1;
        if let Some(fault) = state.chunk_fault.clone() {
            return Err(fault);
        }
        state.next += 1;
        let id = ChunkId(u128::from(state.next));
        let chunk = ChunkRef { id, len: data.len() as u32, root: Blake3Root([0; 32]) };
        state.chunks.insert(id, data);
        Ok(WrittenChunk { chunk, missing: 0 })
    }

    async fn read_chunk(&self, chunk: ChunkRef, range: Range<u32>) -> Result<Bytes, ReadError> {
        let mut state = self.state.lock();
        state.calls.chunk_reads += 1;
        let data = state.chunks.get(&chunk.id).ok_or(ReadError::Lost(chunk.id))?;
        Ok(data.slice(range.start as usize..range.end as usize))
    }
}
