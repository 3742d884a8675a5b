//! What would be done and what it may cost, from the folder alone.

use crate::exit::{Done, Failure, Kind};
use crate::fsck::{Metadata, Site, State};
use crate::output::{bytes, time};
use meta_core::{control_query, group_time, query};
use proto::control::{ControlAnswer, ControlQuery};
use proto::meta::{Answer, Query};
use raft_core::{Change, Members};
use raft_log::CheckedGroup;
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};
use types::{BucketId, GroupId, LogIndex, NodeId, ReplicaId, Term, Timestamp};

/// Buckets read at a time.
const BUCKETS: u32 = 256;
/// Buckets of a group that are listed; the others are counted.
const BUCKETS_SHOWN: usize = 20;

/// The whole plan.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    pub(super) node: u64,
    cluster: String,
    pub(super) groups: Vec<GroupPlan>,
    /// Groups here that are left as they are, and why.
    skipped: Vec<Skipped>,
    /// Nodes of the other voters.
    pub(super) lost: Vec<u64>,
    /// Whether they are removed by it: if the control group is among the groups.
    pub(super) removes: bool,
    /// What the operator has to type.
    pub(super) sentence: String,
}

/// What becomes of one group.
#[derive(Debug, Serialize)]
pub(super) struct GroupPlan {
    pub(super) group: u32,
    /// Nodes of the other voters.
    lost: Vec<u64>,
    last: u64,
    last_term: u64,
    commit: u64,
    /// Entries behind the commit index: they become committed, although they may never have been.
    uncommitted: u64,
    /// The log has lost what it had acknowledged, up to here.
    owed: Option<u64>,
    /// The time of the newest entry that is applied.
    written: String,
    /// How long ago that was.
    silent_seconds: i64,
    buckets: Vec<BucketPlan>,
    /// Users, keys, sessions and moves are kept here too.
    control: bool,
    #[serde(skip)]
    pub(super) start: Beginning,
    /// What the log says of itself, for a person who wants to go back.
    #[serde(skip)]
    pub(super) before: serde_json::Value,
}

/// Where the new entries begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    /// The first index that is free.
    pub(super) index: LogIndex,
    /// A term above every one that is known here.
    pub(super) term: Term,
}

#[derive(Debug, Serialize)]
struct BucketPlan {
    bucket: u64,
    /// If the control group's state is here and knows it.
    name: Option<String>,
    files: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Skipped {
    group: u32,
    why: String,
}

impl Plan {
    /// Plans for one group, or for all that this node votes in.
    ///
    /// # Errors
    /// [`Failure`]: it cannot be done here.
    pub(super) fn new(site: &Site, found: &Metadata, wanted: Option<GroupId>) -> Done<Plan> {
        let Some(cluster) = site.cluster.as_ref().map(|file| file.cluster) else {
            let message =
                "the cluster file is missing: put it where node.toml says, it names the cluster and the other nodes";
            return Err(Failure::new(Kind::Usage, message));
        };
        let ids: Vec<_> = match wanted {
            Some(group) => vec![group],
            None => found
                .groups
                .states()
                .keys()
                .chain(found.log.groups().keys())
                .copied()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        };
        let names = names(found);
        let (mut groups, mut skipped) = (Vec::new(), Vec::new());
        for id in ids {
            match GroupPlan::new(site.node, id, found, &names)? {
                Ok(plan) => groups.push(plan),
                Err(why) if wanted.is_none() => skipped.push(Skipped { group: id.0, why }),
                Err(why) => return Err(Failure::new(Kind::Failed, format!("{id} cannot be recovered here: {why}"))),
            }
        }
        if groups.is_empty() {
            let why: Vec<_> =
                skipped.iter().map(|skipped| format!("group {}: {}", skipped.group, skipped.why)).collect();
            return Err(Failure::new(Kind::Failed, format!("there is nothing to recover here ({})", why.join("; "))));
        }
        let lost: BTreeSet<_> = groups.iter().flat_map(|group| group.lost.iter().copied()).collect();
        let what = wanted.map_or("ALL".to_owned(), |group| format!("GROUP-{}", group.0));
        Ok(Plan {
            node: site.node.0,
            cluster: cluster.to_string(),
            removes: groups.iter().any(|group| group.control),
            groups,
            skipped,
            lost: lost.into_iter().collect(),
            sentence: format!("lose {what} of {cluster}"),
        })
    }

    /// Nodes of the other voters.
    pub(super) fn others(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.lost.iter().copied().map(NodeId)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let list = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "The state of node {} becomes the only truth of cluster {}, for {} groups.\nNone of the other voters answered: nodes {}.\n\n",
            self.node,
            self.cluster,
            self.groups.len(),
            list(&self.lost)
        );
        self.groups.iter().for_each(|group| group.add_to(&mut text));
        for Skipped { group, why } in &self.skipped {
            text.push_str(&format!("group {group} is left as it is: {why}\n"));
        }
        text.push_str(
            "\nWhat the others have acknowledged without this node is gone, and nobody can say what it was.\n",
        );
        let nodes = list(&self.lost);
        if self.removes {
            text.push_str(&format!(
                "Nodes {nodes} are removed from the cluster, for ever: their copies of chunks as well.\n"
            ));
        } else {
            text.push_str(&format!("The control group is not recovered with them: remove nodes {nodes} yourself.\n"));
            text.push_str("Two of them that come back before would go on as the old group.\n");
        }
        text.push_str("Nothing is deleted from the disks any more until you say `sago cluster garbage --on`.\n");
        text
    }
}

impl GroupPlan {
    /// The inner error: why the group has to be left as it is.
    fn new(
        node: NodeId,
        id: GroupId,
        found: &Metadata,
        names: &BTreeMap<BucketId, String>,
    ) -> Done<Result<Self, String>> {
        let Some(log) = found.log.groups().get(&id) else { return Ok(Err("it is not in this node's log".into())) };
        let start_first = "start the node once and stop it again, alone: ";
        let Some(state) = found.groups.states().get(&id) else {
            return Ok(Err(format!("{start_first}it has no state, which is made from the log")));
        };
        if state.rows.applied.index > log.last {
            return Ok(Err(format!("{start_first}it was taking in a snapshot, and its log has to follow")));
        }
        let own = log.replica.unwrap_or(ReplicaId::founding(node));
        let voters = match voters(state, log) {
            Ok(voters) => voters,
            Err(why) => return Ok(Err(format!("{start_first}{why}"))),
        };
        if !voters.contains(&own) {
            return Ok(Err("it does not vote here".to_owned()));
        }
        let lost: BTreeSet<_> = voters.iter().filter(|voter| **voter != own).map(|voter| voter.node().0).collect();
        if lost.is_empty() {
            return Ok(Err("this node is its only voter: start it".to_owned()));
        }
        let failed =
            |error: meta_core::kv::KvError| Failure::new(Kind::Unchecked, format!("the state of {id}: {error}"));
        let written = group_time(&state.rows).map_err(failed)?;
        let start = Beginning { index: LogIndex(log.last.0 + 1), term: Term(log.newest_term.0 + 1) };
        Ok(Ok(GroupPlan {
            group: id.0,
            lost: lost.into_iter().collect(),
            last: log.last.0,
            last_term: log.term_at(log.last).unwrap_or_default().0,
            commit: log.hard_state.commit.0,
            uncommitted: log.last.0.saturating_sub(log.hard_state.commit.max(state.rows.applied.index).0),
            owed: log.owed.map(|owed| owed.0),
            written: time(written),
            silent_seconds: now().secs() - written.secs(),
            buckets: if id == GroupId::CONTROL { Vec::new() } else { buckets(id, state, names).map_err(failed)? },
            control: id == GroupId::CONTROL,
            start,
            before: before(own, state, log),
        }))
    }

    fn add_to(&self, text: &mut String) {
        let GroupPlan { group, last, last_term, commit, uncommitted, written, silent_seconds, .. } = self;
        text.push_str(&format!("group {group}{}\n", if self.control { " (control)" } else { "" }));
        if let Some(owed) = self.owed {
            text.push_str(&format!(
                "  THIS LOG HAS LOST ENTRIES: it had acknowledged entries up to {owed}. The clients of those were told that they are safe.\n"
            ));
        }
        text.push_str(&format!(
            "  last entry {last} of term {last_term}, {commit} known to be committed; last written {written}, {silent_seconds} s ago\n"
        ));
        if *uncommitted > 0 {
            text.push_str(&format!(
                "  {uncommitted} entries are kept and become committed, although they may never have been\n"
            ));
        }
        if self.control {
            text.push_str("  users, keys, buckets, sessions and moves of copies made since then are lost\n");
        }
        for bucket in self.buckets.iter().take(BUCKETS_SHOWN) {
            let name = bucket.name.clone().unwrap_or_else(|| format!("bucket {}", bucket.bucket));
            text.push_str(&format!("  {name}: {} files, {} as known here\n", bucket.files, bytes(bucket.bytes)));
        }
        let more = self.buckets.len().saturating_sub(BUCKETS_SHOWN);
        if more > 0 {
            text.push_str(&format!("  and {more} more buckets\n"));
        }
    }
}

fn before(own: ReplicaId, state: &State, log: &CheckedGroup) -> serde_json::Value {
    let promised = log.promised.map(|mark| json!({ "term": mark.term.0, "vote": mark.vote.0, "last": mark.last.0 }));
    let hard_state = &log.hard_state;
    json!({
        "replica": own.0,
        "start": { "index": log.start.index.0, "term": log.start.term.0 },
        "last": log.last.0,
        "hard_state": { "term": hard_state.term.0, "vote": hard_state.vote.0, "commit": hard_state.commit.0 },
        "owed": log.owed.map(|owed| owed.0),
        "promised": promised,
        "applied": { "index": state.rows.applied.index.0, "term": state.rows.applied.term.0 },
        "members": state.rows.members,
    })
}

/// Everyone who votes by the state, or will by entries behind it; whoever may have been asked for a vote is among them.
fn voters(state: &State, log: &CheckedGroup) -> Result<BTreeSet<ReplicaId>, &'static str> {
    let members = state.rows.members.as_deref().and_then(Members::decode);
    let members = members.filter(|members| !members.is_empty()).ok_or("its state does not say who votes")?;
    let mut voters: BTreeSet<_> = members.all().filter(|member| members.is_voter(*member)).collect();
    for entry in log.changes.iter().filter(|entry| entry.index > state.rows.applied.index) {
        match Change::decode(&entry.data) {
            Ok(Change::EnterJoint { promote, .. }) => voters.extend(promote),
            Ok(Change::Only(replica)) => voters = BTreeSet::from([replica]),
            Ok(Change::AddLearner(_) | Change::LeaveJoint | Change::RemoveLearner(_)) => {}
            Err(_) => return Err("its log has a change of members that this program does not know"),
        }
    }
    Ok(voters)
}

/// Names of buckets, if the control group's state is here.
fn names(found: &Metadata) -> BTreeMap<BucketId, String> {
    let control = found.groups.states().get(&GroupId::CONTROL);
    match control.map(|state| control_query(&state.rows, &ControlQuery::Buckets)) {
        Some(Ok(ControlAnswer::Buckets(buckets))) => buckets.into_iter().map(|info| (info.id, info.name)).collect(),
        _ => BTreeMap::new(),
    }
}

fn buckets(
    group: GroupId,
    state: &State,
    names: &BTreeMap<BucketId, String>,
) -> Result<Vec<BucketPlan>, meta_core::kv::KvError> {
    let mut found = Vec::new();
    let mut after = None;
    while let Ok(Answer::GroupBuckets(page)) = query(&state.rows, group, &Query::GroupBuckets { after, max: BUCKETS })?
    {
        let Some(last) = page.last() else { break };
        after = Some(*last);
        for bucket in page {
            if let Ok(Answer::Usage(usage)) = query(&state.rows, group, &Query::Usage { bucket })? {
                let name = names.get(&bucket).cloned();
                found.push(BucketPlan { bucket: bucket.0, name, files: usage.files, bytes: usage.bytes });
            }
        }
    }
    Ok(found)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(since.as_secs() as i64, since.subsec_nanos())
}
