//! Where deleted files wait, with all they had.
//!
//! A file whose last name went keeps its inode (link count 0) and its content, so open handles go on; its row here
//! says where it stood. Nothing is purged by this version: the rows say when it may be.

use crate::inode::{Inode, Place};
use crate::key::trash::TrashKey;
use crate::kv::{KvError, KvRead};
use crate::txn::{Step, Txn};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use types::{Ino, SessionId, Timestamp};

/// A file that its maker removes within this time is a scratch file: it need not wait out the trash.
const SCRATCH_AGE: i64 = 600 * Timestamp::SECOND;
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
}
