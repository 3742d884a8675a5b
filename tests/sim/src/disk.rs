//! The disk under one replica: what was written, what of it is flushed, what it only says to have flushed, and what a crash leaves.

use crate::bug::Bug;
use crate::random::Random;
use crate::rows::Rows;
use raft_core::{Entry, HardState, LogReadError, LogReader, LogStart, Members, RaftMessage, StatePoint};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use types::{LogIndex, ReplicaId};

/// How a node's process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process ends: what was handed to the system survives.
    Kill,
    /// The process ends itself because a flush failed: of what was not flushed, any first part survives.
    Flush,
    /// The power goes: the same, and what the disk only said to have flushed is gone.
    Power,
}

/// One write to the log: all of it or nothing survives.
#[derive(Clone, Debug, Default)]
pub struct LogWrite {
    /// Names the effects it belongs to.
    pub number: u64,
    /// New entries; they replace what stands at their places and behind.
    pub entries: Vec<Entry>,
    /// The new hard state.
    pub hard_state: Option<HardState>,
    /// A snapshot that replaces state and log.
    pub install: Option<(Rows, StatePoint)>,
    /// To be sent once it is flushed.
    pub send_after: Vec<RaftMessage>,
}

/// What a restart finds.
#[derive(Clone, Debug, Default)]
pub struct Durable {
    /// The log behind `start`.
    pub entries: BTreeMap<u64, Entry>,
    /// Term, vote, commit.
    pub hard_state: HardState,
    /// Where the log begins.
    pub start: LogStart,
    /// The state machine's rows.
    pub state: Rows,
    /// What they hold.
    pub applied: LogStart,
    /// The members of the group as of that.
    pub members: Members,
    /// Whose disk it is, if there is a replica.
    pub replica: Option<ReplicaId>,
    /// The last replica that was here and was let go: none of its name or an older one ever comes back.
    pub former: Option<ReplicaId>,
}

impl Durable {
    fn take(&mut self, write: &LogWrite) {
        if let Some((state, point)) = &write.install {
            self.state = state.clone();
            (self.applied, self.start) = (point.at, point.at);
            self.members = point.members.clone();
            self.entries.clear();
        }
        put(&mut self.entries, &write.entries);
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
    }

    /// The log's last entry, or its start.
    #[must_use]
    pub fn last(&self) -> LogStart {
        let last = self.entries.values().next_back();
        last.map_or(self.start, |entry| LogStart { index: entry.index, term: entry.term })
    }
}

fn put(log: &mut BTreeMap<u64, Entry>, entries: &[Entry]) {
    if let Some(first) = entries.first() {
        log.split_off(&first.index.0);
    }
    log.extend(entries.iter().map(|entry| (entry.index.0, entry.clone())));
}

/// The disk of a replica.
#[derive(Default)]
pub struct Disk {
    durable: Durable,
    pending: VecDeque<LogWrite>,
    written: Arc<Written>,
    /// What really was there when it began to say that it had flushed and had not.
    honest: Option<Box<Durable>>,
}

/// The log as the running process reads it: with what is not flushed yet.
#[derive(Default)]
struct Written(Mutex<BTreeMap<u64, Entry>>);

impl Written {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.0.lock().expect("one thread")
    }
}

impl LogReader for Written {
    fn entries(&self, from: LogIndex, to: LogIndex, _: u64) -> Result<Vec<Entry>, LogReadError> {
        Ok(self.lock().range(from.0..to.0.max(from.0)).map(|(_, entry)| entry.clone()).collect())
    }
}

impl Disk {
    /// The log for the group to read.
    #[must_use]
    pub fn reader(&self) -> Arc<dyn LogReader> {
        self.written.clone()
    }

    /// What a restart of the process would find.
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Queues a write.
    pub fn write(&mut self, write: LogWrite, bug: Option<Bug>) {
        if let Some((_, point)) = &write.install {
            self.written.lock().clear();
            if bug == Some(Bug::SnapshotInHalves) {
                self.durable.entries.clear();
                self.durable.start = point.at;
            }
        }
        put(&mut self.written.lock(), &write.entries);
        self.pending.push_back(write);
    }

    /// The oldest write is flushed. A disk that lies keeps nothing of it once its power goes; nor of what follows, for a log ends at its
    /// first gap.
    pub fn flush(&mut self, lies: bool, bug: Option<Bug>) -> Option<LogWrite> {
        let mut write = self.pending.pop_front()?;
        if lies {
            self.begin_to_lie();
        }
        if bug == Some(Bug::VoteNotPersisted)
            && let Some(new) = &mut write.hard_state
        {
            new.vote = ReplicaId(0);
        }
        self.durable.take(&write);
        Some(write)
    }

    fn begin_to_lie(&mut self) {
        if self.honest.is_none() {
            self.honest = Some(Box::new(self.durable.clone()));
        }
    }

    /// An honest flush makes everything durable that was only said to be.
    pub fn end_lie(&mut self) {
        self.honest = None;
    }

    /// The group begins with this replica: its members are noted at once.
    pub fn found(&mut self, replica: ReplicaId, members: Members) {
        (self.durable.replica, self.durable.members) = (Some(replica), members);
    }

    /// Takes an empty replica in, unless one is here, or one of its name or a newer one was let go.
    pub fn admit(&mut self, replica: ReplicaId) -> bool {
        let stale = self.durable.former.is_some_and(|former| former.life() >= replica.life());
        let admitted = self.durable.replica.is_none() && !stale;
        if admitted {
            self.durable.replica = Some(replica);
        }
        admitted
    }

    /// The replica was let go: everything but its name is gone.
    pub fn let_go(&mut self) {
        let former = self.durable.replica.max(self.durable.former);
        *self = Disk { durable: Durable { former, ..Durable::default() }, ..Disk::default() };
    }

    /// Makes the state and who belonged to the group by then durable, and drops the log up to `cut`, which it covers.
    pub fn sync_state(&mut self, (state, applied, members): (&Rows, LogStart, &Members), cut: LogStart, lies: bool) {
        if lies {
            self.begin_to_lie();
        }
        (self.durable.state, self.durable.applied) = (state.clone(), applied);
        self.durable.members = members.clone();
        if cut.index > self.durable.start.index && cut.index <= self.durable.last().index {
            self.durable.start = cut;
            let keep = |log: &mut BTreeMap<u64, Entry>| *log = log.split_off(&(cut.index.0 + 1));
            keep(&mut self.durable.entries);
            keep(&mut self.written.lock());
        }
    }

    /// What is left after a crash. `state` is what the process had applied. `true` if it had promised more than there is.
    pub fn crash(
        &mut self,
        crash: Crash,
        state: (&Rows, LogStart, &Members),
        bug: Option<Bug>,
        random: &mut Random,
    ) -> bool {
        let survive = match crash {
            Crash::Kill => self.pending.len(),
            Crash::Flush | Crash::Power => random.below(self.pending.len() as u64 + 1) as usize,
        };
        let lied = if crash == Crash::Power { self.honest.take() } else { None };
        let forgot = lied.is_some();
        if let Some(honest) = lied {
            self.durable = *honest;
        } else {
            for write in self.pending.drain(..).take(survive) {
                self.durable.take(&write);
            }
        }
        self.pending.clear();
        // The rows were handed to the system as they were applied, and the system may have written them; an installed snapshot that
        // did not survive takes its rows along.
        let newer = state.1.index > self.durable.applied.index && state.1.index <= self.durable.last().index;
        if newer && !forgot && (crash == Crash::Kill || random.chance(500)) {
            self.durable.applied = state.1;
            self.durable.members = state.2.clone();
            if bug != Some(Bug::IndexOutsideBatch) {
                self.durable.state = state.0.clone();
            }
        }
        self.written = Arc::default();
        self.written.lock().clone_from(&self.durable.entries);
        forgot
    }

    /// What `sago recover` writes into a log that nobody has open, all of it or nothing: entries behind those that are there, committed, and the
    /// replica's new name.
    pub fn recover(&mut self, name: ReplicaId, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        put(&mut self.durable.entries, entries);
        self.durable.hard_state = HardState { term: last.term, vote: ReplicaId(0), commit: last.index };
        self.durable.replica = Some(name);
        self.written = Arc::default();
        self.written.lock().clone_from(&self.durable.entries);
    }

    /// Everything is gone.
    pub fn wipe(&mut self) {
        *self = Disk::default();
    }
}
