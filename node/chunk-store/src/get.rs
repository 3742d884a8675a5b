//! Verified reads of whole leaves.

use crate::error::GetError;
use crate::index::Located;
use crate::record::{HEADER_BYTES, leaf_count};
use crate::segment::Segments;
use bytes::Bytes;
use mistakes::{Mistake, is_planted};
use rustix::io::Errno;
use std::io;
use types::{Blake3Root, LEAF_BYTES, Leaf, LeafList};

/// Whole leaves of a chunk that cover a range, with what is needed to check them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangedRead {
    /// Number of the leaf that `data` begins with.
    pub first_leaf: u32,
    /// Length of the whole chunk, bytes.
    pub chunk_len: u32,
    /// The chunk's hash.
    pub root: Blake3Root,
    /// The hashes of all leaves of the chunk; empty if it is one leaf.
    pub leaves: LeafList,
    /// The leaves, one after the other.
    pub data: Bytes,
}

impl RangedRead {
    /// The bytes of a range that was asked for.
    ///
    /// # Panics
    /// If another range was asked for.
    #[must_use]
    pub fn range(&self, offset: u32, len: u32) -> Bytes {
        let skip = offset as usize - self.first_leaf as usize * LEAF_BYTES;
        self.data.slice(skip..skip + len as usize)
    }
}

/// Reads the leaves round a range and checks them.
pub(crate) fn read(segments: &Segments, located: &Located, offset: u32, len: u32) -> Result<RangedRead, GetError> {
    let chunk_len = located.len;
    let end = offset.checked_add(len).filter(|end| len > 0 && *end <= chunk_len);
    let end = end.ok_or(GetError::Range { offset, len, chunk_len })? as usize;
    let first_leaf = offset as usize / LEAF_BYTES;
    let from = first_leaf * LEAF_BYTES;
    let to = end.next_multiple_of(LEAF_BYTES).min(chunk_len as usize);
    let (data, leaves) = read_bytes(segments, located, from, to).map_err(GetError::Unreadable)?;
    if !is_planted(Mistake::ReadUnchecked) {
        types::verify_range(&located.root, &leaves, first_leaf, &data).map_err(|_| GetError::Corrupt)?;
    }
    Ok(RangedRead { first_leaf: first_leaf as u32, chunk_len, root: located.root, leaves, data: data.into() })
}

fn read_bytes(segments: &Segments, located: &Located, from: usize, to: usize) -> io::Result<(Vec<u8>, Vec<Leaf>)> {
    let file = segments.get(located.place.segment)?;
    let data_at = located.place.offset + HEADER_BYTES as u64;
    let mut leaves = vec![[0; 32]; leaf_count(located.len as usize)];
    let leaves_follow = to == located.len as usize;
    let leaf_bytes = leaves.as_flattened().len();
    let mut data = vec![0; to - from + if leaves_follow { leaf_bytes } else { 0 }];
    file.read_at(data_at + from as u64, &mut data)?;
    if leaves_follow {
        leaves.as_flattened_mut().copy_from_slice(&data[to - from..]);
        data.truncate(to - from);
    } else {
        file.read_at(data_at + u64::from(located.len), leaves.as_flattened_mut())?;
    }
    Ok((data, leaves))
}

/// Whether the replica itself is bad, rather than the attempt to read it.
pub(crate) fn is_damage(error: &GetError) -> bool {
    match error {
        GetError::Corrupt => true,
        GetError::Unreadable(error) => is_bad_place(error),
        _ => false,
    }
}

/// Whether an error says that the medium has lost what lay there.
pub(crate) fn is_bad_place(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound)
        || error.raw_os_error() == Some(Errno::IO.raw_os_error())
}
