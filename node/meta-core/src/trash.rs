//! Where deleted things wait: files in the trash with all they had, dropped references as garbage.
//!
//! A file whose last name went keeps its inode (link count 0) and its content, so open handles go on; its row here
//! says where it stood. Nothing is purged by this version: the rows say when it may be.

use crate::inode::{Inode, Place};
use crate::key::chunk::ChunkKey;
use crate::key::list::ListKey;
use crate::key::trash::{GarbageKey, TrashKey};
use crate::kv::{KvError, KvRead};
use crate::txn::{Step, Txn};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use types::{ChunkId, Ino, ListId, SessionId, Timestamp};

/// How long dropped references wait before they may be purged, so that a reader that still holds the extents reads to its
/// end.
const GARBAGE_GRACE: i64 = 24 * 3600 * Timestamp::SECOND;
/// A file that its maker removes within this time is a scratch file: it need not wait out the trash.
const SCRATCH_AGE: i64 = 600 * Timestamp::SECOND;
/// Items in a garbage row.
const GARBAGE_PER_ROW: usize = 256;
/// Directories walked to name a file in the trash; above it the path begins in the middle.
const PATH_DIRS_MAX: usize = 128;

/// Why a file is in the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reason {
    /// Unlinked through a mount.
    Unlinked,
    /// Another file was renamed over it.
    RenamedOver,
    /// Another object was put over it.
    Overwritten,
    /// Deleted through S3.
    Deleted,
}

/// A file in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrashRow {
    /// The directory it stood in.
    pub(crate) parent: Ino,
    /// Its last name.
    pub(crate) name: Bytes,
    /// Its path from the root of the bucket, as an S3 key.
    pub(crate) path: Bytes,
    /// Who removed it; 0 = nobody.
    pub(crate) session: SessionId,
    pub(crate) reason: Reason,
    /// Made and removed by the same session within minutes.
    pub(crate) scratch: bool,
}

/// What nothing refers to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Garbage {
    Chunk(ChunkId),
    /// With all the references of its pieces.
    List(ListId),
}

/// Why references were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GarbageReason {
    /// Content was written over or cut off.
    Rewritten,
    /// A part of an upload was replaced, left out or aborted.
    Upload,
}

/// References dropped by one command. Whoever purges them checks that they are still unused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GarbageRow {
    pub(crate) reason: GarbageReason,
    pub(crate) items: Vec<Garbage>,
}

/// The path of a name, as an S3 key.
pub(crate) fn path_of(kv: &dyn KvRead, place: &Place) -> Result<Bytes, KvError> {
    let mut names = vec![place.name.clone()];
    let mut dir = place.dir;
    for _ in 0..PATH_DIRS_MAX {
        let Some(above) = crate::inode::load(kv, dir)?.and_then(|inode| inode.parent) else { break };
        names.push(above.name);
        dir = above.dir;
    }
    names.reverse();
    Ok(Bytes::from(names.join(&b"/"[..])))
}

impl Txn<'_> {
    /// Notes that a file has lost its last name, which was `place`.
    pub(crate) fn bin(&mut self, ino: Ino, inode: &Inode, place: &Place, reason: Reason) -> Step<()> {
        let session = self.session.unwrap_or_default();
        let young = self.now.0.saturating_sub(inode.crtime.0) <= SCRATCH_AGE;
        let row = TrashRow {
            parent: place.dir,
            name: place.name.clone(),
            path: path_of(self.rows(), place)?,
            session,
            reason,
            scratch: young && session != SessionId::default() && session == inode.creator,
        };
        self.write(&TrashKey { bucket: inode.bucket, time: self.now, ino }, &row);
        Ok(())
    }

    /// Writes what the command has dropped into garbage rows, less what it has taken up again.
    pub(crate) fn write_garbage(&mut self) -> Step<()> {
        let mut items = std::mem::take(&mut self.garbage);
        items.sort_unstable();
        items.dedup();
        let mut unused = Vec::with_capacity(items.len());
        for item in items {
            let refs = match item {
                Garbage::Chunk(chunk) => self.require(&ChunkKey(chunk))?.refs,
                Garbage::List(list) => self.require(&ListKey(list))?.refs,
            };
            if refs == 0 {
                unused.push(item);
            }
        }
        for items in unused.chunks(GARBAGE_PER_ROW) {
            self.counters.garbage += 1;
            let due = Timestamp(self.now.0.saturating_add(GARBAGE_GRACE));
            let row = GarbageRow { reason: self.garbage_reason, items: items.to_vec() };
            self.write(&GarbageKey { due, number: self.counters.garbage }, &row);
        }
        Ok(())
    }
}
