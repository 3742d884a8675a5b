//! One group on the raft thread: the replica itself, its proposals and reads, and what it has queued elsewhere.

use crate::applier::{ApplyTask, Committed};
use crate::outbox::Outbox;
use crate::proposals::Proposals;
use crate::reads::Reads;
use crate::shared::GroupShared;
use crate::steady_clock;
use crate::writer::{Install, WriteTask, fence};
use proto::rpc::GroupError;
use raft_core::{Effects, Group, HardState, LogStart, RaftMessage, Role, StatePoint, Step};
use raft_log::{Mark, RaftLog};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use types::{LogIndex, NodeId, ReplicaId, Timestamp};

/// Entries in the log and not yet durable here, beyond which proposals gather in the queue instead: each entry costs
/// far more than one more command in it.
const UNDURABLE_ENTRIES_MAX: u64 = 2;
/// Ticks a follower may take to fetch a snapshot before the leader tries again.
const SNAPSHOT_TICKS_MAX: u64 = 300;

/// What the configuration says of every group.
#[derive(Clone, Copy)]
pub(crate) struct GroupSettings {
    /// How much of the log is kept.
    pub(crate) log_entries: u64,
    pub(crate) log_bytes: u64,
    pub(crate) lease_reads: bool,
}

pub(crate) struct GroupDriver {
    pub(crate) shared: Arc<GroupShared>,
    pub(crate) raft: Group,
    pub(crate) proposals: Proposals,
    pub(crate) reads: Reads,
    applier: Sender<ApplyTask>,
    hard_state: HardState,
    flight: Flight,
    applied: LogStart,
    proposed: LogIndex,
    durable: LogIndex,
    led: bool,
    window: LogWindow,
    lease_reads: bool,
    waiting_for_snapshot: BTreeMap<ReplicaId, u64>,
    /// A snapshot was fetched into this folder and stepped; its effects come next.
    pub(crate) fetched: Option<PathBuf>,
    pub(crate) fetching: bool,
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

/// How much of the log is kept.
struct LogWindow {
    entries_max: u64,
    bytes_max: u64,
    /// The log is cut here at the next turn.
    mark: LogStart,
    bytes: u64,
    syncing: bool,
}

impl GroupDriver {
    pub(crate) fn new(
        shared: Arc<GroupShared>,
        raft: Group,
        applier: Sender<ApplyTask>,
        hard_state: HardState,
        settings: GroupSettings,
    ) -> Self {
        let view = raft.view();
        let mark = shared.applied();
        GroupDriver {
            shared,
            raft,
            proposals: Proposals::default(),
            reads: Reads::default(),
            applier,
            hard_state,
            flight: Flight::default(),
            applied: mark,
            proposed: view.last,
            durable: view.last,
            led: false,
            window: LogWindow {
                entries_max: settings.log_entries,
                bytes_max: settings.log_bytes,
                mark,
                bytes: 0,
                syncing: false,
            },
            lease_reads: settings.lease_reads,
            waiting_for_snapshot: BTreeMap::new(),
            fetched: None,
            fetching: false,
        }
    }

    /// Moves queued proposals and reads into Raft.
    pub(crate) fn feed(&mut self, time: impl Fn() -> Timestamp, now: u64) {
        while self.led && self.proposals.queued() > 0 && self.proposed.0 < self.durable.0 + UNDURABLE_ENTRIES_MAX {
            let Some(batch) = self.proposals.next_batch(time()) else { break };
            batch.sizes.iter().for_each(|bytes| self.shared.release(*bytes));
            match self.raft.propose(batch.data) {
                Ok(at) => {
                    self.proposed = at.index;
                    self.proposals.proposed(at, batch.replies);
                }
                Err(_) => {
                    crate::proposals::answer_all(batch.replies, &GroupError::Busy);
                    break;
                }
            }
        }
        self.reads.begin(&mut self.raft, now);
    }

    /// Performs what Raft asks for: messages into the outbox, entries to the log thread, committed ones to the apply thread.
    pub(crate) fn perform(&mut self, outbox: &mut Outbox, writer: &Sender<WriteTask>) {
        while self.raft.has_ready() {
            let effects = self.raft.ready();
            self.publish_lease();
            self.notice_role();
            self.perform_one(effects, outbox, writer);
        }
        self.shared.set_view(self.raft.view());
    }

    /// Before anything leaves that may end it.
    fn publish_lease(&self) {
        self.shared.set_lease(self.raft.lease().filter(|_| self.lease_reads));
    }

    fn perform_one(&mut self, effects: Effects, outbox: &mut Outbox, writer: &Sender<WriteTask>) {
        if let Some(index) = effects.not_understood {
            fence(
                "a change of members cannot be decoded; is this program older than the cluster?",
                &NotUnderstood(index),
            );
        }
        for message in effects.send_now {
            outbox.push(self.shared.id, message);
        }
        self.hard_state = effects.hard_state.unwrap_or(self.hard_state);
        for (context, index) in effects.reads {
            self.reads.confirmed(context, index);
        }
        self.window.bytes += effects.entries.iter().map(|entry| entry.data.len() as u64 + 32).sum::<u64>();
        let last = effects.entries.last().map_or(self.raft.view().last, |entry| entry.index);
        let install = effects.snapshot.and_then(|point| {
            let dir = self.fetched.take()?;
            self.durable = point.at.index;
            self.window.mark = point.at;
            Some(Install { point, hard_state: self.hard_state, dir, applier: self.applier.clone() })
        });
        let nothing_to_write = effects.entries.is_empty() && !effects.must_sync && install.is_none();
        self.flight.commit_unwritten |= effects.hard_state.is_some();
        if nothing_to_write && self.flight.writes == 0 {
            for message in effects.send_after_persist {
                outbox.push(self.shared.id, message);
            }
            self.raft.persisted(effects.number, None);
        } else if nothing_to_write && effects.send_after_persist.is_empty() {
            self.flight.skipped = effects.number;
        } else {
            self.flight.writes += 1;
            // A commit index need not be durable, so it waits for a write that is made anyway.
            let hard_state =
                (!nothing_to_write && std::mem::take(&mut self.flight.commit_unwritten)).then_some(self.hard_state);
            // The log thread ends after this one does.
            let _ = writer.send(WriteTask {
                group: self.shared.id,
                number: effects.number,
                entries: effects.entries,
                hard_state,
                must_sync: effects.must_sync,
                send_after: effects.send_after_persist,
                awaited: self.raft.view().role != Role::Follower && self.raft.view().role != Role::Learner,
                mark: Mark { term: self.hard_state.term, vote: self.hard_state.vote, last },
                install,
                remove: false,
            });
        }
        if !effects.committed.is_empty() {
            let waiting = |entry: &raft_core::Entry| {
                let replies = self.proposals.committed(entry.index, entry.term);
                (!replies.is_empty()).then_some((entry.index, replies))
            };
            let replies = effects.committed.iter().filter_map(waiting).collect();
            let commit = self.hard_state.commit;
            let members = effects.members;
            let committed = Committed { entries: effects.committed, replies, commit, members };
            let _ = self.applier.send(ApplyTask::Entries(committed));
        }
    }

    /// Whoever waits is told when leadership has moved.
    fn notice_role(&mut self) {
        let view = self.raft.view();
        let leads = view.role == Role::Leader;
        if self.led && !leads {
            self.step_down(view.leader);
        }
        if leads && !self.led {
            self.proposed = view.last;
            self.durable = self.durable.min(view.last);
            tracing::info!(group = %self.shared.id, term = %view.term, "leads");
        }
        self.led = leads;
    }

    pub(crate) fn step_down(&mut self, leader: Option<NodeId>) {
        let error = GroupError::NotLeader { leader };
        for bytes in self.proposals.lost_leadership(&error) {
            self.shared.release(bytes);
        }
        self.reads.fail(&error);
        self.waiting_for_snapshot.clear();
    }

    /// Begins to hand leadership to the voter that has most of the log. Nothing if nobody is fit to lead.
    pub(crate) fn hand_over(&mut self) {
        if let Some(heir) = self.raft.heirs().first() {
            tracing::info!(group = %self.shared.id, %heir, "hands leadership over");
            self.raft.transfer_leader(*heir);
        }
    }

    /// Takes the next step towards the wanted voters, if this replica leads.
    pub(crate) fn change_members(&mut self, wanted: &[NodeId]) {
        if !self.led {
            return;
        }
        let group = self.shared.id;
        let step = self.raft.next_step(wanted);
        let begun = match &step {
            Step::Settled | Step::Wait => return,
            Step::AddLearner(node) => self.raft.add_learner(*node).map(drop),
            Step::Change(change) => self.raft.propose_change(change).map(drop),
            Step::HandOver(heir) => {
                self.raft.transfer_leader(*heir);
                Ok(())
            }
        };
        match begun {
            Ok(()) => tracing::info!(%group, ?step, "changes its members"),
            Err(error) => tracing::debug!(%group, ?step, %error, "the members are changed later"),
        }
    }

    /// The group has let this replica go, for good. Its log is removed behind everything that is on its way there.
    pub(crate) fn let_go(mut self, writer: &Sender<WriteTask>) {
        self.step_down(None);
        let _ = writer.send(WriteTask {
            group: self.shared.id,
            number: 0,
            entries: Vec::new(),
            hard_state: None,
            must_sync: false,
            send_after: Vec::new(),
            awaited: false,
            mark: Mark { term: self.hard_state.term, vote: self.hard_state.vote, last: LogIndex(0) },
            install: None,
            remove: true,
        });
    }

    pub(crate) fn leads(&self) -> bool {
        self.led
    }

    /// Whether the log has not answered everything yet.
    pub(crate) fn awaits_log(&self) -> bool {
        self.flight.writes > 0
    }

    pub(crate) fn persisted(&mut self, number: u64, last: Option<LogIndex>) {
        self.flight.writes -= 1;
        let skipped = if self.flight.writes == 0 { self.flight.skipped } else { 0 };
        self.raft.persisted(number.max(skipped), last);
        if let Some(last) = last {
            self.durable = last;
        }
    }

    /// Takes note of what the apply thread has done since the last turn. It does not wake this thread: there is no hurry.
    pub(crate) fn notice_applied(&mut self) {
        let applied = self.shared.applied();
        if applied == self.applied || !self.raft.applied(applied) {
            return;
        }
        self.applied = applied;
        let window = &mut self.window;
        let full = applied.index.0.saturating_sub(window.mark.index.0) >= window.entries_max
            || window.bytes >= window.bytes_max;
        if full && !window.syncing {
            window.syncing = true;
            let _ = self.applier.send(ApplyTask::Sync);
        }
    }

    /// The state is durable up to `durable`: the log before the last mark may go.
    pub(crate) fn cut_log(&mut self, durable: LogIndex, log: &RaftLog) -> Result<(), raft_log::Fatal> {
        self.window.syncing = false;
        let cut = self.window.mark;
        let pinned = self.shared.pinned().unwrap_or(LogIndex(u64::MAX));
        if cut.index <= durable.min(pinned) && cut.index > self.raft.view().start {
            log.truncate(self.shared.id, cut)?;
            self.raft.truncated(cut);
        }
        self.window.mark = self.shared.applied();
        self.window.bytes = 0;
        Ok(())
    }

    pub(crate) fn tick(&mut self, now: u64) {
        self.raft.tick(steady_clock::now());
        self.judge_hashes();
        if !self.led {
            return;
        }
        if self.shared.lease_wants_renewal() {
            self.reads.renew();
        }
        let awaited = self.raft.awaiting_snapshot();
        self.waiting_for_snapshot.retain(|node, _| awaited.contains(node));
        for node in awaited {
            let since = *self.waiting_for_snapshot.entry(node).or_insert(now);
            if now - since > SNAPSHOT_TICKS_MAX {
                self.waiting_for_snapshot.remove(&node);
                self.raft.snapshot_failed(node);
            }
        }
    }

    /// A replica whose state is not what the log makes it must be seen by a person, even though it is mended without one.
    fn judge_hashes(&mut self) {
        let group = self.shared.id;
        for (index, verdict) in self.raft.take_verdicts() {
            for replica in verdict.diverged {
                tracing::error!(%group, %replica, %index, "the state of this replica has diverged: it is let go and made anew");
            }
            if verdict.undecided {
                tracing::error!(%group, %index, "the states of all replicas differ, and none has a majority");
            }
        }
        if self.raft.is_diverged() && !self.shared.is_diverged() {
            tracing::error!(%group, "the state of the replica here has diverged: it answers nothing any more");
            self.shared.set_diverged();
        }
        if self.raft.is_diverged() && self.led {
            self.hand_over();
        }
    }

    pub(crate) fn step_snapshot(
        &mut self,
        message: RaftMessage,
        fetched: Option<(StatePoint, PathBuf)>,
        outbox: &mut Outbox,
    ) {
        self.fetching = false;
        let Some((point, dir)) = fetched else {
            outbox.push(self.shared.id, self.raft.not_fetched(&message));
            return;
        };
        self.fetched = Some(dir);
        self.raft.step_snapshot(message, point);
    }
}

/// An entry of a newer program.
#[derive(Debug, thiserror::Error)]
#[error("the entry at {0}")]
struct NotUnderstood(LogIndex);
