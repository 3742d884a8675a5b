//! The first map: greedy, always the disk with the fewest copies that the failure domains allow.
//!
//! Zones that have no copy of the group yet come first. Between disks of equal load the one wins whose node has met the members chosen so far least often: a node's copies are then
//! spread over all others, and all of them share the work of replacing it. What is still equal is decided by a rotation, so that
//! neither low node ids nor first positions are favoured.

use crate::{InitialPlan, PlacementError, PlannedNode, voters};
use std::collections::BTreeMap;
use types::{
    FeatureLevel, Member, NodeEntry, NodeId, PgEpoch, PgId, PlacementGroup, PlacementMap, PlacementOptions,
    PlacementRule, REPLICAS, RuleEntry, RuleId, zone_of,
};

/// Makes the first map of a cluster, version 1 with all epochs at 1 and all nodes taken to be up.
///
/// Every placement group has `REPLICAS` members in distinct failure domains; every Raft group has as many voters, in distinct
/// domains too. The result depends on the input only, not on the order of `nodes`.
///
/// # Errors
/// [`PlacementError`].
pub fn initial(nodes: &[PlannedNode], plan: &InitialPlan) -> Result<PlacementMap, PlacementError> {
    plan.validate(nodes)?;
    let mut nodes = nodes.to_vec();
    nodes.sort_by_key(|node| node.id);
    let mut chooser = Chooser::new(&nodes);
    let groups: Vec<PlacementGroup> = (0..u32::from(plan.groups))
        .map(|id| PlacementGroup::settled(PgId(id), PgEpoch(1), chooser.members(id as usize)))
        .collect();
    let slots = (0..u32::from(plan.slots)).map(|slot| slot % u32::from(plan.groups)).collect();
    let raft_groups = voters::place(&nodes, plan.meta_groups);
    let nodes = nodes.into_iter().map(entry).collect();
    Ok(PlacementMap {
        version: 1,
        nodes,
        groups,
        slots,
        raft_groups,
        options: PlacementOptions::default(),
        level: FeatureLevel::NEWEST,
        rules: vec![RuleEntry {
            id: RuleId::DEFAULT,
            name: RuleEntry::DEFAULT_NAME.to_owned(),
            rule: PlacementRule::default(),
        }],
        bucket_rules: Vec::new(),
    })
}

fn entry(node: PlannedNode) -> NodeEntry {
    NodeEntry::new(node.id, node.addr, node.domain, node.disks)
}

struct Chooser<'a> {
    nodes: &'a [PlannedNode],
    /// All disks with the copies they hold so far: node index, disk index, copies.
    disks: Vec<(usize, u16, u32)>,
    /// How often two nodes are in one group.
    met: BTreeMap<(NodeId, NodeId), u32>,
}

impl<'a> Chooser<'a> {
    fn new(nodes: &'a [PlannedNode]) -> Self {
        // Disk by disk, not node by node: neighbours in the rotation are different nodes.
        let deepest = nodes.iter().map(|node| node.disks.len()).max().unwrap_or(0);
        let disks = (0..deepest)
            .flat_map(|disk| (0..nodes.len()).map(move |node| (node, disk)))
            .filter(|(node, disk)| *disk < nodes[*node].disks.len())
            .map(|(node, disk)| (node, disk as u16, 0))
            .collect();
        Chooser { nodes, disks, met: BTreeMap::new() }
    }

    fn members(&mut self, turn: usize) -> Vec<Member> {
        let mut chosen: Vec<(NodeId, &str)> = Vec::with_capacity(REPLICAS);
        let mut members = Vec::with_capacity(REPLICAS);
        while members.len() < REPLICAS {
            let at = self.best(turn, &chosen);
            let (node, disk, copies) = &mut self.disks[at];
            *copies += 1;
            let planned = &self.nodes[*node];
            members.push(Member { node: planned.id, disk: *disk });
            for (other, _) in &chosen {
                *self.met.entry(pair(*other, planned.id)).or_default() += 1;
            }
            chosen.push((planned.id, &planned.domain));
        }
        members.rotate_left(turn % REPLICAS);
        members
    }

    fn best(&self, turn: usize, chosen: &[(NodeId, &str)]) -> usize {
        let total = self.disks.len();
        let cost = |at: usize| {
            let (node, _, copies) = self.disks[at];
            let id = self.nodes[node].id;
            let met: u32 =
                chosen.iter().map(|(other, _)| self.met.get(&pair(*other, id)).copied().unwrap_or_default()).sum();
            // Racks of one zone, or disks of one machine, only where there are not enough zones.
            let near = chosen.iter().any(|(_, taken)| zone_of(taken) == zone_of(&self.nodes[node].domain));
            (near, copies, met, (at + total - turn % total) % total)
        };
        (0..total)
            .filter(|at| {
                let domain = &self.nodes[self.disks[*at].0].domain;
                chosen.iter().all(|(_, taken)| taken != domain)
            })
            .min_by_key(|at| cost(*at))
            .expect("the plan was validated: there are enough domains, each with a disk")
    }
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}
