//! What metadata keeps of a file's bytes: references to chunks and the extents made of them.

use crate::{Blake3Root, ChunkId};
use serde::{Deserialize, Serialize};

/// A whole chunk as metadata knows it: enough to find and to verify it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// Its id.
    pub id: ChunkId,
    /// Its length in bytes, 1..=`CHUNK_BYTES_MAX`.
    pub len: u32,
    /// The BLAKE3 hash of all its bytes.
    pub root: Blake3Root,
}

/// A run of bytes of a file that lies in one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Where it begins in the file, bytes.
    pub file_offset: u64,
    /// The chunk that holds it.
    pub chunk: ChunkRef,
    /// Where it begins in the chunk, bytes.
    pub chunk_offset: u32,
    /// Its length, bytes, at least 1; `chunk_offset + len <= chunk.len`.
    pub len: u32,
}

impl Extent {
    /// First byte of the file after the extent.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.file_offset + u64::from(self.len)
    }

    /// Whether the lengths agree with each other and with the limits of a chunk.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let end = u64::from(self.chunk_offset) + u64::from(self.len);
        self.len > 0
            && self.chunk.len as usize <= crate::CHUNK_BYTES_MAX
            && end <= u64::from(self.chunk.len)
            && self.file_offset.checked_add(u64::from(self.len)).is_some_and(|end| end <= crate::FILE_BYTES_MAX)
    }

    /// The part of the extent inside `start..end` of the file, if any.
    #[must_use]
    pub fn clip(&self, start: u64, end: u64) -> Option<Extent> {
        let from = self.file_offset.max(start);
        let to = self.end().min(end);
        (from < to).then(|| Extent {
            file_offset: from,
            chunk: self.chunk,
            chunk_offset: self.chunk_offset + (from - self.file_offset) as u32,
            len: (to - from) as u32,
        })
    }
}
