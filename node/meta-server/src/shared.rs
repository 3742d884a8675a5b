//! What the threads of one group share with those who ask about it.

use crate::read_lease::ReadLease;
use parking_lot::RwLock;
use raft_core::{GroupView, LogStart, Members, Role};
use state_store::StateStore;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::watch;
use types::{GroupId, LogIndex, Moment, NodeId, ReplicaId};

/// Proposals of a group that wait for the log.
const QUEUED_PROPOSALS_MAX: usize = 4096;
/// Bytes of them.
const QUEUED_BYTES_MAX: usize = 16 << 20;

pub(crate) struct GroupShared {
    pub(crate) id: GroupId,
    pub(crate) replica: ReplicaId,
    /// See [`crate::Membership::doubted`].
    pub(crate) doubted: AtomicBool,
    diverged: AtomicBool,
    /// As of what is applied.
    members: RwLock<Members>,
    view: RwLock<GroupView>,
    lease: ReadLease,
    /// `None` only while a snapshot is being swapped in.
    store: RwLock<Option<Arc<StateStore>>>,
    applied: watch::Sender<LogStart>,
    queued: AtomicUsize,
    queued_bytes: AtomicUsize,
    /// Snapshots that others are reading, and where each begins: the log is not cut past them.
    pins: RwLock<BTreeMap<u64, LogIndex>>,
}

impl GroupShared {
    pub(crate) fn new(
        id: GroupId,
        (replica, members): (ReplicaId, Members),
        view: GroupView,
        store: StateStore,
        applied: LogStart,
    ) -> Self {
        GroupShared {
            id,
            replica,
            doubted: AtomicBool::new(false),
            diverged: AtomicBool::new(false),
            members: RwLock::new(members),
            view: RwLock::new(view),
            lease: ReadLease::default(),
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

    pub(crate) fn leads_with_all(&self) -> bool {
        let view = self.view();
        view.role == Role::Leader && self.applied().term == view.term
    }

    /// What is applied here, if it may be read without asking anybody: `None` if a quorum has to be asked.
    pub(crate) fn read_by_lease(&self) -> Option<LogIndex> {
        (self.lease.is_held() && self.leads_with_all()).then(|| self.applied().index)
    }

    pub(crate) fn set_lease(&self, until: Option<Moment>) {
        self.lease.set(until);
    }

    /// Whether somebody has read by the lease since the last call, and it ends before long.
    pub(crate) fn lease_wants_renewal(&self) -> bool {
        self.lease.wants_renewal()
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.view.read().leader
    }

    /// Whether the state here was found to differ from what most replicas have. It is not read any more.
    pub(crate) fn is_diverged(&self) -> bool {
        self.diverged.load(Ordering::Relaxed)
    }

    pub(crate) fn set_diverged(&self) {
        self.diverged.store(true, Ordering::Relaxed);
    }

    /// The state, to be read.
    pub(crate) fn readable(&self) -> Option<Arc<StateStore>> {
        self.store().filter(|_| !self.is_diverged())
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

    /// Takes the store away for good, once nobody reads it any more.
    pub(crate) fn close_store(&self) {
        let Some(mut store) = self.take_store() else { return };
        // Readers hold it for the length of one query.
        while let Err(still_read) = Arc::try_unwrap(store) {
            store = still_read;
            std::thread::yield_now();
        }
    }

    /// Who belongs to the group as of what is applied here.
    pub(crate) fn members(&self) -> Members {
        self.members.read().clone()
    }

    pub(crate) fn set_members(&self, members: Members) {
        *self.members.write() = members;
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
