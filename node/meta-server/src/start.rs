//! From what lies on the disk to running replicas.

use crate::boot_note::{self, Note};
use crate::config::MetaConfig;
use crate::shared::GroupShared;
use crate::steady_clock;
use meta_core::kv::KvError;
use proto::control::{ControlAnswer, ControlQuery};
use raft_core::{Group, GroupConfig, HardState, LogStart, Members, slog};
use raft_log::{RaftLog, Recovery};
use state_store::{SharedCache, StateStore};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};
use types::{FeatureLevel, GroupId, LogIndex, NodeId, ReplicaId};

/// The metadata service cannot start; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The Raft log cannot be opened.
    #[error("the raft log cannot be opened")]
    Log(#[from] raft_log::OpenError),
    /// The log could not be read or written.
    #[error("the raft log cannot be used")]
    LogIo(#[from] raft_log::Fatal),
    /// A group's state cannot be opened.
    #[error("the state of {0} cannot be opened")]
    State(GroupId, #[source] state_store::OpenError),
    /// Log and state of a group contradict each other.
    #[error("{0} cannot start")]
    Group(GroupId, #[source] raft_core::StartError),
    /// A group's state could not be read or written.
    #[error("the state of a group cannot be used")]
    StateIo(#[from] state_store::Fatal),
    /// The stored members of a group are not what was written, or were written by a newer program.
    #[error("the members of {0} cannot be read; this node must be replaced")]
    Members(GroupId),
    /// The placement map in the state of the control group cannot be read.
    #[error("the placement map cannot be read")]
    Map(#[from] KvError),
    /// The cluster has gone on to what this program does not know.
    #[error("the cluster is at level {cluster}, this program does {program} at most: start a newer one")]
    TooOld {
        /// The level of the cluster.
        cluster: FeatureLevel,
        /// The newest this program can do.
        program: FeatureLevel,
    },
    /// A folder or a thread could not be made.
    #[error("the metadata folder cannot be used")]
    Io(#[from] io::Error),
}

pub(crate) struct StartedGroup {
    pub(crate) shared: Arc<GroupShared>,
    pub(crate) raft: Group,
    pub(crate) hard_state: HardState,
    pub(crate) path: PathBuf,
}

/// What is recovered at the start, before any group is opened.
pub(crate) struct Recovered {
    pub(crate) log: Arc<RaftLog>,
    pub(crate) cache: SharedCache,
    pub(crate) recovery: Recovery,
    /// Every replica may have forgotten promises: the machine went down and a disk may have lied, or the folder is a copy. The note is
    /// to be left once no replica is in quarantine any more.
    pub(crate) distrust: Option<Note>,
}

pub(crate) fn recover(config: &MetaConfig) -> Result<Recovered, StartError> {
    fs::create_dir_all(config.dir.join("state"))?;
    let (log, recovery) = RaftLog::open(&config.dir.join("raft"), config.node)?;
    let (found, note) = boot_note::look(&config.dir)?;
    let distrust = match found {
        boot_note::Found::SameBoot => false,
        boot_note::Found::OtherBoot => recovery.unclean,
        boot_note::Found::Copy => {
            tracing::warn!(folder = %config.dir.display(), "this folder is a copy, and may be an old one");
            true
        }
    };
    if !distrust {
        note.leave()?;
    }
    let (log, cache) = (Arc::new(log), SharedCache::new(config.cache_bytes));
    Ok(Recovered { log, cache, recovery, distrust: distrust.then_some(note) })
}

/// The groups to open: those in the log, and those the cluster began with here and that were not let go since.
pub(crate) fn groups_here(config: &MetaConfig, log: &RaftLog) -> BTreeSet<GroupId> {
    let founding = config.map.raft_groups.iter();
    let founding = founding.filter(|placed| placed.voters.contains(&config.node)).map(|placed| placed.id);
    founding.filter(|group| log.former(*group).is_none()).chain(log.groups()).collect()
}

/// The voters that `group` began with.
pub(crate) fn founders(config: &MetaConfig, group: GroupId) -> Members {
    Members::founding(config.map.voters(group).iter().copied())
}

#[allow(clippy::too_many_arguments, reason = "two call sites; a struct would only repeat the names")]
pub(crate) fn open_replica(
    node: NodeId,
    id: GroupId,
    founders: &Members,
    path: &Path,
    log: &Arc<RaftLog>,
    seed: u64,
    (doubts, campaigns_first): (Option<&Recovered>, bool),
    cache: &SharedCache,
    logger: &slog::Logger,
) -> Result<StartedGroup, StartError> {
    let store = StateStore::open(path, cache).map_err(|error| StartError::State(id, error))?;
    let point = store.applied();
    let applied = LogStart { index: point.index, term: point.term };
    let first_start = log.load(id).is_none();
    log.create_group(id)?;
    let mut recovered = log.load(id).unwrap_or_default();
    let replica = recovered.replica.unwrap_or(ReplicaId::founding(node));
    let members = members_of(id, &store, (recovered.replica.is_none()).then_some(founders))?;
    if applied.index > recovered.last {
        // A snapshot was installed and the process ended before the log followed.
        let commit = recovered.hard_state.commit.max(applied.index);
        let hard_state =
            HardState { term: recovered.hard_state.term.max(applied.term), commit, ..recovered.hard_state };
        log.reset(id, hard_state, applied)?;
        recovered = log.load(id).unwrap_or_default();
    }
    let last = LogStart { index: recovered.last, term: recovered.last_term };
    let forgetful = doubts.is_some_and(|doubts| doubts.distrust.is_some() || doubts.recovery.amnesia.contains(&id));
    let quarantine = forgetful.then(|| {
        tracing::warn!(group = %id, "this replica may have forgotten promises: it does not vote before it has caught up");
        recovered.owed.unwrap_or(LogIndex(0))
    });
    let mut raft = Group::new(GroupConfig {
        replica,
        members: members.clone(),
        hard_state: recovered.hard_state,
        start: recovered.start,
        last,
        applied,
        reader: log.reader(id),
        seed: seed ^ (u64::from(id.0) << 32) ^ node.0,
        quarantine,
        now: steady_clock::now(),
        logger: logger.clone(),
    })
    .map_err(|error| StartError::Group(id, error))?;
    if first_start && campaigns_first {
        // Nobody can lead a group that has just been made: spare it the first election timeout.
        raft.campaign();
    }
    let shared = Arc::new(GroupShared::new(id, (replica, members), raft.view(), store, applied));
    Ok(StartedGroup { shared, raft, hard_state: recovered.hard_state, path: path.to_owned() })
}

/// Refuses a cluster that has gone on to what this program does not know, as far as the state here tells. Asked before anything is applied:
/// the log goes on with entries that this program may be unable to read.
pub(crate) fn understands(control: &GroupShared, program: FeatureLevel) -> Result<(), StartError> {
    let Some(store) = control.readable() else { return Ok(()) };
    match meta_core::control_query(&store.view(), &ControlQuery::Map)? {
        ControlAnswer::Map(Some(map)) if map.level > program => Err(StartError::TooOld { cluster: map.level, program }),
        _ => Ok(()),
    }
}

/// The members as of what the store has applied. One that the group began with notes them at once, so that a snapshot of it, of
/// whatever age, names them.
fn members_of(id: GroupId, store: &StateStore, founders: Option<&Members>) -> Result<Members, StartError> {
    if let Some(stored) = store.members()? {
        return Members::decode(&stored).ok_or(StartError::Members(id));
    }
    let Some(founders) = founders else { return Ok(Members::default()) };
    store.commit(store.batch(), store.applied(), Some(&founders.encode()))?;
    Ok(founders.clone())
}
