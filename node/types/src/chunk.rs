//! The chunk id: 16 bytes that name a chunk, where it lies, who wrote it and who may refer to it.

use crate::{GroupId, SessionId, Slot, WriterEpoch};
use serde::{Deserialize, Serialize};
use std::fmt;

/// `slot:16 | group:20 | session:44 | epoch:16 | seq:32`, most significant first.
///
/// Made by the writer without asking anyone; unique because the session id is, and never reused.
///
/// Source: DESIGN section 5, docs/FORMATS.md.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId(pub u128);

/// The fields of a [`ChunkId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkIdParts {
    /// Where the chunk lies: slot -> placement group -> disks.
    pub slot: Slot,
    /// The metadata group whose rows may refer to it. 20 bits.
    pub group: GroupId,
    /// The session that wrote it. 44 bits.
    pub session: SessionId,
    /// That session's writer epoch.
    pub epoch: WriterEpoch,
    /// Counts the chunks of one (session, epoch).
    pub seq: u32,
}

impl ChunkId {
    /// Packs the fields; those that are too wide are cut to their width.
    #[must_use]
    pub fn new(parts: ChunkIdParts) -> Self {
        let group = u128::from(parts.group.0 & (GroupId::LIMIT - 1));
        let session = u128::from(parts.session.0 & ((1 << 44) - 1));
        ChunkId(
            u128::from(parts.slot.0) << 112
                | group << 92
                | session << 48
                | u128::from(parts.epoch.0) << 32
                | u128::from(parts.seq),
        )
    }

    /// Unpacks the fields.
    #[must_use]
    pub fn parts(self) -> ChunkIdParts {
        ChunkIdParts {
            slot: self.slot(),
            group: self.group(),
            session: self.session(),
            epoch: WriterEpoch((self.0 >> 32) as u16),
            seq: self.0 as u32,
        }
    }

    /// Where the chunk lies.
    #[must_use]
    pub fn slot(self) -> Slot {
        Slot((self.0 >> 112) as u16)
    }

    /// The metadata group that owns it.
    #[must_use]
    pub fn group(self) -> GroupId {
        GroupId((self.0 >> 92) as u32 & (GroupId::LIMIT - 1))
    }

    /// The session that wrote it.
    #[must_use]
    pub fn session(self) -> SessionId {
        SessionId((self.0 >> 48) as u64 & ((1 << 44) - 1))
    }

    /// The bytes of the id, big endian, so that they sort as the id does.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id of 16 big-endian bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        ChunkId(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chunk-{:032x}", self.0)
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_packing() {
        let parts = ChunkIdParts {
            slot: Slot(0xabcd),
            group: GroupId(GroupId::LIMIT - 1),
            session: SessionId((1 << 44) - 2),
            epoch: WriterEpoch(77),
            seq: u32::MAX,
        };
        let id = ChunkId::new(parts);
        assert_eq!(id.parts(), parts);
        assert_eq!(ChunkId::from_bytes(id.to_bytes()), id);
    }
}
