//! Takes off this node's disks what moves left behind: chunks of groups that the disk does not belong to any more.
//!
//! One chunk at a time is only as safe as its proof: it is taken off after every member of its group, as the group is now, was up, knew the
//! group's epoch, and said that it holds the chunk with the same length and hash, or that it was deleted. A member that lacks it is told to
//! fetch it from here first. So a node that comes back after its groups moved on gives what the others lack before it forgets what they have.
//! Doubt, silence and errors keep the chunk; the next round looks again.

use crate::metrics::LEFTOVER_CHUNKS;
use crate::move_host::MoveHost;
use crate::service::ChunkService;
use proto::chunk::{ChunkReply, ChunkRequest, STAT_CHUNKS_MAX};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use types::{ChunkId, ChunkRef, DiskId, NodeId, PgEpoch, PlacementMap, Slot};

/// Pause between rounds.
const ROUND: Duration = Duration::from_secs(2);
/// Rounds in which nothing is looked for as long as the map stays as it is and nothing was left last time: ten minutes.
const IDLE_ROUNDS: u32 = 300;
/// Chunks of one step.
const PAGE: usize = 256;
const _: () = assert!(PAGE <= STAT_CHUNKS_MAX);

/// The worker of a node.
pub struct LeftoverWorker {
    host: Arc<dyn MoveHost>,
    chunks: Arc<ChunkService>,
    own: NodeId,
    /// The map under which nothing was left, and the rounds since then.
    clean: Option<(u64, u32)>,
}

impl LeftoverWorker {
    /// A worker that has not begun.
    #[must_use]
    pub fn new(host: Arc<dyn MoveHost>, chunks: Arc<ChunkService>, own: NodeId) -> Self {
        LeftoverWorker { host, chunks, own, clean: None }
    }

    /// Works for ever; may be dropped at any time.
    pub async fn run(mut self) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.one_round().await;
        }
    }

    pub(crate) async fn one_round(&mut self) {
        let version = self.host.map().version;
        if let Some((clean, rounds)) = &mut self.clean
            && *clean == version
            && *rounds < IDLE_ROUNDS
        {
            *rounds += 1;
            return;
        }
        let left = self.chunks.leftovers().await;
        self.clean = left.is_empty().then_some((version, 0));
        for (slot, disk) in left {
            self.clear(slot, disk).await;
        }
    }

    /// Takes off a disk what the members of a slot's group have.
    async fn clear(&self, slot: Slot, disk: DiskId) {
        let map = self.host.map();
        let Some((epoch, members)) = self.ready(&map, slot).await else { return };
        let mut after = None;
        loop {
            let page = self.chunks.leftover_page(slot, disk, after, PAGE).await;
            let Some(last) = page.last() else { return };
            after = Some(last.id);
            let mut safe = Vec::new();
            for chunk in self.held_by_all(&members, page).await {
                match chunk {
                    Held::Yes(id) => safe.push(id),
                    Held::Lacking(chunk, nodes) => {
                        if self.give(chunk, epoch, &nodes).await {
                            safe.push(chunk.id);
                        }
                    }
                }
            }
            let count = safe.len() as u64;
            if count > 0 && self.chunks.forget(slot, disk, safe).await {
                ::metrics::counter!(LEFTOVER_CHUNKS).increment(count);
                tracing::info!(%slot, %disk, chunks = count, "chunks that moved away are taken off the disk");
            }
        }
    }

    /// The members of a slot's group, if all of them are up and know the group's epoch.
    async fn ready(&self, map: &PlacementMap, slot: Slot) -> Option<(PgEpoch, Vec<NodeId>)> {
        let group = map.group_of(slot)?;
        let members: Vec<NodeId> = group.takers().map(|member| member.node).collect();
        if members.iter().any(|node| !map.is_up(*node)) {
            return None;
        }
        for node in &members {
            let request = ChunkRequest::Barrier { pg: group.id, epoch: group.epoch };
            if !matches!(self.host.call(*node, request).await, Some(Ok(ChunkReply::Passed))) {
                return None;
            }
        }
        Some((group.epoch, members))
    }

    /// For each chunk which members lack it. Chunks that this node keeps on another disk are brought there first.
    async fn held_by_all(&self, members: &[NodeId], page: Vec<ChunkRef>) -> Vec<Held> {
        let mut lacking: Vec<(ChunkRef, Vec<NodeId>)> = Vec::with_capacity(page.len());
        for chunk in page {
            if self.chunks.bring_home(chunk).await {
                lacking.push((chunk, Vec::new()));
            }
        }
        for node in members.iter().filter(|node| **node != self.own) {
            let ids = lacking.iter().map(|(chunk, _)| chunk.id).collect();
            let Some(Ok(ChunkReply::Stats(stats))) = self.host.call(*node, ChunkRequest::Stat { chunks: ids }).await
            else {
                return Vec::new();
            };
            if stats.len() != lacking.len() {
                return Vec::new();
            }
            for ((chunk, nodes), stat) in lacking.iter_mut().zip(stats) {
                if stat != Some((chunk.len, chunk.root)) {
                    nodes.push(*node);
                }
            }
        }
        let held = |(chunk, nodes): (ChunkRef, Vec<NodeId>)| match nodes.is_empty() {
            true => Held::Yes(chunk.id),
            false => Held::Lacking(chunk, nodes),
        };
        lacking.into_iter().map(held).collect()
    }

    /// Has members fetch a chunk from here. Whether all of them have it now, or one says that it was deleted.
    async fn give(&self, chunk: ChunkRef, epoch: PgEpoch, nodes: &[NodeId]) -> bool {
        // Before anything is given: what one has deleted must not be given to another.
        for node in nodes {
            match self.has_deleted(*node, chunk.id).await {
                Some(true) => return true,
                Some(false) => {}
                None => return false,
            }
        }
        for node in nodes {
            let request = ChunkRequest::Replicate { chunk, epoch, sources: vec![self.own] };
            match self.host.call(*node, request).await {
                Some(Ok(ChunkReply::Stored)) => {}
                _ => return false,
            }
        }
        true
    }

    /// Whether a node has a tombstone of a chunk, which is proof enough: nobody deletes what is referred to. `None` without an answer.
    async fn has_deleted(&self, node: NodeId, chunk: ChunkId) -> Option<bool> {
        let after = chunk.0.checked_sub(1).map(ChunkId);
        match self.host.call(node, ChunkRequest::List { slot: chunk.slot(), after, max: 1 }).await? {
            Ok(ChunkReply::Listed(rows)) => {
                Some(rows.first().is_some_and(|row| row.chunk == chunk && row.live.is_none()))
            }
            _ => None,
        }
    }
}

enum Held {
    /// By all.
    Yes(ChunkId),
    /// Not by these.
    Lacking(ChunkRef, Vec<NodeId>),
}
