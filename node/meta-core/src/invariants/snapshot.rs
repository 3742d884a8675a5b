//! The whole state in memory.

use crate::bucket::Bucket;
use crate::chunk::Chunk;
use crate::dentry::Dentry;
use crate::garbage::Garbage;
use crate::group::Counters;
use crate::inode::{Inode, XattrSum};
use crate::key::Table;
use crate::key::bucket::BucketKey;
use crate::key::chunk::{ChunkKey, ClosedEpochKey, CondemnedKey, StagedKey, UnderReplicatedKey};
use crate::key::dentry::DentryKey;
use crate::key::garbage::GarbageKey;
use crate::key::group::GroupKey;
use crate::key::inode::{InlineKey, InodeKey, InodeRow, XattrKey};
use crate::key::list::{ListKey, ListRow, RunKey};
use crate::key::session::{AnswerKey, EndedKey, SessionKey};
use crate::key::trash::TrashKey;
use crate::key::upload::{PartKey, SweepKey, UploadIndexKey, UploadKey};
use crate::kv::{KvError, KvRead};
use crate::list::ListHeader;
use crate::piece::Piece;
use crate::row::{Corrupt, decode};
use crate::upload::{Part, Sweep, Upload};
use std::collections::{BTreeMap, BTreeSet};
use types::{BucketId, ChunkId, FragId, Ino, ListId, SessionId, Timestamp, UploadId, WriterEpoch};

const SCAN_ROWS: usize = 1024;

#[derive(Default)]
pub(super) struct Snapshot {
    pub(super) counters: Counters,
    pub(super) buckets: BTreeMap<BucketId, Bucket>,
    pub(super) dentries: BTreeMap<FragId, Vec<(DentryKey, Dentry)>>,
    pub(super) inodes: BTreeMap<Ino, Inode>,
    pub(super) inline: BTreeMap<Ino, usize>,
    pub(super) xattrs: BTreeMap<Ino, XattrSum>,
    pub(super) lists: BTreeMap<ListId, ListHeader>,
    pub(super) runs: BTreeMap<ListId, Vec<Piece>>,
    pub(super) chunks: BTreeMap<ChunkId, Chunk>,
    pub(super) under_replicated: BTreeMap<ChunkId, u8>,
    pub(super) staged: BTreeSet<(SessionId, ChunkId)>,
    pub(super) uploads: BTreeMap<UploadId, Upload>,
    pub(super) upload_index: BTreeMap<UploadId, (BucketId, Vec<u8>, Timestamp)>,
    pub(super) parts: BTreeMap<UploadId, BTreeMap<u16, Part>>,
    pub(super) sweeps: BTreeMap<UploadId, Sweep>,
    pub(super) trash: BTreeMap<Ino, Vec<TrashKey>>,
    pub(super) garbage: BTreeSet<Garbage>,
    /// Items in garbage rows, one that is named twice counted twice.
    pub(super) garbage_items: u64,
    pub(super) condemned: BTreeSet<ChunkId>,
    pub(super) closed: BTreeMap<SessionId, WriterEpoch>,
    /// Runs of ended sessions, first and last, in order.
    pub(super) ended: Vec<(SessionId, SessionId)>,
    pub(super) sessions: BTreeMap<SessionId, u64>,
    pub(super) answers: BTreeMap<SessionId, Vec<u64>>,
}

impl Snapshot {
    pub(super) fn read(kv: &dyn KvRead) -> Result<Self, KvError> {
        let mut snapshot = Snapshot::default();
        let mut from = vec![Table::Group as u8];
        loop {
            let rows = kv.scan(&from, &[0xff], SCAN_ROWS)?;
            for (key, value) in &rows {
                snapshot.take(key, value)?.ok_or_else(|| Corrupt::Row(key.to_vec()))?;
            }
            match rows.last() {
                Some((last, _)) if rows.len() == SCAN_ROWS => from = [last, &[0][..]].concat(),
                _ => return Ok(snapshot),
            }
        }
    }

    /// Takes in one row; `None` if its key is no key.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<Option<()>, KvError> {
        let Some(tag) = key.first() else { return Ok(None) };
        match *tag {
            0x01 => self.counters = decode::<GroupKey>(key, value)?,
            0x02 => {
                let Some(BucketKey(bucket)) = BucketKey::decode(key) else { return Ok(None) };
                self.buckets.insert(bucket, decode::<BucketKey>(key, value)?);
            }
            0x10 => {
                let Some(name) = DentryKey::decode(key) else { return Ok(None) };
                let dentry = decode::<DentryKey>(key, value)?;
                self.dentries.entry(name.frag).or_default().push((name, dentry));
            }
            0x11 => return self.take_inode(key, value),
            0x20 => match ListRow::decode(key) {
                Some(ListRow::Header(ListKey(list))) => {
                    self.lists.insert(list, decode::<ListKey>(key, value)?);
                }
                Some(ListRow::Run(RunKey { list, end })) => {
                    let pieces = decode::<RunKey>(key, value)?;
                    if pieces.last().map(Piece::end) != Some(end) {
                        return Ok(None);
                    }
                    self.runs.entry(list).or_default().extend(pieces);
                }
                None => return Ok(None),
            },
            0x30..=0x34 => return self.take_chunk(*tag, key, value),
            0x40..=0x43 => return self.take_upload(*tag, key, value),
            0x50 => {
                let Some(trash) = TrashKey::decode(key) else { return Ok(None) };
                decode::<TrashKey>(key, value)?;
                self.trash.entry(trash.ino).or_default().push(trash);
            }
            0x51 => {
                if GarbageKey::decode(key).is_none() {
                    return Ok(None);
                }
                let items = decode::<GarbageKey>(key, value)?.items;
                self.garbage_items += items.len() as u64;
                self.garbage.extend(items);
            }
            0x60 => {
                let Some(SessionKey(session)) = SessionKey::decode(key) else { return Ok(None) };
                self.sessions.insert(session, decode::<SessionKey>(key, value)?.low);
            }
            0x61 => {
                let Some(answer) = AnswerKey::decode(key) else { return Ok(None) };
                let _: Result<_, _> = decode::<AnswerKey>(key, value)?;
                self.answers.entry(answer.session).or_default().push(answer.seq);
            }
            0x62 => {
                let Some(EndedKey { last }) = EndedKey::decode(key) else { return Ok(None) };
                self.ended.push((decode::<EndedKey>(key, value)?, last));
            }
            _ => return Ok(None),
        }
        Ok(Some(()))
    }

    fn take_inode(&mut self, key: &[u8], value: &[u8]) -> Result<Option<()>, KvError> {
        match InodeRow::decode(key) {
            Some(InodeRow::Inode(InodeKey(ino))) => {
                self.inodes.insert(ino, decode::<InodeKey>(key, value)?);
            }
            Some(InodeRow::Inline(InlineKey(ino))) => {
                self.inline.insert(ino, decode::<InlineKey>(key, value)?.len());
            }
            Some(InodeRow::Xattr(XattrKey { ino, name })) => {
                let bytes = name.len() + decode::<XattrKey>(key, value)?.len();
                let sum = self.xattrs.entry(ino).or_default();
                sum.count += 1;
                sum.bytes += bytes as u32;
            }
            None => return Ok(None),
        }
        Ok(Some(()))
    }

    fn take_chunk(&mut self, tag: u8, key: &[u8], value: &[u8]) -> Result<Option<()>, KvError> {
        match tag {
            0x30 => {
                let Some(ChunkKey(chunk)) = ChunkKey::decode(key) else { return Ok(None) };
                self.chunks.insert(chunk, decode::<ChunkKey>(key, value)?);
            }
            0x31 => {
                let Some(UnderReplicatedKey(chunk)) = UnderReplicatedKey::decode(key) else { return Ok(None) };
                self.under_replicated.insert(chunk, decode::<UnderReplicatedKey>(key, value)?);
            }
            0x32 => {
                let Some(staged) = StagedKey::decode(key) else { return Ok(None) };
                decode::<StagedKey>(key, value)?;
                self.staged.insert((staged.session, staged.chunk));
            }
            0x33 => {
                let Some(ClosedEpochKey(session)) = ClosedEpochKey::decode(key) else { return Ok(None) };
                self.closed.insert(session, decode::<ClosedEpochKey>(key, value)?);
            }
            _ => {
                let Some(CondemnedKey(chunk)) = CondemnedKey::decode(key) else { return Ok(None) };
                decode::<CondemnedKey>(key, value)?;
                self.condemned.insert(chunk);
            }
        }
        Ok(Some(()))
    }

    fn take_upload(&mut self, tag: u8, key: &[u8], value: &[u8]) -> Result<Option<()>, KvError> {
        match tag {
            0x40 => {
                let Some(UploadKey(upload)) = UploadKey::decode(key) else { return Ok(None) };
                self.uploads.insert(upload, decode::<UploadKey>(key, value)?);
            }
            0x41 => {
                let Some(index) = UploadIndexKey::decode(key) else { return Ok(None) };
                let begun = decode::<UploadIndexKey>(key, value)?;
                self.upload_index.insert(index.upload, (index.bucket, index.key, begun));
            }
            0x42 => {
                let Some(part) = PartKey::decode(key) else { return Ok(None) };
                let row = decode::<PartKey>(key, value)?;
                self.parts.entry(part.upload).or_default().insert(part.part, row);
            }
            _ => {
                let Some(SweepKey(upload)) = SweepKey::decode(key) else { return Ok(None) };
                self.sweeps.insert(upload, decode::<SweepKey>(key, value)?);
            }
        }
        Ok(Some(()))
    }
}
