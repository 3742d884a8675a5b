//! Making the one voter that is left the only one of its group, when the others are gone for good: on a log that nobody has open.
//!
//! ```text
//! log as it was | change of members | commands | , hard state that commits them, the replica's new name     one batch, flushed
//! ```
//! One batch for all groups, so whatever a crash leaves is the log as it was or the log as it shall be, in all of them. Nothing that is there
//! is taken away: the entries are the record of what was done.
//!
//! The replica goes on under a new name. Whatever a former voter says is for the old one, and nobody is that any more.
//!
//! Source: docs/adr/0016-unsafe-recovery.md.

use super::RaftLog;
use crate::error::{Fatal, OpenError};
use crate::folder::{self, Contents};
use crate::group::Group;
use crate::row::{self, ReplicaRow};
use crate::watermark::Promise;
use raft_core::{Entry, EntryKind, HardState};
use std::path::Path;
use types::{GroupId, NodeId, ReplicaId, Term};

/// What makes a replica the only voter of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The group.
    pub group: GroupId,
    /// The replica's name from now on. Its life is the first of `entries`.
    pub replica: ReplicaId,
    /// They follow the last entry of the log, and the first one changes the members. All of one term, which is above every term that is known
    /// here: [`crate::CheckedGroup::newest_term`].
    pub entries: Vec<Entry>,
}

/// Why voters were not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The log cannot be opened, such as one that a node has open. Nothing was changed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is to be written does not fit the log. Nothing was changed.
    #[error("{group} cannot be recovered in this log: {rule}")]
    Misfit {
        /// The group.
        group: GroupId,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The disk failed. The log is as it was, or as it shall be: look again.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

/// Writes the replacements into the log in `path`, which is `node`'s, all of them or none. After `Ok` they are durable, and the log is closed.
///
/// Whether they may be written nobody can tell from here: a voter that is alive goes on as if nothing had happened.
///
/// # Errors
/// [`ReplaceError`].
pub fn replace_voters(path: &Path, node: NodeId, replacements: &[Replacement]) -> Result<(), ReplaceError> {
    if folder::contents(path)? != Contents::Log {
        return Err(OpenError::NotALog { path: path.to_owned() }.into());
    }
    let (log, _) = RaftLog::open(path, node)?;
    log.replace(replacements)
}

impl RaftLog {
    fn replace(&self, replacements: &[Replacement]) -> Result<(), ReplaceError> {
        for Replacement { group, replica, entries } in replacements {
            let fits = self.fits(*group, *replica, entries);
            fits.map_err(|rule| ReplaceError::Misfit { group: *group, rule })?;
        }
        let replaced = self.change("replace the voters", true, |groups, batch| {
            for Replacement { group, replica, entries } in replacements {
                let state = groups.get(*group)?;
                state.append(*group, entries, batch)?;
                let (term, commit) = (state.terms.last_term(), state.terms.last());
                state.set_hard_state(*group, HardState { term, vote: ReplicaId(0), commit }, batch);
                state.replica = Some(*replica);
                let named = ReplicaRow { replica: *replica, gone: false };
                batch.put(row::replica_key(*group), row::encode_replica(*group, &named));
                // What was owed is not any more: nobody is left to whom.
                batch.put(row::start_key(*group), row::encode_start(*group, &state.start_row()));
            }
            Ok(())
        });
        Ok(replaced?)
    }

    fn fits(&self, group: GroupId, replica: ReplicaId, entries: &[Entry]) -> Result<(), &'static str> {
        let groups = self.groups.read();
        let state = groups.get(&group).ok_or("it is not here")?;
        let first = entries.first().ok_or("there is nothing to write")?;
        let newest = newest_term(state, self.keeper.promise(group).as_ref());
        let follows = entries.iter().zip(state.terms.last().0 + 1..).all(|(entry, index)| entry.index.0 == index);
        let life = state.replica.unwrap_or(ReplicaId::founding(self.folder.node())).life();
        let rules = [
            (follows, "the entries do not follow the last one"),
            (first.kind == EntryKind::ConfChange, "the first entry does not change the members"),
            (first.term > newest, "a term as new is known here"),
            (entries.iter().all(|entry| entry.term == first.term), "the entries are of several terms"),
            (replica.node() == self.folder.node(), "the replica is another node's"),
            (replica.life() == first.index && first.index > life, "the replica's name is not that of the first entry"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(*rule))
    }
}

/// The newest term that a group's log and what was promised for it speak of.
pub(crate) fn newest_term(state: &Group, promise: Option<&Promise>) -> Term {
    let owed = state.owed.map_or(Term(0), |owed| owed.term);
    let promised = promise.map_or(Term(0), |promise| promise.term.max(promise.reach.term));
    state.hard_state.term.max(state.terms.last_term()).max(owed).max(promised)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::GroupWrite;
    use crate::watermark::Mark;
    use bytes::Bytes;
    use std::sync::Arc;
    use types::LogIndex;

    const NODE: NodeId = NodeId(5);
    const GROUP: GroupId = GroupId(3);

    fn entry(index: u64, term: u64, kind: EntryKind) -> Entry {
        Entry { term: Term(term), index: LogIndex(index), kind, data: Bytes::from_static(b"data") }
    }

    fn replacement() -> Replacement {
        let entries = vec![entry(4, 9, EntryKind::ConfChange), entry(5, 9, EntryKind::Normal)];
        Replacement { group: GROUP, replica: ReplicaId::new(NODE, LogIndex(4)), entries }
    }

    /// A log of three entries, of which one is known to be committed, and of a vote in term 8.
    fn filled(path: &Path) -> Arc<RaftLog> {
        let log = Arc::new(RaftLog::open(path, NODE).expect("the log opens").0);
        log.create_group(GROUP).expect("created");
        let entries = (1..=3).map(|index| entry(index, 2, EntryKind::Normal)).collect();
        let vote = ReplicaId::founding(NodeId(6));
        let hard_state = Some(HardState { term: Term(8), vote, commit: LogIndex(1) });
        log.write(&[GroupWrite { group: GROUP, entries, hard_state, must_sync: true }]).expect("written");
        log.acknowledged(&[(GROUP, Mark { term: Term(8), vote, last: LogIndex(3) })]);
        log.settle().expect("settled");
        log
    }

    #[test]
    fn the_survivor_has_another_name_and_everything_is_committed() {
        let dir = tempfile::tempdir().expect("a folder");
        drop(filled(dir.path()));
        replace_voters(dir.path(), NODE, &[replacement()]).expect("replaced");
        let (log, recovery) = RaftLog::open(dir.path(), NODE).expect("the log opens");
        let log = Arc::new(log);
        assert_eq!((recovery.unclean, recovery.amnesia), (false, vec![]));
        let loaded = log.load(GROUP).expect("there");
        let hard_state = HardState { term: Term(9), vote: ReplicaId(0), commit: LogIndex(5) };
        assert_eq!((loaded.hard_state, loaded.last, loaded.last_term), (hard_state, LogIndex(5), Term(9)));
        assert_eq!((loaded.replica, loaded.owed), (Some(ReplicaId::new(NODE, LogIndex(4))), None));
        let kept = log.reader(GROUP).entries(LogIndex(1), LogIndex(4), u64::MAX).expect("readable");
        assert_eq!(kept, (1..=3).map(|index| entry(index, 2, EntryKind::Normal)).collect::<Vec<_>>());
    }

    #[test]
    fn a_log_that_is_open_or_is_none_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = filled(dir.path());
        let refused = replace_voters(dir.path(), NODE, &[replacement()]);
        assert!(matches!(refused, Err(ReplaceError::Open(OpenError::Locked { .. }))), "{refused:?}");
        drop(log);
        let refused = replace_voters(dir.path(), NodeId(6), &[replacement()]);
        assert!(matches!(refused, Err(ReplaceError::Open(OpenError::ForeignNode { .. }))), "{refused:?}");
        let empty = tempfile::tempdir().expect("a folder");
        let refused = replace_voters(empty.path(), NODE, &[replacement()]);
        assert!(matches!(refused, Err(ReplaceError::Open(OpenError::NotALog { .. }))), "{refused:?}");
        assert!(std::fs::read_dir(empty.path()).expect("a folder").next().is_none(), "it made something there");
    }

    #[test]
    fn what_does_not_fit_changes_nothing_in_any_group() {
        type Spoil = fn(&mut Replacement);
        let cases: [Spoil; 9] = [
            |it| it.group = GroupId(4),
            |it| it.entries.clear(),
            |it| it.entries.iter_mut().for_each(|entry| entry.index.0 += 1),
            |it| it.entries[1].index.0 += 1,
            |it| it.entries[0].kind = EntryKind::Normal,
            // The term of the vote.
            |it| it.entries.iter_mut().for_each(|entry| entry.term = Term(8)),
            |it| it.entries[1].term = Term(10),
            |it| it.replica = ReplicaId::new(NodeId(6), LogIndex(4)),
            |it| it.replica = ReplicaId::new(NODE, LogIndex(5)),
        ];
        let dir = tempfile::tempdir().expect("a folder");
        let log = filled(dir.path());
        let before = log.load(GROUP);
        drop(log);
        for (case, spoil) in cases.into_iter().enumerate() {
            let mut wrong = replacement();
            spoil(&mut wrong);
            let refused = replace_voters(dir.path(), NODE, &[replacement(), wrong]);
            assert!(matches!(refused, Err(ReplaceError::Misfit { .. })), "case {case}: {refused:?}");
            let (log, _) = RaftLog::open(dir.path(), NODE).expect("the log opens");
            assert_eq!(log.load(GROUP), before, "case {case}");
        }
    }

    #[test]
    fn what_was_owed_is_owed_to_nobody_any_more() {
        let (dir, short) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        drop(filled(dir.path()));
        // A log that lost its tail: the slots of the watermark beside a log of one entry.
        let log = RaftLog::open(short.path(), NODE).expect("the log opens").0;
        log.create_group(GROUP).expect("created");
        let entries = vec![entry(1, 2, EntryKind::Normal)];
        log.write(&[GroupWrite { group: GROUP, entries, hard_state: None, must_sync: true }]).expect("written");
        drop(log);
        for slot in ["WATERMARK-0", "WATERMARK-1"] {
            std::fs::copy(dir.path().join(slot), short.path().join(slot)).expect("copied");
        }
        let (log, recovery) = RaftLog::open(short.path(), NODE).expect("the log opens");
        assert_eq!((recovery.amnesia, log.load(GROUP).and_then(|log| log.owed)), (vec![GROUP], Some(LogIndex(3))));
        drop(log);
        let entries = vec![entry(2, 9, EntryKind::ConfChange)];
        let replica = ReplicaId::new(NODE, LogIndex(2));
        replace_voters(short.path(), NODE, &[Replacement { group: GROUP, replica, entries }]).expect("replaced");
        let (log, recovery) = RaftLog::open(short.path(), NODE).expect("the log opens");
        assert_eq!((recovery.amnesia, log.load(GROUP).and_then(|log| log.owed)), (vec![], None));
    }
}
