//! One group's log as memory knows it, and the changes it allows.
//!
//! Every change checks that it fits, puts its rows into a batch and updates the copy it is called on. The caller
//! writes the batch and keeps the copy only if that succeeded.

use crate::error::Cause;
use crate::row::{self, Reach, ReplicaRow, StartRow};
use crate::terms::Terms;
use raft_core::{Entry, HardState, LogStart};
use rocksdb::WriteBatch;
use types::{GroupId, LogIndex, ReplicaId};

/// Fewer entries than this are removed one by one; a range tombstone costs every later read of the range.
pub(crate) const DELETE_RANGE_ENTRIES_MIN: u64 = 4096;

/// What is known of a group without reading the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) hard_state: HardState,
    pub(crate) terms: Terms,
    /// How often entries were replaced by others.
    pub(crate) rewrites: u64,
    /// Which replica this is, if it is not one that the group began with.
    pub(crate) replica: Option<ReplicaId>,
    /// What the log must reach again after a loss.
    pub(crate) owed: Option<Reach>,
    /// Entries up to here are gone from the database too; those up to the start may still lie there.
    pub(crate) deleted_to: LogIndex,
}

impl Group {
    /// A group whose log is empty behind `row.start`.
    pub(crate) fn new(row: StartRow) -> Group {
        Group {
            hard_state: HardState::default(),
            terms: Terms::new(row.start),
            rewrites: row.rewrites,
            replica: None,
            owed: row.owed,
            deleted_to: row.start.index,
        }
    }

    /// How far the log reaches.
    pub(crate) fn reach(&self) -> Reach {
        Reach { term: self.terms.last_term(), index: self.terms.last() }
    }

    /// Whether the group has not made good for a loss yet.
    pub(crate) fn in_debt(&self) -> bool {
        self.owed.is_some_and(|owed| self.reach() < owed)
    }

    /// The row that stands for the start of the log as it is now.
    pub(crate) fn start_row(&self) -> StartRow {
        StartRow { start: self.terms.start(), rewrites: self.rewrites, owed: self.owed.filter(|_| self.in_debt()) }
    }

    /// Replaces the hard state.
    pub(crate) fn set_hard_state(&mut self, group: GroupId, state: HardState, batch: &mut WriteBatch) {
        batch.put(row::hard_state_key(group), row::encode_hard_state(group, &state));
        self.hard_state = state;
    }

    /// Appends entries; what stands at their places and behind them goes.
    pub(crate) fn append(&mut self, group: GroupId, entries: &[Entry], batch: &mut WriteBatch) -> Result<(), Cause> {
        let Some(first) = entries.first().map(|entry| entry.index) else {
            return Ok(());
        };
        let misfit = |index, rule| Err(Cause::Misfit { group, index, rule });
        if first <= self.terms.start().index {
            return misfit(first, "an entry must not replace what was truncated");
        }
        if first.0 - 1 > self.terms.last().0 {
            return misfit(first, "an entry must follow the last one without a hole");
        }
        let old_last = self.terms.last();
        if first <= old_last {
            self.terms.cut_from(first);
            self.rewrites += 1;
        }
        for entry in entries {
            if entry.index.0 != self.terms.last().0 + 1 {
                return misfit(entry.index, "entries must follow each other without a hole");
            }
            if entry.term < self.terms.last_term() {
                return misfit(entry.index, "terms must not fall along the log");
            }
            self.terms.push(entry.term);
            batch.put(row::entry_key(group, entry.index), row::encode_entry(group, entry));
        }
        if first <= old_last {
            remove(group, LogIndex(self.terms.last().0 + 1), old_last, batch);
            batch.put(row::start_key(group), row::encode_start(group, &self.start_row()));
        }
        self.owed = self.owed.filter(|_| self.in_debt());
        Ok(())
    }

    /// Moves the start forward; `Ok(false)` if it is there already.
    pub(crate) fn truncate(&mut self, group: GroupId, to: LogStart, batch: &mut WriteBatch) -> Result<bool, Cause> {
        if to.index <= self.terms.start().index {
            return Ok(false);
        }
        if self.terms.get(to.index) != Some(to.term) {
            let rule = "the log is truncated at an entry it holds, with that entry's term";
            return Err(Cause::Misfit { group, index: to.index, rule });
        }
        self.terms.cut_to(to.index);
        batch.put(row::start_key(group), row::encode_start(group, &self.start_row()));
        if to.index.0 - self.deleted_to.0 >= DELETE_RANGE_ENTRIES_MIN {
            remove(group, LogIndex(self.deleted_to.0 + 1), to.index, batch);
            self.deleted_to = to.index;
        }
        Ok(true)
    }

    /// Empties the log and lets it begin behind `to`.
    pub(crate) fn reset(&mut self, group: GroupId, state: HardState, to: LogStart, batch: &mut WriteBatch) {
        batch.delete_range(&row::entry_key(group, LogIndex(0))[..], &row::entries_end(group)[..]);
        self.terms = Terms::new(to);
        self.rewrites += 1;
        self.deleted_to = to.index;
        batch.put(row::start_key(group), row::encode_start(group, &self.start_row()));
        self.owed = self.owed.filter(|_| self.in_debt());
        self.set_hard_state(group, state, batch);
    }
}

/// Removes everything of a group but the row that says which replica was here.
pub(crate) fn bury(group: GroupId, replica: ReplicaId, batch: &mut WriteBatch) {
    batch.delete_range(&row::entry_key(group, LogIndex(0))[..], &row::entries_end(group)[..]);
    batch.delete(row::hard_state_key(group));
    batch.delete(row::start_key(group));
    batch.put(row::replica_key(group), row::encode_replica(group, &ReplicaRow { replica, gone: true }));
}

/// Removes the entries `first..=last`; nothing if the range is empty.
fn remove(group: GroupId, first: LogIndex, last: LogIndex, batch: &mut WriteBatch) {
    if (last.0 + 1).saturating_sub(first.0) >= DELETE_RANGE_ENTRIES_MIN {
        let end = row::entry_key(group, LogIndex(last.0 + 1));
        batch.delete_range(row::entry_key(group, first), end);
        return;
    }
    (first.0..=last.0).for_each(|index| batch.delete(row::entry_key(group, LogIndex(index))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use raft_core::EntryKind;
    use types::Term;

    const GROUP: GroupId = GroupId(1);

    fn entries(from: u64, terms: &[u64]) -> Vec<Entry> {
        let entry = |(i, term): (usize, &u64)| Entry {
            term: Term(*term),
            index: LogIndex(from + i as u64),
            kind: EntryKind::Normal,
            data: Bytes::new(),
        };
        terms.iter().enumerate().map(entry).collect()
    }

    fn filled() -> Group {
        let mut group = Group::new(StartRow::default());
        group.append(GROUP, &entries(1, &[1, 1, 2]), &mut WriteBatch::default()).expect("fits");
        group
    }

    #[test]
    fn entries_that_leave_a_hole_or_go_back_in_term_are_refused() {
        let refused =
            |from, terms: &[u64]| filled().append(GROUP, &entries(from, terms), &mut WriteBatch::default()).is_err();
        assert!(refused(5, &[2]) && refused(0, &[1]) && refused(4, &[1]) && refused(4, &[3, 2]));
        assert!(!refused(4, &[2]) && !refused(3, &[3]) && !refused(1, &[1]));
        let mut torn = entries(4, &[2, 2]);
        torn[1].index = LogIndex(6);
        assert!(filled().append(GROUP, &torn, &mut WriteBatch::default()).is_err());
    }

    #[test]
    fn truncation_needs_an_entry_of_the_log_and_its_term() {
        let truncate = |index, term| {
            let to = LogStart { index: LogIndex(index), term: Term(term) };
            filled().truncate(GROUP, to, &mut WriteBatch::default())
        };
        assert!(truncate(4, 2).is_err() && truncate(3, 1).is_err());
        assert!(matches!((truncate(3, 2), truncate(0, 0)), (Ok(true), Ok(false))));
    }

    #[test]
    fn a_debt_lasts_until_the_log_reaches_that_far() {
        let mut group = filled();
        group.owed = Some(Reach { term: Term(3), index: LogIndex(5) });
        assert!(group.in_debt());
        group.append(GROUP, &entries(2, &[2, 3, 3]), &mut WriteBatch::default()).expect("fits");
        assert!(group.in_debt() && group.rewrites == 1);
        group.append(GROUP, &entries(5, &[3]), &mut WriteBatch::default()).expect("fits");
        assert_eq!(group.owed, None);
        group.append(GROUP, &entries(4, &[4]), &mut WriteBatch::default()).expect("fits");
        assert_eq!((group.in_debt(), group.terms.last()), (false, LogIndex(4)));
    }
}
