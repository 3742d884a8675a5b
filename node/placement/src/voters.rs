//! The voters of every Raft group: evenly many on each node, and as evenly the first ones, who are elected first; and who takes
//! their place when nodes come and go.

use crate::PlannedNode;
use std::collections::{BTreeMap, BTreeSet};
use types::{GroupId, GroupPlacement, NodeId, REPLICAS, zone_of};

/// Voters of a group. Three survive the loss of one; five would cost every commit two more flushes.
const VOTERS: usize = REPLICAS;

/// Places the control group and `meta_groups` metadata groups. `nodes` are sorted and stand in at least `VOTERS` domains.
pub(crate) fn place(nodes: &[PlannedNode], meta_groups: u32) -> Vec<GroupPlacement> {
    let mut votes: BTreeMap<NodeId, u32> = BTreeMap::new();
    let mut firsts: BTreeMap<NodeId, u32> = BTreeMap::new();
    (0..=meta_groups)
        .map(|group| {
            let mut voters = choose(nodes, group as usize, &votes);
            voters.iter().for_each(|voter| *votes.entry(*voter).or_default() += 1);
            let first = (0..voters.len())
                .min_by_key(|at| (firsts.get(&voters[*at]).copied().unwrap_or_default(), *at))
                .unwrap_or_default();
            voters.rotate_left(first);
            *firsts.entry(voters[0]).or_default() += 1;
            GroupPlacement::founding(GroupId(group), voters)
        })
        .collect()
}

fn choose(nodes: &[PlannedNode], turn: usize, votes: &BTreeMap<NodeId, u32>) -> Vec<NodeId> {
    let mut chosen: Vec<&PlannedNode> = Vec::with_capacity(VOTERS);
    while chosen.len() < VOTERS {
        let free = |node: &PlannedNode| chosen.iter().all(|other| other.domain != node.domain);
        let best = (0..nodes.len())
            .filter(|at| free(&nodes[*at]))
            .min_by_key(|at| {
                let rotated = (at + nodes.len() - turn % nodes.len()) % nodes.len();
                let near = chosen.iter().any(|other| zone_of(&other.domain) == zone_of(&nodes[*at].domain));
                (near, votes.get(&nodes[*at].id).copied().unwrap_or_default(), rotated)
            })
            .expect("the plan was validated: there are enough domains");
        chosen.push(&nodes[best]);
    }
    chosen.iter().map(|node| node.id).collect()
}

/// What may become of the votes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It votes and takes more.
    Votes,
    /// It keeps the votes it has: it is silent, and may be back in a moment.
    Keeps,
    /// Its votes go to others: it is out for good, or is being emptied.
    Leaves,
}

/// A node as the planner of voters sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterNode {
    /// Its id.
    pub id: NodeId,
    /// Its failure domain.
    pub domain: String,
    /// What may become of its votes.
    pub standing: Standing,
}

/// What the planner would change, and what it could not help.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct VoterPlan {
    /// The next wanted voters of some groups.
    pub changes: Vec<(GroupId, Vec<NodeId>)>,
    /// Groups with a voter that should leave and that no other node can replace.
    pub stuck: Vec<(GroupId, NodeId)>,
}

/// The next wanted voters: groups with a voter that leaves first, in the order of their ids, so the control group before all; then
/// groups with fewer voters than domains allow; then, if nothing of that is left to do, a group whose voters could stand in more zones; then one
/// vote from the node with the most to the node with the fewest.
///
/// Voters of a group stand in distinct domains, three of them, or one where there are fewer domains; and in as many zones as they can. At most `at_once` groups change
/// at a time, and only groups that are as wanted: `groups` names the voters as they are and as they are wanted. A change that is under way goes on,
/// unless it leads to a node that leaves, which may never catch up: then it is planned anew. A voter that leaves stays until another can take its
/// place: a group never shrinks because a node does.
#[must_use]
pub fn plan_voters(nodes: &[VoterNode], groups: &[GroupPlacement], at_once: usize) -> VoterPlan {
    let mut plan = VoterPlan::default();
    let changing = groups.iter().filter(|group| !group.is_settled()).count();
    let mut room = at_once.saturating_sub(changing);
    let mut votes: BTreeMap<NodeId, usize> = nodes.iter().map(|node| (node.id, 0)).collect();
    for voter in groups.iter().flat_map(|group| &group.wanted) {
        *votes.entry(*voter).or_default() += 1;
    }
    for group in groups {
        let settled = group.is_settled();
        if !settled && !group.wanted.iter().any(|voter| leaves(nodes, *voter)) {
            continue;
        }
        let wanted = mended(nodes, group, &votes, &mut plan.stuck);
        if wanted != group.wanted && (room > 0 || !settled) {
            room -= usize::from(settled);
            group.wanted.iter().for_each(|voter| *votes.entry(*voter).or_default() -= 1);
            wanted.iter().for_each(|voter| *votes.entry(*voter).or_default() += 1);
            plan.changes.push((group.id, wanted));
        }
    }
    if plan.changes.is_empty() && changing == 0 && at_once > 0 {
        plan.changes.extend(spread_out(nodes, groups, &votes).or_else(|| levelled(nodes, groups, &votes)));
    }
    plan
}

/// Whether a node gives its votes up, or is not there any more.
fn leaves(nodes: &[VoterNode], id: NodeId) -> bool {
    nodes.iter().find(|node| node.id == id).is_none_or(|node| node.standing == Standing::Leaves)
}

/// The group's voters with those replaced that leave, and with as many as there should be.
fn mended(
    nodes: &[VoterNode],
    group: &GroupPlacement,
    votes: &BTreeMap<NodeId, usize>,
    stuck: &mut Vec<(GroupId, NodeId)>,
) -> Vec<NodeId> {
    let stays = |voter: &&NodeId| !leaves(nodes, **voter);
    let mut wanted: Vec<NodeId> = group.wanted.iter().filter(stays).copied().collect();
    let leaving: Vec<NodeId> = group.wanted.iter().filter(|voter| !stays(voter)).copied().collect();
    for gone in leaving {
        match best(nodes, &wanted, votes) {
            Some(new) => wanted.push(new),
            None => {
                stuck.push((group.id, gone));
                wanted.push(gone);
            }
        }
    }
    // An odd number: one more voter alone would be one more that has to answer.
    let domains = nodes.iter().filter(|node| node.standing == Standing::Votes).map(|node| &node.domain);
    let grown = domains.collect::<BTreeSet<_>>().len() >= VOTERS;
    if grown && wanted.len() < VOTERS {
        let before = wanted.clone();
        while wanted.len() < VOTERS {
            let Some(new) = best(nodes, &wanted, votes) else { return before };
            wanted.push(new);
        }
    }
    wanted
}

/// The node that may take a vote beside `chosen`: in a zone that has none of them, if there is one, and with the fewest votes.
fn best(nodes: &[VoterNode], chosen: &[NodeId], votes: &BTreeMap<NodeId, usize>) -> Option<NodeId> {
    let taken = |node: &VoterNode| {
        nodes.iter().any(|other| chosen.contains(&other.id) && other.domain == node.domain) || chosen.contains(&node.id)
    };
    let free = nodes.iter().filter(|node| node.standing == Standing::Votes && !taken(node));
    let taken_zones = zones(nodes, chosen);
    let near = |node: &VoterNode| taken_zones.contains(zone_of(&node.domain));
    let best = free.min_by_key(|node| (near(node), votes.get(&node.id).copied().unwrap_or_default(), node.id));
    best.map(|node| node.id)
}

/// The zones that voters stand in.
fn zones<'a>(nodes: &'a [VoterNode], voters: &[NodeId]) -> BTreeSet<&'a str> {
    nodes.iter().filter(|node| voters.contains(&node.id)).map(|node| zone_of(&node.domain)).collect()
}

/// One vote of the first group whose voters would then stand in more zones; nearest to level of those.
fn spread_out(
    nodes: &[VoterNode],
    groups: &[GroupPlacement],
    votes: &BTreeMap<NodeId, usize>,
) -> Option<(GroupId, Vec<NodeId>)> {
    groups.iter().find_map(|group| {
        let now = zones(nodes, &group.wanted).len();
        let steps = group.wanted.iter().filter_map(|voter| {
            let rest: Vec<NodeId> = group.wanted.iter().filter(|other| *other != voter).copied().collect();
            let new = best(nodes, &rest, votes)?;
            let wanted = [rest, vec![new]].concat();
            // Of those in one zone the one with most votes gives one up.
            let has = votes.get(voter).copied().unwrap_or_default();
            (zones(nodes, &wanted).len() > now).then_some((std::cmp::Reverse(has), wanted))
        });
        steps.min().map(|(_, wanted)| (group.id, wanted))
    })
}

/// One vote from a node that has at least two more than another.
fn levelled(
    nodes: &[VoterNode],
    groups: &[GroupPlacement],
    votes: &BTreeMap<NodeId, usize>,
) -> Option<(GroupId, Vec<NodeId>)> {
    let of = |node: &NodeId| votes.get(node).copied().unwrap_or_default();
    let mut steps = Vec::new();
    for group in groups {
        for voter in &group.wanted {
            let rest: Vec<NodeId> = group.wanted.iter().filter(|other| *other != voter).copied().collect();
            let Some(new) = best(nodes, &rest, votes).filter(|new| of(new) + 2 <= of(voter)) else { continue };
            let gain = of(voter) - of(&new);
            let wanted = [rest, vec![new]].concat();
            if zones(nodes, &wanted).len() < zones(nodes, &group.wanted).len() {
                continue;
            }
            steps.push((std::cmp::Reverse(gain), group.id, wanted));
        }
    }
    steps.into_iter().min().map(|(_, group, wanted)| (group, wanted))
}
