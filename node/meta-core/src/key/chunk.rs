//! Chunks: `0x30 chunk:16` = what is known of it, `0x31 chunk:16` = it lacks a copy, `0x32 session:8 chunk:16` = staged,
//! `0x33 session:8` = the last epoch that is closed, `0x34 chunk:16` = condemned.

use super::{Fields, KeyBytes, Table, end_of};
use crate::{chunk::Chunk, row::Key};
use std::ops::RangeInclusive;
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

/// The value is the last epoch that is closed; those before it are closed too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClosedEpochKey(pub(crate) SessionId);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CondemnedKey(pub(crate) ChunkId);

fn only_chunk(table: Table, key: &[u8]) -> Option<ChunkId> {
    let mut fields = Fields::new(table, key)?;
    let chunk = ChunkId::from_bytes(fields.id16()?);
    fields.end()?;
    Some(chunk)
}

/// The range of all rows of a table that is keyed by chunks with an id greater than `after`.
fn range_after(table: Table, after: Option<ChunkId>) -> (Vec<u8>, Vec<u8>) {
    let all = KeyBytes::new(table).done();
    let end = end_of(&all);
    let start = after.map_or(all, |after| KeyBytes::new(table).bytes(&after.to_bytes()).byte(0).done());
    (start, end)
}

impl ChunkKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        only_chunk(Table::Chunk, key).map(ChunkKey)
    }

    /// The range of all rows with an id greater than `after`.
    pub(crate) fn range_after(after: Option<ChunkId>) -> (Vec<u8>, Vec<u8>) {
        range_after(Table::Chunk, after)
    }
}

impl UnderReplicatedKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        only_chunk(Table::UnderReplicated, key).map(UnderReplicatedKey)
    }

    /// The range of all rows with an id greater than `after`.
    pub(crate) fn range_after(after: Option<ChunkId>) -> (Vec<u8>, Vec<u8>) {
        range_after(Table::UnderReplicated, after)
    }
}

impl CondemnedKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        only_chunk(Table::Condemned, key).map(CondemnedKey)
    }

    /// The range of all rows with an id greater than `after`.
    pub(crate) fn range_after(after: Option<ChunkId>) -> (Vec<u8>, Vec<u8>) {
        range_after(Table::Condemned, after)
    }
}

impl StagedKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Staged, key)?;
        let staged = StagedKey { session: SessionId(fields.u64()?), chunk: ChunkId::from_bytes(fields.id16()?) };
        fields.end()?;
        Some(staged)
    }

    /// The range of all rows of these sessions.
    pub(crate) fn range_of(sessions: &RangeInclusive<SessionId>) -> (Vec<u8>, Vec<u8>) {
        super::session::range_of(Table::Staged, sessions)
    }
}

impl ClosedEpochKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::ClosedEpoch, key)?;
        let session = SessionId(fields.u64()?);
        fields.end()?;
        Some(ClosedEpochKey(session))
    }

    /// The range of all rows of these sessions.
    pub(crate) fn range_of(sessions: &RangeInclusive<SessionId>) -> (Vec<u8>, Vec<u8>) {
        super::session::range_of(Table::ClosedEpoch, sessions)
    }
}

impl Key for ChunkKey {
    type Value = Chunk;
    const VERSION: u8 = 2;

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
    type Value = WriterEpoch;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::ClosedEpoch).u64(self.0.0).done()
    }
}

impl Key for CondemnedKey {
    type Value = ();

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Condemned).bytes(&self.0.to_bytes()).done()
    }
}
