//! Every row of the database in its order, one group after the other.

use super::{CheckedGroup, REFILL, REPLACE};
use crate::db;
use crate::group::Group;
use crate::log::replace::newest_term;
use crate::recovery;
use crate::row::{self, Key};
use crate::watermark::{Mark, Promise};
use raft_core::{Entry, EntryKind, HardState};
use rocksdb::DB;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use types::{Findings, GroupId, LogIndex, Term};

/// Changes of members that are kept of a group: more than are ever under way.
const CHANGES_MAX: usize = 256;

/// One group, while its rows go by.
struct Open {
    id: GroupId,
    state: Group,
    /// Where the next entry is expected; `None`: anywhere, since the start cannot be read.
    next: Option<LogIndex>,
    term: Term,
    entries: u64,
    bytes: u64,
    changes: VecDeque<Entry>,
    /// All its rows are what was written.
    sound: bool,
    /// The replica was let go: only its name is here.
    gone: bool,
}

pub(super) fn walk(
    db: &DB,
    path: &Path,
    promises: &BTreeMap<GroupId, Promise>,
    former: &mut BTreeSet<GroupId>,
    findings: &mut Findings,
    progress: &mut dyn FnMut(u64),
) -> BTreeMap<GroupId, CheckedGroup> {
    let mut groups = BTreeMap::new();
    let mut open: Option<Open> = None;
    let mut rows = db.raw_iterator_opt(db::scan_options());
    rows.seek_to_first();
    while let Some((key, value)) = rows.item() {
        progress((key.len() + value.len()) as u64);
        match row::parse_key(key) {
            Some(parsed) if parsed.group().0 < GroupId::LIMIT => {
                let group = parsed.group();
                if open.as_ref().is_none_or(|open| open.id != group) {
                    close(open.take(), promises, (&mut groups, former), findings);
                }
                let open = open.get_or_insert_with(|| Open::begin(db, group, findings));
                if let Key::Entry(_, index) = parsed {
                    open.entry(index, value, findings);
                }
            }
            _ => {
                let what = format!("a row under the key {}, which is none of a log", hex(key));
                findings.damage("log-stray-row", path.display(), what, REPLACE);
            }
        }
        rows.next();
    }
    close(open, promises, (&mut groups, former), findings);
    if let Err(error) = rows.status() {
        findings.damage("log-unreadable", path.display(), error, REPLACE);
    }
    groups
}

fn close(
    open: Option<Open>,
    promises: &BTreeMap<GroupId, Promise>,
    (groups, former): (&mut BTreeMap<GroupId, CheckedGroup>, &mut BTreeSet<GroupId>),
    findings: &mut Findings,
) {
    let Some(open) = open else { return };
    let group = open.id;
    if open.gone {
        former.insert(group);
    } else {
        groups.insert(group, open.end(promises.get(&group), findings));
    }
}

impl Open {
    /// Start and hard state stand behind the entries, and are needed before.
    fn begin(db: &DB, id: GroupId, findings: &mut Findings) -> Open {
        let mut sound = true;
        let mut start = None;
        let named = match db.get_pinned(row::replica_key(id)) {
            Ok(row) => row.map(|row| row::decode_replica(id, &row)).transpose(),
            Err(error) => {
                sound = false;
                findings.damage("log-unreadable", id, error, REPLACE);
                Ok(None)
            }
        };
        if named.is_err() {
            sound = false;
            findings.damage("log-replica-damaged", id, "the replica's name is damaged", REPLACE);
        }
        let named = named.unwrap_or_default();
        if named.is_some_and(|named| named.gone) {
            let state = Group::new(row::StartRow::default());
            let (next, term, changes) = (None, Term(0), VecDeque::new());
            return Open { id, state, next, term, entries: 0, bytes: 0, changes, sound, gone: true };
        }
        match db.get_pinned(row::start_key(id)) {
            Ok(Some(value)) => match row::decode_start(id, &value) {
                Ok(row) => start = Some(row),
                Err(row::Damaged) => findings.damage("log-start-damaged", id, "the start row is damaged", REPLACE),
            },
            Ok(None) => findings.damage("log-start-missing", id, "rows, but no start row", REPLACE),
            Err(error) => findings.damage("log-unreadable", id, error, REPLACE),
        }
        sound &= start.is_some();
        let mut state = Group::new(start.unwrap_or_default());
        match db.get_pinned(row::hard_state_key(id)) {
            Ok(Some(value)) => match row::decode_hard_state(id, &value) {
                Ok(hard_state) => state.hard_state = hard_state,
                Err(row::Damaged) => {
                    sound = false;
                    findings.damage("log-hard-state-damaged", id, "term, vote and commit index are damaged", REPLACE);
                }
            },
            Ok(None) => state.hard_state = HardState::default(),
            Err(error) => {
                sound = false;
                findings.damage("log-unreadable", id, error, REPLACE);
            }
        }
        state.replica = named.map(|named| named.replica);
        let (next, term) = (start.map(|row| LogIndex(row.start.index.0 + 1)), state.terms.last_term());
        Open { id, state, next, term, entries: 0, bytes: 0, changes: VecDeque::new(), sound, gone: false }
    }

    fn entry(&mut self, index: LogIndex, value: &[u8], findings: &mut Findings) {
        if index <= self.state.terms.start().index || self.gone {
            // Cut off, and not yet worth a range tombstone.
            return;
        }
        let place = format!("{}/{index}", self.id);
        if let Some(next) = self.next.filter(|next| *next != index) {
            self.sound = false;
            let what = format!("{index} follows {}", LogIndex(next.0 - 1));
            findings.damage("log-hole", &place, what, REPLACE);
        }
        self.next = Some(LogIndex(index.0 + 1));
        self.entries += 1;
        self.bytes += value.len() as u64;
        match row::check_entry(self.id, index, value) {
            Ok((term, kind)) => {
                if kind == EntryKind::ConfChange
                    && let Ok(entry) = row::decode_entry(self.id, index, value)
                {
                    if self.changes.len() == CHANGES_MAX {
                        self.changes.pop_front();
                    }
                    self.changes.push_back(entry);
                }
                if term < self.term {
                    self.sound = false;
                    let what = format!("of {term}, behind one of {}", self.term);
                    findings.damage("log-term-falls", &place, what, REPLACE);
                }
                self.term = term;
                if self.sound {
                    self.state.terms.push(term);
                }
            }
            Err(row::Damaged) => {
                self.sound = false;
                findings.damage("log-entry-damaged", &place, "does not match its checksum", REPLACE);
            }
        }
    }

    fn end(self, promise: Option<&Promise>, findings: &mut Findings) -> CheckedGroup {
        let last = LogIndex(self.next.map_or(0, |next| next.0 - 1));
        let hard_state = self.state.hard_state;
        // The same judgement as at a start, on a copy that nobody keeps.
        let mut judged = self.state.clone();
        let forgot = recovery::judge(&mut judged, promise);
        if self.sound {
            if hard_state.commit > last {
                let what = format!("{} was known to be committed, the log ends at {last}", hard_state.commit);
                findings.damage("log-commit-beyond-end", self.id, what, REFILL);
            }
            if hard_state.term < self.term {
                let what = format!("an entry of {}, but the hard state is of {}", self.term, hard_state.term);
                findings.damage("log-term-behind", self.id, what, REFILL);
            }
            let reach = self.state.reach();
            if forgot {
                let promised = promise.map_or(reach, |promise| promise.reach);
                let what = format!(
                    "came back with less than was promised: up to {} of {} then, up to {} of {} now; or with another term or vote",
                    promised.index, promised.term, reach.index, reach.term
                );
                findings.damage("log-amnesia", self.id, what, REFILL);
            }
        }
        CheckedGroup {
            hard_state,
            start: self.state.terms.start(),
            last,
            entries: self.entries,
            bytes: self.bytes,
            replica: self.state.replica,
            owed: judged.owed.map(|owed| owed.index),
            promised: promise.map(|it| Mark { term: it.term, vote: it.vote, last: it.reach.index }),
            newest_term: newest_term(&judged, promise),
            changes: self.changes.into(),
            terms: self.sound.then_some(self.state.terms),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect()
}
