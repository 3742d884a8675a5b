//! What the group knows of each chunk: its hash, how many pieces refer to it, and which session may still commit it.
//!
//! A chunk is known from its first commit (or staging) until it is forgotten, also while nothing refers to it: an id that came back
//! with other bytes, or after it was condemned, must not slip in.
//!
//! | refs | state | meaning | next |
//! | --- | --- | --- | --- |
//! | > 0 | plain | content | the last reference goes: 0, plain |
//! | 0 | staged | written, not committed, its epoch may be closed | commit: > 0, plain; its session ends: 0, plain |
//! | 0 | plain | garbage: named by a garbage row | committed again: > 0; after the grace time: condemned |
//! | 0 | condemned | refused for ever; its replicas are being deleted | all deleted: forgotten, or deleted while its epoch is open |
//! | 0 | deleted | no replica is left, its epoch is open | the epoch closes: forgotten |

#[cfg(test)]
mod tests;

use crate::garbage::Garbage;
use crate::key::chunk::{ChunkKey, ClosedEpochKey, StagedKey, UnderReplicatedKey};
use crate::kv::{KvError, KvRead};
use crate::row::{self, Corrupt};
use crate::txn::{Step, Txn};
use proto::meta::{BadChunk, Refusal};
use proto::object::NewExtent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::{
    Blake3Root, CHUNK_BYTES_MAX, COMMAND_EXTENTS_MAX, ChunkId, ChunkRef, Ino, REPLICAS, Timestamp, WriterEpoch,
};

/// Chunks one `ClearUnderReplicated` may name.
const CLEAR_CHUNKS_MAX: usize = 4096;
/// A known chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// The hash of its bytes.
    pub(crate) root: Blake3Root,
    /// Its length.
    pub(crate) len: u32,
    /// Pieces of inodes and lists that refer to it.
    pub(crate) refs: u64,
    /// The inode it was first committed for; a hint for audits.
    pub(crate) owner: Ino,
    /// When a reference to it was last dropped, if ever.
    pub(crate) dropped: Option<Timestamp>,
    /// What else is to be known.
    pub(crate) state: State,
}

/// Where a chunk stands beside its references.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Nothing special.
    Plain,
    /// It may be committed although its epoch is closed.
    Staged,
    /// Never to be referred to again; its replicas may be deleted.
    Condemned,
    /// Condemned, and every replica was deleted.
    Deleted,
}

impl Chunk {
    /// Whether something refers to it or its writer may still commit it, so that all members must have it.
    pub(crate) fn is_needed(&self) -> bool {
        self.refs > 0 || self.state == State::Staged
    }

    /// Whether no command may refer to it again.
    pub(crate) fn is_condemned(&self) -> bool {
        matches!(self.state, State::Condemned | State::Deleted)
    }
}

/// Remembers which epochs of the command's session are closed.
type Epochs = BTreeMap<WriterEpoch, bool>;

/// Whether it is acceptable which members lack a copy: at most one of the `REPLICAS` members. The bit behind theirs is that of the disk
/// that a move was bringing in; it counts for nothing.
fn check_missing(missing: u8) -> Result<(), BadChunk> {
    if (missing & ((1 << REPLICAS) - 1)).count_ones() > 1 {
        return Err(BadChunk::UnderAcknowledged);
    }
    if u32::from(missing) >= 1 << (REPLICAS + 1) {
        return Err(BadChunk::Malformed);
    }
    Ok(())
}

impl Txn<'_> {
    /// Counts a reference to the chunk of each extent, after every check a commit has to pass.
    pub(crate) fn commit_chunks(&mut self, extents: &[NewExtent], owner: Ino) -> Step<()> {
        if extents.len() > COMMAND_EXTENTS_MAX {
            return Err(Refusal::TooLarge.into());
        }
        let mut epochs = Epochs::new();
        for new in extents {
            if !new.extent.is_well_formed() {
                return Err(BadChunk::Malformed.into());
            }
            let mut chunk = self.admit(&new.extent.chunk, new.missing, owner, &mut epochs)?;
            if chunk.state == State::Staged {
                chunk.state = State::Plain;
                self.remove(&StagedKey { session: new.extent.chunk.id.session(), chunk: new.extent.chunk.id });
            }
            chunk.refs += 1;
            self.write(&ChunkKey(new.extent.chunk.id), &chunk);
        }
        Ok(())
    }

    /// Checks that the command may refer to a chunk, notes a missing copy, and returns the chunk's row as it is or will be.
    fn admit(&mut self, chunk: &ChunkRef, missing: u8, owner: Ino, epochs: &mut Epochs) -> Step<Chunk> {
        if chunk.id.group() != self.group {
            return Err(BadChunk::Group.into());
        }
        if Some(chunk.id.session()) != self.session {
            return Err(BadChunk::Session.into());
        }
        if chunk.len == 0 || chunk.len as usize > CHUNK_BYTES_MAX {
            return Err(BadChunk::Malformed.into());
        }
        check_missing(missing)?;
        let known: Option<Chunk> = self.read(&ChunkKey(chunk.id))?;
        if known.as_ref().is_some_and(Chunk::is_condemned) {
            return Err(BadChunk::Condemned.into());
        }
        let staged = known.as_ref().is_some_and(|known| known.state == State::Staged);
        if !staged && self.epoch_closed(chunk.id, epochs)? {
            return Err(BadChunk::EpochClosed.into());
        }
        if known.as_ref().is_some_and(|known| known.root != chunk.root || known.len != chunk.len) {
            return Err(BadChunk::Conflict.into());
        }
        if missing != 0 {
            let key = UnderReplicatedKey(chunk.id);
            let before = self.read(&key)?.unwrap_or(0);
            self.write(&key, &(before | missing));
        }
        let (root, len) = (chunk.root, chunk.len);
        Ok(known.unwrap_or(Chunk { root, len, refs: 0, owner, dropped: None, state: State::Plain }))
    }

    fn epoch_closed(&self, chunk: ChunkId, epochs: &mut Epochs) -> Step<bool> {
        let parts = chunk.parts();
        if let Some(closed) = epochs.get(&parts.epoch) {
            return Ok(*closed);
        }
        // The session itself is not over: its command was let in.
        let closed = self.read(&ClosedEpochKey(parts.session))?.is_some_and(|last| parts.epoch <= last);
        epochs.insert(parts.epoch, closed);
        Ok(closed)
    }

    /// Counts further references to a known chunk.
    pub(crate) fn retain_chunk(&mut self, id: ChunkId, references: u64) -> Step<()> {
        let mut chunk = self.require(&ChunkKey(id))?;
        chunk.refs += references;
        self.write(&ChunkKey(id), &chunk);
        Ok(())
    }

    /// Drops a reference; the last one makes the chunk garbage.
    pub(crate) fn release_chunk(&mut self, id: ChunkId) -> Step<()> {
        let key = ChunkKey(id);
        let mut chunk = self.require(&key)?;
        let Some(refs) = chunk.refs.checked_sub(1) else {
            return Err(KvError::from(Corrupt::Row(row::Key::encode(&key))).into());
        };
        chunk.refs = refs;
        chunk.dropped = chunk.dropped.max(Some(self.dropped_at));
        self.write(&key, &chunk);
        if refs == 0 {
            self.garbage.push(Garbage::Chunk(id));
        }
        Ok(())
    }

    /// Records chunks written and not yet committed. Idempotent; chunks that are referred to stay as they are.
    pub(crate) fn stage(&mut self, chunks: &[(ChunkRef, u8)]) -> Step<()> {
        if chunks.len() > COMMAND_EXTENTS_MAX {
            return Err(Refusal::TooLarge.into());
        }
        let mut epochs = Epochs::new();
        for (chunk, missing) in chunks {
            let mut known = self.admit(chunk, *missing, Ino::default(), &mut epochs)?;
            if known.refs == 0 && known.state == State::Plain {
                known.state = State::Staged;
                self.write(&StagedKey { session: chunk.id.session(), chunk: chunk.id }, &());
                self.write(&ChunkKey(chunk.id), &known);
            }
        }
        Ok(())
    }

    /// Forgets that these chunks lack a copy.
    pub(crate) fn clear_under_replicated(&mut self, chunks: &[ChunkId]) -> Step<()> {
        if chunks.len() > CLEAR_CHUNKS_MAX {
            return Err(Refusal::TooLarge.into());
        }
        for chunk in chunks {
            self.remove(&UnderReplicatedKey(*chunk));
        }
        Ok(())
    }
}

/// Chunks that lack a copy, with ids greater than `after`, at most `max`.
pub(crate) fn under_replicated(
    kv: &dyn KvRead,
    after: Option<ChunkId>,
    max: usize,
) -> Result<Vec<(ChunkRef, u8)>, KvError> {
    let (start, end) = UnderReplicatedKey::range_after(after);
    let mut found = Vec::new();
    for (key, value) in kv.scan(&start, &end, max)? {
        let id = UnderReplicatedKey::decode(&key).ok_or_else(|| Corrupt::Row(key.to_vec()))?.0;
        let missing = row::decode::<UnderReplicatedKey>(&key, &value)?;
        let chunk = row::require(kv, &ChunkKey(id))?;
        found.push((ChunkRef { id, len: chunk.len, root: chunk.root }, missing));
    }
    Ok(found)
}

/// Chunks of which every member has a copy as far as is known here, among the `max` with the lowest ids greater than `after`, and the last id looked at
/// if there may be more.
pub(crate) fn whole(
    kv: &dyn KvRead,
    after: Option<ChunkId>,
    max: usize,
) -> Result<(Vec<ChunkRef>, Option<ChunkId>), KvError> {
    let (start, end) = ChunkKey::range_after(after);
    let rows = kv.scan(&start, &end, max)?;
    let (mut found, mut last) = (Vec::new(), None);
    for (key, value) in &rows {
        let id = ChunkKey::decode(key).ok_or_else(|| Corrupt::Row(key.to_vec()))?.0;
        let chunk = row::decode::<ChunkKey>(key, value)?;
        last = Some(id);
        if chunk.is_needed() && row::read(kv, &UnderReplicatedKey(id))?.is_none() {
            found.push(ChunkRef { id, len: chunk.len, root: chunk.root });
        }
    }
    Ok((found, last.filter(|_| rows.len() == max)))
}
