//! The writing, in an order in which a crash leaves the former state or the new one.
//!
//! ```text
//! 1. META/recovered-GROUP-INDEX.before   what the log said of itself, flushed     crash: nothing is changed
//! 2. the states are flushed              so that they come back with their members crash: nothing is changed
//! 3. one batch in the Raft log           for all groups                           crash: all of it or nothing
//! ```
//! What has to change in the states (counters, the collector, nodes that are removed) is a command in that batch: each replica applies it as
//! any other. So there is no half-done recovery that a node could start on.

use super::plan::{Beginning, GroupPlan, Plan};
use crate::exit::{Done, Failure, Kind};
use crate::fsck::Site;
use bytes::Bytes;
use proto::log::{LogBatch, LogCommand, Recovery};
use raft_core::{Change, Entry, EntryKind};
use raft_log::{ReplaceError, Replacement, replace_voters};
use state_store::{SharedCache, StateStore};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use types::{GroupId, LogIndex, NodeId, ReplicaId, Timestamp};

/// For the stores that are opened to be flushed: nothing is read from them.
const CACHE_BYTES: usize = 16 << 20;

/// Writes everything.
///
/// # Errors
/// [`Failure`]: nothing was changed, unless the disk failed in the last step, which the message says.
pub(super) fn write(site: &Site, plan: &Plan) -> Done {
    for group in &plan.groups {
        keep_what_was(&site.meta, group)?;
    }
    let cache = SharedCache::new(CACHE_BYTES);
    for group in &plan.groups {
        let path = site.meta.join("state").join(group.group.to_string());
        let store = StateStore::open(&path, &cache).map_err(Failure::failed)?;
        store.sync().map_err(Failure::failed)?;
    }
    let replaced = replace_voters(&site.meta.join("raft"), site.node, &replacements(site.node, plan));
    replaced.map_err(|error| {
        let unknown = matches!(error, ReplaceError::Fatal(_));
        let failure = Failure::failed(error);
        match unknown {
            true => failure.while_doing("the disk failed: whether it was written is not known, do it again"),
            false => failure,
        }
    })
}

/// Notes beside the log what it said of itself, for a person who wants to go back.
fn keep_what_was(meta: &Path, group: &GroupPlan) -> Done {
    let index = group.start.index;
    let noted = serde_json::json!({ "before": group.before, "plan": group });
    let path = meta.join(format!("recovered-{}-{}.before", group.group, index.0));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&path)?;
        writeln!(file, "{noted:#}")?;
        file.sync_all()?;
        File::open(meta)?.sync_all()
    };
    write().map_err(|error| Failure::new(Kind::Failed, format!("{}: {error}", path.display())))
}

fn replacements(node: NodeId, plan: &Plan) -> Vec<Replacement> {
    let voters = plan.groups.iter().map(|group| (GroupId(group.group), vec![node])).collect();
    let recovery = Recovery { voters, lost: plan.others().collect() };
    plan.groups.iter().map(|group| replacement(node, group, &recovery)).collect()
}

/// The two entries: who belongs to the group, and what its state is told.
fn replacement(node: NodeId, plan: &GroupPlan, recovery: &Recovery) -> Replacement {
    let Beginning { index, term } = plan.start;
    let (group, replica) = (GroupId(plan.group), ReplicaId::new(node, index));
    // No clock is asked: the group's time goes on with the first entry of its leader.
    let commands = vec![LogCommand::Recover(recovery.clone())];
    let told = proto::encode(&LogBatch { time: Timestamp(0), commands });
    let entries = vec![
        Entry { term, index, kind: EntryKind::ConfChange, data: Change::Only(replica).encode().into() },
        Entry { term, index: LogIndex(index.0 + 1), kind: EntryKind::Normal, data: Bytes::from(told) },
    ];
    Replacement { group, replica, entries }
}
