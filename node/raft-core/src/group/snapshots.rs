//! Snapshots on their way to a replica, and what a leader has to be told about them.

use super::Group;
use crate::message::{MessageKind, RaftMessage, StatePoint};
use raft::{ProgressState, SnapshotStatus};
use types::ReplicaId;

impl Group {
    /// Takes a snapshot message whose files lie ready locally. `fetched` is what they really hold, at or after what the message named.
    pub fn step_snapshot(&mut self, mut message: RaftMessage, fetched: StatePoint) {
        let Some(point) = &mut message.point else { return };
        let own = self.replica();
        if message.to != own || fetched.at.index < point.at.index || !fetched.members.contains(own) {
            return;
        }
        if self.members.is_empty() && fetched.members.is_voter(own) {
            // Who has a vote held a snapshot before it was given one. This replica has lost it, and with it what it voted and
            // acknowledged: filled again it would be counted as if it knew.
            let unfit = RaftMessage::bare(MessageKind::Unfit, own, message.from, self.term());
            self.greetings.push(unfit);
            return;
        }
        *point = fetched;
        self.step_raft(message.into_raft());
    }

    /// raft-rs forgets that a snapshot was asked for only when it is told how the transfer ended, and would send another one.
    pub(super) fn snapshot_arrived(&mut self, response: &RaftMessage) {
        let progress = self.raw.raft.mut_prs().get_mut(response.from.0);
        if let Some(progress) = progress.filter(|progress| progress.pending_request_snapshot <= response.index.0) {
            progress.pending_request_snapshot = raft::INVALID_INDEX;
        }
    }

    /// Tells the sender of a snapshot message that its files could not be fetched, so that it does not wait for them.
    #[must_use]
    pub fn not_fetched(&self, message: &RaftMessage) -> RaftMessage {
        RaftMessage::bare(MessageKind::SnapshotFailed, self.replica(), message.from, self.term())
    }

    /// A snapshot sent to `replica` did not arrive; without this the leader would wait for ever.
    pub fn snapshot_failed(&mut self, replica: ReplicaId) {
        if self.awaiting_snapshot().contains(&replica) {
            self.raw.report_snapshot(replica.0, SnapshotStatus::Failure);
        }
    }

    /// Followers that were told to fetch a snapshot and have not come back yet.
    #[must_use]
    pub fn awaiting_snapshot(&self) -> Vec<ReplicaId> {
        let waiting = |(id, progress): (&u64, &raft::Progress)| {
            (progress.state == ProgressState::Snapshot).then_some(ReplicaId(*id))
        };
        self.raw.raft.prs().iter().filter_map(waiting).collect()
    }
}
