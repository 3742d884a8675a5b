//! How many copies each disk should hold.
//!
//! By weight, as far as the failure domains allow it: a domain holds one copy of each group at most, as long as there are enough of
//! them, and so does a node. What a heavy domain cannot hold falls to the others by their weights.

use std::collections::BTreeMap;
use types::{DiskState, Member, NodeEntry, NodeMode, NodeState, PlacementMap, REPLICAS};

/// The disks of each node of a domain with their weights.
type NodeDisks = BTreeMap<types::NodeId, Vec<(Member, f64)>>;

/// The share of each disk that counts, in copies.
pub(crate) type Shares = BTreeMap<Member, f64>;

/// Whether copies are meant to stay on a disk: it may be away for a while, or full, but not out, draining or broken.
pub(crate) fn counts(node: &NodeEntry, disk: usize) -> bool {
    let fits = |state| matches!(state, DiskState::Active | DiskState::ReadOnly | DiskState::Full);
    node.mode == NodeMode::Active
        && node.state != NodeState::Out
        && node.disks.get(disk).is_some_and(|disk| fits(disk.state) && disk.weight > 0)
}

/// The shares under the map's own rules of classes.
pub(crate) fn shares(map: &PlacementMap) -> Shares {
    let mut shares = Shares::new();
    let mut left = REPLICAS;
    for wanted in &map.options.classes {
        let copies = usize::from(wanted.copies).min(left);
        left -= copies;
        pool(map, copies, Some(&wanted.class), &mut shares);
    }
    pool(map, left, None, &mut shares);
    shares
}

/// Shares out `copies` of every group among the disks of a class, or of all.
fn pool(map: &PlacementMap, copies: usize, class: Option<&str>, shares: &mut Shares) {
    let groups = map.groups.len() as f64;
    let mut domains: BTreeMap<&str, NodeDisks> = BTreeMap::new();
    for node in &map.nodes {
        for (number, disk) in node.disks.iter().enumerate() {
            if counts(node, number) && class.is_none_or(|class| class == disk.class) {
                let member = Member { node: node.id, disk: number as u16 };
                let nodes = domains.entry(node.domain.as_str()).or_default();
                nodes.entry(node.id).or_default().push((member, f64::from(disk.weight)));
            }
        }
    }
    // With fewer domains than copies, some domain has to hold several of a group.
    let crowd = copies.saturating_sub(domains.len().saturating_sub(1)).max(1) as f64;
    let weight = |disks: &Vec<(Member, f64)>| disks.iter().map(|(_, weight)| weight).sum::<f64>();
    let items: Vec<_> = domains
        .values()
        .map(|nodes| (nodes.values().map(weight).sum::<f64>(), groups * crowd.min(nodes.len() as f64)))
        .collect();
    for (nodes, of_domain) in domains.values().zip(divide(groups * copies as f64, &items)) {
        let items: Vec<_> = nodes.values().map(|disks| (weight(disks), groups)).collect();
        for (disks, of_node) in nodes.values().zip(divide(of_domain, &items)) {
            let items: Vec<_> = disks.iter().map(|(_, weight)| (*weight, groups)).collect();
            for ((member, _), share) in disks.iter().zip(divide(of_node, &items)) {
                *shares.entry(*member).or_default() += share;
            }
        }
    }
}

/// Divides `total` by weight among items of (weight, most it can take); less than `total` if all are full.
fn divide(total: f64, items: &[(f64, f64)]) -> Vec<f64> {
    let mut given: Vec<Option<f64>> = vec![None; items.len()];
    let mut left = total;
    loop {
        let open = || (0..items.len()).filter(|at| given[*at].is_none());
        let weights: f64 = open().map(|at| items[at].0).sum();
        let full: Vec<_> = open().filter(|at| items[*at].0 * left > items[*at].1 * weights).collect();
        if full.is_empty() {
            let share = |at: usize| if weights > 0.0 { left * items[at].0 / weights } else { 0.0 };
            return (0..items.len()).map(|at| given[at].unwrap_or_else(|| share(at))).collect();
        }
        for at in full {
            given[at] = Some(items[at].1);
            left = (left - items[at].1).max(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::divide;

    #[test]
    fn what_a_full_item_cannot_take_falls_to_the_others() {
        assert_eq!(divide(12.0, &[(1.0, 100.0), (2.0, 100.0)]), [4.0, 8.0]);
        assert_eq!(divide(12.0, &[(1.0, 100.0), (2.0, 5.0)]), [7.0, 5.0]);
        assert_eq!(divide(12.0, &[(1.0, 2.0), (1.0, 5.0)]), [2.0, 5.0]);
        assert_eq!(divide(9.0, &[(10.0, 3.0), (1.0, 9.0), (2.0, 9.0)]), [3.0, 2.0, 4.0]);
        assert_eq!(divide(9.0, &[]), Vec::<f64>::new());
    }
}
