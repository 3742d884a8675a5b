//! Proposals of one group: gathered into log entries on the leader, answered when those are applied.

use crate::event::{Proposal, ProposalReply};
use proto::log::encode_batch;
use proto::rpc::GroupError;
use raft_core::LogStart;
use std::collections::{BTreeMap, VecDeque};
use types::{LogIndex, Term, Timestamp};

/// Commands in one log entry.
const BATCH_COMMANDS_MAX: usize = 256;
/// Bytes of commands in one log entry, unless a single one is larger.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Commands that wait for an entry, and entries that wait to be applied.
#[derive(Default)]
pub(crate) struct Proposals {
    queue: VecDeque<Proposal>,
    pending: BTreeMap<LogIndex, (Term, Vec<ProposalReply>)>,
}

/// A batch taken off the queue: the entry's data and who waits for it.
pub(crate) struct Batch {
    pub(crate) data: Vec<u8>,
    pub(crate) replies: Vec<ProposalReply>,
    /// Bytes and number of the proposals, to give their places back.
    pub(crate) sizes: Vec<usize>,
}

impl Proposals {
    pub(crate) fn push(&mut self, proposal: Proposal) {
        self.queue.push_back(proposal);
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Takes the next commands off the queue as one log entry.
    pub(crate) fn next_batch(&mut self, time: Timestamp) -> Option<Batch> {
        let mut commands = Vec::new();
        let mut batch = Batch { data: Vec::new(), replies: Vec::new(), sizes: Vec::new() };
        let mut bytes = 0;
        while let Some(next) = self.queue.front() {
            let fits = commands.len() < BATCH_COMMANDS_MAX && bytes + next.command.len() <= BATCH_BYTES_MAX;
            if !commands.is_empty() && !fits {
                break;
            }
            let proposal = self.queue.pop_front().expect("just seen");
            bytes += proposal.command.len();
            batch.sizes.push(proposal.command.len());
            batch.replies.push(proposal.reply);
            commands.push(proposal.command);
        }
        if commands.is_empty() {
            return None;
        }
        batch.data = encode_batch(time, &commands);
        Some(batch)
    }

    /// The batch stands in the log at `at`.
    pub(crate) fn proposed(&mut self, at: LogStart, replies: Vec<ProposalReply>) {
        self.pending.insert(at.index, (at.term, replies));
    }

    /// Who waits for the entry at `index` if it has that term. Whoever waited for another entry there learns that the outcome is
    /// not known: it may have been applied elsewhere under another index.
    pub(crate) fn committed(&mut self, index: LogIndex, term: Term) -> Vec<ProposalReply> {
        match self.pending.remove(&index) {
            Some((proposed, replies)) if proposed == term => replies,
            Some((_, replies)) => {
                answer_all(replies, &GroupError::Unknown);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Leadership was lost: what is in the log may yet be committed, what is queued certainly will not. The sizes of the latter
    /// are returned.
    pub(crate) fn lost_leadership(&mut self, error: &GroupError) -> Vec<usize> {
        for (_, (_, replies)) in std::mem::take(&mut self.pending) {
            answer_all(replies, &GroupError::Unknown);
        }
        self.queue
            .drain(..)
            .map(|proposal| {
                let _ = proposal.reply.send(Err(error.clone()));
                proposal.command.len()
            })
            .collect()
    }
}

pub(crate) fn answer_all(replies: Vec<ProposalReply>, error: &GroupError) {
    for reply in replies {
        let _ = reply.send(Err(error.clone()));
    }
}
