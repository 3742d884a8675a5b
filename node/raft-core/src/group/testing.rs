//! Replicas in one thread: logs in memory, messages in a queue, everything from one seed.

use super::*;
use crate::entry::{EntryKind, LogReadError};
use crate::membership::{Change, Members, Step};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

/// For what does not depend on time.
pub(super) const NOW: Moment = Moment(0);
/// For a replica that has heard nobody for long.
pub(super) const LATE: Moment = Moment(1 << 40);

#[derive(Default)]
pub(super) struct MemoryLog(pub(super) Mutex<BTreeMap<u64, Entry>>);

impl LogReader for MemoryLog {
    fn entries(&self, from: LogIndex, to: LogIndex, _bytes_max: u64) -> Result<Vec<Entry>, LogReadError> {
        Ok(self.0.lock().expect("not poisoned").range(from.0..to.0).map(|(_, entry)| entry.clone()).collect())
    }
}

/// What a state machine holds.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) entries: Vec<Entry>,
    pub(super) at: LogStart,
    pub(super) members: Members,
}

pub(super) struct Replica {
    pub(super) group: Group,
    pub(super) log: Arc<MemoryLog>,
    pub(super) start: LogStart,
    pub(super) hard_state: HardState,
    pub(super) state: State,
    pub(super) reads: Vec<(u64, LogIndex)>,
    pub(super) up: bool,
    /// Its state machine stands still: committed entries gather here.
    pub(super) stalled: Option<Vec<Effects>>,
    fetched: Option<State>,
}

pub(super) struct Net {
    pub(super) replicas: BTreeMap<NodeId, Replica>,
    pub(super) queue: VecDeque<RaftMessage>,
    pub(super) trace: Vec<String>,
    pub(super) cut: BTreeSet<NodeId>,
    /// Nodes that cannot fetch a snapshot.
    pub(super) unfetching: BTreeSet<NodeId>,
    /// Nodes that never end a fetch.
    pub(super) losing: BTreeSet<NodeId>,
    pub(super) seed: u64,
    /// A tick is 100 ms, the same for all.
    pub(super) now: Moment,
    /// Who led each term.
    leaders: BTreeMap<Term, NodeId>,
}

pub(super) fn config(replica: ReplicaId, log: &Arc<MemoryLog>, hard_state: HardState, seed: u64) -> GroupConfig {
    let last = log
        .0
        .lock()
        .expect("not poisoned")
        .values()
        .last()
        .map_or(LogStart::default(), |e| LogStart { index: e.index, term: e.term });
    GroupConfig {
        replica,
        members: Members::founding([1, 2, 3].map(NodeId)),
        hard_state,
        start: LogStart::default(),
        last,
        applied: LogStart::default(),
        reader: log.clone(),
        seed: seed ^ replica.0,
        quarantine: None,
        now: NOW,
        logger: slog::Logger::root(slog::Discard, slog::o!()),
    }
}

impl Group {
    /// As if it had been started with [`GroupConfig::quarantine`].
    pub(super) fn distrust(&mut self, watermark: LogIndex) {
        self.quarantine = Some(Quarantine::new(self.replica(), self.point(), watermark));
    }
}

impl Replica {
    fn new(replica: ReplicaId, members: Members, seed: u64) -> Self {
        let log = Arc::new(MemoryLog::default());
        let mut config = config(replica, &log, HardState::default(), seed);
        config.members.clone_from(&members);
        Replica {
            group: Group::new(config).expect("it starts"),
            log,
            start: LogStart::default(),
            hard_state: HardState::default(),
            state: State { members, ..State::default() },
            reads: vec![],
            up: true,
            stalled: None,
            fetched: None,
        }
    }

    fn apply(&mut self, effects: Effects) {
        if let Some(last) = effects.committed.last() {
            self.state.at = LogStart { index: last.index, term: last.term };
        }
        self.state.entries.extend(effects.committed);
        self.state.members = effects.members.unwrap_or_else(|| std::mem::take(&mut self.state.members));
        self.group.applied(self.state.at);
    }

    fn perform(&mut self, mut effects: Effects, queue: &mut VecDeque<RaftMessage>) {
        queue.extend(std::mem::take(&mut effects.send_now));
        let mut log = self.log.0.lock().expect("not poisoned");
        if let Some(point) = &effects.snapshot {
            log.clear();
            self.start = point.at;
            self.state = self.fetched.take().expect("it was fetched");
            assert_eq!((&self.state.members, self.state.at), (&point.members, point.at));
        }
        if let Some(first) = effects.entries.first() {
            log.split_off(&first.index.0);
        }
        log.extend(effects.entries.iter().map(|entry| (entry.index.0, entry.clone())));
        drop(log);
        self.hard_state = effects.hard_state.unwrap_or(self.hard_state);
        let installed = effects.snapshot.as_ref().map(|point| point.at.index);
        self.group.persisted(effects.number, effects.entries.last().map(|entry| entry.index).or(installed));
        queue.extend(std::mem::take(&mut effects.send_after_persist));
        self.reads.append(&mut effects.reads);
        match &mut self.stalled {
            Some(waiting) => waiting.push(effects),
            None => self.apply(effects),
        }
    }

    pub(super) fn resume(&mut self) {
        for effects in self.stalled.take().into_iter().flatten() {
            self.apply(effects);
        }
    }
}

impl Net {
    pub(super) fn new(seed: u64) -> Self {
        Net::of(3, seed)
    }

    /// A group that begins with `voters` voters.
    pub(super) fn of(voters: u64, seed: u64) -> Self {
        let members = Members::founding((1..=voters).map(NodeId));
        let replicas = (1..=voters).map(NodeId);
        let replicas =
            replicas.map(|node| (node, Replica::new(ReplicaId::founding(node), members.clone(), seed))).collect();
        Net {
            replicas,
            queue: VecDeque::new(),
            trace: vec![],
            cut: BTreeSet::new(),
            unfetching: BTreeSet::new(),
            losing: BTreeSet::new(),
            seed,
            now: NOW,
            leaders: BTreeMap::new(),
        }
    }

    pub(super) fn of_node(&mut self, node: u64) -> &mut Replica {
        self.replicas.get_mut(&NodeId(node)).expect("a replica")
    }

    pub(super) fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for (node, replica) in self.replicas.iter_mut().filter(|(_, replica)| replica.up) {
                while replica.group.has_ready() {
                    quiet = false;
                    let effects = replica.group.ready();
                    assert_eq!(effects.not_understood, None);
                    replica.perform(effects, &mut self.queue);
                }
                let view = replica.group.view();
                if view.role == Role::Leader {
                    let first = *self.leaders.entry(view.term).or_insert(*node);
                    assert_eq!(first, *node, "two leaders in {}, seed {}", view.term, self.seed);
                }
            }
            while let Some(message) = self.queue.pop_front() {
                quiet = false;
                self.trace.push(format!("{message:?}"));
                let message = RaftMessage::decode(&message.encode()).expect("own bytes");
                if !self.cut.contains(&message.from.node()) && !self.cut.contains(&message.to.node()) {
                    self.deliver(message);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn deliver(&mut self, message: RaftMessage) {
        let (from, to) = (message.from.node(), message.to);
        let new = self.replicas.get(&to.node()).is_none_or(|held| held.group.replica().life() < to.life());
        if new {
            // As the driver does: a message to a replica that this node does not know makes it.
            self.replicas.insert(to.node(), Replica::new(to, Members::default(), self.seed));
        }
        let unfetching = self.unfetching.contains(&to.node());
        let state = self.replicas.get(&from).map(|sender| sender.state.clone());
        let replica = self.replicas.get_mut(&to.node()).expect("just seen or made");
        if !replica.up {
            return;
        }
        if message.kind != MessageKind::Snapshot {
            replica.group.step(message, self.now);
        } else if unfetching {
            let failed = replica.group.not_fetched(&message);
            self.queue.push_back(failed);
        } else if let Some(state) = state.filter(|_| !self.losing.contains(&to.node())) {
            let point = StatePoint { at: state.at, members: state.members.clone() };
            replica.fetched = Some(state);
            replica.group.step_snapshot(message, point);
        }
    }

    pub(super) fn tick(&mut self) {
        self.now = self.now + 100;
        let now = self.now;
        self.replicas.values_mut().filter(|replica| replica.up).for_each(|replica| replica.group.tick(now));
        self.settle();
    }

    pub(super) fn leader(&self) -> Option<NodeId> {
        let leads = |replica: &Replica| replica.up && replica.group.view().role == Role::Leader;
        let leaders = self.replicas.iter().filter(|(_, replica)| leads(replica));
        leaders.max_by_key(|(_, replica)| replica.group.view().term).map(|(node, _)| *node)
    }

    pub(super) fn tick_until_leader(&mut self) -> NodeId {
        for _ in 0..200 {
            self.tick();
            if let Some(node) = self.leader() {
                return node;
            }
        }
        panic!("no leader within 20 s of ticks, seed {}", self.seed);
    }

    pub(super) fn propose(&mut self, leader: NodeId, data: &[u8]) {
        self.of_node(leader.0).group.propose(data.to_vec()).expect("it leads");
        self.settle();
    }

    pub(super) fn restart(&mut self, node: NodeId) {
        self.start(node, self.replicas[&node].group.replica());
    }

    fn start(&mut self, node: NodeId, name: ReplicaId) {
        let seed = self.seed;
        let replica = self.replicas.get_mut(&node).expect("a replica");
        let mut config = config(name, &replica.log, replica.hard_state, seed);
        config.start = replica.start;
        config.last = if config.last == LogStart::default() { replica.start } else { config.last };
        config.applied = replica.state.at;
        config.members.clone_from(&replica.state.members);
        config.now = self.now;
        replica.group = Group::new(config).expect("it starts");
        replica.stalled = None;
        replica.up = true;
    }

    /// What `sago recover` does to the log of a replica that is stopped; then it starts. Returns its new name.
    pub(super) fn recover(&mut self, node: NodeId) -> ReplicaId {
        let replica = self.replicas.get_mut(&node).expect("a replica");
        let mut log = replica.log.0.lock().expect("not poisoned");
        let last = log.values().last().map_or(replica.start, |entry| LogStart { index: entry.index, term: entry.term });
        let term = Term(last.term.max(replica.hard_state.term).0 + 1);
        let name = ReplicaId::new(node, LogIndex(last.index.0 + 1));
        let entries = [(EntryKind::ConfChange, Change::Only(name).encode()), (EntryKind::Normal, b"moves on".to_vec())];
        for (index, (kind, data)) in (last.index.0 + 1..).zip(entries) {
            log.insert(index, Entry { term, index: LogIndex(index), kind, data: data.into() });
        }
        drop(log);
        replica.hard_state = HardState { term, vote: ReplicaId(0), commit: LogIndex(last.index.0 + 2) };
        self.start(node, name);
        name
    }

    /// Has whoever leads take the next step towards `wanted` after each tick, until the members are as wanted. The steps are returned.
    pub(super) fn change_to(&mut self, wanted: &[u64]) -> Vec<Step> {
        let wanted: Vec<_> = wanted.iter().copied().map(NodeId).collect();
        let mut steps = Vec::new();
        for _ in 0..400 {
            self.tick();
            match self.step_towards(&wanted) {
                Some(Step::Settled) => return steps,
                Some(Step::Wait) | None => {}
                Some(step) => steps.push(step),
            }
        }
        panic!("not settled, seed {}: {steps:?}", self.seed);
    }

    pub(super) fn step_towards(&mut self, wanted: &[NodeId]) -> Option<Step> {
        let leader = self.leader()?;
        let group = &mut self.of_node(leader.0).group;
        let step = group.next_step(wanted);
        match &step {
            Step::AddLearner(node) => {
                group.add_learner(*node).expect("the step is allowed");
            }
            Step::Change(change) => {
                group.propose_change(change).expect("the step is allowed");
            }
            Step::HandOver(heir) => assert!(group.transfer_leader(*heir)),
            Step::Settled | Step::Wait => {}
        }
        self.settle();
        Some(step)
    }

    pub(super) fn voters(&self) -> Vec<NodeId> {
        let leader = self.leader().expect("somebody leads");
        let mut nodes: Vec<_> =
            self.replicas[&leader].group.members().voters.iter().map(|voter| voter.node()).collect();
        nodes.sort_unstable();
        nodes
    }

    /// Proposes without any of the rules, as a leader of another program might.
    pub(super) fn force(&mut self, leader: NodeId, change: &Change) {
        let raw = &mut self.of_node(leader.0).group.raw;
        let coded = change.to_raft().expect("a change that is proposed");
        raw.propose_conf_change(change.encode(), coded).expect("it leads");
        self.settle();
    }
}
