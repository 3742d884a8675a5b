//! The thread that keeps the watermark durable.

use super::Promise;
use super::slot::{Promises, Slots};
use crate::db::Fence;
use crate::error::Cause;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use types::GroupId;

/// Least time between two writes that only say that logs have grown. Each is a flush that competes with those of the log, and a
/// disk that lies about flushes forgets more than so little.
const PACE: Duration = Duration::from_millis(20);

/// Takes promises without blocking and writes the newest sum of them, one flush after the other.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    fence: Arc<Fence>,
}

struct State {
    promises: Promises,
    /// Counts the changes of `promises`.
    version: u64,
    /// The version that is on the disk.
    durable: u64,
    /// A term or a vote was promised, or somebody waits: write at once.
    urgent: bool,
    stopping: bool,
}

impl Keeper {
    /// Starts the thread. A failure of its closes `fence`.
    pub(crate) fn start(slots: Slots, promises: Promises, fence: Arc<Fence>) -> io::Result<Keeper> {
        let state = State { promises, version: 0, durable: 0, urgent: false, stopping: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), fence });
        let run = {
            let shared = Arc::clone(&shared);
            move || shared.run(slots)
        };
        let thread = std::thread::Builder::new().name("raft-watermark".into()).spawn(run)?;
        Ok(Keeper { shared, thread: Some(thread) })
    }

    /// Adds promises; `bool` says whether the group still owes something. Never waits for the disk.
    pub(crate) fn add(&self, promises: impl Iterator<Item = (GroupId, Promise, bool)>) {
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        let mut changed = false;
        for (group, promise, in_debt) in promises {
            let kept = state.promises.entry(group).or_default();
            let before = *kept;
            kept.add(promise, in_debt);
            changed |= *kept != before;
            state.urgent |= (kept.term, kept.vote) != (before.term, before.vote);
        }
        if changed {
            // One that has to wait for its time is not woken again.
            let asleep = state.version == state.durable;
            state.version += 1;
            if asleep || state.urgent {
                self.shared.changed.notify_all();
            }
        }
    }

    /// Forgets what a replica that is gone has promised.
    pub(crate) fn forget(&self, group: GroupId) {
        let mut state = self.shared.state.lock();
        if state.promises.remove(&group).is_some() {
            state.version += 1;
            state.urgent = true;
            self.shared.changed.notify_all();
        }
    }

    /// What is promised for a group.
    pub(crate) fn promise(&self, group: GroupId) -> Option<Promise> {
        self.shared.state.lock().promises.get(&group).copied()
    }

    /// Waits until everything added so far is on the disk.
    pub(crate) fn settle(&self) -> Result<(), Cause> {
        let mut state = self.shared.state.lock();
        let wanted = state.version;
        state.urgent = true;
        self.shared.changed.notify_all();
        while state.durable < wanted {
            self.shared.fence.check()?;
            self.shared.changed.wait(&mut state);
        }
        Ok(())
    }

    /// Writes what is left and ends the thread.
    pub(crate) fn stop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.shared.fence.close("the watermark's thread panicked".into());
        }
    }
}

impl Shared {
    fn run(&self, mut slots: Slots) {
        let mut due = Instant::now();
        while let Some((version, promises)) = self.next(due) {
            due = Instant::now() + PACE;
            let written = slots.write(&promises);
            let mut state = self.state.lock();
            match written {
                Ok(()) => state.durable = version,
                Err(error) => {
                    tracing::error!(%error, "the watermark of the raft log cannot be written, the log is fenced");
                    self.fence.close(format!("the watermark cannot be written: {error}"));
                }
            }
            self.changed.notify_all();
            if self.fence.check().is_err() {
                return;
            }
        }
    }

    /// The next version to write, not before `due` unless it is urgent; `None` once all is written and the log is closing.
    fn next(&self, due: Instant) -> Option<(u64, Promises)> {
        let mut state = self.state.lock();
        loop {
            if state.version == state.durable {
                if state.stopping {
                    return None;
                }
                self.changed.wait(&mut state);
            } else if state.urgent || state.stopping || self.changed.wait_until(&mut state, due).timed_out() {
                state.urgent = false;
                return Some((state.version, state.promises.clone()));
            }
        }
    }
}
