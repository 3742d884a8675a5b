//! The whole state in memory.

use crate::any_row::{AnyRow, FIRST_KEY, KEYS_END};
use crate::bucket::Bucket;
use crate::chunk::Chunk;
use crate::dentry::Dentry;
use crate::garbage::Garbage;
use crate::group::Counters;
use crate::inode::{Inode, XattrSum};
use crate::key::dentry::DentryKey;
use crate::key::record::{RecordIndexKey, RecordRowKey};
use crate::key::trash::TrashKey;
use crate::kv::{KvError, KvRead};
use crate::list::ListHeader;
use crate::piece::Piece;
use crate::record::Record;
use crate::row::Corrupt;
use crate::upload::{Part, Sweep, Upload};
use proto::record::Revision;
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
    pub(super) records: BTreeMap<RecordRowKey, Record>,
    pub(super) record_index: BTreeMap<RecordIndexKey, Revision>,
}

impl Snapshot {
    pub(super) fn read(kv: &dyn KvRead) -> Result<Self, KvError> {
        let mut snapshot = Snapshot::default();
        let mut from = FIRST_KEY.to_vec();
        loop {
            let rows = kv.scan(&from, &KEYS_END, SCAN_ROWS)?;
            for (key, value) in &rows {
                snapshot.take(AnyRow::decode(key, value).ok_or_else(|| Corrupt::Row(key.to_vec()))?);
            }
            match rows.last() {
                Some((last, _)) if rows.len() == SCAN_ROWS => from = [last, &[0][..]].concat(),
                _ => return Ok(snapshot),
            }
        }
    }

    /// Takes in one row.
    fn take(&mut self, row: AnyRow) {
        match row {
            AnyRow::Group(counters) => self.counters = counters,
            AnyRow::Bucket(bucket, row) => drop(self.buckets.insert(bucket, row)),
            AnyRow::Dentry(name, dentry) => self.dentries.entry(name.frag).or_default().push((name, dentry)),
            AnyRow::Inode(ino, inode) => drop(self.inodes.insert(ino, inode)),
            AnyRow::Inline(ino, bytes) => drop(self.inline.insert(ino, bytes)),
            AnyRow::Xattr(ino, bytes) => {
                let sum = self.xattrs.entry(ino).or_default();
                sum.count += 1;
                sum.bytes += bytes as u32;
            }
            AnyRow::List(list, header) => drop(self.lists.insert(list, header)),
            AnyRow::Run(list, pieces) => self.runs.entry(list).or_default().extend(pieces),
            AnyRow::Chunk(id, chunk) => drop(self.chunks.insert(id, chunk)),
            AnyRow::UnderReplicated(chunk, missing) => drop(self.under_replicated.insert(chunk, missing)),
            AnyRow::Staged(session, chunk) => drop(self.staged.insert((session, chunk))),
            AnyRow::ClosedEpoch(session, epoch) => drop(self.closed.insert(session, epoch)),
            AnyRow::Condemned(chunk) => drop(self.condemned.insert(chunk)),
            AnyRow::Upload(id, upload) => drop(self.uploads.insert(id, upload)),
            AnyRow::UploadIndex(index, begun) => {
                self.upload_index.insert(index.upload, (index.bucket, index.key, begun));
            }
            AnyRow::Part(key, part) => drop(self.parts.entry(key.upload).or_default().insert(key.part, part)),
            AnyRow::Sweep(upload, sweep) => drop(self.sweeps.insert(upload, sweep)),
            AnyRow::Trash(trash) => self.trash.entry(trash.ino).or_default().push(trash),
            AnyRow::Garbage(row) => {
                self.garbage_items += row.items.len() as u64;
                self.garbage.extend(row.items);
            }
            AnyRow::Session(session, low) => drop(self.sessions.insert(session, low)),
            AnyRow::Answer(answer) => self.answers.entry(answer.session).or_default().push(answer.seq),
            AnyRow::Ended(first, last) => self.ended.push((first, last)),
            AnyRow::Record(key, record) => drop(self.records.insert(key, record)),
            AnyRow::RecordIndex(key, revision) => drop(self.record_index.insert(key, revision)),
        }
    }
}
