//! Balance, domains and determinism, over many shapes of clusters.

use crate::{InitialPlan, PlacementError, PlannedNode, check, initial};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use types::{DiskId, GroupId, NodeId, PlacementMap};

fn node(id: u64, domain: &str, disks: u8) -> PlannedNode {
    let disks = (0..disks).map(|disk| DiskId([id as u8, disk, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])).collect();
    PlannedNode { id: NodeId(id), addr: format!("10.0.0.{id}:7400"), domain: domain.to_owned(), disks }
}

fn even(nodes: u64, disks: u8) -> Vec<PlannedNode> {
    (1..=nodes).map(|id| node(id, &format!("rack-{id}"), disks)).collect()
}

fn spread<K: Ord>(counts: impl IntoIterator<Item = K>) -> (usize, usize, usize) {
    let mut seen: BTreeMap<K, usize> = BTreeMap::new();
    counts.into_iter().for_each(|key| *seen.entry(key).or_default() += 1);
    (seen.len(), seen.values().copied().min().unwrap_or(0), seen.values().copied().max().unwrap_or(0))
}

fn copies_per_disk(map: &PlacementMap) -> (usize, usize, usize) {
    spread(map.groups.iter().flat_map(|group| &group.members).map(|member| (member.node, member.disk)))
}

#[test]
fn disks_pairs_and_voters_are_balanced_from_three_to_twenty_nodes() {
    for nodes in 3..=20 {
        for disks in [1, 2, 5] {
            let map = initial(&even(nodes, disks), &InitialPlan::default()).expect("a map");
            assert_eq!(check(&map), Vec::<String>::new(), "{nodes} nodes");
            let (used, least, most) = copies_per_disk(&map);
            assert_eq!(used as u64, nodes * u64::from(disks));
            assert!(most - least <= 1, "{nodes} nodes of {disks} disks hold {least} to {most} copies a disk");
            let (_, least, most) = spread(map.raft_groups.iter().flat_map(|group| group.voters.clone()));
            assert!(most - least <= 1, "{nodes} nodes have {least} to {most} voters");
        }
    }
}

#[test]
fn a_nodes_copies_are_shared_with_all_others() {
    for nodes in [3, 5, 8, 12] {
        let map = initial(&even(nodes, 1), &InitialPlan::default()).expect("a map");
        for id in (1..=nodes).map(NodeId) {
            let groups = map.groups.iter().filter(|group| group.members.iter().any(|member| member.node == id));
            let partners = groups.flat_map(|group| &group.members).map(|member| member.node).filter(|node| *node != id);
            let (met, _, _) = spread(partners);
            assert_eq!(met as u64, nodes - 1, "{id} of {nodes}");
        }
    }
}

#[test]
fn leaders_are_spread_by_the_first_voters() {
    let map = initial(&even(3, 1), &InitialPlan { meta_groups: 5, ..InitialPlan::default() }).expect("a map");
    let (nodes, least, most) = spread(map.raft_groups.iter().map(|group| group.voters[0]));
    assert_eq!((nodes, least, most), (3, 2, 2));
    assert_eq!(map.raft_groups[0].id, GroupId::CONTROL);
    assert_eq!(map.raft_groups.len(), 6);
}

#[test]
fn members_take_turns_in_the_first_place() {
    let map = initial(&even(3, 1), &InitialPlan::default()).expect("a map");
    let (nodes, least, most) = spread(map.groups.iter().map(|group| group.members[0].node));
    assert!(nodes == 3 && most - least <= 1, "{least} to {most}");
}

#[test]
fn the_order_of_the_nodes_does_not_matter() {
    let mut nodes = even(7, 2);
    let map = initial(&nodes, &InitialPlan::default());
    nodes.reverse();
    assert_eq!(initial(&nodes, &InitialPlan::default()), map);
}

#[test]
fn a_domain_holds_one_copy_however_many_nodes_stand_in_it() {
    let nodes: Vec<_> = (1..=9).map(|id| node(id, ["a", "b", "c"][id as usize % 3], 1)).collect();
    let map = initial(&nodes, &InitialPlan::default()).expect("a map");
    assert_eq!(check(&map), Vec::<String>::new());
    let (used, least, most) = copies_per_disk(&map);
    assert!(used == 9 && most - least <= 1);
}

#[test]
fn racks_of_one_zone_are_used_only_where_there_are_not_enough_zones() {
    let domains = ["a/1", "a/2", "a/3", "b/1", "b/2", "b/3", "c/1", "c/2", "c/3"];
    let nodes: Vec<_> = domains.iter().zip(1..).map(|(domain, id)| node(id, domain, 1)).collect();
    for (nodes, zones) in [(&nodes[..3], 1), (&nodes[..6], 2), (&nodes[..], 3)] {
        let map = initial(nodes, &InitialPlan::default()).expect("a map");
        assert_eq!(check(&map), Vec::<String>::new());
        assert!(map.groups.iter().all(|group| map.spread(group.members.iter().copied()) == (3, zones)));
        let of = |voter: &NodeId| map.node(*voter).map(|node| node.zone().to_owned());
        let voters = |group: &types::GroupPlacement| group.voters.iter().map(of).collect::<BTreeSet<_>>().len();
        assert!(map.raft_groups.iter().all(|group| voters(group) == zones), "{zones} zones");
        let (_, least, most) = copies_per_disk(&map);
        assert!(most - least <= 1, "{zones} zones: {least} to {most}");
    }
}

#[test]
fn impossible_inputs_are_refused() {
    let plan = InitialPlan::default();
    assert_eq!(initial(&even(2, 1), &plan), Err(PlacementError::TooFewDomains { domains: 2 }));
    let crowded: Vec<_> = (1..=5).map(|id| node(id, if id < 4 { "a" } else { "b" }, 1)).collect();
    assert_eq!(initial(&crowded, &plan), Err(PlacementError::TooFewDomains { domains: 2 }));
    let twice = [even(3, 1), even(1, 1)].concat();
    assert_eq!(initial(&twice, &plan), Err(PlacementError::NodeId(NodeId(1))));
    let diskless = [even(3, 1), vec![node(4, "d", 0)]].concat();
    assert_eq!(initial(&diskless, &plan), Err(PlacementError::Disks { node: NodeId(4), disks: 0 }));
    let mut shared = even(3, 1);
    shared[1].disks = shared[0].disks.clone();
    assert_eq!(initial(&shared, &plan), Err(PlacementError::DiskTwice(shared[0].disks[0])));
    for plan in [
        InitialPlan { groups: 0, ..plan },
        InitialPlan { slots: 63, ..plan },
        InitialPlan { meta_groups: 0, ..plan },
        InitialPlan { meta_groups: GroupId::LIMIT, ..plan },
    ] {
        assert_eq!(initial(&even(3, 1), &plan), Err(PlacementError::Plan(plan)));
    }
}

#[test]
fn check_names_what_is_wrong() {
    let sound = initial(&even(4, 1), &InitialPlan::default()).expect("a map");
    let broken = |breakage: &dyn Fn(&mut PlacementMap)| {
        let mut map = sound.clone();
        breakage(&mut map);
        check(&map).len()
    };
    assert_eq!(broken(&|_| {}), 0);
    assert_eq!(broken(&|map| map.slots[3] = 64), 1);
    assert_eq!(broken(&|map| map.groups[0].members[1].disk = 9), 1);
    assert_eq!(broken(&|map| map.groups[0].members[1] = map.groups[0].members[0]), 1);
    assert_eq!(broken(&|map| map.groups.swap(0, 1)), 1);
    assert_eq!(broken(&|map| map.raft_groups.truncate(0)), 1);
    assert_eq!(broken(&|map| map.raft_groups[1].voters.truncate(2)), 1);
    assert!(broken(&|map| map.nodes.clear()) > 64);
}

proptest! {
    #[test]
    fn any_cluster_of_three_domains_gets_a_sound_map(
        shape in proptest::collection::vec((0u8..6, 1u8..4), 3..20),
        groups in 1u16..100, more_slots in 0u16..300, meta_groups in 1u32..20,
    ) {
        let nodes: Vec<_> =
            shape.iter().zip(1..).map(|((domain, disks), id)| node(id, &domain.to_string(), *disks)).collect();
        let plan = InitialPlan { slots: groups + more_slots, groups, meta_groups };
        match initial(&nodes, &plan) {
            Ok(map) => prop_assert_eq!(check(&map), Vec::<String>::new()),
            Err(PlacementError::TooFewDomains { domains }) => prop_assert!(domains < 3),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}
