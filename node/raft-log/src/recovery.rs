//! From the bytes on the disk to groups that can be trusted, or a refusal.
//!
//! 1. Every row is read and checked; a hole or a damaged row refuses the whole log.
//! 2. What came back is compared with the watermark; a group that comes back with less is listed and stays in debt
//!    until it has been refilled.
//! 3. After an unclean stop the page cache may hold what the disk does not, for example after a failed flush: what is
//!    read now might be gone after the next power cut. So everything is flushed again before anyone acts on it.

use crate::db::{range_options, write_options};
use crate::error::OpenError;
use crate::folder::Found;
use crate::group::Group;
use crate::row::{self, Key, Reach};
use crate::watermark::Promise;
use mistakes::{Mistake, is_planted};
use raft_core::HardState;
use rocksdb::{DB, DBRawIterator, ReadOptions, WriteBatch};
use std::collections::BTreeMap;
use std::path::Path;
use types::{GroupId, LogIndex, ReplicaId};

/// How the log was found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The process or the machine died last time; a voter has reasons to be careful even if nothing is missing.
    pub unclean: bool,
    /// Groups that came back with less than this node promised, in order, or are gone ([`crate::RaftLog::load`] answers
    /// `None`). They must not vote, campaign or be counted until they were refilled from their peers. They are listed
    /// again at every start until their log reaches as far as it did.
    pub amnesia: Vec<GroupId>,
}

/// The groups of a log.
pub(crate) type Groups = BTreeMap<GroupId, Group>;
/// The replicas that were here and were let go, by group.
pub(crate) type Former = BTreeMap<GroupId, ReplicaId>;

/// Tail of each group's log that is written again after an unclean stop; all of them together are one batch, so with
/// many groups each gets less. Flushing the database before has already made the whole log durable: this is the second
/// belt, and 1 MiB is more than one loop writes for one group.
const TAIL_BYTES_MAX: usize = 1 << 20;
const TAILS_BYTES_MAX: usize = 32 << 20;

/// Reads, checks and, where needed, settles what the database holds.
pub(crate) fn recover(
    db: &DB,
    path: &Path,
    promises: &BTreeMap<GroupId, Promise>,
    found: Found,
) -> Result<(Groups, Former, Recovery), OpenError> {
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let (mut groups, former) = load_groups(db, path)?;
    let mut recovery = Recovery { unclean: found == Found::Unclean, amnesia: Vec::new() };
    for (group, state) in &mut groups {
        if judge(state, promises.get(group)) {
            recovery.amnesia.push(*group);
        }
    }
    recovery.amnesia.extend(promises.keys().filter(|group| !groups.contains_key(group) && !former.contains_key(group)));
    recovery.amnesia.sort_unstable();
    if recovery.unclean || !recovery.amnesia.is_empty() {
        db.flush().map_err(database)?;
        let batch = again(db, &groups).map_err(database)?;
        db.write_opt(batch, &write_options(true)).map_err(database)?;
    }
    Ok((groups, former, recovery))
}

/// Compares a group with what it promised; `true` if it came back with less. Notes what it owes from now on.
pub(crate) fn judge(group: &mut Group, promise: Option<&Promise>) -> bool {
    let promise = promise.filter(|_| !is_planted(Mistake::DamagedLogOpened));
    let mut lost = false;
    if let Some(promise) = promise {
        lost |= promise.vote_lost(group.hard_state.term, group.hard_state.vote);
        if group.rewrites < promise.rewrites {
            // The rewrite itself is lost, so the entries may be wrong ones whatever their number. An entry of the
            // term in which the promise was made, or a newer one, can only come from a leader that knows better.
            group.rewrites = promise.rewrites;
            let term = promise.reach.term.max(promise.term);
            group.owed = group.owed.max(Some(Reach { term, index: promise.reach.index }));
            lost = true;
        } else if group.rewrites == promise.rewrites && group.reach() < promise.reach {
            group.owed = group.owed.max(Some(promise.reach));
        }
    }
    if group.hard_state.commit > group.terms.last() {
        // Entries that were known to be committed are gone. The commit index follows, because Raft cannot begin with one
        // behind its log.
        group.owed = group.owed.max(Some(Reach { term: group.terms.last_term(), index: group.hard_state.commit }));
        group.hard_state.commit = group.terms.last();
    }
    group.owed = group.owed.filter(|_| group.in_debt());
    lost || group.in_debt()
}

fn load_groups(db: &DB, path: &Path) -> Result<(Groups, Former), OpenError> {
    let (mut groups, mut former) = (Groups::new(), Former::new());
    let mut next = 0u32;
    while let Some(group) = first_group(db, path, next)? {
        let row = db.get_pinned(row::replica_key(group));
        let row = row.map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
        let row = row.map(|row| row::decode_replica(group, &row)).transpose();
        let row = row.map_err(|_| OpenError::DamagedRow { group, what: "the replica's name" })?;
        match row {
            Some(row) if row.gone => {
                former.insert(group, row.replica);
            }
            named => {
                let mut state = load_group(db, path, group)?;
                state.replica = named.map(|row| row.replica);
                groups.insert(group, state);
            }
        }
        next = group.0 + 1;
    }
    Ok((groups, former))
}

/// The first group at or behind number `from` that has any row.
fn first_group(db: &DB, path: &Path, from: u32) -> Result<Option<GroupId>, OpenError> {
    let mut rows = db.raw_iterator_opt(ReadOptions::default());
    rows.seek(from.to_be_bytes());
    let Some(key) = rows.key() else {
        check(&rows, path)?;
        return Ok(None);
    };
    let group = key.first_chunk().map_or(GroupId::LIMIT, |number| u32::from_be_bytes(*number));
    if group >= GroupId::LIMIT {
        return Err(OpenError::DamagedRow { group: GroupId(group), what: "a key of no group" });
    }
    Ok(Some(GroupId(group)))
}

fn load_group(db: &DB, path: &Path, group: GroupId) -> Result<Group, OpenError> {
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let damaged = |what| OpenError::DamagedRow { group, what };
    let start = db.get_pinned(row::start_key(group)).map_err(database)?.ok_or(damaged("the start is missing"))?;
    let start = row::decode_start(group, &start).map_err(|_| damaged("the start"))?;
    let mut state = Group::new(start);
    if let Some(hard_state) = db.get_pinned(row::hard_state_key(group)).map_err(database)? {
        state.hard_state = row::decode_hard_state(group, &hard_state).map_err(|_| damaged("the hard state"))?;
    }
    let mut rows = db.raw_iterator_opt(range_options(&group.0.to_be_bytes(), &(group.0 + 1).to_be_bytes()));
    rows.seek_to_first();
    while let Some((key, value)) = rows.item() {
        match row::parse_key(key) {
            Some(Key::Entry(_, index)) => load_entry(&mut state, group, index, value)?,
            Some(Key::HardState(_) | Key::Start(_) | Key::Replica(_)) => {}
            None => return Err(damaged("a key of no kind")),
        }
        rows.next();
    }
    check(&rows, path)?;
    Ok(state)
}

fn load_entry(state: &mut Group, group: GroupId, index: LogIndex, value: &[u8]) -> Result<(), OpenError> {
    let (start, last) = (state.terms.start().index, state.terms.last());
    if index <= start {
        // Truncated, but not yet worth a range tombstone.
        state.deleted_to = state.deleted_to.min(LogIndex(index.0.saturating_sub(1)));
        return Ok(());
    }
    if index.0 - 1 != last.0 {
        return Err(OpenError::Hole { group, after: last, found: index });
    }
    let (term, _) =
        row::check_entry(group, index, value).map_err(|_| OpenError::DamagedRow { group, what: "an entry" })?;
    if term < state.terms.last_term() {
        return Err(OpenError::DamagedRow { group, what: "an entry of an older term than the one before" });
    }
    state.terms.push(term);
    Ok(())
}

fn check(rows: &DBRawIterator<'_>, path: &Path) -> Result<(), OpenError> {
    rows.status().map_err(|source| OpenError::Database { path: path.to_owned(), source })
}

/// Starts, hard states and the tails of all logs, to be written once more.
fn again(db: &DB, groups: &Groups) -> Result<WriteBatch, rocksdb::Error> {
    let mut batch = WriteBatch::default();
    let bytes_max = TAIL_BYTES_MAX.min(TAILS_BYTES_MAX / groups.len().max(1));
    for (group, state) in groups {
        batch.put(row::start_key(*group), row::encode_start(*group, &state.start_row()));
        if let Some(replica) = state.replica {
            let row = row::ReplicaRow { replica, gone: false };
            batch.put(row::replica_key(*group), row::encode_replica(*group, &row));
        }
        if state.hard_state != HardState::default() {
            batch.put(row::hard_state_key(*group), row::encode_hard_state(*group, &state.hard_state));
        }
        let first = row::entry_key(*group, LogIndex(state.terms.start().index.0 + 1));
        let mut rows = db.raw_iterator_opt(range_options(&first, &row::entries_end(*group)));
        rows.seek_to_last();
        let mut bytes = 0;
        while let Some((key, value)) = rows.item().filter(|_| bytes < bytes_max) {
            bytes += value.len();
            batch.put(key, value);
            rows.prev();
        }
        rows.status()?;
    }
    Ok(batch)
}
