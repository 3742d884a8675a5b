//! One command at work: its view of the rows, its stamp, and what it has changed so far.
//!
//! The nouns of the state machine (`inode`, `dentry`, `chunk`, ...) add their operations in `impl Txn` blocks of their own.
//! Nothing reaches the store before [`Txn::finish`]: a refused command leaves no trace but its answer.

use crate::garbage::{Garbage, GarbageReason};
use crate::group::{self, Counters};
use crate::kv::{Kv, KvError, KvRead};
use crate::overlay::{Changes, Overlay};
use crate::row::{self, Key};
use proto::meta::{BadChunk, Refusal};
use types::{GroupId, Ino, ListId, RequestId, SessionId, Timestamp};

/// Rows one command may change. Commands whose size shows in their bytes stay below 4,096; only deletions of many deep
/// keys can reach it, and are then refused key by key.
pub(crate) const COMMAND_ROWS_MAX: usize = 16_384;

/// Why a command stopped before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// By the rules; this is its result.
    Refused(Refusal),
    /// The store failed; the replica must stop.
    Broken(KvError),
}

/// The result of a step of a command.
pub(crate) type Step<T> = Result<T, Stop>;

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl From<BadChunk> for Stop {
    fn from(bad: BadChunk) -> Self {
        Stop::Refused(Refusal::BadChunk(bad))
    }
}

impl From<KvError> for Stop {
    fn from(error: KvError) -> Self {
        Stop::Broken(error)
    }
}

/// Turns a refusal into a result and lets only a failure of the store through.
pub(crate) fn settle<T>(step: Step<T>) -> Result<Result<T, Refusal>, KvError> {
    match step {
        Ok(value) => Ok(Ok(value)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Broken(error)) => Err(error),
    }
}

/// A command at work.
pub(crate) struct Txn<'a> {
    rows: Overlay<'a>,
    stored: Counters,
    /// The counters as they will be.
    pub(crate) counters: Counters,
    /// The group it runs in.
    pub(crate) group: GroupId,
    /// The group's time.
    pub(crate) now: Timestamp,
    /// Who sent it; `None` for the group's own commands.
    pub(crate) session: Option<SessionId>,
    /// References it has dropped to zero.
    pub(crate) garbage: Vec<Garbage>,
    /// Why it drops them.
    pub(crate) garbage_reason: GarbageReason,
    /// Since when nobody can have come upon them: now, unless what referred to them was garbage itself.
    pub(crate) dropped_at: Timestamp,
}

impl<'a> Txn<'a> {
    pub(crate) fn new(
        base: &'a dyn KvRead,
        group: GroupId,
        now: Timestamp,
        id: Option<RequestId>,
    ) -> Result<Self, KvError> {
        let stored = group::load(base)?;
        Ok(Txn {
            rows: Overlay::new(base),
            counters: stored.clone(),
            stored,
            group,
            now,
            session: id.map(|id| id.session),
            garbage: Vec::new(),
            garbage_reason: GarbageReason::Rewritten,
            dropped_at: now,
        })
    }

    /// Refuses what only the group itself may do.
    pub(crate) fn own(&self) -> Step<()> {
        if self.session.is_some() { Err(Refusal::Invalid.into()) } else { Ok(()) }
    }

    /// The rows as this command sees them.
    pub(crate) fn rows(&self) -> &dyn KvRead {
        &self.rows
    }

    pub(crate) fn read<K: Key>(&self, key: &K) -> Step<Option<K::Value>> {
        Ok(row::read(&self.rows, key)?)
    }

    /// Reads a row that must be there.
    pub(crate) fn require<K: Key>(&self, key: &K) -> Step<K::Value> {
        Ok(row::require(&self.rows, key)?)
    }

    pub(crate) fn write<K: Key>(&mut self, key: &K, value: &K::Value) {
        row::write(&mut self.rows, key, value);
    }

    pub(crate) fn remove<K: Key>(&mut self, key: &K) {
        self.rows.delete(&key.encode());
    }

    pub(crate) fn remove_raw(&mut self, key: &[u8]) {
        self.rows.delete(key);
    }

    /// Rows changed so far.
    pub(crate) fn rows_changed(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn next_ino(&mut self) -> Ino {
        self.counters.ino += 1;
        Ino::new(self.group, self.counters.ino)
    }

    pub(crate) fn next_list(&mut self) -> ListId {
        self.counters.list += 1;
        ListId(self.counters.list)
    }

    /// Writes what is left to write and hands over the changes.
    pub(crate) fn finish(mut self) -> Step<Changes> {
        self.write_garbage()?;
        if self.rows.len() > COMMAND_ROWS_MAX {
            return Err(Refusal::TooLarge.into());
        }
        if self.counters != self.stored {
            group::store(&mut self.rows, &self.counters);
        }
        Ok(self.rows.into_changes())
    }
}
