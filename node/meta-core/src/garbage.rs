//! What nothing refers to any more, on its way out.
//!
//! ```text
//!  last reference dropped -> garbage row -> [grace] CollectGarbage: a list lets its pieces go; a chunk is condemned
//!    -> the leader has every member delete its replica -> ForgetChunks: the row goes once the epoch is closed
//! ```
//! A chunk is judged where it is condemned, in the same log that any new reference would have to go through: whatever a garbage row
//! says, only a chunk that has no reference, is not staged and was dropped long enough ago is condemned. From then on no command
//! may refer to it. The order of all steps and what a crash between two of them leaves: docs/adr/0010-garbage.md.
//!
//! The evidence is the log. A group that was recovered has lost part of it, and holds everything until an operator says otherwise:
//! docs/adr/0016-unsafe-recovery.md.

#[cfg(test)]
mod tests;

use crate::chunk::{Chunk, State};
use crate::epoch;
use crate::group::{self, Counters};
use crate::key::chunk::{ChunkKey, CondemnedKey, UnderReplicatedKey};
use crate::key::garbage::GarbageKey;
use crate::key::list::ListKey;
use crate::kv::{KvError, KvRead};
use crate::list::ListHeader;
use crate::row::{self, Corrupt};
use crate::txn::{Step, Txn};
use proto::meta::{ChunkVerdict, CondemnedStep, GarbageStatus, Outcome, Refusal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::{ChunkId, GroupId, ListId, Timestamp};

/// Items in a garbage row.
const GARBAGE_PER_ROW: usize = 256;
/// Chunks and pieces that one `CollectGarbage` may take; each changes up to three rows.
const COLLECT_MAX: u32 = 1024;
/// Chunks that one command or query may name.
const CHUNKS_MAX: usize = 1024;

/// What nothing refers to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Garbage {
    Chunk(ChunkId),
    /// With all the references of its pieces.
    List(ListId),
}

/// Why references were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GarbageReason {
    /// Content was written over or cut off.
    Rewritten,
    /// A part of an upload was replaced, left out or aborted.
    Upload,
    /// A file in the trash was released: its time was over.
    Expired,
    /// An operator has purged it from the trash.
    Purged,
    /// Its session ended before it was committed.
    Session,
    /// What referred to it was collected.
    Collected,
}

/// References dropped by one command. Whoever collects them checks that they are still unused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GarbageRow {
    pub(crate) reason: GarbageReason,
    pub(crate) items: Vec<Garbage>,
}

/// One `CollectGarbage` at work.
struct Collection {
    /// What was dropped up to here is due.
    before: Timestamp,
    /// Chunks and pieces that may still be taken.
    budget: usize,
    condemned: u32,
}

impl Txn<'_> {
    /// Writes what the command has dropped into garbage rows, less what it has taken up again.
    pub(crate) fn write_garbage(&mut self) -> Step<()> {
        let mut items = std::mem::take(&mut self.garbage);
        items.sort_unstable();
        items.dedup();
        let mut unused: BTreeMap<Timestamp, Vec<Garbage>> = BTreeMap::new();
        for item in items {
            let (refs, dropped) = match item {
                Garbage::Chunk(chunk) => {
                    let Chunk { refs, dropped, .. } = self.require(&ChunkKey(chunk))?;
                    (refs, dropped)
                }
                Garbage::List(list) => {
                    let ListHeader { refs, dropped, .. } = self.require(&ListKey(list))?;
                    (refs, dropped)
                }
            };
            if refs == 0 {
                unused.entry(dropped.unwrap_or(self.now)).or_default().push(item);
            }
        }
        for (since, items) in unused {
            for items in items.chunks(GARBAGE_PER_ROW) {
                self.counters.garbage += 1;
                self.counters.garbage_items += items.len() as u64;
                let row = GarbageRow { reason: self.garbage_reason, items: items.to_vec() };
                self.write(&GarbageKey { since, number: self.counters.garbage }, &row);
            }
        }
        Ok(())
    }

    /// An operator has looked at what a recovery has left.
    pub(crate) fn release_hold(&mut self) {
        self.counters.held = false;
    }

    /// Works off garbage that is due, oldest first, by the earlier of the group's time and `now`: a group whose time ran ahead must not
    /// end the grace time early, nor a caller whose clock does. How much of the time before a leap has really passed is not known, so a
    /// grace time that began before one begins with it anew.
    pub(crate) fn collect_garbage(&mut self, grace: i64, max: u32, now: Timestamp) -> Step<Outcome> {
        self.own()?;
        if grace < 0 || max == 0 || max > COLLECT_MAX {
            return Err(Refusal::Invalid.into());
        }
        let before = Timestamp(now.min(self.now).0.saturating_sub(grace));
        if self.counters.held || self.counters.leap > before {
            return Ok(Outcome::Collected { condemned: 0, more: false });
        }
        let mut work = Collection { before, budget: max as usize, condemned: 0 };
        self.garbage_reason = GarbageReason::Collected;
        let (mut from, end) = GarbageKey::range();
        loop {
            let rows = self.rows().scan(&from, &end, 1)?;
            let Some((key, value)) = rows.first() else { break };
            let garbage = GarbageKey::decode(key).ok_or_else(|| KvError::from(Corrupt::Row(key.to_vec())))?;
            if garbage.since > before {
                break;
            }
            if work.budget == 0 {
                return Ok(Outcome::Collected { condemned: work.condemned, more: true });
            }
            if !self.collect_row(&garbage, row::decode::<GarbageKey>(key, value)?, &mut work)? {
                return Ok(Outcome::Collected { condemned: work.condemned, more: true });
            }
            from = [key, &[0][..]].concat();
        }
        // What lists have let go just now is due too, and stands in rows that are written at the end.
        let more = !self.garbage.is_empty();
        Ok(Outcome::Collected { condemned: work.condemned, more })
    }

    /// Takes items of a row as far as the budget goes, and keeps the rest. Whether none is left.
    fn collect_row(&mut self, key: &GarbageKey, mut row: GarbageRow, work: &mut Collection) -> Step<bool> {
        let mut done = 0;
        for item in &row.items {
            if work.budget == 0 {
                break;
            }
            work.budget -= 1;
            let gone = match item {
                Garbage::Chunk(chunk) => self.condemn(*chunk, work).map(|()| true)?,
                Garbage::List(list) => self.dissolve_list(*list, key.since, &mut work.budget)?,
            };
            if !gone {
                break;
            }
            done += 1;
        }
        self.counters.garbage_items -= done as u64;
        row.items.drain(..done);
        if row.items.is_empty() {
            self.remove(key);
        } else {
            self.write(key, &row);
        }
        Ok(row.items.is_empty())
    }

    /// Condemns a chunk if it is garbage now; an older row may name what was taken up again since.
    fn condemn(&mut self, id: ChunkId, work: &mut Collection) -> Step<()> {
        let Some(mut chunk) = self.read(&ChunkKey(id))? else { return Ok(()) };
        let due = chunk.dropped.is_none_or(|dropped| dropped <= work.before);
        if chunk.refs > 0 || chunk.state != State::Plain || !due {
            return Ok(());
        }
        chunk.state = State::Condemned;
        self.write(&ChunkKey(id), &chunk);
        self.write(&CondemnedKey(id), &());
        self.remove(&UnderReplicatedKey(id));
        self.counters.condemned += 1;
        work.condemned += 1;
        Ok(())
    }

    /// Forgets condemned chunks of closed epochs; of the others keeps a row that refuses the id.
    pub(crate) fn forget_chunks(&mut self, chunks: &[ChunkId]) -> Step<()> {
        self.own()?;
        if chunks.len() > CHUNKS_MAX {
            return Err(Refusal::TooLarge.into());
        }
        if self.counters.held {
            return Ok(());
        }
        for id in chunks {
            let Some(mut chunk) = self.read(&ChunkKey(*id))?.filter(Chunk::is_condemned) else { continue };
            if epoch::is_closed(self.rows(), &self.counters, *id)? {
                self.remove(&ChunkKey(*id));
                self.remove(&CondemnedKey(*id));
                self.counters.condemned -= 1;
            } else {
                chunk.state = State::Deleted;
                self.write(&ChunkKey(*id), &chunk);
            }
        }
        Ok(())
    }
}

/// What the group knows of chunks that lie on some node.
pub(crate) fn judge(kv: &dyn KvRead, group: GroupId, chunks: &[ChunkId]) -> Step<Vec<ChunkVerdict>> {
    if chunks.len() > CHUNKS_MAX || chunks.iter().any(|chunk| chunk.group() != group) {
        return Err(Refusal::Invalid.into());
    }
    let counters = group::load(kv)?;
    let judged = chunks.iter().map(|chunk| Ok(judge_one(kv, &counters, *chunk)?));
    judged.collect()
}

fn judge_one(kv: &dyn KvRead, counters: &Counters, id: ChunkId) -> Result<ChunkVerdict, KvError> {
    let known: Option<Chunk> = row::read(kv, &ChunkKey(id))?;
    if counters.held {
        // The verdicts on which nothing is deleted: what this state does not know may stand in what was lost of it.
        return Ok(match known.map(|chunk| (chunk.refs, chunk.state)) {
            Some((1.., _)) => ChunkVerdict::Referenced,
            Some((0, State::Staged)) => ChunkVerdict::Staged,
            Some((0, _)) => ChunkVerdict::Waiting,
            None => ChunkVerdict::Open,
        });
    }
    Ok(match known.map(|chunk| (chunk.refs, chunk.state)) {
        Some((_, State::Condemned | State::Deleted)) => ChunkVerdict::Condemned,
        Some((1.., _)) => ChunkVerdict::Referenced,
        Some((0, State::Staged)) => ChunkVerdict::Staged,
        Some((0, State::Plain)) => ChunkVerdict::Waiting,
        None if epoch::is_closed(kv, counters, id)? => ChunkVerdict::Garbage,
        None => ChunkVerdict::Open,
    })
}

/// Condemned chunks with ids greater than `after`, at most `max`, and what is to be done about each.
pub(crate) fn condemned(
    kv: &dyn KvRead,
    after: Option<ChunkId>,
    max: usize,
) -> Result<Vec<(ChunkId, CondemnedStep)>, KvError> {
    let counters = group::load(kv)?;
    if counters.held {
        return Ok(Vec::new());
    }
    let (start, end) = CondemnedKey::range_after(after);
    let mut found = Vec::new();
    for (key, _) in kv.scan(&start, &end, max)? {
        let id = CondemnedKey::decode(&key).ok_or_else(|| Corrupt::Row(key.to_vec()))?.0;
        let chunk: Chunk = row::require(kv, &ChunkKey(id))?;
        let step = match chunk.state {
            State::Deleted if epoch::is_closed(kv, &counters, id)? => CondemnedStep::Forget,
            State::Deleted => CondemnedStep::Wait,
            State::Plain | State::Staged | State::Condemned => CondemnedStep::Delete,
        };
        found.push((id, step));
    }
    Ok(found)
}

/// How much garbage there is.
pub(crate) fn status(kv: &dyn KvRead) -> Result<GarbageStatus, KvError> {
    let Counters { garbage_items: waiting, condemned, session_floor, held, .. } = group::load(kv)?;
    let (start, end) = GarbageKey::range();
    let first = kv.scan(&start, &end, 1)?;
    let oldest = first.first().and_then(|(key, _)| GarbageKey::decode(key)).map(|key| key.since);
    Ok(GarbageStatus { waiting, condemned, oldest, session_floor, held })
}
