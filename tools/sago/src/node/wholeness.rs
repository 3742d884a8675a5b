//! What keeps an operator from taking a node away: anything that is amiss with the others, or that the last one has not caught up with.

use proto::node::NodeStatus;
use std::collections::BTreeMap;
use std::fmt;
use types::{GroupId, LogIndex, NodeId, NodeMode, NodeState, PgId, PlacementMap};

/// Something that is amiss; whoever sees one waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amiss {
    /// It is down or out.
    NotUp(NodeId),
    /// It does not say how it is.
    Silent(NodeId),
    /// The cluster has not heard yet that it was started again.
    Unheard(NodeId),
    /// A disk of it is out of service.
    Fenced(NodeId),
    /// It has not applied what was committed when the look began.
    Behind(NodeId, GroupId),
    /// It may have forgotten what it promised the group, and does not vote yet.
    Quarantined(NodeId, GroupId),
    /// Nobody leads the group.
    Leaderless(GroupId),
    /// Its voters change.
    Unsettled(GroupId),
    /// A copy of the placement group is lost or moves.
    Copies(PgId),
}

impl fmt::Display for Amiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amiss::NotUp(node) => write!(f, "{node} is not up"),
            Amiss::Silent(node) => write!(f, "{node} does not answer"),
            Amiss::Unheard(node) => write!(f, "the cluster has not heard yet that {node} was started again"),
            Amiss::Fenced(node) => write!(f, "a disk of {node} is out of service"),
            Amiss::Behind(node, group) => write!(f, "{node} has not caught up in {group}"),
            Amiss::Quarantined(node, group) => write!(f, "{node} does not vote in {group} yet"),
            Amiss::Leaderless(group) => write!(f, "{group} has no leader"),
            Amiss::Unsettled(group) => write!(f, "the voters of {group} change"),
            Amiss::Copies(pg) => write!(f, "a copy of {pg} is missing or moves"),
        }
    }
}

/// How far each group had got at the first look: whoever has applied that much has caught up, however fast clients write.
pub(super) type Reached = BTreeMap<GroupId, LogIndex>;

/// How far each group has got, by whoever knows most of it.
pub(super) fn reached(statuses: &BTreeMap<NodeId, NodeStatus>) -> Reached {
    let mut reached = Reached::new();
    for group in statuses.values().flat_map(|status| &status.groups) {
        let known = reached.entry(group.group).or_default();
        *known = (*known).max(group.commit);
    }
    reached
}

/// The first thing that is amiss; none if any node may be taken away for a moment.
pub(super) fn amiss(map: &PlacementMap, statuses: &BTreeMap<NodeId, NodeStatus>, reached: &Reached) -> Option<Amiss> {
    let nodes = map.nodes.iter().filter(|node| node.mode != NodeMode::Removed);
    for entry in nodes {
        let Some(status) = statuses.get(&entry.id) else { return Some(Amiss::Silent(entry.id)) };
        if entry.state != NodeState::Up {
            return Some(Amiss::NotUp(entry.id));
        }
        if entry.incarnation != status.incarnation {
            return Some(Amiss::Unheard(entry.id));
        }
        if status.disks.iter().any(|disk| disk.fenced) {
            return Some(Amiss::Fenced(entry.id));
        }
    }
    for placed in &map.raft_groups {
        if !placed.is_settled() {
            return Some(Amiss::Unsettled(placed.id));
        }
        let of = |voter: &NodeId| statuses.get(voter)?.groups.iter().find(|group| group.group == placed.id);
        let target = reached.get(&placed.id).copied().unwrap_or_default();
        for voter in &placed.voters {
            match of(voter) {
                Some(group) if group.leader.is_none() => return Some(Amiss::Leaderless(placed.id)),
                Some(group) if group.is_quarantined() => return Some(Amiss::Quarantined(*voter, placed.id)),
                Some(group) if group.applied >= target && !group.diverged => {}
                Some(_) | None => return Some(Amiss::Behind(*voter, placed.id)),
            }
        }
    }
    let groups = map.groups.iter();
    let mut wrong =
        groups.filter(|group| group.moving.is_some() || group.members.iter().any(|member| map.is_lost(*member)));
    wrong.next().map(|group| Amiss::Copies(group.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::node::{DiskStatus, Fullness, GroupStatus, OrphanStatus, ScrubStatus};
    use types::{DiskId, DiskState, GroupPlacement, Incarnation, Member, NodeEntry, PgEpoch, PlacementGroup, Term};

    fn cluster() -> (PlacementMap, BTreeMap<NodeId, NodeStatus>) {
        let ids = [1, 2, 3];
        let node = |id: u64| NodeEntry {
            incarnation: Incarnation(4),
            state: NodeState::Up,
            ..NodeEntry::new(NodeId(id), String::new(), id.to_string(), [DiskId([id as u8; 16])])
        };
        let members = ids.map(|id| Member { node: NodeId(id), disk: 0 });
        let map = PlacementMap {
            nodes: ids.into_iter().map(node).collect(),
            groups: vec![PlacementGroup::settled(PgId(0), PgEpoch(1), members.into())],
            slots: vec![0],
            raft_groups: vec![GroupPlacement::founding(GroupId(1), ids.map(NodeId).into())],
            ..PlacementMap::default()
        };
        let status = |id: u64| NodeStatus {
            node: NodeId(id),
            incarnation: Incarnation(4),
            version: String::new(),
            groups: vec![GroupStatus {
                group: GroupId(1),
                role: String::new(),
                leader: Some(NodeId(1)),
                term: Term(1),
                commit: LogIndex(9),
                applied: LogIndex(9),
                first: LogIndex(1),
                last: LogIndex(9),
                voters: ids.map(NodeId).into(),
                learners: Vec::new(),
                diverged: false,
            }],
            disks: vec![DiskStatus {
                disk: DiskId([id as u8; 16]),
                path: String::new(),
                chunks: 0,
                bytes: 0,
                free: 0,
                total: 0,
                fenced: false,
                garbage: 0,
                quarantined: 0,
                scrub: ScrubStatus::default(),
                fullness: Fullness::Normal,
            }],
            lost: Vec::new(),
            lost_count: 0,
            garbage: Vec::new(),
            orphans: OrphanStatus::default(),
        };
        (map, ids.into_iter().map(|id| (NodeId(id), status(id))).collect())
    }

    #[test]
    fn a_whole_cluster_lets_a_node_go_and_nothing_else_does() {
        let (whole, all) = cluster();
        let target = reached(&all);
        assert_eq!((amiss(&whole, &all, &target), target[&GroupId(1)]), (None, LogIndex(9)));
        let two = NodeId(2);
        let with = |change: &dyn Fn(&mut PlacementMap, &mut BTreeMap<NodeId, NodeStatus>)| {
            let (mut map, mut statuses) = cluster();
            change(&mut map, &mut statuses);
            amiss(&map, &statuses, &target)
        };
        let entry = |map: &mut PlacementMap, change: &dyn Fn(&mut NodeEntry)| change(&mut map.nodes[1]);
        assert_eq!(with(&|map, _| entry(map, &|node| node.state = NodeState::Down)), Some(Amiss::NotUp(two)));
        assert_eq!(with(&|_, said| drop(said.remove(&two))), Some(Amiss::Silent(two)));
        assert_eq!(
            with(&|map, _| entry(map, &|node| node.incarnation = Incarnation(3))),
            Some(Amiss::Unheard(two)),
            "it answers, and is not counted on yet"
        );
        let said = |said: &mut BTreeMap<NodeId, NodeStatus>, change: &dyn Fn(&mut NodeStatus)| {
            change(said.get_mut(&two).expect("a status"));
        };
        assert_eq!(with(&|_, all| said(all, &|node| node.disks[0].fenced = true)), Some(Amiss::Fenced(two)));
        let behind = Some(Amiss::Behind(two, GroupId(1)));
        assert_eq!(with(&|_, all| said(all, &|node| node.groups[0].applied = LogIndex(8))), behind);
        assert_eq!(with(&|_, all| said(all, &|node| node.groups[0].diverged = true)), behind);
        assert_eq!(with(&|_, all| said(all, &|node| node.groups.clear())), behind);
        let distrusted = with(&|_, all| said(all, &|node| node.groups[0].role = GroupStatus::QUARANTINED.to_owned()));
        assert_eq!(distrusted, Some(Amiss::Quarantined(two, GroupId(1))));
        let leaderless = with(&|_, all| said(all, &|node| node.groups[0].leader = None));
        assert_eq!(leaderless, Some(Amiss::Leaderless(GroupId(1))));
        let changing = with(&|map, _| map.raft_groups[0].wanted = [1, 2, 4].map(NodeId).into());
        assert_eq!(changing, Some(Amiss::Unsettled(GroupId(1))));
        let lost = with(&|map, _| entry(map, &|node| node.disks[0].state = DiskState::Failed));
        assert_eq!(lost, Some(Amiss::Copies(PgId(0))));
    }

    #[test]
    fn a_node_that_was_removed_is_not_waited_for() {
        let (mut map, statuses) = cluster();
        let gone = NodeEntry { mode: NodeMode::Removed, state: NodeState::Out, ..map.nodes[0].clone() };
        map.nodes.push(NodeEntry { id: NodeId(4), ..gone });
        assert_eq!(amiss(&map, &statuses, &reached(&statuses)), None);
    }
}
