//! One replica of one Raft group.
//!
//! ```text
//! step / propose / read / tick -> ready() -> Effects
//!     1. send `send_now`
//!     2. make `entries` and `hard_state` durable (a snapshot first, if there is one), in the order of the Effects' numbers
//!     3. persisted(number), then send `send_after_persist`
//!     4. apply `committed`, then applied(..)
//! ```
//! Swapping 2 and 3 loses acknowledged writes and votes. The shell owns the order; this type owns none of the I/O.

mod change;
mod greetings;
mod hashes;
mod reading;
mod snapshots;
mod timeouts;

pub use change::ChangeError;

use crate::divergence::{Comparison, Verdict};
use crate::entry::{Entry, HardState, LogReader, LogStart};
use crate::lease::{Lease, VOTE_GUARD_MILLIS};
use crate::log_view::LogView;
use crate::membership::Members;
use crate::message::{MessageKind, RaftMessage, StatePoint, entry_from_raft};
use crate::quarantine::{LEADER_SILENT_TICKS, Quarantine, Release};
use raft::eraftpb as pb;
use raft::{Config, RawNode, ReadOnlyOption, StateRole};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use timeouts::{ELECTION_TICKS, Timeouts};
use types::{LogIndex, Moment, NodeId, ReplicaId, Term};

/// Ticks between heartbeats. A tick is 100 ms.
const HEARTBEAT_TICKS: usize = 2;
/// Bytes of entries in one append message.
const MESSAGE_BYTES_MAX: u64 = 512 << 10;
/// Append messages on their way to one follower. With [`MESSAGE_BYTES_MAX`] this bounds the memory of a slow one.
const MESSAGES_IN_FLIGHT_MAX: usize = 64;
/// Bytes proposed and not yet committed, beyond which proposals are refused.
const UNCOMMITTED_BYTES_MAX: u64 = 32 << 20;
/// Bytes of committed entries handed out at once.
const COMMITTED_BYTES_MAX: u64 = 4 << 20;

/// What a replica starts from.
pub struct GroupConfig {
    /// This replica.
    pub replica: ReplicaId,
    /// Everyone as of `applied`. Empty for a replica that is to be filled by a snapshot.
    pub members: Members,
    /// As recovered from the durable log.
    pub hard_state: HardState,
    /// Where the durable log begins.
    pub start: LogStart,
    /// Its last entry (equal to `start` if it is empty).
    pub last: LogStart,
    /// The last entry in the state machine's store.
    pub applied: LogStart,
    /// Older entries.
    pub reader: Arc<dyn LogReader>,
    /// Seed of the election timeouts.
    pub seed: u64,
    /// Set if this replica may have forgotten what it promised: its durable watermark, which its log has to reach before it votes. 0 if it has none.
    pub quarantine: Option<LogIndex>,
    /// When it starts.
    pub now: Moment,
    /// Where raft-rs logs to.
    pub logger: slog::Logger,
}

/// What the shell has to do, in the order of the module's head.
#[derive(Debug, Default)]
pub struct Effects {
    /// Names this set of effects in [`Group::persisted`].
    pub number: u64,
    /// May be sent before anything is durable.
    pub send_now: Vec<RaftMessage>,
    /// Must not be sent before `entries`, `hard_state` and `snapshot` are durable.
    pub send_after_persist: Vec<RaftMessage>,
    /// To be made durable.
    pub entries: Vec<Entry>,
    /// To be made durable.
    pub hard_state: Option<HardState>,
    /// Whether durable means flushed (a mere advance of the commit index need not be).
    pub must_sync: bool,
    /// The state must be replaced by the snapshot fetched for [`Group::step_snapshot`] before anything else.
    pub snapshot: Option<StatePoint>,
    /// To be applied.
    pub committed: Vec<Entry>,
    /// The members once all of `committed` is applied, if these change them: to be stored together with what they change.
    pub members: Option<Members>,
    /// An entry of `committed` changes the members in a way that this program does not know: it must stop.
    pub not_understood: Option<LogIndex>,
    /// Reads that may be answered once this much is applied.
    pub reads: Vec<(u64, LogIndex)>,
}

/// The part a replica plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Leads the group.
    Leader,
    /// Follows.
    Follower,
    /// Campaigns.
    Candidate,
    /// Has no vote, or waits for its first snapshot.
    Learner,
}

/// Why a proposal or a read was not taken; nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This replica does not lead.
    #[error("not the leader")]
    NotLeader,
    /// Too much is uncommitted, or leadership is being handed over.
    #[error("dropped")]
    Dropped,
}

/// Where the replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Its part.
    pub role: Role,
    /// Who leads, as far as it knows: itself, or who was heard to within the longest election timeout.
    pub leader: Option<NodeId>,
    /// Its term.
    pub term: Term,
    /// Committed up to here.
    pub commit: LogIndex,
    /// First entry of the log, less one.
    pub start: LogIndex,
    /// Last entry of the log.
    pub last: LogIndex,
    /// It keeps from voting, because it may have forgotten promises.
    pub quarantined: bool,
}

/// One replica of one group.
pub struct Group {
    raw: RawNode<LogView>,
    timeouts: Timeouts,
    quarantine: Option<Quarantine>,
    /// Not yet handed out by [`Group::ready`].
    greetings: Vec<RaftMessage>,
    /// A snapshot is being installed that reaches here. Until it is known to be applied, raft-rs would look for entries that
    /// were never there as soon as it campaigned, and stop.
    installing: Option<LogIndex>,
    /// Everyone, as of the newest entry handed out. Raft counts by these.
    members: Members,
    /// Members as of entries that were handed out and are not known to be applied.
    unapplied: VecDeque<(LogIndex, Members)>,
    /// The newest entry that changed the members, and when it was handed out.
    changed: (LogIndex, u64),
    ticks: u64,
    /// When the leader was last heard.
    leader_heard: u64,
    /// The newest that a caller has said.
    now: Moment,
    lease: Lease,
    /// Until then a leader may count on this replica's vote.
    guarded: Moment,
    /// Members that said so to this leader.
    unfit: BTreeSet<ReplicaId>,
    /// Hashes this leader has heard of.
    hashes: Comparison,
    /// The state here is not what the log makes it.
    diverged: bool,
    /// A leader was heard since the start, and told that nothing is being fetched any more.
    announced: bool,
    /// Not yet taken.
    verdicts: Vec<(LogIndex, Verdict)>,
}

impl Group {
    /// Makes the replica.
    ///
    /// # Errors
    /// The recovered state contradicts itself; the message says how.
    pub fn new(config: GroupConfig) -> Result<Self, StartError> {
        let raft_config = Config {
            id: config.replica.0,
            election_tick: ELECTION_TICKS.0,
            heartbeat_tick: HEARTBEAT_TICKS,
            min_election_tick: ELECTION_TICKS.0,
            max_election_tick: ELECTION_TICKS.1,
            applied: config.applied.index.0,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            batch_append: true,
            // Followers learn what is committed from the next append or heartbeat: a message each less, a turn of every
            // follower less. Nobody reads at a follower.
            skip_bcast_commit: true,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: COMMITTED_BYTES_MAX,
            ..Config::default()
        };
        let (applied, last, start) = (config.applied, config.last, config.start);
        if applied.index > last.index || applied.index < start.index {
            return Err(StartError::AppliedOutsideLog { applied: applied.index, start: start.index, last: last.index });
        }
        let known = StatePoint { at: applied, members: config.members.clone() };
        let quarantine = config.quarantine.map(|watermark| Quarantine::new(config.replica, known, watermark));
        let mut hard_state = config.hard_state;
        if hard_state.commit > last.index {
            return Err(StartError::CommitOutsideLog { commit: hard_state.commit, last: last.index });
        }
        // The commit index is not flushed by itself: what was applied had been committed.
        hard_state.commit = hard_state.commit.max(applied.index);
        // The process before this one may have heard a leader up to its end. Who was never in a term, and has forgotten none, has heard nobody.
        let is_new = hard_state.term == Term(0) && quarantine.is_none();
        let guarded = if is_new { config.now } else { config.now + VOTE_GUARD_MILLIS };
        let view = LogView::new(hard_state, config.members.clone(), start, last, applied, config.reader);
        let raw = RawNode::new(&raft_config, view, &config.logger).map_err(|e| StartError::Raft(e.to_string()))?;
        let mut group = Group {
            raw,
            timeouts: Timeouts::new(config.seed),
            quarantine,
            greetings: Vec::new(),
            installing: None,
            members: config.members,
            unapplied: VecDeque::new(),
            changed: (LogIndex(0), 0),
            ticks: 0,
            leader_heard: 0,
            now: config.now,
            lease: Lease::default(),
            guarded,
            unfit: BTreeSet::new(),
            hashes: Comparison::default(),
            diverged: false,
            announced: false,
            verdicts: Vec::new(),
        };
        group.timeouts.enforce(&mut group.raw);
        Ok(group)
    }

    /// A tenth of a second has passed; it is `now`.
    pub fn tick(&mut self, now: Moment) {
        self.now = self.now.max(now);
        self.ticks += 1;
        self.forget_silent_leader();
        let (last, term, leads) = (self.raw.store().last().index, self.term(), self.role() == Role::Leader);
        if let Some(quarantine) = &mut self.quarantine {
            if quarantine.tick(last) == Release::Now {
                self.quarantine = None;
            } else if !leads {
                if let Some(fresh) = quarantine.leap(last, term) {
                    self.enter(fresh);
                }
                // No tick, no campaign.
                self.greet();
                self.greet_as_empty();
                return;
            }
        }
        if self.installing.is_some() {
            return;
        }
        if self.diverged && self.role() != Role::Leader {
            // It does not campaign either.
            self.confess();
            return;
        }
        if !self.is_guarded() || !self.would_campaign() {
            self.raw.tick();
            self.timeouts.enforce(&mut self.raw);
        }
        self.greet_as_empty();
    }

    /// raft-rs forgets a leader when it campaigns, which not every replica does: one in quarantine would refuse all candidates for the sake of a leader that
    /// was there once, and one that its group let go would take it for its leader for ever.
    fn forget_silent_leader(&mut self) {
        let silent = self.ticks - self.leader_heard >= LEADER_SILENT_TICKS;
        if silent && self.role() != Role::Leader {
            self.raw.raft.leader_id = raft::INVALID_ID;
        }
    }

    /// Takes a message of another replica. One that makes no sense is dropped. `now` must be read after it arrived.
    ///
    /// A [`MessageKind::Snapshot`] must go through [`Group::step_snapshot`] once its files were fetched.
    pub fn step(&mut self, mut message: RaftMessage, now: Moment) {
        self.now = self.now.max(now);
        if message.to != self.replica() {
            // To a former replica on this node.
            return;
        }
        if self.owes_refusal(&message) {
            return;
        }
        if !self.announced && matches!(message.kind, MessageKind::Append | MessageKind::Heartbeat) {
            // If the process before this one was told to fetch a snapshot, the leader waits for that, and for long.
            self.announced = true;
            let over = self.not_fetched(&message);
            self.greetings.push(over);
        }
        if let Some(quarantine) = &mut self.quarantine {
            let (last, term) = (self.raw.store().last(), Term(self.raw.raft.term));
            match quarantine.heard(&message, last, term) {
                Release::Now => self.quarantine = None,
                Release::InTerm(term) => {
                    self.quarantine = None;
                    self.enter(term);
                }
                Release::NotYet => match message.kind {
                    MessageKind::Vote | MessageKind::PreVote if !quarantine.may_vote(&message, last) => return,
                    MessageKind::TimeoutNow => return,
                    _ => {}
                },
            }
        }
        if message.kind == MessageKind::HeartbeatResponse && message.reject {
            self.believe_less(&message);
            self.answer_greeting(&message);
        }
        if message.kind == MessageKind::Snapshot || message.kind == MessageKind::TimeoutNow && self.installing.is_some()
        {
            return;
        }
        if self.members.is_empty() && matches!(message.kind, MessageKind::Vote | MessageKind::PreVote) {
            return;
        }
        if message.kind == MessageKind::Heartbeat {
            // A heartbeat commits what the leader believes to be here, and a log that was lost may have less, or an older entry in its place. Only a log
            // that ends in the leader's term is certain to be part of the leader's; any other waits for an append.
            let last = self.raw.store().last();
            message.commit = if last.term == message.term { message.commit.min(last.index) } else { LogIndex(0) };
        }
        if matches!(message.kind, MessageKind::StateHash | MessageKind::Diverged) {
            self.step_hash(&message);
            return;
        }
        if matches!(message.kind, MessageKind::SnapshotFailed | MessageKind::Unfit) {
            self.snapshot_failed(message.from);
            if message.kind == MessageKind::Unfit && self.members.contains(message.from) {
                self.unfit.insert(message.from);
            }
            return;
        }
        if message.kind == MessageKind::AppendResponse && !message.reject {
            self.snapshot_arrived(&message);
        }
        if message.kind == MessageKind::AppendResponse && message.reject && !self.is_fresh_rejection(&mut message) {
            return;
        }
        self.step_raft(message.into_raft());
    }

    /// raft-rs 0.7 lets a delayed rejection move a follower's next index to or below what it is known to hold (its
    /// pull request 557); such a rejection is dropped, or its hint raised.
    fn is_fresh_rejection(&self, message: &mut RaftMessage) -> bool {
        let Some(progress) = self.raw.raft.prs().get(message.from.0) else { return false };
        let matched = LogIndex(progress.matched);
        message.reject_hint = message.reject_hint.max(matched);
        message.index > matched || message.request_snapshot != LogIndex(0)
    }

    fn step_raft(&mut self, message: pb::Message) {
        if self.members.is_empty() && self.raw.raft.pending_request_snapshot == 0 {
            // Entries alone would not tell whom the group began with: whatever a leader sends is answered by asking for a snapshot.
            self.raw.raft.pending_request_snapshot = 1;
        }
        use pb::MessageType::{MsgAppend, MsgHeartbeat, MsgSnapshot};
        let of_leader =
            matches!(message.get_msg_type(), MsgAppend | MsgHeartbeat | MsgSnapshot).then_some(message.from);
        // Errors: an unknown sender or a proposal, both of which are to be dropped.
        let _ = self.raw.step(message);
        if of_leader == Some(self.raw.raft.leader_id) {
            self.leader_heard = self.ticks;
            self.guarded = self.guarded.max(self.now + VOTE_GUARD_MILLIS);
        }
        self.timeouts.enforce(&mut self.raw);
    }

    /// Appends an entry to the log. Where it stands is returned: it is committed when the entry at that index has that term.
    ///
    /// # Errors
    /// [`ProposeError`]; nothing was appended.
    pub fn propose(&mut self, data: Vec<u8>) -> Result<LogStart, ProposeError> {
        if self.role() != Role::Leader {
            return Err(ProposeError::NotLeader);
        }
        self.raw.propose(Vec::new(), data).map_err(|_| ProposeError::Dropped)?;
        Ok(LogStart { index: LogIndex(self.raw.raft.raft_log.last_index()), term: self.term() })
    }

    /// Begins a campaign at once; used when a group is started for the first time.
    pub fn campaign(&mut self) {
        if self.quarantine.is_none() && self.installing.is_none() && !self.is_guarded() {
            let _ = self.raw.campaign();
            self.timeouts.enforce(&mut self.raw);
        }
    }

    /// Whether [`Group::ready`] has anything to say.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.raw.has_ready() || !self.greetings.is_empty()
    }

    /// What is to be done now. The entries are taken as queued for the disk: they must be written in the order of the numbers.
    pub fn ready(&mut self) -> Effects {
        let mut ready = self.raw.ready();
        let hard_state = ready.hs().map(|hs| HardState {
            term: Term(hs.term),
            vote: ReplicaId(hs.vote),
            commit: LogIndex(hs.commit),
        });
        let mut effects = Effects {
            number: ready.number(),
            hard_state,
            must_sync: ready.must_sync(),
            entries: ready.take_entries().into_iter().map(entry_from_raft).collect(),
            committed: ready.take_committed_entries().into_iter().map(entry_from_raft).collect(),
            reads: self.confirmed(ready.take_read_states()),
            send_now: carried(ready.take_messages()),
            send_after_persist: carried(ready.take_persisted_messages()),
            snapshot: None,
            members: None,
            not_understood: None,
        };
        for message in effects.send_now.iter_mut().chain(&mut effects.send_after_persist) {
            self.complete(message);
        }
        effects.send_now.append(&mut self.greetings);
        if !ready.must_sync() {
            // A heartbeat's answer promises nothing that a restart could forget, and reads wait for it. An append's answer may
            // name entries that an earlier set of effects is still writing.
            let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut effects.send_after_persist)
                .into_iter()
                .partition(|message| message.kind == MessageKind::HeartbeatResponse);
            effects.send_now.extend(now);
            effects.send_after_persist = later;
        }
        if !ready.snapshot().is_empty() {
            let meta = ready.snapshot().get_metadata();
            let point = StatePoint {
                at: LogStart { index: LogIndex(meta.index), term: Term(meta.term) },
                members: Members::from_raft(meta.get_conf_state()),
            };
            self.raw.mut_store().restore(&point);
            self.installing = Some(point.at.index);
            self.unapplied.clear();
            self.set_members(point.at.index, point.members.clone());
            effects.snapshot = Some(point);
        }
        self.raw.mut_store().append(&effects.entries);
        self.raw.advance_append_async(ready);
        self.change_members(&mut effects);
        effects
    }

    /// Everything up to and including effects `number` is durable, `last` being the newest entry among it.
    pub fn persisted(&mut self, number: u64, last: Option<LogIndex>) {
        self.raw.on_persist_ready(number);
        if let Some(last) = last {
            self.raw.mut_store().set_durable(last);
        }
    }

    /// Entries up to here were applied to the state machine. `false`: not taken note of yet, tell it again. A snapshot is in the
    /// state before the log is known to be durable, and raft-rs stops at what is ahead of that.
    pub fn applied(&mut self, applied: LogStart) -> bool {
        let log = &self.raw.raft.raft_log;
        if applied.index.0 > log.committed.min(log.persisted) {
            return false;
        }
        if applied.index.0 > log.applied {
            self.raw.advance_apply_to(applied.index.0);
        }
        let mut members = None;
        while self.unapplied.front().is_some_and(|(index, _)| *index <= applied.index) {
            members = self.unapplied.pop_front().map(|(_, members)| members);
        }
        self.raw.mut_store().set_applied(applied, members);
        self.installing = self.installing.filter(|index| *index > applied.index);
        true
    }

    /// The durable log was cut off up to `to`.
    pub fn truncated(&mut self, to: LogStart) {
        self.raw.mut_store().truncated(to);
    }

    /// A message to `replica` could not be delivered.
    pub fn unreachable(&mut self, replica: ReplicaId) {
        self.raw.report_unreachable(replica.0);
    }

    /// The newest index each replica is known to hold; empty unless this replica leads.
    #[must_use]
    pub fn matched(&self) -> Vec<(ReplicaId, LogIndex)> {
        if self.role() != Role::Leader {
            return Vec::new();
        }
        self.raw.raft.prs().iter().map(|(id, progress)| (ReplicaId(*id), LogIndex(progress.matched))).collect()
    }

    /// This replica.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        ReplicaId(self.raw.raft.id)
    }

    /// Whether the replica keeps from voting because it may have forgotten promises.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.quarantine.is_some()
    }

    /// The term of an entry of the log, if it is there.
    #[must_use]
    pub fn term_of(&self, index: LogIndex) -> Option<Term> {
        self.raw.store().term_of(index)
    }

    /// Where the replica stands.
    #[must_use]
    pub fn view(&self) -> GroupView {
        let raft = &self.raw.raft;
        GroupView {
            role: self.role(),
            leader: (raft.leader_id != raft::INVALID_ID).then_some(ReplicaId(raft.leader_id).node()),
            term: self.term(),
            commit: LogIndex(raft.raft_log.committed),
            start: self.raw.store().start().index,
            last: LogIndex(raft.raft_log.last_index()),
            quarantined: self.is_quarantined(),
        }
    }

    pub(crate) fn role(&self) -> Role {
        match self.raw.raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Follower if self.raw.raft.promotable() => Role::Follower,
            StateRole::Follower => Role::Learner,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
        }
    }

    fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }
}

fn carried(messages: Vec<pb::Message>) -> Vec<RaftMessage> {
    messages.into_iter().filter_map(|message| RaftMessage::from_raft(message).ok()).collect()
}

/// Recovered state that contradicts itself: the replica may not start, since it would forget what it promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The state machine's store lies outside the log.
    #[error(
        "the state is at {applied}, but the log holds {start} to {last}; the node lost part of its data and must be replaced"
    )]
    AppliedOutsideLog {
        /// Applied.
        applied: LogIndex,
        /// Log start.
        start: LogIndex,
        /// Log end.
        last: LogIndex,
    },
    /// The log ends before what is known to be committed.
    #[error("{commit} is committed, but the log ends at {last}; the node lost part of its log and must be replaced")]
    CommitOutsideLog {
        /// Committed.
        commit: LogIndex,
        /// Log end.
        last: LogIndex,
    },
    /// raft-rs refuses.
    #[error("raft: {0}")]
    Raft(String),
}

#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
