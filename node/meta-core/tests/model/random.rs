//! Random commands over tiny alphabets, so that they collide.

use crate::rng::Rng;
use crate::world::{GROUP, Kind, World};
use bytes::Bytes;
use proto::meta::{Command, SetTime, SetXattrMode};
use proto::object::{ETag, FileKind, NewContent, NewExtent, Precondition, TagMatch, Xattr};
use proto::trash::{BucketOptions, DeleteLimit, NameTaken, TrashId};
use types::{
    Blake3Root, BucketId, ChunkId, ChunkIdParts, ChunkRef, Extent, GroupId, Ino, SessionId, Slot, Timestamp, UploadId,
    WriterEpoch,
};

const NAMES: [&str; 8] = ["a", "b", "c", "a-", "a0", "b.c", "d", "a"];
const ODD_NAMES: [&str; 5] = ["", ".", "..", "a\0", "a/b"];
const BUCKETS: [BucketId; 3] = [BucketId(1), BucketId(2), BucketId(9)];
const XATTRS: [&str; 3] = ["user.a", "user.b", "trusted.s3.content-type"];

/// What the generator remembers of one run.
pub struct Random {
    pub rng: Rng,
    /// Numbers of chunks and uploads.
    next: u32,
    pub epochs: [u16; 8],
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Random { rng: Rng::new(seed), next: 0, epochs: [1; 8] }
    }

    pub fn bucket(&mut self) -> BucketId {
        match self.rng.below(100) {
            0 => BUCKETS[2],
            1..15 => BUCKETS[1],
            _ => BUCKETS[0],
        }
    }

    fn name(&mut self) -> Bytes {
        let names: &[&str] = if self.rng.chance(2) { &ODD_NAMES } else { &NAMES };
        Bytes::from_static(self.rng.pick(names).as_bytes())
    }

    /// The key of an object, or any.
    fn known_key(&mut self, world: &World, bucket: BucketId) -> Bytes {
        let keys: Vec<Vec<u8>> = match world.buckets.contains_key(&bucket) && self.rng.chance(75) {
            true => world.objects(bucket).into_keys().collect(),
            false => Vec::new(),
        };
        if keys.is_empty() { self.key() } else { self.rng.pick(&keys).clone().into() }
    }

    /// A directory and a name in it, or any.
    fn known_name(&mut self, world: &World, bucket: BucketId, want_dir: bool) -> (Ino, Bytes) {
        let mut names = Vec::new();
        if self.rng.chance(75) {
            for (_, id) in world.dirs_of(bucket) {
                let dir = world.dir(id);
                let wanted = if want_dir { &dir.dirs } else { &dir.files };
                let ino = world.inos.get(&id);
                names.extend(
                    wanted.keys().filter(|name| !name.is_empty()).filter_map(|name| Some((*ino?, name.clone()))),
                );
            }
        }
        if names.is_empty() { (self.ino(world, true), self.name()) } else { self.rng.pick(&names).clone() }
    }

    /// A directory of this bucket that was seen.
    fn dir_in(&mut self, world: &World, bucket: BucketId) -> Ino {
        let dirs: Vec<Ino> = world.dirs_of(bucket).iter().filter_map(|(_, id)| world.inos.get(id).copied()).collect();
        if self.rng.chance(85) { *self.rng.pick(&dirs) } else { self.ino(world, true) }
    }

    /// The longest of some files: those have had parts and copies.
    fn long_file(&mut self, world: &World) -> Ino {
        let len = |ino: &Ino| {
            let id = world.ids[ino];
            world.nodes.get(&id).and_then(|_| world.file(id)).map_or(0, |file| file.data.len())
        };
        let some = [self.ino(world, false), self.ino(world, false), self.ino(world, false)];
        some.into_iter().max_by_key(len).expect("three")
    }

    pub fn key(&mut self) -> Bytes {
        let names = 1 + self.rng.below(3);
        let mut key = Vec::new();
        for at in 0..names {
            if at > 0 {
                key.push(b'/');
            }
            let odd = self.rng.chance(3);
            key.extend_from_slice(self.rng.pick(if odd { &ODD_NAMES[..] } else { &NAMES[..] }).as_bytes());
        }
        if self.rng.chance(15) {
            key.push(b'/');
        }
        if self.rng.below(500) == 0 {
            key = vec![b'k'; 1024 + self.rng.below(2) as usize];
        }
        key.into()
    }

    fn data(&mut self, len: u64) -> Bytes {
        (0..len).map(|_| self.rng.next() as u8).collect()
    }

    fn etag(&mut self) -> ETag {
        ETag::Md5([self.rng.below(4) as u8; 16])
    }

    fn md5(&mut self) -> [u8; 16] {
        [self.rng.below(3) as u8; 16]
    }

    fn xattrs(&mut self) -> Vec<Xattr> {
        let mut xattrs = Vec::new();
        for name in XATTRS {
            if self.rng.chance(20) {
                let len = self.rng.below(5);
                xattrs.push((Bytes::from_static(name.as_bytes()), self.data(len)));
            }
        }
        match self.rng.below(300) {
            0 => xattrs.push((Bytes::new(), Bytes::new())),
            1 => xattrs.push((Bytes::from(vec![b'x'; 256]), Bytes::new())),
            2 => xattrs.push((Bytes::from_static(b"user.big"), Bytes::from(vec![1; (64 << 10) + 1]))),
            3 => {
                let twice = (Bytes::from_static(b"user.twice"), Bytes::new());
                xattrs.extend([twice.clone(), twice]);
            }
            _ => {}
        }
        xattrs
    }

    fn precondition(&mut self, world: &World, bucket: BucketId, key: &[u8]) -> Precondition {
        let mut precondition = Precondition::default();
        if self.rng.chance(10) {
            precondition.if_match = Some(self.tags(world, bucket, key));
        }
        if self.rng.chance(10) {
            precondition.if_none_match = Some(self.tags(world, bucket, key));
        }
        precondition
    }

    fn tags(&mut self, world: &World, bucket: BucketId, key: &[u8]) -> TagMatch {
        if self.rng.chance(30) {
            return TagMatch::Any;
        }
        let mut tags = vec!["0".repeat(32)];
        if let Some(tag) = world.object(bucket, key).and_then(|id| world.tags.get(&id))
            && self.rng.chance(60)
        {
            tags.push(tag.clone());
        }
        TagMatch::Tags(tags)
    }

    /// A chunk that the session has just stored.
    fn chunk(&mut self, world: &mut World) -> ChunkRef {
        self.next += 1;
        let mut parts = ChunkIdParts {
            slot: Slot(self.rng.below(4) as u16),
            group: GROUP,
            session: world.session,
            epoch: WriterEpoch(self.epochs[world.session.0 as usize % 8]),
            seq: self.next,
        };
        match self.rng.below(400) {
            0 => parts.group = GroupId(4),
            1 => parts.session = SessionId(world.session.0 + 1),
            2 => parts.epoch = WriterEpoch(1),
            _ => {}
        }
        let len = 1 + self.rng.below(6);
        let data = self.data(len).to_vec();
        let chunk =
            ChunkRef { id: ChunkId::new(parts), len: len as u32, root: Blake3Root(*blake3::hash(&data).as_bytes()) };
        world.stored.insert(chunk.id, data);
        chunk
    }

    /// How far the next stamp lies from the group's time: mostly next to nothing, sometimes minutes, seldom days, or behind it.
    pub fn time_passes(&mut self) -> i64 {
        match self.rng.below(1000) {
            0..20 => self.rng.below(3000) as i64 * Timestamp::SECOND,
            20..24 => self.rng.below(3 * 86_400) as i64 * Timestamp::SECOND,
            24..26 => self.rng.below(3600) as i64 * -Timestamp::SECOND,
            _ => self.rng.below(20) as i64 - 5,
        }
    }

    /// Entries of the trash, most of which are there.
    fn trash_ids(&mut self, world: &World, bucket: BucketId) -> Vec<TrashId> {
        let known: Vec<TrashId> = world
            .trash
            .iter()
            .filter(|binned| binned.bucket == bucket)
            .filter_map(|binned| Some(TrashId { time: binned.time, ino: *world.inos.get(&binned.id)? }))
            .collect();
        let count = 1 + self.rng.below(6);
        let pick = |random: &mut Self| match known.is_empty() || random.rng.chance(10) {
            true => TrashId { time: world.now, ino: random.ino(world, false) },
            false => *random.rng.pick(&known),
        };
        (0..count).map(|_| pick(self)).collect()
    }

    fn trash_command(&mut self, world: &World) -> Command {
        let bucket = self.bucket();
        let entries = self.trash_ids(world, bucket);
        match self.rng.below(100) {
            0..50 => {
                let to = Bytes::from_static(self.rng.pick(&["", "", "", "", "r/", "r"]).as_bytes());
                let taken = *self.rng.pick(&[NameTaken::Refuse, NameTaken::KeepBoth, NameTaken::Replace]);
                Command::RestoreTrash { bucket, entries, to, taken }
            }
            50..62 => Command::PurgeTrash { bucket, entries },
            62..80 => {
                let off = (self.rng.below(200) as i64 - 100) * 3600 * Timestamp::SECOND;
                Command::ExpireTrash { bucket, entries, now: Timestamp(world.now.0 + off) }
            }
            80..88 => {
                let trash_window_secs = *self.rng.pick(&[3600, 86_400, 2 * 86_400, 365 * 86_400, 1]);
                let limit = DeleteLimit::Max(self.rng.below(60) as u32);
                let delete_limit = *self.rng.pick(&[DeleteLimit::Auto, DeleteLimit::Off, limit, limit]);
                Command::SetBucketOptions { bucket, options: BucketOptions { trash_window_secs, delete_limit } }
            }
            88..95 => Command::LiftBreaker { bucket },
            95..98 => Command::ReleaseHold,
            _ => Command::UnsealBucket { bucket },
        }
    }

    fn missing(&mut self) -> u8 {
        match self.rng.below(200) {
            0 => 3,
            1..10 => 1 << self.rng.below(4),
            10 => 9,
            _ => 0,
        }
    }

    /// A chunk for an extent: nearly always a new one.
    fn source(&mut self, world: &mut World) -> ChunkRef {
        match self.rng.below(60) {
            0 if !world.staged.is_empty() => {
                let staged: Vec<ChunkId> = world.staged.iter().copied().collect();
                world.known[self.rng.pick(&staged)]
            }
            1 if !world.known.is_empty() => {
                let mut known = world.known.iter();
                let at = self.rng.below(known.len() as u64) as usize;
                let mut chunk = *known.nth(at).expect("in range").1;
                if self.rng.chance(20) {
                    chunk.root.0[0] ^= 1;
                }
                chunk
            }
            _ => self.chunk(world),
        }
    }

    fn extents(&mut self, world: &mut World, count: u64, gaps: bool) -> Vec<NewExtent> {
        let mut at = if gaps && self.rng.chance(75) { self.rng.below(350) } else { 0 };
        let mut extents = Vec::new();
        for _ in 0..count {
            let chunk = self.source(world);
            let chunk_offset = if self.rng.chance(20) { self.rng.below(u64::from(chunk.len)) as u32 } else { 0 };
            let left = chunk.len - chunk_offset;
            let len = if self.rng.chance(20) { 1 + self.rng.below(u64::from(left)) as u32 } else { left };
            let extent = Extent { file_offset: at, chunk, chunk_offset, len };
            at = extent.end();
            if gaps && self.rng.chance(30) {
                at += self.rng.below(10);
            }
            let missing = self.missing();
            extents.push(NewExtent { extent, missing });
        }
        if let Some(last) = extents.last_mut() {
            match self.rng.below(250) {
                0 => last.extent.len += 100,
                1 => last.extent.file_offset = last.extent.file_offset.saturating_sub(1),
                _ => {}
            }
        }
        extents
    }

    fn content(&mut self, world: &mut World) -> NewContent {
        match self.rng.below(10) {
            0..5 => {
                let len = self.rng.below(12);
                NewContent::Inline(self.data(len))
            }
            5 if self.rng.chance(3) => NewContent::Inline(Bytes::from(vec![7; 4097])),
            _ => {
                let count = *self.rng.pick(&[0, 1, 1, 2, 3, 4, 5, 9, 20, 70, 80]);
                NewContent::Chunks(self.extents(world, count, false))
            }
        }
    }

    /// An inode the session has seen, of any kind, perhaps gone by now.
    fn ino(&mut self, world: &World, want_dir: bool) -> Ino {
        let want_dir = if self.rng.chance(3) { !want_dir } else { want_dir };
        let linked = self.rng.chance(90);
        for _ in 0..20 {
            let at = self.rng.below(world.inos.len() as u64) as usize;
            let (id, ino) = world.inos.iter().nth(at).expect("in range");
            let Some(node) = world.nodes.get(id) else {
                if self.rng.chance(3) {
                    return *ino;
                }
                continue;
            };
            let is_dir = matches!(node.kind, Kind::Dir(_));
            if is_dir == want_dir && (is_dir || !linked || world.links(*id) > 0) {
                return *ino;
            }
        }
        world.inos[&world.buckets[&BUCKETS[0]].root]
    }

    fn time(&mut self) -> Option<SetTime> {
        match self.rng.below(6) {
            0 => Some(SetTime::Now),
            1 => Some(SetTime::At(Timestamp(self.rng.below(1000) as i64 - 100))),
            _ => None,
        }
    }

    fn open_upload(&mut self, world: &World) -> (BucketId, Bytes, UploadId) {
        let open = world.uploads.len() as u64;
        if open == 0 || self.rng.chance(3) {
            return (self.bucket(), self.key(), UploadId([0xee; 16]));
        }
        let at = self.rng.below(open) as usize;
        let (id, upload) = world.uploads.iter().nth(at).expect("in range");
        let key = if self.rng.chance(2) { self.key() } else { upload.key.clone() };
        (upload.bucket, key, *id)
    }

    pub fn command(&mut self, world: &mut World) -> Command {
        if self.rng.chance(7) {
            return self.trash_command(world);
        }
        match self.rng.below(1000) {
            0..180 => {
                let (bucket, key) = (self.bucket(), self.key());
                let precondition = self.precondition(world, bucket, &key);
                let (content, etag, xattrs) = (self.content(world), self.etag(), self.xattrs());
                Command::PutObject { bucket, key, content, etag, xattrs, precondition }
            }
            180..230 => {
                let bucket = self.bucket();
                let keys: Vec<Bytes> = (0..1 + self.rng.below(3))
                    .map(|_| if self.rng.chance(20) { self.known_key(world, bucket) } else { self.key() })
                    .collect();
                let precondition = self.precondition(world, bucket, &keys[0]);
                Command::DeleteObjects { bucket, keys, precondition }
            }
            230..320 => self.copy(world),
            320..440 => self.upload_command(world),
            440..560 => {
                let kind = match self.rng.below(10) {
                    0..5 => FileKind::File,
                    5..8 => FileKind::Directory,
                    _ => FileKind::Symlink,
                };
                let content = match kind {
                    FileKind::File => self.content(world),
                    FileKind::Symlink => NewContent::Inline(self.data(3)),
                    FileKind::Directory => NewContent::Inline(Bytes::new()),
                };
                let content = if self.rng.chance(3) { self.content(world) } else { content };
                Command::Create {
                    parent: self.ino(world, true),
                    name: self.name(),
                    kind,
                    mode: self.rng.below(0o10010) as u32,
                    uid: self.rng.below(3) as u32,
                    gid: self.rng.below(3) as u32,
                    content,
                    exclusive: self.rng.chance(70),
                }
            }
            560..590 => {
                let ino = self.ino(world, false);
                let node = world.ids.get(&ino).and_then(|id| world.nodes.get(id));
                let bucket = node.map_or(BUCKETS[0], |node| node.bucket);
                Command::Link { ino, parent: self.dir_in(world, bucket), name: self.name() }
            }
            590..630 => {
                let (parent, name) = self.known_name(world, BUCKETS[0], false);
                Command::Unlink { parent, name }
            }
            630..670 => {
                let (parent, name) = self.known_name(world, BUCKETS[0], true);
                Command::Rmdir { parent, name }
            }
            670..770 => {
                let of_dir = self.rng.chance(50);
                let to_dir = if self.rng.chance(80) { of_dir } else { !of_dir };
                let (parent, name) = self.known_name(world, BUCKETS[0], of_dir);
                let (new_parent, new_name) = if self.rng.chance(60) {
                    self.known_name(world, BUCKETS[0], to_dir)
                } else {
                    (self.dir_in(world, BUCKETS[0]), self.name())
                };
                Command::Rename { parent, name, new_parent, new_name, no_replace: self.rng.chance(10) }
            }
            770..830 => Command::SetAttr {
                ino: if self.rng.chance(20) { self.ino(world, true) } else { self.long_file(world) },
                mode: self.rng.chance(20).then(|| self.rng.below(0o10010) as u32),
                uid: self.rng.chance(20).then(|| self.rng.below(3) as u32),
                gid: self.rng.chance(20).then(|| self.rng.below(3) as u32),
                size: self.rng.chance(60).then(|| self.rng.below(400)),
                atime: self.time(),
                mtime: self.time(),
            },
            830..920 => {
                let count = *self.rng.pick(&[0, 1, 1, 1, 2, 3, 8]);
                let inline_len = self.rng.below(10);
                Command::Write {
                    ino: self.long_file(world),
                    inline: self.rng.chance(10).then(|| self.data(inline_len)),
                    extents: self.extents(world, count, true),
                    append: self.rng.chance(30),
                }
            }
            920..950 => {
                let dir = self.rng.chance(30);
                let (name, len) = (Bytes::from_static(self.rng.pick(&XATTRS).as_bytes()), self.rng.below(5));
                Command::SetXattr {
                    ino: self.ino(world, dir),
                    name,
                    value: self.data(len),
                    mode: *self.rng.pick(&[SetXattrMode::Any, SetXattrMode::Create, SetXattrMode::Replace]),
                }
            }
            950..970 => {
                let dir = self.rng.chance(30);
                let name = Bytes::from_static(self.rng.pick(&XATTRS).as_bytes());
                Command::RemoveXattr { ino: self.ino(world, dir), name }
            }
            970..980 => {
                let chunks = (0..self.rng.below(4)).map(|_| (self.chunk(world), self.missing())).collect();
                Command::Stage { chunks }
            }
            980..985 => {
                let at = world.session.0 as usize % 8;
                let epoch = WriterEpoch(self.epochs[at]);
                self.epochs[at] += 1;
                Command::CloseEpoch { session: world.session, epoch }
            }
            985..995 => {
                let chunks = world.under.keys().copied().filter(|_| self.rng.chance(50)).collect();
                Command::ClearUnderReplicated { chunks }
            }
            995..998 => Command::EnsureBucket { bucket: self.bucket() },
            _ => Command::SealBucket { bucket: BUCKETS[1] },
        }
    }

    fn copy(&mut self, world: &World) -> Command {
        let source_bucket = self.bucket();
        let source_key = self.known_key(world, source_bucket);
        let (bucket, key) = (self.bucket(), self.key());
        Command::CopyObject {
            source_precondition: self.precondition(world, source_bucket, &source_key),
            precondition: self.precondition(world, bucket, &key),
            source_bucket,
            source_key,
            bucket,
            key,
            xattrs: self.rng.chance(40).then(|| self.xattrs()),
        }
    }

    fn upload_command(&mut self, world: &mut World) -> Command {
        let work = if world.uploads.len() < 4 { 0 } else { 3 };
        match work + self.rng.below(20 - work) {
            0..4 => {
                self.next += 1;
                let mut id = [0; 16];
                id[..4].copy_from_slice(&self.next.to_be_bytes());
                let upload = if self.rng.chance(5) { self.open_upload(world).2 } else { UploadId(id) };
                Command::CreateUpload { bucket: self.bucket(), key: self.key(), upload, xattrs: self.xattrs() }
            }
            4..14 => {
                let (bucket, key, upload) = self.open_upload(world);
                let content = if self.rng.chance(3) {
                    NewContent::Inline(self.data(3))
                } else {
                    let count = *self.rng.pick(&[0, 1, 1, 2, 3, 6, 30, 70]);
                    NewContent::Chunks(self.extents(world, count, false))
                };
                let part = if self.rng.chance(2) { 10_001 } else { self.rng.below(8) as u16 };
                Command::PutPart { bucket, key, upload, part, content, md5: self.md5(), xattrs: Vec::new() }
            }
            14..19 => {
                let (bucket, key, upload) = self.open_upload(world);
                let mut parts: Vec<(u16, [u8; 16])> = world
                    .uploads
                    .get(&upload)
                    .map_or(Vec::new(), |open| open.parts.iter().map(|(number, part)| (*number, part.md5)).collect());
                if self.rng.chance(30) {
                    parts.retain(|_| self.rng.chance(60));
                }
                match self.rng.below(30) {
                    0 => parts.reverse(),
                    1 => parts.push((9, [0; 16])),
                    2 => {
                        if let Some(part) = parts.first_mut() {
                            part.1 = [9; 16];
                        }
                    }
                    _ => {}
                }
                Command::CompleteUpload {
                    precondition: self.precondition(world, bucket, &key),
                    bucket,
                    key,
                    upload,
                    etag: ETag::Multipart(self.md5(), parts.len() as u16),
                    parts,
                    xattrs: self.xattrs(),
                    part_bytes_min: if self.rng.chance(10) { 5 } else { 0 },
                }
            }
            _ => {
                let (bucket, key, upload) = self.open_upload(world);
                Command::AbortUpload { bucket, key, upload }
            }
        }
    }
}
