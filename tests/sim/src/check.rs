//! What must hold after every step, judged by one who sees everything.
//!
//! The committed log is the truth: the first replica that applies an entry defines it, all others must agree, and the order of
//! changes in it is the order every read and every acknowledgement must fit into. That is linearizability, found without a
//! search.

use bytes::Bytes;
use meta_core::Applied;
use proto::log::{LogBatch, LogCommand};
use proto::meta::Command;
use proto::object::NewContent;
use raft_core::Entry;
use std::collections::{BTreeMap, BTreeSet};
use types::{ChunkId, NodeId, RequestId, Term};

/// Something that must not happen has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

/// What a key held at one point: the number of the value, or nothing.
type Held = Option<u64>;

/// Where in the order of a key's changes an operation began.
#[derive(Clone, Copy, Debug)]
pub struct Floor(usize);

/// A committed chunk: how many copies its writer has claimed.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Copies that were said to be durable.
    pub copies: u32,
}

/// The one who sees everything.
#[derive(Default)]
pub struct Checker {
    leaders: BTreeMap<Term, NodeId>,
    log: Vec<(Term, blake3::Hash)>,
    requests: BTreeSet<RequestId>,
    /// All that a key ever held, in order; at first nothing.
    held: BTreeMap<Bytes, Vec<Held>>,
    /// Reached by operations that have ended.
    floors: BTreeMap<Bytes, usize>,
    /// The value each chunk holds, as its writer said.
    values: BTreeMap<ChunkId, u64>,
    /// Committed chunks in the order they were.
    claims: Vec<(ChunkId, Claim)>,
    refused: BTreeSet<u64>,
}

impl Checker {
    /// A node leads in a term: nobody else may have.
    ///
    /// # Errors
    /// Two leaders of one term.
    pub fn leads(&mut self, node: NodeId, term: Term) -> Result<(), Violation> {
        match *self.leaders.entry(term).or_insert(node) {
            other if other == node => Ok(()),
            other => Err(Violation(format!("{node} and {other} both lead term {}", term.0))),
        }
    }

    /// A node has applied an entry.
    ///
    /// # Errors
    /// Another entry was applied there before, or one before it never was.
    pub fn applied(&mut self, node: NodeId, entry: &Entry, results: &[Applied]) -> Result<(), Violation> {
        let place = entry.index.0 as usize;
        let seen = (entry.term, blake3::hash(&entry.data));
        match self.log.get(place - 1) {
            Some(there) if *there == seen => return Ok(()),
            Some(_) => return Err(Violation(format!("{node} applied another entry {place} than was committed"))),
            None if self.log.len() + 1 == place => self.log.push(seen),
            None => return Err(Violation(format!("{node} applied entry {place}, {} are known", self.log.len()))),
        }
        if !entry.data.is_empty() {
            let batch: LogBatch = proto::decode(&entry.data).map_err(|error| Violation(error.to_string()))?;
            for (command, result) in batch.commands.iter().zip(results) {
                if let (LogCommand::Meta(Some(id), command), Applied::Meta(Ok(_))) = (command, result) {
                    // A repeated request has the old answer and no new effect.
                    if self.requests.insert(*id) {
                        self.change(command)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn change(&mut self, command: &Command) -> Result<(), Violation> {
        match command {
            Command::PutObject { key, content: NewContent::Chunks(extents), precondition, .. } => {
                if precondition.if_none_match.is_some() && self.held_of(key).last().is_some_and(Option::is_some) {
                    return Err(Violation(format!("{key:?} was made although it was there")));
                }
                let value = extents.first().and_then(|new| self.values.get(&new.extent.chunk.id).copied());
                for new in extents {
                    let copies = types::REPLICAS as u32 - new.missing.count_ones();
                    self.claims.push((new.extent.chunk.id, Claim { copies }));
                }
                self.held_of(key).push(value);
            }
            Command::DeleteObjects { keys, .. } => keys.iter().for_each(|key| self.held_of(key).push(None)),
            _ => {}
        }
        Ok(())
    }

    fn held_of(&mut self, key: &Bytes) -> &mut Vec<Held> {
        self.held.entry(key.clone()).or_insert_with(|| vec![None])
    }

    /// A writer says which value a chunk holds, before it commits it.
    pub fn writes(&mut self, chunk: ChunkId, value: u64) {
        self.values.insert(chunk, value);
    }

    /// Committed chunks and what was claimed of them, the newest last.
    #[must_use]
    pub fn claims(&self) -> &[(ChunkId, Claim)] {
        &self.claims
    }

    /// An operation on a key begins.
    #[must_use]
    pub fn begin(&self, key: &Bytes) -> Floor {
        Floor(self.floors.get(key).copied().unwrap_or(0))
    }

    /// A change was acknowledged: it stands in the log, behind all that had ended when it began.
    ///
    /// # Errors
    /// It does not.
    pub fn acknowledged(&mut self, key: &Bytes, value: Held, floor: Floor) -> Result<(), Violation> {
        let held = self.held_of(key);
        match (floor.0 + 1..held.len()).find(|place| held[*place] == value) {
            Some(place) => self.reached(key, place),
            None => {
                Err(Violation(format!("{value:?} of {key:?} was acknowledged and is not committed after {floor:?}")))
            }
        }
    }

    /// A change was refused: it never takes place.
    pub fn refused(&mut self, value: u64) {
        self.refused.insert(value);
    }

    /// A read has ended with a value.
    ///
    /// # Errors
    /// Older than what was known to be there when it began, or never committed.
    pub fn read(&mut self, key: &Bytes, value: Held, floor: Floor) -> Result<(), Violation> {
        let held = self.held_of(key);
        match (floor.0..held.len()).find(|place| held[*place] == value) {
            Some(place) => self.reached(key, place),
            None => {
                let last: Vec<&Held> = held.iter().rev().take(4).collect();
                Err(Violation(format!("a read of {key:?} came to {value:?}, not held since {floor:?}; last {last:?}")))
            }
        }
    }

    fn reached(&mut self, key: &Bytes, place: usize) -> Result<(), Violation> {
        let floor = self.floors.entry(key.clone()).or_default();
        *floor = (*floor).max(place);
        Ok(())
    }

    /// What each key must hold once nothing is under way any more.
    ///
    /// # Errors
    /// A refused change took place.
    pub fn finish(&self) -> Result<BTreeMap<Bytes, Held>, Violation> {
        for (key, held) in &self.held {
            if let Some(value) = held.iter().flatten().find(|value| self.refused.contains(value)) {
                return Err(Violation(format!("value {value} of {key:?} was refused and took place")));
            }
        }
        Ok(self.held.iter().map(|(key, held)| (key.clone(), held.last().copied().flatten())).collect())
    }
}
