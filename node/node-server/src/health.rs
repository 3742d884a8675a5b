//! Whether a node does its work, as a list of what is wrong. Empty is healthy; nothing is painted over.

use crate::status::Status;
use chunk_server::Unmade;
use proto::node::{DiskStatus, Fullness, NodeStatus};
use serde::Serialize;
use std::time::Duration;
use types::{ChunkId, DiskState, GroupId, NodeId, NodeState, PlacementMap};

/// The leader of the control group answers every heartbeat; after three lost ones this node is cut off, or there is no leader.
const LEADER_SILENT_MAX: Duration = Duration::from_millis(1000);
/// Entries a replica may be behind its own group's commits and still count as caught up.
const BEHIND_ENTRIES_MAX: u64 = 10_000;

/// The answer of `/health`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Health {
    pub(crate) healthy: bool,
    node: u64,
    control_leader: Option<u64>,
    /// What is wrong, for people.
    problems: Vec<String>,
    /// What will be wrong if nobody does anything.
    warnings: Vec<String>,
}

pub(crate) fn health(status: &Status) -> Health {
    let leader = status.last_heard.leader(LEADER_SILENT_MAX);
    let own = status.node();
    let problems = problems(&own, leader, &status.peers.map());
    Health {
        healthy: problems.is_empty(),
        node: status.node.0,
        control_leader: leader.map(|leader| leader.0),
        problems,
        warnings: [warnings(&own), gone(&status.unmade.lock())].concat(),
    }
}

fn warnings(status: &NodeStatus) -> Vec<String> {
    let filling = |disk: &DiskStatus| match disk.fullness {
        Fullness::Near => Some(format!("disk {} ({}) is nearly full", disk.disk, disk.path)),
        Fullness::Backfill => {
            Some(format!("disk {} ({}) is too full to take copies from other nodes", disk.disk, disk.path))
        }
        // A problem, not a warning.
        Fullness::Full | Fullness::Normal => None,
    };
    status.disks.iter().filter_map(filling).collect()
}

/// Copies that an audit has found gone and could not have made.
fn gone(unmade: &Unmade) -> Vec<String> {
    let told = |((group, node), (count, first)): (&(GroupId, NodeId), &(u64, ChunkId))| {
        format!(
            "{count} copies of {group} are gone from node {node} and were not made anew, the first of chunk {first}"
        )
    };
    unmade.iter().map(told).collect()
}

fn problems(status: &NodeStatus, leader: Option<NodeId>, map: &PlacementMap) -> Vec<String> {
    let mut found = Vec::new();
    if leader.is_none() {
        found.push("no leader of the control group answers: cut off, or no quorum".to_owned());
    }
    if map.node(status.node).is_none_or(|entry| entry.state != NodeState::Up) {
        found.push("the control group takes this node to be down".to_owned());
    }
    for group in &status.groups {
        if group.leader.is_none() {
            found.push(format!("{} has no leader", group.group));
        }
        if group.is_quarantined() {
            found.push(format!("the replica of {} may have forgotten promises and does not vote yet", group.group));
        }
        if group.diverged {
            found.push(format!("the state of {} has diverged here and is being made anew", group.group));
        }
        if group.commit.0.saturating_sub(group.applied.0) > BEHIND_ENTRIES_MAX {
            found.push(format!("{} is catching up", group.group));
        }
    }
    // What an operator has said of a disk for good is no news.
    let given_up = |at: usize| {
        let entry = map.node(status.node).and_then(|entry| entry.disks.get(at));
        entry.is_some_and(|disk| disk.state == DiskState::Failed)
    };
    for (_, disk) in status.disks.iter().enumerate().filter(|(at, disk)| disk.fenced && !given_up(*at)) {
        found.push(format!("disk {} ({}) failed and is out of service", disk.disk, disk.path));
    }
    for disk in status.disks.iter().filter(|disk| disk.fullness == Fullness::Full) {
        found.push(format!("disk {} ({}) is full and takes no chunks", disk.disk, disk.path));
    }
    for chunk in &status.lost {
        found.push(format!("chunk {chunk} has no intact copy"));
    }
    let unnamed = status.lost_count.saturating_sub(status.lost.len() as u64);
    if unnamed > 0 {
        found.push(format!("{unnamed} more chunks have no intact copy"));
    }
    if status.orphans.held > 0 {
        found.push(format!("{} orphans are held back, more than a writer that dies leaves", status.orphans.held));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::node::{GroupStatus, OrphanStatus, ScrubStatus};
    use types::{DiskId, Incarnation, LogIndex, NodeEntry, Term};

    fn status() -> NodeStatus {
        let group = GroupStatus {
            group: GroupId(1),
            role: "follower".to_owned(),
            leader: Some(NodeId(2)),
            term: Term(1),
            commit: LogIndex(100_000),
            applied: LogIndex(100_000),
            first: LogIndex(1),
            last: LogIndex(100_000),
            voters: vec![NodeId(1), NodeId(2), NodeId(3)],
            learners: Vec::new(),
            diverged: false,
        };
        let disk = DiskStatus {
            disk: DiskId([1; 16]),
            path: "disk".to_owned(),
            chunks: 0,
            bytes: 0,
            free: 1,
            total: 1,
            fenced: false,
            garbage: 0,
            quarantined: 0,
            scrub: ScrubStatus::default(),
            fullness: Fullness::Normal,
        };
        let (version, incarnation) = (String::new(), Incarnation(1));
        let (garbage, orphans) = (Vec::new(), OrphanStatus::default());
        let (groups, disks, lost) = (vec![group], vec![disk], Vec::new());
        NodeStatus { node: NodeId(1), incarnation, version, groups, disks, lost, lost_count: 0, garbage, orphans }
    }

    fn map(state: NodeState) -> PlacementMap {
        let (id, incarnation, disks) = (NodeId(1), Incarnation(1), vec![DiskId([1; 16])]);
        let entry = NodeEntry { incarnation, state, ..NodeEntry::new(id, String::new(), String::new(), disks) };
        PlacementMap { nodes: vec![entry], ..PlacementMap::default() }
    }

    #[test]
    fn health_tells_the_truth() {
        let (leader, up) = (Some(NodeId(2)), map(NodeState::Up));
        assert_eq!(problems(&status(), leader, &up), Vec::<String>::new());
        assert_eq!(problems(&status(), None, &up).len(), 1);
        assert_eq!(problems(&status(), leader, &map(NodeState::Down)).len(), 1);
        let mut leaderless = status();
        leaderless.groups[0].leader = None;
        assert_eq!(problems(&leaderless, leader, &up).len(), 1);
        let mut distrusted = status();
        distrusted.groups[0].role = GroupStatus::QUARANTINED.to_owned();
        assert_eq!(problems(&distrusted, leader, &up).len(), 1);
        let mut behind = status();
        behind.groups[0].applied = LogIndex(5);
        assert_eq!(problems(&behind, leader, &up).len(), 1);
        let mut fenced = status();
        fenced.disks[0].fenced = true;
        assert_eq!(problems(&fenced, leader, &up).len(), 1);
        for (fullness, wrong, warned) in
            [(Fullness::Normal, 0, 0), (Fullness::Near, 0, 1), (Fullness::Backfill, 0, 1), (Fullness::Full, 1, 0)]
        {
            let mut filling = status();
            filling.disks[0].fullness = fullness;
            assert_eq!((problems(&filling, leader, &up).len(), warnings(&filling).len()), (wrong, warned));
        }
        let mut lost = status();
        (lost.lost, lost.lost_count) = (vec![ChunkId(5)], 3);
        let found = problems(&lost, leader, &up);
        assert!(found.len() == 2 && found[0].contains("no intact copy") && found[1].starts_with("2 more"), "{found:?}");
    }
}
