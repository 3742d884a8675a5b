//! The naive model: a tree of maps with the bytes of every file, written from the documentation of the commands, not
//! from the state machine. Slow and plain on purpose.

mod chunks;
mod objects;
mod posix;

use crate::trash::{Binned, Watch};
use bytes::Bytes;
use proto::meta::{Command, Refusal, Usage};
use proto::object::{Attr, ETag, FileKind, Precondition, TagMatch, Xattr};
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
    /// A stamp lay a minute behind, and the time stands still since.
    pub held: bool,
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
            // Nothing was recovered, so nothing is held.
            Command::ReleaseHold => Ok(Expected::Done),
            _ => self.apply_posix(command),
        }
    }
}
