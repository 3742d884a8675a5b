//! Who belongs to a group, and the steps by which that changes.
//!
//! ```text
//! settled --add learner--> learner --snapshot, log--> caught up --enter joint--> joint --leave--> settled --remove learner--> settled
//! ```
//! A node first learns; only once it holds a snapshot and nearly the whole log does a joint change make it a voter and whoever it
//! replaces a learner, in one step; the old replica is removed last. While the change is joint both the old and the new majority have
//! to agree, so that no order of crashes leaves a group to a minority, not even one of two voters. A change is an entry of the
//! log, takes effect when it is committed, and is never begun before the one before it was applied.
//!
//! [`next_step`] is level-triggered: whatever a former leader began is found in the members and carried on.
//!
//! Source: DESIGN section 4; docs/adr/0021-membership.md.

use raft::eraftpb as pb;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use types::{NodeId, ReplicaId};

/// Replicas a group may have at once, voters and learners together.
pub const MEMBERS_MAX: usize = 16;

/// The version of stored members.
const MEMBERS_VERSION: u8 = 1;

/// The replicas of a group as of some entry of its log. All lists are sorted.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Members {
    /// A majority of them has to agree.
    pub voters: Vec<ReplicaId>,
    /// While a change is joint: the voters before it, a majority of whom has to agree as well. Else empty.
    pub outgoing: Vec<ReplicaId>,
    /// They get the log and are not counted.
    pub learners: Vec<ReplicaId>,
    /// Outgoing voters that become learners when the joint change is left.
    pub learners_next: Vec<ReplicaId>,
}

impl Members {
    /// Those a group begins with.
    pub fn founding(voters: impl IntoIterator<Item = NodeId>) -> Self {
        let voters = voters.into_iter().map(ReplicaId::founding).collect::<BTreeSet<_>>();
        Members { voters: voters.into_iter().collect(), ..Members::default() }
    }

    /// Whether a change of voters is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether nobody is known yet: a replica that waits for its first snapshot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// Whether `replica` belongs to the group.
    #[must_use]
    pub fn contains(&self, replica: ReplicaId) -> bool {
        self.is_voter(replica) || self.learners.contains(&replica)
    }

    /// Whether `replica` has a vote, in either half of a joint change.
    #[must_use]
    pub fn is_voter(&self, replica: ReplicaId) -> bool {
        self.voters.contains(&replica) || self.outgoing.contains(&replica)
    }

    /// The replica on `node`, if there is one.
    #[must_use]
    pub fn on(&self, node: NodeId) -> Option<ReplicaId> {
        self.all().find(|replica| replica.node() == node)
    }

    /// Everyone, once.
    pub fn all(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        let gone = self.outgoing.iter().filter(|replica| !self.voters.contains(replica));
        self.voters.iter().chain(gone).chain(&self.learners).copied()
    }

    /// Everyone with a vote in either half but `replica`.
    pub fn other_voters(&self, replica: ReplicaId) -> impl Iterator<Item = ReplicaId> + '_ {
        self.all().filter(move |other| *other != replica && self.is_voter(*other))
    }

    /// Whether those that `are` with it are a majority of the voters, in both halves of a joint change.
    #[must_use]
    pub fn is_quorum(&self, are: impl Fn(ReplicaId) -> bool) -> bool {
        let most = |voters: &[ReplicaId]| voters.iter().filter(|voter| are(**voter)).count() * 2 > voters.len();
        most(&self.voters) && (self.outgoing.is_empty() || most(&self.outgoing))
    }

    /// Whether a message may name so many.
    pub(crate) fn is_bounded(&self) -> bool {
        [&self.voters, &self.outgoing, &self.learners].iter().all(|list| list.len() <= MEMBERS_MAX)
    }

    /// Bytes to be stored beside the state they belong to: a version, then the coding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let start = vec![MEMBERS_VERSION];
        postcard::to_extend(self, start).expect("serialising plain data into memory cannot fail")
    }

    /// Reads what [`Members::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, coded) = bytes.split_first()?;
        if *version != MEMBERS_VERSION {
            return None;
        }
        let (members, rest) = postcard::take_from_bytes(coded).ok()?;
        rest.is_empty().then_some(members)
    }

    pub(crate) fn from_raft(state: &pb::ConfState) -> Self {
        let sorted = |ids: &[u64]| {
            let mut ids: Vec<_> = ids.iter().copied().map(ReplicaId).collect();
            ids.sort_unstable();
            ids
        };
        Members {
            voters: sorted(state.get_voters()),
            outgoing: sorted(state.get_voters_outgoing()),
            learners: sorted(state.get_learners()),
            learners_next: sorted(state.get_learners_next()),
        }
    }

    pub(crate) fn to_raft(&self) -> pb::ConfState {
        let numbers = |ids: &[ReplicaId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
        let mut state = pb::ConfState::default();
        state.set_voters(numbers(&self.voters));
        state.set_voters_outgoing(numbers(&self.outgoing));
        state.set_learners(numbers(&self.learners));
        state.set_learners_next(numbers(&self.learners_next));
        state
    }
}

/// A change of the members: what an entry of kind `ConfChange` carries. New ones are appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Takes a replica in, without a vote.
    AddLearner(ReplicaId),
    /// Begins a joint change of voters.
    EnterJoint {
        /// Learners that get a vote.
        promote: Vec<ReplicaId>,
        /// Voters that become learners.
        demote: Vec<ReplicaId>,
    },
    /// Ends it: the new voters alone decide from here on.
    LeaveJoint,
    /// Lets a learner go, for good: no replica of that id ever belongs to the group again.
    RemoveLearner(ReplicaId),
    /// Whoever belonged to the group before, it is this one replica from here on. Never proposed: nobody could have agreed. It is written into
    /// the log of a voter that is left when the majority is gone for good (docs/adr/0016-unsafe-recovery.md), and names that voter anew, so
    /// that nothing a former member says is for it.
    Only(ReplicaId),
}

impl Change {
    /// Bytes of an entry.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("serialising plain data into memory cannot fail")
    }

    /// Reads the bytes of an entry.
    ///
    /// # Errors
    /// They are of a newer program, or no change.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }

    /// As it is proposed; `None` for one that is not.
    pub(crate) fn to_raft(&self) -> Option<pb::ConfChangeV2> {
        use pb::ConfChangeType as Type;
        let (joint, singles) = match self {
            Change::AddLearner(replica) => (false, vec![single(Type::AddLearnerNode, *replica)]),
            Change::RemoveLearner(replica) => (false, vec![single(Type::RemoveNode, *replica)]),
            Change::EnterJoint { promote, demote } => {
                let promoted = promote.iter().map(|replica| single(Type::AddNode, *replica));
                let demoted = demote.iter().map(|replica| single(Type::AddLearnerNode, *replica));
                (true, promoted.chain(demoted).collect())
            }
            Change::LeaveJoint => (false, Vec::new()),
            Change::Only(_) => return None,
        };
        Some(coded(joint, singles))
    }

    /// What raft-rs has to carry out, one after the other, to come from `members` to what they are after this change.
    pub(crate) fn steps(&self, members: &Members) -> Vec<pb::ConfChangeV2> {
        use pb::ConfChangeType as Type;
        let Change::Only(replica) = self else { return self.to_raft().into_iter().collect() };
        let leave = || coded(false, Vec::new());
        let others = members.all().filter(|member| member != replica);
        let removed = others.map(|member| single(Type::RemoveNode, member));
        let alone = [single(Type::AddNode, *replica)].into_iter().chain(removed).collect();
        let mut steps = vec![coded(true, alone), leave()];
        if members.is_joint() {
            steps.insert(0, leave());
        }
        steps
    }
}

fn single(kind: pb::ConfChangeType, replica: ReplicaId) -> pb::ConfChangeSingle {
    let mut single = pb::ConfChangeSingle::default();
    single.set_change_type(kind);
    single.node_id = replica.0;
    single
}

fn coded(joint: bool, singles: Vec<pb::ConfChangeSingle>) -> pb::ConfChangeV2 {
    let mut change = pb::ConfChangeV2::default();
    if joint {
        // Left by an entry of our own: raft-rs forgets to if leadership moves before the change is applied.
        change.set_transition(pb::ConfChangeTransition::Explicit);
    }
    change.set_changes(singles.into());
    change
}

/// What a leader knows when it asks for the next step.
#[derive(Clone, Debug)]
pub struct LeaderView<'a> {
    /// The leader.
    pub own: ReplicaId,
    /// The members.
    pub members: &'a Members,
    /// Replicas that hold a snapshot and nearly the whole log.
    pub caught_up: &'a BTreeSet<ReplicaId>,
    /// Whom leadership could be handed to now, the best first.
    pub heirs: &'a [ReplicaId],
    /// Replicas that have lost what they promised. They go, and their nodes are taken in anew.
    pub unfit: &'a BTreeSet<ReplicaId>,
}

/// The next step towards the wanted voters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The members are as wanted.
    Settled,
    /// A learner has not caught up, or nobody is fit to lead in this replica's place.
    Wait,
    /// Take a replica on this node in.
    AddLearner(NodeId),
    /// Propose this.
    Change(Change),
    /// Hand leadership over: this replica will not be a voter.
    HandOver(ReplicaId),
}

/// The one next step from the members as they are towards voters on exactly the nodes `wanted`. Nothing if `wanted` is empty.
#[must_use]
pub fn next_step(view: &LeaderView<'_>, wanted: &[NodeId]) -> Step {
    let members = view.members;
    if members.is_joint() {
        return if members.voters.contains(&view.own) {
            Step::Change(Change::LeaveJoint)
        } else {
            // Leaving would leave the group without a leader until an election.
            let heir = view.heirs.iter().find(|heir| members.voters.contains(heir));
            heir.map_or(Step::Wait, |heir| Step::HandOver(*heir))
        };
    }
    if wanted.is_empty() {
        return Step::Settled;
    }
    let unwanted = |replica: &&ReplicaId| !wanted.contains(&replica.node()) || view.unfit.contains(replica);
    if let Some(lost) = members.voters.iter().find(|voter| view.unfit.contains(voter)) {
        let others = members.voters.len() > 1 && *lost != view.own;
        let demote = Change::EnterJoint { promote: Vec::new(), demote: vec![*lost] };
        return if others { Step::Change(demote) } else { Step::Wait };
    }
    if let Some(gone) = members.learners.iter().find(unwanted) {
        return Step::Change(Change::RemoveLearner(*gone));
    }
    if let Some(new) = wanted.iter().find(|node| members.on(**node).is_none()) {
        let full = members.all().count() >= MEMBERS_MAX;
        return if full { Step::Wait } else { Step::AddLearner(*new) };
    }
    if members.learners.iter().any(|learner| !view.caught_up.contains(learner)) {
        return Step::Wait;
    }
    let promote = members.learners.clone();
    let demote: Vec<_> = members.voters.iter().filter(unwanted).copied().collect();
    if promote.is_empty() && demote.is_empty() {
        return Step::Settled;
    }
    Step::Change(Change::EnterJoint { promote, demote })
}

#[cfg(test)]
mod tests;
