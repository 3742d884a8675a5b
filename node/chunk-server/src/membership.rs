//! What the placement map says of a chunk and this node.

use proto::chunk::ChunkError;
use types::{ChunkId, DiskId, NodeId, PgEpoch, PgId, PlacementMap, Slot};

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

/// The disk of `node` that a chunk belongs on, as the map says, whatever the epoch; while it moves from one disk of the node to another,
/// the one it moves to.
pub(crate) fn disk_of(map: &PlacementMap, node: NodeId, chunk: ChunkId) -> Option<DiskId> {
    let group = map.group_of(chunk.slot())?;
    let taker = group.takers().filter(|taker| taker.node == node).last()?;
    map.disk(taker).map(|disk| disk.id)
}

/// All disks of `node` that belong to a slot's group; two while a copy moves from one of them to the other.
pub(crate) fn disks_of(map: &PlacementMap, node: NodeId, slot: Slot) -> Vec<DiskId> {
    let Some((group, entry)) = map.group_of(slot).zip(map.node(node)) else { return Vec::new() };
    group.disks_on(node).filter_map(|disk| entry.disks.get(usize::from(disk))).map(|disk| disk.id).collect()
}

/// The disk that takes a put under `epoch`, and the group.
pub(crate) fn place(
    map: Option<&PlacementMap>,
    node: NodeId,
    chunk: ChunkId,
    epoch: PgEpoch,
) -> Result<(DiskId, PgId, PgEpoch), NotPlaced> {
    let map = map.ok_or(NotPlaced::NoMap)?;
    let group = map.group_of(chunk.slot()).ok_or(NotPlaced::NotMember)?;
    let (pg, current) = (group.id, group.epoch);
    match epoch.cmp(&current) {
        std::cmp::Ordering::Less => Err(NotPlaced::Stale { current }),
        std::cmp::Ordering::Greater => Err(NotPlaced::Behind { current }),
        std::cmp::Ordering::Equal => {
            disk_of(map, node, chunk).map(|disk| (disk, pg, current)).ok_or(NotPlaced::NotMember)
        }
    }
}
