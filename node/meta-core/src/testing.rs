//! A group in memory for unit tests: sends commands as a session does and checks every invariant after each.

use crate::kv::KvRead;
use crate::memory::MemoryKv;
use crate::{Applied, apply, invariants, query};
use bytes::Bytes;
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Answer, Command, Listing, Outcome, Query, Refusal};
use proto::object::{Attr, ContentView, ETag, FileKind, NewContent, NewExtent, Precondition, Xattr};
use types::{
    Blake3Root, BucketId, ChunkId, ChunkIdParts, ChunkRef, Extent, GroupId, Ino, RequestId, SessionId, Slot, Timestamp,
    UploadId, WriterEpoch,
};

pub(crate) const GROUP: GroupId = GroupId(1);
pub(crate) const BUCKET: BucketId = BucketId(1);
pub(crate) const SESSION: SessionId = SessionId(7);
pub(crate) const UPLOAD: UploadId = UploadId([9; 16]);

/// A group with one bucket.
pub(crate) struct Group {
    pub(crate) kv: MemoryKv,
    pub(crate) root: Ino,
    seq: u64,
    time: i64,
}

impl Group {
    pub(crate) fn new() -> Self {
        let mut group = Group { kv: MemoryKv::new(), root: Ino::default(), seq: 0, time: 1_000 };
        group.ok(Command::EnsureBucket { bucket: BUCKET });
        group.root = match group.ask(Query::BucketRoot { bucket: BUCKET }) {
            Ok(Answer::Attr(attr)) => attr.ino,
            other => panic!("{other:?}"),
        };
        group
    }

    /// Sends a command under an id of the caller's choice; checks the invariants.
    pub(crate) fn send(&mut self, id: Option<RequestId>, command: Command) -> Result<Outcome, Refusal> {
        let result = self.send_unchecked(id, command);
        assert_eq!(invariants::check(&self.kv, GROUP).expect("rows are whole"), Vec::<String>::new());
        result
    }

    pub(crate) fn send_unchecked(&mut self, id: Option<RequestId>, command: Command) -> Result<Outcome, Refusal> {
        self.time += 1;
        let batch = LogBatch { time: Timestamp(self.time), commands: vec![LogCommand::Meta(id, command)] };
        let applied = apply(&mut self.kv, GROUP, &batch).expect("the store does not fail");
        match applied.as_slice() {
            [Applied::Meta(result)] => result.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a new command of [`SESSION`].
    pub(crate) fn run(&mut self, command: Command) -> Result<Outcome, Refusal> {
        self.seq += 1;
        self.send(Some(RequestId { session: SESSION, seq: self.seq, low: self.seq }), command)
    }

    /// The number of the next command.
    pub(crate) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Lets seconds pass with the next command, and sends one that does nothing else.
    pub(crate) fn pass(&mut self, secs: i64) {
        self.time += secs * Timestamp::SECOND;
        let entries = Vec::new();
        self.ok(Command::ExpireTrash { bucket: BUCKET, entries, now: Timestamp(self.time) });
    }

    /// As [`Group::run`] without the check, which takes long in a large state.
    pub(crate) fn seq_unchecked(&mut self, command: Command) {
        self.seq += 1;
        let id = RequestId { session: SESSION, seq: self.seq, low: self.seq };
        self.send_unchecked(Some(id), command).expect("it succeeds");
    }

    /// As [`Group::run`] for a command that must succeed.
    pub(crate) fn ok(&mut self, command: Command) -> Outcome {
        self.run(command.clone()).unwrap_or_else(|refusal| panic!("{command:?}: {refusal:?}"))
    }

    pub(crate) fn attr_of(&mut self, command: Command) -> Attr {
        match self.ok(command) {
            Outcome::Attr(attr) | Outcome::Object(attr) | Outcome::Created { attr, .. } => attr,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn ask(&self, wanted: Query) -> Result<Answer, Refusal> {
        query(&self.kv, GROUP, &wanted).expect("the store does not fail")
    }

    pub(crate) fn put(&mut self, key: &str, content: NewContent) -> Attr {
        self.attr_of(put(key, content))
    }

    /// A small object; the state is not checked.
    pub(crate) fn put_unchecked(&mut self, key: &str) {
        self.seq_unchecked(put(key, inline(b"1")));
    }

    pub(crate) fn delete(&mut self, key: &str) -> bool {
        let keys = vec![Bytes::copy_from_slice(key.as_bytes())];
        let command = Command::DeleteObjects { bucket: BUCKET, keys, precondition: Precondition::default() };
        self.ok(command) == Outcome::Deleted(vec![Ok(true)])
    }

    pub(crate) fn create(&mut self, parent: Ino, name: &str, content: NewContent) -> Attr {
        self.attr_of(create(parent, name, FileKind::File, content))
    }

    pub(crate) fn mkdir(&mut self, parent: Ino, name: &str) -> Ino {
        self.attr_of(create(parent, name, FileKind::Directory, inline(b""))).ino
    }

    pub(crate) fn object(&self, key: &str) -> Result<Attr, Refusal> {
        let key = Bytes::copy_from_slice(key.as_bytes());
        match self.ask(Query::Object { bucket: BUCKET, key, content: None })? {
            Answer::Object(view, None) => Ok(view.attr),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn lookup(&self, parent: Ino, name: &str) -> Result<Attr, Refusal> {
        match self.ask(Query::Lookup { parent, name: Bytes::copy_from_slice(name.as_bytes()) })? {
            Answer::Attr(attr) => Ok(attr),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn content(&self, ino: Ino) -> ContentView {
        match self.ask(Query::Content { ino, offset: 0, len: u64::MAX }) {
            Ok(Answer::Content(view)) => view,
            other => panic!("{other:?}"),
        }
    }

    /// File offset, length and chunk number of each extent.
    pub(crate) fn extents(&self, ino: Ino) -> Vec<(u64, u32, u32)> {
        let view = self.content(ino);
        view.extents.iter().map(|extent| (extent.file_offset, extent.len, extent.chunk.id.parts().seq)).collect()
    }

    pub(crate) fn list(&self, prefix: &str, delimiter: &str, after: &str, max: u32) -> Listing {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let wanted = Query::ListObjects {
            bucket: BUCKET,
            prefix: bytes(prefix),
            delimiter: bytes(delimiter),
            after: bytes(after),
            max,
        };
        match self.ask(wanted) {
            Ok(Answer::Listing(listing)) => listing,
            other => panic!("{other:?}"),
        }
    }

    /// All keys, then all rolled-up prefixes.
    pub(crate) fn keys(&self, prefix: &str, delimiter: &str) -> (Vec<String>, Vec<String>) {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let listing = self.list(prefix, delimiter, "", 1000);
        assert_eq!(listing.next, None);
        let keys = listing.objects.iter().map(|object| text(&object.key)).collect();
        (keys, listing.prefixes.iter().map(text).collect())
    }

    /// Rows of a table.
    pub(crate) fn rows(&self, table: crate::key::Table) -> Vec<crate::kv::Row> {
        let tag = table as u8;
        self.kv.scan(&[tag], &[tag + 1], usize::MAX).expect("memory")
    }
}

pub(crate) fn put(key: &str, content: NewContent) -> Command {
    Command::PutObject {
        bucket: BUCKET,
        key: Bytes::copy_from_slice(key.as_bytes()),
        content,
        etag: ETag::Md5([1; 16]),
        xattrs: Vec::new(),
        precondition: Precondition::default(),
    }
}

pub(crate) fn create(parent: Ino, name: &str, kind: FileKind, content: NewContent) -> Command {
    let name = Bytes::copy_from_slice(name.as_bytes());
    Command::Create { parent, name, kind, mode: 0o640, uid: 5, gid: 6, content, exclusive: true }
}

pub(crate) fn name(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn xattr(key: &str, value: &str) -> Xattr {
    (name(key), name(value))
}

pub(crate) fn inline(data: &[u8]) -> NewContent {
    NewContent::Inline(Bytes::copy_from_slice(data))
}

/// Chunk number `seq` of [`SESSION`] in epoch 1, `len` bytes long.
pub(crate) fn chunk(seq: u32, len: u32) -> ChunkRef {
    let id = ChunkId::new(ChunkIdParts { slot: Slot(3), group: GROUP, session: SESSION, epoch: WriterEpoch(1), seq });
    let mut root = [0; 32];
    root[..4].copy_from_slice(&seq.to_le_bytes());
    ChunkRef { id, len, root: Blake3Root(root) }
}

/// A whole chunk at an offset.
pub(crate) fn extent(seq: u32, offset: u64, len: u32) -> NewExtent {
    NewExtent { extent: Extent { file_offset: offset, chunk: chunk(seq, len), chunk_offset: 0, len }, missing: 0 }
}

/// Content of `count` chunks of `len` bytes, numbered from `first`.
pub(crate) fn chunks(first: u32, count: u32, len: u32) -> NewContent {
    NewContent::Chunks((0..count).map(|i| extent(first + i, u64::from(i) * u64::from(len), len)).collect())
}
