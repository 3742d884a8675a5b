//! The one place where the store's errors become the protocol's.

use chunk_store::{DeleteError, GetError, IndexError, PutError};
use proto::chunk::ChunkError;

pub(crate) fn put(error: &PutError) -> ChunkError {
    match error {
        PutError::Invalid { .. } => ChunkError::Invalid,
        PutError::NoSuchDisk { .. } => ChunkError::NotMember,
        PutError::HashMismatch => ChunkError::HashMismatch,
        PutError::Conflict => ChunkError::Conflict,
        PutError::Deleted => ChunkError::Deleted,
        PutError::NoSpace => ChunkError::NoSpace,
        PutError::Busy | PutError::Closed => ChunkError::Busy,
        PutError::Fenced { .. } => ChunkError::Fenced,
    }
}

pub(crate) fn get(error: &GetError) -> ChunkError {
    match error {
        GetError::NotFound => ChunkError::NotFound,
        GetError::Deleted => ChunkError::Deleted,
        GetError::Range { .. } => ChunkError::Invalid,
        GetError::Corrupt | GetError::Unreadable(_) => ChunkError::Corrupt,
        GetError::Index(_) => ChunkError::Fenced,
        GetError::Closed => ChunkError::Busy,
    }
}

pub(crate) fn delete(error: &DeleteError) -> ChunkError {
    match error {
        DeleteError::NoSuchDisk { .. } => ChunkError::NotMember,
        DeleteError::TooMany { .. } => ChunkError::Invalid,
        DeleteError::NoSpace => ChunkError::NoSpace,
        DeleteError::Busy | DeleteError::Closed => ChunkError::Busy,
        DeleteError::Fenced { .. } | DeleteError::Index(_) => ChunkError::Fenced,
    }
}

pub(crate) fn stat(error: &IndexError) -> ChunkError {
    tracing::error!(%error, "the chunk index cannot be read");
    ChunkError::Fenced
}
