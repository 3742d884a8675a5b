//! Memory of stored chunks, kept for the next ones.
//!
//! A fresh 4 MiB from the system costs a thousand page faults, more than everything else that happens to the bytes on this side.

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use types::CHUNK_BYTES_MAX;

/// Buffers kept: one writer's worth.
const BUFFERS_MAX: usize = 8;

/// Buffers with room for a whole chunk.
#[derive(Debug, Default)]
pub(crate) struct ChunkBuffers {
    free: Mutex<Vec<BytesMut>>,
}

impl ChunkBuffers {
    /// An empty buffer with room for a chunk.
    pub(crate) fn take(&self) -> BytesMut {
        self.free.lock().pop().unwrap_or_else(|| BytesMut::with_capacity(CHUNK_BYTES_MAX))
    }

    /// Takes memory back, if it is a chunk's and nobody else holds it.
    pub(crate) fn give_back(&self, data: Bytes) {
        let Ok(mut buffer) = data.try_into_mut() else { return };
        buffer.clear();
        let mut free = self.free.lock();
        if buffer.capacity() >= CHUNK_BYTES_MAX && free.len() < BUFFERS_MAX {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunks_memory_is_used_again_once_it_is_free() {
        let buffers = ChunkBuffers::default();
        let mut first = buffers.take();
        first.resize(CHUNK_BYTES_MAX, 1);
        let at = first.as_ptr();
        let data = first.freeze();
        let held = data.clone();
        buffers.give_back(data);
        assert!(buffers.free.lock().is_empty(), "somebody still reads it");
        buffers.give_back(held);
        let second = buffers.take();
        assert_eq!((second.as_ptr(), second.len()), (at, 0));
    }
}
