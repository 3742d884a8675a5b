//! A look at the folder of a log that changes nothing in it: for `sago fsck`, with the node stopped.
//!
//! [`crate::RaftLog::open`] refuses a damaged log at the first thing it finds; this goes on and names all of them. It opens the database
//! read-only, which replays its write-ahead log into memory, at most the size of the memtables.
//!
//! | looked at | found wrong |
//! | --- | --- |
//! | identity, watermark slots, names in the folder | `log-missing`, `log-identity-missing`, `log-identity-damaged`, `log-foreign`, `log-slot-unreadable`, `log-watermark-lost` |
//! | every row: key, version, checksum | `log-stray-row`, `log-start-missing`, `log-start-damaged`, `log-hard-state-damaged`, `log-replica-damaged`, `log-entry-damaged` |
//! | entries of a group: one behind the other, terms that do not fall | `log-hole`, `log-term-falls` |
//! | hard state against entries | `log-commit-beyond-end`, `log-term-behind` |
//! | entries and votes against the watermark | `log-amnesia`, `log-group-gone` |
//!
//! What it cannot see: entries that nobody promised anything about and that are gone at the end.

mod walk;

#[cfg(test)]
mod tests;

use crate::db;
use crate::error::OpenError;
use crate::folder::{self, Contents};
use crate::terms::Terms;
use crate::watermark::{self, Mark, Promise};
use raft_core::{Entry, HardState, LogStart};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use types::{Findings, GroupId, LogIndex, NodeId, ReplicaId, Term};

/// What to do about a log that must not be trusted any more.
pub(crate) const REPLACE: &str =
    "this replica must not vote again: join an empty node under a new id and remove this one";
const REFILL: &str = "start the node: this replica does not vote before the other members have refilled it";
const SLOT: &str = "nothing: the other slot counts, and both are written at the next start";

/// A log that was checked. Its folder stays locked as long as the value lives, so that no node starts on it meanwhile.
pub struct CheckedLog {
    groups: BTreeMap<GroupId, CheckedGroup>,
    _lock: Option<File>,
}

/// What a log holds of a group, as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedGroup {
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// Everything up to here is gone.
    pub start: LogStart,
    /// The last entry, or the start's index.
    pub last: LogIndex,
    /// Entries behind the start.
    pub entries: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Which replica this is; `None` for one that the group began with.
    pub replica: Option<ReplicaId>,
    /// How far the log must reach again after a loss; it has not made good for it.
    pub owed: Option<LogIndex>,
    /// What the watermark says was promised for the group.
    pub promised: Option<Mark>,
    /// The newest term that entries, hard state, debt or watermark speak of.
    pub newest_term: Term,
    /// The last entries that change members, in order; 256 at most.
    pub changes: Vec<Entry>,
    /// `None` if the log is damaged in between.
    terms: Option<Terms>,
}

impl CheckedGroup {
    /// The term of an entry, or of the start; `None` outside of the log, or if the log is damaged.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.terms.as_ref()?.get(index)
    }
}

impl CheckedLog {
    /// All groups that have rows, in order.
    #[must_use]
    pub fn groups(&self) -> &BTreeMap<GroupId, CheckedGroup> {
        &self.groups
    }
}

/// Checks the log in `path`, which is that of `node`, and notes everything that is wrong. Changes no byte. `progress` is told of the bytes
/// of rows as they are read.
///
/// Memory: one row, a run of terms for each change of term, and what the database keeps of its write-ahead log.
///
/// # Errors
/// It could not be checked: [`OpenError::Locked`], [`OpenError::Io`], or [`OpenError::Format`] of a newer program.
pub fn check(
    path: &Path,
    node: NodeId,
    findings: &mut Findings,
    progress: &mut dyn FnMut(u64),
) -> Result<CheckedLog, OpenError> {
    let nothing = |lock| CheckedLog { groups: BTreeMap::new(), _lock: lock };
    let lock = match folder::contents(path)? {
        Contents::Nothing => {
            findings.damage("log-missing", path.display(), "there is no Raft log", REPLACE);
            return Ok(nothing(None));
        }
        Contents::Unfinished => {
            let what = "the log was never finished: this node has promised nothing";
            findings.note("log-unfinished", path.display(), what, "start the node");
            return Ok(nothing(folder::hold(path)?));
        }
        Contents::Strange => {
            findings.damage("log-identity-missing", path.display(), "files, but no identity", REPLACE);
            folder::hold(path)?
        }
        Contents::Log => {
            let lock = folder::hold(path)?;
            identity(path, node, findings)?;
            lock
        }
    };
    for name in folder::strangers(path)? {
        let what = "not a file of a Raft log";
        findings.note("log-stranger", path.join(name).display(), what, "look what it is; Sago does not use it");
    }
    if !folder::is_clean(path)? {
        let what = "not closed in order: the process or the machine died";
        findings.note("log-unclean", path.display(), what, "nothing: the next start settles it");
    }
    let promises = promises(path, findings)?;
    let groups = rows(path, &promises, findings, progress);
    Ok(CheckedLog { groups, _lock: lock })
}

fn identity(path: &Path, node: NodeId, findings: &mut Findings) -> Result<(), OpenError> {
    match folder::check_identity(path, node) {
        Err(OpenError::DamagedIdentity { path }) => {
            findings.damage("log-identity-damaged", path.display(), "the identity is damaged", REPLACE);
        }
        Err(OpenError::ForeignNode { path, expected, found }) => {
            let what = format!("the log of {found}, not of {expected}");
            findings.damage("log-foreign", path.display(), what, "put each node's folder in its place");
        }
        result => return result,
    }
    Ok(())
}

/// What the watermark says was promised.
fn promises(path: &Path, findings: &mut Findings) -> Result<BTreeMap<GroupId, Promise>, OpenError> {
    let slots = watermark::read_slots(path)?;
    if slots.iter().all(Option::is_none) {
        let what = "neither slot of the watermark can be read: nobody knows what this node has promised";
        findings.damage("log-watermark-lost", path.display(), what, REPLACE);
    } else {
        for (slot, _) in slots.iter().enumerate().filter(|(_, slot)| slot.is_none()) {
            let place = watermark::slot_path(path, slot as u64);
            findings.warning("log-slot-unreadable", place.display(), "one slot of the watermark cannot be read", SLOT);
        }
    }
    Ok(watermark::newest(slots).map(|(_, promises)| promises).unwrap_or_default())
}

/// Reads every row of the database.
fn rows(
    path: &Path,
    promises: &BTreeMap<GroupId, Promise>,
    findings: &mut Findings,
    progress: &mut dyn FnMut(u64),
) -> BTreeMap<GroupId, CheckedGroup> {
    let db = folder::db_of(path);
    if !db.join("CURRENT").exists() {
        // A log that never held a row has no database that would be missed.
        if !promises.is_empty() {
            findings.damage("log-db-missing", db.display(), "the database is gone, but promises were made", REFILL);
        }
        return BTreeMap::new();
    }
    if let Err(error) = rocks_check::check_folder(&db) {
        findings.damage("log-db-damaged", db.display(), error, REPLACE);
        return BTreeMap::new();
    }
    let opened = db::open_read_only(&db);
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            findings.damage("log-db-damaged", db.display(), error, REPLACE);
            return BTreeMap::new();
        }
    };
    let mut former = BTreeSet::new();
    let groups = walk::walk(&opened, &db, promises, &mut former, findings, progress);
    let gone = |group: &GroupId| !groups.contains_key(group) && !former.contains(group);
    for (group, _) in promises.iter().filter(|(group, _)| gone(group)) {
        let what = "promises were made for it, but the log has nothing of it";
        findings.damage("log-group-gone", group, what, REFILL);
    }
    groups
}
