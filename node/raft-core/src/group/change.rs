//! Changing the members of a group: the leader's proposals, and what every replica does once they are committed.

use super::{Effects, Group, Role};
use crate::entry::{EntryKind, LogStart};
use crate::membership::{Change, LeaderView, MEMBERS_MAX, Members, Step, next_step};
use raft::ProgressState;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use types::{LogIndex, NodeId, ReplicaId};

/// Entries a learner may lack and still be taken for caught up: less than a leader commits in one round under load.
const BEHIND_ENTRIES_MAX: u64 = 256;
/// Ticks after a change of members before leadership is handed to anyone. Whoever has not applied that he is a voter ignores
/// the request, and the group stands still until it is taken back.
const FRESH_TICKS: u64 = 5;

/// Why a change was not proposed; nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This replica does not lead, or has not committed an entry of its term yet.
    #[error("not the leader")]
    NotLeader,
    /// The change before it is not applied yet, or leadership is being handed over.
    #[error("another change is under way")]
    UnderWay,
    /// The members do not allow it.
    #[error("the members do not allow it")]
    Misfit,
    /// A learner that is to be promoted has no snapshot, or lacks too much of the log.
    #[error("{0} has not caught up")]
    NotCaughtUp(ReplicaId),
}

impl Group {
    /// Everyone, as of the newest entry handed out.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The next step towards voters on the nodes `wanted`, if this replica leads and no change is under way.
    #[must_use]
    pub fn next_step(&self, wanted: &[NodeId]) -> Step {
        if self.may_change().is_err() {
            return Step::Wait;
        }
        let (caught_up, heirs) = (self.caught_up(), self.heirs());
        let view = LeaderView {
            own: self.replica(),
            members: &self.members,
            caught_up: &caught_up,
            heirs: &heirs,
            unfit: &self.unfit,
        };
        next_step(&view, wanted)
    }

    /// Proposes to take in a new replica on `node`, which is not a member.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn add_learner(&mut self, node: NodeId) -> Result<(ReplicaId, LogStart), ChangeError> {
        self.may_change()?;
        if node.0 == 0 || node.0 >= NodeId::LIMIT || self.members.on(node).is_some() {
            return Err(ChangeError::Misfit);
        }
        // The index of the entry itself: nothing is appended in between.
        let life = LogIndex(self.raw.raft.raft_log.last_index() + 1);
        let replica = ReplicaId::new(node, life);
        let at = self.propose_change(&Change::AddLearner(replica))?;
        Ok((replica, at))
    }

    /// Proposes a change of the members. It holds once it is committed; see [`Effects::members`].
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn propose_change(&mut self, change: &Change) -> Result<LogStart, ChangeError> {
        self.may_change()?;
        let members = &self.members;
        let fits = match change {
            Change::AddLearner(replica) => {
                members.on(replica.node()).is_none() && !members.is_joint() && members.all().count() < MEMBERS_MAX
            }
            Change::EnterJoint { promote, demote } => {
                let known = promote.iter().all(|replica| members.learners.contains(replica))
                    && demote.iter().all(|replica| members.voters.contains(replica));
                let left = members.voters.len() + promote.len() > demote.len();
                known && left && !members.is_joint() && promote.len() + demote.len() > 0
            }
            // Whoever ends the joint change must be able to lead what comes out of it.
            Change::LeaveJoint => members.is_joint() && members.voters.contains(&self.replica()),
            Change::RemoveLearner(replica) => members.learners.contains(replica) && !members.is_joint(),
            Change::Only(_) => false,
        };
        let Some(coded) = change.to_raft().filter(|_| fits) else { return Err(ChangeError::Misfit) };
        if let Change::EnterJoint { promote, .. } = change {
            let caught_up = self.caught_up();
            if let Some(behind) = promote.iter().find(|replica| !caught_up.contains(replica)) {
                return Err(ChangeError::NotCaughtUp(*behind));
            }
        }
        self.raw.propose_conf_change(change.encode(), coded).map_err(|_| ChangeError::UnderWay)?;
        Ok(LogStart { index: LogIndex(self.raw.raft.raft_log.last_index()), term: self.term() })
    }

    fn may_change(&self) -> Result<(), ChangeError> {
        let raft = &self.raw.raft;
        if self.role() != Role::Leader || !raft.commit_to_current_term() {
            return Err(ChangeError::NotLeader);
        }
        // raft-rs would put an empty entry in place of the change.
        if raft.has_pending_conf() || raft.lead_transferee.is_some() || !self.unapplied.is_empty() {
            return Err(ChangeError::UnderWay);
        }
        Ok(())
    }

    /// Replicas that get the log entry by entry or lack nothing of it, so that they have applied a snapshot if they needed one.
    fn caught_up(&self) -> BTreeSet<ReplicaId> {
        let log = &self.raw.raft.raft_log;
        let (commit, last) = (log.committed, log.last_index());
        let near = |progress: &raft::Progress| {
            // After a snapshot raft-rs sends nothing, and so learns nothing, before there is a new entry.
            let whole = progress.state == ProgressState::Probe && progress.matched == last;
            (progress.state == ProgressState::Replicate || whole)
                && progress.pending_request_snapshot == raft::INVALID_INDEX
                && progress.recent_active
                && progress.matched > 0
                && progress.matched + BEHIND_ENTRIES_MAX >= commit
        };
        let progress = self.raw.raft.prs().iter();
        progress.filter(|(_, progress)| near(progress)).map(|(id, _)| ReplicaId(*id)).collect()
    }

    /// Voters that could lead at once, those heard lately first and among them whoever has most of the log: they know of the last change of members, and had
    /// the time to apply it.
    #[must_use]
    pub fn heirs(&self) -> Vec<ReplicaId> {
        let (changed, at) = self.changed;
        if self.role() != Role::Leader || changed > LogIndex(0) && self.ticks - at < FRESH_TICKS {
            return Vec::new();
        }
        let fit = |id: &u64, progress: &raft::Progress| {
            let replica = ReplicaId(*id);
            replica != self.replica()
                && self.members.voters.contains(&replica)
                && progress.state == ProgressState::Replicate
                && progress.committed_index >= changed.0
        };
        let progress = self.raw.raft.prs().iter().filter(|(id, progress)| fit(id, progress));
        let rank = |(id, progress): (&u64, &raft::Progress)| {
            (Reverse((progress.recent_active, progress.matched)), ReplicaId(*id))
        };
        let mut heirs: Vec<_> = progress.map(rank).collect();
        heirs.sort_unstable();
        heirs.into_iter().map(|(_, replica)| replica).collect()
    }

    /// Hands leadership to `replica`. `false`, and nothing is done, if it is not fit to lead now.
    pub fn transfer_leader(&mut self, replica: ReplicaId) -> bool {
        let fit = self.heirs().contains(&replica);
        if fit {
            self.lease.give_up(self.term());
            self.raw.transfer_leader(replica.0);
        }
        fit
    }

    /// What was committed takes effect. Changes that do not fit are void, on every replica alike.
    pub(super) fn change_members(&mut self, effects: &mut Effects) {
        for entry in effects.committed.iter().filter(|entry| entry.kind == EntryKind::ConfChange) {
            let Ok(change) = Change::decode(&entry.data) else {
                effects.not_understood = Some(entry.index);
                return;
            };
            let Some(members) = self.carry_out(&change) else { continue };
            self.set_members(entry.index, members.clone());
            self.unapplied.push_back((entry.index, members.clone()));
            effects.members = Some(members);
        }
        if self.role() == Role::Leader && !self.members.is_voter(self.replica()) {
            // Never proposed by this program. A leader that is no voter would go on for ever.
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
        self.timeouts.enforce(&mut self.raw);
    }

    /// The members after a change; `None` if it does not fit.
    fn carry_out(&mut self, change: &Change) -> Option<Members> {
        let mut after = None;
        for step in change.steps(&self.members) {
            after = Some(self.raw.apply_conf_change(&step).ok()?);
        }
        after.map(|state| Members::from_raft(&state))
    }

    pub(super) fn set_members(&mut self, at: LogIndex, members: Members) {
        self.unfit.retain(|replica| members.contains(*replica));
        self.lease.void();
        self.members = members;
        self.changed = (at, self.ticks);
        // Taken out for a moment: what it learns is read from the rest.
        if let Some(mut quarantine) = self.quarantine.take() {
            quarantine.learn(&self.point());
            self.quarantine = Some(quarantine);
        }
    }
}
