//! Carries out what the duties of nodes want: asks their own replica, other nodes and the control group.

use super::World;
use crate::duty::{Duty, Got, Scene, Want};
use crate::errand::{Asked, Errand};
use crate::event::{Event, Life, Millis};
use crate::judge::Violation;
use crate::marks::Mark;
use crate::message::{Message, Party, Reply, Request, Waiter};
use crate::replica::{GROUP, GROUPS, Turn};
use proto::control::ControlRequest;
use proto::log::LogCommand;
use std::collections::BTreeSet;
use types::{ChunkId, GroupId, NodeId};

/// How long others may take to answer.
const ASK_MAX: Millis = 1_500;
/// How long voters may take to say what time it is; an answer is this old at most.
const CLOCK_MAX: Millis = 300;
/// How far two clocks may lie apart, in simulated time.
const APART_MAX: Millis = 2 * CLOCK_MAX;

impl World<'_> {
    /// A round of a duty begins, unless the one before is still under way or another node leads.
    pub(super) fn round(&mut self, id: NodeId, life: Life, duty: Duty) -> Result<(), Violation> {
        let node = &self.nodes[&id];
        if node.life != life {
            return Ok(());
        }
        self.agenda.at(self.now + duty.every(&self.script.knobs), Event::Round(id, life, duty));
        let leads = |group| node.replica(group).is_some_and(|replica| replica.leads().is_some());
        if node.errands.contains_key(&duty) || !node.informed || !duty.leaders().is_none_or(leads) {
            return Ok(());
        }
        if duty == Duty::Steer && !self.decide(id) {
            return Ok(());
        }
        self.drive(id, duty, Got::Begin)
    }

    /// Steps a duty until it waits for somebody or rests.
    fn drive(&mut self, id: NodeId, duty: Duty, mut got: Got) -> Result<(), Violation> {
        loop {
            if let (Duty::Clear, Got::Copied(copied)) = (duty, &got)
                && !copied.is_empty()
            {
                self.report.marks.hit(Mark::LeftoverGiven);
            }
            let now = self.now;
            let apart_max = (APART_MAX * self.script.knobs.pace) as i64 * 1_000_000;
            let silent = if duty == Duty::Steer { self.silent_nodes(id) } else { BTreeSet::new() };
            let here = if duty == Duty::Follow { self.nodes[&id].memberships() } else { Vec::new() };
            let node = self.nodes.get_mut(&id).expect("a node");
            let applied = node.replica(GroupId::CONTROL).and_then(|replica| replica.map()).cloned();
            let (clock, map) =
                (node.clock(now), applied.clone().filter(|_| duty == Duty::Steer).unwrap_or(node.map.clone()));
            let (chunks, bug) = (&node.chunks, self.script.bug);
            let scene = Scene { now, clock, node: id, map: &map, chunks, apart_max, bug, silent, here };
            let want = node.duties.step(duty, got, &scene);
            got = match want {
                Want::Rest => break,
                Want::Forget(slot, chunks) => {
                    self.forget(id, slot, chunks)?;
                    Got::Nothing
                }
                Want::Plan => Got::Planned(self.plan_moves(&map)?),
                Want::PlaceVoters => Got::Planned(applied.map_or(Vec::new(), |map| self.plan_voters(&map))),
                Want::Leave(group, replica) => {
                    self.let_go(id, group, replica);
                    Got::Nothing
                }
                Want::Own(query) => {
                    let answer = node.replica(GROUP).and_then(|replica| replica.ask(&query).ok());
                    answer.map_or(Got::Nothing, Got::Answer)
                }
                want => {
                    if duty == Duty::Pull && matches!(want, Want::Delete(_)) {
                        self.report.marks.hit(Mark::LateDelete);
                    }
                    let errand = self.errand(id, want);
                    if !errand.pending.is_empty() {
                        let patience = if errand.asks_clocks() { CLOCK_MAX } else { ASK_MAX };
                        let node = self.nodes.get_mut(&id).expect("a node");
                        let late = Event::ErrandLate(id, node.life, duty, errand.first);
                        node.errands.insert(duty, errand);
                        self.agenda.at(now + patience, late);
                        break;
                    }
                    errand.end()
                }
            };
        }
        GROUPS.into_iter().try_for_each(|group| self.perform(id, group, Turn::default()))
    }

    /// Asks whoever has to be asked.
    fn errand(&mut self, id: NodeId, want: Want) -> Errand {
        let node = self.nodes.get_mut(&id).expect("a node");
        let first = node.next_call();
        let nobody = |got| Errand::new(first, got, 0);
        match want {
            Want::Control(query) => {
                let request = Request::Control(ControlRequest::Query(query));
                self.ask_leader(id, GroupId::CONTROL, first, request)
            }
            Want::Leader(query) => self.ask_leader(id, GROUP, first, Request::Query(query)),
            Want::Propose(command) => {
                let mut errand = nobody(Got::Nothing);
                let waiter: Waiter = (Party::Node(id), first);
                let replica = self.nodes.get_mut(&id).and_then(|node| node.replica_mut(GROUP));
                let command = LogCommand::Meta(None, command);
                if replica.is_some_and(|replica| replica.command(waiter, command).is_none()) {
                    errand.pending.insert(first, Asked::One);
                }
                errand
            }
            Want::Delete(wanted) => {
                let calls = self.calls(id, first, wanted, |node, chunks: Vec<ChunkId>| {
                    (Asked::Delete(node, chunks.clone()), Request::Delete(chunks))
                });
                self.ask(id, nobody(Got::Deleted(Vec::new())), calls)
            }
            Want::Clocks => {
                let voters = node.map.voters(GROUP).to_vec();
                let others = voters.iter().filter(|voter| **voter != id).map(|voter| (*voter, ()));
                let calls = self.calls(id, first, others, |_, ()| (Asked::Clock, Request::Clock));
                self.ask(id, Errand::new(first, Got::Clocks(Vec::new(), 0), voters.len()), calls)
            }
            want => self.move_errand(id, first, want),
        }
    }

    /// One call to each of these nodes; the first is numbered `first`.
    pub(super) fn calls<T>(
        &mut self,
        id: NodeId,
        first: u64,
        wanted: impl IntoIterator<Item = (NodeId, T)>,
        call: impl Fn(NodeId, T) -> (Asked, Request),
    ) -> Vec<(u64, NodeId, Asked, Request)> {
        let node = self.nodes.get_mut(&id).expect("a node");
        let numbered = wanted.into_iter().enumerate().map(|(place, (target, what))| {
            let (asked, request) = call(target, what);
            (if place == 0 { first } else { node.next_call() }, target, asked, request)
        });
        numbered.collect()
    }

    pub(super) fn ask(
        &mut self,
        id: NodeId,
        mut errand: Errand,
        calls: impl IntoIterator<Item = (u64, NodeId, Asked, Request)>,
    ) -> Errand {
        for (number, target, asked, request) in calls {
            errand.pending.insert(number, asked);
            self.send(Party::Node(id), Party::Node(target), Message::Request(number, request));
        }
        errand
    }

    /// Puts a question to whom a node takes for the leader of a group, or to any voter.
    pub(super) fn ask_leader(&mut self, id: NodeId, group: GroupId, number: u64, request: Request) -> Errand {
        let node = self.nodes.get_mut(&id).expect("a node");
        let map = node.map.clone();
        let known = node.replica(group).and_then(|replica| replica.leader());
        let target = known.or_else(|| node.random.pick(map.voters(group)).copied()).unwrap_or(id);
        let asked = Asked::Leader(Box::new(request.clone()));
        self.ask(id, Errand::new(number, Got::Nothing, 0), [(number, target, asked, request)])
    }

    /// Somebody has answered a call that was made for a duty.
    pub(super) fn duty_answered(&mut self, id: NodeId, number: u64, reply: Reply) -> Result<(), Violation> {
        let node = self.nodes.get_mut(&id).expect("a node");
        let found = node.errands.iter_mut().find(|(_, errand)| errand.pending.contains_key(&number));
        let Some((duty, errand)) = found else { return Ok(()) };
        let duty = *duty;
        let Some(asked) = errand.pending.remove(&number) else { return Ok(()) };
        if let (Asked::Leader(request), Reply::NotLeader(Some(leader))) = (&asked, &reply) {
            // At most one hint is followed.
            let (request, leader) = (Request::clone(request), *leader);
            let again = node.next_call();
            if let Some(errand) = node.errands.get_mut(&duty) {
                errand.pending.insert(again, Asked::One);
            }
            self.send(Party::Node(id), Party::Node(leader), Message::Request(again, request));
            return Ok(());
        }
        errand.take(asked, reply);
        if !errand.pending.is_empty() {
            return Ok(());
        }
        self.errand_over(id, duty)
    }

    /// A duty has waited long enough.
    pub(super) fn errand_late(&mut self, id: NodeId, life: Life, duty: Duty, first: u64) -> Result<(), Violation> {
        let node = &self.nodes[&id];
        if node.life != life || node.errands.get(&duty).is_none_or(|errand| errand.first != first) {
            return Ok(());
        }
        self.errand_over(id, duty)
    }

    fn errand_over(&mut self, id: NodeId, duty: Duty) -> Result<(), Violation> {
        let errand = self.nodes.get_mut(&id).and_then(|node| node.errands.remove(&duty));
        errand.map_or(Ok(()), |errand| self.drive(id, duty, errand.end()))
    }
}
