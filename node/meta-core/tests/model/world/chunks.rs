//! Chunks: which may come, which are known, and the bytes they stand for.

use super::{File, GROUP, Result, World};
use proto::meta::{BadChunk, Refusal};
use proto::object::{ETag, NewContent, NewExtent};
use types::{ChunkId, ChunkRef, SessionId};

impl World {
    /// Whether no new chunk of this epoch may come.
    pub fn is_closed(&self, chunk: ChunkId) -> bool {
        let parts = chunk.parts();
        self.over.contains(&parts.session) || self.closed.get(&parts.session).is_some_and(|last| parts.epoch <= *last)
    }

    /// A session is over.
    pub fn end(&mut self, session: SessionId) {
        self.over.insert(session);
        self.staged.retain(|chunk| chunk.session() != session);
    }

    /// The replicas of a chunk were deleted and the group told so.
    pub fn forget(&mut self, chunk: ChunkId) {
        if self.condemned.contains(&chunk) && self.is_closed(chunk) {
            self.condemned.remove(&chunk);
            self.known.remove(&chunk);
        }
    }

    /// Checks a chunk that comes after `others` in the same command.
    pub(super) fn check_chunk(&self, chunk: &ChunkRef, missing: u8, others: &[(ChunkRef, u8)]) -> Result<(), BadChunk> {
        let parts = chunk.id.parts();
        if parts.group != GROUP {
            return Err(BadChunk::Group);
        }
        if parts.session != self.session {
            return Err(BadChunk::Session);
        }
        if (missing & 7).count_ones() > 1 {
            return Err(BadChunk::UnderAcknowledged);
        }
        // A staged chunk may be committed once after its epoch was closed.
        let used_up = others.iter().any(|(other, _)| other.id == chunk.id);
        let staged = self.staged.contains(&chunk.id) && !used_up;
        if self.condemned.contains(&chunk.id) {
            return Err(BadChunk::Condemned);
        }
        if self.is_closed(chunk.id) && !staged {
            return Err(BadChunk::EpochClosed);
        }
        let before = others.iter().map(|(other, _)| other).find(|other| other.id == chunk.id);
        if self.known.get(&chunk.id).or(before).is_some_and(|known| known != chunk) {
            return Err(BadChunk::Conflict);
        }
        Ok(())
    }

    /// Takes in chunks, all or none.
    pub(super) fn admit(&mut self, chunks: &[(ChunkRef, u8)]) -> Result<()> {
        for (at, (chunk, missing)) in chunks.iter().enumerate() {
            self.check_chunk(chunk, *missing, &chunks[..at]).map_err(Refusal::BadChunk)?;
        }
        for (chunk, missing) in chunks {
            self.known.insert(chunk.id, *chunk);
            if *missing != 0 {
                *self.under.entry(chunk.id).or_default() |= missing;
            }
        }
        Ok(())
    }

    pub(super) fn commit(&mut self, extents: &[NewExtent]) -> Result<()> {
        let chunks: Vec<_> = extents.iter().map(|new| (new.extent.chunk, new.missing)).collect();
        self.admit(&chunks)?;
        self.staged.retain(|id| chunks.iter().all(|(chunk, _)| chunk.id != *id));
        Ok(())
    }

    pub(super) fn lay(&self, data: &mut Vec<u8>, extents: &[NewExtent], base: u64) {
        for NewExtent { extent, .. } in extents {
            let bytes = &self.stored[&extent.chunk.id][extent.chunk_offset as usize..][..extent.len as usize];
            let at = (extent.file_offset + base) as usize;
            if data.len() < at + bytes.len() {
                data.resize(at + bytes.len(), 0);
            }
            data[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    pub(super) fn accept(&mut self, content: &NewContent, etag: ETag) -> Result<File> {
        match content {
            NewContent::Inline(data) if data.len() > 4096 => Err(Refusal::TooLarge),
            NewContent::Inline(data) => Ok(File::new(data.to_vec(), etag, false)),
            NewContent::Chunks(extents) => {
                let mut at = 0;
                for NewExtent { extent, .. } in extents {
                    if extent.file_offset != at || !extent.is_well_formed() {
                        return Err(Refusal::BadChunk(BadChunk::Malformed));
                    }
                    at = extent.end();
                }
                self.commit(extents)?;
                let mut data = Vec::new();
                self.lay(&mut data, extents, 0);
                Ok(File::new(data, etag, true))
            }
        }
    }
}
