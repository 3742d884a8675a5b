//! Writes damaged replicas anew from intact ones.
//!
//! The store names what is quarantined: found by a read, by the scrub or by a reader's report. The chunk's id, length and hash come from the
//! node's own index, the members that may have it from the placement map; what they send is verified. (Where the index's row itself is gone,
//! nothing here knows of the chunk: that is for [`crate::AuditWorker`].)
//!
//! | members say | then |
//! | --- | --- |
//! | one has it intact | it is written anew; the quarantine ends with that |
//! | none gave it, but a further look finds the replica here right after all | the same, from itself |
//! | every one answered, none has it | no intact copy: an ERROR, and it is listed until one turns up or it is deleted |
//! | some did not answer | tried again |
//!
//! Nothing is thrown away here: the damaged record stays until it was written anew or deleted.

use crate::membership::disk_of;
use crate::metrics;
use crate::replicate::FetchError;
use crate::service::ChunkService;
use ::metrics::{counter, gauge};
use bytes::Bytes;
use chunk_store::Listed;
use futures::StreamExt;
use proto::chunk::ChunkError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use types::{ChunkId, ChunkRef, NodeId, PlacementMap};

/// How often it is looked without being told.
const ROUND: Duration = Duration::from_secs(5);
/// What is found in this time is written anew together.
const GATHER: Duration = Duration::from_millis(250);
/// Quarantined chunks taken from the store at once.
const PAGE: usize = 256;
/// Chunks fetched at once.
const PARALLEL: usize = 4;
/// Rounds between two tries of a chunk that could not be had; a minute at most, so that a member that is back is used soon.
const PAUSE_ROUNDS_MAX: u64 = 6;
/// Chunks without an intact copy that are listed; the number goes on.
const LOST_LISTED_MAX: usize = 1024;

/// What is known of chunks that no member has intact.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    pub(crate) chunks: BTreeSet<ChunkId>,
    pub(crate) count: u64,
}

/// What became of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Rewritten,
    /// Every other member answered, and none has it intact.
    NoIntactCopy,
    /// Some did not answer, or this node could not write it now.
    Later,
}

/// Works for ever; may be dropped at any time.
pub async fn rewrite_chunks(service: Arc<ChunkService>) {
    let mut rewriter = Rewriter { service: service.clone(), round: 0, tried: BTreeMap::new() };
    loop {
        if timeout(ROUND, service.damaged.notified()).await.is_ok() {
            // wait-ok: readers of a chunk without an intact copy must not make this spin
            sleep(GATHER).await;
        }
        rewriter.one_round().await;
    }
}

struct Rewriter {
    service: Arc<ChunkService>,
    round: u64,
    /// Chunks that could not be had: how often, and the round of the next try.
    tried: BTreeMap<ChunkId, (u64, u64, Outcome)>,
}

impl Rewriter {
    async fn one_round(&mut self) {
        self.round += 1;
        let mut seen = BTreeSet::new();
        let mut after = None;
        loop {
            let page = match self.service.store.quarantined(after, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(%error, "the quarantined chunks cannot be listed");
                    return;
                }
            };
            let Some(last) = page.last() else { break };
            after = Some(last.chunk);
            let full = page.len() == PAGE;
            seen.extend(page.iter().map(|listed| listed.chunk));
            self.rewrite(page).await;
            if !full {
                break;
            }
        }
        self.tried.retain(|chunk, _| seen.contains(chunk));
        self.tell();
    }

    async fn rewrite(&mut self, page: Vec<Listed>) {
        let Some(map) = self.service.known_map() else { return };
        let due = |chunk: &ChunkId| self.tried.get(chunk).is_none_or(|(_, round, _)| *round <= self.round);
        let jobs: Vec<_> = page.into_iter().filter(|listed| due(&listed.chunk)).collect();
        let service = self.service.clone();
        let running = futures::stream::iter(jobs).map(move |listed| {
            let (service, map) = (service.clone(), map.clone());
            async move { (listed.chunk, rewrite_one(&service, &map, listed).await) }
        });
        let done: Vec<_> = running.buffer_unordered(PARALLEL).collect().await;
        for (chunk, outcome) in done {
            self.note(chunk, outcome);
        }
    }

    fn note(&mut self, chunk: ChunkId, outcome: Outcome) {
        if outcome == Outcome::Rewritten {
            tracing::info!(%chunk, "a damaged replica was written anew");
            counter!(metrics::REWRITTEN).increment(1);
            self.tried.remove(&chunk);
            return;
        }
        let (failures, next, former) = self.tried.entry(chunk).or_insert((0, 0, Outcome::Later));
        if outcome == Outcome::NoIntactCopy && *former != outcome {
            tracing::error!(%chunk, "no member has an intact copy");
        }
        *next = self.round + (1 << (*failures).min(8)).min(PAUSE_ROUNDS_MAX);
        *failures += 1;
        *former = outcome;
    }

    /// Shows what could not be written anew.
    fn tell(&self) {
        let lost = || self.tried.iter().filter(|(_, (.., outcome))| *outcome == Outcome::NoIntactCopy);
        let count = lost().count() as u64;
        gauge!(metrics::LOST).set(count as f64);
        *self.service.lost.lock() =
            Lost { chunks: lost().map(|(chunk, _)| *chunk).take(LOST_LISTED_MAX).collect(), count };
    }
}

async fn rewrite_one(service: &ChunkService, map: &PlacementMap, listed: Listed) -> Outcome {
    let chunk = ChunkRef { id: listed.chunk, len: listed.len, root: listed.root };
    let sources = sources(map, service.node(), chunk.id);
    if sources.is_empty() || disk_of(map, service.node(), chunk.id).is_none() {
        // Not a member any more: the members have it, and the copy here goes with the move.
        return Outcome::Later;
    }
    let mut answered = true;
    for source in sources {
        match service.fetch_from(source, chunk).await {
            Ok(data) => return store(service, &listed, data).await,
            Err(FetchError::Refused {
                why: ChunkError::NotFound | ChunkError::Corrupt | ChunkError::Deleted, ..
            }) => {}
            Err(_) => answered = false,
        }
    }
    match service.store.read_quarantined(listed.disk, chunk.id).await {
        Ok(Some(data)) => {
            tracing::warn!(chunk = %chunk.id, "a quarantined replica is right after all");
            store(service, &listed, data).await
        }
        _ if answered => Outcome::NoIntactCopy,
        _ => Outcome::Later,
    }
}

async fn store(service: &ChunkService, listed: &Listed, data: Bytes) -> Outcome {
    match service.store_on(listed.disk, listed.chunk, listed.root, data).await {
        // Deleted meanwhile: no longer quarantined either.
        Ok(()) | Err(ChunkError::Deleted) => Outcome::Rewritten,
        Err(error) => {
            tracing::debug!(chunk = %listed.chunk, %error, "the replica is not written anew yet");
            Outcome::Later
        }
    }
}

/// The other members, those that are up first.
fn sources(map: &PlacementMap, own: NodeId, chunk: ChunkId) -> Vec<NodeId> {
    let members = map.group_of(chunk.slot()).map(|group| group.members.as_slice()).unwrap_or_default();
    let mut nodes: Vec<_> = members.iter().map(|member| member.node).filter(|node| *node != own).collect();
    nodes.sort_by_key(|node| !map.is_up(*node));
    nodes
}
