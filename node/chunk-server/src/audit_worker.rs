//! Holds metadata against what lies on disks: whether the members of a chunk's placement group know of it.
//!
//! A damaged replica is found by the scrub. One that is gone without a trace, with its row in the index of its disk, is not: nobody there knows that there
//! was one. So the leader of a metadata group asks for every chunk of which each member has a copy, as far as the group knows, and has made anew
//! what a member has never heard of.
//!
//! ```text
//! round: led groups x nodes that are due -> pages of whole chunks -> Stat -> those that are not there -> Replicate
//! ```
//! A node is due when it was last asked so long ago, and soon after it was started again. What this node remembers of that is gone when another leads: it
//! begins anew, which costs an index look-up for each chunk. What is on record as lacking a copy is the business of [`crate::RepairWorker`]; the other way
//! round, replicas that no metadata refers to, that of [`crate::SweepWorker`].

use crate::metrics;
use crate::repair_worker::RepairHost;
use ::metrics::{counter, gauge};
use async_trait::async_trait;
use futures::StreamExt as _;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use types::{Blake3Root, ChunkId, ChunkRef, GroupId, Incarnation, NodeId, PlacementMap};

/// Chunks in one page and one question.
const PAGE: u32 = 1024;
/// Pause between pages: 50,000 chunks a second at most, as the look for orphans.
const PAGE_PAUSE: Duration = Duration::from_millis(20);
/// Copies made at once, as by repair.
const PARALLEL: usize = 4;
/// Pause between two looks whether a node is due.
const ROUND_MAX: Duration = Duration::from_secs(10);
/// How long a node that was just started, or did not answer, or could not be made whole, is left alone.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// What the worker needs of its node and the cluster, beside what repair needs. `None` is "not known".
#[async_trait]
pub trait AuditHost: RepairHost {
    /// A page of chunks of a group of which every member has a copy as far as the group knows, in order of their ids, and after which id the next page
    /// begins, if there is one.
    async fn whole(&self, group: GroupId, after: Option<ChunkId>, max: u32)
    -> Option<(Vec<ChunkRef>, Option<ChunkId>)>;

    /// Length and hash of each of these chunks on `node`, if it knows of it.
    async fn stat(&self, node: NodeId, chunks: Vec<ChunkId>) -> Option<Vec<Option<(u32, Blake3Root)>>>;
}

/// Copies that the last audit of a node for a group could not have made: how many, and the first of them. Only where there are any.
pub type Unmade = BTreeMap<(GroupId, NodeId), (u64, ChunkId)>;

/// When a node is to be asked for a group.
#[derive(Clone, Copy)]
struct Due {
    incarnation: Incarnation,
    at: Instant,
}

/// The worker of a node.
pub struct AuditWorker {
    host: Arc<dyn AuditHost>,
    every: Duration,
    /// For each group that this node leads and each node that is up.
    due: BTreeMap<(GroupId, NodeId), Due>,
    unmade: Arc<Mutex<Unmade>>,
}

/// What one audit of a group knows of a node that it asks.
#[derive(Default)]
struct Asked {
    /// It does not answer: not asked again this time.
    silent: bool,
    made: u64,
    unmade: u64,
    first: Option<ChunkId>,
}

impl AuditWorker {
    /// A worker that has not begun. Each node is asked anew after `every`; `unmade` shows what is amiss.
    #[must_use]
    pub fn new(host: Arc<dyn AuditHost>, every: Duration, unmade: Arc<Mutex<Unmade>>) -> Self {
        AuditWorker { host, every, due: BTreeMap::new(), unmade }
    }

    /// Works for ever; may be dropped at any time.
    pub async fn run(mut self) {
        loop {
            sleep(self.every.min(ROUND_MAX)).await;
            self.one_round().await;
        }
    }

    async fn one_round(&mut self) {
        let led = self.host.led_groups();
        self.plan(&led);
        for group in led {
            let now = Instant::now();
            let due = self.due.range((group, NodeId(0))..=(group, NodeId(u64::MAX)));
            let asked: BTreeMap<NodeId, Asked> =
                due.filter(|(_, due)| due.at <= now).map(|((_, node), _)| (*node, Asked::default())).collect();
            if asked.is_empty() {
                continue;
            }
            if let Some(asked) = self.audit(group, asked).await {
                self.note(group, asked);
            }
        }
        let unmade: u64 = self.unmade.lock().values().map(|(count, _)| count).sum();
        gauge!(metrics::AUDIT_UNMADE).set(unmade as f64);
    }

    /// Nodes that are new, or started again, are due once they have settled; what was of groups that others lead now is forgotten.
    fn plan(&mut self, led: &[GroupId]) {
        let map = self.host.map();
        let up: BTreeMap<NodeId, Incarnation> =
            map.nodes.iter().filter(|node| map.is_up(node.id)).map(|node| (node.id, node.incarnation)).collect();
        let led: BTreeSet<GroupId> = led.iter().copied().collect();
        self.due.retain(|(group, node), _| led.contains(group) && up.contains_key(node));
        self.unmade.lock().retain(|(group, node), _| led.contains(group) && map.node(*node).is_some());
        let at = Instant::now() + self.settle();
        for group in led {
            for (node, incarnation) in &up {
                let due = self.due.entry((group, *node)).or_insert(Due { incarnation: *incarnation, at });
                if due.incarnation != *incarnation {
                    *due = Due { incarnation: *incarnation, at };
                }
            }
        }
    }

    fn settle(&self) -> Duration {
        self.every.min(SETTLE_MAX)
    }

    /// Goes through all chunks of a group. `None` if it is no longer led from here, or cannot be read.
    async fn audit(&self, group: GroupId, mut asked: BTreeMap<NodeId, Asked>) -> Option<BTreeMap<NodeId, Asked>> {
        let mut after = None;
        loop {
            let (chunks, next) = self.host.whole(group, after, PAGE).await?;
            let mut failed = Vec::new();
            for (node, asked) in asked.iter_mut().filter(|(_, asked)| !asked.silent) {
                failed.extend(self.ask(*node, &chunks, asked).await.into_iter().map(|chunk| (*node, chunk)));
            }
            if !failed.is_empty() {
                // What was deleted meanwhile lacks nothing.
                let (chunks, _) = self.host.whole(group, after, PAGE).await?;
                for (node, chunk) in failed.into_iter().filter(|(_, chunk)| chunks.contains(chunk)) {
                    let asked = asked.entry(node).or_default();
                    asked.unmade += 1;
                    asked.first.get_or_insert(chunk.id);
                }
            }
            if next.is_none() {
                return Some(asked);
            }
            after = next;
            sleep(PAGE_PAUSE).await;
            if !self.host.led_groups().contains(&group) {
                return None;
            }
        }
    }

    /// Asks a node for those of a page that it should have, and has made what it has never heard of. Those that could not be made.
    async fn ask(&self, node: NodeId, chunks: &[ChunkRef], asked: &mut Asked) -> Vec<ChunkRef> {
        let map = self.host.map();
        let of_node: Vec<ChunkRef> = chunks.iter().filter(|chunk| is_member(&map, node, chunk.id)).copied().collect();
        if of_node.is_empty() {
            return Vec::new();
        }
        let ids = of_node.iter().map(|chunk| chunk.id).collect();
        let Some(stats) = self.host.stat(node, ids).await.filter(|stats| stats.len() == of_node.len()) else {
            asked.silent = true;
            return Vec::new();
        };
        let lacking = of_node.into_iter().zip(stats).filter(|(chunk, stat)| *stat != Some((chunk.len, chunk.root)));
        let making = lacking.map(|(chunk, _)| async move { (chunk, self.make(node, chunk).await) });
        let making: Vec<_> = making.collect();
        let done: Vec<_> = futures::stream::iter(making).buffer_unordered(PARALLEL).collect().await;
        let (made, failed): (Vec<_>, Vec<_>) = done.into_iter().partition(|(_, made)| *made);
        asked.made += made.len() as u64;
        failed.into_iter().map(|(chunk, _)| chunk).collect()
    }

    /// Has `node` fetch a chunk from the other members.
    async fn make(&self, node: NodeId, chunk: ChunkRef) -> bool {
        let map = self.host.map();
        let Some(group) = map.group_of(chunk.id.slot()) else { return false };
        let mut sources: Vec<NodeId> = group.members.iter().map(|member| member.node).collect();
        sources.retain(|source| *source != node);
        sources.sort_by_key(|source| !map.is_up(*source));
        match self.host.replicate(node, chunk, group.epoch, sources).await {
            Some(Ok(())) => {
                tracing::warn!(chunk = %chunk.id, %node, "a copy was gone without a trace and was made anew");
                counter!(metrics::AUDIT_MADE).increment(1);
                true
            }
            Some(Err(error)) => {
                tracing::warn!(chunk = %chunk.id, %node, %error, "a copy is gone without a trace and was not made");
                false
            }
            None => false,
        }
    }

    fn note(&mut self, group: GroupId, asked: BTreeMap<NodeId, Asked>) {
        let now = Instant::now();
        for (node, asked) in asked {
            let over = !asked.silent && asked.unmade == 0;
            let pause = if over { self.every } else { self.settle() };
            if let Some(due) = self.due.get_mut(&(group, node)) {
                due.at = now + pause;
            }
            if asked.silent {
                continue;
            }
            counter!(metrics::AUDITS).increment(1);
            match asked.first {
                Some(first) => self.unmade.lock().insert((group, node), (asked.unmade, first)),
                None => self.unmade.lock().remove(&(group, node)),
            };
            if asked.made + asked.unmade > 0 {
                tracing::warn!(%group, %node, made = asked.made, unmade = asked.unmade, "an audit found copies gone");
            }
        }
    }
}

/// Whether a node should have a chunk. The disk that a move brings in has it only once the move is over.
fn is_member(map: &PlacementMap, node: NodeId, chunk: ChunkId) -> bool {
    map.group_of(chunk.slot()).is_some_and(|group| group.members.iter().any(|member| member.node == node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::chunk::ChunkError;
    use types::{
        ChunkIdParts, Member, NodeEntry, NodeState, PgEpoch, PgId, PlacementGroup, SessionId, Slot, WriterEpoch,
    };

    const GROUP: GroupId = GroupId(1);
    const EVERY: Duration = Duration::from_secs(7 * 24 * 3600);

    fn chunk(seq: u32) -> ChunkRef {
        let (session, epoch) = (SessionId(1), WriterEpoch(1));
        let id = ChunkId::new(ChunkIdParts { slot: Slot(0), group: GROUP, session, epoch, seq });
        ChunkRef { id, len: 1 + seq, root: Blake3Root([7; 32]) }
    }

    struct State {
        map: PlacementMap,
        led: Vec<GroupId>,
        /// In order of their ids.
        chunks: Vec<ChunkRef>,
        /// What each node knows of.
        held: BTreeMap<NodeId, BTreeSet<ChunkId>>,
        deaf: BTreeSet<NodeId>,
        refuse: Option<ChunkError>,
        /// Deleted by the group while the node is asked to fetch it.
        deleted_meanwhile: Option<ChunkRef>,
        asked: BTreeMap<NodeId, usize>,
    }

    struct Fake(Mutex<State>);

    impl Fake {
        /// Four nodes, of which the first three are the members; all of them have all chunks.
        fn new(count: u32) -> Arc<Fake> {
            let entry = |id| NodeEntry::new(NodeId(id), String::new(), id.to_string(), []);
            let up = |id| NodeEntry { incarnation: Incarnation(1), state: NodeState::Up, ..entry(id) };
            let members = (1..=3).map(|id| Member { node: NodeId(id), disk: 0 }).collect();
            let map = PlacementMap {
                version: 1,
                nodes: (1..=4).map(up).collect(),
                groups: vec![PlacementGroup::settled(PgId(0), PgEpoch(7), members)],
                slots: vec![0],
                ..PlacementMap::default()
            };
            let chunks: Vec<_> = (0..count).map(chunk).collect();
            let ids: BTreeSet<_> = chunks.iter().map(|chunk| chunk.id).collect();
            let held = (1..=3).map(|id| (NodeId(id), ids.clone())).collect();
            let (deaf, refuse, deleted_meanwhile, asked) = Default::default();
            Arc::new(Fake(Mutex::new(State {
                map,
                led: vec![GROUP],
                chunks,
                held,
                deaf,
                refuse,
                deleted_meanwhile,
                asked,
            })))
        }

        fn lose(&self, gone: &[(u64, u32)]) {
            for (node, seq) in gone {
                assert!(self.0.lock().held.entry(NodeId(*node)).or_default().remove(&chunk(*seq).id));
            }
        }

        fn has(&self, node: u64, seq: u32) -> bool {
            self.0.lock().held[&NodeId(node)].contains(&chunk(seq).id)
        }

        fn asked(&self) -> BTreeMap<NodeId, usize> {
            std::mem::take(&mut self.0.lock().asked)
        }
    }

    #[async_trait]
    impl RepairHost for Fake {
        fn led_groups(&self) -> Vec<GroupId> {
            self.0.lock().led.clone()
        }

        fn map(&self) -> Arc<PlacementMap> {
            Arc::new(self.0.lock().map.clone())
        }

        async fn lacking(&self, _: GroupId, _: Option<ChunkId>, _: u32) -> Vec<(ChunkRef, u8)> {
            Vec::new()
        }

        async fn replicate(
            &self,
            node: NodeId,
            chunk: ChunkRef,
            epoch: PgEpoch,
            sources: Vec<NodeId>,
        ) -> Option<Result<(), ChunkError>> {
            assert!(epoch == PgEpoch(7) && sources.len() == 2 && !sources.contains(&node), "{sources:?}");
            let mut state = self.0.lock();
            if let Some(deleted) = state.deleted_meanwhile.take() {
                state.chunks.retain(|chunk| *chunk != deleted);
                return Some(Err(ChunkError::Deleted));
            }
            if let Some(error) = state.refuse.clone() {
                return Some(Err(error));
            }
            state.held.entry(node).or_default().insert(chunk.id);
            Some(Ok(()))
        }

        async fn record_repaired(&self, _: GroupId, _: Vec<ChunkId>) -> bool {
            false
        }
    }

    #[async_trait]
    impl AuditHost for Fake {
        async fn whole(
            &self,
            _: GroupId,
            after: Option<ChunkId>,
            max: u32,
        ) -> Option<(Vec<ChunkRef>, Option<ChunkId>)> {
            let state = self.0.lock();
            let later = state.chunks.iter().filter(|chunk| after.is_none_or(|after| chunk.id > after));
            let page: Vec<_> = later.take(max as usize).copied().collect();
            let next = page.last().map(|last| last.id).filter(|_| page.len() == max as usize);
            Some((page, next))
        }

        async fn stat(&self, node: NodeId, chunks: Vec<ChunkId>) -> Option<Vec<Option<(u32, Blake3Root)>>> {
            let mut state = self.0.lock();
            *state.asked.entry(node).or_default() += chunks.len();
            let held = state.held.get(&node)?;
            let stat = |id: &ChunkId| held.contains(id).then(|| (1 + id.parts().seq, Blake3Root([7; 32])));
            (!state.deaf.contains(&node)).then(|| chunks.iter().map(stat).collect())
        }
    }

    fn worker(host: &Arc<Fake>) -> AuditWorker {
        AuditWorker::new(host.clone(), EVERY, Arc::default())
    }

    /// Lets time pass, a round every ten seconds.
    async fn pass(worker: &mut AuditWorker, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            sleep(ROUND_MAX).await;
            worker.one_round().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_is_gone_without_a_trace_is_made_anew() {
        let host = Fake::new(2500);
        host.lose(&[(1, 0), (2, 1023), (2, 1024), (3, 2499)]);
        let mut worker = worker(&host);
        pass(&mut worker, 2 * SETTLE_MAX).await;
        assert!(host.has(1, 0) && host.has(2, 1023) && host.has(2, 1024) && host.has(3, 2499));
        let asked = (1..=3).map(|id| (NodeId(id), 2500)).collect();
        assert_eq!(host.asked(), asked, "each member once, for all it should have, and nobody else");
        assert_eq!(*worker.unmade.lock(), Unmade::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_asked_when_its_time_has_come_and_after_it_was_started_again() {
        let host = Fake::new(10);
        let mut worker = worker(&host);
        pass(&mut worker, 2 * SETTLE_MAX).await;
        assert_eq!(host.asked().len(), 3);
        pass(&mut worker, EVERY / 2).await;
        assert_eq!(host.asked(), BTreeMap::new());
        host.lose(&[(2, 3)]);
        host.0.lock().map.nodes[1].incarnation = Incarnation(2);
        pass(&mut worker, SETTLE_MAX / 2).await;
        assert_eq!(host.asked(), BTreeMap::new(), "it has not settled");
        pass(&mut worker, SETTLE_MAX).await;
        assert_eq!(host.asked().into_keys().collect::<Vec<_>>(), [NodeId(2)]);
        assert!(host.has(2, 3));
        pass(&mut worker, EVERY / 2 + SETTLE_MAX).await;
        assert_eq!(host.asked().into_keys().collect::<Vec<_>>(), [NodeId(1), NodeId(3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_down_or_does_not_answer_is_asked_once_it_does() {
        let host = Fake::new(10);
        host.lose(&[(2, 3)]);
        host.0.lock().deaf.insert(NodeId(2));
        host.0.lock().map.nodes[2].state = NodeState::Down;
        let mut worker = worker(&host);
        pass(&mut worker, 3 * SETTLE_MAX).await;
        assert!(!host.has(2, 3) && !host.asked().contains_key(&NodeId(3)));
        host.0.lock().deaf.clear();
        host.0.lock().map.nodes[2].state = NodeState::Up;
        pass(&mut worker, 2 * SETTLE_MAX).await;
        assert!(host.has(2, 3));
        assert_eq!(host.asked().into_keys().collect::<Vec<_>>(), [NodeId(2), NodeId(3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_made_is_told_until_it_can_and_what_was_deleted_meanwhile_is_not() {
        let host = Fake::new(10);
        host.lose(&[(1, 4), (1, 5)]);
        host.0.lock().refuse = Some(ChunkError::NoSource);
        host.0.lock().deleted_meanwhile = Some(chunk(4));
        let mut worker = worker(&host);
        pass(&mut worker, 2 * SETTLE_MAX).await;
        let told = BTreeMap::from([((GROUP, NodeId(1)), (1, chunk(5).id))]);
        assert_eq!(*worker.unmade.lock(), told);
        host.0.lock().refuse = None;
        pass(&mut worker, 2 * SETTLE_MAX).await;
        assert!(host.has(1, 5));
        assert_eq!(*worker.unmade.lock(), Unmade::new());
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_leads_now_is_its_business() {
        let host = Fake::new(10);
        host.lose(&[(1, 5)]);
        host.0.lock().refuse = Some(ChunkError::NoSource);
        let mut worker = worker(&host);
        pass(&mut worker, 2 * SETTLE_MAX).await;
        assert_eq!(worker.unmade.lock().len(), 1);
        host.0.lock().led.clear();
        host.asked();
        pass(&mut worker, 2 * EVERY).await;
        assert_eq!((host.asked(), worker.unmade.lock().clone()), Default::default());
    }
}
