//! Any row of a metadata group, told by its key: for those who read all of them.

use crate::bucket::Bucket;
use crate::chunk::Chunk;
use crate::dentry::Dentry;
use crate::garbage::GarbageRow;
use crate::group::Counters;
use crate::inode::Inode;
use crate::key::Table;
use crate::key::bucket::BucketKey;
use crate::key::chunk::{ChunkKey, ClosedEpochKey, CondemnedKey, StagedKey, UnderReplicatedKey};
use crate::key::dentry::DentryKey;
use crate::key::garbage::GarbageKey;
use crate::key::group::GroupKey;
use crate::key::inode::{InlineKey, InodeKey, InodeRow, XattrKey};
use crate::key::list::{ListKey, ListRow, RunKey};
use crate::key::record::{RecordIndexKey, RecordRowKey};
use crate::key::session::{AnswerKey, EndedKey, SessionKey};
use crate::key::trash::TrashKey;
use crate::key::upload::{PartKey, SweepKey, UploadIndexKey, UploadKey};
use crate::list::ListHeader;
use crate::piece::Piece;
use crate::record::Record;
use crate::row::{Key, decode};
use crate::upload::{Part, Sweep, Upload};
use proto::record::Revision;
use types::{BucketId, ChunkId, Ino, ListId, SessionId, Timestamp, UploadId, WriterEpoch};

/// The first and the end of all keys of a metadata group.
pub(crate) const FIRST_KEY: [u8; 1] = [Table::Group as u8];
pub(crate) const KEYS_END: [u8; 1] = [0xff];

/// A row whose key and value both make sense.
pub(crate) enum AnyRow {
    Group(Counters),
    Bucket(BucketId, Bucket),
    Dentry(DentryKey, Dentry),
    Inode(Ino, Inode),
    /// And the bytes of the value.
    Inline(Ino, usize),
    /// And the bytes of name and value.
    Xattr(Ino, usize),
    List(ListId, ListHeader),
    /// The last piece ends where the key says.
    Run(ListId, Vec<Piece>),
    Chunk(ChunkId, Chunk),
    UnderReplicated(ChunkId, u8),
    Staged(SessionId, ChunkId),
    ClosedEpoch(SessionId, WriterEpoch),
    Condemned(ChunkId),
    Upload(UploadId, Upload),
    UploadIndex(UploadIndexKey, Timestamp),
    Part(PartKey, Part),
    Sweep(UploadId, Sweep),
    Trash(TrashKey),
    Garbage(GarbageRow),
    /// And the lowest unanswered request.
    Session(SessionId, u64),
    Answer(AnswerKey),
    /// First and last of a run of sessions that are over.
    Ended(SessionId, SessionId),
    Record(RecordRowKey, Record),
    RecordIndex(RecordIndexKey, Revision),
}

/// The value of a row, if it can be read.
fn value<K: Key>(key: &[u8], bytes: &[u8]) -> Option<K::Value> {
    decode::<K>(key, bytes).ok()
}

impl AnyRow {
    /// Reads a row; `None` if its key is none of a metadata group, or its value cannot be read.
    pub(crate) fn decode(key: &[u8], bytes: &[u8]) -> Option<AnyRow> {
        match *key.first()? {
            0x01 if key == FIRST_KEY => value::<GroupKey>(key, bytes).map(AnyRow::Group),
            0x02 => Some(AnyRow::Bucket(BucketKey::decode(key)?.0, value::<BucketKey>(key, bytes)?)),
            0x10 => Some(AnyRow::Dentry(DentryKey::decode(key)?, value::<DentryKey>(key, bytes)?)),
            0x11 => Self::inode(key, bytes),
            0x20 => Self::list(key, bytes),
            tag @ 0x30..=0x34 => Self::chunk(tag, key, bytes),
            tag @ 0x40..=0x43 => Self::upload(tag, key, bytes),
            0x50 => {
                value::<TrashKey>(key, bytes)?;
                TrashKey::decode(key).map(AnyRow::Trash)
            }
            0x51 => {
                GarbageKey::decode(key)?;
                value::<GarbageKey>(key, bytes).map(AnyRow::Garbage)
            }
            0x60 => Some(AnyRow::Session(SessionKey::decode(key)?.0, value::<SessionKey>(key, bytes)?.low)),
            0x61 => {
                let _: Result<_, _> = value::<AnswerKey>(key, bytes)?;
                AnswerKey::decode(key).map(AnyRow::Answer)
            }
            0x62 => Some(AnyRow::Ended(value::<EndedKey>(key, bytes)?, EndedKey::decode(key)?.last)),
            0x70 => Some(AnyRow::Record(RecordRowKey::decode(key)?, value::<RecordRowKey>(key, bytes)?)),
            0x71 => Some(AnyRow::RecordIndex(RecordIndexKey::decode(key)?, value::<RecordIndexKey>(key, bytes)?)),
            _ => None,
        }
    }

    fn inode(key: &[u8], bytes: &[u8]) -> Option<AnyRow> {
        Some(match InodeRow::decode(key)? {
            InodeRow::Inode(InodeKey(ino)) => AnyRow::Inode(ino, value::<InodeKey>(key, bytes)?),
            InodeRow::Inline(InlineKey(ino)) => AnyRow::Inline(ino, value::<InlineKey>(key, bytes)?.len()),
            InodeRow::Xattr(XattrKey { ino, name }) => {
                AnyRow::Xattr(ino, name.len() + value::<XattrKey>(key, bytes)?.len())
            }
        })
    }

    fn list(key: &[u8], bytes: &[u8]) -> Option<AnyRow> {
        match ListRow::decode(key)? {
            ListRow::Header(ListKey(list)) => Some(AnyRow::List(list, value::<ListKey>(key, bytes)?)),
            ListRow::Run(RunKey { list, end }) => {
                let pieces = value::<RunKey>(key, bytes)?;
                (pieces.last().map(Piece::end) == Some(end)).then_some(AnyRow::Run(list, pieces))
            }
        }
    }

    fn chunk(tag: u8, key: &[u8], bytes: &[u8]) -> Option<AnyRow> {
        match tag {
            0x30 => Some(AnyRow::Chunk(ChunkKey::decode(key)?.0, value::<ChunkKey>(key, bytes)?)),
            0x31 => {
                let missing = value::<UnderReplicatedKey>(key, bytes)?;
                Some(AnyRow::UnderReplicated(UnderReplicatedKey::decode(key)?.0, missing))
            }
            0x32 => {
                value::<StagedKey>(key, bytes)?;
                StagedKey::decode(key).map(|staged| AnyRow::Staged(staged.session, staged.chunk))
            }
            0x33 => Some(AnyRow::ClosedEpoch(ClosedEpochKey::decode(key)?.0, value::<ClosedEpochKey>(key, bytes)?)),
            _ => {
                value::<CondemnedKey>(key, bytes)?;
                CondemnedKey::decode(key).map(|condemned| AnyRow::Condemned(condemned.0))
            }
        }
    }

    fn upload(tag: u8, key: &[u8], bytes: &[u8]) -> Option<AnyRow> {
        match tag {
            0x40 => Some(AnyRow::Upload(UploadKey::decode(key)?.0, value::<UploadKey>(key, bytes)?)),
            0x41 => Some(AnyRow::UploadIndex(UploadIndexKey::decode(key)?, value::<UploadIndexKey>(key, bytes)?)),
            0x42 => Some(AnyRow::Part(PartKey::decode(key)?, value::<PartKey>(key, bytes)?)),
            _ => Some(AnyRow::Sweep(SweepKey::decode(key)?.0, value::<SweepKey>(key, bytes)?)),
        }
    }
}
