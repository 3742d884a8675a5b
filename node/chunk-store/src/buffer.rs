//! Memory that direct I/O can write from.

use crate::record::BLOCK_BYTES;

/// Bytes whose address is a multiple of [`BLOCK_BYTES`]. Zeroed once, never moved.
pub(crate) struct AlignedBuffer {
    memory: Vec<u8>,
    begin: usize,
}

impl AlignedBuffer {
    /// A buffer of `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        let align = BLOCK_BYTES as usize;
        let memory = vec![0; len + align];
        let begin = memory.as_ptr().addr().next_multiple_of(align) - memory.as_ptr().addr();
        AlignedBuffer { memory, begin }
    }

    /// Bytes that it holds.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.len() - BLOCK_BYTES as usize
    }

    /// The first `len` bytes.
    pub(crate) fn bytes(&self, len: usize) -> &[u8] {
        &self.memory[self.begin..self.begin + len]
    }

    /// The bytes from `from` on, `len` of them.
    pub(crate) fn bytes_mut(&mut self, from: usize, len: usize) -> &mut [u8] {
        &mut self.memory[self.begin + from..self.begin + from + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aligned_and_as_long_as_asked() {
        let mut buffer = AlignedBuffer::zeroed(3 * 4096);
        buffer.bytes_mut(2 * 4096, 4096).fill(1);
        assert_eq!(buffer.bytes(3 * 4096).as_ptr().addr() % 4096, 0);
        assert_eq!((buffer.capacity(), buffer.bytes(3 * 4096)[3 * 4096 - 1]), (3 * 4096, 1));
    }
}
