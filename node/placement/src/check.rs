//! What is wrong with a map.

use std::collections::BTreeSet;
use types::{GroupId, PlacementGroup, PlacementMap, REPLICAS};

/// Everything that breaks a rule of placement, one line each; empty for a sound map.
///
/// For maps read from files and for tests of planners: nodes and groups are sorted, unique and known; members and voters stand in
/// distinct failure domains; every slot leads to a group; the control group exists.
#[must_use]
pub fn check(map: &PlacementMap) -> Vec<String> {
    let mut found = Vec::new();
    check_nodes(map, &mut found);
    check_groups(map, &mut found);
    check_voters(map, &mut found);
    found
}

fn check_nodes(map: &PlacementMap, found: &mut Vec<String>) {
    if !map.nodes.is_sorted_by(|a, b| a.id < b.id) {
        found.push("nodes are not sorted by unique ids".to_owned());
    }
    let mut disks = BTreeSet::new();
    for node in &map.nodes {
        if node.id.0 == 0 {
            found.push("node id 0 is not valid".to_owned());
        }
        if node.disks.is_empty() {
            found.push(format!("{} has no disks", node.id));
        }
        for disk in node.disks.iter().filter(|disk| !disks.insert(**disk)) {
            found.push(format!("disk {disk} is named twice"));
        }
    }
}

fn check_groups(map: &PlacementMap, found: &mut Vec<String>) {
    if !map.groups.is_sorted_by(|a, b| a.id < b.id) {
        found.push("placement groups are not sorted by unique ids".to_owned());
    }
    if map.slots.is_empty() {
        found.push("no slots".to_owned());
    }
    for (slot, group) in map.slots.iter().enumerate() {
        if map.groups.get(*group as usize).is_none() {
            found.push(format!("slot {slot} leads to placement group {group}, which does not exist"));
        }
    }
    for group in &map.groups {
        check_members(map, group, found);
    }
}

fn check_members(map: &PlacementMap, group: &PlacementGroup, found: &mut Vec<String>) {
    let id = group.id;
    if group.epoch.0 == 0 {
        found.push(format!("{id} has epoch 0"));
    }
    if group.members.len() != REPLICAS {
        found.push(format!("{id} has {} members", group.members.len()));
    }
    let mut domains = BTreeSet::new();
    for member in &group.members {
        let Some(node) = map.node(member.node) else {
            found.push(format!("{id} has a member on {}, which does not exist", member.node));
            continue;
        };
        if usize::from(member.disk) >= node.disks.len() {
            found.push(format!("{id} has a member on disk {} of {}, which does not exist", member.disk, node.id));
        }
        if !domains.insert(&node.domain) {
            found.push(format!("{id} has two members in domain {:?}", node.domain));
        }
    }
}

fn check_voters(map: &PlacementMap, found: &mut Vec<String>) {
    if !map.raft_groups.is_sorted_by(|a, b| a.id < b.id) {
        found.push("raft groups are not sorted by unique ids".to_owned());
    }
    if map.raft_groups.first().is_none_or(|first| first.id != GroupId::CONTROL) {
        found.push("the control group is missing".to_owned());
    }
    for group in &map.raft_groups {
        if group.voters.len() % 2 == 0 {
            found.push(format!("{} has {} voters", group.id, group.voters.len()));
        }
        let mut domains = BTreeSet::new();
        for voter in &group.voters {
            match map.node(*voter) {
                None => found.push(format!("{} has voter {voter}, which does not exist", group.id)),
                Some(node) if !domains.insert(&node.domain) => {
                    found.push(format!("{} has two voters in domain {:?}", group.id, node.domain));
                }
                Some(_) => {}
            }
        }
    }
}
