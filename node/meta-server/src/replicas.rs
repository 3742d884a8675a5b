//! Replicas that come and go while the node runs: a thread of its own, since both take the disk's time.
//!
//! ```text
//! make:    a message for a replica that is not here -> log admits it (durable) -> empty store -> raft thread drives it
//! remove:  raft thread lets go -> log thread, behind all writes of the group: log removed, its name kept (durable) -> store destroyed
//! ```
//! What was made is empty and keeps quiet until it was filled; and it is filled only while it has no vote, see
//! [`raft_core::Group::step_snapshot`].
//!
//! A crash in the middle of a removal leaves a store without a log; the next start destroys it. A replica that is not in the log
//! any more is never made again under its name, see [`raft_log::RaftLog::former`].

use crate::applier::Applier;
use crate::event::Event;
use crate::group::{GroupDriver, GroupSettings};
use crate::registry::Registry;
use crate::server::unless_it_panics;
use crate::start::{StartError, StartedGroup, open_replica};
use crate::writer::fence;
use raft_core::{Members, slog};
use raft_log::RaftLog;
use state_store::{SharedCache, StateStore};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel};
use std::thread::JoinHandle;
use types::{FeatureLevel, GroupId, NodeId, ReplicaId};

/// Replicas a node takes in. Each has a thread and a store; a map that asks for more is wrong.
const REPLICAS_MAX: usize = 1024;

pub(crate) enum ReplicaTask {
    /// A leader speaks to a replica that is not here.
    Make { group: GroupId, replica: ReplicaId },
    /// The log of a group is removed: its store follows.
    Destroy { group: GroupId },
}

/// What replicas are made from.
pub(crate) struct Replicas {
    pub(crate) node: NodeId,
    pub(crate) dir: PathBuf,
    pub(crate) seed: u64,
    pub(crate) settings: GroupSettings,
    pub(crate) hash_entries: u64,
    pub(crate) level: FeatureLevel,
    pub(crate) log: Arc<RaftLog>,
    pub(crate) cache: SharedCache,
    pub(crate) registry: Arc<Registry>,
    pub(crate) events: SyncSender<Event>,
    pub(crate) logger: slog::Logger,
    pub(crate) appliers: BTreeMap<GroupId, JoinHandle<()>>,
}

impl Replicas {
    /// Runs until nobody can ask any more, then waits for the apply threads.
    pub(crate) fn run(mut self, tasks: &Receiver<ReplicaTask>) {
        while let Ok(task) = tasks.recv() {
            match task {
                ReplicaTask::Make { group, replica } => {
                    let made = self.make(group, replica);
                    let _ = self.events.send(Event::ReplicaMade { group, driver: made.map(Box::new) });
                }
                ReplicaTask::Destroy { group } => self.destroy(group),
            }
        }
        for (_, thread) in std::mem::take(&mut self.appliers) {
            let _ = thread.join();
        }
    }

    fn make(&mut self, group: GroupId, replica: ReplicaId) -> Option<GroupDriver> {
        let stale = self.log.former(group).is_some_and(|former| former.life() >= replica.life());
        let here = self.log.load(group).is_some();
        if stale || here || replica.node() != self.node || self.appliers.len() >= REPLICAS_MAX {
            return None;
        }
        tracing::info!(%group, %replica, "takes a replica in");
        if let Err(error) = StateStore::destroy(&self.store_of(group)) {
            fence("what was left of a former replica cannot be removed", &error);
        }
        if let Err(error) = self.log.admit(group, replica) {
            fence("the raft log cannot take a replica in", &error);
        }
        match self.open(group) {
            Ok(driver) => Some(driver),
            Err(error) => fence("a new replica cannot be opened", &error),
        }
    }

    /// Opens the empty replica that the log has just admitted.
    fn open(&mut self, group: GroupId) -> Result<GroupDriver, StartError> {
        let path = self.store_of(group);
        let nobody = Members::default();
        let started = open_replica(
            self.node,
            group,
            &nobody,
            &path,
            &self.log,
            self.seed,
            (None, false),
            &self.cache,
            &self.logger,
        )?;
        self.start(started)
    }

    /// Starts the apply thread of a replica and has everybody find it.
    pub(crate) fn start(&mut self, started: StartedGroup) -> Result<GroupDriver, StartError> {
        let StartedGroup { shared, raft, hard_state, path } = started;
        let (sender, tasks) = channel();
        let applier = Applier {
            shared: shared.clone(),
            path,
            cache: self.cache.clone(),
            tasks,
            events: self.events.clone(),
            hash_entries: self.hash_entries,
            level: self.level,
        };
        let name = format!("apply-{}", shared.id.0);
        let thread = std::thread::Builder::new().name(name.clone());
        let run = Box::new(move || applier.run());
        self.appliers.insert(shared.id, thread.spawn(move || unless_it_panics(&name, run))?);
        self.registry.insert(shared.clone());
        Ok(GroupDriver::new(shared, raft, sender, hard_state, self.settings))
    }

    fn destroy(&mut self, group: GroupId) {
        if let Some(thread) = self.appliers.remove(&group) {
            // Its sender went with the group's driver.
            let _ = thread.join();
        }
        if let Some(shared) = self.registry.get(group) {
            self.registry.remove(group);
            shared.close_store();
        }
        if let Err(error) = StateStore::destroy(&self.store_of(group)) {
            fence("the store of a replica that was let go cannot be removed", &error);
        }
        tracing::info!(%group, "let a replica go");
        let _ = self.events.send(Event::ReplicaGone { group });
    }

    pub(crate) fn store_of(&self, group: GroupId) -> PathBuf {
        self.dir.join("state").join(group.0.to_string())
    }
}
