//! The model's trash and its breaker, as plain lists.

use crate::world::{Expected, File, Id, Kind, World};
use bytes::Bytes;
use proto::meta::{Command, Refusal};
use proto::object::{ETag, FileKind, NewExtent};
use proto::trash::{
    BucketOptions, BucketStatus, DeleteLimit, NameTaken, Purged, Restored, TrashEntry, TrashId, TrashReason,
};
use types::{BucketId, Ino, SessionId, Timestamp};

const MINUTE: i64 = 60 * Timestamp::SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A file without a name.
#[derive(Clone)]
pub struct Binned {
    pub bucket: BucketId,
    pub time: Timestamp,
    pub id: Id,
    pub path: Vec<u8>,
    pub session: SessionId,
    pub reason: TrashReason,
    pub scratch: bool,
}

/// What is watched of a bucket.
#[derive(Clone, Default)]
pub struct Watch {
    pub options: BucketOptions,
    /// When something was deleted, since the breaker was last open or lifted.
    pub deletions: Vec<Timestamp>,
    pub open_until: Option<Timestamp>,
}

fn later(time: Timestamp, by: i64) -> Timestamp {
    Timestamp(time.0.saturating_add(by))
}

impl Watch {
    fn open(&self, now: Timestamp) -> Option<Timestamp> {
        self.open_until.filter(|until| *until > now)
    }

    /// The running minute and the nine before it.
    fn counted(&self, now: Timestamp) -> u32 {
        let minute = |time: Timestamp| time.0.div_euclid(MINUTE);
        self.deletions.iter().filter(|time| minute(**time) > minute(now) - 10).count() as u32
    }

    fn limit(&self, files: u64, now: Timestamp) -> Option<u32> {
        match self.options.delete_limit {
            DeleteLimit::Off => None,
            DeleteLimit::Max(max) => Some(max),
            DeleteLimit::Auto => Some(10_000.max((files as u32 + self.counted(now)) / 10)),
        }
    }
}

impl World {
    /// Whether a breaker that is open may refuse what comes.
    pub fn breaker_may_refuse(&self) -> bool {
        self.watched.values().any(|watch| watch.open(self.now).is_some())
    }

    fn by_mount(reason: TrashReason) -> bool {
        matches!(reason, TrashReason::Unlinked | TrashReason::RenamedOver | TrashReason::Truncated)
    }

    fn is_scratch(&self, author: SessionId, begun: Timestamp, reason: TrashReason) -> bool {
        Self::by_mount(reason) && author == self.session && self.now <= later(begun, 10 * MINUTE)
    }

    fn check_breaker(&self, bucket: BucketId) -> Result<(), Refusal> {
        let watch = &self.watched[&bucket];
        match watch.open(self.now) {
            Some(_) if watch.options.delete_limit != DeleteLimit::Off => Err(Refusal::BreakerOpen),
            _ => Ok(()),
        }
    }

    fn count_deletion(&mut self, bucket: BucketId) {
        let now = self.now;
        let files = self.usage(bucket).files;
        let watch = self.watched.get_mut(&bucket).expect("a bucket");
        watch.deletions.push(now);
        if watch.limit(files, now).is_some_and(|max| watch.counted(now) >= max) {
            watch.deletions.clear();
            watch.open_until = Some(later(now, 10 * MINUTE));
        }
    }

    /// The path of a directory, with a `/` at its end unless it is the root.
    fn path_of(&self, bucket: BucketId, dir: Id) -> Vec<u8> {
        self.dirs_of(bucket).into_iter().find(|(_, id)| *id == dir).expect("it hangs in the tree").0
    }

    /// Takes a name away; the last one leads to the trash.
    pub fn remove_name(&mut self, dir: Id, name: &Bytes, reason: TrashReason) -> Result<(), Refusal> {
        let id = self.dir(dir).files[name];
        let node = &self.nodes[&id];
        let bucket = node.bucket;
        let last = self.links(id) == 1;
        let scratch = self.is_scratch(node.creator, node.crtime, reason);
        let counts = last && !scratch && reason != TrashReason::Replaced;
        if counts {
            self.check_breaker(bucket)?;
        }
        let path = [self.path_of(bucket, dir), name.to_vec()].concat();
        self.dir_mut(dir).files.remove(name).expect("the name is there");
        self.nodes.get_mut(&id).expect("node").ctime = self.now;
        if last {
            let (time, session) = (self.now, self.session);
            self.trash.push(Binned { bucket, time, id, path, session, reason, scratch });
        }
        if counts {
            self.count_deletion(bucket);
        }
        Ok(())
    }

    /// Whether new content that leaves nothing of the old one sends that to the trash.
    pub fn judge_replaced(&self, id: Id) -> Result<bool, Refusal> {
        let node = &self.nodes[&id];
        let scratch = self.is_scratch(node.author, node.begun, TrashReason::Truncated);
        let kept = !self.file(id).expect("a file").data.is_empty() && self.links(id) > 0 && !scratch;
        if kept {
            self.check_breaker(node.bucket)?;
        }
        Ok(kept)
    }

    /// The content of a file is about to be replaced; it goes to the trash if it is `kept`.
    pub fn replaced(&mut self, id: Id, kept: bool) {
        let (now, session) = (self.now, self.session);
        if kept {
            let path = self.only_path(id).unwrap_or_else(|| {
                let ino = self.inos[&id];
                format!("lost+found/{}.{}", ino.group().0, ino.counter()).into_bytes()
            });
            let copy = self.nodes[&id].clone();
            let bucket = copy.bucket;
            let copied = self.insert(copy);
            let reason = TrashReason::Truncated;
            self.trash.push(Binned { bucket, time: now, id: copied, path, session, reason, scratch: false });
            let node = self.nodes.get_mut(&id).expect("there");
            node.kind = Kind::File(File::new(Vec::new(), ETag::Posix, false));
            self.count_deletion(bucket);
        }
        let node = self.nodes.get_mut(&id).expect("there");
        (node.begun, node.author) = (now, session);
    }

    /// The path of a file that knows it: it has one name, and had no other since it got that.
    fn only_path(&self, id: Id) -> Option<Vec<u8>> {
        let node = &self.nodes[&id];
        if !node.knows_its_name {
            return None;
        }
        self.objects(node.bucket).into_iter().find(|(_, other)| *other == id).map(|(path, _)| path)
    }

    fn position(&self, bucket: BucketId, entry: TrashId) -> Option<usize> {
        let is = |binned: &Binned| {
            (binned.bucket, binned.time) == (bucket, entry.time) && self.inos.get(&binned.id) == Some(&entry.ino)
        };
        self.trash.iter().position(is)
    }

    pub fn due(&self, binned: &Binned) -> Timestamp {
        let window = self.watched[&binned.bucket].options.trash_window_secs as i64 * Timestamp::SECOND;
        let kept = if binned.scratch { DAY } else { window.max(DAY) };
        later(binned.time.max(self.leap), kept)
    }

    pub fn apply_trash(&mut self, command: &Command) -> Result<Expected, Refusal> {
        match command {
            Command::RestoreTrash { bucket, entries, to, taken } => {
                self.usable(*bucket)?;
                let restored = entries.iter().map(|entry| self.restore(*bucket, *entry, to, *taken)).collect();
                Ok(Expected::Restored(restored))
            }
            Command::PurgeTrash { bucket, entries } => self.release(*bucket, entries, |_, _| true),
            Command::ExpireTrash { bucket, entries, now } => {
                let now = self.now.min(*now);
                self.release(*bucket, entries, |world, binned| world.due(binned) <= now)
            }
            Command::SetBucketOptions { bucket, options } => {
                let watch = self.watched.get_mut(bucket).ok_or(Refusal::NoSuchBucket)?;
                let window = options.trash_window_secs;
                if !(3600..=365 * 86_400).contains(&window) || options.delete_limit == DeleteLimit::Max(0) {
                    return Err(Refusal::Invalid);
                }
                watch.options = *options;
                Ok(Expected::Done)
            }
            Command::LiftBreaker { bucket } => {
                let watch = self.watched.get_mut(bucket).ok_or(Refusal::NoSuchBucket)?;
                watch.deletions.clear();
                watch.open_until = None;
                Ok(Expected::Done)
            }
            Command::UnsealBucket { bucket } => {
                self.buckets.get_mut(bucket).ok_or(Refusal::NoSuchBucket)?.sealed = false;
                Ok(Expected::Done)
            }
            other => panic!("no command of the trash: {other:?}"),
        }
    }

    fn restore(&mut self, bucket: BucketId, entry: TrashId, to: &[u8], taken: NameTaken) -> Result<Restored, Refusal> {
        let Some(at) = self.position(bucket, entry) else {
            let id = self.ids.get(&entry.ino).filter(|id| self.nodes.contains_key(id));
            let back =
                id.is_some_and(|id| self.nodes[id].bucket == bucket && self.file(*id).is_some() && self.links(*id) > 0);
            return if back { Ok(Restored::Already) } else { Err(Refusal::NotFound) };
        };
        let Binned { id, path, reason, .. } = self.trash[at].clone();
        let path = [to, &path].concat();
        let mut beside = 0;
        let mut key = path.clone();
        while self.object(bucket, &key).is_some() {
            match taken {
                NameTaken::Refuse => return Err(Refusal::Exists),
                NameTaken::Replace => break,
                NameTaken::KeepBoth => {
                    beside += 1;
                    key = [&path[..], format!(".restored-{beside}").as_bytes()].concat();
                }
            }
        }
        let node = &self.nodes[&id];
        let owner = Self::by_mount(reason).then_some((node.uid, node.gid));
        self.trash.remove(at);
        let root = self.buckets[&bucket].root;
        self.place(root, &key, id, TrashReason::Replaced, owner).expect("a restore is never refused here");
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("there");
        node.ctime = now;
        node.knows_its_name = true;
        Ok(if beside == 0 { Restored::Named } else { Restored::Beside(beside) })
    }

    fn release(
        &mut self,
        bucket: BucketId,
        entries: &[TrashId],
        may: impl Fn(&Self, &Binned) -> bool,
    ) -> Result<Expected, Refusal> {
        if !self.buckets.contains_key(&bucket) {
            return Err(Refusal::NoSuchBucket);
        }
        let mut purged = Purged::default();
        for entry in entries {
            let Some(at) = self.position(bucket, *entry).filter(|at| may(self, &self.trash[*at])) else { continue };
            let binned = self.trash.remove(at);
            purged.files += 1;
            purged.bytes += self.file(binned.id).expect("a file").data.len() as u64;
            self.nodes.remove(&binned.id);
        }
        Ok(Expected::Purged(purged))
    }

    pub fn status(&self, bucket: BucketId) -> BucketStatus {
        let watch = &self.watched[&bucket];
        let usage = self.usage(bucket);
        BucketStatus {
            sealed: self.buckets[&bucket].sealed,
            options: watch.options,
            usage,
            deletes: watch.counted(self.now),
            deletes_max: watch.limit(usage.files, self.now),
            open_until: watch.open(self.now),
            time: self.now,
        }
    }

    /// How an entry should be listed.
    pub fn listed(&self, binned: &Binned, ino: Ino) -> TrashEntry {
        let node = &self.nodes[&binned.id];
        TrashEntry {
            id: TrashId { time: binned.time, ino },
            path: binned.path.clone().into(),
            kind: if self.is_symlink(binned.id) { FileKind::Symlink } else { FileKind::File },
            size: self.file(binned.id).expect("a file").data.len() as u64,
            mtime: node.mtime,
            session: binned.session,
            reason: binned.reason,
            scratch: binned.scratch,
            due: self.due(binned),
        }
    }

    /// Whether a write leaves nothing of what is there.
    pub fn replaces_all(&self, id: Id, inline: Option<&Bytes>, extents: &[NewExtent], append: bool) -> bool {
        let file = self.file(id).expect("a file");
        match inline {
            Some(data) => {
                let plain = file.laid.is_empty() && file.inline == file.data.len();
                !plain || !data.starts_with(&file.data)
            }
            None => {
                let mut at = 0;
                let gapless = extents.iter().all(|new| {
                    let fits = new.extent.file_offset == at;
                    at += u64::from(new.extent.len);
                    fits
                });
                !append && gapless && at >= file.data.len() as u64
            }
        }
    }
}
