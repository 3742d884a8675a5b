//! What nodes do: start, tick, flush, take messages and calls; every turn of a replica is judged.

use super::World;
use crate::disk::Crash;
use crate::duty::Duty;
use crate::event::{Event, Life};
use crate::judge::{Rule, Violation};
use crate::marks::Mark;
use crate::message::{Message, Party, Reply, Request, Waiter};
use crate::replica::{GROUP, Turn};
use bytes::Bytes;
use raft_core::RaftMessage;
use types::NodeId;

/// Entries between two checks of all of meta-core's invariants, which read every row.
const INVARIANTS_EVERY: u64 = 16;

impl World<'_> {
    pub(super) fn start(&mut self, id: NodeId) -> Result<(), Violation> {
        let (knobs, bug) = (self.script.knobs, self.script.bug);
        let node = self.nodes.get_mut(&id).expect("a node");
        let forgetful = node.start(&self.voters, self.script.seed, bug, knobs);
        if forgetful {
            self.report.marks.hit(Mark::Quarantined);
        } else if node.replica.is_some() {
            self.judge.starts(id, node.disk.durable().hard_state)?;
        }
        let life = node.life;
        let (tick, scrub) = (node.random.between(1, knobs.tick), node.random.between(1, knobs.scrub));
        self.agenda.at(self.now + tick, Event::Tick(id, life));
        self.agenda.at(self.now + scrub, Event::Scrub(id, life));
        for duty in Duty::ALL {
            let first = node.random.between(1, duty.every(&knobs));
            self.agenda.at(self.now + first, Event::Round(id, life, duty));
        }
        Ok(())
    }

    pub(super) fn tick(&mut self, id: NodeId, life: Life) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.life == life) else { return Ok(()) };
        let Some(replica) = node.replica.as_mut() else { return Ok(()) };
        replica.tick();
        let next = self.now + node.tick_time(self.now, self.script.knobs.tick);
        self.agenda.at(next, Event::Tick(id, life));
        self.perform(id, Turn::default())
    }

    pub(super) fn log_flushed(&mut self, id: NodeId, life: Life) -> Result<(), Violation> {
        let (now, bug) = (self.now, self.script.bug);
        if self.nodes[&id].life != life {
            return Ok(());
        }
        let Some(lies) = self.begin_flush(id)? else { return Ok(()) };
        let mut turn = Turn::default();
        let node = self.nodes.get_mut(&id).expect("a node");
        if let (Some(write), Some(replica)) = (node.disk.flush(lies || node.lies(now), bug), node.replica.as_mut()) {
            replica.flushed(write, &mut turn);
        }
        self.perform(id, turn)
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
            node.disk.end_lie();
            node.chunks.end_lie();
            let chunks = &node.chunks;
            self.damaged.retain(|(chunk, at)| *at != id || !chunks.has_good(*chunk));
        }
        Ok(Some(node.lies(now)))
    }

    /// Performs what a replica asks for, and judges it.
    pub(super) fn perform(&mut self, id: NodeId, mut turn: Turn) -> Result<(), Violation> {
        let node = self.nodes.get_mut(&id).expect("a node");
        let (time, lies) = (node.clock(self.now), node.lies(self.now));
        let Some(replica) = node.replica.as_mut() else { return Ok(()) };
        replica.perform(time, lies, &mut node.disk, &mut turn);
        if let Some(term) = replica.leads() {
            self.judge.leads(id, term)?;
        }
        for _ in 0..turn.writes {
            node.log_busy_until = node.log_busy_until.max(self.now) + node.flush_time(self.now);
            self.agenda.at(node.log_busy_until, Event::LogFlushed(id, node.life));
        }
        for message in turn.messages {
            self.judge.sends(id, &message)?;
            self.send(Party::Node(id), Party::Node(message.to.node()), Message::Raft(message.encode()));
        }
        let known = self.judge.entries();
        for applied in &turn.applied {
            self.judge.applied(id, applied)?;
        }
        if self.judge.entries() / INVARIANTS_EVERY > known / INVARIANTS_EVERY {
            self.check_invariants(id)?;
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
    pub(super) fn check_invariants(&self, id: NodeId) -> Result<(), Violation> {
        let Some(replica) = &self.nodes[&id].replica else { return Ok(()) };
        let (rows, at) = replica.state();
        let broken = meta_core::invariants::check(rows, GROUP).expect("a store in memory");
        match broken.first() {
            None => Ok(()),
            Some(first) => Err(Violation::new(
                Rule::Rows,
                format!("{id} after {}: {first}, and {} more", at.index, broken.len() - 1),
            )),
        }
    }

    pub(super) fn raft(&mut self, id: NodeId, bytes: &Bytes) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let Some(replica) = node.replica.as_mut() else { return Ok(()) };
        let message = RaftMessage::decode(bytes).map_err(|error| Violation::new(Rule::Raft, error.to_string()))?;
        if let Some(message) = replica.step(message) {
            let delay = node.random.between(5, 200);
            self.agenda.at(self.now + delay, Event::Fetched(id, node.life, message));
        }
        self.perform(id, Turn::default())
    }

    pub(super) fn fetched(&mut self, id: NodeId, life: Life, message: RaftMessage) -> Result<(), Violation> {
        if self.nodes[&id].life != life || self.network.is_cut(Party::Node(message.from.node()), Party::Node(id)) {
            return Ok(());
        }
        let source = self.nodes.get(&message.from.node()).and_then(|node| node.replica.as_ref());
        let Some((state, at)) = source.map(|replica| replica.state()) else { return Ok(()) };
        let state = state.clone();
        if let Some(replica) = self.nodes.get_mut(&id).and_then(|node| node.replica.as_mut()) {
            replica.step_snapshot(message, state, at);
        }
        self.perform(id, Turn::default())
    }

    pub(super) fn request(&mut self, id: NodeId, waiter: Waiter, request: Request) -> Result<(), Violation> {
        let node = self.nodes.get_mut(&id).expect("a node");
        if !node.runs {
            return Ok(());
        }
        let answer = match request {
            Request::Command(request, command) => match node.replica.as_mut() {
                Some(replica) => replica.command(waiter, Some(request), command),
                None => Some(Reply::NotLeader(None)),
            },
            Request::Query(query) => match node.replica.as_mut() {
                Some(replica) => replica.query(waiter, query),
                None => Some(Reply::NotLeader(None)),
            },
            Request::Clock => Some(Reply::Clock(node.clock(self.now))),
            Request::Control(request) => Some(Reply::Control(self.control(request))),
            Request::Delete(chunks) => {
                self.delete(id, waiter, chunks);
                None
            }
            Request::Map => Some(Reply::Map(node.map.clone())),
            Request::Put(chunk, epoch, root, data) => self.put(id, waiter, chunk, epoch, root, data),
            Request::Get(chunk) => Some(self.get(id, chunk)),
            Request::Replicate(chunk, sources) => self.replicate(id, waiter, chunk, sources),
        };
        if let Some(reply) = answer {
            self.reply(id, waiter, reply);
        }
        self.perform(id, Turn::default())
    }
}
