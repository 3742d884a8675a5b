//! Two of three voters are lost for good, and an operator makes what the third has the only truth, in the order of steps of `sago recover --unsafe`
//! (docs/adr/0016-unsafe-recovery.md).
//!
//! ```text
//! the one that will be left is cut off -> the others are gone -> (nobody leads) -> node stopped, entries behind its log, a new name -> it leads alone
//! ```
//! What the lost ones had acknowledged without the third may be lost; the judge says which entries those are, and that no other one is.

use super::World;
use super::faults::{DOMAINS_MIN, LATER, LATER_MAX};
use crate::bug::Bug;
use crate::disk::Crash;
use crate::event::{Bereavement, Event, Millis};
use crate::fault::Fault;
use crate::judge::Violation;
use crate::message::Party;
use crate::random::Random;
use crate::replica::{GROUP, GROUPS, Replica, Turn};
use proto::control::{ControlAnswer, ControlCommand, ControlQuery};
use proto::log::{LogBatch, LogCommand, Recovery};
use proto::meta::{Answer, Command, Query};
use raft_core::{Change, Entry, EntryKind, Members};
use std::collections::{BTreeMap, BTreeSet};
use types::{GroupId, LogIndex, NodeId, ReplicaId, Term, Timestamp};

/// How long the voter that will be left is cut off before. Longer, and it is known to be down, which it would have to know itself.
const CUT_OFF_MAX: Millis = 1_200;
/// How long an operator takes until he recovers: whatever the lost ones have asked for has been done by then, on a node that stood still too.
const OPERATOR: (Millis, Millis) = (6_500, 9_000);

/// A loss that may be.
struct Loss {
    lost: Vec<NodeId>,
    /// Who is left of each group that loses two of three.
    left: BTreeMap<GroupId, NodeId>,
}

impl World<'_> {
    /// One voter of a group is cut off from all nodes; then the two others are lost.
    pub(super) fn cut_off_survivor(&mut self, prefers: NodeId, random: &mut Random) {
        let Some(group) = random.pick(&GROUPS).copied() else { return };
        let voters = self.map.voters(group).to_vec();
        let any = random.pick(&voters).copied();
        let Some(survivor) = voters.contains(&prefers).then_some(prefers).or(any) else { return };
        let length = random.below(CUT_OFF_MAX);
        self.isolate(survivor, false, 0, length);
        let until = self.now + length + LATER_MAX;
        let loss = Bereavement { group, survivor, until, dice: random.next() };
        self.agenda.at(self.now + length, Event::Bereave(loss));
    }

    /// The two others are lost, once that may be.
    pub(super) fn bereave(&mut self, planned: Bereavement) {
        if self.calm {
            return;
        }
        let Some(Loss { lost, left }) = self.loss(planned.group, planned.survivor) else {
            if self.now < planned.until {
                self.agenda.at(self.now + LATER, Event::Bereave(planned));
            }
            return;
        };
        lost.iter().for_each(|id| self.is_gone(*id));
        self.count(Fault::Majority);
        let mut random = Random::new(planned.dice);
        for survivor in left.values().copied().collect::<BTreeSet<_>>() {
            let when = self.now + random.between(OPERATOR.0, OPERATOR.1);
            self.agenda.at(when, Event::Recover(survivor));
        }
        self.bereft = left;
    }

    /// What is lost if all voters of a group but one are; nothing if that must not be now: something would be lost that nobody could have back, or it
    /// is not clear who votes.
    fn loss(&self, group: GroupId, survivor: NodeId) -> Option<Loss> {
        if self.may_lie() || self.nodes.values().any(|node| node.gone) {
            return None;
        }
        let mut lost = self.settled_voters(group)?;
        lost.retain(|voter| *voter != survivor);
        if lost.len() != 2 || self.domains_without(&lost) < DOMAINS_MIN {
            return None;
        }
        let mut left = BTreeMap::new();
        for group in GROUPS {
            let mut voters = self.settled_voters(group)?;
            voters.retain(|voter| !lost.contains(voter));
            match voters.as_slice() {
                [_, _, ..] => {}
                [one] => {
                    let replica = self.nodes[one].replica(group)?;
                    // The placement map must not go back: what moved since would be nowhere that it names.
                    let newest = |replica: &Replica| replica.map().is_some_and(|map| map.version == self.map.version);
                    if group == GroupId::CONTROL && !newest(replica) {
                        return None;
                    }
                    left.insert(group, *one);
                }
                [] => return None,
            }
        }
        if let Some(id) = left.get(&GROUP) {
            // A chunk that was purged since is perhaps on no disk any more, and would be referred to again.
            let known = self.judge.known(GROUP, self.nodes[id].seats.get(&GROUP)?.disk.durable());
            if !self.judge.referenced_since(known).is_subset(&self.judge.referenced()) {
                return None;
            }
        }
        let all = self.judge.referenced().into_iter().all(|chunk| self.is_good_elsewhere(chunk, &lost));
        (all && self.may_lose(&lost)).then_some(Loss { lost, left })
    }

    /// The three voters of a group, by whoever has applied most, if nobody comes or goes.
    fn settled_voters(&self, group: GroupId) -> Option<Vec<NodeId>> {
        let replicas = self.nodes.values().filter_map(|node| node.replica(group));
        let members: &Members = replicas.max_by_key(|replica| replica.state().1.index)?.members();
        let placed = self.map.raft_groups.iter().find(|placed| placed.id == group)?;
        let voters: Vec<NodeId> = members.all().filter(|id| members.is_voter(*id)).map(ReplicaId::node).collect();
        let settled = !members.is_joint() && members.learners.is_empty() && placed.is_settled();
        let named = voters.iter().all(|voter| placed.voters.contains(voter));
        (settled && named && voters.len() == 3).then_some(voters)
    }

    /// An operator recovers all groups that a node is the last voter of. All clients are started anew, as he is told.
    pub(super) fn recover(&mut self, id: NodeId) -> Result<(), Violation> {
        let groups: Vec<GroupId> =
            self.bereft.iter().filter(|(_, left)| **left == id).map(|(group, _)| *group).collect();
        self.bereft.retain(|_, left| *left != id);
        if groups.is_empty() {
            return Ok(());
        }
        self.crash(id, Crash::Kill);
        let voters = groups.iter().map(|group| (*group, vec![id])).collect();
        let lost = self.nodes.values().filter(|node| node.gone).map(|node| node.id).collect();
        let recovery = Recovery { voters, lost };
        for group in groups {
            self.rewrite(id, group, &recovery)?;
        }
        for client in self.clients.keys().copied().collect::<Vec<_>>() {
            self.clients.get_mut(&client).expect("a client").dies();
            self.wake_at(client, self.now + 1);
        }
        self.start(id)
    }

    /// Adds to the log of a replica what makes it the only voter, and tells the judge what becomes of the log that he knows.
    fn rewrite(&mut self, id: NodeId, group: GroupId, recovery: &Recovery) -> Result<(), Violation> {
        let forgets = self.script.bug == Some(Bug::LogEndForgotten);
        let seat = self.nodes.get_mut(&id).expect("a node").seats.entry(group).or_default();
        let durable = seat.disk.durable();
        let last = if forgets { durable.applied } else { durable.last() };
        let term = Term(durable.hard_state.term.max(durable.last().term).0 + 1);
        self.judge.recovers(group, durable, term)?;
        let index = |behind: u64| LogIndex(last.index.0 + behind);
        let name = ReplicaId::new(id, index(1));
        let told = LogBatch { time: Timestamp(0), commands: vec![LogCommand::Recover(recovery.clone())] };
        let entry = |index, kind, data: Vec<u8>| Entry { term, index, kind, data: data.into() };
        let entries = [
            entry(index(1), EntryKind::ConfChange, Change::Only(name).encode()),
            entry(index(2), EntryKind::Normal, proto::encode(&told)),
        ];
        seat.disk.recover(name, &entries);
        Ok(())
    }

    /// An operator has looked at what was recovered, and has garbage collected again, as far as there are leaders to hear of it.
    pub(super) fn release_holds(&mut self) -> Result<(), Violation> {
        let control = self.leader(GroupId::CONTROL);
        let off = control.and_then(|id| self.nodes[&id].replica(GroupId::CONTROL)).is_some_and(|replica| {
            matches!(replica.ask_control(&ControlQuery::Garbage), ControlAnswer::Garbage(options) if !options.on)
        });
        if let Some(id) = control.filter(|_| off) {
            self.record(id, vec![ControlCommand::SetGarbage { on: Some(true), grace: None, lift: true }])?;
        }
        let Some(id) = self.leader(GROUP) else { return Ok(()) };
        let node = self.nodes.get_mut(&id).expect("a node");
        let waiter = (Party::Node(id), node.next_call());
        let Some(replica) = node.replica_mut(GROUP) else { return Ok(()) };
        if matches!(replica.ask(&Query::Garbage), Ok(Answer::Garbage(status)) if status.held) {
            let _ = replica.command(waiter, LogCommand::Meta(None, Command::ReleaseHold));
        }
        self.perform(id, GROUP, Turn::default())
    }
}
