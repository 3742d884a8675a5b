//! `sago meta import`: the first metadata of a node, from files.
//!
//! Every node that votes makes its own from the same files, and all come to the same: members, log, counters. Nothing is asked of anybody.

use super::{build, group_of};
use crate::cli::MetaImportArgs;
use crate::exit::{Done, Failure, Kind};
use crate::fsck::Site;
use crate::object::bar;
use crate::output::{Output, bytes, table, time};
use meta_core::control_query;
use meta_core::kv::Kv;
use meta_core::memory::MemoryKv;
use proto::control::{ControlAnswer, ControlQuery};
use proto::log::Recovery;
use serde::Serialize;
use state_store::{ExportError, ExportHead, ExportReader, ExportSum};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use types::{BucketId, ClusterId, GroupId, Incarnation, NodeId, NodeMode, PlacementMap};

/// Rows of the control group that are taken into memory: all it can have is far less.
const CONTROL_BYTES_MAX: u64 = 512 << 20;

/// Entries and terms from which on a file is not believed. An index takes 44 bits of a replica's id, and has to move on.
const POINT_LIMIT: u64 = 1 << 43;

/// A file that was read to its end and is what was written.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) path: PathBuf,
    pub(super) head: ExportHead,
    sum: ExportSum,
}

/// What is to be made on this node.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) node: NodeId,
    /// The groups that this node votes in.
    pub(super) groups: Vec<Checked>,
    /// Who votes in each.
    pub(super) voters: BTreeMap<GroupId, Vec<NodeId>>,
    /// Groups that the cluster file says this node began with, and that it has nothing of any more.
    pub(super) former: Vec<GroupId>,
    /// What the states are told.
    pub(super) recovery: Recovery,
    /// What the number of this node's starts goes on from.
    pub(super) incarnation: Incarnation,
}

#[derive(Serialize)]
struct Shown {
    node: u64,
    cluster: String,
    imported: bool,
    groups: Vec<ShownGroup>,
}

#[derive(Serialize)]
struct ShownGroup {
    group: u32,
    file: String,
    time: String,
    index: u64,
    rows: u64,
    bytes: u64,
    voters: Vec<u64>,
    /// Buckets that the control group places here and that are not, and the reverse.
    contradictions: Vec<String>,
}

/// Carries out `sago meta import`.
///
/// # Errors
/// [`Failure`]: the node has nothing of it.
pub(super) fn import(args: &MetaImportArgs, output: Output) -> Done {
    let site = Site::load(&args.path)?;
    let Some(cluster) = site.cluster.as_ref() else {
        return Err(Failure::new(Kind::Usage, "the cluster file is missing: it names the cluster"));
    };
    // Before much is read; asked again when it is begun.
    node_server::may_import(&site.meta).map_err(Failure::failed)?;
    let files = check_all(&args.from, cluster.cluster, output.json)?;
    let (map, buckets) = control_of(&files)?;
    let plan = plan(site.node, &cluster.map, &map, files)?;
    let contradictions =
        if args.plan { BTreeMap::new() } else { build::build(&site.meta, &plan, &buckets, output.json)? };
    let groups = plan.groups.iter().map(|checked| {
        let Checked { path, head, sum } = checked;
        ShownGroup {
            group: head.group.0,
            file: path.display().to_string(),
            time: time(head.time),
            index: head.index.0,
            rows: sum.rows,
            bytes: sum.bytes,
            voters: plan.voters.get(&head.group).into_iter().flatten().map(|voter| voter.0).collect(),
            contradictions: contradictions.get(&head.group).cloned().unwrap_or_default(),
        }
    });
    let shown = Shown {
        node: site.node.0,
        cluster: cluster.cluster.to_string(),
        imported: !args.plan,
        groups: groups.collect(),
    };
    output.show(&shown, Shown::text)
}

/// Reads every file of a folder to its end.
pub(super) fn check_all(from: &Path, cluster: ClusterId, quiet: bool) -> Done<Vec<Checked>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(group) = group_of(&name) else { continue };
        let path = from.join(&name);
        let damaged = |error: ExportError| {
            let kind = if matches!(error, ExportError::Io(_)) { Kind::Failed } else { Kind::Damaged };
            Failure::new(kind, format!("{}: {error}", path.display()))
        };
        let shown = bar(&name, Some(fs::metadata(&path)?.len()), quiet);
        let reader = ExportReader::new(BufReader::new(File::open(&path)?)).map_err(damaged)?;
        let (head, sum) = reader.verify(&mut |bytes| shown.inc(bytes)).map_err(damaged)?;
        shown.finish_and_clear();
        if head.group != group {
            return Err(Failure::new(Kind::Damaged, format!("{} holds {}", path.display(), head.group)));
        }
        if head.index.0 >= POINT_LIMIT || head.term.0 >= POINT_LIMIT {
            return Err(Failure::new(Kind::Damaged, format!("{} is of an entry that no log can have", path.display())));
        }
        if head.cluster != cluster {
            let message = format!("{} is of cluster {}, this node of {cluster}", path.display(), head.cluster);
            return Err(Failure::new(Kind::Failed, message));
        }
        files.push(Checked { path, head, sum });
    }
    files.sort_by_key(|file| file.head.group);
    Ok(files)
}

/// The buckets that the control group knows.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// Where each lives, and its name.
    pub(super) known: BTreeMap<BucketId, (GroupId, String)>,
    /// Those that were deleted. Their groups have them still.
    pub(super) deleted: BTreeSet<BucketId>,
}

/// The placement map, and which buckets live where.
fn control_of(files: &[Checked]) -> Done<(PlacementMap, Buckets)> {
    let control = files.iter().find(|file| file.head.group == GroupId::CONTROL);
    let control = control
        .ok_or_else(|| Failure::new(Kind::Failed, "there is no group-0.meta: the control group says who votes"))?;
    if control.sum.bytes > CONTROL_BYTES_MAX {
        return Err(Failure::new(
            Kind::Damaged,
            format!("{} is too large for a control group", control.path.display()),
        ));
    }
    let mut reader = ExportReader::new(BufReader::new(File::open(&control.path)?)).map_err(Failure::failed)?;
    let mut kv = MemoryKv::new();
    while let Some((key, value)) = reader.next_row().map_err(Failure::failed)? {
        kv.put(&key, &value);
    }
    let unreadable =
        || Failure::new(Kind::Damaged, format!("{}: its placement map cannot be read", control.path.display()));
    let Ok(ControlAnswer::Map(Some(map))) = control_query(&kv, &ControlQuery::Map) else { return Err(unreadable()) };
    let Ok(ControlAnswer::Buckets(all)) = control_query(&kv, &ControlQuery::Buckets) else { return Err(unreadable()) };
    let Ok(ControlAnswer::DeletedBuckets(deleted)) = control_query(&kv, &ControlQuery::DeletedBuckets) else {
        return Err(unreadable());
    };
    let known = all.into_iter().map(|info| (info.id, (info.group, info.name))).collect();
    let deleted = deleted.into_iter().map(|(info, _)| info.id).collect();
    Ok((*map, Buckets { known, deleted }))
}

/// What is to be made on a node; the same on all of them but for the choice of groups.
pub(super) fn plan(node: NodeId, first: &PlacementMap, map: &PlacementMap, files: Vec<Checked>) -> Done<Plan> {
    let refused = |message: String| Err(Failure::new(Kind::Failed, message));
    let Some(entry) = map.node(node).filter(|entry| entry.mode != NodeMode::Removed) else {
        return refused(format!("{node} did not belong to the cluster when this was exported"));
    };
    let stays = |node: &&NodeId| map.node(**node).is_some_and(|entry| entry.mode != NodeMode::Removed);
    let wanted =
        map.raft_groups.iter().map(|placed| (placed.id, placed.wanted.iter().filter(stays).copied().collect()));
    let voters: BTreeMap<GroupId, Vec<NodeId>> = wanted.collect();
    let mine = |group: &GroupId| voters.get(group).is_some_and(|voters| voters.contains(&node));
    let missing: Vec<_> = voters.keys().filter(|group| !files.iter().any(|file| file.head.group == **group)).collect();
    if !missing.is_empty() {
        let missing: Vec<_> = missing.iter().map(|group| format!("group-{}.meta", group.0)).collect();
        return refused(format!(
            "not all groups are there: {} must be exported from a node that has them",
            missing.join(", ")
        ));
    }
    let began = first.raft_groups.iter().filter(|placed| placed.voters.contains(&node)).map(|placed| placed.id);
    let former = began.filter(|group| !mine(group)).collect();
    let recovery = Recovery { voters: voters.clone().into_iter().collect(), lost: Vec::new() };
    let groups = files.into_iter().filter(|file| mine(&file.head.group)).collect();
    // Beyond every start that anybody has heard of: what is older than known is not believed.
    let incarnation = Incarnation(entry.incarnation.0 + build::NUMBERS);
    Ok(Plan { node, groups, voters, former, recovery, incarnation })
}

impl Shown {
    fn text(&self) -> String {
        let mut rows = vec![["GROUP", "AS OF", "INDEX", "ROWS", "BYTES", "VOTERS"].map(str::to_owned).to_vec()];
        for group in &self.groups {
            let voters: Vec<_> = group.voters.iter().map(u64::to_string).collect();
            rows.push(vec![
                group.group.to_string(),
                group.time.clone(),
                group.index.to_string(),
                group.rows.to_string(),
                bytes(group.bytes),
                voters.join(","),
            ]);
        }
        let mut text = table(&rows);
        for line in self.groups.iter().flat_map(|group| &group.contradictions) {
            text.push_str(&format!("\nLOOK AT THIS: {line}"));
        }
        let node = self.node;
        text.push_str(&match self.imported {
            true => format!(
                "\nNode {node} has its metadata. Import on every other voter from the same files, then start them.\n\
                 Nothing is deleted from the disks until you say `sago cluster garbage --on`.\n"
            ),
            false => format!("\nThis is what node {node} would be given; the files are whole. Nothing was written.\n"),
        });
        text
    }
}
