//! Makes missing copies: what a write had to leave out while a node was away, once that node is back.
//!
//! The leader of a metadata group does it for the chunks of its group. Every round begins from what the group's state says (level,
//! not edge), so a change of leader or a crash loses nothing: rows stay until the copy was made durable and verified by the node
//! that lacked it.
//!
//! ```text
//! round: led groups -> pages of "chunk, members that lack it" -> members that are up -> Replicate -> recorded as repaired
//! ```
//! A chunk that cannot be repaired is tried again after 1, 2, 4 ... rounds. It does not move chunks to other groups: that is what moves are for. Every
//! member of the group as it is now is asked to have the chunk, and the disk that a move brings in as well, so that a row is cleared only when
//! nobody lacks it, whoever was a member when it was written.

use crate::metrics;
use ::metrics::gauge;
use async_trait::async_trait;
use futures::StreamExt as _;
use proto::chunk::ChunkError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use types::{ChunkId, ChunkRef, GroupId, NodeId, PgEpoch, PlacementMap};

/// Pause between rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Chunks looked at in one step.
const PAGE: u32 = 256;
/// Copies made at once by one leader. Four keep a flush of the target busy; more would push writes of clients aside.
const PARALLEL: usize = 4;
/// Rounds a chunk is left alone after a failure, at most.
const PAUSE_ROUNDS_MAX: u64 = 64;
/// Failed chunks remembered; when there are more, all are forgotten and tried again.
const REMEMBERED_MAX: usize = 16_384;

/// What the worker needs of its node and the cluster.
#[async_trait]
pub trait RepairHost: Send + Sync + 'static {
    /// Metadata groups this node leads.
    fn led_groups(&self) -> Vec<GroupId>;

    /// The newest placement map this node knows.
    fn map(&self) -> Arc<PlacementMap>;

    /// A page of chunks of a group that lack copies, in order of their ids, with a bit for each member that lacks it.
    async fn lacking(&self, group: GroupId, after: Option<ChunkId>, max: u32) -> Vec<(ChunkRef, u8)>;

    /// Has `node` fetch a chunk and keep it. `Ok` after it is durable there; `None` if there was no answer.
    async fn replicate(
        &self,
        node: NodeId,
        chunk: ChunkRef,
        epoch: PgEpoch,
        sources: Vec<NodeId>,
    ) -> Option<Result<(), ChunkError>>;

    /// Records in the group that these chunks have all their copies. Whether it was recorded.
    async fn record_repaired(&self, group: GroupId, chunks: Vec<ChunkId>) -> bool;
}

/// One copy to make.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    chunk: ChunkRef,
    epoch: PgEpoch,
    /// Nodes that are to have it, those that lack it first; all of them up.
    targets: Vec<NodeId>,
    /// Whether these are all that are to have it.
    whole: bool,
    /// Nodes that have it, those that are up first.
    sources: Vec<NodeId>,
}

/// The worker of a node.
pub struct RepairWorker {
    host: Arc<dyn RepairHost>,
    round: u64,
    /// Chunks that failed: how often, and the round in which they are tried again.
    failed: BTreeMap<ChunkId, (u32, u64)>,
}

impl RepairWorker {
    /// A worker that has not begun.
    #[must_use]
    pub fn new(host: Arc<dyn RepairHost>) -> Self {
        RepairWorker { host, round: 0, failed: BTreeMap::new() }
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

    async fn one_round(&mut self) {
        self.round += 1;
        let mut lacking = 0;
        for group in self.host.led_groups() {
            let mut after = None;
            loop {
                let page = self.host.lacking(group, after, PAGE).await;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.id);
                let full = page.len() >= PAGE as usize;
                lacking += page.len();
                self.repair(group, page).await;
                if !full {
                    break;
                }
            }
        }
        gauge!(metrics::LACKING).set(lacking as f64);
    }

    async fn repair(&mut self, group: GroupId, page: Vec<(ChunkRef, u8)>) {
        let map = self.host.map();
        let due = |chunk: &ChunkRef| self.failed.get(&chunk.id).is_none_or(|(_, round)| *round <= self.round);
        let jobs: Vec<_> = page
            .iter()
            .filter(|(chunk, _)| due(chunk))
            .filter_map(|(chunk, missing)| job(&map, *chunk, *missing))
            .collect();
        let host = self.host.clone();
        let running = futures::stream::iter(jobs).map(move |job| {
            let host = host.clone();
            async move { (job.chunk.id, copy(&*host, &job).await) }
        });
        let done: Vec<_> = running.buffer_unordered(PARALLEL).collect().await;
        let repaired: Vec<_> = done.iter().filter(|(_, ok)| *ok).map(|(chunk, _)| *chunk).collect();
        for (chunk, ok) in done {
            self.note(chunk, ok);
        }
        if !repaired.is_empty() {
            let count = repaired.len();
            if self.host.record_repaired(group, repaired).await {
                tracing::info!(%group, chunks = count, "missing copies made");
            }
        }
    }

    fn note(&mut self, chunk: ChunkId, ok: bool) {
        if ok {
            self.failed.remove(&chunk);
            return;
        }
        if self.failed.len() >= REMEMBERED_MAX {
            self.failed.clear();
        }
        let (failures, round) = self.failed.entry(chunk).or_default();
        *round = self.round + (1 << (*failures).min(63)).min(PAUSE_ROUNDS_MAX);
        *failures = failures.saturating_add(1);
    }
}

/// What can be done for a chunk now. Those that have it are asked too, last; while somebody is away it cannot be called repaired.
fn job(map: &PlacementMap, chunk: ChunkRef, missing: u8) -> Option<Job> {
    let group = map.group_of(chunk.id.slot())?;
    let lacks = |at: usize| at < 8 && missing & (1 << at) != 0;
    let nodes = |lacking: bool| {
        let takers = group.takers().enumerate();
        takers.filter(move |(at, _)| lacks(*at) == lacking).map(|(_, taker)| taker.node).collect::<Vec<_>>()
    };
    let (mut targets, mut sources) = (nodes(true), nodes(false));
    let lacking = targets.iter().any(|node| map.is_up(*node)) || targets.is_empty();
    targets.extend(&sources);
    sources.sort_by_key(|node| !map.is_up(*node));
    let all = targets.len();
    targets.retain(|node| map.is_up(*node));
    let whole = targets.len() == all;
    (lacking && !sources.is_empty()).then_some(Job { chunk, epoch: group.epoch, targets, whole, sources })
}

async fn copy(host: &dyn RepairHost, job: &Job) -> bool {
    for target in &job.targets {
        match host.replicate(*target, job.chunk, job.epoch, job.sources.clone()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::debug!(chunk = %job.chunk.id, %target, %error, "copy not made yet");
                return false;
            }
            None => return false,
        }
    }
    job.whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use types::{
        Blake3Root, ChunkIdParts, Member, NodeEntry, NodeState, PgId, PlacementGroup, SessionId, Slot, WriterEpoch,
    };

    const GROUP: GroupId = GroupId(1);

    fn chunk(seq: u32) -> ChunkRef {
        let (session, epoch) = (SessionId(1), WriterEpoch(1));
        let id = ChunkId::new(ChunkIdParts { slot: Slot(0), group: GROUP, session, epoch, seq });
        ChunkRef { id, len: 1, root: Blake3Root([0; 32]) }
    }

    fn map(up: [bool; 3]) -> PlacementMap {
        let nodes = up.iter().zip(1..).map(|(up, id)| NodeEntry {
            state: if *up { NodeState::Up } else { NodeState::Down },
            ..NodeEntry::new(NodeId(id), String::new(), id.to_string(), [])
        });
        let members = (1..=3).map(|id| Member { node: NodeId(id), disk: 0 }).collect();
        let group = PlacementGroup::settled(PgId(0), PgEpoch(7), members);
        PlacementMap {
            version: 1,
            nodes: nodes.collect(),
            groups: vec![group],
            slots: vec![0],
            ..PlacementMap::default()
        }
    }

    struct Fake {
        map: Mutex<PlacementMap>,
        rows: Mutex<BTreeMap<ChunkId, (ChunkRef, u8)>>,
        refuse: Mutex<Option<ChunkError>>,
        calls: Mutex<Vec<(NodeId, ChunkId, Vec<NodeId>)>>,
    }

    impl Fake {
        fn new(up: [bool; 3], missing: impl IntoIterator<Item = (ChunkRef, u8)>) -> Arc<Fake> {
            let rows = missing.into_iter().map(|(chunk, bits)| (chunk.id, (chunk, bits))).collect();
            let (map, rows) = (Mutex::new(map(up)), Mutex::new(rows));
            Arc::new(Fake { map, rows, refuse: Mutex::default(), calls: Mutex::default() })
        }
    }

    #[async_trait]
    impl RepairHost for Fake {
        fn led_groups(&self) -> Vec<GroupId> {
            vec![GROUP]
        }

        fn map(&self) -> Arc<PlacementMap> {
            Arc::new(self.map.lock().clone())
        }

        async fn lacking(&self, _: GroupId, after: Option<ChunkId>, max: u32) -> Vec<(ChunkRef, u8)> {
            let rows = self.rows.lock();
            let later = rows.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
            later.map(|(_, row)| *row).take(max as usize).collect()
        }

        async fn replicate(
            &self,
            node: NodeId,
            chunk: ChunkRef,
            epoch: PgEpoch,
            sources: Vec<NodeId>,
        ) -> Option<Result<(), ChunkError>> {
            assert_eq!(epoch, PgEpoch(7));
            self.calls.lock().push((node, chunk.id, sources));
            Some(self.refuse.lock().clone().map_or(Ok(()), Err))
        }

        async fn record_repaired(&self, _: GroupId, chunks: Vec<ChunkId>) -> bool {
            self.rows.lock().retain(|chunk, _| !chunks.contains(chunk));
            true
        }
    }

    #[tokio::test]
    async fn missing_copies_are_made_from_the_members_that_have_them_and_recorded() {
        let host = Fake::new([true; 3], (0..600).map(|seq| (chunk(seq), 0b010)));
        let mut worker = RepairWorker::new(host.clone());
        worker.one_round().await;
        assert!(host.rows.lock().is_empty());
        let calls = host.calls.lock();
        assert_eq!(calls.len(), 1800, "every member is asked");
        assert!(calls.iter().all(|(_, _, sources)| *sources == [NodeId(1), NodeId(3)]));
        let first = calls.iter().find(|(_, id, _)| *id == chunk(7).id).map(|(node, ..)| *node);
        assert_eq!(first, Some(NodeId(2)), "the one that lacks it first");
    }

    #[tokio::test]
    async fn nothing_is_tried_while_the_node_is_away_and_sources_that_are_up_come_first() {
        let host = Fake::new([true, false, true], [(chunk(1), 0b010), (chunk(2), 0b100)]);
        let mut worker = RepairWorker::new(host.clone());
        worker.one_round().await;
        let asked: Vec<_> = host.calls.lock().iter().map(|(node, id, _)| (*node, *id)).collect();
        assert_eq!(asked, [(NodeId(3), chunk(2).id), (NodeId(1), chunk(2).id)]);
        assert_eq!(host.rows.lock().len(), 2, "a member is away: nothing is called repaired");
        *host.map.lock() = map([true; 3]);
        for _ in 0..4 {
            worker.one_round().await;
        }
        assert!(host.rows.lock().is_empty());
    }

    #[tokio::test]
    async fn what_a_move_brings_in_is_made_whole_too() {
        let mut moving = map([true; 3]);
        let four = NodeEntry::new(NodeId(4), String::new(), "4".to_owned(), []);
        moving.nodes.push(four);
        let to = Member { node: NodeId(4), disk: 0 };
        moving.groups[0].moving = Some(types::Move { at: 0, to, phase: types::MovePhase::Copying });
        let found = job(&moving, chunk(1), 0b1000).expect("a job");
        assert_eq!(found.targets, [4, 1, 2, 3].map(NodeId));
        assert_eq!(found.sources, [1, 2, 3].map(NodeId));
        // The move is over: the bit names nobody any more, and all are asked.
        assert_eq!(job(&map([true; 3]), chunk(1), 0b1000).expect("a job").targets, [1, 2, 3].map(NodeId));
    }

    #[tokio::test]
    async fn failures_are_tried_again_ever_more_seldom_and_never_recorded() {
        let host = Fake::new([true; 3], [(chunk(1), 0b001)]);
        *host.refuse.lock() = Some(ChunkError::Busy);
        let mut worker = RepairWorker::new(host.clone());
        for _ in 0..200 {
            worker.one_round().await;
        }
        let tried = host.calls.lock().len();
        assert!((7..=12).contains(&tried), "{tried} times");
        assert_eq!(host.rows.lock().len(), 1);
        *host.refuse.lock() = None;
        for _ in 0..=PAUSE_ROUNDS_MAX {
            worker.one_round().await;
        }
        assert!(host.rows.lock().is_empty());
    }

    #[test]
    fn a_slot_without_a_group_or_a_chunk_without_a_source_is_left_alone() {
        let map = map([true; 3]);
        assert_eq!(job(&map, chunk(1), 0b111), None);
        assert_eq!(job(&PlacementMap::default(), chunk(1), 0b001), None);
    }
}
