//! One replica of a group: the real raft-core and meta-core, and the shell that performs what they ask for.
//!
//! The order of steps is that of `meta-server`'s threads (`group.rs`, `writer.rs`, `applier.rs`): what is promised leaves after the flush,
//! one write after the other, the state is flushed before the log is cut.

mod proposals;
mod reads;

use crate::bug::Bug;
use crate::disk::{Crash, Disk, LogWrite};
use crate::marks::{Mark, Marks};
use crate::message::{Reply, Waiter};
use crate::random::Random;
use crate::rows::Rows;
use crate::script::Knobs;
use meta_core::{Applied, apply, control_query, query};
use proposals::Proposals;
use proto::control::{ControlAnswer, ControlCommand, ControlQuery, ControlReply};
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Answer, ChunkVerdict, Command, Query, Refusal};
use proto::object::NewContent;
use raft_core::{
    Effects, Entry, EntryKind, Group, GroupConfig, HardState, LEASE_MILLIS, LogStart, Members, MessageKind,
    RaftMessage, Role, StatePoint, Step, slog,
};
pub use reads::Question;
use reads::Reads;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::{ChunkId, GroupId, LogIndex, Moment, NodeId, PlacementMap, ReplicaId, Term, Timestamp, UploadId};

/// The metadata group, in which everything lies.
pub const GROUP: GroupId = GroupId(1);
/// All groups there are.
pub const GROUPS: [GroupId; 2] = [GroupId::CONTROL, GROUP];
/// Ticks a follower may take to fetch a snapshot.
const SNAPSHOT_TICKS: u64 = 50;

/// An entry that was applied.
pub struct AppliedEntry {
    /// The entry.
    pub entry: Entry,
    /// What its commands came to.
    pub results: Vec<Applied>,
    /// The rows after it.
    pub fingerprint: u64,
    /// The placement map after it, if it may have changed it.
    pub map: Option<Arc<PlacementMap>>,
}

/// What came out of a turn.
#[derive(Default)]
pub struct Turn {
    /// Raft messages to send.
    pub messages: Vec<RaftMessage>,
    /// Answers.
    pub replies: Vec<(Waiter, Reply)>,
    /// Writes handed to the disk; each is flushed later.
    pub writes: usize,
    /// Entries applied.
    pub applied: Vec<AppliedEntry>,
    /// Rare branches.
    pub marks: Marks,
}

/// Effects on their way to the log.
#[derive(Default)]
struct Flight {
    writes: usize,
    /// The newest effects that had nothing to write and came behind some that have.
    skipped: u64,
    /// The commit index has moved and was not written.
    commit_unwritten: bool,
}

/// A replica that runs.
pub struct Replica {
    of: GroupId,
    node: NodeId,
    group: Group,
    bug: Option<Bug>,
    knobs: Knobs,
    hard_state: HardState,
    state: Rows,
    applied: LogStart,
    /// The log is cut here at the next flush of the state.
    mark: LogStart,
    /// Who belongs to the group as of what is applied.
    members: Members,
    proposed: LogIndex,
    durable: LogIndex,
    led: bool,
    proposals: Proposals,
    reads: Reads,
    flight: Flight,
    fetched: Option<Rows>,
    awaiting: BTreeMap<ReplicaId, u64>,
    ticks: u64,
    /// When it last did anything, by its node's steady clock.
    now: Moment,
    /// Until when it reads without asking.
    lease: Option<Moment>,
    /// Somebody has read by that since it was last asked whether to renew it.
    lease_used: bool,
    in_parts: BTreeMap<ChunkId, UploadId>,
    /// The placement map as the control group has it here.
    map: Option<Arc<PlacementMap>>,
}

/// What a replica starts with.
pub struct Start {
    /// Its group.
    pub of: GroupId,
    /// Its node.
    pub node: NodeId,
    /// Seed of its timeouts.
    pub seed: u64,
    /// When, by the node's steady clock.
    pub now: Moment,
    /// Whether promises may have been forgotten.
    pub distrust: bool,
    /// A planted mistake.
    pub bug: Option<Bug>,
    /// Sizes and limits.
    pub knobs: Knobs,
}

impl Replica {
    /// Recovers a replica from its disk. One that was just taken in knows nobody, and waits for its first snapshot.
    #[must_use]
    pub fn start(start: &Start, disk: &Disk) -> Replica {
        let durable = disk.durable();
        let own = durable.replica.expect("a replica is here");
        let members = durable.members.clone();
        let last = durable.last();
        let mut hard_state = durable.hard_state;
        hard_state.commit = hard_state.commit.min(last.index).max(durable.applied.index);
        let config = GroupConfig {
            replica: own,
            members: members.clone(),
            hard_state,
            start: durable.start,
            last,
            applied: durable.applied,
            reader: disk.reader(),
            seed: start.seed,
            now: start.now,
            quarantine: start.distrust.then_some(LogIndex(0)),
            logger: slog::Logger::root(slog::Discard, slog::o!()),
        };
        let group = Group::new(config).unwrap_or_else(|error| panic!("{} cannot start: {error}", start.node));
        Replica {
            of: start.of,
            node: start.node,
            group,
            bug: start.bug,
            knobs: start.knobs,
            hard_state,
            state: durable.state.clone(),
            applied: durable.applied,
            mark: durable.applied,
            members,
            proposed: last.index,
            durable: last.index,
            led: false,
            proposals: Proposals::default(),
            reads: Reads::default(),
            flight: Flight::default(),
            fetched: None,
            awaiting: BTreeMap::new(),
            ticks: 0,
            now: start.now,
            lease: None,
            lease_used: false,
            in_parts: BTreeMap::new(),
            map: if start.of == GroupId::CONTROL { map_in(&durable.state) } else { None },
        }
    }

    /// The rows and the entry they are at.
    #[must_use]
    pub fn state(&self) -> (&Rows, LogStart) {
        (&self.state, self.applied)
    }

    /// Which replica of its group it is.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.group.replica()
    }

    /// Who belongs to the group as of what is applied here.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Takes the next step towards the wanted voters, if it leads.
    pub fn change_members(&mut self, wanted: &[NodeId], marks: &mut Marks) {
        if !self.led {
            return;
        }
        match self.group.next_step(wanted) {
            Step::Settled | Step::Wait => {}
            Step::AddLearner(node) => {
                if self.group.add_learner(node).is_ok() {
                    marks.hit(Mark::LearnerAdded);
                }
            }
            Step::Change(change) => drop(self.group.propose_change(&change)),
            Step::HandOver(heir) => {
                if self.group.transfer_leader(heir) {
                    marks.hit(Mark::HandedOver);
                }
            }
        }
    }

    /// The term it leads, if it does.
    #[must_use]
    pub fn leads(&self) -> Option<Term> {
        let view = self.group.view();
        (view.role == Role::Leader).then_some(view.term)
    }

    /// Whether all that was committed before its term is applied here, as far as it leads.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.leads() == Some(self.applied.term)
    }

    /// The placement map, as far as this replica of the control group has applied it.
    #[must_use]
    pub fn map(&self) -> Option<&Arc<PlacementMap>> {
        self.map.as_ref()
    }

    /// Whether it does not vote, since it may have forgotten promises.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.group.is_quarantined()
    }

    /// Where it stands in Raft, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{:?}, quarantined {}", self.group.view(), self.group.is_quarantined())
    }

    /// Leaves the disk as a crash would. `true` if the disk had promised more than there is.
    pub fn crash(&self, crash: Crash, disk: &mut Disk, random: &mut Random) -> bool {
        disk.crash(crash, (&self.state, self.applied, &self.members), self.bug, random)
    }

    /// Time has passed here.
    pub fn tick(&mut self, now: Moment) {
        self.now = now;
        self.group.tick(now);
        self.ticks += 1;
        let half_over = self.lease.is_some_and(|until| now + LEASE_MILLIS / 2 >= until);
        if half_over && std::mem::take(&mut self.lease_used) {
            self.reads.renew();
        }
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
    pub fn step(&mut self, message: RaftMessage, now: Moment) -> Option<RaftMessage> {
        self.now = now;
        if message.kind == MessageKind::Snapshot {
            return Some(message);
        }
        self.group.step(message, now);
        None
    }

    /// The state that a snapshot message named was fetched; it holds what `point` says.
    pub fn step_snapshot(&mut self, message: RaftMessage, state: Rows, point: StatePoint) {
        self.fetched = Some(state);
        self.group.step_snapshot(message, point);
    }

    /// What a snapshot of it is, now.
    #[must_use]
    pub fn snapshot(&self) -> (Rows, StatePoint) {
        (self.state.clone(), StatePoint { at: self.applied, members: self.members.clone() })
    }

    /// Takes a command; an answer at once means that it was not taken.
    #[must_use]
    pub fn command(&mut self, waiter: Waiter, command: LogCommand) -> Option<Reply> {
        if !self.led {
            return Some(self.not_leader());
        }
        self.proposals.push(waiter, command);
        None
    }

    /// Takes a query; an answer at once means that it was not taken, or that a quorum need not be asked.
    #[must_use]
    pub fn query(&mut self, waiter: Waiter, wanted: Question, now: Moment) -> Option<Reply> {
        self.now = now;
        if !self.led {
            return Some(self.not_leader());
        }
        if self.bug == Some(Bug::ReadWithoutQuorum) {
            return Some(self.answer(&wanted));
        }
        if self.lease.is_some_and(|until| now < until) && self.is_current() {
            self.lease_used = true;
            return Some(self.answer(&wanted));
        }
        self.reads.push(waiter, wanted, self.ticks);
        None
    }

    /// Whether it votes and knows a leader: what it has applied is as new as can be had without asking.
    #[must_use]
    pub fn votes_under_a_leader(&self) -> bool {
        let view = self.group.view();
        view.role != Role::Learner && view.leader.is_some()
    }

    /// Whom it takes for the leader.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.group.view().leader
    }

    fn not_leader(&self) -> Reply {
        Reply::NotLeader(self.group.view().leader.filter(|leader| *leader != self.node))
    }

    fn answer(&self, wanted: &Question) -> Reply {
        match wanted {
            Question::Meta(wanted) => Reply::Answer(self.applied.index, Box::new(self.ask(wanted))),
            Question::Control(wanted) => Reply::Control(ControlReply::Answer(self.ask_control(wanted))),
            Question::Members => Reply::Members(self.members.all().collect()),
        }
    }

    /// What this replica of the control group has applied says to a query.
    #[must_use]
    pub fn ask_control(&self, wanted: &ControlQuery) -> ControlAnswer {
        control_query(&self.state, wanted).expect("a store in memory")
    }

    /// What this replica has applied says to a query.
    ///
    /// # Errors
    /// The query is refused.
    pub fn ask(&self, wanted: &Query) -> Result<Answer, Refusal> {
        let mut answer = query(&self.state, self.of, wanted).expect("a store in memory");
        if let (Ok(Answer::Judged(verdicts)), Query::JudgeChunks { chunks }) = (&mut answer, wanted) {
            for (verdict, chunk) in verdicts.iter_mut().zip(chunks) {
                let wrong = match self.bug {
                    Some(Bug::UploadsOverlooked) => self.in_parts.contains_key(chunk),
                    Some(Bug::UnknownIsGarbage) => *verdict == ChunkVerdict::Open,
                    _ => false,
                };
                if wrong {
                    *verdict = ChunkVerdict::Garbage;
                }
            }
        }
        answer
    }

    /// Which chunks are those of uploads in progress, for the mistake that overlooks them.
    fn note_parts(&mut self, command: &Command) {
        match command {
            Command::PutPart { upload, content: NewContent::Chunks(extents), .. } => {
                self.in_parts.extend(extents.iter().map(|new| (new.extent.chunk.id, *upload)));
            }
            Command::CompleteUpload { upload, .. } | Command::AbortUpload { upload, .. } => {
                self.in_parts.retain(|_, of| of != upload);
            }
            _ => {}
        }
    }

    /// The oldest write is flushed.
    pub fn flushed(&mut self, write: LogWrite, turn: &mut Turn) {
        self.flight.writes -= 1;
        let skipped = if self.flight.writes == 0 { self.flight.skipped } else { 0 };
        let last = write.install.map(|(_, point)| point.at.index).or(write.entries.last().map(|entry| entry.index));
        self.group.persisted(write.number.max(skipped), last);
        self.durable = last.unwrap_or(self.durable);
        turn.messages.extend(write.send_after);
    }

    /// Moves commands and queries into Raft and performs what it asks for. `time` is the wall clock of the node.
    pub fn perform(&mut self, time: Timestamp, lies: bool, disk: &mut Disk, turn: &mut Turn) {
        self.group.applied(self.applied);
        self.feed(time, turn);
        while self.group.has_ready() {
            let effects = self.group.ready();
            self.publish_lease();
            self.notice_role(turn);
            self.perform_one(effects, disk, turn);
        }
        self.notice_role(turn);
        for (waiter, wanted) in self.reads.due(self.applied.index) {
            turn.replies.push((waiter, self.answer(&wanted)));
        }
        if self.applied.index.0 >= self.mark.index.0 + self.knobs.log_entries {
            disk.sync_state((&self.state, self.applied, &self.members), self.mark, lies);
            if disk.durable().start == self.mark && self.mark.index > self.group.view().start {
                self.group.truncated(self.mark);
                turn.marks.hit(Mark::LogCut);
            }
            self.mark = self.applied;
        }
    }

    /// Before anything leaves that may end it.
    fn publish_lease(&mut self) {
        let longer = if self.bug == Some(Bug::LeaseTooLong) { 3000 } else { 0 };
        self.lease = self.group.lease().map(|until| until + longer);
    }

    fn feed(&mut self, time: Timestamp, turn: &mut Turn) {
        while self.led && self.proposed.0 < self.durable.0 + self.knobs.undurable_entries {
            let Some((batch, waiters)) = self.proposals.next_batch(time, self.knobs.batch_commands) else { break };
            if waiters.len() > 1 {
                turn.marks.hit(Mark::ManyCommandsInEntry);
            }
            match self.group.propose(batch) {
                Ok(at) => {
                    self.proposed = at.index;
                    self.proposals.proposed(at, waiters);
                }
                Err(_) => turn.replies.extend(waiters.into_iter().map(|waiter| (waiter, Reply::NotLeader(None)))),
            }
        }
        if self.led {
            let lost = self.reads.begin(&mut self.group, self.ticks, self.now);
            turn.replies.extend(lost.into_iter().map(|waiter| (waiter, Reply::NotLeader(None))));
        }
    }

    /// Whoever waits is told when leadership has moved.
    fn notice_role(&mut self, turn: &mut Turn) {
        let view = self.group.view();
        let leads = view.role == Role::Leader;
        if self.led && !leads {
            let reply = self.not_leader();
            let (in_log, queued) = self.proposals.lost_leadership();
            if !in_log.is_empty() {
                turn.marks.hit(Mark::LeaderChangedInFlight);
            }
            turn.replies.extend(in_log.into_iter().map(|waiter| (waiter, Reply::Unknown)));
            let unsent = queued.into_iter().chain(self.reads.lost_leadership());
            turn.replies.extend(unsent.map(|waiter| (waiter, reply.clone())));
        }
        if leads && !self.led {
            self.proposed = view.last;
            self.durable = self.durable.min(view.last);
        }
        self.led = leads;
    }

    fn perform_one(&mut self, effects: Effects, disk: &mut Disk, turn: &mut Turn) {
        assert!(effects.not_understood.is_none(), "a change of members cannot be decoded");
        turn.messages.extend(effects.send_now);
        self.hard_state = effects.hard_state.unwrap_or(self.hard_state);
        for (context, index) in effects.reads {
            self.reads.confirmed(context, index);
        }
        let install = effects.snapshot.and_then(|point| {
            let state = self.fetched.take()?;
            self.state = state.clone();
            if self.of == GroupId::CONTROL {
                self.map = map_in(&state);
            }
            (self.applied, self.mark, self.durable) = (point.at, point.at, point.at.index);
            self.members = point.members.clone();
            turn.marks.hit(Mark::SnapshotInstalled);
            Some((state, point))
        });
        let mut send_after = effects.send_after_persist;
        if self.bug == Some(Bug::PromiseBeforeFlush) {
            turn.messages.append(&mut send_after);
        }
        let nothing_to_write = effects.entries.is_empty() && !effects.must_sync && install.is_none();
        self.flight.commit_unwritten |= effects.hard_state.is_some();
        if nothing_to_write && self.flight.writes == 0 {
            turn.messages.extend(send_after);
            self.group.persisted(effects.number, None);
        } else if nothing_to_write && send_after.is_empty() {
            self.flight.skipped = effects.number;
        } else {
            self.flight.writes += 1;
            turn.writes += 1;
            // A commit index need not be durable, so it waits for a write that is made anyway.
            let hard_state =
                (!nothing_to_write && std::mem::take(&mut self.flight.commit_unwritten)).then_some(self.hard_state);
            let (number, entries) = (effects.number, effects.entries);
            disk.write(LogWrite { number, entries, hard_state, install, send_after }, self.bug);
        }
        for entry in effects.committed {
            self.apply(entry, turn);
        }
        self.members = effects.members.unwrap_or_else(|| std::mem::take(&mut self.members));
        self.group.applied(self.applied);
    }

    fn apply(&mut self, entry: Entry, turn: &mut Turn) {
        let mut map = None;
        let results = if entry.data.is_empty() || entry.kind == EntryKind::ConfChange {
            Vec::new()
        } else {
            let batch: LogBatch = proto::decode(&entry.data).expect("it was encoded here");
            if self.bug == Some(Bug::UploadsOverlooked) {
                for command in &batch.commands {
                    if let LogCommand::Meta(_, command) = command {
                        self.note_parts(command);
                    }
                }
            }
            let results = apply(&mut self.state, self.of, &batch).expect("a store in memory");
            if batch.commands.iter().any(changes_map) {
                self.map = map_in(&self.state);
                map = self.map.clone();
            }
            results
        };
        self.applied = LogStart { index: entry.index, term: entry.term };
        let (own, waiters) = self.proposals.committed(self.applied);
        for (waiter, result) in waiters.into_iter().zip(results.iter().map(Some).chain(std::iter::repeat(None))) {
            let reply = match result {
                Some(Applied::Meta(result)) if own => Reply::Applied(entry.index, result.clone()),
                Some(Applied::Control(result)) if own => Reply::Control(ControlReply::Applied(result.clone())),
                _ => Reply::Unknown,
            };
            turn.replies.push((waiter, reply));
        }
        turn.applied.push(AppliedEntry { entry, results, fingerprint: self.state.fingerprint(), map });
    }
}

/// The placement map in the rows of the control group.
fn map_in(rows: &Rows) -> Option<Arc<PlacementMap>> {
    match control_query(rows, &ControlQuery::Map).expect("a store in memory") {
        ControlAnswer::Map(map) => map.map(|map| Arc::new(*map)),
        _ => None,
    }
}

/// Whether a command may change the placement map. Most of the control group's do not: they are about sessions.
fn changes_map(command: &LogCommand) -> bool {
    use ControlCommand as C;
    match command {
        LogCommand::Control(command) => !matches!(
            command,
            C::OpenSession { .. }
                | C::RenewSession { .. }
                | C::EndSession { .. }
                | C::ExpireSession { .. }
                | C::SetGarbage { .. }
        ),
        LogCommand::Recover(_) => true,
        LogCommand::Meta(..) => false,
    }
}
