//! The further walks: names and references counted again, for those ids that fall into one part of all.

use super::{ADVICE, report};
use crate::any_row::AnyRow;
use crate::chunk::State;
use crate::content::Body;
use crate::garbage::Garbage;
use crate::inode::{Inode, What};
use crate::invariants::Broken;
use crate::invariants::content::{chunk_references, list_references};
use crate::invariants::tree::{dir_names, file_names};
use crate::key::upload::SweepKey;
use crate::kv::{KvError, KvRead};
use crate::piece::{Piece, Source};
use crate::row;
use crate::upload::Sweep;
use std::collections::BTreeMap;
use types::{BucketId, ChunkId, Findings, GroupId, Ino, ListId, UploadId};

/// What was found of an inode.
#[derive(Default)]
struct InodeTally {
    names: u32,
    trash: u32,
    row: Option<InodeRow>,
}

/// What an inode's own row says.
#[derive(Clone, Copy)]
enum InodeRow {
    File { nlink: u32 },
    Directory { root: bool, placed: bool },
}

/// What was found of a list or a chunk, and what its own row says.
struct Referred<T> {
    counted: u64,
    garbage: bool,
    row: Option<T>,
}

impl<T> Default for Referred<T> {
    fn default() -> Self {
        Referred { counted: 0, garbage: false, row: None }
    }
}

pub(super) struct Tally<'a> {
    kv: &'a dyn KvRead,
    part: u64,
    parts: u64,
    roots: BTreeMap<BucketId, Ino>,
    inodes: BTreeMap<Ino, InodeTally>,
    lists: BTreeMap<ListId, Referred<u64>>,
    chunks: BTreeMap<ChunkId, Referred<(u64, State)>>,
    /// The upload whose parts are going by.
    sweep: Option<(UploadId, Option<Sweep>)>,
}

impl<'a> Tally<'a> {
    /// Counts for those ids of which the mixed bits are `part` modulo `parts`.
    pub(super) fn new(kv: &'a dyn KvRead, part: u64, parts: u64) -> Result<Self, KvError> {
        let (roots, inodes) = (BTreeMap::new(), BTreeMap::new());
        Ok(Tally { kv, part, parts, roots, inodes, lists: BTreeMap::new(), chunks: BTreeMap::new(), sweep: None })
    }

    /// Takes the next row.
    pub(super) fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        match AnyRow::decode(key, value) {
            Some(AnyRow::Bucket(id, bucket)) => drop(self.roots.insert(id, bucket.root)),
            Some(AnyRow::Dentry(_, dentry)) => {
                if let Some(tally) = self.inode(dentry.ino) {
                    tally.names += 1;
                }
            }
            Some(AnyRow::Inode(ino, inode)) => self.take_inode(ino, &inode),
            Some(AnyRow::List(list, header)) => {
                if let Some(tally) = self.list(list) {
                    tally.row = Some(header.refs);
                }
            }
            Some(AnyRow::Run(_, pieces)) => pieces.iter().for_each(|piece| self.piece(piece)),
            Some(AnyRow::Chunk(id, chunk)) => {
                if let Some(tally) = self.chunk(id) {
                    tally.row = Some((chunk.refs, chunk.state));
                }
            }
            Some(AnyRow::Part(key, part)) => {
                if let Some(list) = part.list
                    && !self.took(key.upload, key.part)?
                {
                    self.refer(list);
                }
            }
            Some(AnyRow::Trash(key)) => {
                if let Some(tally) = self.inode(key.ino) {
                    tally.trash += 1;
                }
            }
            Some(AnyRow::Garbage(row)) => row.items.iter().for_each(|item| self.garbage(item)),
            _ => {}
        }
        Ok(())
    }

    /// Whether an id is one of this part. The bits are mixed, since ids that are handed out in order would fall together.
    fn is_mine(&self, id: u64) -> bool {
        (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % self.parts == self.part
    }

    fn inode(&mut self, ino: Ino) -> Option<&mut InodeTally> {
        self.is_mine(ino.0).then(|| self.inodes.entry(ino).or_default())
    }

    fn list(&mut self, list: ListId) -> Option<&mut Referred<u64>> {
        self.is_mine(list.0).then(|| self.lists.entry(list).or_default())
    }

    fn chunk(&mut self, id: ChunkId) -> Option<&mut Referred<(u64, State)>> {
        self.is_mine((id.0 >> 64) as u64 ^ id.0 as u64).then(|| self.chunks.entry(id).or_default())
    }

    fn take_inode(&mut self, ino: Ino, inode: &Inode) {
        match &inode.what {
            What::File(content) | What::Symlink(content) => {
                match &content.body {
                    Body::Direct(pieces) => pieces.iter().for_each(|piece| self.piece(piece)),
                    Body::List(list) => self.refer(*list),
                }
                if let Some(tally) = self.inode(ino) {
                    tally.row = Some(InodeRow::File { nlink: inode.nlink });
                }
            }
            What::Directory(_) => {
                let root = self.roots.get(&inode.bucket) == Some(&ino);
                if let Some(tally) = self.inode(ino) {
                    tally.row = Some(InodeRow::Directory { root, placed: inode.parent.is_some() });
                }
            }
        }
    }

    fn piece(&mut self, piece: &Piece) {
        match piece.source {
            Source::Chunk { chunk, .. } => {
                if let Some(tally) = self.chunk(chunk.id) {
                    tally.counted += 1;
                }
            }
            Source::List { list, .. } => self.refer(list),
        }
    }

    fn refer(&mut self, list: ListId) {
        if let Some(tally) = self.list(list) {
            tally.counted += 1;
        }
    }

    fn garbage(&mut self, item: &Garbage) {
        match item {
            Garbage::Chunk(id) => {
                // One that was collected before and is forgotten may still be named.
                if let Some(tally) = self.chunk(*id) {
                    tally.garbage = true;
                }
            }
            Garbage::List(list) => {
                if let Some(tally) = self.list(*list) {
                    tally.garbage = true;
                }
            }
        }
    }

    /// Whether the object that an upload became took over this part's list.
    fn took(&mut self, upload: UploadId, part: u16) -> Result<bool, KvError> {
        if self.sweep.as_ref().is_none_or(|(of, _)| *of != upload) {
            self.sweep = Some((upload, row::read(self.kv, &SweepKey(upload))?));
        }
        Ok(self.sweep.as_ref().and_then(|(_, sweep)| sweep.as_ref()).is_some_and(|sweep| sweep.took(part)))
    }

    /// All rows have gone by.
    pub(super) fn end(self, group: GroupId, findings: &mut Findings) {
        let mut broken = Broken::default();
        for (ino, InodeTally { names, trash, row }) in self.inodes {
            match row {
                Some(InodeRow::File { nlink }) => file_names(ino, nlink, names, u64::from(trash), &mut broken),
                Some(InodeRow::Directory { root, placed }) => dir_names(ino, root, names, placed, &mut broken),
                // Said where the name or the trash was looked at.
                None => {}
            }
        }
        report(findings, group, "state-inode", broken);
        let mut broken = Broken::default();
        for (list, Referred { counted, garbage, row }) in self.lists {
            match row {
                Some(refs) => list_references(list, refs, counted, garbage, &mut broken),
                None => broken.unless(counted == 0, || format!("{list} is referred to, but gone")),
            }
        }
        report(findings, group, "state-list", broken);
        for (id, Referred { counted, garbage, row }) in self.chunks {
            let mut broken = Broken::default();
            match row {
                Some((refs, state)) => chunk_references(id, refs, state, counted, garbage, &mut broken),
                None if counted > 0 => {
                    findings.damage("state-chunk", group, format!("{id} is referred to, but not known"), ADVICE);
                }
                None => {}
            }
            report(findings, group, "state-chunk", broken);
        }
    }
}
