//! Where deleted files wait, with all they had.
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
use crate::key::trash::TrashKey;
use crate::kv::{KvError, KvRead};
use crate::txn::{Step, Txn};
use bytes::Bytes;
use proto::control::GarbageOptions;
use proto::trash::OPEN_GRACE_SECS;
pub(crate) use proto::trash::TrashReason as Reason;
use serde::{Deserialize, Serialize};
use types::{Ino, KEY_BYTES_MAX, SessionId, Timestamp};

/// How long a file without a name is kept at least, whatever the window says: programs go on with a file they have open, and nobody
/// here knows which are. The grace time of garbage counts from when the name went, for the same readers, and is no longer by default;
/// so what has expired need not wait again.
const OPEN_GRACE: i64 = OPEN_GRACE_SECS * Timestamp::SECOND;
const _: () = assert!(OPEN_GRACE >= GarbageOptions::GRACE, "what has expired may be collected at once");
/// A file that its maker removes within this time is a scratch file: it need not wait out the trash.
const SCRATCH_AGE: i64 = 600 * Timestamp::SECOND;
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
}
