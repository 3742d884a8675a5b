//! The first walk: every row decoded, and held against the rows it names.

use super::{ADVICE, Audited, SCAN_ROWS, damaged, report};
use crate::any_row::AnyRow;
use crate::bucket::Bucket;
use crate::chunk::Chunk;
use crate::content::{Body, Content};
use crate::dentry::Dentry;
use crate::group::Counters;
use crate::inode::{Directory, Inode, XattrSum};
use crate::invariants::Broken;
use crate::invariants::content::{PieceSum, agrees, chunk_tables, depth};
use crate::invariants::tree::{Entries, count, counters, entry, fragment, placed};
use crate::key::Table;
use crate::key::chunk::{ChunkKey, CondemnedKey, StagedKey};
use crate::key::dentry::DentryKey;
use crate::key::inode::InodeKey;
use crate::key::list::{ListKey, RunKey};
use crate::key::session::{AnswerKey, SessionKey};
use crate::key::trash::TrashKey;
use crate::key::upload::{PartKey, SweepKey, UploadIndexKey, UploadKey};
use crate::kv::{KvError, KvRead};
use crate::list::ListHeader;
use crate::piece::{Piece, Source};
use crate::row::{Key, decode};
use crate::upload::Upload;
use proto::meta::Usage;
use std::collections::BTreeMap;
use types::{BucketId, ChunkId, Findings, FragId, GroupId, Ino, ListId, SESSION_WINDOW, SessionId, UploadId};

/// A row that was looked up.
pub(super) enum Found<T> {
    Row(T),
    Nothing,
    /// It is there and cannot be read, which is reported when the walk comes by.
    Unreadable,
}

/// What the rows that stand together belong to, until the first row of something else.
enum Open {
    Directory(OpenDirectory),
    Inode(OpenInode),
    List(OpenList),
}

impl Open {
    fn owner(&self) -> (u8, u64) {
        match self {
            Open::Directory(open) => (Table::Dentry as u8, open.ino.0),
            Open::Inode(open) => (Table::Inode as u8, open.ino.0),
            Open::List(open) => (Table::List as u8, open.list.0),
        }
    }
}

struct OpenDirectory {
    ino: Ino,
    /// `None`: there is no such directory, which was said.
    is: Option<(BucketId, Directory)>,
    entries: Entries,
}

#[derive(Default)]
struct OpenInode {
    ino: Ino,
    inline: usize,
    xattrs: XattrSum,
    inode: Option<Inode>,
}

struct OpenList {
    list: ListId,
    header: Option<ListHeader>,
    sum: PieceSum,
    /// Depth of the deepest list that a window shows.
    below: u8,
    runs: bool,
}

pub(super) struct Walk<'a> {
    kv: &'a dyn KvRead,
    group: GroupId,
    findings: &'a mut Findings,
    pub(super) audited: Audited,
    pub(super) counters: Counters,
    pub(super) buckets: BTreeMap<BucketId, Bucket>,
    usage: BTreeMap<BucketId, Usage>,
    open: Option<Open>,
    uploads: u64,
    indexed: u64,
    sweeps: u64,
    condemned: u64,
    /// Sessions that have a window.
    sessions: Vec<SessionId>,
    ended: Vec<(SessionId, SessionId)>,
    /// Table and number of what a damaged row belongs to: the rows that stand round it are not complete.
    doubt: Option<(u8, u64)>,
}

/// Table and number of the directory, inode or list that a row belongs to.
fn owner(key: &[u8]) -> Option<(u8, u64)> {
    let (table, rest) = key.split_first()?;
    Some((*table, u64::from_be_bytes(*rest.first_chunk()?)))
}

impl<'a> Walk<'a> {
    pub(super) fn new(kv: &'a dyn KvRead, group: GroupId, findings: &'a mut Findings) -> Self {
        Walk {
            kv,
            group,
            findings,
            audited: Audited::default(),
            counters: Counters::default(),
            buckets: BTreeMap::new(),
            usage: BTreeMap::new(),
            open: None,
            uploads: 0,
            indexed: 0,
            sweeps: 0,
            condemned: 0,
            sessions: Vec::new(),
            ended: Vec::new(),
            doubt: None,
        }
    }

    /// Takes the next row.
    pub(super) fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.audited.rows += 1;
        match AnyRow::decode(key, value) {
            Some(row) => self.take(row),
            None => {
                self.audited.damaged += 1;
                damaged(self.findings, self.group, key);
                self.doubt = owner(key);
                Ok(())
            }
        }
    }

    fn take(&mut self, row: AnyRow) -> Result<(), KvError> {
        match row {
            AnyRow::Group(counters) => self.counters = counters,
            AnyRow::Bucket(id, bucket) => drop(self.buckets.insert(id, bucket)),
            AnyRow::Dentry(key, dentry) => return self.dentry(&key, &dentry),
            AnyRow::Inode(ino, inode) => {
                self.audited.inodes += 1;
                self.inode(ino)?.inode = Some(inode);
            }
            AnyRow::Inline(ino, bytes) => self.inode(ino)?.inline = bytes,
            AnyRow::Xattr(ino, bytes) => {
                let sum = &mut self.inode(ino)?.xattrs;
                sum.count += 1;
                sum.bytes += bytes as u32;
            }
            AnyRow::List(list, header) => {
                self.audited.lists += 1;
                self.list(list)?.header = Some(header);
            }
            AnyRow::Run(list, pieces) => return self.run(list, &pieces),
            other => {
                self.close()?;
                return self.single(other);
            }
        }
        Ok(())
    }

    /// A row that belongs to nothing that stands around it.
    fn single(&mut self, row: AnyRow) -> Result<(), KvError> {
        match row {
            AnyRow::Chunk(id, chunk) => self.chunk(id, &chunk)?,
            AnyRow::UnderReplicated(id, missing) => {
                self.unless("state-chunk", missing != 0, || format!("{id}: lacks no copy"));
                self.known(id)?;
            }
            AnyRow::Staged(session, id) => {
                self.unless("state-chunk", id.session() == session, || format!("{id} is staged by {session}"));
                self.known(id)?;
            }
            AnyRow::Condemned(id) => {
                self.condemned += 1;
                self.known(id)?;
            }
            AnyRow::Upload(id, upload) => self.upload(id, &upload)?,
            AnyRow::UploadIndex(index, _) => {
                self.indexed += 1;
                let known = !matches!(self.read(&UploadKey(index.upload))?, Found::Nothing);
                self.unless("state-upload", known, || format!("upload {} is in the index, and gone", index.upload));
            }
            AnyRow::Part(PartKey { upload, .. }, _) => {
                let gone = matches!(self.read(&UploadKey(upload))?, Found::Nothing)
                    && matches!(self.read(&SweepKey(upload))?, Found::Nothing);
                self.unless("state-upload", !gone, || format!("parts of upload {upload}, which is gone"));
            }
            AnyRow::Sweep(..) => self.sweeps += 1,
            AnyRow::Trash(key) => self.trash(&key)?,
            AnyRow::Garbage(row) => self.audited.garbage += row.items.len() as u64,
            AnyRow::Session(session, _) => self.sessions.push(session),
            AnyRow::Answer(key) => self.answer(&key)?,
            AnyRow::Ended(first, last) => self.ended.push((first, last)),
            AnyRow::Record(key, record) => self.record(&key, &record)?,
            AnyRow::RecordIndex(index, revision) => self.record_index(&index, revision)?,
            AnyRow::ClosedEpoch(..) => {}
            AnyRow::Group(_)
            | AnyRow::Bucket(..)
            | AnyRow::Dentry(..)
            | AnyRow::Inode(..)
            | AnyRow::Inline(..)
            | AnyRow::Xattr(..)
            | AnyRow::List(..)
            | AnyRow::Run(..) => {}
        }
        Ok(())
    }

    pub(super) fn read<K: Key>(&self, key: &K) -> Result<Found<K::Value>, KvError> {
        let key = key.encode();
        Ok(match self.kv.get(&key)?.map(|value| decode::<K>(&key, &value)) {
            Some(Ok(row)) => Found::Row(row),
            Some(Err(_)) => Found::Unreadable,
            None => Found::Nothing,
        })
    }

    fn unless(&mut self, code: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.findings.damage(code, self.group, what(), ADVICE);
        }
    }

    pub(super) fn report(&mut self, code: &'static str, broken: Broken) {
        report(self.findings, self.group, code, broken);
    }

    /// The inode whose rows are going by.
    fn inode(&mut self, ino: Ino) -> Result<&mut OpenInode, KvError> {
        if !matches!(&self.open, Some(Open::Inode(open)) if open.ino == ino) {
            self.close()?;
        }
        let open = self.open.get_or_insert_with(|| Open::Inode(OpenInode { ino, ..OpenInode::default() }));
        let Open::Inode(open) = open else { unreachable!("it is an inode, or was closed above") };
        Ok(open)
    }

    /// The list whose rows are going by.
    fn list(&mut self, list: ListId) -> Result<&mut OpenList, KvError> {
        if !matches!(&self.open, Some(Open::List(open)) if open.list == list) {
            self.close()?;
        }
        let open = self.open.get_or_insert_with(|| {
            Open::List(OpenList { list, header: None, sum: PieceSum::default(), below: 0, runs: false })
        });
        let Open::List(open) = open else { unreachable!("it is a list, or was closed above") };
        Ok(open)
    }

    /// The directory whose entries are going by.
    fn directory(&mut self, frag: FragId) -> Result<OpenDirectory, KvError> {
        // A fragment is numbered as its directory.
        let ino = Ino(frag.0);
        match self.open.take() {
            Some(Open::Directory(open)) if open.ino == ino => return Ok(open),
            other => self.open = other,
        }
        self.close()?;
        let found = self.read(&InodeKey(ino))?;
        let readable = !matches!(found, Found::Unreadable);
        let is = match found {
            Found::Row(inode) => match inode.directory() {
                Ok(directory) if directory.frag() == frag => Some((inode.bucket, directory.clone())),
                _ => None,
            },
            Found::Nothing | Found::Unreadable => None,
        };
        self.unless("state-dentry", is.is_some() || !readable, || format!("{frag} belongs to no directory"));
        Ok(OpenDirectory { ino, is, entries: Entries::default() })
    }

    fn dentry(&mut self, key: &DentryKey, dentry: &Dentry) -> Result<(), KvError> {
        let mut open = self.directory(key.frag)?;
        open.entries.add(key);
        if let Some((bucket, _)) = open.is {
            let inode = match self.read(&InodeKey(dentry.ino))? {
                Found::Row(inode) => Some(Some(inode)),
                Found::Nothing => Some(None),
                Found::Unreadable => None,
            };
            if let Some(inode) = inode {
                let mut broken = Broken::default();
                entry(open.ino, bucket, key, dentry, inode.as_ref(), &mut broken);
                self.report("state-dentry", broken);
            }
        }
        self.open = Some(Open::Directory(open));
        Ok(())
    }

    fn run(&mut self, list: ListId, pieces: &[Piece]) -> Result<(), KvError> {
        let mut below = 0;
        for piece in pieces {
            if let Source::List { list, .. } = piece.source
                && let Found::Row(header) = self.read(&ListKey(list))?
            {
                below = below.max(header.depth);
            }
        }
        let open = self.list(list)?;
        open.runs = true;
        open.sum.add(pieces);
        open.below = open.below.max(below);
        Ok(())
    }

    /// All rows of what was open have gone by.
    fn close(&mut self) -> Result<(), KvError> {
        let mut broken = Broken::default();
        let Some(open) = self.open.take() else { return Ok(()) };
        if self.doubt.is_some_and(|doubt| doubt == open.owner()) {
            return Ok(());
        }
        let code = match open {
            Open::Directory(open) => {
                if let Some((_, directory)) = open.is {
                    counters(open.ino, &directory, open.entries, &mut broken);
                }
                "state-directory"
            }
            Open::Inode(open) => {
                self.close_inode(&open, &mut broken)?;
                "state-inode"
            }
            Open::List(open) => {
                let list = open.list;
                broken.unless(!open.sum.overlap, || format!("{list}: pieces overlap"));
                broken.unless(list.0 <= self.counters.list, || format!("{list}: not handed out"));
                match open.header {
                    Some(header) => depth(list, header.depth, open.below, &mut broken),
                    None => broken.unless(!open.runs, || format!("{list}: runs without a header")),
                }
                "state-list"
            }
        };
        self.report(code, broken);
        Ok(())
    }

    fn close_inode(&mut self, open: &OpenInode, broken: &mut Broken) -> Result<(), KvError> {
        let ino = open.ino;
        let Some(inode) = &open.inode else {
            broken.0.push(format!("{ino} is gone, its data is not"));
            return Ok(());
        };
        let sum = open.xattrs;
        broken.unless(sum == inode.xattrs, || format!("{ino}: {sum:?}, {:?} counted", inode.xattrs));
        let ours = ino.group() == self.group && ino.counter() <= self.counters.ino;
        broken.unless(ours, || format!("{ino}: not ours"));
        count(&mut self.usage, inode);
        if let Ok(directory) = inode.directory() {
            fragment(ino, directory, broken);
            // One with entries was held against them when they went by.
            let frag = directory.frag();
            let rows = self.kv.scan(&DentryKey::lower(frag, b""), &DentryKey::upper(frag), 1)?;
            if rows.is_empty() {
                counters(ino, directory, Entries::default(), broken);
            }
            return Ok(());
        }
        placed(ino, inode, broken);
        if let Some(content) = inode.content() {
            let mut contradictions = Broken::default();
            self.content(ino, content, open.inline, &mut contradictions)?;
            self.report("state-content", contradictions);
        }
        Ok(())
    }

    fn content(&mut self, ino: Ino, content: &Content, inline: usize, broken: &mut Broken) -> Result<(), KvError> {
        let mut sum = PieceSum::default();
        match &content.body {
            Body::Direct(pieces) => sum.add(pieces),
            Body::List(list) => {
                let (mut from, upper) = (RunKey { list: *list, end: 0 }.encode(), RunKey::upper(*list));
                loop {
                    let rows = self.kv.scan(&from, &upper, SCAN_ROWS)?;
                    for (key, value) in &rows {
                        match AnyRow::decode(key, value) {
                            Some(AnyRow::Run(_, pieces)) => sum.add(&pieces),
                            // Reported when the walk comes by; nothing can be said of this content.
                            _ => return Ok(()),
                        }
                    }
                    match rows.last() {
                        Some((last, _)) if rows.len() == SCAN_ROWS => from = [last, &[0][..]].concat(),
                        _ => break,
                    }
                }
            }
        }
        agrees(ino, content, inline, &sum, broken);
        Ok(())
    }

    fn chunk(&mut self, id: ChunkId, chunk: &Chunk) -> Result<(), KvError> {
        self.audited.chunks += 1;
        let staged = !matches!(self.read(&StagedKey { session: id.session(), chunk: id })?, Found::Nothing);
        let condemned = !matches!(self.read(&CondemnedKey(id))?, Found::Nothing);
        let mut broken = Broken::default();
        chunk_tables(id, chunk, staged, condemned, &mut broken);
        self.report("state-chunk", broken);
        Ok(())
    }

    /// A chunk that is named must have a row.
    fn known(&mut self, id: ChunkId) -> Result<(), KvError> {
        let known = !matches!(self.read(&ChunkKey(id))?, Found::Nothing);
        self.unless("state-chunk", known, || format!("{id} is referred to, but not known"));
        Ok(())
    }

    fn upload(&mut self, id: UploadId, upload: &Upload) -> Result<(), KvError> {
        self.uploads += 1;
        let index = UploadIndexKey { bucket: upload.bucket, key: upload.key.to_vec(), upload: id };
        let indexed = match self.read(&index)? {
            Found::Row(begun) => begun == upload.begun,
            Found::Nothing => false,
            Found::Unreadable => true,
        };
        self.unless("state-upload", indexed, || format!("upload {id} is not in the index"));
        let over = !matches!(self.read(&SweepKey(id))?, Found::Nothing);
        self.unless("state-upload", !over, || format!("upload {id} is open and over"));
        Ok(())
    }

    fn trash(&mut self, key: &TrashKey) -> Result<(), KvError> {
        let ino = key.ino;
        match self.read(&InodeKey(ino))? {
            Found::Row(inode) => {
                let here = key.bucket == inode.bucket && key.time <= self.counters.time;
                let what = || format!("{ino}: in the trash of another bucket, or of a time to come");
                self.unless("state-trash", here, what);
            }
            Found::Nothing => self.unless("state-trash", false, || format!("{ino} is in the trash, but gone")),
            Found::Unreadable => {}
        }
        Ok(())
    }

    fn answer(&mut self, key: &AnswerKey) -> Result<(), KvError> {
        let AnswerKey { session, seq } = *key;
        if let Found::Row(window) = self.read(&SessionKey(session))? {
            let inside = seq >= window.low && seq - window.low < SESSION_WINDOW;
            self.unless("state-session", inside, || format!("{session}: answers outside its window"));
        }
        Ok(())
    }

    /// All rows have gone by.
    pub(super) fn end(mut self) -> Result<Audited, KvError> {
        self.close()?;
        self.sessions_end();
        if self.audited.damaged == 0 {
            self.sums();
        }
        Ok(self.audited)
    }

    /// Runs of ended sessions lie above the floor and apart, and an ended session has no window.
    fn sessions_end(&mut self) {
        let mut broken = Broken::default();
        let mut below = self.counters.session_floor;
        for (first, last) in &self.ended {
            broken.unless(first <= last && *first > below, || {
                format!("{first}..={last} are over, and all below {below}")
            });
            below = SessionId(last.0.saturating_add(1));
        }
        for session in &self.sessions {
            let run = self.ended.partition_point(|(_, last)| last < session);
            let in_run = self.ended.get(run).is_some_and(|(first, _)| first <= session);
            let over = *session < self.counters.session_floor || in_run;
            broken.unless(!over, || format!("{session} is over and has a window"));
        }
        self.report("state-session", broken);
    }

    fn sums(&mut self) {
        let mut broken = Broken::default();
        let counters = &self.counters;
        let sums = [
            ("sweeps", self.sweeps, counters.sweeps),
            ("garbage", self.audited.garbage, counters.garbage_items),
            ("condemned", self.condemned, counters.condemned),
            ("uploads in the index", self.indexed, self.uploads),
        ];
        for (what, found, counted) in sums {
            broken.unless(found == counted, || format!("{found} {what}, {counted} counted"));
        }
        let (leap, time) = (counters.leap, counters.time);
        broken.unless(leap <= time, || format!("a leap to {leap:?}, but it is {time:?}"));
        for (id, bucket) in &self.buckets {
            let used = self.usage.get(id).copied().unwrap_or_default();
            broken.unless(used == bucket.usage(), || format!("{id}: {used:?}, {:?} counted", bucket.usage()));
        }
        self.report("state-sum", broken);
    }
}
