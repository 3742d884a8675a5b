//! Whether a node does its work, as a list of what is wrong. Empty is healthy; nothing is painted over.

use crate::status::Status;
use proto::node::NodeStatus;
use serde::Serialize;
use std::time::Duration;
use types::{NodeId, NodeState, PlacementMap};

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
}

pub(crate) fn health(status: &Status) -> Health {
    let leader = status.last_heard.leader(LEADER_SILENT_MAX);
    let problems = problems(&status.node(), leader, &status.peers.map());
    Health {
        healthy: problems.is_empty(),
        node: status.node.0,
        control_leader: leader.map(|leader| leader.0),
        problems,
    }
}

fn problems(status: &NodeStatus, leader: Option<NodeId>, map: &PlacementMap) -> Vec<String> {
    let mut found = Vec::new();
    if leader.is_none() {
        found.push("no leader of the control group answers: cut off, or no quorum".to_owned());
    }
    if map.node(status.node).is_none_or(|entry| entry.state == NodeState::Down) {
        found.push("the control group takes this node to be down".to_owned());
    }
    for group in &status.groups {
        if group.leader.is_none() {
            found.push(format!("{} has no leader", group.group));
        }
        if group.diverged {
            found.push(format!("the state of {} has diverged here and is being made anew", group.group));
        }
        if group.commit.0.saturating_sub(group.applied.0) > BEHIND_ENTRIES_MAX {
            found.push(format!("{} is catching up", group.group));
        }
    }
    for disk in status.disks.iter().filter(|disk| disk.fenced) {
        found.push(format!("disk {} ({}) failed and is out of service", disk.disk, disk.path));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::node::{DiskStatus, GroupStatus};
    use types::{DiskId, GroupId, Incarnation, LogIndex, NodeEntry, Term};

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
        };
        let (version, incarnation) = (String::new(), Incarnation(1));
        NodeStatus { node: NodeId(1), incarnation, version, groups: vec![group], disks: vec![disk] }
    }

    fn map(state: NodeState) -> PlacementMap {
        let (id, incarnation, disks) = (NodeId(1), Incarnation(1), vec![DiskId([1; 16])]);
        let entry = NodeEntry { id, addr: String::new(), domain: String::new(), disks, incarnation, state };
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
        let mut behind = status();
        behind.groups[0].applied = LogIndex(5);
        assert_eq!(problems(&behind, leader, &up).len(), 1);
        let mut fenced = status();
        fenced.disks[0].fenced = true;
        assert_eq!(problems(&fenced, leader, &up).len(), 1);
    }
}
