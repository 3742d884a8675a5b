//! The log itself.

pub(crate) mod replace;

use crate::db::{self, Fence, LogConfig, write_options};
use crate::error::{Cause, Fatal, OpenError};
use crate::folder::{Folder, Found};
use crate::group::{Group, bury};
use crate::reader::{self, Reader};
use crate::recovery::{self, Former, Groups, Recovery};
use crate::row::{self, Reach, ReplicaRow, StartRow};
use crate::watermark::{self, Keeper, Mark, Promise};
use parking_lot::{Mutex, RwLock};
use raft_core::{Entry, HardState, LogReader, LogStart};
use rocksdb::{DB, WriteBatch};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use types::{GroupId, LogIndex, NodeId, ReplicaId, Term};

/// What is known of a group's log at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GroupLog {
    /// The term, vote and commit index; all zero for a new group.
    pub hard_state: HardState,
    /// Everything up to here is gone.
    pub start: LogStart,
    /// The last entry, or the start's index if there is none behind it.
    pub last: LogIndex,
    /// Its term.
    pub last_term: Term,
    /// How far the log must reach again after a loss, before the replica may be trusted with a vote.
    pub owed: Option<LogIndex>,
    /// Which replica this is; `None` for one that the group began with.
    pub replica: Option<ReplicaId>,
}

/// What one loop writes for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupWrite {
    /// The group, which must exist.
    pub group: GroupId,
    /// New entries, following each other. They replace whatever stands at their places and behind them.
    pub entries: Vec<Entry>,
    /// The new hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// Whether it must be durable before the loop goes on: always with entries, a new term or a vote.
    pub must_sync: bool,
}

/// The durable log of all groups of a node. Share it by `Arc`; dropping the last one closes it in order.
///
/// Writes from several threads are taken one after the other. Every [`Fatal`] closes a fence: all later writes fail.
pub struct RaftLog {
    db: DB,
    /// Taken round every change, so that the batches reach the disk in the order in which they were checked.
    writing: Mutex<()>,
    groups: RwLock<Groups>,
    former: RwLock<Former>,
    keeper: Keeper,
    fence: Arc<Fence>,
    folder: Folder,
}

impl RaftLog {
    /// [`RaftLog::open_with`] the default settings.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, node: NodeId) -> Result<(RaftLog, Recovery), OpenError> {
        Self::open_with(path, node, &LogConfig::default())
    }

    /// Opens the log in `path`, checks it whole and says how it was found. An empty or missing folder becomes a new log.
    ///
    /// Reads every entry once. When it returns, what it reports is durable, also after an unclean stop.
    ///
    /// # Errors
    /// See [`OpenError`]. Whatever speaks of damage means: this replica is lost, replace the node; never repair it by
    /// hand, because a voter that has forgotten something can undo what the cluster has acknowledged.
    pub fn open_with(path: &Path, node: NodeId, config: &LogConfig) -> Result<(RaftLog, Recovery), OpenError> {
        let (folder, found) = Folder::open(path, node)?;
        let (sequence, promises) = match (watermark::read(path)?, found) {
            (Some(slot), _) => slot,
            (None, Found::New) => Default::default(),
            (None, _) => return Err(OpenError::WatermarkLost { path: path.to_owned() }),
        };
        let db_path = folder.db();
        // A database that vanished whole is made anew and every group that ever promised anything is listed. One
        // that vanished in part is refused: what is left of it may be wanted.
        let create = found == Found::New || folder.db_is_empty()? || (promises.is_empty() && !folder.db_exists()?);
        rocks_check::check_folder(&db_path).map_err(|source| OpenError::Rotten { path: db_path.clone(), source })?;
        let db = db::open(&db_path, create, config)
            .map_err(|source| OpenError::Database { path: db_path.clone(), source })?;
        let (groups, former, recovery) = recovery::recover(&db, &db_path, &promises, found)?;
        let slots = watermark::Slots::create(path, sequence, &promises)?;
        if found == Found::New {
            folder.finish_creation()?;
        }
        let fence = Arc::new(Fence::default());
        let keeper = Keeper::start(slots, promises, Arc::clone(&fence))
            .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        let log = RaftLog {
            db,
            writing: Mutex::new(()),
            groups: RwLock::new(groups),
            former: RwLock::new(former),
            keeper,
            fence,
            folder,
        };
        Ok((log, recovery))
    }

    /// All groups that were created, in order.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupId> {
        self.groups.read().keys().copied().collect()
    }

    /// What the log holds of a group; `None` if it was never created. Never reads the disk.
    #[must_use]
    pub fn load(&self, group: GroupId) -> Option<GroupLog> {
        let groups = self.groups.read();
        let Group { hard_state, terms, owed, replica, .. } = groups.get(&group)?;
        Some(GroupLog {
            owed: owed.map(|reach| reach.index),
            hard_state: *hard_state,
            start: terms.start(),
            last: terms.last(),
            last_term: terms.last_term(),
            replica: *replica,
        })
    }

    /// Creates a group with an empty log, durably. No change if it exists.
    ///
    /// # Errors
    /// [`Fatal`]: stop.
    pub fn create_group(&self, group: GroupId) -> Result<(), Fatal> {
        self.change("create a group", true, |groups, batch| {
            if groups.get(group).is_err() {
                let state = self.new_group(group);
                batch.put(row::start_key(group), row::encode_start(group, &state.start_row()));
                groups.insert(group, state);
            }
            Ok(())
        })
    }

    /// The replica of a group that was here and was let go, if the last one was. It never comes back.
    #[must_use]
    pub fn former(&self, group: GroupId) -> Option<ReplicaId> {
        self.former.read().get(&group).copied()
    }

    /// All groups of which a replica was here and was let go.
    #[must_use]
    pub fn all_former(&self) -> Vec<GroupId> {
        self.former.read().keys().copied().collect()
    }

    /// Creates a group with an empty log for a replica that was taken in later, durably. What a former replica of the group here has
    /// promised is forgotten.
    ///
    /// # Errors
    /// [`Fatal`]: an I/O error; or the group exists, or `replica` is not newer than the one that was here. Stop.
    pub fn admit(&self, group: GroupId, replica: ReplicaId) -> Result<(), Fatal> {
        const DOING: &str = "admit a replica";
        let stale = self.former(group).is_some_and(|former| former.life() >= replica.life());
        if stale || self.groups.read().contains_key(&group) {
            let rule = "only a newer replica takes the place of one that was let go";
            return Err(self.fatal(DOING, Cause::Misfit { group, index: replica.life(), rule }));
        }
        // First, and durably: a promise must not be taken for one of the new replica.
        self.keeper.forget(group);
        self.keeper.settle().map_err(|cause| self.fatal(DOING, cause))?;
        self.change(DOING, true, |groups, batch| {
            let mut state = self.new_group(group);
            state.replica = Some(replica);
            batch.put(row::start_key(group), row::encode_start(group, &state.start_row()));
            batch.put(row::replica_key(group), row::encode_replica(group, &ReplicaRow { replica, gone: false }));
            groups.insert(group, state);
            Ok(())
        })?;
        self.former.write().remove(&group);
        Ok(())
    }

    /// Removes a group's log, durably. All that stays is which replica was here: [`RaftLog::former`]. No change if there is none.
    ///
    /// # Errors
    /// [`Fatal`]: stop.
    pub fn remove_group(&self, group: GroupId) -> Result<(), Fatal> {
        let mut buried = None;
        self.change("remove a group", true, |groups, batch| {
            if let Ok(state) = groups.get(group) {
                let replica = state.replica.unwrap_or(ReplicaId::founding(self.folder.node()));
                bury(group, replica, batch);
                buried = Some(replica);
            }
            Ok(())
        })?;
        if let Some(replica) = buried {
            self.groups.write().remove(&group);
            self.former.write().insert(group, replica);
            self.keeper.forget(group);
        }
        Ok(())
    }

    /// Writes what one loop has for all groups, in one batch: all of it or none survives a crash.
    ///
    /// After `Ok` it is durable if any of the writes asked for that; a later durable write makes it so too.
    ///
    /// # Errors
    /// [`Fatal`]: an I/O error, an unknown group, or entries that would leave a hole. Stop; what reached the disk is
    /// unknown.
    pub fn write(&self, writes: &[GroupWrite]) -> Result<(), Fatal> {
        let sync = writes.iter().any(|write| write.must_sync);
        self.change("write", sync, |groups, batch| {
            for write in writes {
                let state = groups.get(write.group)?;
                state.append(write.group, &write.entries, batch)?;
                if let Some(hard_state) = write.hard_state {
                    state.set_hard_state(write.group, hard_state, batch);
                }
            }
            Ok(())
        })
    }

    /// Reads a group's entries. An unknown group or an entry that is not there is an error of the read.
    #[must_use]
    pub fn reader(self: &Arc<Self>, group: GroupId) -> Arc<dyn LogReader> {
        Arc::new(Reader { log: Arc::clone(self), group })
    }

    /// The term of an entry, or of the log's start; `None` before and behind. Never reads the disk.
    ///
    /// # Errors
    /// [`Fatal`]: the group is unknown.
    pub fn term(&self, group: GroupId, index: LogIndex) -> Result<Option<Term>, Fatal> {
        let groups = self.groups.read();
        let state = groups.get(&group).ok_or_else(|| self.fatal("find a term", Cause::UnknownGroup(group)))?;
        Ok(state.terms.get(index))
    }

    /// Drops the entries up to `to.index`, which the log holds and the state machine's store has durably applied.
    ///
    /// Not flushed: after a crash they may be back. No change if the log begins there or behind.
    ///
    /// # Errors
    /// [`Fatal`]: an I/O error, or `to` is not an entry of the log.
    pub fn truncate(&self, group: GroupId, to: LogStart) -> Result<(), Fatal> {
        self.change("truncate", false, |groups, batch| groups.get(group)?.truncate(group, to, batch).map(drop))
    }

    /// A snapshot was installed: the log of the group is empty and goes on behind `to`. Creates the group if needed; durable.
    ///
    /// Call it after the snapshot itself is durable and in place.
    ///
    /// # Errors
    /// [`Fatal`]: stop.
    pub fn reset(&self, group: GroupId, hard_state: HardState, to: LogStart) -> Result<(), Fatal> {
        self.change("install a snapshot", true, |groups, batch| {
            if groups.get(group).is_err() {
                groups.insert(group, self.new_group(group));
            }
            groups.get(group)?.reset(group, hard_state, to, batch);
            Ok(())
        })
    }

    /// Notes what the messages just sent have promised; call it after each loop that sent any. Never waits for the disk.
    ///
    /// Marks of unknown groups are ignored, and so is whatever a mark says beyond the end of the log.
    pub fn acknowledged(&self, marks: &[(GroupId, Mark)]) {
        let groups = self.groups.read();
        self.keeper.add(marks.iter().filter_map(|(group, mark)| {
            let state = groups.get(group)?;
            // Entries that a later loop replaced in the meantime are no longer promised.
            let index = mark.last.min(state.terms.last());
            let term = state.terms.get(index).unwrap_or_default();
            let reach = Reach { term, index };
            let promise = Promise { term: mark.term, vote: mark.vote, rewrites: state.rewrites, reach };
            Some((*group, promise, state.in_debt()))
        }));
    }

    /// Waits until everything acknowledged so far is in the watermark, durably. For an orderly hand-over and for tests.
    ///
    /// # Errors
    /// [`Fatal`]: the watermark could not be written.
    pub fn settle(&self) -> Result<(), Fatal> {
        self.keeper.settle().map_err(|cause| self.fatal("settle the watermark", cause))
    }

    /// The entries `from..to` of a group; see [`LogReader::entries`].
    pub(crate) fn entries(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Entry>, Cause> {
        self.fence.check()?;
        let start = self.groups.read().get(&group).ok_or(Cause::UnknownGroup(group))?.terms.start();
        if from <= start.index {
            return Err(Cause::Misfit { group, index: from, rule: "truncated entries cannot be read" });
        }
        reader::read(&self.db, group, from, to, bytes_max)
    }

    /// One change: `edit` checks it and fills the batch, then the batch is written, then memory follows.
    fn change(
        &self,
        doing: &'static str,
        sync: bool,
        edit: impl FnOnce(&mut Changes<'_>, &mut WriteBatch) -> Result<(), Cause>,
    ) -> Result<(), Fatal> {
        let _writing = self.writing.lock();
        let mut changes = Changes { groups: &self.groups, changed: BTreeMap::new() };
        let mut batch = WriteBatch::default();
        let written = self.fence.check().and_then(|()| edit(&mut changes, &mut batch)).and_then(|()| {
            if batch.is_empty() {
                return Ok(());
            }
            Ok(self.db.write_opt(batch, &write_options(sync))?)
        });
        written.map_err(|cause| self.fatal(doing, cause))?;
        self.groups.write().extend(changes.changed);
        Ok(())
    }

    /// A group without a log. If one of that number made promises before, it owes them.
    fn new_group(&self, group: GroupId) -> Group {
        let mut state = Group::new(StartRow::default());
        recovery::judge(&mut state, self.keeper.promise(group).as_ref());
        state
    }

    /// Closes the fence and tells why.
    fn fatal(&self, doing: &'static str, cause: Cause) -> Fatal {
        self.fence.close(format!("failed to {doing}: {cause}"));
        Fatal { doing, cause }
    }
}

impl Drop for RaftLog {
    /// Flushes everything and leaves the mark of an orderly shutdown, unless something has failed.
    fn drop(&mut self) {
        self.keeper.stop();
        if self.fence.check().is_err() {
            return;
        }
        let flushed = self.db.flush_wal(true).map_err(|error| error.to_string());
        if let Err(error) = flushed.and_then(|()| self.folder.mark_clean().map_err(|error| error.to_string())) {
            tracing::error!(%error, folder = %self.folder.root().display(), "the raft log was not closed in order");
        }
    }
}

/// Copies of the groups that a change touches.
struct Changes<'a> {
    groups: &'a RwLock<Groups>,
    changed: Groups,
}

impl Changes<'_> {
    fn get(&mut self, group: GroupId) -> Result<&mut Group, Cause> {
        if !self.changed.contains_key(&group) {
            let state = self.groups.read().get(&group).cloned().ok_or(Cause::UnknownGroup(group))?;
            self.changed.insert(group, state);
        }
        self.changed.get_mut(&group).ok_or(Cause::UnknownGroup(group))
    }

    fn insert(&mut self, group: GroupId, state: Group) {
        self.changed.insert(group, state);
    }
}

#[cfg(test)]
mod tests;
