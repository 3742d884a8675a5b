//! What a replica says of itself unasked, and what its leader makes of it: where its log really ends.

use super::{Group, Role};
use crate::entry::LogStart;
use crate::message::{MessageKind, RaftMessage, StatePoint};
use crate::quarantine::Quarantine;
use raft::ProgressState;
use types::{LogIndex, ReplicaId, Term};

/// Ticks between two words of a replica that holds nothing to its leader.
const EMPTY_TICKS: u64 = 5;

impl Group {
    /// What raft-rs leaves out, for whoever is in quarantine: a leader says of which term the entry is that it names as committed, and whoever asks for a vote whom it counts.
    pub(super) fn complete(&self, message: &mut RaftMessage) {
        match message.kind {
            // Read from the disk only for a follower that lags, and by a leader that has just come back: else it is in the cache.
            MessageKind::Append | MessageKind::Heartbeat => {
                message.commit_term = self.raw.store().term_of(message.commit).unwrap_or_default();
            }
            MessageKind::Vote | MessageKind::PreVote => message.point = Some(self.point()),
            _ => {}
        }
    }

    /// How far this replica has come, and the members there.
    pub(super) fn point(&self) -> StatePoint {
        let index = LogIndex(self.raw.raft.raft_log.applied).max(self.changed.0);
        StatePoint {
            at: LogStart { index, term: self.term_of(index).unwrap_or_default() },
            members: self.members.clone(),
        }
    }

    /// Goes into a later term, without a vote in it.
    pub(super) fn enter(&mut self, term: Term) {
        let nothing = RaftMessage::bare(MessageKind::HeartbeatResponse, self.replica(), self.replica(), term);
        self.step_raft(nothing.into_raft());
    }

    /// Who holds nothing says so to its leader, in quarantine as well, where it knows of nobody else: a leader that believes in more would take what it
    /// asks for old news.
    pub(super) fn greet_as_empty(&mut self) {
        let leader = ReplicaId(self.raw.raft.leader_id);
        if self.members.is_empty() && leader != ReplicaId(0) && self.ticks.is_multiple_of(EMPTY_TICKS) {
            let greeting = self.greeting(leader);
            self.greetings.push(greeting);
        }
    }

    /// Has the others of a quarantined replica hear that it is there and where its log ends. The answer to a heartbeat promises
    /// nothing, and whoever has sent none takes nothing else from it.
    pub(super) fn greet(&mut self) {
        let greetings: Vec<_> =
            self.quarantine.iter().flat_map(Quarantine::to_greet).map(|to| self.greeting(to)).collect();
        self.greetings.extend(greetings);
    }

    /// Who does not campaign, since it has not applied that it votes, tells a replica in quarantine where its log ends and who votes, as those who campaign do by that; and so does
    /// who would not ask that replica, since it does not know it for a voter. One of the two may know better than the other. Not while somebody leads: who leads is what
    /// counts then.
    pub(super) fn answer_greeting(&mut self, message: &RaftMessage) {
        let silent = self.role() == Role::Learner || !self.members.is_voter(message.from);
        let has_news = self.quarantine.is_none() && !self.members.is_empty();
        // An answer is not answered.
        if silent && has_news && message.point.is_none() && self.raw.raft.leader_id == raft::INVALID_ID {
            let answer = RaftMessage { point: Some(self.point()), ..self.greeting(message.from) };
            self.greetings.push(answer);
        }
    }

    fn greeting(&self, to: ReplicaId) -> RaftMessage {
        let last = self.raw.store().last();
        RaftMessage {
            log_term: last.term,
            index: last.index,
            reject: true,
            ..RaftMessage::bare(MessageKind::HeartbeatResponse, self.replica(), to, self.term())
        }
    }

    /// A follower says that it holds less than it had acknowledged, or something else. Without this, what it rejects would be taken for old
    /// news, and it would never be sent what it lost.
    pub(super) fn believe_less(&mut self, message: &RaftMessage) {
        if self.role() != Role::Leader {
            return;
        }
        let log = &self.raw.raft.raft_log;
        let same = log.term(message.index.0).is_ok_and(|term| term == message.log_term.0);
        let end = message.index.0.min(log.last_index());
        if let Some(progress) = self.raw.raft.mut_prs().get_mut(message.from.0)
            && progress.state != ProgressState::Snapshot
            && progress.matched > 0
            && (progress.matched > message.index.0 || !same)
        {
            progress.matched = 0;
            progress.become_probe();
            progress.next_idx = end + 1;
        }
    }
}
