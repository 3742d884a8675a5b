//! What is wrong with a map.

use crate::plan::Limits;
use crate::report::{Plan, PlannedMove, Reason};
use std::collections::{BTreeMap, BTreeSet};
use types::{Domain, GroupId, Member, NodeId, PlacementGroup, PlacementMap, REPLICAS, RuleEntry, RuleId};

/// Everything that breaks a rule of placement, one line each; empty for a sound map.
///
/// For maps read from files and for tests of planners: nodes, groups and rules are sorted, unique and known; members stand as far apart as their
/// group's rule asks for, and voters in distinct failure domains; every slot leads to a group, and some to each rule; the control group exists.
#[must_use]
pub fn check(map: &PlacementMap) -> Vec<String> {
    let mut found = Vec::new();
    check_nodes(map, &mut found);
    check_rules(map, &mut found);
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
        for disk in node.disks.iter().filter(|disk| !disks.insert(disk.id)) {
            found.push(format!("disk {} is named twice", disk.id));
        }
    }
}

fn check_rules(map: &PlacementMap, found: &mut Vec<String>) {
    if !map.rules.is_sorted_by(|a, b| a.id < b.id) || !map.bucket_rules.is_sorted_by(|a, b| a.0 < b.0) {
        found.push("rules, or the buckets that have one, are not sorted by unique ids".to_owned());
    }
    let mut names = BTreeSet::new();
    for RuleEntry { id, name, rule } in &map.rules {
        if !RuleEntry::is_name(name) || !names.insert(name) || rule.validate().is_err() {
            found.push(format!("{id} named {name:?} cannot be meant"));
        }
    }
    for (bucket, rule) in map.bucket_rules.iter().filter(|(_, rule)| !map.has_rule(*rule)) {
        found.push(format!("{bucket} has {rule}, which does not exist"));
    }
    let led_to: BTreeSet<RuleId> =
        (0..map.slots.len()).filter_map(|slot| map.rule_of(types::Slot(slot as u16))).collect();
    for RuleEntry { id, .. } in map.rules.iter().filter(|entry| !led_to.contains(&entry.id)) {
        found.push(format!("no slot leads to a group of {id}"));
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
    if !map.has_rule(group.rule) {
        found.push(format!("{id} has {}, which does not exist", group.rule));
    }
    let level = map.rule(group.rule).level;
    let mut domains = BTreeSet::new();
    for member in &group.members {
        let Some(node) = map.node(member.node) else {
            found.push(format!("{id} has a member on {}, which does not exist", member.node));
            continue;
        };
        if usize::from(member.disk) >= node.disks.len() {
            found.push(format!("{id} has a member on disk {} of {}, which does not exist", member.disk, node.id));
        }
        if !domains.insert(Domain::of(level, node)) {
            found.push(format!("{id} has two members in one {level}, that of {}", node.id));
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

/// Everything that is wrong with a plan for a map, one line each; empty for one that may be carried out. Written apart from the planner,
/// whose mistakes it is to find.
#[must_use]
pub fn check_plan(map: &PlacementMap, plan: &Plan, limits: &Limits) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (pg, epoch) in &plan.aborts {
        if map.group(*pg).is_none_or(|group| group.moving.is_none() || group.epoch != *epoch) || !seen.insert(*pg) {
            found.push(format!("{pg} has no move to give up at {epoch}"));
        }
    }
    for planned in &plan.moves {
        if !seen.insert(planned.pg) {
            found.push(format!("{} is named twice", planned.pg));
        }
        check_move(map, planned, &mut found);
    }
    check_limits(map, plan, limits, &mut found);
    found
}

fn check_move(map: &PlacementMap, planned: &PlannedMove, found: &mut Vec<String>) {
    let PlannedMove { pg, epoch, from, to, .. } = planned;
    let Some(group) = map.group(*pg) else {
        found.push(format!("{pg} does not exist"));
        return;
    };
    if group.moving.is_some() || group.epoch != *epoch {
        found.push(format!("{pg} moves already or is not at {epoch}"));
    }
    let Some(at) = group.members.iter().position(|member| member == from) else {
        found.push(format!("{pg} has no member {from:?}"));
        return;
    };
    if let Err(fault) = map.move_fits(group, at, *to) {
        found.push(format!("{pg}: {from:?} to {to:?}: {fault}"));
    }
    if group.members.iter().all(|member| map.is_lost(*member)) {
        found.push(format!("{pg} has no copy to move"));
    }
    // For the sake of what a rule does not ask for, no copy leaves the class that it does.
    let forced = matches!(planned.reason, Reason::Lost { .. } | Reason::Drain);
    let closer = planned.reason == Reason::Spread;
    let mut then = group.members.clone();
    then[at] = *to;
    if !forced && !closer && given(map, group, &then) < given(map, group, &group.members) {
        found.push(format!("{pg}: {from:?} to {to:?}: fewer copies on the classes of {}", group.rule));
    }
}

/// Copies that are wanted on the class that they lie on.
fn given(map: &PlacementMap, group: &PlacementGroup, members: &[Member]) -> usize {
    let mut open: Vec<&str> = map.rule(group.rule).wishes().into_iter().flatten().collect();
    let wanted = open.len();
    for member in members {
        let class = map.disk(*member).map_or("", |disk| disk.class.as_str());
        if let Some(at) = open.iter().position(|wish| *wish == class) {
            open.swap_remove(at);
        }
    }
    wanted - open.len()
}

fn check_limits(map: &PlacementMap, plan: &Plan, limits: &Limits, found: &mut Vec<String>) {
    let running = map.groups.iter().filter_map(|group| Some(group.moving.as_ref()?.to));
    let (mut nodes, mut disks): (BTreeMap<NodeId, usize>, BTreeMap<Member, usize>) = Default::default();
    let mut moves = 0;
    for to in running.chain(plan.moves.iter().map(|planned| planned.to)) {
        moves += 1;
        *nodes.entry(to.node).or_default() += 1;
        *disks.entry(to).or_default() += 1;
    }
    // Limits may have been lowered under moves that go on: those are no fault of the plan, new ones are.
    let planned = |node: NodeId| plan.moves.iter().any(|planned| planned.to.node == node);
    if moves > limits.moves && !plan.moves.is_empty() {
        found.push(format!("{moves} moves at once"));
    }
    for (node, count) in nodes.iter().filter(|(node, count)| **count > limits.per_node && planned(**node)) {
        found.push(format!("{count} moves into {node}"));
    }
    for (disk, count) in disks {
        if count > limits.per_disk && plan.moves.iter().any(|planned| planned.to == disk) {
            found.push(format!("{count} moves into {disk:?}"));
        }
    }
}
