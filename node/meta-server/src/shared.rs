//! What the threads of one group share with those who ask about it.

use parking_lot::RwLock;
use raft_core::{GroupView, LogStart, Role};
use state_store::StateStore;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;
use types::{GroupId, LogIndex, NodeId};

/// Proposals of a group that wait for the log.
const QUEUED_PROPOSALS_MAX: usize = 4096;
/// Bytes of them.
const QUEUED_BYTES_MAX: usize = 16 << 20;

pub(crate) struct GroupShared {
    pub(crate) id: GroupId,
    view: RwLock<GroupView>,
    /// `None` only while a snapshot is being swapped in.
    store: RwLock<Option<Arc<StateStore>>>,
    applied: watch::Sender<LogStart>,
    queued: AtomicUsize,
    queued_bytes: AtomicUsize,
    /// Snapshots that others are reading, and where each begins: the log is not cut past them.
    pins: RwLock<BTreeMap<u64, LogIndex>>,
}

impl GroupShared {
    pub(crate) fn new(id: GroupId, view: GroupView, store: StateStore, applied: LogStart) -> Self {
        GroupShared {
            id,
            view: RwLock::new(view),
            store: RwLock::new(Some(Arc::new(store))),
            applied: watch::Sender::new(applied),
            queued: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            pins: RwLock::new(BTreeMap::new()),
        }
    }

    pub(crate) fn view(&self) -> GroupView {
        *self.view.read()
    }

    pub(crate) fn set_view(&self, view: GroupView) {
        *self.view.write() = view;
    }

    pub(crate) fn leads(&self) -> bool {
        self.view.read().role == Role::Leader
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.view.read().leader
    }

    pub(crate) fn store(&self) -> Option<Arc<StateStore>> {
        self.store.read().clone()
    }

    /// Takes the store away, so that it can be closed and replaced.
    pub(crate) fn take_store(&self) -> Option<Arc<StateStore>> {
        self.store.write().take()
    }

    pub(crate) fn set_store(&self, store: StateStore) {
        *self.store.write() = Some(Arc::new(store));
    }

    pub(crate) fn applied(&self) -> LogStart {
        *self.applied.borrow()
    }

    pub(crate) fn set_applied(&self, applied: LogStart) {
        self.applied.send_replace(applied);
    }

    /// Waits until the entry at `index` is applied.
    pub(crate) async fn wait_applied(&self, index: LogIndex) {
        let mut applied = self.applied.subscribe();
        // The sender lives as long as `self`.
        let _ = applied.wait_for(|applied| applied.index >= index).await;
    }

    /// Takes a place in the queue of proposals, or says that it is full.
    pub(crate) fn admit(&self, bytes: usize) -> bool {
        let queued = self.queued.fetch_add(1, Ordering::Relaxed);
        let queued_bytes = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let full = queued >= QUEUED_PROPOSALS_MAX || queued_bytes >= QUEUED_BYTES_MAX;
        if full {
            self.release(bytes);
        }
        !full
    }

    /// Gives the place back.
    pub(crate) fn release(&self, bytes: usize) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn pin(&self, id: u64, index: LogIndex) {
        self.pins.write().insert(id, index);
    }

    pub(crate) fn unpin(&self, id: u64) {
        self.pins.write().remove(&id);
    }

    pub(crate) fn pinned(&self) -> Option<LogIndex> {
        self.pins.read().values().min().copied()
    }
}
