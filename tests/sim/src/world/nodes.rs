//! What nodes do: start, tick, flush, take messages and calls; every turn of a replica is judged.

use super::World;
use crate::disk::Crash;
use crate::duty::Duty;
use crate::event::{Event, Life};
use crate::judge::{Rule, Violation};
use crate::marks::Mark;
use crate::message::{Message, Party, Reply, Request, Waiter};
use crate::replica::{GROUP, GROUPS, Question, Replica, Turn};
use bytes::Bytes;
use proto::log::LogCommand;
use raft_core::RaftMessage;
use types::{GroupId, NodeId};

/// Entries between two checks of all of meta-core's invariants, which read every row.
const INVARIANTS_EVERY: u64 = 16;

impl World<'_> {
    pub(super) fn start(&mut self, id: NodeId) -> Result<(), Violation> {
        let (knobs, bug) = (self.script.knobs, self.script.bug);
        let node = self.nodes.get_mut(&id).expect("a node");
        let forgetful = node.start(self.now, self.script.seed, bug, knobs);
        if forgetful {
            self.report.marks.hit(Mark::Quarantined);
            self.judge.forgets(id);
        } else {
            for (group, seat) in &node.seats {
                if let Some(replica) = &seat.replica {
                    self.judge.starts(*group, replica.id(), seat.disk.durable().hard_state)?;
                }
            }
        }
        let life = node.life;
        let (tick, scrub) = (node.random.between(1, knobs.tick), node.random.between(1, knobs.scrub));
        self.agenda.at(self.now + tick, Event::Tick(id, life));
        self.agenda.at(self.now + scrub, Event::Scrub(id, life));
        self.agenda.at(self.now + tick, Event::Leases(id, life));
        self.agenda.at(self.now + 1, Event::Beat(id, life));
        self.agenda.at(self.now + tick, Event::Look(id, life, true));
        for duty in Duty::ALL {
            let first = node.random.between(1, duty.every(&knobs));
            self.agenda.at(self.now + first, Event::Round(id, life, duty));
        }
        Ok(())
    }

    pub(super) fn tick(&mut self, id: NodeId, life: Life) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.life == life) else { return Ok(()) };
        let (map, informed, steady) = (node.map.clone(), node.informed, node.steady(self.now));
        for (group, seat) in &mut node.seats {
            let Some(replica) = seat.replica.as_mut() else { continue };
            replica.tick(steady);
            let placed = map.raft_groups.iter().find(|placed| placed.id == *group && informed);
            if let Some(placed) = placed {
                replica.change_members(&placed.wanted, &mut self.report.marks);
            }
        }
        let next = self.now + node.tick_time(self.now, self.script.knobs.tick);
        self.agenda.at(next, Event::Tick(id, life));
        GROUPS.into_iter().try_for_each(|group| self.perform(id, group, Turn::default()))
    }

    pub(super) fn log_flushed(&mut self, id: NodeId, life: Life, group: GroupId) -> Result<(), Violation> {
        let (now, bug) = (self.now, self.script.bug);
        if self.nodes[&id].life != life {
            return Ok(());
        }
        let Some(lies) = self.begin_flush(id)? else { return Ok(()) };
        let mut turn = Turn::default();
        let node = self.nodes.get_mut(&id).expect("a node");
        let lies = lies || node.lies(now);
        let seat = node.seats.entry(group).or_default();
        if let (Some(write), Some(replica)) = (seat.disk.flush(lies, bug), seat.replica.as_mut()) {
            replica.flushed(write, &mut turn);
        }
        self.perform(id, group, turn)
    }

    /// Whether the flush that ends now is a lie; nothing if it fails and the node has ended itself.
    pub(super) fn begin_flush(&mut self, id: NodeId) -> Result<Option<bool>, Violation> {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        if std::mem::take(&mut node.troubles.flush_fails) {
            if self.script.bug == Some(crate::bug::Bug::FlushErrorIgnored) {
                return Ok(Some(true));
            }
            self.report.marks.hit(Mark::Fenced);
            self.crash(id, Crash::Flush);
            return Ok(None);
        }
        if node.troubles.lied && !node.lies(now) {
            node.troubles.lied = false;
            node.seats.values_mut().for_each(|seat| seat.disk.end_lie());
            node.chunks.end_lie();
            let chunks = &node.chunks;
            self.damaged.retain(|(chunk, at)| *at != id || !chunks.has_good(*chunk));
        }
        Ok(Some(node.lies(now)))
    }

    /// Performs what a replica asks for, and judges it.
    pub(super) fn perform(&mut self, id: NodeId, group: GroupId, mut turn: Turn) -> Result<(), Violation> {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        let (time, lies) = (node.clock(now), node.lies(now));
        let seat = node.seats.entry(group).or_default();
        let Some(replica) = seat.replica.as_mut() else { return Ok(()) };
        replica.perform(time, lies, &mut seat.disk, &mut turn);
        if let Some(term) = replica.leads() {
            self.judge.leads(group, id, term)?;
        }
        for _ in 0..turn.writes {
            let takes = node.flush_time(now);
            let seat = node.seats.entry(group).or_default();
            seat.log_busy_until = seat.log_busy_until.max(now) + takes;
            self.agenda.at(seat.log_busy_until, Event::LogFlushed(id, node.life, group));
        }
        for message in turn.messages {
            self.judge.sends(group, &message)?;
            self.send(Party::Node(id), Party::Node(message.to.node()), Message::Raft(group, message.encode()));
        }
        let known = self.judge.entries(group);
        for applied in &turn.applied {
            self.judge.applied(group, id, applied)?;
            applied.map.as_ref().map_or(Ok(()), |map| self.map_changed(map))?;
        }
        if self.judge.entries(group) / INVARIANTS_EVERY > known / INVARIANTS_EVERY {
            self.check_invariants(id, group)?;
        }
        if group == GroupId::CONTROL && !turn.applied.is_empty() {
            self.hear_of_sessions(id);
        }
        for (waiter, reply) in turn.replies {
            self.reply(id, waiter, reply);
        }
        for (mark, count) in turn.marks.0 {
            *self.report.marks.0.entry(mark).or_default() += count;
        }
        Ok(())
    }

    /// Everything that meta-core's rows say twice agrees.
    pub(super) fn check_invariants(&self, id: NodeId, group: GroupId) -> Result<(), Violation> {
        let Some(replica) = self.nodes[&id].replica(group) else { return Ok(()) };
        let (rows, at) = replica.state();
        let broken = meta_core::invariants::check(rows, group).expect("a store in memory");
        match broken.first() {
            None => Ok(()),
            Some(first) => Err(Violation::new(
                Rule::Rows,
                format!("{id} after {} of {group}: {first}, and {} more", at.index, broken.len() - 1),
            )),
        }
    }

    pub(super) fn raft(&mut self, id: NodeId, group: GroupId, bytes: &Bytes) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.runs) else { return Ok(()) };
        let message = RaftMessage::decode(bytes).map_err(|error| Violation::new(Rule::Raft, error.to_string()))?;
        let steady = node.steady(self.now);
        let here = node.replica(group).map(Replica::id);
        if here.is_none_or(|here| here.life() < message.to.life()) {
            self.meet_stranger(id, group, here, &message);
            return Ok(());
        }
        let Some(replica) = node.replica_mut(group).filter(|replica| replica.id() == message.to) else { return Ok(()) };
        if let Some(message) = replica.step(message, steady) {
            let delay = node.random.between(5, 200);
            self.agenda.at(self.now + delay, Event::Fetched(id, node.life, group, message));
        }
        self.perform(id, group, Turn::default())
    }

    pub(super) fn fetched(
        &mut self,
        id: NodeId,
        life: Life,
        group: GroupId,
        message: RaftMessage,
    ) -> Result<(), Violation> {
        let from = message.from;
        if self.nodes[&id].life != life || self.network.is_cut(Party::Node(from.node()), Party::Node(id)) {
            return Ok(());
        }
        let source = self.nodes.get(&from.node()).and_then(|node| node.replica(group));
        let Some(source) = source.filter(|source| source.id() == from) else { return Ok(()) };
        let (state, point) = source.snapshot();
        let replica = self.nodes.get_mut(&id).and_then(|node| node.replica_mut(group));
        if let Some(replica) = replica.filter(|replica| replica.id() == message.to) {
            replica.step_snapshot(message, state, point);
        }
        self.perform(id, group, Turn::default())
    }

    pub(super) fn request(&mut self, id: NodeId, waiter: Waiter, request: Request) -> Result<(), Violation> {
        let node = self.nodes.get_mut(&id).expect("a node");
        if !node.runs {
            return Ok(());
        }
        let steady = node.steady(self.now);
        let answer = match request {
            Request::Command(request, command) => match node.replica_mut(GROUP) {
                Some(replica) => replica.command(waiter, LogCommand::Meta(Some(request), command)),
                None => Some(Reply::NotLeader(None)),
            },
            Request::Query(query) => match node.replica_mut(GROUP) {
                Some(replica) => replica.query(waiter, Question::Meta(query), steady),
                None => Some(Reply::NotLeader(None)),
            },
            Request::Clock => Some(Reply::Clock(node.clock(self.now))),
            Request::Control(request) => self.control(id, waiter, request),
            Request::Delete(chunks) => self.delete(id, waiter, chunks),
            Request::Map => {
                self.tell_map(id, waiter);
                None
            }
            Request::Put(chunk, epoch, root, data) => self.put(id, waiter, chunk, epoch, root, data)?,
            Request::Get(chunk) => Some(self.get(id, chunk)),
            Request::Replicate(chunk, epoch, sources) => self.replicate(id, waiter, chunk, epoch, sources),
            Request::Heartbeat(incarnation, ails) => match waiter.0 {
                Party::Node(from) => Some(self.heard(id, from, incarnation, ails)),
                Party::Client(_) => None,
            },
            Request::Barrier(pg, epoch) => Some(self.barrier(id, pg, epoch)),
            Request::List(slot, after, max) => Some(self.list(id, slot, after, max)),
            Request::Stat(chunks) => Some(self.stat(id, &chunks)),
            Request::Members(group) => match node.replica_mut(group) {
                Some(replica) => replica.query(waiter, Question::Members, steady),
                None => Some(Reply::NotLeader(None)),
            },
        };
        if matches!(answer, Some(Reply::Answer(..))) {
            self.report.marks.hit(Mark::LeaseRead);
        }
        if let Some(reply) = answer {
            self.reply(id, waiter, reply);
        }
        GROUPS.into_iter().try_for_each(|group| self.perform(id, group, Turn::default()))
    }
}
