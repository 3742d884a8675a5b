//! `sago cluster status`: what the nodes say of themselves, and the control group of them.

use crate::cli::StatusArgs;
use crate::connect::{Session, connect_with, load};
use crate::exit::{Done, Kind};
use crate::output::{Output, bytes, table, time};
use futures::future::join_all;
use gateway_core::StoreConfig;
use proto::control::{ControlAnswer, ControlQuery};
use proto::meta::{Answer, Query};
use proto::node::{Fullness, NodeReply, NodeRequest, NodeStatus, ScrubStatus};
use proto::{Reply, Request};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::timeout;
use transport::{Class, Endpoint};
use types::{FeatureLevel, GroupId, GroupPlacement, NodeEntry, NodeId, NodeMode, NodeState, PlacementMap, Timestamp};

/// How long a node or a group is waited for. A node that is down is noticed sooner.
const ASK_MAX: Duration = Duration::from_secs(3);
/// Chunks that lack a copy are counted up to so many.
const LACKING_MAX: u32 = 1024;

#[derive(Serialize)]
struct Shown {
    map_version: u64,
    /// The feature level.
    level: u32,
    nodes: Vec<ShownNode>,
    groups: Vec<ShownGroup>,
    /// Open sessions by kind of process.
    sessions: BTreeMap<String, u64>,
    /// What a single machine, as far as addresses tell, would take with it.
    warnings: Vec<String>,
}

/// Garbage of a metadata group, as its leader sees it.
#[derive(Serialize)]
struct ShownGarbage {
    /// Chunks and lists that wait out the grace time.
    waiting: u64,
    /// Condemned chunks that some member may still have.
    condemned: u64,
    /// Sessions below it are over.
    session_floor: u64,
    /// The group was recovered: nothing is collected before an operator says so.
    held: bool,
}

/// A node's look for orphans, since its start.
#[derive(Serialize)]
struct ShownOrphans {
    passes: u64,
    deleted: u64,
    /// Found and held back, since they are too many.
    held: u64,
    unjudged: u64,
}

#[derive(Serialize)]
struct ShownNode {
    id: u64,
    addr: String,
    domain: String,
    /// What the control group believes.
    state: &'static str,
    /// What operators want of it.
    mode: &'static str,
    /// Until when it may be away without being given up.
    rests_until: Option<String>,
    /// The newest feature level its program can do.
    speaks: u32,
    /// Whether it answered just now.
    answers: bool,
    version: Option<String>,
    incarnation: Option<u64>,
    leads: Vec<u32>,
    disks: Vec<ShownDisk>,
    /// Chunks that no member has intact, as this node knows; the first few.
    lost: Vec<String>,
    lost_count: u64,
    orphans: Option<ShownOrphans>,
}

#[derive(Serialize)]
struct ShownDisk {
    path: String,
    chunks: u64,
    bytes: u64,
    free: u64,
    total: u64,
    fenced: bool,
    garbage: u64,
    quarantined: u64,
    scrub: ScrubStatus,
    fullness: Fullness,
}

#[derive(Serialize)]
struct ShownGroup {
    group: u32,
    voters: Vec<u64>,
    /// Who shall vote, if that is not who does.
    wanted: Option<Vec<u64>>,
    /// Nodes that learn: to vote, or to be let go.
    learners: Vec<u64>,
    leader: Option<u64>,
    term: u64,
    commit: u64,
    /// Entries that each voter that answered has yet to apply.
    behind: BTreeMap<u64, u64>,
    /// Missing for the control group, and while no leader has answered.
    garbage: Option<ShownGarbage>,
    /// Chunks that are on record as lacking a copy, counted up to [`LACKING_MAX`]; missing as `garbage`.
    lacking: Option<u32>,
}

/// Carries out `sago cluster status`.
///
/// # Errors
/// [`crate::exit::Failure`]; nodes that do not answer are part of the result, not an error, as long as the control group does.
pub async fn status(args: StatusArgs, output: Output) -> Done {
    let (file, path) = load(&args.client)?;
    let session = connect_with(&file, &path, "tool", StoreConfig::default()).await?;
    let map = session.cluster.control_query(ControlQuery::Map).await;
    let sessions = session.cluster.control_query(ControlQuery::Sessions).await;
    let map = match map? {
        ControlAnswer::Map(Some(map)) => *map,
        _ => return Err(crate::exit::Failure::new(Kind::Unavailable, "the cluster has no placement map yet")),
    };
    let statuses = ask_all(session.endpoint(), &map).await;
    let lacking = ask_lacking(&session, &map).await;
    let rests = if map.level < FeatureLevel::RESTS { Ok(Vec::new()) } else { rests(&session).await };
    session.close().await;
    let rests: BTreeMap<NodeId, Timestamp> = rests?.into_iter().collect();
    let mut counts = BTreeMap::new();
    if let Ok(ControlAnswer::Sessions(sessions)) = sessions {
        sessions.into_iter().for_each(|(_, kind, _)| *counts.entry(kind).or_default() += 1);
    }
    output.show(&shown(&map, &statuses, &lacking, &rests, counts), text)
}

/// How many chunks of each metadata group lack a copy, of groups that answer.
async fn ask_lacking(session: &Session, map: &PlacementMap) -> BTreeMap<GroupId, u32> {
    let groups = map.raft_groups.iter().map(|group| group.id).filter(|group| *group != GroupId::CONTROL);
    let asked = groups.map(|group| async move {
        let query = Query::UnderReplicated { after: None, max: LACKING_MAX };
        match timeout(ASK_MAX, session.cluster.query(group, query)).await {
            Ok(Ok(Ok(Answer::UnderReplicated(chunks)))) => Some((group, chunks.len() as u32)),
            _ => None,
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

async fn rests(session: &Session) -> Done<Vec<(NodeId, Timestamp)>> {
    match session.cluster.control_query(ControlQuery::Rests).await? {
        ControlAnswer::Rests(rests) => Ok(rests),
        _ => Err(crate::exit::Failure::new(Kind::Failed, "an answer to another question")),
    }
}

/// What the nodes of the map say of themselves, as far as they answer.
pub(crate) async fn ask_all(endpoint: &Endpoint, map: &PlacementMap) -> BTreeMap<NodeId, NodeStatus> {
    let asked = map.nodes.iter().map(|node| async {
        let peer = endpoint.peer(node.id, &node.addr);
        let request = Request::Node(NodeRequest::Status);
        match peer.call(Class::Small, &request, bytes::Bytes::new(), ASK_MAX).await {
            Ok((Reply::Node(NodeReply::Status(status)), _)) => Some((node.id, status)),
            Ok(_) | Err(_) => None,
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn shown(
    map: &PlacementMap,
    statuses: &BTreeMap<NodeId, NodeStatus>,
    lacking: &BTreeMap<GroupId, u32>,
    rests: &BTreeMap<NodeId, Timestamp>,
    sessions: BTreeMap<String, u64>,
) -> Shown {
    Shown {
        map_version: map.version,
        level: map.level.0,
        nodes: map.nodes.iter().map(|node| shown_node(node, statuses.get(&node.id), rests.get(&node.id))).collect(),
        groups: map.raft_groups.iter().map(|group| shown_group(group, statuses, lacking)).collect(),
        sessions,
        warnings: alone(map),
    }
}

/// What goes with a single machine: chunks all of whose copies lie on it, and groups that could not decide anything without it.
fn alone(map: &PlacementMap) -> Vec<String> {
    let host = |node: NodeId| map.node(node).map_or("", NodeEntry::host);
    let stays = |node: &&NodeEntry| node.mode != NodeMode::Removed;
    let hosts: BTreeSet<&str> = map.nodes.iter().filter(stays).map(NodeEntry::host).collect();
    let mut warnings = Vec::new();
    for machine in hosts {
        let copies = map.groups.iter().filter(|group| group.members.iter().all(|member| host(member.node) == machine));
        match (copies.count(), map.groups.len()) {
            (0, _) => {}
            (lost, all) if lost == all => {
                warnings.push(format!("all copies of all files lie on {machine}: they are lost with that machine"));
            }
            (lost, all) => warnings.push(format!("all copies of {lost} of {all} placement groups lie on {machine}")),
        }
        let majority = |group: &&GroupPlacement| {
            let there = group.voters.iter().filter(|voter| host(**voter) == machine).count();
            there > group.voters.len() / 2
        };
        let deciding = map.raft_groups.iter().filter(majority).count();
        if deciding > 0 {
            warnings
                .push(format!("without {machine} {deciding} of {} Raft groups cannot decide", map.raft_groups.len()));
        }
    }
    warnings
}

fn shown_node(node: &NodeEntry, status: Option<&NodeStatus>, rests: Option<&Timestamp>) -> ShownNode {
    let groups = status.map(|status| status.groups.as_slice()).unwrap_or_default();
    let disks = status.map(|status| status.disks.as_slice()).unwrap_or_default();
    ShownNode {
        id: node.id.0,
        addr: node.addr.clone(),
        domain: node.domain.clone(),
        state: match node.state {
            NodeState::Up => "up",
            NodeState::Down => "down",
            NodeState::Out => "out",
        },
        mode: match node.mode {
            NodeMode::Active => "active",
            NodeMode::Draining => "draining",
            NodeMode::Removed => "removed",
        },
        rests_until: rests.map(|until| time(*until)),
        speaks: node.speaks.0,
        answers: status.is_some(),
        version: status.map(|status| status.version.clone()),
        incarnation: status.map(|status| status.incarnation.0),
        leads: groups.iter().filter(|group| group.leader == Some(node.id)).map(|group| group.group.0).collect(),
        disks: disks
            .iter()
            .map(|disk| ShownDisk {
                path: disk.path.clone(),
                chunks: disk.chunks,
                bytes: disk.bytes,
                free: disk.free,
                total: disk.total,
                fenced: disk.fenced,
                garbage: disk.garbage,
                quarantined: disk.quarantined,
                scrub: disk.scrub.clone(),
                fullness: disk.fullness,
            })
            .collect(),
        lost: status.map(|status| status.lost.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        lost_count: status.map_or(0, |status| status.lost_count),
        orphans: status.map(|status| ShownOrphans {
            passes: status.orphans.passes,
            deleted: status.orphans.deleted,
            held: status.orphans.held,
            unjudged: status.orphans.unjudged,
        }),
    }
}

/// The group as its newest voter that answered sees it.
fn shown_group(
    placed: &GroupPlacement,
    statuses: &BTreeMap<NodeId, NodeStatus>,
    lacking: &BTreeMap<GroupId, u32>,
) -> ShownGroup {
    let (group, voters) = (placed.id, &placed.voters);
    let replicas: Vec<_> = voters
        .iter()
        .filter_map(|voter| {
            let found = statuses.get(voter)?.groups.iter().find(|status| status.group == group)?;
            Some((*voter, found))
        })
        .collect();
    let term = replicas.iter().map(|(_, status)| status.term.0).max().unwrap_or(0);
    let commit = replicas.iter().map(|(_, status)| status.commit.0).max().unwrap_or(0);
    let leader = replicas.iter().filter(|(_, status)| status.term.0 == term).find_map(|(_, status)| status.leader);
    let leading = leader.and_then(|leader| replicas.iter().find(|(node, _)| *node == leader));
    let learners = leading.map(|(_, status)| status.learners.clone());
    ShownGroup {
        group: group.0,
        voters: voters.iter().map(|voter| voter.0).collect(),
        wanted: (!placed.is_settled()).then(|| placed.wanted.iter().map(|voter| voter.0).collect()),
        learners: learners.into_iter().flatten().map(|learner| learner.0).collect(),
        leader: leader.map(|leader| leader.0),
        term,
        commit,
        behind: replicas.iter().map(|(voter, status)| (voter.0, commit - status.applied.0.min(commit))).collect(),
        garbage: leader.and_then(|leader| shown_garbage(group, statuses.get(&leader)?)),
        lacking: lacking.get(&group).copied(),
    }
}

fn shown_garbage(group: GroupId, leader: &NodeStatus) -> Option<ShownGarbage> {
    let (_, status) = leader.garbage.iter().find(|(of, _)| *of == group)?;
    Some(ShownGarbage {
        waiting: status.waiting,
        condemned: status.condemned,
        session_floor: status.session_floor.0,
        held: status.held,
    })
}

fn text(shown: &Shown) -> String {
    let cells = |row: &[&str]| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut nodes = vec![cells(&["NODE", "STATE", "ANSWERS", "DOMAIN", "ADDRESS", "STARTS", "LEADS"])];
    let mut disks = vec![cells(&["NODE", "DISK", "CHUNKS", "BYTES", "GARBAGE", "FREE", "SCRUBBED", "STATE"])];
    for node in &shown.nodes {
        let leads = node.leads.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let starts = node.incarnation.map(|count| count.to_string()).unwrap_or_default();
        let answers = if node.answers { "yes" } else { "no" };
        let standing =
            if node.mode == "active" { node.state.to_owned() } else { format!("{}, {}", node.state, node.mode) };
        nodes.push(cells(&[&node.id.to_string(), &standing, answers, &node.domain, &node.addr, &starts, &leads]));
        for disk in &node.disks {
            let state = state(disk);
            let free = format!("{} of {}", bytes(disk.free), bytes(disk.total));
            disks.push(cells(&[
                &node.id.to_string(),
                &disk.path,
                &disk.chunks.to_string(),
                &bytes(disk.bytes),
                &bytes(disk.garbage),
                &free,
                &scrubbed(disk),
                &state,
            ]));
        }
    }
    let mut groups = vec![cells(&["GROUP", "LEADER", "VOTERS", "TERM", "COMMIT", "BEHIND", "LACKING", "GARBAGE"])];
    for group in &shown.groups {
        let name = if group.group == 0 { "control".to_owned() } else { group.group.to_string() };
        let leader = group.leader.map_or("none".to_owned(), |leader| leader.to_string());
        let list = |nodes: &[u64]| nodes.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let wanted = group.wanted.as_ref().map(|wanted| format!(" -> {}", list(wanted))).unwrap_or_default();
        let voters = format!("{}{wanted}", list(&group.voters));
        let behind = group.behind.iter().map(|(voter, count)| format!("{voter}:{count}")).collect::<Vec<_>>().join(" ");
        let lacking = match group.lacking {
            Some(LACKING_MAX..) => format!("{LACKING_MAX} or more"),
            Some(count) => count.to_string(),
            None => String::new(),
        };
        let garbage = group.garbage.as_ref();
        let amount = |garbage: &ShownGarbage| {
            let held = if garbage.held { " held" } else { "" };
            format!("{}+{}{held}", garbage.waiting, garbage.condemned)
        };
        let garbage = garbage.map(amount).unwrap_or_default();
        let (term, commit) = (group.term.to_string(), group.commit.to_string());
        groups.push(vec![name, leader, voters, term, commit, behind, lacking, garbage]);
    }
    let sessions = shown.sessions.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ");
    let alarms = shown.nodes.iter().flat_map(alarms).map(|line| format!("ALARM: {line}\n")).collect::<String>();
    let warnings = shown.warnings.iter().map(|line| format!("WARNING: {line}\n")).collect::<String>();
    format!(
        "{alarms}{warnings}{}\n{}\n{}\nfeature level {}; sessions: {sessions}",
        table(&nodes),
        table(&groups),
        table(&disks),
        shown.level
    )
}

fn state(disk: &ShownDisk) -> String {
    let full = match disk.fullness {
        Fullness::Normal => None,
        Fullness::Near => Some("nearly full"),
        Fullness::Backfill => Some("too full for copies"),
        Fullness::Full => Some("full"),
    };
    let damaged = (disk.quarantined > 0).then(|| format!("{} damaged", disk.quarantined));
    match disk.fenced {
        true => "fenced".to_owned(),
        false => {
            let parts: Vec<_> = full.map(str::to_owned).into_iter().chain(damaged).collect();
            if parts.is_empty() { "ok".to_owned() } else { parts.join(", ") }
        }
    }
}

/// What a person must look at.
fn alarms(node: &ShownNode) -> Vec<String> {
    let mut lines: Vec<_> =
        node.lost.iter().map(|chunk| format!("chunk {chunk} has no intact copy (node {})", node.id)).collect();
    let unnamed = node.lost_count.saturating_sub(node.lost.len() as u64);
    if unnamed > 0 {
        lines.push(format!("{unnamed} more chunks have no intact copy (node {})", node.id));
    }
    lines
}

/// How far the scrub is, and when it was through last.
fn scrubbed(disk: &ShownDisk) -> String {
    let scrub = &disk.scrub;
    let percent = (scrub.begun > 0).then(|| (scrub.chunks * 100 / disk.chunks.max(1)).min(100));
    let last = match scrub.finished {
        0 => "never through".to_owned(),
        at => format!("through {}", time(Timestamp::from_secs(at as i64, 0))),
    };
    percent.map_or(last.clone(), |percent| format!("{percent} %, {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use placement::{InitialPlan, PlannedNode};
    use types::DiskId;

    fn on(hosts: &[&str]) -> PlacementMap {
        let node = |(id, host): (u8, &&str)| PlannedNode {
            id: NodeId(u64::from(id)),
            addr: format!("{host}:{}", 7400 + u16::from(id)),
            domain: format!("{host}/{id}"),
            disks: vec![DiskId([id; 16])],
        };
        placement::initial(&(1..).zip(hosts).map(node).collect::<Vec<_>>(), &InitialPlan::default()).expect("a map")
    }

    #[test]
    fn what_hangs_on_one_machine_is_said_until_it_does_not() {
        let one = alone(&on(&["[::1]", "[::1]", "[::1]"]));
        assert!(one.len() == 2 && one[0].contains("all copies of all files lie on [::1]"), "{one:?}");
        let two = alone(&on(&["a", "a", "a", "b"]));
        assert_eq!(two, ["without a 5 of 5 Raft groups cannot decide"]);
        assert_eq!(alone(&on(&["a", "a", "b", "c"])), Vec::<String>::new());
        let mut moving = on(&["a", "a", "a", "b", "c"]);
        let members = (1..=3).map(|id| types::Member { node: NodeId(id), disk: 0 });
        moving.groups[7].members = members.collect();
        assert_eq!(alone(&moving), ["all copies of 1 of 64 placement groups lie on a"]);
    }
}
