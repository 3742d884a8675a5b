//! What a file holds, as a list of pieces of which everything is known.

use crate::random::Random;
use bytes::Bytes;
use proto::object::{NewContent, NewExtent};
use std::collections::BTreeMap;
use types::ChunkId;

/// The bytes of a value: told apart from those of any other from the ninth byte on.
#[must_use]
pub fn value_bytes(value: u64, len: usize) -> Bytes {
    let mut random = Random::new(value);
    let mut data = Vec::with_capacity(len + 8);
    while data.len() < len {
        data.extend_from_slice(&random.next().to_le_bytes());
    }
    data.truncate(len);
    data.into()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Zeros,
    Inline(Bytes),
    Chunk(ChunkId, usize),
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Content {
    /// Pieces in order, each with its length.
    pieces: Vec<(Source, usize)>,
}

impl Content {
    /// Of a command.
    #[must_use]
    pub fn of(new: &NewContent) -> Content {
        let mut content = Content::default();
        match new {
            NewContent::Inline(data) if data.is_empty() => {}
            NewContent::Inline(data) => content.pieces.push((Source::Inline(data.clone()), data.len())),
            NewContent::Chunks(extents) => content.append(extents),
        }
        content
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|(_, len)| len).sum()
    }

    /// Lays extents, whose offsets begin at 0 and leave no gap, behind what is there.
    pub fn append(&mut self, extents: &[NewExtent]) {
        let piece = |new: &NewExtent| {
            let extent = new.extent;
            (Source::Chunk(extent.chunk.id, extent.chunk_offset as usize), extent.len as usize)
        };
        self.pieces.extend(extents.iter().map(piece));
    }

    /// Lays another content behind.
    pub fn extend(&mut self, other: &Content) {
        self.pieces.extend(other.pieces.iter().cloned());
    }

    /// Cuts, or fills with zeros.
    pub fn resize(&mut self, size: usize) {
        let mut left = size;
        for (_, len) in &mut self.pieces {
            *len = (*len).min(left);
            left -= *len;
        }
        self.pieces.retain(|(_, len)| *len > 0);
        if left > 0 {
            self.pieces.push((Source::Zeros, left));
        }
    }

    /// The chunks that hold some of the bytes.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.pieces.iter().filter_map(|(source, _)| match source {
            Source::Chunk(id, _) => Some(*id),
            Source::Zeros | Source::Inline(_) => None,
        })
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self, chunks: &BTreeMap<ChunkId, Bytes>) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.len());
        for (source, len) in &self.pieces {
            match source {
                Source::Zeros => data.resize(data.len() + len, 0),
                Source::Inline(bytes) => data.extend_from_slice(&bytes[..*len]),
                Source::Chunk(id, from) => data.extend_from_slice(&chunks[id][*from..from + len]),
            }
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_cut_and_filled() {
        let mut content = Content::of(&NewContent::Inline(Bytes::from_static(b"abcdef")));
        content.resize(3);
        content.resize(5);
        assert_eq!(content.bytes(&BTreeMap::new()), b"abc\0\0");
        content.resize(0);
        assert_eq!((content.len(), content), (0, Content::default()));
    }
}
