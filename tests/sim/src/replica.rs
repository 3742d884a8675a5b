//! One replica of the metadata group: the real raft-core and meta-core, and the shell that performs what they ask for.

use crate::client::ClientId;
use crate::disk::{Crash, Disk, LogWrite};
use crate::event::{Millis, Reply};
use crate::random::Random;
use meta_core::memory::MemoryKv;
use meta_core::{Applied, apply, query};
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Command, Query};
use raft_core::{
    Effects, Entry, Group, GroupConfig, HardState, LogStart, Members, MessageKind, Quarantine, RaftMessage, Role,
    SnapshotPoint, slog,
};
use std::collections::BTreeMap;
use types::{GroupId, LogIndex, NodeId, ReplicaId, RequestId, Term, Timestamp};

/// The group everything lies in.
pub const GROUP: GroupId = GroupId(1);
/// Entries after which the state is flushed and the log cut.
const LOG_ENTRIES: u64 = 48;
/// Ticks a follower may take to fetch a snapshot.
const SNAPSHOT_TICKS: u64 = 50;

/// Mistakes that can be planted, to see that they are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Raft's promises are sent before the log is flushed.
    PromiseBeforeFlush,
    /// A leader answers queries without asking whether it still leads.
    ReadWithoutQuorum,
    /// A writer is content with one durable copy and says that it has three.
    OneCopyIsEnough,
    /// A reader believes what a replica sends.
    BelieveReplicas,
    /// A client that had no answer sends its command again as a new one.
    RetryUnderAnotherNumber,
}

/// Who waits for an answer.
type Waiter = (ClientId, u64);

/// What came out of a turn.
#[derive(Default)]
pub struct Turn {
    /// Raft messages to send.
    pub messages: Vec<RaftMessage>,
    /// Answers to clients.
    pub replies: Vec<(Waiter, Reply)>,
    /// Writes handed to the disk; each is flushed later.
    pub writes: usize,
    /// Entries applied, with their results.
    pub applied: Vec<(Entry, Vec<Applied>)>,
}

/// A replica that runs.
pub struct Replica {
    node: NodeId,
    group: Group,
    bug: Option<Bug>,
    hard_state: HardState,
    state: MemoryKv,
    applied: LogStart,
    /// The log is cut here at the next flush of the state.
    mark: LogStart,
    proposed: BTreeMap<LogIndex, (Term, Waiter)>,
    /// Queries by the context of their round.
    asked: BTreeMap<u64, (Waiter, Query)>,
    contexts: u64,
    /// Queries that wait for an entry to be applied.
    confirmed: Vec<(LogIndex, Waiter, Query)>,
    fetched: Option<MemoryKv>,
    awaiting: BTreeMap<ReplicaId, u64>,
    ticks: u64,
}

/// What a replica starts with.
pub struct Start<'a> {
    /// Its node.
    pub node: NodeId,
    /// All voters.
    pub voters: &'a [NodeId],
    /// Seed of its timeouts.
    pub seed: u64,
    /// Whether promises may have been forgotten.
    pub distrust: bool,
    /// A planted mistake.
    pub bug: Option<Bug>,
}

impl Replica {
    /// Recovers a replica from its disk.
    #[must_use]
    pub fn start(start: &Start<'_>, disk: &Disk) -> Replica {
        let durable = disk.durable();
        let own = ReplicaId::founding(start.node);
        let members = Members::founding(start.voters.iter().copied());
        let others: Vec<_> = members.other_voters(own).collect();
        let last = durable.last();
        let mut hard_state = durable.hard_state;
        hard_state.commit = hard_state.commit.min(last.index).max(durable.applied.index);
        let config = GroupConfig {
            replica: own,
            members,
            hard_state,
            start: durable.start,
            last,
            applied: durable.applied,
            reader: disk.reader(),
            seed: start.seed,
            quarantine: start.distrust.then(|| Quarantine::new(others, LogIndex(0))),
            logger: slog::Logger::root(slog::Discard, slog::o!()),
        };
        let group = Group::new(config).unwrap_or_else(|error| panic!("{} cannot start: {error}", start.node));
        Replica {
            node: start.node,
            group,
            bug: start.bug,
            hard_state,
            state: durable.state.clone(),
            applied: durable.applied,
            mark: durable.applied,
            proposed: BTreeMap::new(),
            asked: BTreeMap::new(),
            contexts: 0,
            confirmed: Vec::new(),
            fetched: None,
            awaiting: BTreeMap::new(),
            ticks: 0,
        }
    }

    /// The rows and the entry they are at.
    #[must_use]
    pub fn state(&self) -> (&MemoryKv, LogStart) {
        (&self.state, self.applied)
    }

    /// The term it leads, if it does.
    #[must_use]
    pub fn leads(&self) -> Option<Term> {
        let view = self.group.view();
        (view.role == Role::Leader).then_some(view.term)
    }

    /// Where it stands in Raft, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{:?}, quarantined {}", self.group.view(), self.group.is_quarantined())
    }

    /// Leaves the disk as a crash would.
    pub fn crash(&self, crash: Crash, disk: &mut Disk, random: &mut Random) {
        disk.crash(crash, self.state(), random);
    }

    /// A tenth of a second has passed here.
    pub fn tick(&mut self) {
        self.group.tick();
        self.ticks += 1;
        let awaited = self.group.awaiting_snapshot();
        self.awaiting.retain(|node, _| awaited.contains(node));
        for node in awaited {
            let since = *self.awaiting.entry(node).or_insert(self.ticks);
            if self.ticks - since > SNAPSHOT_TICKS {
                self.awaiting.remove(&node);
                self.group.snapshot_failed(node);
            }
        }
    }

    /// Takes a message. One that names a snapshot is handed back: its state has to be fetched first.
    #[must_use]
    pub fn step(&mut self, message: RaftMessage) -> Option<RaftMessage> {
        if message.kind == MessageKind::Snapshot {
            return Some(message);
        }
        self.group.step(message);
        None
    }

    /// The state that a snapshot message named was fetched.
    pub fn step_snapshot(&mut self, message: RaftMessage, state: MemoryKv, at: LogStart) {
        // The members never change here.
        let Some(members) = message.snapshot.as_ref().map(|point| point.members.clone()) else { return };
        self.fetched = Some(state);
        self.group.step_snapshot(message, SnapshotPoint { at, members });
    }

    /// Takes a command; an answer at once means that it was not taken.
    #[must_use]
    pub fn command(&mut self, now: Millis, waiter: Waiter, id: RequestId, command: Command) -> Option<Reply> {
        let batch =
            LogBatch { time: Timestamp(now as i64 * 1_000_000), commands: vec![LogCommand::Meta(Some(id), command)] };
        match self.group.propose(proto::encode(&batch)) {
            Ok(at) => {
                self.proposed.insert(at.index, (at.term, waiter));
                None
            }
            Err(_) => Some(self.not_leader()),
        }
    }

    /// Takes a query; an answer at once means that it was not taken.
    #[must_use]
    pub fn query(&mut self, waiter: Waiter, wanted: Query) -> Option<Reply> {
        if self.bug == Some(Bug::ReadWithoutQuorum) && self.leads().is_some() {
            return Some(self.answer(&wanted));
        }
        self.contexts += 1;
        match self.group.read(self.contexts) {
            Ok(()) => {
                self.asked.insert(self.contexts, (waiter, wanted));
                None
            }
            Err(_) => Some(self.not_leader()),
        }
    }

    fn not_leader(&self) -> Reply {
        Reply::NotLeader(self.group.view().leader.filter(|leader| *leader != self.node))
    }

    fn answer(&self, wanted: &Query) -> Reply {
        Reply::Answer(Box::new(query(&self.state, GROUP, wanted).expect("a store in memory")))
    }

    /// The oldest write is flushed.
    pub fn flushed(&mut self, write: LogWrite, turn: &mut Turn) {
        self.group.persisted(write.number, write.entries.last().map(|entry| entry.index));
        turn.messages.extend(write.send_after);
    }

    /// Performs what Raft asks for.
    pub fn perform(&mut self, disk: &mut Disk, turn: &mut Turn) {
        self.group.applied(self.applied);
        while self.group.has_ready() {
            let effects = self.group.ready();
            self.perform_one(effects, disk, turn);
        }
        if self.leads().is_none() {
            let lost = std::mem::take(&mut self.proposed).into_values().map(|(_, waiter)| (waiter, Reply::Unknown));
            turn.replies.extend(lost);
            let reply = self.not_leader();
            turn.replies
                .extend(std::mem::take(&mut self.asked).into_values().map(|(waiter, _)| (waiter, reply.clone())));
        }
        self.answer_confirmed(turn);
        if self.applied.index.0 >= self.mark.index.0 + LOG_ENTRIES {
            disk.sync_state(self.state.clone(), self.applied, self.mark);
            if disk.durable().start == self.mark {
                self.group.truncated(self.mark);
            }
            self.mark = self.applied;
        }
    }

    fn perform_one(&mut self, effects: Effects, disk: &mut Disk, turn: &mut Turn) {
        turn.messages.extend(effects.send_now);
        self.hard_state = effects.hard_state.unwrap_or(self.hard_state);
        for (context, index) in effects.reads {
            if let Some((waiter, wanted)) = self.asked.remove(&context) {
                self.confirmed.push((index, waiter, wanted));
            }
        }
        let install = effects.snapshot.and_then(|point| {
            let state = self.fetched.take()?;
            self.state = state.clone();
            (self.applied, self.mark) = (point.at, point.at);
            Some((state, point.at))
        });
        let mut send_after = effects.send_after_persist;
        if self.bug == Some(Bug::PromiseBeforeFlush) {
            turn.messages.append(&mut send_after);
        }
        let (number, entries) = (effects.number, effects.entries);
        disk.write(LogWrite { number, entries, hard_state: effects.hard_state, install, send_after });
        turn.writes += 1;
        for entry in effects.committed {
            self.apply(entry, turn);
        }
        self.group.applied(self.applied);
    }

    fn apply(&mut self, entry: Entry, turn: &mut Turn) {
        let results = if entry.data.is_empty() {
            Vec::new()
        } else {
            let batch: LogBatch = proto::decode(&entry.data).expect("it was encoded here");
            apply(&mut self.state, GROUP, &batch).expect("a store in memory")
        };
        self.applied = LogStart { index: entry.index, term: entry.term };
        match self.proposed.remove(&entry.index) {
            Some((term, waiter)) if term == entry.term => {
                if let Some(Applied::Meta(result)) = results.first() {
                    turn.replies.push((waiter, Reply::Applied(result.clone())));
                }
            }
            Some((_, waiter)) => turn.replies.push((waiter, Reply::Unknown)),
            None => {}
        }
        turn.applied.push((entry, results));
    }

    fn answer_confirmed(&mut self, turn: &mut Turn) {
        let applied = self.applied.index;
        let due: Vec<_> = self.confirmed.extract_if(.., |(index, ..)| *index <= applied).collect();
        for (_, waiter, wanted) in due {
            turn.replies.push((waiter, self.answer(&wanted)));
        }
    }
}
