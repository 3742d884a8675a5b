//! Moves of copies: what their workers want is carried out, and every step is judged against the map as it really is.

use super::World;
use crate::bug::Bug;
use crate::duty::{Barrier, CopyJob, Got, Want};
use crate::errand::{Asked, Errand};
use crate::fault::Fault;
use crate::judge::{Rule, Violation};
use crate::marks::Mark;
use crate::message::{Party, Request, Waiter};
use placement::{Limits, PlannedMove};
use proto::control::{ControlCommand, ControlRequest};
use proto::log::LogCommand;
use std::collections::BTreeSet;
use std::sync::Arc;
use types::{ChunkId, DiskState, GroupId, MovePhase, NodeId, NodeMode, NodeState, PlacementGroup, PlacementMap, Slot};

impl World<'_> {
    /// Whoever leads the control group decides by its map from now on, once all that was committed before its term is applied. Before any
    /// barrier is passed for lack of a lease: who comes back after that must first know this map.
    pub(super) fn decide(&mut self, id: NodeId) -> bool {
        let node = self.nodes.get_mut(&id).expect("a node");
        let Some(replica) = node.replica(GroupId::CONTROL).filter(|replica| replica.is_current()) else { return false };
        let (Some(term), Some(map)) = (replica.leads(), replica.map()) else { return false };
        node.decided_by = Some((term, map.version));
        true
    }

    /// Nodes that have been silent towards a leader for longer than their leases last.
    pub(super) fn silent_nodes(&self, id: NodeId) -> BTreeSet<NodeId> {
        let (over, liveness) = (self.script.knobs.lease_over(), &self.nodes[&id].liveness);
        self.nodes.keys().copied().filter(|node| liveness.silence(*node) >= over).collect()
    }

    /// What is to be done next about copies, as `meta-server` turns a plan into commands. A plan that breaks the rules is a mistake of the
    /// planner.
    ///
    /// The planner is pure: for a map that was planned for last its answer is remembered.
    pub(super) fn plan_moves(&mut self, map: &PlacementMap) -> Result<Vec<ControlCommand>, Violation> {
        if self.planned.0 != map.version {
            self.planned = (map.version, self.plan_anew(map)?);
        }
        Ok(self.planned.1.clone())
    }

    fn plan_anew(&self, map: &PlacementMap) -> Result<Vec<ControlCommand>, Violation> {
        let limits = Limits::from(&map.options);
        let plan = if self.script.bug == Some(Bug::DomainsIgnored) {
            let mut blind = map.clone();
            blind.nodes.iter_mut().for_each(|node| node.domain = node.id.to_string());
            placement::plan(&blind, &limits).0
        } else {
            let plan = placement::plan(map, &limits).0;
            let faults = placement::check_plan(map, &plan, &limits);
            if !faults.is_empty() {
                return Err(Violation::new(Rule::Move, format!("a plan breaks the rules: {faults:?}")));
            }
            plan
        };
        let aborts = plan.aborts.iter().map(|(pg, epoch)| ControlCommand::AbortMove { pg: *pg, epoch: *epoch });
        let begins = plan.moves.iter().map(|planned| {
            let PlannedMove { pg, epoch, from, to, .. } = *planned;
            ControlCommand::BeginMove { pg, epoch, from, to }
        });
        Ok(aborts.chain(begins).collect())
    }

    /// Asks whoever has to be asked for the sake of a move.
    pub(super) fn move_errand(&mut self, id: NodeId, first: u64, want: Want) -> Errand {
        let errand = |got| Errand::new(first, got, 0);
        match want {
            Want::Barriers(barriers) => {
                let wanted = barriers.into_iter().map(|barrier| (barrier.0, barrier));
                let calls = self.calls(id, first, wanted, |_, barrier: Barrier| {
                    (Asked::Barrier(barrier), Request::Barrier(barrier.1, barrier.2))
                });
                self.ask(id, errand(Got::Passed(BTreeSet::new())), calls)
            }
            Want::List(nodes, slot, after, max) => {
                let wanted = nodes.into_iter().map(|node| (node, ()));
                let calls =
                    self.calls(id, first, wanted, |node, ()| (Asked::Listing(node), Request::List(slot, after, max)));
                self.ask(id, errand(Got::Listed(Default::default())), calls)
            }
            Want::Stat(nodes, chunks) => {
                let wanted = nodes.into_iter().map(|node| (node, ()));
                let calls =
                    self.calls(id, first, wanted, |node, ()| (Asked::Stat(node), Request::Stat(chunks.clone())));
                self.ask(id, errand(Got::Stats(Default::default())), calls)
            }
            Want::Copy(jobs) => {
                let wanted = jobs.into_iter().map(|job| (job.target, job));
                let calls = self.calls(id, first, wanted, |node, job: CopyJob| {
                    (Asked::Copy(node, job.chunk.id), Request::Replicate(job.chunk, job.epoch, job.sources))
                });
                self.ask(id, errand(Got::Copied(BTreeSet::new())), calls)
            }
            Want::Tell(command) => {
                let request = Request::Control(ControlRequest::Command(command));
                self.ask_leader(id, GroupId::CONTROL, first, request)
            }
            Want::Record(commands) => {
                let mut errand = errand(Got::Nothing);
                for (place, command) in commands.into_iter().enumerate() {
                    let node = self.nodes.get_mut(&id).expect("a node");
                    let number = if place == 0 { first } else { node.next_call() };
                    let waiter: Waiter = (Party::Node(id), number);
                    let replica = node.replica_mut(GroupId::CONTROL);
                    let command = LogCommand::Control(command);
                    if replica.is_some_and(|replica| replica.command(waiter, command).is_none()) {
                        errand.pending.insert(number, Asked::One);
                    }
                }
                errand
            }
            Want::Members(voter, group) => {
                let calls = [(first, voter, Asked::One, Request::Members(group))];
                self.ask(id, errand(Got::Nothing), calls)
            }
            _ => errand(Got::Nothing),
        }
    }

    /// Takes chunks of a slot off a node's disk, unless they belong there by now or it has no lease. Each must be safe elsewhere.
    pub(super) fn forget(&mut self, id: NodeId, slot: Slot, chunks: Vec<ChunkId>) -> Result<(), Violation> {
        let node = &self.nodes[&id];
        let placed = node.map.group_of(slot).is_none_or(|group| group.takers().any(|taker| taker.node == id));
        if placed && self.script.bug != Some(Bug::OldCopyFirst) || !node.lease.holds(self.now) {
            return Ok(());
        }
        for chunk in chunks.into_iter().filter(|chunk| self.nodes[&id].chunks.has(*chunk)).collect::<Vec<_>>() {
            self.check_leftover(id, chunk)?;
            self.report.marks.hit(Mark::LeftoverTaken);
            self.nodes.get_mut(&id).expect("a node").chunks.forget(chunk);
            self.damaged.remove(&(chunk, id));
            self.judge.lets_go(chunk, id);
        }
        Ok(())
    }

    /// A node takes a chunk off its disk: it is no member of the chunk's group, and a member has the chunk, if anything refers to it.
    fn check_leftover(&self, id: NodeId, chunk: ChunkId) -> Result<(), Violation> {
        let Some(group) = self.map.group_of(chunk.slot()) else { return Ok(()) };
        if group.members.iter().any(|member| member.node == id) {
            return Err(Violation::new(Rule::Move, format!("{id} takes off {chunk} and is a member of {}", group.id)));
        }
        let good = |node: NodeId| self.nodes[&node].chunks.has_good(chunk);
        if self.judge.refers_to(chunk) && !group.members.iter().any(|member| good(member.node)) {
            return Err(Violation::new(Rule::Move, format!("{id} takes off {chunk}, and no member has it")));
        }
        Ok(())
    }

    /// The map has changed: that is judged, and what is known of it noted.
    pub(super) fn map_changed(&mut self, map: &Arc<PlacementMap>) -> Result<(), Violation> {
        if map.version <= self.map.version {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.map, map.clone());
        for (was, is) in before.groups.iter().zip(&map.groups) {
            if was != is {
                self.group_changed(was, is)?;
            }
        }
        for (was, is) in before.nodes.iter().zip(&map.nodes) {
            if is.state == NodeState::Out && was.state != NodeState::Out {
                self.report.marks.hit(Mark::NodeOut);
            }
            if is.mode == NodeMode::Draining && was.mode != NodeMode::Draining {
                *self.report.faults.entry(Fault::Drain).or_default() += 1;
            }
            let breaks = is
                .disks
                .iter()
                .zip(&was.disks)
                .any(|(is, was)| is.state == DiskState::Broken && was.state != DiskState::Broken);
            if breaks {
                self.report.marks.hit(Mark::DiskBroken);
            }
        }
        Ok(())
    }

    fn group_changed(&mut self, was: &PlacementGroup, is: &PlacementGroup) -> Result<(), Violation> {
        let changed: Vec<usize> = (0..is.members.len()).filter(|at| was.members[*at] != is.members[*at]).collect();
        let nodes: BTreeSet<NodeId> = is.members.iter().map(|member| member.node).collect();
        if is.epoch < was.epoch || changed.len() > 1 || nodes.len() < is.members.len() {
            return Err(Violation::new(Rule::Move, format!("{was:?} has become {is:?}")));
        }
        self.judge.moves(was, is);
        match (&was.moving, &is.moving) {
            (None, Some(_)) => self.report.marks.hit(Mark::MoveBegun),
            (Some(_), None) if changed.is_empty() => self.report.marks.hit(Mark::MoveAborted),
            (Some(_), None) => self.report.marks.hit(Mark::MoveCommitted),
            (Some(old), Some(new)) if old.phase == MovePhase::Barrier && new.phase == MovePhase::Copying => {
                self.judge.passes(is.id, is.epoch);
                if !is.members.iter().all(|member| self.map.is_up(member.node)) {
                    self.report.marks.hit(Mark::SilencePassed);
                }
            }
            _ => {}
        }
        changed.into_iter().try_for_each(|at| self.check_newcomer(was, is.members[at].node))
    }

    /// A move is committed: what all members had for certain before it began, the one it brought in has as well.
    fn check_newcomer(&self, was: &PlacementGroup, newcomer: NodeId) -> Result<(), Violation> {
        let node = &self.nodes[&newcomer];
        if node.gone {
            return Ok(());
        }
        let of = |chunk: &ChunkId| self.map.group_of(chunk.slot()).is_some_and(|group| group.id == was.id);
        let everywhere =
            |chunk: ChunkId| was.members.iter().all(|member| self.nodes[&member.node].chunks.has_good(chunk));
        let settled =
            self.judge.settled_before_move(was.id).filter(|chunk| of(chunk) && !self.ever_damaged.contains(chunk));
        let lacks = |chunk: ChunkId| !node.chunks.has(chunk) && !node.chunks.is_deleted(chunk);
        let mut lacking = settled.filter(|chunk| lacks(*chunk) && everywhere(*chunk));
        match lacking.next() {
            None => Ok(()),
            Some(chunk) => {
                let text = format!("{newcomer} has become a member of {} without {chunk}", was.id);
                Err(Violation::new(Rule::Move, text))
            }
        }
    }
}
