//! One group on the raft thread: the replica itself, its proposals and reads, and what it has queued elsewhere.

use crate::applier::ApplyTask;
use crate::outbox::Outbox;
use crate::proposals::Proposals;
use crate::reads::Reads;
use crate::shared::GroupShared;
use crate::writer::{Install, WriteTask};
use proto::rpc::GroupError;
use raft_core::{Effects, Group, HardState, LogStart, RaftMessage, Role};
use raft_log::{Mark, RaftLog};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use types::{LogIndex, NodeId, Timestamp};

/// Entries in the log and not yet durable here, beyond which proposals gather in the queue instead: each entry costs
/// far more than one more command in it.
const UNDURABLE_ENTRIES_MAX: u64 = 2;
/// Ticks a follower may take to fetch a snapshot before the leader tries again.
const SNAPSHOT_TICKS_MAX: u64 = 300;

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
    waiting_for_snapshot: BTreeMap<NodeId, u64>,
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
        limits: (u64, u64),
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
            window: LogWindow { entries_max: limits.0, bytes_max: limits.1, mark, bytes: 0, syncing: false },
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
            self.notice_role();
            self.perform_one(effects, outbox, writer);
        }
        self.shared.set_view(self.raft.view());
    }

    fn perform_one(&mut self, effects: Effects, outbox: &mut Outbox, writer: &Sender<WriteTask>) {
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
                awaited: self.raft.view().role != Role::Follower,
                mark: Mark { term: self.hard_state.term, vote: self.hard_state.vote, last },
                install,
            });
        }
        if !effects.committed.is_empty() {
            let waiting = |entry: &raft_core::Entry| {
                let replies = self.proposals.committed(entry.index, entry.term);
                (!replies.is_empty()).then_some((entry.index, replies))
            };
            let replies = effects.committed.iter().filter_map(waiting).collect();
            let commit = self.hard_state.commit;
            let _ = self.applier.send(ApplyTask::Entries { entries: effects.committed, replies, commit });
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

    /// Begins to hand leadership to the voter that has most of the log.
    pub(crate) fn hand_over(&mut self) {
        let own = self.raft.node();
        let others = self.raft.matched().into_iter().filter(|(node, _)| *node != own);
        if let Some((heir, _)) = others.max_by_key(|(_, matched)| *matched) {
            tracing::info!(group = %self.shared.id, %heir, "hands leadership over");
            self.raft.transfer_leader(heir);
        }
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
        self.raft.tick();
        if !self.led {
            return;
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

    pub(crate) fn step_snapshot(&mut self, message: RaftMessage, fetched: Option<(LogStart, PathBuf)>) {
        self.fetching = false;
        let Some((at, dir)) = fetched else { return };
        self.fetched = Some(dir);
        self.raft.step_snapshot(message, at);
    }
}
