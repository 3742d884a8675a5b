//! What nodes do with chunks: store, read, scrub, fetch from each other.

use super::World;
use crate::bug::Bug;
use crate::chunks::Flush;
use crate::disk::Crash;
use crate::event::{Event, Life, Millis};
use crate::judge::{Rule, Violation};
use crate::marks::Mark;
use crate::message::{Message, Party, Reply, Request, Waiter};
use crate::node::{Counted, Fetch, Put};
use crate::replica::GROUP;
use bytes::Bytes;
use chunk_core::read;
use proto::chunk::ChunkError;
use proto::meta::{Answer, Query};
use types::{Blake3Root, ChunkId, ChunkRef, NodeId, PgEpoch, PgId, Slot};

/// How long a source may take to give a chunk.
const FETCH_MAX: Millis = 700;

impl World<'_> {
    /// Which group and epoch a put of a chunk is counted under, if this node takes it.
    fn admit(&mut self, id: NodeId, chunk: ChunkId, epoch: PgEpoch) -> Result<Counted, ChunkError> {
        let node = &self.nodes[&id];
        if !node.lease.holds(self.now) {
            self.report.marks.hit(Mark::NoLease);
            return Err(ChunkError::NoLease);
        }
        let group = node.map.group_of(chunk.slot()).ok_or(ChunkError::NotMember)?;
        let (pg, current) = (group.id, group.epoch);
        let takes = group.takers().any(|taker| taker.node == id);
        let old = epoch < current && self.script.bug != Some(Bug::OldEpochTaken);
        if epoch > current {
            self.look_soon(id);
        }
        if epoch > current || old {
            self.report.marks.hit(Mark::StaleEpoch);
            return Err(ChunkError::StaleEpoch { current });
        }
        if takes { Ok((pg, epoch)) } else { Err(ChunkError::NotMember) }
    }

    pub(super) fn put(
        &mut self,
        id: NodeId,
        waiter: Waiter,
        chunk: ChunkId,
        epoch: PgEpoch,
        root: Blake3Root,
        data: Bytes,
    ) -> Result<Option<Reply>, Violation> {
        if !self.nodes[&id].informed {
            return Ok(Some(Reply::Refused(ChunkError::Busy)));
        }
        let counted = match self.admit(id, chunk, epoch) {
            Ok(counted) => counted,
            Err(error) => return Ok(Some(Reply::Refused(error))),
        };
        if let Some(group) = self.map.group(counted.0) {
            self.judge.takes(id, chunk, counted.1, group)?;
        }
        Ok(self.keep(id, Put { waiter: Some(waiter), counted: Some(counted) }, chunk, root, data))
    }

    /// Begins to store a chunk; an answer at once means that it is not stored.
    fn keep(&mut self, id: NodeId, put: Put, chunk: ChunkId, root: Blake3Root, data: Bytes) -> Option<Reply> {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.troubles.dead {
            return Some(Reply::Refused(ChunkError::Fenced));
        }
        if node.troubles.full > now {
            self.report.marks.hit(Mark::NoSpace);
            return Some(Reply::Refused(ChunkError::NoSpace));
        }
        if let Err(error) = node.chunks.put(chunk, root, data) {
            if error == ChunkError::Deleted {
                node.wanted.remove(&chunk);
            }
            return Some(Reply::Refused(error));
        }
        node.storing.entry(chunk).or_default().push(put);
        let when = now + node.flush_time(now);
        self.agenda.at(when, Event::ChunkFlushed(id, node.life, chunk));
        None
    }

    pub(super) fn chunk_flushed(&mut self, id: NodeId, life: Life, chunk: ChunkId) -> Result<(), Violation> {
        if self.nodes[&id].life != life || self.nodes[&id].troubles.dead {
            return Ok(());
        }
        if self.nodes[&id].troubles.tears_next && !self.calm {
            self.crash_while(id, Crash::Power, Some(chunk));
            return Ok(());
        }
        let Some(lies) = self.begin_flush(id)? else { return Ok(()) };
        let flush = self.flush_of(id, chunk, lies);
        match flush {
            Flush::Honest => {}
            Flush::Lied | Flush::Lost => self.damages(chunk, id),
            Flush::Misdirected(victim) => {
                self.damages(chunk, id);
                self.damages(victim, id);
            }
        }
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.chunks.flushed(chunk, flush) {
            self.damaged.remove(&(chunk, id));
        }
        node.wanted.remove(&chunk);
        for put in node.storing.remove(&chunk).unwrap_or_default() {
            if let Some(waiter) = put.waiter {
                self.reply(id, waiter, Reply::Stored);
            }
        }
        Ok(())
    }

    /// Whether no put of an epoch of a group below this one is in progress, and none will be taken.
    pub(super) fn barrier(&mut self, id: NodeId, pg: PgId, epoch: PgEpoch) -> Reply {
        let node = &self.nodes[&id];
        let current = node.map.group(pg).map(|group| group.epoch);
        match current {
            _ if !node.informed => Reply::Refused(ChunkError::Busy),
            None => Reply::Refused(ChunkError::NotMember),
            Some(current) if current < epoch => {
                self.look_soon(id);
                Reply::Refused(ChunkError::StaleEpoch { current })
            }
            Some(_) if node.is_drained(pg, epoch) => Reply::Passed,
            Some(_) => Reply::Refused(ChunkError::Busy),
        }
    }

    /// What is known of a slot's chunks.
    pub(super) fn list(&self, id: NodeId, slot: Slot, after: Option<ChunkId>, max: usize) -> Reply {
        let node = &self.nodes[&id];
        match node.troubles.dead {
            true => Reply::Refused(ChunkError::Fenced),
            false => Reply::Listed(node.chunks.known(slot, after, max)),
        }
    }

    /// Which chunks are there.
    pub(super) fn stat(&self, id: NodeId, chunks: &[ChunkId]) -> Reply {
        let node = &self.nodes[&id];
        match node.troubles.dead {
            true => Reply::Refused(ChunkError::Fenced),
            false => Reply::Stats(chunks.iter().map(|chunk| node.chunks.stat(*chunk)).collect()),
        }
    }

    /// Begins to delete chunks; an answer at once means that they are not deleted.
    pub(super) fn delete(&mut self, id: NodeId, waiter: Waiter, chunks: Vec<ChunkId>) -> Option<Reply> {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.troubles.dead {
            return Some(Reply::Refused(ChunkError::Fenced));
        }
        if !node.lease.holds(now) {
            self.report.marks.hit(Mark::NoLease);
            return Some(Reply::Refused(ChunkError::NoLease));
        }
        let when = now + node.flush_time(now);
        self.agenda.at(when, Event::ChunksDeleted(id, node.life, waiter, chunks));
        None
    }

    /// The tombstones of chunks are flushed. Every one of them must be right.
    pub(super) fn chunks_deleted(
        &mut self,
        id: NodeId,
        life: Life,
        waiter: Waiter,
        chunks: Vec<ChunkId>,
    ) -> Result<(), Violation> {
        if self.nodes[&id].life != life || self.nodes[&id].troubles.dead {
            return Ok(());
        }
        let Some(lies) = self.begin_flush(id)? else { return Ok(()) };
        for chunk in chunks {
            self.check_verdict(id, chunk)?;
            self.judge.deletes(id, chunk)?;
            if !self.judge.is_committed(chunk) && self.nodes[&id].chunks.has(chunk) {
                self.report.marks.hit(Mark::OrphanDeleted);
            }
            let node = self.nodes.get_mut(&id).expect("a node");
            node.chunks.delete(chunk, lies);
            node.wanted.remove(&chunk);
            for put in node.storing.remove(&chunk).unwrap_or_default() {
                if let Some(waiter) = put.waiter {
                    self.reply(id, waiter, Reply::Refused(ChunkError::Deleted));
                }
            }
        }
        self.reply(id, waiter, Reply::Deleted);
        Ok(())
    }

    /// The rows of a replica that has applied everything say that a chunk may be deleted, if there is one. What was deleted somewhere before follows from
    /// that: a group that was recovered since may have gone back to when it did not say so yet.
    fn check_verdict(&self, id: NodeId, chunk: ChunkId) -> Result<(), Violation> {
        if self.judge.is_deleted(chunk) {
            return Ok(());
        }
        let known = self.judge.entries(GROUP);
        let mut replicas = self.nodes.values().filter_map(|node| node.replica(GROUP));
        let Some(newest) = replicas.find(|replica| replica.state().1.index.0 == known) else { return Ok(()) };
        let judged = meta_core::query(newest.state().0, GROUP, &Query::JudgeChunks { chunks: vec![chunk] });
        match judged.expect("a store in memory") {
            Ok(Answer::Judged(verdicts)) if verdicts.iter().all(|verdict| verdict.may_be_deleted()) => Ok(()),
            other => Err(Violation::new(Rule::Garbage, format!("{id} deletes {chunk}, and the group says {other:?}"))),
        }
    }

    pub(super) fn get(&mut self, id: NodeId, chunk: ChunkId) -> Reply {
        let node = &self.nodes[&id];
        if node.troubles.unreadable > self.now || node.troubles.dead {
            return Reply::Refused(ChunkError::Fenced);
        }
        node.chunks.read(chunk).map_or_else(Reply::Refused, Reply::Piece)
    }

    /// Whether a move brings a node in to have a chunk.
    fn fills(&self, id: NodeId, chunk: ChunkId) -> bool {
        let group = self.nodes[&id].map.group_of(chunk.slot());
        group.and_then(|group| group.moving.as_ref()).is_some_and(|moving| moving.to.node == id)
    }

    /// Fetches a copy from one of `sources`, under an epoch; an answer at once means that there is nothing to fetch, or that it is refused.
    pub(super) fn replicate(
        &mut self,
        id: NodeId,
        waiter: Waiter,
        chunk: ChunkRef,
        epoch: PgEpoch,
        mut sources: Vec<NodeId>,
    ) -> Option<Reply> {
        if !self.nodes[&id].informed {
            return Some(Reply::Refused(ChunkError::Busy));
        }
        let counted = match self.admit(id, chunk.id, epoch) {
            Ok(counted) => counted,
            Err(error) => return Some(Reply::Refused(error)),
        };
        let node = &self.nodes[&id];
        if node.troubles.dead {
            return Some(Reply::Refused(ChunkError::Fenced));
        }
        // What the store says it has may be damaged; it looks before it promises.
        if node.chunks.has_good(chunk.id) {
            return Some(Reply::Stored);
        }
        sources.retain(|source| *source != id);
        self.fetch(id, Fetch { chunk, sources, put: Put { waiter: Some(waiter), counted: Some(counted) } })
    }

    fn fetch(&mut self, id: NodeId, mut fetch: Fetch) -> Option<Reply> {
        if fetch.sources.is_empty() {
            return Some(Reply::Refused(ChunkError::NoSource));
        }
        let source = fetch.sources.remove(0);
        let request = Request::Get(fetch.chunk.id);
        let node = self.nodes.get_mut(&id).expect("a node");
        let number = node.next_call();
        node.fetches.insert(number, fetch);
        let late = Event::FetchLate(id, node.life, number);
        self.agenda.at(self.now + FETCH_MAX, late);
        self.send(Party::Node(id), Party::Node(source), Message::Request(number, request));
        None
    }

    /// A source has not answered in time.
    pub(super) fn fetch_late(&mut self, id: NodeId, life: Life, number: u64) {
        if self.nodes[&id].life == life {
            self.copy_came(id, number, Reply::Refused(ChunkError::Busy));
        }
    }

    /// Another node has answered a call for a copy.
    pub(super) fn copy_came(&mut self, id: NodeId, number: u64, reply: Reply) {
        let node = self.nodes.get_mut(&id).expect("a node");
        let Some(fetch) = node.fetches.remove(&number) else { return };
        let (chunk, put) = (fetch.chunk, fetch.put);
        // The map may have moved on while the data came.
        let placed = node.map.group_of(chunk.id.slot()).is_some_and(|group| {
            let same = put.counted.is_none_or(|(_, epoch)| epoch == group.epoch);
            same && group.takers().any(|taker| taker.node == id)
        });
        let fills = self.fills(id, chunk.id);
        let unchecked = self.script.bug == Some(Bug::CopyUnchecked);
        let data = match reply {
            Reply::Piece(piece) if unchecked => Some(piece.data),
            Reply::Piece(piece) => read::check(&chunk, &(0..chunk.len), &piece).ok(),
            _ => None,
        };
        let answer = match data {
            _ if !placed => Some(Reply::Refused(ChunkError::NotMember)),
            // The store takes nothing that does not have the hash it comes with: who does not look must not ask for the right one.
            Some(data) if unchecked => {
                let root = types::root_of(&data, &types::leaves_of(&data));
                self.keep(id, put, chunk.id, root, data)
            }
            Some(data) => {
                if fills {
                    self.report.marks.hit(Mark::Pulled);
                }
                self.keep(id, put, chunk.id, chunk.root, data)
            }
            None => self.fetch(id, fetch),
        };
        if let (Some(reply), Some(waiter)) = (answer, put.waiter) {
            self.reply(id, waiter, reply);
        }
    }

    /// Looks at all copies of a node, puts damaged ones aside, and asks the other members for those it lacks and should have.
    pub(super) fn scrub(&mut self, id: NodeId, life: Life) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.life != life {
            return;
        }
        if node.troubles.unreadable <= now && !node.troubles.dead {
            for chunk in node.chunks.scrub() {
                self.report.marks.hit(Mark::CorruptCopyScrubbed);
                node.wanted.insert(chunk.id, chunk);
            }
        }
        if node.informed {
            let map = node.map.clone();
            let takes = |chunk: &ChunkId| {
                map.group_of(chunk.slot()).is_some_and(|group| group.takers().any(|taker| taker.node == id))
            };
            // What moved away is with the members.
            node.wanted.retain(|chunk, _| takes(chunk));
            for chunk in self.nodes[&id].wanted.values().copied().collect::<Vec<_>>() {
                let sources = self.others(id, chunk.id);
                self.fetch(id, Fetch { chunk, sources, put: Put { waiter: None, counted: None } });
            }
        }
        self.agenda.at(now + self.script.knobs.scrub, Event::Scrub(id, life));
    }

    /// The other members that should have a chunk, in some order.
    fn others(&mut self, id: NodeId, chunk: ChunkId) -> Vec<NodeId> {
        let node = self.nodes.get_mut(&id).expect("a node");
        let Some(group) = node.map.group_of(chunk.slot()) else { return Vec::new() };
        let mut others: Vec<NodeId> =
            group.members.iter().map(|member| member.node).filter(|node| *node != id).collect();
        if node.random.chance(500) {
            others.reverse();
        }
        others
    }
}
