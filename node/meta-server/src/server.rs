//! The metadata service of a node: what the rest of the program sees of it.

use crate::config::MetaConfig;
use crate::driver::Driver;
use crate::event::{Event, PersistedQueue, Proposal};
use crate::group::GroupSettings;
use crate::logger::logger;
use crate::network::Network;
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::registry::Registry;
use crate::replicas::Replicas;
use crate::shared::GroupShared;
use crate::snapshots::{Fetcher, SnapshotServer};
use crate::start::{StartError, founders, groups_here, open_replica, recover, understands};
use crate::writer::Writer;
use bytes::Bytes;
use meta_core::Applied;
use parking_lot::Mutex;
use proto::control::{ControlAnswer, ControlCommand, ControlQuery, ControlRefusal, ControlReply, ControlRequest};
use proto::log::LogCommand;
use proto::meta::{Command, MetaOp, MetaReply, MetaRequest, Outcome, Query, Refusal};
use proto::node::GroupStatus;
use proto::raft_wire::{RaftBatch, SnapshotError, SnapshotReply, SnapshotRequest};
use proto::rpc::GroupError;
use raft_core::{Members, Role};
use state_store::StateStore;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use types::{COMMAND_BYTES_MAX, FeatureLevel, GroupId, LogIndex, NodeId, PlacementMap, ReplicaId};

/// Events that wait for the raft thread. When they pile up, messages of other nodes are dropped and requests are refused.
const EVENTS_MAX: usize = 8192;
/// How long a node that stops waits for others to lead in its place, and how often it looks.
const HAND_OVER_MAX: Duration = Duration::from_millis(500);
const HAND_OVER_CHECK: Duration = Duration::from_millis(5);

/// The members of one group, as applied on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group.
    pub group: GroupId,
    /// The replica here.
    pub replica: ReplicaId,
    /// Whether it leads.
    pub leads: bool,
    /// An entry at which the members were these, or had been these for a while.
    pub at: LogIndex,
    /// The members.
    pub members: Members,
    /// Somebody speaks to a newer replica of the group on this node: the group may have let this one go.
    pub doubted: bool,
}

/// The metadata service of one node: its replicas of all Raft groups it votes in.
pub struct MetaServer {
    node: NodeId,
    groups: Arc<Registry>,
    events: SyncSender<Event>,
    snapshots: Arc<SnapshotServer>,
    network: Arc<dyn Network>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The newest level that the cluster is known to have gone to. It never falls, so what was heard once is true for good.
    heard_level: AtomicU32,
}

impl MetaServer {
    /// Recovers the groups from disk and starts their threads. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The disk could not be read, or holds what contradicts itself; the message says what to do.
    pub fn start(config: &MetaConfig, network: Arc<dyn Network>) -> Result<Arc<MetaServer>, StartError> {
        let (events, inbox) = sync_channel(EVENTS_MAX);
        let (logger, recovered) = (logger(), recover(config)?);
        let (log, registry) = (recovered.log.clone(), Arc::new(Registry::default()));
        let here = groups_here(config, &log);
        let mut replicas = Replicas {
            node: config.node,
            dir: config.dir.clone(),
            seed: config.seed,
            settings: GroupSettings {
                log_entries: config.log_window_entries,
                log_bytes: config.log_window_bytes,
                lease_reads: config.lease_reads,
            },
            hash_entries: config.hash_entries,
            level: config.level,
            log: log.clone(),
            cache: recovered.cache.clone(),
            registry: registry.clone(),
            events: events.clone(),
            logger: logger.clone(),
            appliers: BTreeMap::new(),
        };
        for id in log.all_former() {
            // A removal that a crash interrupted.
            StateStore::destroy(&replicas.store_of(id))?;
        }
        let mut drivers = BTreeMap::new();
        for id in here {
            let path = replicas.store_of(id);
            let doubts = (Some(&recovered), config.map.voters(id).first() == Some(&config.node));
            let (founders, seed, cache) = (founders(config, id), config.seed, &recovered.cache);
            let opened = open_replica(config.node, id, &founders, &path, &log, seed, doubts, cache, &logger)?;
            if id == GroupId::CONTROL {
                understands(&opened.shared, config.level)?;
            }
            drivers.insert(id, replicas.start(opened)?);
        }
        let mut threads = Vec::new();
        let mut spawn = |name: String, run: Box<dyn FnOnce() + Send>| -> Result<(), StartError> {
            let thread = std::thread::Builder::new().name(name.clone());
            threads.push(thread.spawn(move || unless_it_panics(&name, run))?);
            Ok(())
        };
        let snapshots = Arc::new(SnapshotServer::new(config.dir.join("snapshots"), registry.clone())?);
        let (asks, asked) = channel();
        spawn("replicas".to_owned(), Box::new(move || replicas.run(&asked)))?;
        let (writer, tasks) = channel();
        let persisted = PersistedQueue::default();
        let log_writer = Writer {
            log: log.clone(),
            tasks,
            events: events.clone(),
            persisted: persisted.clone(),
            outbox: Outbox::new(network.clone()),
            replicas: asks.clone(),
        };
        spawn("raft-log".to_owned(), Box::new(move || log_writer.run()))?;
        let fetcher = Fetcher {
            dir: config.dir.join("snapshots"),
            network: network.clone(),
            events: events.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        let driver = Driver {
            groups: drivers,
            events: inbox,
            writer,
            persisted,
            outbox: Outbox::new(network.clone()),
            log,
            fetcher,
            note: recovered.distrust,
            ticks: 0,
            log_silent_ticks: 0,
            pace: Pace::default(),
            node: config.node,
            wanted: BTreeMap::new(),
            replicas: asks,
            coming_or_going: BTreeSet::new(),
        };
        spawn("raft".to_owned(), Box::new(move || driver.run()))?;
        let threads = Mutex::new(threads);
        // Not what the configuration says: that may be no more than what this node would begin a cluster with.
        let heard_level = AtomicU32::new(0);
        Ok(Arc::new(MetaServer {
            node: config.node,
            groups: registry,
            events,
            snapshots,
            network,
            threads,
            heard_level,
        }))
    }

    /// Carries out a call to a metadata group.
    ///
    /// # Errors
    /// [`GroupError`]: `Unknown` means that a command may yet be applied.
    pub async fn meta(&self, request: MetaRequest) -> Result<MetaReply, GroupError> {
        let group = request.group;
        match request.op {
            MetaOp::Command(id, command) => match self.propose(group, LogCommand::Meta(Some(id), command)).await? {
                Applied::Meta(result) => Ok(MetaReply::Applied(result)),
                Applied::Control(_) => Err(GroupError::NotHere),
            },
            MetaOp::Query(query) => {
                self.read_index(group).await?;
                self.query(group, &query)
            }
            MetaOp::StaleQuery(query) => self.query(group, &query),
        }
    }

    /// Carries out a call to the control group.
    ///
    /// # Errors
    /// [`GroupError`]: `Unknown` means that a command may yet be applied.
    pub async fn control(&self, request: ControlRequest) -> Result<ControlReply, GroupError> {
        match request {
            ControlRequest::Command(command) => {
                if let Some(refusal) = self.is_early(&command)? {
                    return Ok(ControlReply::Applied(Err(refusal)));
                }
                match self.propose(GroupId::CONTROL, LogCommand::Control(command)).await? {
                    Applied::Control(result) => Ok(ControlReply::Applied(result)),
                    Applied::Meta(_) => Err(GroupError::NotHere),
                }
            }
            ControlRequest::Query(query) => {
                self.read_index(GroupId::CONTROL).await?;
                Ok(ControlReply::Answer(self.control_query(&query)?))
            }
            ControlRequest::StaleQuery(query) => Ok(ControlReply::Answer(self.control_query(&query)?)),
        }
    }

    /// Why a command is not proposed to the control group, if its level is above that of the cluster: there may be replicas that could not read
    /// it. The level never falls, so whoever leads and has seen it once may go by it.
    fn is_early(&self, command: &ControlCommand) -> Result<Option<ControlRefusal>, GroupError> {
        let needs = command.level();
        if needs <= FeatureLevel::OLDEST {
            return Ok(None);
        }
        self.leading(GroupId::CONTROL)?;
        Ok(match self.map().map(|map| map.level) {
            None => Some(ControlRefusal::NotBootstrapped),
            Some(at) if at < needs => Some(ControlRefusal::Level { needs, at }),
            Some(_) => None,
        })
    }

    /// Whether a command of that level may stand in a log: there may be replicas that could not read it. A leader that has not heard of the level yet
    /// says so, and no more than that: the same command may have been applied through one that has.
    fn allows(&self, needs: FeatureLevel) -> Result<(), GroupError> {
        let heard = || FeatureLevel(self.heard_level.load(Ordering::Relaxed));
        if needs <= FeatureLevel::OLDEST || needs <= heard() {
            return Ok(());
        }
        if let Some(map) = self.map() {
            self.hears(map.level);
        }
        let at = heard();
        if needs <= at { Ok(()) } else { Err(GroupError::Level { needs, at }) }
    }

    fn hears(&self, level: FeatureLevel) {
        self.heard_level.fetch_max(level.0, Ordering::Relaxed);
    }

    /// Proposes a command and waits until it is applied here. Dropping the future does not take the command back.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn propose(&self, group: GroupId, command: LogCommand) -> Result<Applied, GroupError> {
        let shared = self.leading(group)?;
        self.allows(command.level())?;
        let command = proto::encode(&command);
        let bytes = command.len();
        if bytes > COMMAND_BYTES_MAX {
            return Err(GroupError::TooLarge);
        }
        if !shared.admit(bytes) {
            return Err(GroupError::Busy);
        }
        let (reply, answer) = oneshot::channel();
        if let Err(error) = self.tell(Event::Propose { group, proposal: Proposal { command, reply } }) {
            shared.release(bytes);
            return Err(error);
        }
        answer.await.unwrap_or(Err(GroupError::Unknown))
    }

    /// Has a group carry out a command of its own, one without a request id, and waits until it is applied here.
    ///
    /// # Errors
    /// [`GroupError`]. The inner result is the group's.
    pub async fn own(&self, group: GroupId, command: Command) -> Result<Result<Outcome, Refusal>, GroupError> {
        match self.propose(group, LogCommand::Meta(None, command)).await? {
            Applied::Meta(result) => Ok(result),
            Applied::Control(_) => Err(GroupError::NotHere),
        }
    }

    /// Waits until everything committed before this call is applied here, a quorum having confirmed that this node leads: in answer to this call, or lately enough
    /// (`raft_core`'s lease).
    ///
    /// # Errors
    /// [`GroupError`]; asking again is always safe.
    pub async fn read_index(&self, group: GroupId) -> Result<LogIndex, GroupError> {
        let shared = self.leading(group)?;
        if let Some(index) = shared.read_by_lease() {
            return Ok(index);
        }
        let (reply, answer) = oneshot::channel();
        self.tell(Event::Read { group, reply })?;
        let index = answer.await.unwrap_or(Err(GroupError::Unknown))?;
        shared.wait_applied(index).await;
        Ok(index)
    }

    /// Answers a query from what is applied here, which may be stale.
    ///
    /// # Errors
    /// `NotHere`: no replica here, or its state is being replaced.
    pub fn query(&self, group: GroupId, query: &Query) -> Result<MetaReply, GroupError> {
        let store = self.group(group)?.readable().ok_or(GroupError::NotHere)?;
        match meta_core::query(&store.view(), group, query) {
            Ok(answer) => Ok(MetaReply::Answer(answer.map(Box::new))),
            Err(error) => crate::writer::fence("the state store cannot be read", &error),
        }
    }

    /// Answers a query to the control group from what is applied here, which may be stale.
    ///
    /// # Errors
    /// `NotHere`: no replica here, or its state is being replaced.
    pub fn control_query(&self, query: &ControlQuery) -> Result<ControlAnswer, GroupError> {
        let store = self.group(GroupId::CONTROL)?.readable().ok_or(GroupError::NotHere)?;
        match meta_core::control_query(&store.view(), query) {
            Ok(answer) => Ok(answer),
            Err(error) => crate::writer::fence("the state store cannot be read", &error),
        }
    }

    /// The placement map as applied here, if this node has a replica of the control group and the map was set.
    #[must_use]
    pub fn map(&self) -> Option<PlacementMap> {
        match self.control_query(&ControlQuery::Map) {
            Ok(ControlAnswer::Map(map)) => map.map(|map| *map),
            _ => None,
        }
    }

    /// Sets the first placement map if this node leads the control group and there is none yet. Called until [`MetaServer::map`] is set.
    pub async fn bootstrap(&self, map: &PlacementMap) {
        if self.is_leader(GroupId::CONTROL) && self.map().is_none() {
            let command = ControlCommand::Bootstrap { map: map.clone() };
            if let Err(error) = self.propose(GroupId::CONTROL, LogCommand::Control(command)).await {
                tracing::debug!(%error, "bootstrap is tried again");
            }
        }
    }

    /// Takes Raft messages of another node; drops them when the raft thread cannot keep up.
    pub fn raft(&self, from: NodeId, batch: RaftBatch) {
        let _ = self.events.try_send(Event::Raft { from, batch });
    }

    /// Serves a piece of a snapshot to another node, `from`.
    pub async fn snapshot(
        &self,
        from: NodeId,
        request: SnapshotRequest,
    ) -> (Result<SnapshotReply, SnapshotError>, Bytes) {
        let snapshots = self.snapshots.clone();
        let serve = tokio::task::spawn_blocking(move || {
            snapshots.expire();
            snapshots.serve(from, request)
        });
        serve.await.unwrap_or((Err(SnapshotError::Gone), Bytes::new()))
    }

    /// Where each replica stands.
    #[must_use]
    pub fn statuses(&self) -> Vec<GroupStatus> {
        self.groups.all().iter().map(|shared| status(shared)).collect()
    }

    /// Who leads a group, as far as this node knows.
    #[must_use]
    pub fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        self.groups.get(group)?.leader()
    }

    /// Whether the replica of a group here votes and has lately heard a leader: one that its group has let go hears none.
    #[must_use]
    pub fn votes_under_a_leader(&self, group: GroupId) -> bool {
        let view = self.groups.get(group).map(|shared| shared.view());
        view.is_some_and(|view| view.role != Role::Learner && view.leader.is_some())
    }

    /// Whether this node leads a group, as far as it knows.
    #[must_use]
    pub fn is_leader(&self, group: GroupId) -> bool {
        self.groups.get(group).is_some_and(|shared| shared.leads())
    }

    /// Whether this node leads a group and has applied an entry of its own term: all that former leaders have brought about is in its state.
    #[must_use]
    pub fn leads_with_all(&self, group: GroupId) -> bool {
        self.groups.get(group).is_some_and(|shared| shared.leads_with_all())
    }

    /// Groups this node has a replica of.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.all().into_iter().map(|shared| shared.id)
    }

    /// Takes note of a newer placement map that the control group has set: where the nodes are, which feature level the cluster is at, and who shall vote in which group. The groups that this node leads
    /// change their members until they are as wanted, and drop nobody before.
    ///
    /// `false`: the raft thread is busy, tell it again.
    #[must_use]
    pub fn set_map(&self, map: &PlacementMap) -> bool {
        self.network.set_map(map);
        self.hears(map.level);
        let wanted = map.raft_groups.iter().map(|placed| (placed.id, placed.wanted.clone()));
        self.tell(Event::Wanted(wanted.collect())).is_ok()
    }

    /// What this node knows of the members of its groups.
    #[must_use]
    pub fn memberships(&self) -> Vec<Membership> {
        let of = |shared: &Arc<GroupShared>| {
            // In this order: members of a later entry than `at` names are told again under a later one.
            let (at, members) = (shared.applied().index, shared.members());
            let doubted = shared.doubted.load(Ordering::Relaxed);
            Membership { group: shared.id, replica: shared.replica, leads: shared.leads(), at, members, doubted }
        };
        self.groups.all().iter().map(of).collect()
    }

    /// The members of a group that this node leads, confirmed by a quorum.
    ///
    /// # Errors
    /// [`GroupError`]; asking again is always safe.
    pub async fn members(&self, group: GroupId) -> Result<Members, GroupError> {
        self.read_index(group).await?;
        Ok(self.group(group)?.members())
    }

    /// Removes a replica that its group has let go: one that [`MetaServer::members`] of its leader did not name after it was made.
    /// Its name never comes back. Nothing happens if `replica` is not here.
    pub fn let_go(&self, group: GroupId, replica: ReplicaId) {
        let _ = self.tell(Event::LetGo { group, replica });
    }

    /// Has another voter lead `group`, if this node leads it and somebody is fit to. Requests wait meanwhile, for as long as two
    /// messages take.
    pub fn hand_over_group(&self, group: GroupId) {
        let _ = self.tell(Event::HandOverGroup(group));
    }

    /// Has others lead what this node leads, so that nobody waits out an election when it stops. Gives up after half a second.
    pub async fn hand_over(&self) {
        let leads_any = || self.groups.all().iter().any(|shared| shared.leads());
        let over = async {
            while leads_any() {
                tokio::time::sleep(HAND_OVER_CHECK).await;
            }
        };
        if leads_any() && self.tell(Event::HandOver).is_ok() {
            let _ = tokio::time::timeout(HAND_OVER_MAX, over).await;
        }
    }

    /// Stops the threads after what they hold is written and flushed.
    pub async fn stop(&self) {
        let (events, threads) = (self.events.clone(), std::mem::take(&mut *self.threads.lock()));
        let stop = tokio::task::spawn_blocking(move || {
            let _ = events.send(Event::Stop);
            for thread in threads {
                let _ = thread.join();
            }
        });
        let _ = stop.await;
    }

    fn group(&self, group: GroupId) -> Result<Arc<GroupShared>, GroupError> {
        self.groups.get(group).ok_or(GroupError::NotHere)
    }

    fn leading(&self, group: GroupId) -> Result<Arc<GroupShared>, GroupError> {
        let shared = self.group(group)?;
        let view = shared.view();
        match view.role {
            Role::Leader => Ok(shared),
            Role::Follower | Role::Candidate | Role::Learner => {
                Err(GroupError::NotLeader { leader: view.leader.filter(|leader| *leader != self.node) })
            }
        }
    }

    fn tell(&self, event: Event) -> Result<(), GroupError> {
        self.events.try_send(event).map_err(|error| match error {
            TrySendError::Full(_) => GroupError::Busy,
            TrySendError::Disconnected(_) => GroupError::NotHere,
        })
    }
}

/// A node without one of its threads would be neither dead nor alive: others would go on to count on it. So it dies, and comes back
/// from what is on its disks.
pub(crate) fn unless_it_panics(thread: &str, run: Box<dyn FnOnce() + Send>) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        tracing::error!(thread, "a thread of the metadata service panicked: this node stops serving");
        std::process::abort();
    }
}

fn status(shared: &GroupShared) -> GroupStatus {
    let view = shared.view();
    let role = match view.role {
        _ if view.quarantined => GroupStatus::QUARANTINED,
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
    };
    let members = shared.members();
    let nodes = |voting| {
        let members = members.all().filter(|member| members.is_voter(*member) == voting);
        members.map(|member| member.node()).collect()
    };
    GroupStatus {
        group: shared.id,
        role: role.to_owned(),
        leader: view.leader,
        term: view.term,
        commit: view.commit,
        applied: shared.applied().index,
        first: LogIndex(view.start.0 + 1),
        last: view.last,
        voters: nodes(true),
        learners: nodes(false),
        diverged: shared.is_diverged(),
    }
}
