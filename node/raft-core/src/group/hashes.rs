//! Hashes of states on their way to the leader, and what it does about one that differs.

use super::{Group, Role};
use crate::divergence::{StateHash, Verdict};
use crate::message::{MessageKind, RaftMessage};
use bytes::Bytes;
use types::{LogIndex, ReplicaId, Term};

/// Ticks from one confession to the next: half a second.
const CONFESSION_TICKS: u64 = 5;

impl Group {
    /// The state here has this hash. A leader compares it with those it has heard of; a follower has the leader hear of it.
    pub fn note_hash(&mut self, state: StateHash) {
        if self.role() == Role::Leader {
            let verdict = self.compare(self.replica(), state);
            self.verdicts.push((state.index, verdict));
            return;
        }
        self.hashes.clear();
        let leader = ReplicaId(self.raw.raft.leader_id);
        if leader != ReplicaId(0) {
            let mut message = RaftMessage::bare(MessageKind::StateHash, self.replica(), leader, self.term());
            message.index = state.index;
            message.context = Bytes::copy_from_slice(&state.hash);
            self.greetings.push(message);
        }
    }

    /// Whether the state here was found not to be what the log makes it. It must not be read any more; the replica neither leads
    /// nor campaigns, and is let go by its group.
    #[must_use]
    pub fn is_diverged(&self) -> bool {
        self.diverged
    }

    pub(super) fn step_hash(&mut self, message: &RaftMessage) {
        let leader = ReplicaId(self.raw.raft.leader_id);
        match message.kind {
            MessageKind::Diverged if message.from == leader && self.role() != Role::Leader => self.diverged = true,
            MessageKind::StateHash if self.role() == Role::Leader => {
                if let Ok(hash) = <[u8; 32]>::try_from(&message.context[..]) {
                    let verdict = self.compare(message.from, StateHash { index: message.index, hash });
                    self.verdicts.push((message.index, verdict));
                }
            }
            _ => {}
        }
    }

    /// What comparisons have come to since the last call, for people: the entries and who differed there.
    pub fn take_verdicts(&mut self) -> Vec<(LogIndex, Verdict)> {
        let told = std::mem::take(&mut self.verdicts);
        told.into_iter().filter(|(_, verdict)| *verdict != Verdict::default()).collect()
    }

    fn compare(&mut self, replica: ReplicaId, state: StateHash) -> Verdict {
        let mut verdict = self.hashes.note(replica, state, &self.members);
        let own = self.replica();
        // Each is told once.
        verdict.diverged.retain(|replica| {
            if *replica == own { !std::mem::replace(&mut self.diverged, true) } else { self.unfit.insert(*replica) }
        });
        let others = verdict.diverged.iter().filter(|replica| **replica != own);
        let told =
            others.map(|replica| RaftMessage::bare(MessageKind::Diverged, own, *replica, Term(self.raw.raft.term)));
        self.greetings.extend(told);
        verdict
    }

    /// A leader that found out about itself has handed over; whoever leads now must let it go.
    pub(super) fn confess(&mut self) {
        let leader = ReplicaId(self.raw.raft.leader_id);
        if self.ticks.is_multiple_of(CONFESSION_TICKS) && leader != ReplicaId(0) {
            let unfit = RaftMessage::bare(MessageKind::Unfit, self.replica(), leader, self.term());
            self.greetings.push(unfit);
        }
    }
}
