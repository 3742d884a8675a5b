//! What nodes do with chunks: store, read, scrub, fetch from each other.

use super::World;
use crate::bug::Bug;
use crate::chunks::Flush;
use crate::disk::Crash;
use crate::event::{Event, Life};
use crate::judge::{Rule, Violation};
use crate::marks::Mark;
use crate::message::{Message, Party, Reply, Request, Waiter};
use crate::node::Fetch;
use crate::replica::GROUP;
use bytes::Bytes;
use chunk_core::read;
use proto::chunk::ChunkError;
use proto::meta::{Answer, Query};
use types::{Blake3Root, ChunkId, ChunkRef, NodeId, PgEpoch};

impl World<'_> {
    pub(super) fn put(
        &mut self,
        id: NodeId,
        waiter: Waiter,
        chunk: ChunkId,
        epoch: PgEpoch,
        root: Blake3Root,
        data: Bytes,
    ) -> Option<Reply> {
        let node = self.nodes.get_mut(&id).expect("a node");
        let Some(group) = node.map.group_of(chunk.slot()) else { return Some(Reply::Refused(ChunkError::NotMember)) };
        if !group.members.iter().any(|member| member.node == id) {
            return Some(Reply::Refused(ChunkError::NotMember));
        }
        if group.epoch != epoch {
            self.report.marks.hit(Mark::StaleEpoch);
            return Some(Reply::Refused(ChunkError::StaleEpoch { current: group.epoch }));
        }
        self.keep(id, Some(waiter), chunk, root, data)
    }

    /// Begins to store a chunk; an answer at once means that it is not stored.
    fn keep(
        &mut self,
        id: NodeId,
        waiter: Option<Waiter>,
        chunk: ChunkId,
        root: Blake3Root,
        data: Bytes,
    ) -> Option<Reply> {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
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
        node.storing.entry(chunk).or_default().extend(waiter);
        let when = now + node.flush_time(now);
        self.agenda.at(when, Event::ChunkFlushed(id, node.life, chunk));
        None
    }

    pub(super) fn chunk_flushed(&mut self, id: NodeId, life: Life, chunk: ChunkId) -> Result<(), Violation> {
        if self.nodes[&id].life != life {
            return Ok(());
        }
        if self.nodes[&id].troubles.tears_next && !self.calm {
            self.crash_while(id, Crash::Power, Some(chunk));
            return Ok(());
        }
        let Some(lies) = self.begin_flush(id)? else { return Ok(()) };
        let flush = self.flush_of(id, chunk, lies);
        match flush {
            Flush::Honest => drop(self.damaged.remove(&(chunk, id))),
            Flush::Lied | Flush::Lost => drop(self.damaged.insert((chunk, id))),
            Flush::Misdirected(victim) => self.damaged.extend([(chunk, id), (victim, id)]),
        }
        let node = self.nodes.get_mut(&id).expect("a node");
        node.chunks.flushed(chunk, flush);
        node.wanted.remove(&chunk);
        for waiter in node.storing.remove(&chunk).unwrap_or_default() {
            self.reply(id, waiter, Reply::Stored);
        }
        Ok(())
    }

    /// Begins to delete chunks.
    pub(super) fn delete(&mut self, id: NodeId, waiter: Waiter, chunks: Vec<ChunkId>) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        let when = now + node.flush_time(now);
        self.agenda.at(when, Event::ChunksDeleted(id, node.life, waiter, chunks));
    }

    /// The tombstones of chunks are flushed. Every one of them must be right.
    pub(super) fn chunks_deleted(
        &mut self,
        id: NodeId,
        life: Life,
        waiter: Waiter,
        chunks: Vec<ChunkId>,
    ) -> Result<(), Violation> {
        if self.nodes[&id].life != life {
            return Ok(());
        }
        let Some(lies) = self.begin_flush(id)? else { return Ok(()) };
        for chunk in chunks {
            self.judge.deletes(id, chunk)?;
            self.check_verdict(id, chunk)?;
            if self.judge.missing(chunk).is_none() && self.nodes[&id].chunks.has(chunk) {
                self.report.marks.hit(Mark::OrphanDeleted);
            }
            let node = self.nodes.get_mut(&id).expect("a node");
            node.chunks.delete(chunk, lies);
            node.wanted.remove(&chunk);
            for put in node.storing.remove(&chunk).unwrap_or_default() {
                self.reply(id, put, Reply::Refused(ChunkError::Deleted));
            }
        }
        self.reply(id, waiter, Reply::Deleted);
        Ok(())
    }

    /// The rows of a replica that has applied everything say that a chunk may be deleted, if there is one.
    fn check_verdict(&self, id: NodeId, chunk: ChunkId) -> Result<(), Violation> {
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
        if node.troubles.unreadable > self.now {
            return Reply::Refused(ChunkError::Fenced);
        }
        node.chunks.read(chunk).map_or_else(Reply::Refused, Reply::Piece)
    }

    /// Fetches a copy from one of `sources`; an answer at once means that there is nothing to fetch.
    pub(super) fn replicate(
        &mut self,
        id: NodeId,
        waiter: Waiter,
        chunk: ChunkRef,
        sources: Vec<NodeId>,
    ) -> Option<Reply> {
        // What the store says it has may be damaged; it looks before it promises.
        if self.nodes[&id].chunks.has_good(chunk.id) {
            return Some(Reply::Stored);
        }
        self.fetch(id, Fetch { chunk, sources, waiter: Some(waiter) })
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
        self.send(Party::Node(id), Party::Node(source), Message::Request(number, request));
        None
    }

    /// Another node has answered a call for a copy.
    pub(super) fn copy_came(&mut self, id: NodeId, number: u64, reply: Reply) {
        let node = self.nodes.get_mut(&id).expect("a node");
        let Some(fetch) = node.fetches.remove(&number) else { return };
        let (chunk, waiter) = (fetch.chunk, fetch.waiter);
        let unchecked = self.script.bug == Some(Bug::CopyUnchecked);
        let data = match reply {
            Reply::Piece(piece) if unchecked => Some(piece.data),
            Reply::Piece(piece) => read::check(&chunk, &(0..chunk.len), &piece).ok(),
            _ => None,
        };
        let answer = match data {
            // The store takes nothing that does not have the hash it comes with: who does not look must not ask for the right one.
            Some(data) if unchecked => {
                let root = types::root_of(&data, &types::leaves_of(&data));
                self.keep(id, waiter, chunk.id, root, data)
            }
            Some(data) => self.keep(id, waiter, chunk.id, chunk.root, data),
            None => self.fetch(id, fetch),
        };
        if let (Some(reply), Some(waiter)) = (answer, waiter) {
            self.reply(id, waiter, reply);
        }
    }

    /// Looks at all copies of a node, puts damaged ones aside, and asks the other members for those it lacks.
    pub(super) fn scrub(&mut self, id: NodeId, life: Life) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.life != life {
            return;
        }
        if node.troubles.unreadable <= now {
            for chunk in node.chunks.scrub() {
                self.report.marks.hit(Mark::CorruptCopyScrubbed);
                node.wanted.insert(chunk.id, chunk);
            }
        }
        for chunk in self.nodes[&id].wanted.values().copied().collect::<Vec<_>>() {
            let sources = self.others(id, chunk.id);
            self.fetch(id, Fetch { chunk, sources, waiter: None });
        }
        self.agenda.at(now + self.script.knobs.scrub, Event::Scrub(id, life));
    }

    /// The other members that should have a chunk, in some order.
    pub(super) fn others(&mut self, id: NodeId, chunk: ChunkId) -> Vec<NodeId> {
        let Some(group) = self.map.group_of(chunk.slot()) else { return Vec::new() };
        let mut others: Vec<NodeId> =
            group.members.iter().map(|member| member.node).filter(|node| *node != id).collect();
        if self.nodes.get_mut(&id).expect("a node").random.chance(500) {
            others.reverse();
        }
        others
    }
}
