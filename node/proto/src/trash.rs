//! The trash of a bucket: what lies in it, how it is asked for, and what a bucket is told about it.

use crate::object::FileKind;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use types::{Ino, SessionId, Timestamp};

/// How long deleted files are kept when a bucket says nothing else: seven days, in seconds.
pub const TRASH_WINDOW_SECS: u64 = 7 * 24 * 3600;
/// The shortest window a bucket may have: an hour, in seconds.
pub const TRASH_WINDOW_SECS_MIN: u64 = 3600;
/// The longest window: a year, in seconds.
pub const TRASH_WINDOW_SECS_MAX: u64 = 365 * 24 * 3600;
/// How long a file without a name is kept at least, whatever the window, for programs that have it open: a day, in seconds.
pub const OPEN_GRACE_SECS: i64 = 24 * 3600;
/// Entries one `RestoreTrash`, `PurgeTrash` or `ExpireTrash` may name.
pub const TRASH_BATCH_MAX: usize = 512;

/// Which entry of the trash of a bucket: when the file lost its last name, and the inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrashId {
    /// The group's time when it was removed.
    pub time: Timestamp,
    /// The inode that holds it.
    pub ino: Ino,
}

/// Why a file is in the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrashReason {
    /// Unlinked through a mount.
    Unlinked,
    /// Another file was renamed over it.
    RenamedOver,
    /// Another object was put over it.
    Overwritten,
    /// Deleted through S3.
    Deleted,
    /// Its content was cut off or written over as a whole; the file itself went on with other content.
    Truncated,
    /// A file came back from the trash in its place.
    Replaced,
}

/// Which entries are wanted. Everything that is set must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct TrashFilter {
    /// Only paths that begin so.
    pub prefix: Bytes,
    /// Only what was removed at this time or later.
    pub since: Option<Timestamp>,
    /// Only what was removed before this time.
    pub until: Option<Timestamp>,
    /// Only what this session removed.
    pub session: Option<SessionId>,
    /// Only what was removed for this reason.
    pub reason: Option<TrashReason>,
    /// Only what may be expired by this time.
    pub due: Option<Timestamp>,
}

/// A file in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashEntry {
    /// Its name for commands.
    pub id: TrashId,
    /// Its path when it was removed, as an S3 key.
    pub path: Bytes,
    /// File or symbolic link.
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    /// Last change of its content.
    pub mtime: Timestamp,
    /// Who removed it; 0 = nobody.
    pub session: SessionId,
    /// How.
    pub reason: TrashReason,
    /// Made and removed by one mount within minutes: it does not wait for the window.
    pub scratch: bool,
    /// From this time on it may be expired.
    pub due: Timestamp,
}

/// A page of the trash, oldest first. It may hold fewer entries than asked for, even none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct TrashPage {
    /// The entries.
    pub entries: Vec<TrashEntry>,
    /// More may follow; pass it as `after`.
    pub next: Option<TrashId>,
    /// The group's time.
    pub time: Timestamp,
}

/// What to do when the name a file should get back is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameTaken {
    /// Leave both as they are: [`crate::meta::Refusal::Exists`].
    Refuse,
    /// The file gets the first free name of `NAME.restored-1`, `NAME.restored-2`, ...
    KeepBoth,
    /// What stands there goes to the trash.
    Replace,
}

/// What became of an entry that was to be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restored {
    /// It has its name again.
    Named,
    /// It got the name with `.restored-N` behind it.
    Beside(u16),
    /// It is not in the trash and has a name: somebody restored it before.
    Already,
}

/// What a purge or an expiry has released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Purged {
    /// Files.
    pub files: u32,
    /// Bytes of them.
    pub bytes: u64,
    /// Entries at the end of the command that were not looked at, because it had changed too many rows; ask again for them.
    pub left: u32,
}

/// How many deletions and overwrites a bucket takes within ten minutes before its breaker opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum DeleteLimit {
    /// 10,000, or a tenth of the bucket's files if that is more.
    #[default]
    Auto,
    /// So many, from 1 on.
    Max(u32),
    /// Any number.
    Off,
}

/// What an operator has set for a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketOptions {
    /// Seconds that deleted files are kept: `TRASH_WINDOW_SECS_MIN..=TRASH_WINDOW_SECS_MAX`.
    pub trash_window_secs: u64,
    /// When the breaker opens.
    pub delete_limit: DeleteLimit,
}

impl Default for BucketOptions {
    fn default() -> Self {
        BucketOptions { trash_window_secs: TRASH_WINDOW_SECS, delete_limit: DeleteLimit::Auto }
    }
}

/// A bucket as its group sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketStatus {
    /// Whether all changes are refused: it is being, or was, deleted.
    pub sealed: bool,
    /// What was set.
    pub options: BucketOptions,
    /// What is in it and in its trash.
    pub usage: crate::meta::Usage,
    /// Deletions and overwrites counted within the last ten minutes.
    pub deletes: u32,
    /// At how many the breaker opens; `None` = never.
    pub deletes_max: Option<u32>,
    /// The breaker is open: deletions are refused until this time.
    pub open_until: Option<Timestamp>,
    /// The group's time.
    pub time: Timestamp,
}
