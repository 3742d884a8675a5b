//! Who votes when nodes come and go.

use crate::{InitialPlan, PlannedNode, Standing, VoterNode, initial, plan_voters};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use types::{DiskId, GroupId, GroupPlacement, NodeId, REPLICAS};

fn nodes(standings: &[Standing]) -> Vec<VoterNode> {
    let node = |(at, standing): (usize, &Standing)| VoterNode {
        id: NodeId(at as u64 + 1),
        domain: format!("rack-{at}"),
        standing: *standing,
    };
    standings.iter().enumerate().map(node).collect()
}

fn ids(numbers: &[u64]) -> Vec<NodeId> {
    numbers.iter().copied().map(NodeId).collect()
}

fn placed(id: u32, voters: &[u64]) -> GroupPlacement {
    GroupPlacement::founding(GroupId(id), ids(voters))
}

fn of_a_new_cluster(count: u64, meta_groups: u32) -> Vec<GroupPlacement> {
    let disks = |id| vec![DiskId([id as u8; 16])];
    let planned = (1..=count).map(|id| PlannedNode {
        id: NodeId(id),
        addr: format!("n{id}:1"),
        domain: format!("rack-{}", id - 1),
        disks: disks(id),
    });
    let plan = InitialPlan { meta_groups, ..InitialPlan::default() };
    initial(&planned.collect::<Vec<_>>(), &plan).expect("a map").raft_groups
}

/// Plans, and has every group become as wanted, until there is nothing left to do.
fn follow(nodes: &[VoterNode], groups: &mut [GroupPlacement]) -> usize {
    for round in 0..500 {
        let plan = plan_voters(nodes, groups, 2);
        if plan.changes.is_empty() {
            return round;
        }
        for (id, wanted) in plan.changes {
            let group = groups.iter_mut().find(|group| group.id == id).expect("a known group");
            group.wanted.clone_from(&wanted);
            group.voters = wanted;
        }
    }
    panic!("the plans never end");
}

fn votes(groups: &[GroupPlacement]) -> BTreeMap<NodeId, usize> {
    let mut votes = BTreeMap::new();
    groups.iter().flat_map(|group| &group.wanted).for_each(|voter| *votes.entry(*voter).or_default() += 1);
    votes
}

#[test]
fn the_control_group_is_mended_first_and_only_so_many_at_once() {
    use Standing::{Leaves, Votes};
    let nodes = nodes(&[Votes, Votes, Leaves, Votes]);
    let mut groups: Vec<_> = (0..5).map(|id| placed(id, &[1, 2, 3])).collect();
    let plan = plan_voters(&nodes, &groups, 2);
    assert_eq!(plan.changes, [(GroupId(0), ids(&[1, 2, 4])), (GroupId(1), ids(&[1, 2, 4]))]);
    groups[0].wanted = ids(&[1, 2, 4]);
    let plan = plan_voters(&nodes, &groups, 2);
    assert_eq!(plan.changes, [(GroupId(1), ids(&[1, 2, 4]))], "one is under way and is let alone");
    follow(&nodes, &mut groups);
    assert!(groups.iter().all(|group| !group.wanted.contains(&NodeId(3)) || group.id == GroupId(0)));
}

#[test]
fn a_change_that_leads_to_a_node_that_leaves_is_planned_anew() {
    use Standing::{Leaves, Votes};
    let mut groups: Vec<_> = (0..4).map(|id| placed(id, &[1, 2, 3])).collect();
    for group in &mut groups[..2] {
        // Node 3 was to be replaced by node 4, and that one was lost before it had caught up.
        group.wanted = ids(&[1, 2, 4]);
    }
    let nodes = nodes(&[Votes, Votes, Leaves, Leaves, Votes]);
    let plan = plan_voters(&nodes, &groups, 2);
    assert_eq!(
        plan.changes,
        [(GroupId(0), ids(&[1, 2, 5])), (GroupId(1), ids(&[1, 2, 5]))],
        "beside them nothing begins"
    );
    groups[0].wanted = ids(&[1, 2, 5]);
    assert_eq!(plan_voters(&nodes, &groups, 2).changes, [(GroupId(1), ids(&[1, 2, 5]))]);
}

#[test]
fn nobody_leaves_without_a_successor_and_a_silent_node_keeps_its_votes() {
    use Standing::{Keeps, Leaves, Votes};
    let groups = [placed(0, &[1, 2, 3])];
    let plan = plan_voters(&nodes(&[Votes, Votes, Leaves]), &groups, 2);
    assert_eq!((plan.changes, plan.stuck), (vec![], vec![(GroupId(0), NodeId(3))]));
    assert_eq!(plan_voters(&nodes(&[Votes, Votes, Keeps, Votes]), &groups, 2).changes, []);
    let mut beside = nodes(&[Votes, Votes, Leaves, Votes]);
    beside[3].domain = beside[0].domain.clone();
    assert_eq!(plan_voters(&beside, &groups, 2).changes, [], "two voters in one domain");
}

#[test]
fn one_voter_becomes_three_when_there_are_domains() {
    use Standing::{Keeps, Votes};
    let groups = [placed(0, &[1])];
    assert_eq!(plan_voters(&nodes(&[Votes, Votes]), &groups, 2).changes, []);
    assert_eq!(plan_voters(&nodes(&[Votes, Votes, Keeps]), &groups, 2).changes, []);
    assert_eq!(plan_voters(&nodes(&[Votes, Votes, Votes]), &groups, 2).changes, [(GroupId(0), ids(&[1, 2, 3]))]);
}

#[test]
fn from_three_nodes_to_six_and_back_votes_stay_level() {
    use Standing::{Leaves, Votes};
    let mut groups = of_a_new_cluster(3, 7);
    follow(&nodes(&[Votes; 6]), &mut groups);
    assert!(votes(&groups).values().all(|votes| *votes == 4), "{:?}", votes(&groups));
    follow(&nodes(&[Votes, Leaves, Votes, Leaves, Votes, Leaves]), &mut groups);
    assert_eq!(votes(&groups), [(NodeId(1), 8), (NodeId(3), 8), (NodeId(5), 8)].into());
}

/// Nodes of machines: `a/1` and `a/2` are two disks of machine a.
fn on_machines(domains: &[&str]) -> Vec<VoterNode> {
    let mut nodes = nodes(&vec![Standing::Votes; domains.len()]);
    nodes.iter_mut().zip(domains).for_each(|(node, domain)| node.domain = (*domain).to_owned());
    nodes
}

#[test]
fn votes_of_one_machine_go_to_others_as_these_come() {
    let machines = |groups: &[GroupPlacement], nodes: &[VoterNode]| -> Vec<usize> {
        let zone = |voter: &NodeId| nodes[voter.0 as usize - 1].domain.split('/').next().map(str::to_owned);
        groups.iter().map(|group| group.wanted.iter().map(zone).collect::<BTreeSet<_>>().len()).collect()
    };
    let mut groups = of_a_new_cluster(3, 4);
    let one = on_machines(&["a/1", "a/2", "a/3"]);
    assert_eq!((follow(&one, &mut groups), machines(&groups, &one)), (0, vec![1; 5]));
    let two = on_machines(&["a/1", "a/2", "a/3", "b"]);
    follow(&two, &mut groups);
    assert_eq!(machines(&groups, &two), [2; 5]);
    let three = on_machines(&["a/1", "a/2", "a/3", "b", "c/1", "c/2"]);
    follow(&three, &mut groups);
    assert_eq!(machines(&groups, &three), [3; 5]);
    let of = votes(&groups);
    assert_eq!(of.get(&NodeId(4)), Some(&5), "the only node of its machine votes everywhere");
}

#[test]
fn nine_nodes_on_three_machines_vote_evenly_and_each_group_on_all_three() {
    let domains: Vec<String> = (0..9).map(|at| format!("m{}/{}", at % 3, at / 3)).collect();
    let nodes = on_machines(&domains.iter().map(String::as_str).collect::<Vec<_>>());
    let mut groups = of_a_new_cluster(3, 8);
    follow(&nodes, &mut groups);
    assert!(votes(&groups).values().all(|votes| *votes == 3), "{:?}", votes(&groups));
    for group in &groups {
        let machines: BTreeSet<u64> = group.wanted.iter().map(|voter| (voter.0 - 1) % 3).collect();
        assert_eq!(machines.len(), 3, "{group:?}");
    }
}

proptest! {
    #[test]
    fn whoever_comes_or_goes_plans_end_with_level_votes_in_distinct_domains(
        count in 3u64..10, groups in 1u32..12, standings in proptest::collection::vec(0u8..4, 10),
    ) {
        let standing = |number: &u8| match number {
            0 => Standing::Leaves,
            1 => Standing::Keeps,
            _ => Standing::Votes,
        };
        let nodes = nodes(&standings.iter().map(standing).collect::<Vec<_>>());
        let mut groups = of_a_new_cluster(count, groups);
        follow(&nodes, &mut groups);
        let able = nodes.iter().filter(|node| node.standing == Standing::Votes).count();
        for group in &groups {
            prop_assert_eq!(group.wanted.len(), REPLICAS);
            prop_assert_eq!(group.wanted.iter().collect::<BTreeSet<_>>().len(), REPLICAS);
            if able >= REPLICAS {
                let leaves = |voter: &NodeId| nodes[voter.0 as usize - 1].standing == Standing::Leaves;
                prop_assert!(!group.wanted.iter().any(leaves), "{:?}", group);
            }
        }
        if able >= REPLICAS {
            let of = votes(&groups);
            let able = nodes.iter().filter(|node| node.standing == Standing::Votes);
            let counts: Vec<_> = able.map(|node| of.get(&node.id).copied().unwrap_or_default()).collect();
            prop_assert!(counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0) <= 1, "{:?}", counts);
        }
    }
}
