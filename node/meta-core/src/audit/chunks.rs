//! What a group's rows say of chunks, for whoever holds them against what lies on disks.

use crate::chunk::Chunk;
use crate::key::Table;
use crate::key::chunk::{ChunkKey, UnderReplicatedKey};
use crate::key::control::range_of;
use crate::kv::{KvError, KvRead};
use crate::row::{self, Corrupt};
use types::{Blake3Root, ChunkId};

/// Rows read at a time.
const SCAN_ROWS: usize = 1024;

/// A chunk as its group knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredChunk {
    /// Which.
    pub id: ChunkId,
    /// Its length, bytes.
    pub len: u32,
    /// Its hash.
    pub root: Blake3Root,
    /// Something refers to it, or its writer may still commit it: all members must have it.
    pub needed: bool,
    /// Its replicas are being deleted, or were.
    pub condemned: bool,
    /// Bit i is set if member i is known to lack a copy.
    pub missing: u8,
}

fn stored(kv: &dyn KvRead, id: ChunkId, chunk: &Chunk) -> Result<StoredChunk, KvError> {
    let missing = row::read(kv, &UnderReplicatedKey(id))?.unwrap_or(0);
    let (needed, condemned) = (chunk.is_needed(), chunk.is_condemned());
    Ok(StoredChunk { id, len: chunk.len, root: chunk.root, needed, condemned, missing })
}

/// What a group knows of a chunk; `None` if it has never heard of it, or has forgotten it.
///
/// # Errors
/// The store cannot be read, or the row cannot.
pub fn chunk(kv: &dyn KvRead, id: ChunkId) -> Result<Option<StoredChunk>, KvError> {
    let found = row::read(kv, &ChunkKey(id))?;
    found.map(|found| stored(kv, id, &found)).transpose()
}

/// Goes through all chunks that a group knows, by id.
///
/// # Errors
/// The store cannot be read, or a row cannot; or `visit` failed.
pub fn chunks(kv: &dyn KvRead, mut visit: impl FnMut(StoredChunk) -> Result<(), KvError>) -> Result<(), KvError> {
    let (mut from, end) = range_of(Table::Chunk);
    loop {
        let rows = kv.scan(&from, &end, SCAN_ROWS)?;
        for (key, value) in &rows {
            let id = ChunkKey::decode(key).ok_or_else(|| Corrupt::Row(key.to_vec()))?.0;
            visit(stored(kv, id, &row::decode::<ChunkKey>(key, value)?)?)?;
        }
        match rows.last() {
            Some((last, _)) if rows.len() == SCAN_ROWS => from = [last, &[0][..]].concat(),
            _ => return Ok(()),
        }
    }
}
