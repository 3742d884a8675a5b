//! The log thread: one durable write for everything the groups of this node have queued, then the messages that promise it.
//!
//! While a flush is under way the next effects queue up; they share the next flush. This is all the group commit there is.

use crate::applier::ApplyTask;
use crate::event::{Event, Persisted, PersistedQueue};
use crate::outbox::Outbox;
use crate::replicas::ReplicaTask;
use raft_core::{Entry, HardState, RaftMessage, StatePoint};
use raft_log::{GroupWrite, Mark, RaftLog};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use types::{GroupId, LogIndex};

/// Effects merged into one write.
const MERGED_TASKS_MAX: usize = 256;
/// Bytes of entries merged into one write.
const MERGED_BYTES_MAX: usize = 8 << 20;

/// What one set of effects asks of the log.
pub(crate) struct WriteTask {
    pub(crate) group: GroupId,
    pub(crate) number: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) must_sync: bool,
    pub(crate) send_after: Vec<RaftMessage>,
    /// What the messages promise.
    pub(crate) mark: Mark,
    /// Whether the raft thread waits for it: not that of a follower.
    pub(crate) awaited: bool,
    pub(crate) install: Option<Install>,
    /// The replica is let go: nothing of it is written after this.
    pub(crate) remove: bool,
}

/// A fetched snapshot that replaces state and log.
pub(crate) struct Install {
    pub(crate) point: StatePoint,
    pub(crate) hard_state: HardState,
    pub(crate) dir: PathBuf,
    pub(crate) applier: Sender<ApplyTask>,
}

pub(crate) struct Writer {
    pub(crate) log: Arc<RaftLog>,
    pub(crate) tasks: Receiver<WriteTask>,
    pub(crate) events: SyncSender<Event>,
    pub(crate) persisted: PersistedQueue,
    pub(crate) outbox: Outbox,
    pub(crate) replicas: Sender<ReplicaTask>,
}

impl Writer {
    /// Runs until the raft thread hangs up.
    pub(crate) fn run(mut self) {
        let mut held = None;
        while let Some(first) = held.take().or_else(|| self.tasks.recv().ok()) {
            if first.remove {
                self.remove(first.group);
                continue;
            }
            if let Some(install) = first.install {
                self.install(&install, first.group, first.number, first.send_after);
                continue;
            }
            let mut tasks = vec![first];
            let mut bytes = 0;
            while tasks.len() < MERGED_TASKS_MAX && bytes < MERGED_BYTES_MAX {
                let Ok(next) = self.tasks.try_recv() else { break };
                if next.install.is_some() || next.remove {
                    held = Some(next);
                    break;
                }
                bytes += next.entries.iter().map(|entry| entry.data.len()).sum::<usize>();
                tasks.push(next);
            }
            self.write(tasks);
        }
    }

    fn write(&mut self, tasks: Vec<WriteTask>) {
        let mut writes = Vec::with_capacity(tasks.len());
        let mut written = Vec::with_capacity(tasks.len());
        let mut marks = Vec::with_capacity(tasks.len());
        let mut messages = Vec::new();
        let awaited = tasks.iter().any(|task| task.awaited);
        for task in tasks {
            let last = task.entries.last().map(|entry| entry.index);
            written.push((task.group, task.number, last));
            marks.push((task.group, task.mark));
            messages.extend(task.send_after.into_iter().map(|message| (task.group, message)));
            if !task.entries.is_empty() || task.hard_state.is_some() {
                let WriteTask { group, entries, hard_state, must_sync, .. } = task;
                writes.push(GroupWrite { group, entries, hard_state, must_sync });
            }
        }
        let synced = writes.iter().any(|write| write.must_sync);
        let begun = Instant::now();
        if !writes.is_empty()
            && let Err(error) = self.log.write(&writes)
        {
            fence("the raft log cannot be written", &error);
        }
        let took = begun.elapsed();
        for (group, message) in messages {
            self.outbox.push(group, message);
        }
        self.outbox.flush();
        if synced {
            self.log.acknowledged(&marks);
        }
        let persisted = written.into_iter().map(|(group, number, last)| Persisted { group, number, last, took });
        self.note(persisted.collect(), awaited);
    }

    /// State first, then the log: a crash in between leaves a state newer than the log, which the next start mends.
    fn install(&mut self, install: &Install, group: GroupId, number: u64, send_after: Vec<RaftMessage>) {
        let (done, installed) = sync_channel(1);
        let task = ApplyTask::Install { point: install.point.clone(), dir: install.dir.clone(), done };
        if install.applier.send(task).is_err() || installed.recv().is_err() {
            return;
        }
        if let Err(error) = self.log.reset(group, install.hard_state, install.point.at) {
            fence("the raft log cannot be reset", &error);
        }
        for message in send_after {
            self.outbox.push(group, message);
        }
        self.outbox.flush();
        let last: Option<LogIndex> = Some(install.point.at.index);
        self.note(vec![Persisted { group, number, last, took: Duration::ZERO }], true);
    }

    fn remove(&self, group: GroupId) {
        if let Err(error) = self.log.remove_group(group) {
            fence("the log of a replica that was let go cannot be removed", &error);
        }
        let _ = self.replicas.send(ReplicaTask::Destroy { group });
    }

    fn note(&self, persisted: Vec<Persisted>, awaited: bool) {
        self.persisted.lock().extend(persisted);
        if awaited {
            let _ = self.events.send(Event::Persisted);
        }
    }
}

/// A disk that failed once cannot be trusted to have kept what it said it kept: the process ends and comes back by replaying
/// what is on stable storage. Source: DESIGN section 4; rule R1.
pub(crate) fn fence(what: &str, error: &dyn std::error::Error) -> ! {
    tracing::error!(%error, source = ?error.source(), "{what}: this node stops serving");
    std::process::abort()
}
