//! Fills the disks of this node that moves bring in.
//!
//! Every round begins from the map (level, not edge): moves to this node that are past their barrier. For each slot of the group the members'
//! listings are merged and compared with what the disk has, page by page (`chunk_core::pull`); what is missing is fetched, verified and made
//! durable, and the page is compared again until nothing is missing. When all pages are through, count and digest go to the control group.
//!
//! While clients call the node, it copies one chunk after the other and leaves as much time between two as one took; but for what has one copy left.
//!
//! Every member that is not lost is listed, so a member that is only down is waited for: it may hold what the others lack. What the others have is
//! copied all the same, for they may be lost before it is back; the move is not done by that. A crash or a new epoch ends a pull; the next round begins it anew and finds what
//! was copied.

use crate::metrics::{MOVE_BYTES, MOVE_CHUNKS};
use crate::move_host::MoveHost;
use crate::service::ChunkService;
use chunk_core::pull::{self, Union, Wanted};
use futures::StreamExt as _;
use parking_lot::Mutex;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest, LIST_CHUNKS_MAX, ListedChunk};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use types::{ChunkId, ChunkRef, DiskId, Member, MovePhase, NodeId, PgEpoch, PgId, PlacementMap, SetDigest, Slot};

/// Pause between rounds.
const ROUND: Duration = Duration::from_millis(500);
/// Groups filled at once.
const GROUPS: usize = 2;
/// Chunks fetched at once for one group.
const FETCHES: usize = 4;
/// Rows of one page. Three listings of so many rows are some 200 KiB.
const PAGE: usize = 1024;
const _: () = assert!(PAGE <= LIST_CHUNKS_MAX);
/// The longest pause for clients after a chunk.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Pause after all was copied that can be had while a member is away: what is written meanwhile goes to the newcomer anyway.
const AWAY_PAUSE: Duration = Duration::from_secs(60);
/// Times a page is compared before the pull is given up for this round.
const ATTEMPTS: usize = 8;

/// Why a pull ended early; the next round tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum PullStop {
    #[error("{0} is away and may hold what the others lack")]
    Away(NodeId),
    #[error("no member has a copy")]
    NoSource,
    #[error("the group has moved on")]
    MovedOn,
    #[error("{0} did not list its chunks")]
    NoList(NodeId),
    #[error("the disk cannot be read")]
    OwnDisk,
    #[error("members hold different bytes under {0}")]
    Contradiction(ChunkId),
    #[error("{0} chunks could not be copied")]
    NotCopied(usize),
}

/// One move to this node.
#[derive(Clone, Debug)]
struct Job {
    pg: PgId,
    epoch: PgEpoch,
    disk: DiskId,
    slots: Vec<Slot>,
    members: Vec<Member>,
    copies_left: usize,
}

impl Job {
    /// Nothing may hold it back.
    fn is_of_last_copies(&self) -> bool {
        self.copies_left <= 1
    }
}

/// The worker of a node.
pub struct PullWorker {
    host: Arc<dyn MoveHost>,
    chunks: Arc<ChunkService>,
    own: NodeId,
    /// When the next chunk may be copied.
    pace: Mutex<Option<Instant>>,
    /// Pulls that have all they can have while a member is away, and when they look again.
    waiting: Mutex<BTreeMap<(PgId, PgEpoch), Instant>>,
    /// Held by the one copy at a time that is made while clients call.
    turn: tokio::sync::Mutex<()>,
}

impl PullWorker {
    /// A worker that has not begun.
    #[must_use]
    pub fn new(host: Arc<dyn MoveHost>, chunks: Arc<ChunkService>, own: NodeId) -> Self {
        let waiting = Mutex::new(BTreeMap::new());
        PullWorker { host, chunks, own, pace: Mutex::new(None), waiting, turn: tokio::sync::Mutex::new(()) }
    }

    /// Works for ever; may be dropped at any time.
    pub async fn run(self) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.one_round().await;
        }
    }

    pub(crate) async fn one_round(&self) {
        let jobs = jobs(&self.host.map(), self.own);
        self.waiting.lock().retain(|move_of, _| jobs.iter().any(|job| (job.pg, job.epoch) == *move_of));
        let pulls = futures::stream::iter(jobs).map(|job| async move {
            match self.pull(&job).await {
                Ok((chunks, digest)) => {
                    let noted = self.host.note_synced(job.pg, job.epoch, chunks, digest).await;
                    tracing::info!(pg = %job.pg, chunks, noted, "the new member holds what the others hold");
                }
                Err(stop) => tracing::info!(pg = %job.pg, %stop, "a move waits"),
            }
        });
        pulls.buffer_unordered(GROUPS).collect::<Vec<()>>().await;
    }

    async fn pull(&self, job: &Job) -> Result<(u64, SetDigest), PullStop> {
        let map = self.host.map();
        let kept = job.members.iter().filter(|member| !map.is_lost(**member)).map(|member| member.node);
        let (sources, away): (Vec<NodeId>, Vec<NodeId>) = kept.partition(|node| map.is_up(*node));
        let away = away.first().map(|node| PullStop::Away(*node));
        if sources.is_empty() || away.is_some() && self.waits(job) {
            return Err(away.unwrap_or(PullStop::NoSource));
        }
        let (mut chunks, mut digest) = (0, SetDigest::default());
        for slot in &job.slots {
            self.chunks.settled(*slot).await;
            let mut after = None;
            loop {
                let union = self.page(job, *slot, after, &sources).await?;
                chunks += pull::digest(&union, &mut digest);
                match union.through {
                    Some(through) => after = Some(through),
                    None => break,
                }
            }
        }
        let Some(away) = away else { return Ok((chunks, digest)) };
        self.waiting.lock().insert((job.pg, job.epoch), Instant::now() + AWAY_PAUSE);
        Err(away)
    }

    fn waits(&self, job: &Job) -> bool {
        self.waiting.lock().get(&(job.pg, job.epoch)).is_some_and(|again| Instant::now() < *again)
    }

    /// Has the disk hold all of a page; returns the page.
    async fn page(&self, job: &Job, slot: Slot, after: Option<ChunkId>, sources: &[NodeId]) -> Result<Union, PullStop> {
        let mut left = 0;
        for _ in 0..ATTEMPTS {
            if self.host.map().group(job.pg).is_none_or(|group| group.epoch != job.epoch) {
                return Err(PullStop::MovedOn);
            }
            let mut pages = Vec::with_capacity(sources.len());
            for source in sources {
                pages.push(self.list(*source, slot, after).await?);
            }
            let union = pull::merge(&pages, PAGE);
            let own = self.chunks.list_disk(job.disk, slot, after, union.through).await;
            let delta = pull::compare(&union, &own.map_err(|_| PullStop::OwnDisk)?);
            if let Some(chunk) = delta.contradictions.first() {
                tracing::error!(%chunk, pg = %job.pg, "the same id with different bytes");
                return Err(PullStop::Contradiction(*chunk));
            }
            if delta.is_empty() {
                return Ok(union);
            }
            if !delta.dead.is_empty() {
                self.chunks.delete_dead(delta.dead).await.map_err(|_| PullStop::OwnDisk)?;
            }
            left = self.fetch_all(job, delta.missing, sources).await;
        }
        Err(PullStop::NotCopied(left))
    }

    async fn list(&self, source: NodeId, slot: Slot, after: Option<ChunkId>) -> Result<Vec<ListedChunk>, PullStop> {
        let request = ChunkRequest::List { slot, after, max: PAGE as u32 };
        match self.host.call(source, request).await {
            Some(Ok(ChunkReply::Listed(rows))) => Ok(rows),
            _ => Err(PullStop::NoList(source)),
        }
    }

    /// Fetches chunks; returns how many did not come.
    async fn fetch_all(&self, job: &Job, missing: Vec<Wanted>, sources: &[NodeId]) -> usize {
        let fetches = futures::stream::iter(missing).map(|wanted| async move {
            self.keep_pace(job, &wanted.chunk).await;
            let mut from: Vec<NodeId> = wanted.sources.iter().filter_map(|at| sources.get(*at)).copied().collect();
            // Spread over the sources, by the id.
            let turn = wanted.chunk.id.parts().seq as usize % from.len().max(1);
            from.rotate_left(turn);
            match self.fetch(job, wanted.chunk, from).await {
                Ok(()) => {
                    ::metrics::counter!(MOVE_CHUNKS).increment(1);
                    ::metrics::counter!(MOVE_BYTES).increment(u64::from(wanted.chunk.len));
                    true
                }
                Err(error) => {
                    tracing::debug!(chunk = %wanted.chunk.id, %error, "not copied yet");
                    false
                }
            }
        });
        let done: Vec<bool> = fetches.buffer_unordered(FETCHES).collect().await;
        done.iter().filter(|done| !**done).count()
    }

    async fn fetch(&self, job: &Job, chunk: ChunkRef, from: Vec<NodeId>) -> Result<(), ChunkError> {
        let pull = self.chunks.pull(job.disk, chunk, job.epoch, from);
        if job.is_of_last_copies() || !self.chunks.clients_call() {
            return pull.await;
        }
        let _turn = self.turn.lock().await;
        let begun = Instant::now();
        let pulled = pull.await;
        // wait-ok: clients come first
        sleep(begun.elapsed().min(PAUSE_MAX)).await;
        pulled
    }

    /// Holds a chunk back for the cap; never while only one copy of the group is left.
    async fn keep_pace(&self, job: &Job, chunk: &ChunkRef) {
        let rate = self.host.map().options.copy_bytes_per_second;
        if job.is_of_last_copies() || rate == 0 {
            return;
        }
        let begin = {
            let mut pace = self.pace.lock();
            let begin = pace.map_or_else(Instant::now, |next| next.max(Instant::now()));
            *pace = Some(begin + Duration::from_secs_f64(f64::from(chunk.len) / rate as f64));
            begin
        };
        sleep_until(begin).await;
    }
}

/// Moves to this node that are past their barrier, those with the fewest copies left first.
fn jobs(map: &PlacementMap, own: NodeId) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for group in &map.groups {
        let Some(moving) = &group.moving else { continue };
        if moving.to.node != own || moving.phase != MovePhase::Copying {
            continue;
        }
        let Some(disk) = map.disk(moving.to) else { continue };
        jobs.push(Job {
            pg: group.id,
            epoch: group.epoch,
            disk: disk.id,
            slots: map.slots_of(group.id).collect(),
            members: group.members.clone(),
            copies_left: group.members.iter().filter(|member| !map.is_lost(**member)).count(),
        });
    }
    jobs.sort_by_key(|job| (job.copies_left, job.pg));
    jobs
}
