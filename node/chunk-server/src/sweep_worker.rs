//! Looks for orphans on this node's disks: chunks that no row refers to and no writer will ever commit.
//!
//! The node knows nothing of that itself. It shows the ids it has to the leaders of their groups and deletes what is judged
//! [deletable](proto::meta::ChunkVerdict::may_be_deleted). A pass first finds everything and then deletes, so that the breaker stops it
//! before the first replica is gone. No answer keeps the chunk: docs/adr/0010-garbage.md.

use crate::metrics;
use ::metrics::{counter, gauge};
use async_trait::async_trait;
use chunk_core::collect::Breaker;
use parking_lot::Mutex;
use proto::control::GarbageOptions;
use proto::meta::ChunkVerdict;
use proto::node::OrphanStatus;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use types::{ChunkId, GroupId, Moment};

/// Ids in one page and one question.
const PAGE: usize = 1024;
/// Pause between pages: 50,000 ids a second at most, so that a sweep of a full node takes minutes and is not felt.
const PAGE_PAUSE: Duration = Duration::from_millis(20);
/// The first pass after a start begins no later than this.
const FIRST_MAX: Duration = Duration::from_secs(600);
/// How long a pass that was held back waits before it looks whether an operator has lifted the breaker.
const HELD_PAUSE: Duration = Duration::from_secs(60);

/// What the worker needs of its node and the cluster. Each call has a deadline; `None` and `false` are "not known", and keep the data.
#[async_trait]
pub trait SweepHost: Send + Sync + 'static {
    /// Up to `max` chunks on this node with ids greater than `after`, in order.
    async fn list(&self, after: Option<ChunkId>, max: usize) -> Option<Vec<ChunkId>>;

    /// Chunks on this node.
    fn chunks(&self) -> u64;

    /// How garbage is collected, as the control group has it now.
    async fn options(&self) -> Option<GarbageOptions>;

    /// The verdicts of a group's leader, by a linearizable read.
    async fn judge(&self, group: GroupId, chunks: Vec<ChunkId>) -> Option<Vec<ChunkVerdict>>;

    /// Deletes this node's replicas. Whether they are gone for good.
    async fn delete_here(&self, chunks: Vec<ChunkId>) -> bool;
}

/// The worker of a node.
pub struct SweepWorker {
    host: Arc<dyn SweepHost>,
    every: Duration,
    breaker: Breaker,
    began: Instant,
    status: Arc<Mutex<OrphanStatus>>,
}

/// What one pass has found.
#[derive(Default)]
struct Found {
    orphans: Vec<ChunkId>,
    /// More than the breaker can ever let through were found, and the pass has stopped.
    too_many: bool,
    /// Chunks nobody has judged.
    unjudged: u64,
}

impl SweepWorker {
    /// A worker that has not begun. `every` is the pause between passes; `status` shows how it goes.
    #[must_use]
    pub fn new(host: Arc<dyn SweepHost>, every: Duration, status: Arc<Mutex<OrphanStatus>>) -> Self {
        SweepWorker { host, every, breaker: Breaker::default(), began: Instant::now(), status }
    }

    /// Works for ever; may be dropped at any time.
    pub async fn run(mut self) {
        sleep(self.every.min(FIRST_MAX)).await;
        loop {
            self.one_pass().await;
            let pause = if self.breaker.is_tripped() { self.every.min(HELD_PAUSE) } else { self.every };
            sleep(pause).await;
        }
    }

    async fn one_pass(&mut self) {
        if self.on().await.is_none() {
            return;
        }
        let limit = if self.breaker.is_tripped() { usize::MAX } else { Breaker::limit(self.host.chunks()) as usize };
        let found = self.find(limit).await;
        // Asked again: a pass may take long, and the operator's word of now counts.
        let Some(options) = self.on().await else { return };
        let count = found.orphans.len() as u64;
        let now = Moment(self.began.elapsed().as_millis() as u64);
        let counted = if found.too_many { u64::MAX } else { count };
        let admitted = self.breaker.admit(now, self.host.chunks(), counted, options.lifted);
        gauge!(metrics::ORPHANS_HELD).set(if admitted { 0.0 } else { count as f64 });
        {
            let mut status = self.status.lock();
            status.passes += 1;
            status.unjudged = found.unjudged;
            status.held = if admitted { 0 } else { count };
        }
        if !admitted {
            tracing::error!(
                orphans = count,
                "too many orphans: none is deleted. Find out where they come from, then `sago cluster garbage --lift`"
            );
            return;
        }
        for chunks in found.orphans.chunks(PAGE) {
            if self.host.delete_here(chunks.to_vec()).await {
                counter!(metrics::ORPHANS_DELETED).increment(chunks.len() as u64);
                self.status.lock().deleted += chunks.len() as u64;
                tracing::info!(chunks = chunks.len(), "orphans deleted");
            }
        }
    }

    async fn on(&self) -> Option<GarbageOptions> {
        self.host.options().await.filter(|options| options.on)
    }

    /// Goes through all chunks. Deletes what is condemned at once, since that is no orphan, and gathers orphans up to `limit` and one more.
    async fn find(&self, limit: usize) -> Found {
        let mut found = Found::default();
        let mut after = None;
        while let Some(page) = self.host.list(after, PAGE).await {
            let Some(last) = page.last().copied() else { break };
            after = Some(last);
            let mut by_group: BTreeMap<GroupId, Vec<ChunkId>> = BTreeMap::new();
            page.into_iter().for_each(|chunk| by_group.entry(chunk.group()).or_default().push(chunk));
            for (group, chunks) in by_group {
                self.judge(group, chunks, &mut found).await;
            }
            if found.orphans.len() > limit {
                found.too_many = true;
                break;
            }
            sleep(PAGE_PAUSE).await;
        }
        found
    }

    async fn judge(&self, group: GroupId, chunks: Vec<ChunkId>, found: &mut Found) {
        let verdicts = self.host.judge(group, chunks.clone()).await;
        let Some(verdicts) = verdicts.filter(|verdicts| verdicts.len() == chunks.len()) else {
            found.unjudged += chunks.len() as u64;
            return;
        };
        let mut condemned = Vec::new();
        for (chunk, verdict) in chunks.into_iter().zip(verdicts) {
            match verdict {
                ChunkVerdict::Garbage => found.orphans.push(chunk),
                ChunkVerdict::Condemned => condemned.push(chunk),
                ChunkVerdict::Referenced | ChunkVerdict::Staged | ChunkVerdict::Waiting | ChunkVerdict::Open => {}
            }
        }
        if !condemned.is_empty() {
            let _ = self.host.delete_here(condemned).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use types::{ChunkIdParts, SessionId, Slot, WriterEpoch};

    fn chunk(group: u32, seq: u32) -> ChunkId {
        let (slot, session, epoch) = (Slot(0), SessionId(1), WriterEpoch(0));
        ChunkId::new(ChunkIdParts { slot, group: GroupId(group), session, epoch, seq })
    }

    #[derive(Default)]
    struct State {
        stored: BTreeSet<ChunkId>,
        verdicts: BTreeMap<ChunkId, ChunkVerdict>,
        /// Groups that do not answer, and those that answer too little.
        deaf: Vec<GroupId>,
        short: Vec<GroupId>,
        options: Option<GarbageOptions>,
    }

    struct Fake(Mutex<State>);

    impl Fake {
        fn new(chunks: impl IntoIterator<Item = (ChunkId, ChunkVerdict)>) -> Arc<Fake> {
            let verdicts: BTreeMap<_, _> = chunks.into_iter().collect();
            let stored = verdicts.keys().copied().collect();
            let options = Some(GarbageOptions::default());
            Arc::new(Fake(Mutex::new(State { stored, verdicts, options, ..State::default() })))
        }

        fn left(&self) -> Vec<ChunkId> {
            self.0.lock().stored.iter().copied().collect()
        }
    }

    #[async_trait]
    impl SweepHost for Fake {
        async fn list(&self, after: Option<ChunkId>, max: usize) -> Option<Vec<ChunkId>> {
            let state = self.0.lock();
            let later = state.stored.iter().filter(|chunk| after.is_none_or(|after| **chunk > after));
            Some(later.take(max).copied().collect())
        }

        fn chunks(&self) -> u64 {
            self.0.lock().stored.len() as u64
        }

        async fn options(&self) -> Option<GarbageOptions> {
            self.0.lock().options
        }

        async fn judge(&self, group: GroupId, chunks: Vec<ChunkId>) -> Option<Vec<ChunkVerdict>> {
            let state = self.0.lock();
            assert!(chunks.len() <= PAGE && chunks.iter().all(|chunk| chunk.group() == group));
            let cut = usize::from(state.short.contains(&group));
            let verdicts = chunks.iter().map(|chunk| state.verdicts[chunk]);
            (!state.deaf.contains(&group)).then(|| verdicts.skip(cut).collect())
        }

        async fn delete_here(&self, chunks: Vec<ChunkId>) -> bool {
            let mut state = self.0.lock();
            chunks.iter().all(|chunk| state.stored.remove(chunk))
        }
    }

    fn worker(host: &Arc<Fake>) -> SweepWorker {
        SweepWorker::new(host.clone(), Duration::from_secs(1), Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_judged_garbage_or_condemned_goes() {
        use ChunkVerdict::{Condemned, Garbage, Open, Referenced, Staged, Waiting};
        let all = [Referenced, Staged, Waiting, Open, Condemned, Garbage];
        let host = Fake::new(all.into_iter().zip(0..).map(|(verdict, seq)| (chunk(1, seq), verdict)));
        worker(&host).one_pass().await;
        assert_eq!(host.left(), (0..4).map(|seq| chunk(1, seq)).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn groups_that_say_nothing_or_too_little_keep_their_chunks() {
        let garbage = |group| (0..10).map(move |seq| (chunk(group, seq), ChunkVerdict::Garbage));
        let host = Fake::new(garbage(1).chain(garbage(2)).chain(garbage(3)));
        host.0.lock().deaf.push(GroupId(1));
        host.0.lock().short.push(GroupId(2));
        let mut worker = worker(&host);
        worker.one_pass().await;
        assert_eq!(host.left().len(), 20);
        assert_eq!(worker.status.lock().unjudged, 20);
        host.0.lock().options = None;
        host.0.lock().deaf.clear();
        worker.one_pass().await;
        assert_eq!(host.left().len(), 20, "nobody says that it is on");
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_orphans_are_all_kept_until_an_operator_says_otherwise() {
        let host = Fake::new((0..5_000).map(|seq| (chunk(1, seq), ChunkVerdict::Garbage)));
        let mut worker = worker(&host);
        for _ in 0..3 {
            worker.one_pass().await;
            assert_eq!(host.left().len(), 5_000);
            assert!(worker.status.lock().held > 1_024);
        }
        host.0.lock().options = Some(GarbageOptions { lifted: 1, ..GarbageOptions::default() });
        worker.one_pass().await;
        assert_eq!(host.left().len(), 0);
        let status = *worker.status.lock();
        assert_eq!((status.held, status.deleted), (0, 5_000));
    }
}
