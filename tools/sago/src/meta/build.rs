//! Making the metadata folder of a node from files that were checked.
//!
//! ```text
//! 1. META/import-unfinished  from now on no node starts on the folder, and the next import begins anew
//! 2. META/state/N            rows, then what a state is told that is restored, then members and point; flushed, audited
//! 3. META/raft               each log begins at the point; groups the node began with and has lost leave tombstones; closed in order
//! 4. META/incarnation, then META/import-unfinished is removed
//! ```

use super::export::sound;
use super::import::{Buckets, Checked, Plan};
use crate::exit::{Done, Failure, Kind};
use crate::object::bar;
use meta_core::audit::{ITEMS_MAX, audit};
use meta_core::kv::{Kv, KvRead};
use meta_core::{query, recover};
use proto::meta::{Answer, Query};
use raft_core::{HardState, LogStart, Members};
use raft_log::RaftLog;
use state_store::{AppliedPoint, ExportReader, SharedCache, StateStore};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use types::{Findings, GroupId, LogIndex, ReplicaId, Term};

/// How far the log of a restored group begins behind the point of its rows, in entries and in terms, and how many starts of a node are passed
/// over: no replica, term or start of the lost time comes back.
pub(super) const NUMBERS: u64 = 1 << 20;
/// Memory for the stores while they are filled.
const CACHE_BYTES: usize = 64 << 20;
/// Bytes of rows in one batch.
const BATCH_BYTES: usize = 4 << 20;
/// Buckets read at a time.
const BUCKETS: u32 = 256;

/// Makes everything. Returns what control group and metadata groups contradict each other in.
///
/// # Errors
/// [`Failure`]: the node does not start on what was begun; the next import throws it away.
pub(super) fn build(meta: &Path, plan: &Plan, buckets: &Buckets, quiet: bool) -> Done<BTreeMap<GroupId, Vec<String>>> {
    let folder = node_server::begin_import(meta).map_err(Failure::failed)?;
    fs::create_dir(meta.join("state"))?;
    let cache = SharedCache::new(CACHE_BYTES);
    let mut contradictions = BTreeMap::new();
    for checked in &plan.groups {
        let group = checked.head.group;
        let path = meta.join("state").join(group.0.to_string());
        let store = fill(&path, checked, plan, &cache, quiet)?;
        let mut findings = Findings::default();
        audit(&store.view(), group, ITEMS_MAX, &mut findings, &mut |_| {}).map_err(Failure::failed)?;
        sound(&findings).map_err(|failure| failure.while_doing(checked.path.display()))?;
        if group != GroupId::CONTROL {
            contradictions.insert(group, contradicted(group, &store.view(), buckets)?);
        }
    }
    logs(&meta.join("raft"), plan)?;
    File::open(meta.join("state"))?.sync_all()?;
    folder.finish(plan.incarnation).map_err(Failure::failed)?;
    Ok(contradictions)
}

/// Where the log of a restored group begins.
fn point(checked: &Checked) -> AppliedPoint {
    let index = LogIndex(checked.head.index.0 + NUMBERS);
    AppliedPoint { index, term: Term(checked.head.term.0 + NUMBERS), commit: index }
}

/// The members that it begins with: replicas that never were before.
fn members(plan: &Plan, checked: &Checked) -> Members {
    let life = point(checked).index;
    let voters = plan.voters.get(&checked.head.group).into_iter().flatten();
    let mut voters: Vec<_> = voters.map(|voter| ReplicaId::new(*voter, life)).collect();
    voters.sort_unstable();
    Members { voters, ..Members::default() }
}

fn fill(path: &Path, checked: &Checked, plan: &Plan, cache: &SharedCache, quiet: bool) -> Done<StateStore> {
    let group = checked.head.group;
    let store = StateStore::open(path, cache).map_err(Failure::failed)?;
    let file = File::open(&checked.path)?;
    let shown = bar(&format!("{group}"), Some(file.metadata()?.len()), quiet);
    let mut reader = ExportReader::new(BufReader::new(file)).map_err(Failure::failed)?;
    let (mut batch, mut pending) = (store.batch(), 0);
    while let Some((key, value)) = reader.next_row().map_err(Failure::failed)? {
        batch.put(&key, &value);
        pending += key.len() + value.len();
        if pending >= BATCH_BYTES {
            store.commit(batch, AppliedPoint::default(), None).map_err(Failure::failed)?;
            shown.inc(pending as u64);
            (batch, pending) = (store.batch(), 0);
        }
    }
    store.commit(batch, AppliedPoint::default(), None).map_err(Failure::failed)?;
    shown.finish_and_clear();
    if *reader.head() != checked.head {
        return Err(Failure::new(Kind::Failed, format!("{} was changed meanwhile", checked.path.display())));
    }
    let mut batch = store.batch();
    recover(&mut batch, group, &plan.recovery).map_err(Failure::failed)?;
    store.commit(batch, point(checked), Some(&members(plan, checked).encode())).map_err(Failure::failed)?;
    store.sync().map_err(Failure::failed)?;
    Ok(store)
}

fn logs(path: &Path, plan: &Plan) -> Done {
    let (log, _) = RaftLog::open(path, plan.node).map_err(Failure::failed)?;
    for group in &plan.former {
        log.create_group(*group).map_err(Failure::failed)?;
        log.remove_group(*group).map_err(Failure::failed)?;
    }
    for checked in &plan.groups {
        let (group, at) = (checked.head.group, point(checked));
        log.admit(group, ReplicaId::new(plan.node, at.index)).map_err(Failure::failed)?;
        let hard_state = HardState { term: at.term, vote: ReplicaId(0), commit: at.index };
        log.reset(group, hard_state, LogStart { index: at.index, term: at.term }).map_err(Failure::failed)?;
    }
    log.settle().map_err(Failure::failed)
}

/// Buckets that only one of the two knows: their exports are of different moments.
fn contradicted(group: GroupId, state: &dyn KvRead, buckets: &Buckets) -> Done<Vec<String>> {
    let mut there = BTreeSet::new();
    let mut after = None;
    while let Ok(Answer::GroupBuckets(page)) =
        query(state, group, &Query::GroupBuckets { after, max: BUCKETS }).map_err(Failure::failed)?
    {
        let Some(last) = page.last() else { break };
        after = Some(*last);
        there.extend(page);
    }
    let mut lines = Vec::new();
    for (bucket, (_, name)) in buckets.known.iter().filter(|(bucket, (of, _))| *of == group && !there.contains(bucket))
    {
        lines.push(format!(
            "the control group knows {name} ({bucket}), which {group} has never seen: it was made after {group} was exported"
        ));
    }
    for bucket in there.iter().filter(|bucket| !buckets.known.contains_key(bucket) && !buckets.deleted.contains(bucket))
    {
        lines.push(format!(
            "{group} has {bucket}, which the control group does not know: it was made after the control group was exported"
        ));
    }
    Ok(lines)
}
