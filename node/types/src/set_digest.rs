//! A hash of a set of chunks that does not depend on the order in which they are added.

use crate::ChunkRef;
use serde::{Deserialize, Serialize};

/// The sum, modulo 2^128, of the first half of the BLAKE3 of each chunk's id, length and root. Compares what two nodes hold; both are
/// believed, so it need not withstand someone who chooses ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct SetDigest(pub u128);

impl SetDigest {
    /// Adds a chunk. Each chunk of the set is added once.
    pub fn add(&mut self, chunk: &ChunkRef) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&chunk.id.to_bytes()).update(&chunk.len.to_le_bytes()).update(&chunk.root.0);
        let hash = hasher.finalize();
        let half: [u8; 16] = std::array::from_fn(|i| hash.as_bytes()[i]);
        self.0 = self.0.wrapping_add(u128::from_le_bytes(half));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blake3Root, ChunkId};

    fn digest(chunks: &[(u128, u32, u8)]) -> SetDigest {
        let mut digest = SetDigest::default();
        for (id, len, root) in chunks {
            digest.add(&ChunkRef { id: ChunkId(*id), len: *len, root: Blake3Root([*root; 32]) });
        }
        digest
    }

    #[test]
    fn order_does_not_matter_and_any_difference_shows() {
        let all = digest(&[(1, 2, 3), (4, 5, 6)]);
        assert_eq!(all, digest(&[(4, 5, 6), (1, 2, 3)]));
        for other in [&[(1, 2, 3)][..], &[(1, 2, 3), (4, 5, 7)], &[(1, 2, 3), (4, 6, 6)], &[(1, 2, 3), (5, 5, 6)]] {
            assert_ne!(all, digest(other));
        }
    }
}
