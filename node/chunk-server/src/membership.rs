//! What the placement map says of a chunk and this node.

use proto::chunk::ChunkError;
use types::{ChunkId, DiskId, NodeId, PgEpoch, PlacementMap};

/// Why a put is not this node's to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotPlaced {
    /// The node is no member of the group, or the slot is not in use.
    NotMember,
    /// The writer's epoch is older than the group's.
    Stale { current: PgEpoch },
    /// The writer's epoch is newer: this node has to refresh its map.
    Behind { current: PgEpoch },
    /// This node has no map yet.
    NoMap,
}

impl From<NotPlaced> for ChunkError {
    fn from(why: NotPlaced) -> Self {
        match why {
            NotPlaced::NotMember => ChunkError::NotMember,
            // The writer sees which of the two is behind by comparing epochs; either way it refreshes and asks again.
            NotPlaced::Stale { current } | NotPlaced::Behind { current } => ChunkError::StaleEpoch { current },
            NotPlaced::NoMap => ChunkError::Busy,
        }
    }
}

/// The disk of `node` that a chunk belongs on, as the map says, whatever the epoch.
pub(crate) fn disk_of(map: &PlacementMap, node: NodeId, chunk: ChunkId) -> Option<DiskId> {
    let group = map.group_of(chunk.slot())?;
    let member = group.members.iter().find(|member| member.node == node)?;
    map.node(node)?.disks.get(usize::from(member.disk)).copied()
}

/// The disk that takes a put under `epoch`.
pub(crate) fn place(
    map: Option<&PlacementMap>,
    node: NodeId,
    chunk: ChunkId,
    epoch: PgEpoch,
) -> Result<DiskId, NotPlaced> {
    let map = map.ok_or(NotPlaced::NoMap)?;
    let current = map.group_of(chunk.slot()).ok_or(NotPlaced::NotMember)?.epoch;
    match epoch.cmp(&current) {
        std::cmp::Ordering::Less => Err(NotPlaced::Stale { current }),
        std::cmp::Ordering::Greater => Err(NotPlaced::Behind { current }),
        std::cmp::Ordering::Equal => disk_of(map, node, chunk).ok_or(NotPlaced::NotMember),
    }
}
