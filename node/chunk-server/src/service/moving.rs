//! What moves need of the service: barriers, listings, copies to a certain disk, and taking copies off a disk.

use super::{BARRIER_WAIT, ChunkService, LIST_CHUNKS_MAX};
use crate::answers;
use crate::membership::disks_of;
use bytes::Bytes;
use chunk_store::Known;
use proto::chunk::{ChunkError, ListedChunk};
use proto::node::Fullness;
use types::{ChunkId, ChunkIdParts, ChunkRef, DiskId, GroupId, NodeId, PgEpoch, PgId, SessionId, Slot, WriterEpoch};

/// First and last id of a slot.
fn ids_of(slot: Slot) -> (ChunkId, ChunkId) {
    let first = ChunkIdParts { slot, group: GroupId(0), session: SessionId(0), epoch: WriterEpoch(0), seq: 0 };
    let last = ChunkIdParts {
        slot,
        group: GroupId(u32::MAX),
        session: SessionId(u64::MAX),
        epoch: WriterEpoch(u16::MAX),
        seq: u32::MAX,
    };
    (ChunkId::new(first), ChunkId::new(last))
}

/// One row for each chunk: deleted if any disk has it deleted.
fn merged(known: Vec<Known>) -> Vec<ListedChunk> {
    let mut rows: Vec<ListedChunk> = Vec::with_capacity(known.len());
    for Known { chunk, live, .. } in known {
        match rows.last_mut().filter(|row| row.chunk == chunk) {
            Some(row) => row.live = row.live.and(live),
            None => rows.push(ListedChunk { chunk, live }),
        }
    }
    rows
}

impl ChunkService {
    /// Passed when no put of an epoch of the group below `epoch` is in progress or will be taken.
    pub(super) async fn barrier(&self, pg: PgId, epoch: PgEpoch) -> Result<(), ChunkError> {
        let map = self.known_map().ok_or(ChunkError::Busy)?;
        let current = map.group(pg).ok_or(ChunkError::NotMember)?.epoch;
        if current < epoch {
            self.map_wanted.notify_one();
            return Err(ChunkError::StaleEpoch { current });
        }
        match self.in_flight.drained(pg, epoch, BARRIER_WAIT).await {
            true => Ok(()),
            false => Err(ChunkError::Busy),
        }
    }

    pub(super) async fn list_slot(
        &self,
        slot: Slot,
        after: Option<ChunkId>,
        max: u32,
    ) -> Result<Vec<ListedChunk>, ChunkError> {
        let max = max as usize;
        if !(1..=LIST_CHUNKS_MAX).contains(&max) {
            return Err(ChunkError::Invalid);
        }
        let (first, last) = ids_of(slot);
        let known = self.store.known(first, last, after, max).await;
        known.map(merged).map_err(|error| answers::stat(&error))
    }

    /// What one disk, and tombstones on any, say of the chunks of a slot above `after` and up to `through`.
    pub(crate) async fn list_disk(
        &self,
        disk: DiskId,
        slot: Slot,
        after: Option<ChunkId>,
        through: Option<ChunkId>,
    ) -> Result<Vec<ListedChunk>, ChunkError> {
        let number = self.store.disk_number(disk).ok_or(ChunkError::Fenced)?;
        let (first, end) = ids_of(slot);
        let end = through.unwrap_or(end);
        let (mut rows, mut after) = (Vec::new(), after);
        loop {
            let known = self.store.known(first, end, after, LIST_CHUNKS_MAX).await;
            let known = known.map_err(|error| answers::stat(&error))?;
            let Some(last) = known.last().map(|known| known.chunk) else { return Ok(rows) };
            after = Some(last);
            let here = known.into_iter().filter(|known| known.disk == number || known.live.is_none());
            rows.extend(merged(here.collect()));
        }
    }

    /// Fetches a chunk and keeps it on this very disk, under the epoch of the move that brings the disk in.
    pub(crate) async fn pull(
        &self,
        disk: DiskId,
        chunk: ChunkRef,
        epoch: PgEpoch,
        sources: Vec<NodeId>,
    ) -> Result<(), ChunkError> {
        let (number, _counted) = self.admit(chunk.id, epoch).await?;
        if self.store.disk_number(disk) != Some(number) {
            return Err(ChunkError::NotMember);
        }
        if self.fullness(number) >= Fullness::Backfill {
            return Err(ChunkError::BackfillFull);
        }
        let taken = self.bodies.try_take(chunk.len as usize).map_err(super::busy)?;
        let data = match self.whole(chunk).await {
            Some(data) => data,
            None => self.fetch(chunk, sources).await.ok_or(ChunkError::NoSource)?,
        };
        let _gate = self.gate(chunk.id.slot()).read().await;
        if self.place(chunk.id, epoch)?.0 != number {
            return Err(ChunkError::NotMember);
        }
        let done = self.store.put_copy(number, chunk.id, chunk.root, data).await;
        drop(taken);
        done.map_err(|error| answers::put(&error))
    }

    /// A whole chunk from this node's own disks.
    async fn whole(&self, chunk: ChunkRef) -> Option<Bytes> {
        let read = self.store.get(chunk.id, 0, chunk.len).await.ok()?;
        (read.root == chunk.root && read.chunk_len == chunk.len).then_some(read.data)
    }

    /// Deletes chunks that the members have deleted.
    pub(crate) async fn delete_dead(&self, chunks: Vec<ChunkId>) -> Result<(), ChunkError> {
        self.delete(chunks).await
    }

    /// Waits until nothing is being taken off a disk that belongs to the slot now.
    pub(crate) async fn settled(&self, slot: Slot) {
        drop(self.gate(slot).read().await);
    }

    /// Slots that have live chunks on disks of this node that do not belong to their groups.
    pub(crate) async fn leftovers(&self) -> Vec<(Slot, DiskId)> {
        let Some(map) = self.known_map() else { return Vec::new() };
        let disks = self.disk_ids();
        let mut found = Vec::new();
        for slot in (0..map.slots.len()).map(|slot| Slot(slot as u16)) {
            let placed = disks_of(&map, self.node, slot);
            for disk in disks.iter().filter(|disk| !placed.contains(disk)) {
                if !self.leftover_page(slot, *disk, None, 1).await.is_empty() {
                    found.push((slot, *disk));
                }
            }
        }
        found
    }

    /// Live chunks of a slot on a disk, above `after`.
    pub(crate) async fn leftover_page(
        &self,
        slot: Slot,
        disk: DiskId,
        after: Option<ChunkId>,
        max: usize,
    ) -> Vec<ChunkRef> {
        let Some(number) = self.store.disk_number(disk) else { return Vec::new() };
        let (first, last) = ids_of(slot);
        let (mut found, mut after) = (Vec::new(), after);
        while found.len() < max {
            let Ok(known) = self.store.known(first, last, after, LIST_CHUNKS_MAX).await else { return Vec::new() };
            let Some(last) = known.last().map(|known| known.chunk) else { break };
            after = Some(last);
            let here = known.into_iter().filter(|known| known.disk == number);
            found
                .extend(here.filter_map(|known| known.live.map(|(len, root)| ChunkRef { id: known.chunk, len, root })));
        }
        found.truncate(max);
        found
    }

    /// Copies a chunk from one disk of this node to the one of its group, if this node is a member.
    pub(crate) async fn bring_home(&self, chunk: ChunkRef) -> bool {
        let Some(map) = self.known_map() else { return false };
        let placed = disks_of(&map, self.node, chunk.id.slot());
        if placed.is_empty() {
            return true;
        }
        let Some(data) = self.whole(chunk).await else { return false };
        for disk in placed {
            let Some(number) = self.store.disk_number(disk) else { return false };
            if self.store.put_copy(number, chunk.id, chunk.root, data.clone()).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Takes chunks of a slot off a disk, if the disk does not belong to the slot at that moment.
    pub(crate) async fn forget(&self, slot: Slot, disk: DiskId, chunks: Vec<ChunkId>) -> bool {
        let _gate = self.gate(slot).write().await;
        let placed = self.known_map().is_none_or(|map| disks_of(&map, self.node, slot).contains(&disk));
        let Some(number) = self.store.disk_number(disk).filter(|_| !placed && self.has_lease()) else { return false };
        self.store.forget(number, chunks).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_one_range_of_ids() {
        let (first, last) = ids_of(Slot(7));
        assert_eq!((first.slot(), last.slot()), (Slot(7), Slot(7)));
        assert_eq!(last.0 + 1, ids_of(Slot(8)).0.0);
    }
}
