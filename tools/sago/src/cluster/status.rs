//! `sago cluster status`: what the nodes say of themselves, and the control group of them.

use crate::cli::StatusArgs;
use crate::connect::{connect_with, load};
use crate::exit::{Done, Kind};
use crate::output::{Output, bytes, table};
use futures::future::join_all;
use gateway_core::StoreConfig;
use proto::control::{ControlAnswer, ControlQuery};
use proto::node::{NodeReply, NodeRequest, NodeStatus};
use proto::{Reply, Request};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use transport::{Class, Endpoint};
use types::{GroupId, NodeEntry, NodeId, NodeState, PlacementMap};

/// How long a node is waited for. One that is down is noticed sooner.
const ASK_MAX: Duration = Duration::from_secs(3);

#[derive(Serialize)]
struct Shown {
    map_version: u64,
    nodes: Vec<ShownNode>,
    groups: Vec<ShownGroup>,
    /// Open sessions by kind of process.
    sessions: BTreeMap<String, u64>,
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
    /// Whether it answered just now.
    answers: bool,
    version: Option<String>,
    incarnation: Option<u64>,
    leads: Vec<u32>,
    disks: Vec<ShownDisk>,
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
}

#[derive(Serialize)]
struct ShownGroup {
    group: u32,
    voters: Vec<u64>,
    leader: Option<u64>,
    term: u64,
    commit: u64,
    /// Entries that each voter that answered has yet to apply.
    behind: BTreeMap<u64, u64>,
    /// Missing for the control group, and while no leader has answered.
    garbage: Option<ShownGarbage>,
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
    session.close().await;
    let mut counts = BTreeMap::new();
    if let Ok(ControlAnswer::Sessions(sessions)) = sessions {
        sessions.into_iter().for_each(|(_, kind, _)| *counts.entry(kind).or_default() += 1);
    }
    output.show(&shown(&map, &statuses, counts), text)
}

async fn ask_all(endpoint: &Endpoint, map: &PlacementMap) -> BTreeMap<NodeId, NodeStatus> {
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

fn shown(map: &PlacementMap, statuses: &BTreeMap<NodeId, NodeStatus>, sessions: BTreeMap<String, u64>) -> Shown {
    Shown {
        map_version: map.version,
        nodes: map.nodes.iter().map(|node| shown_node(node, statuses.get(&node.id))).collect(),
        groups: map.raft_groups.iter().map(|group| shown_group(group.id, &group.voters, statuses)).collect(),
        sessions,
    }
}

fn shown_node(node: &NodeEntry, status: Option<&NodeStatus>) -> ShownNode {
    let groups = status.map(|status| status.groups.as_slice()).unwrap_or_default();
    let disks = status.map(|status| status.disks.as_slice()).unwrap_or_default();
    ShownNode {
        id: node.id.0,
        addr: node.addr.clone(),
        domain: node.domain.clone(),
        state: match node.state {
            NodeState::Up => "up",
            NodeState::Down => "down",
        },
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
            })
            .collect(),
        orphans: status.map(|status| ShownOrphans {
            passes: status.orphans.passes,
            deleted: status.orphans.deleted,
            held: status.orphans.held,
            unjudged: status.orphans.unjudged,
        }),
    }
}

/// The group as its newest voter that answered sees it.
fn shown_group(group: GroupId, voters: &[NodeId], statuses: &BTreeMap<NodeId, NodeStatus>) -> ShownGroup {
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
    ShownGroup {
        group: group.0,
        voters: voters.iter().map(|voter| voter.0).collect(),
        leader: leader.map(|leader| leader.0),
        term,
        commit,
        behind: replicas.iter().map(|(voter, status)| (voter.0, commit - status.applied.0.min(commit))).collect(),
        garbage: leader.and_then(|leader| shown_garbage(group, statuses.get(&leader)?)),
    }
}

fn shown_garbage(group: GroupId, leader: &NodeStatus) -> Option<ShownGarbage> {
    let (_, status) = leader.garbage.iter().find(|(of, _)| *of == group)?;
    Some(ShownGarbage { waiting: status.waiting, condemned: status.condemned, session_floor: status.session_floor.0 })
}

fn text(shown: &Shown) -> String {
    let cells = |row: &[&str]| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut nodes = vec![cells(&["NODE", "STATE", "ANSWERS", "DOMAIN", "ADDRESS", "STARTS", "LEADS"])];
    let mut disks = vec![cells(&["NODE", "DISK", "CHUNKS", "BYTES", "FREE", "STATE"])];
    for node in &shown.nodes {
        let leads = node.leads.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let starts = node.incarnation.map(|count| count.to_string()).unwrap_or_default();
        let answers = if node.answers { "yes" } else { "no" };
        nodes.push(cells(&[&node.id.to_string(), node.state, answers, &node.domain, &node.addr, &starts, &leads]));
        for disk in &node.disks {
            let state = if disk.fenced { "fenced" } else { "ok" };
            let free = format!("{} of {}", bytes(disk.free), bytes(disk.total));
            disks.push(cells(&[
                &node.id.to_string(),
                &disk.path,
                &disk.chunks.to_string(),
                &bytes(disk.bytes),
                &free,
                state,
            ]));
        }
    }
    let mut groups = vec![cells(&["GROUP", "LEADER", "VOTERS", "TERM", "COMMIT", "BEHIND", "GARBAGE"])];
    for group in &shown.groups {
        let name = if group.group == 0 { "control".to_owned() } else { group.group.to_string() };
        let leader = group.leader.map_or("none".to_owned(), |leader| leader.to_string());
        let voters = group.voters.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let behind = group.behind.iter().map(|(voter, count)| format!("{voter}:{count}")).collect::<Vec<_>>().join(" ");
        let garbage = group.garbage.as_ref();
        let garbage = garbage.map(|garbage| format!("{}+{}", garbage.waiting, garbage.condemned)).unwrap_or_default();
        groups.push(vec![name, leader, voters, group.term.to_string(), group.commit.to_string(), behind, garbage]);
    }
    let sessions = shown.sessions.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ");
    format!("{}\n{}\n{}\nsessions: {sessions}", table(&nodes), table(&groups), table(&disks))
}
