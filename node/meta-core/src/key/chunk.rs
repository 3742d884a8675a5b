//! Chunks: `0x30 chunk:16` = what is known of it, `0x31 chunk:16` = it lacks a copy, `0x32 session:8 chunk:16` = staged,
//! `0x33 session:8 epoch:2` = a closed epoch.

use super::{Fields, KeyBytes, Table, end_of};
use crate::{chunk::Chunk, row::Key};
use types::{ChunkId, SessionId, WriterEpoch};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkKey(pub(crate) ChunkId);

/// The value has bit i set if member i lacks the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnderReplicatedKey(pub(crate) ChunkId);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StagedKey {
    pub(crate) session: SessionId,
    pub(crate) chunk: ChunkId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClosedEpochKey {
    pub(crate) session: SessionId,
    pub(crate) epoch: WriterEpoch,
}

fn only_chunk(table: Table, key: &[u8]) -> Option<ChunkId> {
    let mut fields = Fields::new(table, key)?;
    let chunk = ChunkId::from_bytes(fields.id16()?);
    fields.end()?;
    Some(chunk)
}

impl ChunkKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        only_chunk(Table::Chunk, key).map(ChunkKey)
    }
}

impl UnderReplicatedKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        only_chunk(Table::UnderReplicated, key).map(UnderReplicatedKey)
    }

    /// The range of all rows with an id greater than `after`.
    pub(crate) fn range_after(after: Option<ChunkId>) -> (Vec<u8>, Vec<u8>) {
        let all = KeyBytes::new(Table::UnderReplicated).done();
        let end = end_of(&all);
        let start = after.map_or(all, |after| {
            let mut start = UnderReplicatedKey(after).encode();
            start.push(0);
            start
        });
        (start, end)
    }
}

impl StagedKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Staged, key)?;
        let staged = StagedKey { session: SessionId(fields.u64()?), chunk: ChunkId::from_bytes(fields.id16()?) };
        fields.end()?;
        Some(staged)
    }
}

impl ClosedEpochKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::ClosedEpoch, key)?;
        let closed = ClosedEpochKey { session: SessionId(fields.u64()?), epoch: WriterEpoch(fields.u16()?) };
        fields.end()?;
        Some(closed)
    }
}

impl Key for ChunkKey {
    type Value = Chunk;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Chunk).bytes(&self.0.to_bytes()).done()
    }
}

impl Key for UnderReplicatedKey {
    type Value = u8;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::UnderReplicated).bytes(&self.0.to_bytes()).done()
    }
}

impl Key for StagedKey {
    type Value = ();

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Staged).u64(self.session.0).bytes(&self.chunk.to_bytes()).done()
    }
}

impl Key for ClosedEpochKey {
    type Value = ();

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::ClosedEpoch).u64(self.session.0).u16(self.epoch.0).done()
    }
}
