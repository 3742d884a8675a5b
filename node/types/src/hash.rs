//! BLAKE3 with 64 KiB leaves: the root that stands in the metadata, the leaf hashes that lie beside the data, and the
//! check of a range of leaves against the root.
//!
//! A leaf hash is the chaining value of a 64 KiB subtree of BLAKE3's own tree, so the root is the plain
//! BLAKE3 hash of the chunk (`b3sum` prints the same) and no second hash of the data is needed.

use crate::LEAF_BYTES;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The BLAKE3 hash of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blake3Root(pub [u8; 32]);

impl fmt::Debug for Blake3Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The chaining value of one leaf.
pub type Leaf = [u8; 32];

/// The leaf hashes of a chunk, in order.
pub type LeafList = Vec<Leaf>;

/// Bytes that do not belong to the root they were read under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("data does not match its hash")]
pub struct RootMismatch;

/// The leaf hashes of `data`, which is a whole chunk. A chunk of at most one leaf has none: its root says it all.
#[must_use]
pub fn leaves_of(data: &[u8]) -> LeafList {
    if data.len() <= LEAF_BYTES {
        return Vec::new();
    }
    data.chunks(LEAF_BYTES).enumerate().map(|(i, leaf)| leaf_of(leaf, i)).collect()
}

/// The root of a whole chunk whose leaf hashes are already known.
///
/// `leaves` is what [`leaves_of`] returned for `data`.
#[must_use]
pub fn root_of(data: &[u8], leaves: &[Leaf]) -> Blake3Root {
    match leaves {
        [] => Blake3Root(*blake3::hash(data).as_bytes()),
        leaves => root_of_leaves(leaves),
    }
}

/// Checks whole leaves read from the middle of a chunk.
///
/// `first_leaf` is the number of the leaf `data` begins with, `leaves` are the hashes of *all* leaves of the chunk (empty
/// if it has one leaf). `data` must consist of whole leaves; only the chunk's last may be short.
///
/// # Errors
/// [`RootMismatch`]: the leaf list does not belong to `root`, or a leaf does not belong to the list.
pub fn verify_range(root: &Blake3Root, leaves: &[Leaf], first_leaf: usize, data: &[u8]) -> Result<(), RootMismatch> {
    if leaves.len() < 2 {
        let whole = leaves.is_empty() && first_leaf == 0 && root_of(data, &[]) == *root;
        return whole.then_some(()).ok_or(RootMismatch);
    }
    if root_of_leaves(leaves) != *root {
        return Err(RootMismatch);
    }
    for (i, leaf) in data.chunks(LEAF_BYTES).enumerate() {
        let number = first_leaf.checked_add(i).ok_or(RootMismatch)?;
        if leaves.get(number) != Some(&leaf_of(leaf, number)) {
            return Err(RootMismatch);
        }
    }
    Ok(())
}

fn leaf_of(leaf: &[u8], number: usize) -> Leaf {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset((number * LEAF_BYTES) as u64);
    hasher.update(leaf);
    hasher.finalize_non_root()
}

fn root_of_leaves(leaves: &[Leaf]) -> Blake3Root {
    let (left, right) = split(leaves);
    Blake3Root(*merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).as_bytes())
}

fn subtree(leaves: &[Leaf]) -> Leaf {
    if let [leaf] = leaves {
        return *leaf;
    }
    let (left, right) = split(leaves);
    merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
}

/// BLAKE3's left subtree holds the largest power of two of leaves that leaves at least one for the right.
fn split(leaves: &[Leaf]) -> (&[Leaf], &[Leaf]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 % 251) as u8).collect()
    }

    #[test]
    fn root_is_the_plain_blake3_hash_at_every_size() {
        for len in [1, 1024, LEAF_BYTES, LEAF_BYTES + 1, 2 * LEAF_BYTES, 5 * LEAF_BYTES + 17, crate::CHUNK_BYTES_MAX] {
            let data = sample(len);
            let root = root_of(&data, &leaves_of(&data));
            assert_eq!(&root.0, blake3::hash(&data).as_bytes(), "length {len}");
        }
    }

    #[test]
    fn a_range_of_leaves_is_verified_and_any_change_is_found() {
        let data = sample(5 * LEAF_BYTES + 17);
        let leaves = leaves_of(&data);
        let root = root_of(&data, &leaves);
        let mut part = data[2 * LEAF_BYTES..4 * LEAF_BYTES].to_vec();
        assert_eq!(verify_range(&root, &leaves, 2, &part), Ok(()));
        assert_eq!(verify_range(&root, &leaves, 1, &part), Err(RootMismatch));
        part[LEAF_BYTES + 3] ^= 1;
        assert_eq!(verify_range(&root, &leaves, 2, &part), Err(RootMismatch));
        let mut other = leaves.clone();
        other[0][0] ^= 1;
        assert_eq!(verify_range(&root, &other, 2, &data[2 * LEAF_BYTES..4 * LEAF_BYTES]), Err(RootMismatch));
    }

    #[test]
    fn hostile_leaf_lists_are_refused_not_panicked_on() {
        let data = sample(10);
        let root = root_of(&data, &[]);
        assert_eq!(verify_range(&root, &[], 0, &data), Ok(()));
        assert_eq!(verify_range(&root, &[[0; 32]], 0, &data), Err(RootMismatch));
        assert_eq!(verify_range(&root, &[], 1, &data), Err(RootMismatch));
        assert_eq!(verify_range(&root, &[[0; 32]; 3], usize::MAX, &data), Err(RootMismatch));
    }
}
