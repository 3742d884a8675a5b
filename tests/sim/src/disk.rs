//! The disk under one replica: what was written, what of it is flushed, and what a crash leaves.

use crate::random::Random;
use meta_core::memory::MemoryKv;
use raft_core::{Entry, HardState, LogReadError, LogReader, LogStart, RaftMessage};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use types::LogIndex;

/// How a node's process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed: what was handed to the system survives.
    Kill,
    /// The power goes: of what was not flushed, any first part survives.
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
    pub install: Option<(MemoryKv, LogStart)>,
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
    pub state: MemoryKv,
    /// What they hold.
    pub applied: LogStart,
}

impl Durable {
    fn take(&mut self, write: &LogWrite) {
        if let Some((state, at)) = &write.install {
            self.state = state.clone();
            (self.applied, self.start) = (*at, *at);
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

    /// What is flushed.
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Queues a write.
    pub fn write(&mut self, write: LogWrite) {
        if write.install.is_some() {
            self.written.lock().clear();
        }
        put(&mut self.written.lock(), &write.entries);
        self.pending.push_back(write);
    }

    /// The oldest write is flushed.
    pub fn flush(&mut self) -> Option<LogWrite> {
        let write = self.pending.pop_front()?;
        self.durable.take(&write);
        Some(write)
    }

    /// Makes the state durable and drops the log up to `cut`, which it covers.
    pub fn sync_state(&mut self, state: MemoryKv, applied: LogStart, cut: LogStart) {
        (self.durable.state, self.durable.applied) = (state, applied);
        if cut.index > self.durable.start.index && cut.index <= self.durable.last().index {
            self.durable.start = cut;
            let keep = |log: &mut BTreeMap<u64, Entry>| *log = log.split_off(&(cut.index.0 + 1));
            keep(&mut self.durable.entries);
            keep(&mut self.written.lock());
        }
    }

    /// What is left after a crash. `state` is what the process had applied.
    pub fn crash(&mut self, crash: Crash, state: (&MemoryKv, LogStart), random: &mut Random) {
        let survive = match crash {
            Crash::Kill => self.pending.len(),
            Crash::Power => random.below(self.pending.len() as u64 + 1) as usize,
        };
        for write in self.pending.drain(..).take(survive) {
            self.durable.take(&write);
        }
        self.pending.clear();
        // The rows were handed to the system as they were applied; an installed snapshot that did not survive takes its rows along.
        if crash == Crash::Kill
            && state.1.index > self.durable.applied.index
            && state.1.index <= self.durable.last().index
        {
            (self.durable.state, self.durable.applied) = (state.0.clone(), state.1);
        }
        self.written = Arc::default();
        self.written.lock().clone_from(&self.durable.entries);
    }
}
