//! Linearizable reads at the leader, by a round or by its lease, and what this replica owes a leader that reads.

use super::{Group, ProposeError, Role};
use crate::message::{MessageKind, RaftMessage};
use raft::StateRole;
use types::{LogIndex, Moment, Term};

impl Group {
    /// Asks for a linearizable read: `context`, a new one, comes back in [`Effects::reads`](super::Effects::reads), or never if leadership is lost. The answer
    /// prolongs the lease, which counts from `now`.
    ///
    /// # Errors
    /// `NotLeader`; `Dropped` before the leader has committed an entry of its own term.
    pub fn read(&mut self, context: u64, now: Moment) -> Result<(), ProposeError> {
        self.now = self.now.max(now);
        if self.role() != Role::Leader {
            return Err(ProposeError::NotLeader);
        }
        let committed = LogIndex(self.raw.raft.raft_log.committed);
        if self.raw.store().term_of(committed).or_else(|| self.unstable_term(committed)) != Some(self.term()) {
            return Err(ProposeError::Dropped);
        }
        self.lease.ask(self.term(), context, now);
        self.raw.read_index(context.to_be_bytes().to_vec());
        Ok(())
    }

    /// Until when, by the clock that [`Group::read`] is told, whoever has applied an entry of this term here may be answered from what is applied here, as if it
    /// had asked for a read. Whoever goes by it has to know of an end before what [`Group::ready`] gives out after it is sent.
    #[must_use]
    pub fn lease(&self) -> Option<Moment> {
        self.lease.until(self.term()).filter(|_| self.role() == Role::Leader)
    }

    fn unstable_term(&self, index: LogIndex) -> Option<Term> {
        self.raw.raft.raft_log.term(index.0).ok().map(Term)
    }

    /// Reads that a quorum has confirmed.
    pub(super) fn confirmed(&mut self, states: Vec<raft::ReadState>) -> Vec<(u64, LogIndex)> {
        let reads: Vec<_> = states.into_iter().filter_map(read_of).collect();
        let term = self.term();
        reads.iter().for_each(|(context, _)| self.lease.confirmed(term, *context));
        reads
    }

    /// Whether a leader counts on it that this replica elects nobody else: see [`crate::lease`].
    pub(super) fn is_guarded(&self) -> bool {
        self.now < self.guarded
    }

    /// Whether raft-rs would campaign at the next tick.
    pub(super) fn would_campaign(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state != StateRole::Leader && raft.election_elapsed + 1 >= raft.randomized_election_timeout()
    }

    /// Whether a candidate asks, other than one that a leader hands over to, while a leader counts on this replica.
    pub(super) fn owes_refusal(&self, message: &RaftMessage) -> bool {
        let asks = matches!(message.kind, MessageKind::Vote | MessageKind::PreVote);
        asks && self.is_guarded() && message.context != raft::CAMPAIGN_TRANSFER
    }
}

fn read_of(state: raft::ReadState) -> Option<(u64, LogIndex)> {
    let context: [u8; 8] = state.request_ctx.as_slice().try_into().ok()?;
    Some((u64::from_be_bytes(context), LogIndex(state.index)))
}
