//! The apply thread of one group: committed entries become rows, in order, and their proposers get their answers.

use crate::event::{Event, ProposalReply};
use crate::shared::GroupShared;
use crate::writer::fence;
use meta_core::Applied;
use proto::log::LogBatch;
use raft_core::{Entry, EntryKind, LogStart, Members, StateHash, StatePoint};
use state_store::{AppliedPoint, SharedCache, StateStore};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;
use types::{FeatureLevel, LogIndex};

/// How long a replica that does not lead lets entries gather. Nobody waits for what it applies, and many at once are one wake-up and one batch.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes of entries applied in one batch, or one hand-out more.
const BATCH_BYTES: usize = 4 << 20;

pub(crate) enum ApplyTask {
    /// Apply these, in order, and answer.
    Entries(Committed),
    /// Replace the whole state by the snapshot in `dir`.
    Install { point: StatePoint, dir: PathBuf, done: SyncSender<()> },
    /// Make the state durable, so that the log may be cut.
    Sync,
}

/// Entries that are committed, and who waits for them.
pub(crate) struct Committed {
    pub(crate) entries: Vec<Entry>,
    pub(crate) replies: BTreeMap<LogIndex, Vec<ProposalReply>>,
    pub(crate) commit: LogIndex,
    /// The members once they are applied, if they change them.
    pub(crate) members: Option<Members>,
}

impl Committed {
    /// Takes in those that follow.
    fn append(&mut self, next: Committed) {
        self.entries.extend(next.entries);
        self.replies.extend(next.replies);
        self.commit = next.commit;
        self.members = next.members.or(self.members.take());
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.data.len()).sum()
    }
}

/// An entry of a level that this program does not do.
#[derive(Debug, thiserror::Error)]
#[error("the entry is of level {0}")]
struct NewerEntry(FeatureLevel);

pub(crate) struct Applier {
    pub(crate) shared: Arc<GroupShared>,
    pub(crate) path: PathBuf,
    pub(crate) cache: SharedCache,
    pub(crate) tasks: Receiver<ApplyTask>,
    pub(crate) events: SyncSender<Event>,
    /// See [`crate::MetaConfig::hash_entries`].
    pub(crate) hash_entries: u64,
    /// The newest feature level of this program.
    pub(crate) level: FeatureLevel,
}

impl Applier {
    /// Runs until the raft thread hangs up, then makes the state durable.
    pub(crate) fn run(self) {
        let mut next = None;
        while let Some(task) = next.take().or_else(|| self.tasks.recv().ok()) {
            match task {
                ApplyTask::Entries(mut committed) => {
                    if !self.shared.leads() {
                        // wait-ok: entries gather
                        std::thread::sleep(GATHER);
                    }
                    next = self.gather(&mut committed);
                    self.apply(committed);
                }
                ApplyTask::Install { point, dir, done } => {
                    self.install(&point, &dir);
                    let _ = done.send(());
                }
                ApplyTask::Sync => {
                    let durable = self.sync();
                    let _ = self.events.send(Event::Truncate { group: self.shared.id, durable });
                }
            }
        }
        self.sync();
    }

    /// Takes in what has come meanwhile. Returns what is to be done after it, if something else came.
    fn gather(&self, committed: &mut Committed) -> Option<ApplyTask> {
        let mut bytes = committed.bytes();
        while bytes < BATCH_BYTES {
            match self.tasks.try_recv().ok()? {
                ApplyTask::Entries(next) => {
                    bytes += next.bytes();
                    committed.append(next);
                }
                other => return Some(other),
            }
        }
        None
    }

    fn apply(&self, committed: Committed) {
        let Committed { entries, mut replies, commit, members } = committed;
        let Some(last) = entries.last() else { return };
        let applied = LogStart { index: last.index, term: last.term };
        let store = self.shared.store().expect("only this thread takes the store away");
        let (mut answers, mut hashes) = (Vec::new(), Vec::new());
        let mut batch = store.batch();
        for entry in entries {
            let results = match entry.kind {
                EntryKind::Normal if !entry.data.is_empty() => self.apply_one(&mut batch, &entry),
                // A new leader's first entry; a change of members, which Raft has worked out.
                EntryKind::Normal | EntryKind::ConfChange => Vec::new(),
            };
            let hash = batch.fold(entry.index);
            if entry.index.0.is_multiple_of(self.hash_entries) {
                hashes.push(StateHash { index: entry.index, hash });
            }
            if let Some(waiting) = replies.remove(&entry.index) {
                answers.extend(waiting.into_iter().zip(results));
            }
        }
        let point = AppliedPoint { index: applied.index, term: applied.term, commit };
        let coded = members.as_ref().map(Members::encode);
        if let Err(error) = store.commit(batch, point, coded.as_deref()) {
            fence("the state store cannot be written", &error);
        }
        if let Some(members) = members {
            tracing::info!(group = %self.shared.id, ?members, "the members have changed");
            // Before the index: whoever waits for that finds these.
            self.shared.set_members(members);
        }
        self.shared.set_applied(applied);
        for state in hashes {
            let _ = self.events.send(Event::Hashed { group: self.shared.id, state });
        }
        for (reply, result) in answers {
            let _ = reply.send(Ok(result));
        }
    }

    fn apply_one(&self, batch: &mut state_store::StateBatch<'_>, entry: &Entry) -> Vec<Applied> {
        let commands: LogBatch = match proto::decode(&entry.data) {
            Ok(commands) => commands,
            // Going on without it would make this replica differ from those that understand it.
            Err(error) => fence("a log entry cannot be decoded; is this program older than the cluster?", &error),
        };
        if commands.level() > self.level {
            fence("a log entry is newer than this program", &NewerEntry(commands.level()));
        }
        match meta_core::apply(batch, self.shared.id, &commands) {
            Ok(results) => results,
            Err(error) => fence("the state store cannot be read", &error),
        }
    }

    fn sync(&self) -> LogIndex {
        let Some(store) = self.shared.store() else { return LogIndex(0) };
        match store.sync() {
            Ok(durable) => durable,
            Err(error) => fence("the state store cannot be flushed", &error),
        }
    }

    fn install(&self, point: &StatePoint, dir: &std::path::Path) {
        self.shared.close_store();
        let opened =
            StateStore::install(dir, &self.path).map_err(|error| fence("a snapshot cannot be installed", &error));
        let Ok(()) = opened;
        match StateStore::open(&self.path, &self.cache) {
            Ok(store) => self.shared.set_store(store),
            Err(error) => fence("an installed snapshot cannot be opened", &error),
        }
        self.shared.set_members(point.members.clone());
        self.shared.set_applied(point.at);
        tracing::info!(group = %self.shared.id, index = %point.at.index, "snapshot installed");
    }
}
