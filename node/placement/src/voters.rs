//! The voters of every Raft group: evenly many on each node, and as evenly the first ones, who are elected first; and who takes
//! their place when nodes come and go.

use crate::PlannedNode;
use std::collections::BTreeMap;
use types::{GroupId, GroupPlacement, NodeId, REPLICAS};

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
                (votes.get(&nodes[*at].id).copied().unwrap_or_default(), rotated)
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
/// groups with fewer voters than domains allow; then, if nothing of that is left to do, one vote from the node with the most to
/// the node with the fewest.
///
/// Voters of a group stand in distinct domains, three of them, or one where there are fewer domains. At most `at_once` groups change
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
        plan.changes.extend(levelled(nodes, groups, &votes));
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
    let grown = domains.collect::<std::collections::BTreeSet<_>>().len() >= VOTERS;
    if grown && wanted.len() < VOTERS {
        let before = wanted.clone();
        while wanted.len() < VOTERS {
            let Some(new) = best(nodes, &wanted, votes) else { return before };
            wanted.push(new);
        }
    }
    wanted
}

/// The node with the fewest votes that may take one beside `chosen`.
fn best(nodes: &[VoterNode], chosen: &[NodeId], votes: &BTreeMap<NodeId, usize>) -> Option<NodeId> {
    let taken = |node: &VoterNode| {
        nodes.iter().any(|other| chosen.contains(&other.id) && other.domain == node.domain) || chosen.contains(&node.id)
    };
    let free = nodes.iter().filter(|node| node.standing == Standing::Votes && !taken(node));
    free.min_by_key(|node| (votes.get(&node.id).copied().unwrap_or_default(), node.id)).map(|node| node.id)
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
            steps.push((std::cmp::Reverse(gain), group.id, wanted));
        }
    }
    steps.into_iter().min().map(|(_, group, wanted)| (group, wanted))
}
