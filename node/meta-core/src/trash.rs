//! Where deleted things wait: files in the trash with all they had, dropped references as garbage.
//!
//! A file whose last name went keeps its inode (link count 0) and its content, so open handles go on; its row here
//! says where it stood. Content that was cut off or written over as a whole moves to an inode of its own, which lies here the
//! same way. From here a file goes back to a name (`restore`), or its content becomes garbage (`release`).
//!
//! ```text
//! name --(remove_file)--+                        +--(restore_trash)--> name
//!                       +--> inode without name -+
//! content --(replace_content)--^                 +--(purge, expire)--> garbage rows
//! ```

mod release;
mod replace;
mod restore;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use view::list;

use crate::inode::{Inode, Place};
use crate::key::chunk::ChunkKey;
use crate::key::list::ListKey;
use crate::key::trash::{GarbageKey, TrashKey};
use crate::kv::{KvError, KvRead};
use crate::txn::{Step, Txn};
use bytes::Bytes;
use proto::trash::OPEN_GRACE_SECS;
pub(crate) use proto::trash::TrashReason as Reason;
use serde::{Deserialize, Serialize};
use types::{ChunkId, Ino, KEY_BYTES_MAX, ListId, SessionId, Timestamp};

/// How long dropped references wait before they may be purged, so that a reader that still holds the extents reads to its
/// end.
const GARBAGE_GRACE: i64 = 24 * 3600 * Timestamp::SECOND;
/// How long a file without a name is kept at least, whatever the window says: programs go on with a file they have open, and nobody
/// here knows which are. No shorter than [`GARBAGE_GRACE`], for the same readers; so what was released here need not wait again.
const OPEN_GRACE: i64 = OPEN_GRACE_SECS * Timestamp::SECOND;
const _: () = assert!(OPEN_GRACE >= GARBAGE_GRACE, "what is released may be purged at once");
/// A file that its maker removes within this time is a scratch file: it need not wait out the trash.
const SCRATCH_AGE: i64 = 600 * Timestamp::SECOND;
/// Items in a garbage row.
const GARBAGE_PER_ROW: usize = 256;
/// Directories walked to name a file in the trash, as many as a key can lead through; above it the path begins in the middle.
const PATH_DIRS_MAX: usize = KEY_BYTES_MAX;
/// Bytes of such a path, which only a mount can pass.
const PATH_BYTES_MAX: usize = 16 << 10;

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
    /// Made and removed by the same mount within minutes.
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
    /// A file in the trash was released: it had no name for [`OPEN_GRACE`] or longer.
    Expired,
    /// An operator has purged it.
    Purged,
}

impl GarbageReason {
    /// How long the references wait.
    fn grace(self) -> i64 {
        match self {
            GarbageReason::Rewritten | GarbageReason::Upload => GARBAGE_GRACE,
            GarbageReason::Expired | GarbageReason::Purged => 0,
        }
    }
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
    let mut bytes = place.name.len();
    let mut dir = place.dir;
    for _ in 0..PATH_DIRS_MAX {
        let Some(above) = crate::inode::load(kv, dir)?.and_then(|inode| inode.parent) else { break };
        bytes += above.name.len() + 1;
        if bytes > PATH_BYTES_MAX {
            break;
        }
        names.push(above.name);
        dir = above.dir;
    }
    names.reverse();
    Ok(Bytes::from(names.join(&b"/"[..])))
}

/// Whether a mount removed it. A gateway's session is that of all who use it, so nothing it deletes is one maker's scratch.
fn by_mount(reason: Reason) -> bool {
    match reason {
        Reason::Unlinked | Reason::RenamedOver | Reason::Truncated => true,
        Reason::Deleted | Reason::Overwritten | Reason::Replaced => false,
    }
}

impl Txn<'_> {
    /// Whether this command's session began something at `begun` and removes it within minutes.
    fn is_scratch(&self, author: SessionId, begun: Timestamp, reason: Reason) -> bool {
        let young = self.now.0.saturating_sub(begun.0) <= SCRATCH_AGE;
        let own = self.session.is_some_and(|session| session != SessionId::default() && session == author);
        young && own && by_mount(reason)
    }

    /// Whether the breaker has a say in the removal of a file.
    pub(crate) fn counts_as_deletion(&self, inode: &Inode, reason: Reason) -> bool {
        reason != Reason::Replaced && !self.is_scratch(inode.creator, inode.crtime, reason)
    }

    /// Notes that a file has lost its last name, which was `place`.
    pub(crate) fn bin(&mut self, ino: Ino, inode: &Inode, place: &Place, reason: Reason) -> Step<()> {
        let row = TrashRow {
            parent: place.dir,
            name: place.name.clone(),
            path: path_of(self.rows(), place)?,
            session: self.session.unwrap_or_default(),
            reason,
            scratch: self.is_scratch(inode.creator, inode.crtime, reason),
        };
        self.write(&TrashKey { bucket: inode.bucket, time: self.now, ino }, &row);
        self.count_trash(inode.bucket, None, Some(inode.size()))?;
        if self.counts_as_deletion(inode, reason) { self.count_deletion(inode.bucket) } else { Ok(()) }
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
            let due = Timestamp(self.now.0.saturating_add(self.garbage_reason.grace()));
            let row = GarbageRow { reason: self.garbage_reason, items: items.to_vec() };
            self.write(&GarbageKey { due, number: self.counters.garbage }, &row);
        }
        Ok(())
    }
}
