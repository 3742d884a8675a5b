//! Works off the garbage of the groups this node leads.
//!
//! ```text
//! round: options on? -> sessions that are over: EndSessions -> garbage that is due by clocks that agree: CollectGarbage
//!        -> condemned chunks: Delete to every member -> all have acknowledged: ForgetChunks
//! ```
//! Every round begins from what the group's state says (level, not edge), so a change of leader or a crash loses nothing. A delete is sent
//! only for what this replica has applied as condemned, which never becomes untrue. Whatever fails is asked again in the next round:
//! docs/adr/0010-garbage.md.

use crate::metrics;
use ::metrics::counter;
use async_trait::async_trait;
use chunk_core::collect::{Deletions, ended};
use futures::future::join_all;
use proto::control::GarbageOptions;
use proto::meta::{Answer, Command, CondemnedStep, Outcome, Query};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use types::{ChunkId, GroupId, NodeId, PlacementMap, SessionId, Timestamp};

/// Chunks in one page, one delete and one command.
const PAGE: u32 = 1024;
/// Pages of condemned chunks of one group in a round, and commands of each kind: with rounds of ten seconds some 1,600 chunks a second.
const STEPS_PER_ROUND: usize = 16;

/// What the worker needs of its node and the cluster. Each call has a deadline; `None` and `false` are "not known", and keep the data.
#[async_trait]
pub trait CollectHost: Send + Sync + 'static {
    /// Metadata groups this node leads.
    fn led_groups(&self) -> Vec<GroupId>;

    /// The newest placement map this node knows.
    fn map(&self) -> Arc<PlacementMap>;

    /// This node's clock.
    fn now(&self) -> Timestamp;

    /// The time that the clocks of the group's voters agree on; `None` if too few say so, or one lies apart.
    async fn agreed(&self, group: GroupId) -> Option<Timestamp>;

    /// How garbage is collected, as the control group has it now.
    async fn options(&self) -> Option<GarbageOptions>;

    /// The sessions that are open and the last one handed out, as the control group has them now.
    async fn open_sessions(&self) -> Option<(Vec<SessionId>, SessionId)>;

    /// What this node's own replica of a group answers.
    async fn ask(&self, group: GroupId, query: Query) -> Option<Answer>;

    /// Has the group carry out one of its own commands; what it came to, if it was applied.
    async fn propose(&self, group: GroupId, command: Command) -> Option<Outcome>;

    /// Has a node delete its replicas. Whether they are gone for good there.
    async fn delete(&self, node: NodeId, chunks: Vec<ChunkId>) -> bool;
}

/// The worker of a node.
pub struct CollectWorker {
    host: Arc<dyn CollectHost>,
    round: Duration,
    deletions: Deletions,
    /// Groups whose garbage waits for clocks to agree.
    halted: BTreeSet<GroupId>,
}

impl CollectWorker {
    /// A worker that has not begun. `round` is the pause between rounds.
    #[must_use]
    pub fn new(host: Arc<dyn CollectHost>, round: Duration) -> Self {
        CollectWorker { host, round, deletions: Deletions::default(), halted: BTreeSet::new() }
    }

    /// Works for ever; may be dropped at any time.
    pub async fn run(mut self) {
        let mut rounds = interval(self.round);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.one_round().await;
        }
    }

    async fn one_round(&mut self) {
        let led = self.host.led_groups();
        if led.is_empty() {
            return;
        }
        let Some(options) = self.host.options().await.filter(|options| options.on) else { return };
        let sessions = self.host.open_sessions().await;
        for group in led {
            if let Some((open, last)) = &sessions {
                self.end_sessions(group, open, *last).await;
            }
            self.condemn(group, options.grace).await;
            self.delete(group).await;
        }
    }

    async fn end_sessions(&self, group: GroupId, open: &[SessionId], last: SessionId) {
        for run in ended(open, last) {
            let (mut first, last) = run.into_inner();
            if !matches!(
                self.host.ask(group, Query::SessionsOver { first, last }).await,
                Some(Answer::SessionsOver(false))
            ) {
                continue;
            }
            for _ in 0..STEPS_PER_ROUND {
                match self.host.propose(group, Command::EndSessions { first, last }).await {
                    Some(Outcome::Ended { more: true, last: reached }) if reached < last => {
                        first = SessionId(reached.0 + 1);
                    }
                    Some(Outcome::Ended { more: true, .. }) => {}
                    _ => break,
                }
            }
        }
    }

    async fn condemn(&mut self, group: GroupId, grace: i64) {
        let Some(Answer::Garbage(status)) = self.host.ask(group, Query::Garbage).await else { return };
        metrics::garbage(group, status.waiting, status.condemned);
        // The group judges for itself; this only spares it commands that would find nothing, and others a question.
        let due = |oldest: Timestamp| oldest.0.saturating_add(grace) <= self.host.now().0;
        if !status.oldest.is_some_and(due) {
            return;
        }
        let agreed = self.host.agreed(group).await;
        self.halt(group, agreed.is_none());
        let Some(now) = agreed else { return };
        for _ in 0..STEPS_PER_ROUND {
            match self.host.propose(group, Command::CollectGarbage { grace, max: PAGE, now }).await {
                Some(Outcome::Collected { condemned, more }) => {
                    counter!(metrics::GARBAGE_CONDEMNED).increment(u64::from(condemned));
                    if !more {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// Tells once that garbage waits for clocks, and once that it does no more.
    fn halt(&mut self, group: GroupId, halted: bool) {
        metrics::garbage_halted(group, halted);
        if halted && self.halted.insert(group) {
            tracing::warn!(%group, "garbage is not collected until the clocks of the voters agree");
        } else if !halted && self.halted.remove(&group) {
            tracing::info!(%group, "the clocks agree: garbage is collected again");
        }
    }

    async fn delete(&mut self, group: GroupId) {
        let mut after = None;
        for _ in 0..STEPS_PER_ROUND {
            let Some(Answer::Condemned(page)) = self.host.ask(group, Query::Condemned { after, max: PAGE }).await
            else {
                return;
            };
            after = page.last().map(|(chunk, _)| *chunk);
            let full = page.len() >= PAGE as usize;
            self.delete_page(group, &page).await;
            if !full {
                return;
            }
        }
    }

    async fn delete_page(&mut self, group: GroupId, page: &[(ChunkId, CondemnedStep)]) {
        let of = |step| page.iter().filter(move |(_, wanted)| *wanted == step).map(|(chunk, _)| *chunk);
        let condemned: Vec<ChunkId> = of(CondemnedStep::Delete).collect();
        let map = self.host.map();
        let host = &*self.host;
        let asked = self.deletions.wanted(&condemned, &map).into_iter().map(|(node, chunks)| async move {
            let deleted = host.delete(node, chunks.clone()).await;
            deleted.then_some((node, chunks))
        });
        let done: Vec<_> = join_all(asked).await;
        for (node, chunks) in done.into_iter().flatten() {
            self.deletions.acknowledged(node, &chunks);
        }
        // A map that has changed meanwhile may name a member that was not asked.
        let mut gone = self.deletions.gone(&condemned, &self.host.map());
        gone.extend(of(CondemnedStep::Forget));
        if gone.is_empty() {
            return;
        }
        let count = gone.len();
        if self.host.propose(group, Command::ForgetChunks { chunks: gone.clone() }).await.is_some() {
            self.deletions.forget(&gone);
            tracing::debug!(%group, chunks = count, "condemned chunks are gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use proto::meta::GarbageStatus;
    use std::collections::BTreeMap;
    use types::{ChunkIdParts, Member, NodeEntry, NodeState, PgEpoch, PgId, PlacementGroup, Slot, WriterEpoch};

    const GROUP: GroupId = GroupId(1);
    const NOW: Timestamp = Timestamp(GarbageOptions::GRACE + 100);

    fn chunk(seq: u32) -> ChunkId {
        let (session, epoch) = (SessionId(1), WriterEpoch(0));
        ChunkId::new(ChunkIdParts { slot: Slot(0), group: GROUP, session, epoch, seq })
    }

    fn map(up: [bool; 3]) -> PlacementMap {
        let node = |(up, id): (bool, u64)| NodeEntry {
            state: if up { NodeState::Up } else { NodeState::Down },
            ..NodeEntry::new(NodeId(id), String::new(), id.to_string(), [])
        };
        let members = (1..=3).map(|id| Member { node: NodeId(id), disk: 0 }).collect();
        let group = PlacementGroup::settled(PgId(0), PgEpoch(7), members);
        let nodes = up.into_iter().zip(1..).map(node).collect();
        PlacementMap { version: 1, nodes, groups: vec![group], slots: vec![0], ..PlacementMap::default() }
    }

    /// A group that knows condemned chunks, and nodes that may be deaf.
    #[derive(Default)]
    struct State {
        map: PlacementMap,
        options: Option<GarbageOptions>,
        sessions: Option<(Vec<SessionId>, SessionId)>,
        over: Vec<(SessionId, SessionId)>,
        status: GarbageStatus,
        condemned: BTreeMap<ChunkId, CondemnedStep>,
        deaf: Vec<NodeId>,
        deleted: BTreeMap<NodeId, usize>,
        proposed: Vec<Command>,
        clocks_disagree: bool,
    }

    struct Fake(Mutex<State>);

    impl Fake {
        fn new(chunks: u32) -> Arc<Fake> {
            let condemned = (0..chunks).map(|seq| (chunk(seq), CondemnedStep::Delete)).collect();
            let options = Some(GarbageOptions::default());
            Arc::new(Fake(Mutex::new(State { map: map([true; 3]), options, condemned, ..State::default() })))
        }
    }

    #[async_trait]
    impl CollectHost for Fake {
        fn led_groups(&self) -> Vec<GroupId> {
            vec![GROUP]
        }

        fn map(&self) -> Arc<PlacementMap> {
            Arc::new(self.0.lock().map.clone())
        }

        fn now(&self) -> Timestamp {
            NOW
        }

        async fn agreed(&self, _: GroupId) -> Option<Timestamp> {
            (!self.0.lock().clocks_disagree).then_some(NOW)
        }

        async fn options(&self) -> Option<GarbageOptions> {
            self.0.lock().options
        }

        async fn open_sessions(&self) -> Option<(Vec<SessionId>, SessionId)> {
            self.0.lock().sessions.clone()
        }

        async fn ask(&self, _: GroupId, query: Query) -> Option<Answer> {
            let state = self.0.lock();
            Some(match query {
                Query::Garbage => Answer::Garbage(state.status),
                Query::SessionsOver { first, last } => Answer::SessionsOver(state.over.contains(&(first, last))),
                Query::Condemned { after, max } => {
                    let rows = state.condemned.iter().filter(|(chunk, _)| after.is_none_or(|after| **chunk > after));
                    Answer::Condemned(rows.map(|(chunk, step)| (*chunk, *step)).take(max as usize).collect())
                }
                other => panic!("{other:?}"),
            })
        }

        async fn propose(&self, _: GroupId, command: Command) -> Option<Outcome> {
            let mut state = self.0.lock();
            state.proposed.push(command.clone());
            Some(match command {
                Command::ForgetChunks { chunks } => {
                    state.condemned.retain(|chunk, _| !chunks.contains(chunk));
                    Outcome::Done
                }
                Command::CollectGarbage { .. } => {
                    state.status.waiting -= 1;
                    Outcome::Collected { condemned: 1, more: state.status.waiting > 0 }
                }
                Command::EndSessions { first, last } => {
                    // At most five at a time.
                    let reached = last.min(SessionId(first.0 + 4));
                    state.over.push((first, reached));
                    Outcome::Ended { last: reached, more: reached < last }
                }
                other => panic!("{other:?}"),
            })
        }

        async fn delete(&self, node: NodeId, chunks: Vec<ChunkId>) -> bool {
            let mut state = self.0.lock();
            let hears = !state.deaf.contains(&node);
            *state.deleted.entry(node).or_default() += if hears { chunks.len() } else { 0 };
            hears
        }
    }

    #[tokio::test]
    async fn condemned_chunks_are_deleted_by_every_member_and_then_forgotten() {
        let host = Fake::new(3_000);
        CollectWorker::new(host.clone(), Duration::from_secs(1)).one_round().await;
        let state = host.0.lock();
        assert!(state.condemned.is_empty());
        assert_eq!(state.deleted, (1..=3).map(|id| (NodeId(id), 3_000)).collect());
    }

    #[tokio::test]
    async fn a_member_that_does_not_answer_or_is_down_is_waited_for() {
        let host = Fake::new(10);
        host.0.lock().deaf.push(NodeId(2));
        let mut worker = CollectWorker::new(host.clone(), Duration::from_secs(1));
        worker.one_round().await;
        host.0.lock().map = map([true, false, true]);
        worker.one_round().await;
        {
            let mut state = host.0.lock();
            assert_eq!((state.condemned.len(), state.proposed.len()), (10, 0));
            assert_eq!(state.deleted[&NodeId(1)], 10, "those that have acknowledged are not asked again");
            state.map = map([true; 3]);
            state.deaf.clear();
        }
        worker.one_round().await;
        assert!(host.0.lock().condemned.is_empty());
    }

    #[tokio::test]
    async fn what_was_deleted_is_forgotten_once_its_epoch_is_closed() {
        let host = Fake::new(2);
        host.0.lock().condemned = [(chunk(0), CondemnedStep::Wait), (chunk(1), CondemnedStep::Forget)].into();
        CollectWorker::new(host.clone(), Duration::from_secs(1)).one_round().await;
        let state = host.0.lock();
        assert_eq!(state.condemned.keys().copied().collect::<Vec<_>>(), [chunk(0)]);
        assert!(state.deleted.is_empty(), "no node is asked");
    }

    #[tokio::test]
    async fn nothing_is_done_while_it_is_off_or_nobody_says_that_it_is_on() {
        for options in [None, Some(GarbageOptions { on: false, ..GarbageOptions::default() })] {
            let host = Fake::new(5);
            host.0.lock().options = options;
            host.0.lock().sessions = Some((Vec::new(), SessionId(9)));
            CollectWorker::new(host.clone(), Duration::from_secs(1)).one_round().await;
            let state = host.0.lock();
            assert_eq!((state.proposed.len(), state.deleted.len(), state.condemned.len()), (0, 0, 5));
        }
    }

    #[tokio::test]
    async fn garbage_is_condemned_when_it_is_due_and_sessions_end_step_by_step() {
        let host = Fake::new(0);
        host.0.lock().status = GarbageStatus { waiting: 3, oldest: Some(Timestamp(101)), ..GarbageStatus::default() };
        host.0.lock().sessions = Some((vec![SessionId(3), SessionId(4)], SessionId(20)));
        host.0.lock().over = vec![(SessionId(1), SessionId(2))];
        let mut worker = CollectWorker::new(host.clone(), Duration::from_secs(1));
        worker.one_round().await;
        {
            let mut state = host.0.lock();
            assert_eq!(state.status.waiting, 3, "not due yet");
            let ends = [(5, 9), (10, 14), (15, 19), (20, 20)].map(|(first, last)| (SessionId(first), SessionId(last)));
            assert_eq!(state.over[1..], ends);
            state.sessions = None;
            state.status.oldest = Some(Timestamp(100));
            state.clocks_disagree = true;
            state.proposed.clear();
        }
        worker.one_round().await;
        assert!(host.0.lock().proposed.is_empty(), "it is due, and nobody knows whether by the right clock");
        host.0.lock().clocks_disagree = false;
        worker.one_round().await;
        let state = host.0.lock();
        assert_eq!(state.status.waiting, 0);
        let by = |command: &Command| matches!(command, Command::CollectGarbage { now: NOW, .. });
        assert!(state.proposed.iter().all(by), "{:?}", state.proposed);
    }
}
