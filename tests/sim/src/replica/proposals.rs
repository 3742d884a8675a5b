//! Commands that wait for an entry, and entries that wait to be applied.

use crate::message::Waiter;
use proto::log::{LogBatch, LogCommand};
use raft_core::LogStart;
use std::collections::{BTreeMap, VecDeque};
use types::{LogIndex, Term, Timestamp};

/// Commands of a leader, as in `meta-server`.
#[derive(Default)]
pub struct Proposals {
    queue: VecDeque<(Waiter, LogCommand)>,
    pending: BTreeMap<LogIndex, (Term, Vec<Waiter>)>,
}

impl Proposals {
    /// Queues a command.
    pub fn push(&mut self, waiter: Waiter, command: LogCommand) {
        self.queue.push_back((waiter, command));
    }

    /// The next commands as one log entry, and who waits for each.
    pub fn next_batch(&mut self, time: Timestamp, max: usize) -> Option<(Vec<u8>, Vec<Waiter>)> {
        let count = self.queue.len().min(max);
        if count == 0 {
            return None;
        }
        let (waiters, commands) = self.queue.drain(..count).unzip();
        Some((proto::encode(&LogBatch { time, commands }), waiters))
    }

    /// A batch stands in the log.
    pub fn proposed(&mut self, at: LogStart, waiters: Vec<Waiter>) {
        self.pending.insert(at.index, (at.term, waiters));
    }

    /// Who waits for the entry at that index, and whether it is the one they wait for.
    pub fn committed(&mut self, at: LogStart) -> (bool, Vec<Waiter>) {
        match self.pending.remove(&at.index) {
            Some((term, waiters)) => (term == at.term, waiters),
            None => (false, Vec::new()),
        }
    }

    /// Those whose commands are in the log and may yet be committed, and those whose commands are not and will not.
    pub fn lost_leadership(&mut self) -> (Vec<Waiter>, Vec<Waiter>) {
        let in_log = std::mem::take(&mut self.pending).into_values().flat_map(|(_, waiters)| waiters).collect();
        (in_log, self.queue.drain(..).map(|(waiter, _)| waiter).collect())
    }
}
