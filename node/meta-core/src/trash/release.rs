//! The way out: files in the trash are released, and what they referred to becomes garbage.
//!
//! The grace time of that garbage counts from when the file lost its name: nobody has come upon it since but who had it open.
//!
//! Nothing here asks how full the disks are: the window is never shortened for want of space.

use super::view;
use crate::bucket;
use crate::garbage::GarbageReason;
use crate::inode::What;
use crate::key::inode::InodeKey;
use crate::key::trash::TrashKey;
use crate::txn::{COMMAND_ROWS_MAX, Step, Txn};
use crate::xattr::XATTRS_MAX;
use proto::meta::Refusal;
use proto::trash::{Purged, TRASH_BATCH_MAX, TrashId};
use types::{BucketId, Timestamp};

/// Rows that releasing one file may change: its attributes, and a few.
const RELEASE_ROWS_MAX: usize = XATTRS_MAX as usize + 32;

impl Txn<'_> {
    /// Releases entries at once, whether their time is over or not.
    pub(crate) fn purge_trash(&mut self, bucket: BucketId, entries: &[TrashId]) -> Step<Purged> {
        bucket::load(self.rows(), bucket)??;
        self.garbage_reason = GarbageReason::Purged;
        self.release_all(bucket, entries, |_, _| Ok(true))
    }

    /// Releases the entries whose time is over, by the earlier of the group's time and `now`: a group whose time ran ahead must not
    /// shorten a window, nor a caller whose clock does.
    pub(crate) fn expire_trash(&mut self, bucket: BucketId, entries: &[TrashId], now: Timestamp) -> Step<Purged> {
        let found = bucket::load(self.rows(), bucket)??;
        if self.counters.held {
            return Ok(Purged { left: entries.len() as u32, ..Purged::default() });
        }
        let now = now.min(self.now);
        let leap = self.counters.leap;
        self.garbage_reason = GarbageReason::Expired;
        self.release_all(bucket, entries, |txn, key| {
            Ok(txn.read(key)?.is_some_and(|row| view::due(key, &row, &found, leap) <= now))
        })
    }

    fn release_all(
        &mut self,
        bucket: BucketId,
        entries: &[TrashId],
        may: impl Fn(&Self, &TrashKey) -> Step<bool>,
    ) -> Step<Purged> {
        if entries.len() > TRASH_BATCH_MAX {
            return Err(Refusal::TooLarge.into());
        }
        let mut purged = Purged::default();
        for (at, id) in entries.iter().enumerate() {
            if self.rows_changed() + self.garbage.len() + RELEASE_ROWS_MAX > COMMAND_ROWS_MAX {
                purged.left = (entries.len() - at) as u32;
                break;
            }
            let key = TrashKey::of(bucket, *id);
            if may(self, &key)?
                && let Some(bytes) = self.release_entry(&key)?
            {
                purged.files += 1;
                purged.bytes += bytes;
            }
        }
        Ok(purged)
    }

    /// Drops a file with all it has. Returns its size; `None` if it is not in the trash.
    fn release_entry(&mut self, key: &TrashKey) -> Step<Option<u64>> {
        if self.read(key)?.is_none() {
            return Ok(None);
        }
        let mut inode = self.require_inode(key.ino)?;
        let bytes = inode.size();
        // How much of the time before a leap has really passed is not known.
        self.dropped_at = key.time.max(self.counters.leap);
        self.drop_xattrs(key.ino, inode.xattrs)?;
        if let What::File(content) | What::Symlink(content) = &mut inode.what {
            self.clear(key.ino, content)?;
        }
        self.dropped_at = self.now;
        self.remove(&InodeKey(key.ino));
        self.remove(key);
        self.count_trash(key.bucket, Some(bytes), None)?;
        Ok(Some(bytes))
    }
}
