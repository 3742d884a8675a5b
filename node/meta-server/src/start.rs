//! From what lies on the disk to running replicas.

use crate::boot_note::{self, Note};
use crate::config::MetaConfig;
use crate::shared::GroupShared;
use raft_core::{Group, GroupConfig, HardState, LogStart, Quarantine, slog};
use raft_log::{RaftLog, Recovery};
use state_store::{SharedCache, StateStore};
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};
use types::{GroupId, LogIndex, NodeId};

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

/// Everything that was recovered.
pub(crate) struct Started {
    pub(crate) log: Arc<RaftLog>,
    pub(crate) cache: SharedCache,
    pub(crate) groups: Vec<StartedGroup>,
    /// To be left once no replica is in quarantine any more.
    pub(crate) note: Option<Note>,
}

pub(crate) fn start_groups(config: &MetaConfig, logger: &slog::Logger) -> Result<Started, StartError> {
    fs::create_dir_all(config.dir.join("state"))?;
    let (log, recovery) = RaftLog::open(&config.dir.join("raft"), config.node)?;
    let log = Arc::new(log);
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
    let cache = SharedCache::new(config.cache_bytes);
    let mut groups = Vec::new();
    for placed in config.map.raft_groups.iter().filter(|placed| placed.voters.contains(&config.node)) {
        groups.push(start_group(config, placed.id, &placed.voters, &log, &recovery, distrust, &cache, logger)?);
    }
    Ok(Started { log, cache, groups, note: distrust.then_some(note) })
}

#[allow(clippy::too_many_arguments, reason = "one call site; a struct would only repeat the names")]
fn start_group(
    config: &MetaConfig,
    id: GroupId,
    voters: &[NodeId],
    log: &Arc<RaftLog>,
    recovery: &Recovery,
    distrust: bool,
    cache: &SharedCache,
    logger: &slog::Logger,
) -> Result<StartedGroup, StartError> {
    let path = config.dir.join("state").join(id.0.to_string());
    let store = StateStore::open(&path, cache).map_err(|error| StartError::State(id, error))?;
    let point = store.applied();
    let applied = LogStart { index: point.index, term: point.term };
    let first_start = log.load(id).is_none();
    log.create_group(id)?;
    let mut recovered = log.load(id).unwrap_or_default();
    if applied.index > recovered.last {
        // A snapshot was installed and the process ended before the log followed.
        let commit = recovered.hard_state.commit.max(applied.index);
        let hard_state =
            HardState { term: recovered.hard_state.term.max(applied.term), commit, ..recovered.hard_state };
        log.reset(id, hard_state, applied)?;
        recovered = log.load(id).unwrap_or_default();
    }
    let last = LogStart { index: recovered.last, term: recovered.last_term };
    let quarantine = (distrust || recovery.amnesia.contains(&id)).then(|| {
        tracing::warn!(group = %id, "this replica may have forgotten promises: it does not vote before it has caught up");
        let others = voters.iter().copied().filter(|voter| *voter != config.node);
        Quarantine::new(others, recovered.owed.unwrap_or(LogIndex(0)))
    });
    let mut raft = Group::new(GroupConfig {
        node: config.node,
        voters: voters.to_vec(),
        hard_state: recovered.hard_state,
        start: recovered.start,
        last,
        applied,
        reader: log.reader(id),
        seed: config.seed ^ (u64::from(id.0) << 32) ^ config.node.0,
        quarantine,
        logger: logger.clone(),
    })
    .map_err(|error| StartError::Group(id, error))?;
    if first_start && voters.first() == Some(&config.node) {
        // Nobody can lead a group that has just been made: spare it the first election timeout.
        raft.campaign();
    }
    let shared = Arc::new(GroupShared::new(id, raft.view(), store, applied));
    Ok(StartedGroup { shared, raft, hard_state: recovered.hard_state, path })
}
