//! The naive model: a tree of maps with the bytes of every file, written from the documentation of the commands, not
//! from the state machine. Slow and plain on purpose.

use crate::trash::{Binned, Watch};
use bytes::Bytes;
use proto::meta::{BadChunk, Command, Refusal, SetTime, SetXattrMode, Usage};
use proto::object::{Attr, ETag, FileKind, NewContent, NewExtent, Precondition, TagMatch, Xattr};
use proto::trash::{Purged, Restored, TrashReason};
use std::collections::{BTreeMap, BTreeSet};
use types::{BucketId, ChunkId, ChunkRef, GroupId, Ino, SessionId, Timestamp, UploadId, WriterEpoch};

pub const GROUP: GroupId = GroupId(3);
/// The model's own inode numbers.
pub type Id = u64;

#[derive(Clone)]
pub struct Node {
    pub bucket: BucketId,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub crtime: Timestamp,
    pub xattrs: BTreeMap<Bytes, Bytes>,
    /// Counts changes of content.
    pub version: u64,
    /// Who made it.
    pub creator: SessionId,
    /// When its content was begun, and by whom.
    pub begun: Timestamp,
    pub author: SessionId,
    /// It had no second name since it got the one it has.
    pub knows_its_name: bool,
}

#[derive(Clone)]
pub enum Kind {
    Dir(Dir),
    File(File),
    Symlink(File),
}

#[derive(Clone, Default)]
pub struct Dir {
    pub dirs: BTreeMap<Bytes, Id>,
    pub files: BTreeMap<Bytes, Id>,
    pub lasting: bool,
}

#[derive(Clone)]
pub struct File {
    pub data: Vec<u8>,
    pub etag: ETag,
    /// Bytes that came within a command.
    pub inline: usize,
    /// Ranges that chunks were laid over.
    pub laid: Vec<std::ops::Range<u64>>,
}

impl File {
    pub fn new(data: Vec<u8>, etag: ETag, in_chunks: bool) -> Self {
        let len = data.len();
        let laid = (in_chunks && len > 0).then_some(0..len as u64).into_iter().collect();
        File { data, etag, inline: if in_chunks { 0 } else { len }, laid }
    }

    fn resize(&mut self, size: u64) {
        self.data.resize(size as usize, 0);
        self.inline = self.inline.min(size as usize);
        self.laid.iter_mut().for_each(|range| range.end = range.end.min(size));
        self.laid.retain(|range| range.start < range.end);
    }
}

#[derive(Clone)]
pub struct Upload {
    pub bucket: BucketId,
    pub key: Bytes,
    pub begun: Timestamp,
    pub xattrs: BTreeMap<Bytes, Bytes>,
    pub parts: BTreeMap<u16, Part>,
}

#[derive(Clone)]
pub struct Part {
    pub data: Vec<u8>,
    pub md5: [u8; 16],
    pub mtime: Timestamp,
    pub xattrs: Vec<Xattr>,
}

#[derive(Clone)]
pub struct Bucket {
    pub root: Id,
    pub sealed: bool,
}

/// What a command should come to.
pub enum Expected {
    Done,
    /// The attributes of this node, as S3 or as a mount sees them.
    Object(Id),
    Attr(Id),
    Deleted(Vec<Result<bool, Refusal>>),
    Restored(Vec<Result<Restored, Refusal>>),
    Purged(Purged),
}

#[derive(Clone, Default)]
pub struct World {
    pub now: Timestamp,
    pub session: SessionId,
    pub nodes: BTreeMap<Id, Node>,
    pub buckets: BTreeMap<BucketId, Bucket>,
    pub uploads: BTreeMap<UploadId, Upload>,
    /// What writers have stored, committed or not.
    pub stored: BTreeMap<ChunkId, Vec<u8>>,
    /// What the group has heard of.
    pub known: BTreeMap<ChunkId, ChunkRef>,
    pub staged: BTreeSet<ChunkId>,
    /// The last epoch each session has closed.
    pub closed: BTreeMap<SessionId, WriterEpoch>,
    /// Sessions that are over.
    pub over: BTreeSet<SessionId>,
    /// Learnt from the group: what it has condemned, and whether its replicas were deleted.
    pub condemned: BTreeSet<ChunkId>,
    pub under: BTreeMap<ChunkId, u8>,
    pub trash: Vec<Binned>,
    pub watched: BTreeMap<BucketId, Watch>,
    /// Where the time stood after its last leap.
    pub leap: Timestamp,
    /// Learnt from answers.
    pub ids: BTreeMap<Ino, Id>,
    pub inos: BTreeMap<Id, Ino>,
    /// The entity tag each object shows, learnt from the last look at it.
    pub tags: BTreeMap<Id, String>,
    next: Id,
}

type Result<T, E = Refusal> = std::result::Result<T, E>;

impl World {
    pub fn learn(&mut self, id: Id, ino: Ino) {
        assert_eq!(*self.inos.entry(id).or_insert(ino), ino, "node {id} has changed its inode");
        assert_eq!(*self.ids.entry(ino).or_insert(id), id, "{ino} is two nodes");
    }

    pub fn dir(&self, id: Id) -> &Dir {
        match &self.nodes[&id].kind {
            Kind::Dir(dir) => dir,
            _ => panic!("node {id} is no directory"),
        }
    }

    pub fn dir_mut(&mut self, id: Id) -> &mut Dir {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("directory");
        (node.mtime, node.ctime) = (now, now);
        match &mut node.kind {
            Kind::Dir(dir) => dir,
            _ => panic!("node {id} is no directory"),
        }
    }

    pub fn file(&self, id: Id) -> Option<&File> {
        match &self.nodes[&id].kind {
            Kind::File(file) | Kind::Symlink(file) => Some(file),
            Kind::Dir(_) => None,
        }
    }

    pub fn is_symlink(&self, id: Id) -> bool {
        matches!(self.nodes[&id].kind, Kind::Symlink(_))
    }

    /// All directories with their paths, each ending in `/` but the root's.
    pub fn dirs_of(&self, bucket: BucketId) -> Vec<(Vec<u8>, Id)> {
        let mut found = vec![(Vec::new(), self.buckets[&bucket].root)];
        let mut at = 0;
        while at < found.len() {
            let (path, id) = found[at].clone();
            for (name, child) in &self.dir(id).dirs {
                found.push(([&path[..], name, b"/"].concat(), *child));
            }
            at += 1;
        }
        found
    }

    /// All objects by key.
    pub fn objects(&self, bucket: BucketId) -> BTreeMap<Vec<u8>, Id> {
        let mut all = BTreeMap::new();
        for (path, dir) in self.dirs_of(bucket) {
            for (name, file) in &self.dir(dir).files {
                all.insert([&path[..], name].concat(), *file);
            }
        }
        all
    }

    pub fn links(&self, id: Id) -> u32 {
        let mut links = 0;
        let mut dirs = vec![self.buckets[&self.nodes[&id].bucket].root];
        while let Some(dir) = dirs.pop() {
            let dir = self.dir(dir);
            links += dir.files.values().filter(|other| **other == id).count() as u32;
            dirs.extend(dir.dirs.values());
        }
        links
    }

    fn parent_of(&self, id: Id) -> Option<(Id, Bytes)> {
        self.nodes.iter().find_map(|(parent, node)| match &node.kind {
            Kind::Dir(dir) => dir.dirs.iter().find(|(_, child)| **child == id).map(|(name, _)| (*parent, name.clone())),
            _ => None,
        })
    }

    /// Attributes as a mount sees them, as far as the model knows them; `stored` and `change` are taken from `seen`.
    pub fn attr(&self, id: Id, seen: &Attr) -> Attr {
        let node = &self.nodes[&id];
        let (kind, nlink, size, etag) = match &node.kind {
            Kind::Dir(dir) => {
                let visible = dir.files.keys().filter(|name| !name.is_empty()).count() + dir.dirs.len();
                (FileKind::Directory, 2 + dir.dirs.len() as u32, visible as u64, ETag::Posix)
            }
            Kind::File(file) => (FileKind::File, self.links(id), file.data.len() as u64, file.etag),
            Kind::Symlink(file) => (FileKind::Symlink, self.links(id), file.data.len() as u64, file.etag),
        };
        Attr {
            ino: seen.ino,
            kind,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            nlink,
            size,
            stored: seen.stored,
            atime: node.atime,
            mtime: node.mtime,
            ctime: node.ctime,
            crtime: node.crtime,
            change: seen.change,
            etag,
        }
    }

    pub fn object_attr(&self, id: Id, seen: &Attr) -> Attr {
        let mut attr = self.attr(id, seen);
        if attr.kind == FileKind::Symlink {
            attr.size = 0;
        }
        attr
    }

    fn add(&mut self, bucket: BucketId, kind: Kind, mode: u32) -> Id {
        let now = self.now;
        let node = Node {
            bucket,
            kind,
            mode,
            uid: 0,
            gid: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            xattrs: BTreeMap::new(),
            version: 1,
            creator: self.session,
            begun: now,
            author: self.session,
            knows_its_name: true,
        };
        self.insert(node)
    }

    pub fn insert(&mut self, node: Node) -> Id {
        self.next += 1;
        self.nodes.insert(self.next, node);
        self.next
    }

    pub fn usage(&self, bucket: BucketId) -> Usage {
        let bytes = |ids: &BTreeSet<Id>| ids.iter().map(|id| self.file(*id).expect("a file").data.len() as u64).sum();
        let named: BTreeSet<Id> = self.objects(bucket).into_values().collect();
        let binned: BTreeSet<Id> =
            self.trash.iter().filter(|entry| entry.bucket == bucket).map(|entry| entry.id).collect();
        Usage {
            files: named.len() as u64,
            bytes: bytes(&named),
            trash_files: binned.len() as u64,
            trash_bytes: bytes(&binned),
        }
    }

    pub fn usable(&self, bucket: BucketId) -> Result<Id> {
        let found = self.buckets.get(&bucket).ok_or(Refusal::NoSuchBucket)?;
        if found.sealed { Err(Refusal::BucketSealed) } else { Ok(found.root) }
    }

    fn node_of(&self, ino: Ino) -> Result<Id> {
        self.ids.get(&ino).copied().filter(|id| self.nodes.contains_key(id)).ok_or(Refusal::StaleInode)
    }

    fn dir_named(&self, ino: Ino) -> Result<Id> {
        let id = self.node_of(ino)?;
        match self.nodes[&id].kind {
            Kind::Dir(_) => self.usable(self.nodes[&id].bucket).map(|_| id),
            _ => Err(Refusal::NotDirectory),
        }
    }

    /// Directory and file of a name as a mount finds them.
    pub fn find(&self, dir: Id, name: &Bytes) -> (Option<Id>, Option<Id>) {
        let dir = self.dir(dir);
        (dir.dirs.get(name).copied(), dir.files.get(name).copied().filter(|_| !name.is_empty()))
    }

    /// The directory of a key, if it is there, and the name in it.
    fn walk(&self, root: Id, key: &[u8]) -> (Option<Id>, Bytes) {
        let mut names: Vec<&[u8]> = key.split(|byte| *byte == b'/').collect();
        let last = Bytes::copy_from_slice(names.pop().expect("one at least"));
        let dir = names.iter().try_fold(root, |dir, name| self.dir(dir).dirs.get(*name).copied());
        (dir, last)
    }

    pub fn object(&self, bucket: BucketId, key: &[u8]) -> Option<Id> {
        let (dir, name) = self.walk(self.buckets.get(&bucket)?.root, key);
        self.dir(dir?).files.get(&name).copied()
    }

    fn check_key(key: &[u8]) -> Result<()> {
        match key.len() {
            0 => Err(Refusal::Invalid),
            1..=1024 => Ok(()),
            _ => Err(Refusal::NameTooLong),
        }
    }

    fn check_name(name: &[u8]) -> Result<()> {
        if name.len() > 255 {
            return Err(Refusal::NameTooLong);
        }
        let bad = name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0);
        if bad { Err(Refusal::Invalid) } else { Ok(()) }
    }

    fn check_xattrs(xattrs: &[Xattr]) -> Result<BTreeMap<Bytes, Bytes>> {
        let mut map = BTreeMap::new();
        for (name, value) in xattrs {
            Self::check_xattr(name, value)?;
            if map.insert(name.clone(), value.clone()).is_some() {
                return Err(Refusal::Invalid);
            }
        }
        Ok(map)
    }

    fn check_xattr(name: &Bytes, value: &Bytes) -> Result<()> {
        match (name.len(), value.len()) {
            (0, _) => Err(Refusal::Invalid),
            (256.., _) => Err(Refusal::NameTooLong),
            (_, 65537..) => Err(Refusal::TooLarge),
            _ => Ok(()),
        }
    }

    fn judge(&self, precondition: &Precondition, there: Option<Id>) -> Result<()> {
        let holds = |tags: &TagMatch| match (tags, there) {
            (_, None) => false,
            (TagMatch::Any, _) => true,
            (TagMatch::Tags(tags), Some(id)) => tags.contains(&self.tags[&id]),
        };
        match (&precondition.if_match, there) {
            (Some(_), None) => return Err(Refusal::PreconditionNotFound),
            (Some(tags), Some(_)) if !holds(tags) => return Err(Refusal::PreconditionFailed),
            _ => {}
        }
        match &precondition.if_none_match {
            Some(tags) if holds(tags) => Err(Refusal::PreconditionFailed),
            _ => Ok(()),
        }
    }

    /// Whether no new chunk of this epoch may come.
    pub fn is_closed(&self, chunk: ChunkId) -> bool {
        let parts = chunk.parts();
        self.over.contains(&parts.session) || self.closed.get(&parts.session).is_some_and(|last| parts.epoch <= *last)
    }

    /// A session is over.
    pub fn end(&mut self, session: SessionId) {
        self.over.insert(session);
        self.staged.retain(|chunk| chunk.session() != session);
    }

    /// The replicas of a chunk were deleted and the group told so.
    pub fn forget(&mut self, chunk: ChunkId) {
        if self.condemned.contains(&chunk) && self.is_closed(chunk) {
            self.condemned.remove(&chunk);
            self.known.remove(&chunk);
        }
    }

    /// Checks a chunk that comes after `others` in the same command.
    fn check_chunk(&self, chunk: &ChunkRef, missing: u8, others: &[(ChunkRef, u8)]) -> Result<(), BadChunk> {
        let parts = chunk.id.parts();
        if parts.group != GROUP {
            return Err(BadChunk::Group);
        }
        if parts.session != self.session {
            return Err(BadChunk::Session);
        }
        if (missing & 7).count_ones() > 1 {
            return Err(BadChunk::UnderAcknowledged);
        }
        // A staged chunk may be committed once after its epoch was closed.
        let used_up = others.iter().any(|(other, _)| other.id == chunk.id);
        let staged = self.staged.contains(&chunk.id) && !used_up;
        if self.condemned.contains(&chunk.id) {
            return Err(BadChunk::Condemned);
        }
        if self.is_closed(chunk.id) && !staged {
            return Err(BadChunk::EpochClosed);
        }
        let before = others.iter().map(|(other, _)| other).find(|other| other.id == chunk.id);
        if self.known.get(&chunk.id).or(before).is_some_and(|known| known != chunk) {
            return Err(BadChunk::Conflict);
        }
        Ok(())
    }

    /// Takes in chunks, all or none.
    fn admit(&mut self, chunks: &[(ChunkRef, u8)]) -> Result<()> {
        for (at, (chunk, missing)) in chunks.iter().enumerate() {
            self.check_chunk(chunk, *missing, &chunks[..at]).map_err(Refusal::BadChunk)?;
        }
        for (chunk, missing) in chunks {
            self.known.insert(chunk.id, *chunk);
            if *missing != 0 {
                *self.under.entry(chunk.id).or_default() |= missing;
            }
        }
        Ok(())
    }

    fn commit(&mut self, extents: &[NewExtent]) -> Result<()> {
        let chunks: Vec<_> = extents.iter().map(|new| (new.extent.chunk, new.missing)).collect();
        self.admit(&chunks)?;
        self.staged.retain(|id| chunks.iter().all(|(chunk, _)| chunk.id != *id));
        Ok(())
    }

    fn lay(&self, data: &mut Vec<u8>, extents: &[NewExtent], base: u64) {
        for NewExtent { extent, .. } in extents {
            let bytes = &self.stored[&extent.chunk.id][extent.chunk_offset as usize..][..extent.len as usize];
            let at = (extent.file_offset + base) as usize;
            if data.len() < at + bytes.len() {
                data.resize(at + bytes.len(), 0);
            }
            data[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    fn accept(&mut self, content: &NewContent, etag: ETag) -> Result<File> {
        match content {
            NewContent::Inline(data) if data.len() > 4096 => Err(Refusal::TooLarge),
            NewContent::Inline(data) => Ok(File::new(data.to_vec(), etag, false)),
            NewContent::Chunks(extents) => {
                let mut at = 0;
                for NewExtent { extent, .. } in extents {
                    if extent.file_offset != at || !extent.is_well_formed() {
                        return Err(Refusal::BadChunk(BadChunk::Malformed));
                    }
                    at = extent.end();
                }
                self.commit(extents)?;
                let mut data = Vec::new();
                self.lay(&mut data, extents, 0);
                Ok(File::new(data, etag, true))
            }
        }
    }

    /// Removes directories that nobody asked for, from `dir` upwards.
    fn prune(&mut self, mut dir: Id) {
        while let Some((parent, name)) = self.parent_of(dir) {
            let this = self.dir(dir);
            if this.lasting || !this.dirs.is_empty() || !this.files.is_empty() {
                return;
            }
            self.dir_mut(parent).dirs.remove(&name);
            self.nodes.remove(&dir);
            dir = parent;
        }
    }

    /// A mount has emptied a directory: it stays.
    fn adopt(&mut self, dir: Id) {
        if let Kind::Dir(this) = &mut self.nodes.get_mut(&dir).expect("directory").kind {
            this.lasting |= this.dirs.is_empty() && this.files.is_empty();
        }
    }

    /// Gives a file the name of a key. Directories that are missing are lasting if they get an `owner`.
    pub fn place(
        &mut self,
        root: Id,
        key: &[u8],
        id: Id,
        reason: TrashReason,
        owner: Option<(u32, u32)>,
    ) -> Result<()> {
        let mut names: Vec<&[u8]> = key.split(|byte| *byte == b'/').collect();
        let last = Bytes::copy_from_slice(names.pop().expect("one at least"));
        let mut dir = root;
        for name in names {
            dir = match self.dir(dir).dirs.get(name) {
                Some(child) => *child,
                None => {
                    let bucket = self.nodes[&root].bucket;
                    let child = self.add(bucket, Kind::Dir(Dir { lasting: owner.is_some(), ..Dir::default() }), 0o755);
                    let node = self.nodes.get_mut(&child).expect("new");
                    (node.uid, node.gid) = owner.unwrap_or_default();
                    self.dir_mut(dir).dirs.insert(Bytes::copy_from_slice(name), child);
                    child
                }
            };
        }
        if self.dir(dir).files.contains_key(&last) {
            self.remove_name(dir, &last, reason)?;
        }
        self.dir_mut(dir).files.insert(last, id);
        Ok(())
    }

    /// Applies a command. A refused one must leave everything as it was.
    pub fn apply(&mut self, command: &Command) -> Result<Expected> {
        // What a breaker refuses may be half done here.
        let before = self.breaker_may_refuse().then(|| self.clone());
        let result = self.apply_whole(command);
        if let (Some(before), Err(Refusal::BreakerOpen)) = (before, &result) {
            *self = before;
        }
        result
    }

    fn apply_whole(&mut self, command: &Command) -> Result<Expected> {
        match command {
            Command::EnsureBucket { bucket } => {
                if self.buckets.contains_key(bucket) {
                    return self.usable(*bucket).map(|_| Expected::Done);
                }
                let root = self.add(*bucket, Kind::Dir(Dir { lasting: true, ..Dir::default() }), 0o755);
                self.buckets.insert(*bucket, Bucket { root, sealed: false });
                self.watched.insert(*bucket, Watch::default());
                Ok(Expected::Done)
            }
            Command::SealBucket { bucket } => {
                let root = self.buckets.get(bucket).ok_or(Refusal::NoSuchBucket)?.root;
                let dir = self.dir(root);
                let uploads = self.uploads.values().any(|upload| upload.bucket == *bucket);
                if !dir.dirs.is_empty() || !dir.files.is_empty() || uploads {
                    return Err(Refusal::NotEmpty);
                }
                self.buckets.get_mut(bucket).expect("there").sealed = true;
                Ok(Expected::Done)
            }
            Command::PutObject { bucket, key, content, etag, xattrs, precondition } => {
                let root = self.usable(*bucket)?;
                Self::check_key(key)?;
                let xattrs = Self::check_xattrs(xattrs)?;
                self.judge(precondition, self.object(*bucket, key))?;
                let file = self.accept(content, *etag)?;
                let id = self.add(*bucket, Kind::File(file), 0o644);
                self.nodes.get_mut(&id).expect("new").xattrs = xattrs;
                self.place(root, key, id, TrashReason::Overwritten, None)?;
                Ok(Expected::Object(id))
            }
            Command::DeleteObjects { bucket, keys, precondition } => {
                self.usable(*bucket)?;
                let deleted = keys.iter().map(|key| self.delete(*bucket, key, precondition)).collect();
                Ok(Expected::Deleted(deleted))
            }
            Command::CopyObject {
                source_bucket,
                source_key,
                source_precondition,
                bucket,
                key,
                xattrs,
                precondition,
            } => {
                let root = self.usable(*bucket)?;
                Self::check_key(key)?;
                self.buckets.get(source_bucket).ok_or(Refusal::NoSuchBucket)?;
                if source_key.is_empty() {
                    return Err(Refusal::Invalid);
                }
                let from = self.object(*source_bucket, source_key).ok_or(Refusal::NotFound)?;
                self.judge(source_precondition, Some(from))?;
                let xattrs = match xattrs {
                    Some(xattrs) => Self::check_xattrs(xattrs)?,
                    None => self.nodes[&from].xattrs.clone(),
                };
                self.judge(precondition, self.object(*bucket, key))?;
                let file = self.file(from).expect("an object").clone();
                let kind = if self.is_symlink(from) { Kind::Symlink(file) } else { Kind::File(file) };
                let id = self.add(*bucket, kind, 0o644);
                self.nodes.get_mut(&id).expect("new").xattrs = xattrs;
                self.place(root, key, id, TrashReason::Overwritten, None)?;
                Ok(Expected::Object(id))
            }
            Command::CreateUpload { .. }
            | Command::PutPart { .. }
            | Command::CompleteUpload { .. }
            | Command::AbortUpload { .. } => self.apply_upload(command),
            Command::Stage { chunks } => {
                self.admit(chunks)?;
                self.staged.extend(chunks.iter().map(|(chunk, _)| chunk.id));
                Ok(Expected::Done)
            }
            Command::CloseEpoch { session, epoch } => {
                let last = self.closed.entry(*session).or_insert(*epoch);
                *last = (*last).max(*epoch);
                Ok(Expected::Done)
            }
            Command::ClearUnderReplicated { chunks } => {
                self.under.retain(|id, _| !chunks.contains(id));
                Ok(Expected::Done)
            }
            Command::RestoreTrash { .. }
            | Command::PurgeTrash { .. }
            | Command::ExpireTrash { .. }
            | Command::SetBucketOptions { .. }
            | Command::LiftBreaker { .. }
            | Command::UnsealBucket { .. } => self.apply_trash(command),
            _ => self.apply_posix(command),
        }
    }

    fn delete(&mut self, bucket: BucketId, key: &Bytes, precondition: &Precondition) -> Result<bool> {
        if key.is_empty() {
            return Err(Refusal::Invalid);
        }
        let there = self.object(bucket, key);
        self.judge(precondition, there)?;
        if there.is_none() {
            return Ok(false);
        }
        let (dir, name) = self.walk(self.buckets[&bucket].root, key);
        let dir = dir.expect("the object is there");
        self.remove_name(dir, &name, TrashReason::Deleted)?;
        self.prune(dir);
        Ok(true)
    }

    fn upload(&self, bucket: BucketId, key: &Bytes, upload: &UploadId) -> Result<&Upload> {
        self.usable(bucket)?;
        let found = self.uploads.get(upload).filter(|found| found.bucket == bucket && found.key == *key);
        found.ok_or(Refusal::NoSuchUpload)
    }

    fn apply_upload(&mut self, command: &Command) -> Result<Expected> {
        match command {
            Command::CreateUpload { bucket, key, upload, xattrs } => {
                self.usable(*bucket)?;
                Self::check_key(key)?;
                let xattrs = Self::check_xattrs(xattrs)?;
                if self.uploads.contains_key(upload) {
                    return Err(Refusal::Exists);
                }
                let parts = BTreeMap::new();
                let new = Upload { bucket: *bucket, key: key.clone(), begun: self.now, xattrs, parts };
                self.uploads.insert(*upload, new);
                Ok(Expected::Done)
            }
            Command::PutPart { bucket, key, upload, part, content, md5, xattrs } => {
                self.upload(*bucket, key, upload)?;
                if !(1..=10_000).contains(part) {
                    return Err(Refusal::Invalid);
                }
                Self::check_xattrs(xattrs)?;
                if matches!(content, NewContent::Inline(data) if !data.is_empty()) {
                    return Err(Refusal::Invalid);
                }
                let data = self.accept(content, ETag::Posix)?.data;
                let new = Part { data, md5: *md5, mtime: self.now, xattrs: xattrs.clone() };
                self.uploads.get_mut(upload).expect("there").parts.insert(*part, new);
                Ok(Expected::Done)
            }
            Command::CompleteUpload { bucket, key, upload, parts, etag, xattrs, part_bytes_min, precondition } => {
                let begun = self.upload(*bucket, key, upload)?;
                let mut merged = begun.xattrs.clone();
                merged.extend(xattrs.iter().cloned());
                merged.iter().try_for_each(|(name, value)| Self::check_xattr(name, value))?;
                if parts.is_empty() {
                    return Err(Refusal::Invalid);
                }
                if !parts.is_sorted_by(|a, b| a.0 < b.0) {
                    return Err(Refusal::InvalidPartOrder);
                }
                let mut data = Vec::new();
                for (i, (number, md5)) in parts.iter().enumerate() {
                    let part = begun.parts.get(number).filter(|part| part.md5 == *md5).ok_or(Refusal::InvalidPart)?;
                    if i + 1 < parts.len() && (part.data.len() as u64) < *part_bytes_min {
                        return Err(Refusal::PartTooSmall(*number));
                    }
                    data.extend_from_slice(&part.data);
                }
                self.judge(precondition, self.object(*bucket, key))?;
                self.uploads.remove(upload);
                let id = self.add(*bucket, Kind::File(File::new(data, *etag, true)), 0o644);
                self.nodes.get_mut(&id).expect("new").xattrs = merged;
                self.place(self.buckets[bucket].root, key, id, TrashReason::Overwritten, None)?;
                Ok(Expected::Object(id))
            }
            Command::AbortUpload { bucket, key, upload } => {
                self.upload(*bucket, key, upload)?;
                self.uploads.remove(upload);
                Ok(Expected::Done)
            }
            other => panic!("no command of an upload: {other:?}"),
        }
    }

    fn apply_posix(&mut self, command: &Command) -> Result<Expected> {
        match command {
            Command::Create { parent, name, kind, mode, uid, gid, content, exclusive } => {
                let dir = self.dir_named(*parent)?;
                Self::check_name(name)?;
                if *mode > 0o7777 {
                    return Err(Refusal::Invalid);
                }
                let (there, file) = self.find(dir, name);
                if let Some(id) = there.or(file) {
                    return match (exclusive, there.is_some(), kind) {
                        (true, ..) | (false, false, FileKind::Directory) => Err(Refusal::Exists),
                        (false, true, FileKind::File | FileKind::Symlink) => Err(Refusal::IsDirectory),
                        _ => Ok(Expected::Attr(id)),
                    };
                }
                let kind = match kind {
                    FileKind::Directory if !content.is_empty() => return Err(Refusal::Invalid),
                    FileKind::Directory => Kind::Dir(Dir { lasting: true, ..Dir::default() }),
                    FileKind::File => Kind::File(self.accept(content, ETag::Posix)?),
                    FileKind::Symlink => match content {
                        NewContent::Inline(target) if !target.is_empty() => {
                            Kind::Symlink(self.accept(content, ETag::Posix)?)
                        }
                        _ => return Err(Refusal::Invalid),
                    },
                };
                let is_dir = matches!(kind, Kind::Dir(_));
                let id = self.add(self.nodes[&dir].bucket, kind, *mode);
                let node = self.nodes.get_mut(&id).expect("new");
                (node.uid, node.gid) = (*uid, *gid);
                let parent = self.dir_mut(dir);
                if is_dir { &mut parent.dirs } else { &mut parent.files }.insert(name.clone(), id);
                Ok(Expected::Attr(id))
            }
            Command::Link { ino, parent, name } => {
                let dir = self.dir_named(*parent)?;
                Self::check_name(name)?;
                let id = self.node_of(*ino)?;
                if self.file(id).is_none() {
                    return Err(Refusal::IsDirectory);
                }
                if self.nodes[&id].bucket != self.nodes[&dir].bucket {
                    return Err(Refusal::CrossBucket);
                }
                if self.links(id) == 0 {
                    return Err(Refusal::StaleInode);
                }
                if self.find(dir, name) != (None, None) {
                    return Err(Refusal::Exists);
                }
                let node = self.nodes.get_mut(&id).expect("there");
                (node.ctime, node.knows_its_name) = (self.now, false);
                self.dir_mut(dir).files.insert(name.clone(), id);
                Ok(Expected::Attr(id))
            }
            Command::Unlink { parent, name } => {
                let dir = self.dir_named(*parent)?;
                match self.find(dir, name) {
                    (_, Some(_)) => self.remove_name(dir, name, TrashReason::Unlinked)?,
                    (Some(_), None) => return Err(Refusal::IsDirectory),
                    (None, None) => return Err(Refusal::NotFound),
                }
                self.adopt(dir);
                Ok(Expected::Done)
            }
            Command::Rmdir { parent, name } => {
                let dir = self.dir_named(*parent)?;
                match self.find(dir, name) {
                    (Some(child), _) => self.remove_dir(dir, name, child)?,
                    (None, Some(_)) => return Err(Refusal::NotDirectory),
                    (None, None) => return Err(Refusal::NotFound),
                }
                self.adopt(dir);
                Ok(Expected::Done)
            }
            Command::Rename { parent, name, new_parent, new_name, no_replace } => {
                self.rename(*parent, name, *new_parent, new_name, *no_replace)
            }
            Command::SetAttr { ino, mode, uid, gid, size, atime, mtime } => {
                let id = self.node_of(*ino)?;
                self.usable(self.nodes[&id].bucket)?;
                if mode.is_some_and(|mode| mode > 0o7777) {
                    return Err(Refusal::Invalid);
                }
                let now = self.now;
                match (size, &self.nodes[&id].kind) {
                    (None, _) => {}
                    (Some(_), Kind::Dir(_)) => return Err(Refusal::IsDirectory),
                    (Some(_), Kind::Symlink(_)) => return Err(Refusal::Invalid),
                    (Some(size), Kind::File(_)) if *size > 5 << 40 => return Err(Refusal::TooLarge),
                    (Some(size), Kind::File(_)) => self.truncate(id, *size)?,
                }
                let node = self.nodes.get_mut(&id).expect("there");
                let time = |set: &SetTime| match set {
                    SetTime::Now => now,
                    SetTime::At(time) => *time,
                };
                node.mode = mode.unwrap_or(node.mode);
                node.uid = uid.unwrap_or(node.uid);
                node.gid = gid.unwrap_or(node.gid);
                node.atime = atime.as_ref().map_or(node.atime, time);
                node.mtime = mtime.as_ref().map_or(node.mtime, time);
                node.ctime = now;
                Ok(Expected::Attr(id))
            }
            Command::Write { ino, inline, extents, append } => self.write(*ino, inline.as_ref(), extents, *append),
            Command::SetXattr { ino, name, value, mode } => {
                let id = self.node_of(*ino)?;
                self.usable(self.nodes[&id].bucket)?;
                Self::check_xattr(name, value)?;
                let now = self.now;
                let node = self.nodes.get_mut(&id).expect("there");
                match (mode, node.xattrs.contains_key(name)) {
                    (SetXattrMode::Create, true) => return Err(Refusal::Exists),
                    (SetXattrMode::Replace, false) => return Err(Refusal::NoXattr),
                    _ => {}
                }
                node.xattrs.insert(name.clone(), value.clone());
                node.ctime = now;
                Ok(Expected::Done)
            }
            Command::RemoveXattr { ino, name } => {
                let id = self.node_of(*ino)?;
                self.usable(self.nodes[&id].bucket)?;
                let now = self.now;
                let node = self.nodes.get_mut(&id).expect("there");
                node.xattrs.remove(name).ok_or(Refusal::NoXattr)?;
                node.ctime = now;
                Ok(Expected::Done)
            }
            other => panic!("no command of a mount: {other:?}"),
        }
    }

    fn truncate(&mut self, id: Id, size: u64) -> Result<()> {
        if size == 0 {
            let kept = self.judge_replaced(id)?;
            self.replaced(id, kept);
        }
        let node = self.nodes.get_mut(&id).expect("there");
        node.mtime = self.now;
        if let Kind::File(file) = &mut node.kind
            && file.data.len() as u64 != size
        {
            file.resize(size);
            file.etag = ETag::Posix;
            node.version += 1;
        }
        Ok(())
    }

    /// Removes a directory in which a mount sees nothing.
    fn remove_dir(&mut self, parent: Id, name: &Bytes, dir: Id) -> Result<()> {
        let this = self.dir(dir);
        if !this.dirs.is_empty() || this.files.keys().any(|name| !name.is_empty()) {
            return Err(Refusal::NotEmpty);
        }
        if self.dir(dir).files.contains_key(&b""[..]) {
            self.remove_name(dir, &Bytes::new(), TrashReason::Unlinked)?;
        }
        self.dir_mut(parent).dirs.remove(name);
        self.nodes.remove(&dir);
        Ok(())
    }

    fn rename(&mut self, parent: Ino, name: &Bytes, to: Ino, new: &Bytes, no_replace: bool) -> Result<Expected> {
        let from = self.dir_named(parent)?;
        let to = self.dir_named(to)?;
        if self.nodes[&from].bucket != self.nodes[&to].bucket {
            return Err(Refusal::CrossBucket);
        }
        Self::check_name(new)?;
        let (dir, file) = self.find(from, name);
        let there = self.find(to, new);
        let source = dir.or(file).ok_or(Refusal::NotFound)?;
        if no_replace && there != (None, None) {
            return Err(Refusal::Exists);
        }
        if let Some(dir) = dir {
            if (from, name) == (to, new) {
                return Ok(Expected::Done);
            }
            let mut above = Some(to);
            while let Some(at) = above {
                if at == dir {
                    return Err(Refusal::Invalid);
                }
                above = self.parent_of(at).map(|(parent, _)| parent);
            }
            match there {
                (Some(old), _) => self.remove_dir(to, new, old)?,
                (None, Some(_)) => return Err(Refusal::NotDirectory),
                (None, None) => {}
            }
            self.dir_mut(from).dirs.remove(name);
            self.dir_mut(to).dirs.insert(new.clone(), dir);
        } else {
            match there {
                (Some(_), _) => return Err(Refusal::IsDirectory),
                (None, Some(old)) if old == source => return Ok(Expected::Done),
                (None, Some(_)) => self.remove_name(to, new, TrashReason::RenamedOver)?,
                (None, None) => {}
            }
            self.dir_mut(from).files.remove(name);
            self.dir_mut(to).files.insert(new.clone(), source);
            // Where it has no other name, it knows the new one.
            self.nodes.get_mut(&source).expect("there").knows_its_name = self.links(source) == 1;
        }
        self.nodes.get_mut(&source).expect("there").ctime = self.now;
        self.adopt(from);
        Ok(Expected::Done)
    }

    fn write(&mut self, ino: Ino, inline: Option<&Bytes>, extents: &[NewExtent], append: bool) -> Result<Expected> {
        let id = self.node_of(ino)?;
        self.usable(self.nodes[&id].bucket)?;
        match &self.nodes[&id].kind {
            Kind::Dir(_) => return Err(Refusal::IsDirectory),
            Kind::Symlink(_) => return Err(Refusal::Invalid),
            Kind::File(_) => {}
        }
        if inline.is_none() && extents.is_empty() {
            return Ok(Expected::Attr(id));
        }
        let replaced = self.replaces_all(id, inline, extents, append);
        let kept = replaced && self.judge_replaced(id)?;
        let mut at = 0;
        for NewExtent { extent, .. } in extents {
            if extent.file_offset < at || !extent.is_well_formed() {
                return Err(Refusal::BadChunk(BadChunk::Malformed));
            }
            at = extent.end();
        }
        if inline.is_some_and(|data| data.len() > 4096) {
            return Err(Refusal::TooLarge);
        }
        self.commit(extents)?;
        if replaced {
            self.replaced(id, kept);
        }
        let mut file = match inline {
            Some(data) => File::new(data.to_vec(), ETag::Posix, false),
            None => self.file(id).expect("a file").clone(),
        };
        let base = if append { file.data.len() as u64 } else { 0 };
        self.lay(&mut file.data, extents, base);
        file.laid.extend(extents.iter().map(|new| new.extent.file_offset + base..new.extent.end() + base));
        file.etag = ETag::Posix;
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("there");
        (node.mtime, node.ctime) = (now, now);
        node.version += 1;
        node.kind = Kind::File(file);
        Ok(Expected::Attr(id))
    }
}
