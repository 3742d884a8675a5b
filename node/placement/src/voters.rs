//! The voters of every Raft group: evenly many on each node, and as evenly the first ones, who are elected first.

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
            GroupPlacement { id: GroupId(group), voters }
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
