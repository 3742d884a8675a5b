//! How many copies of a rule's groups each disk should hold.
//!
//! Each rule for itself: one may have all the bytes and another none. By weight, as far as the failure domains allow it: a zone holds one copy of
//! each group at most as long as there are enough of them, and so do a rack and a node, since nothing moves nearer together for the sake of
//! balance. What a heavy domain cannot hold falls to the others by their weights. Where a rule asks for classes, copies of each are shared out
//! among the disks of the class, each in its part of every domain.

use std::collections::{BTreeMap, BTreeSet};
use types::{DiskState, Member, NodeEntry, NodeId, NodeMode, NodeState, PlacementMap, REPLICAS, RuleId};

/// The share of each disk that counts, in copies.
pub(crate) type Shares = BTreeMap<Member, f64>;

/// Whether copies are meant to stay on a disk: it may be away for a while, or full, but not out, draining or broken.
pub(crate) fn counts(node: &NodeEntry, disk: usize) -> bool {
    let fits = |state| matches!(state, DiskState::Active | DiskState::ReadOnly | DiskState::Full);
    node.mode == NodeMode::Active
        && node.state != NodeState::Out
        && node.disks.get(disk).is_some_and(|disk| fits(disk.state) && disk.weight > 0)
}

/// The shares of the copies of so many groups of a rule.
pub(crate) fn shares(map: &PlacementMap, rule: RuleId, groups: usize) -> Shares {
    let disks = disks(map);
    let all: Vec<&Disk<'_>> = disks.iter().collect();
    let mut left = REPLICAS;
    let mut pools: Vec<(usize, Vec<&Disk<'_>>)> = Vec::new();
    for wanted in &map.rule(rule).classes {
        let copies = usize::from(wanted.copies).min(left);
        left -= copies;
        pools.push((copies, disks.iter().filter(|disk| disk.class == wanted.class).collect()));
    }
    // What has the fewest nodes to choose from comes first: the others can do without these.
    pools.sort_by_key(|(_, disks)| disks.iter().map(|disk| disk.member.node).collect::<BTreeSet<_>>().len());
    pools.push((left, all.clone()));
    let (groups, mut shares, mut left) = (groups as f64, Shares::new(), REPLICAS);
    for (copies, pool) in pools {
        let crowd = |depth| crowd(copies, &pool, depth).max(crowd(REPLICAS, &all, depth));
        let part = copies as f64 / left.max(1) as f64;
        let dealer = Dealer { groups, part, crowds: [crowd(0), crowd(1), 1.0], all: &all };
        dealer.deal(groups * copies as f64, &pool, 0, &mut shares);
        left -= copies;
    }
    shares
}

/// A disk that counts, and where it stands.
struct Disk<'a> {
    member: Member,
    weight: f64,
    class: &'a str,
    /// Zone, rack and node.
    path: [Step<'a>; DEPTH],
}

/// How many levels of domains there are above a disk.
const DEPTH: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step<'a> {
    Named(&'a str),
    Node(NodeId),
}

fn disks(map: &PlacementMap) -> Vec<Disk<'_>> {
    let mut disks = Vec::new();
    for node in &map.nodes {
        let path = [Step::Named(node.zone()), Step::Named(&node.domain), Step::Node(node.id)];
        for at in (0..node.disks.len()).filter(|at| counts(node, *at)) {
            let (disk, member) = (&node.disks[at], Member { node: node.id, disk: at as u16 });
            disks.push(Disk { member, weight: f64::from(disk.weight), class: &disk.class, path });
        }
    }
    disks
}

/// Copies of one group that some domain has to hold: more than one where there are fewer domains than copies.
fn crowd(copies: usize, disks: &[&Disk<'_>], depth: usize) -> f64 {
    let domains = disks.iter().map(|disk| disk.path[depth]).collect::<BTreeSet<_>>().len();
    copies.saturating_sub(domains.saturating_sub(1)).max(1) as f64
}

/// Shares out the copies of one class, or those that may lie anywhere.
struct Dealer<'a> {
    groups: f64,
    /// The part of the room that is still there which is theirs if others come after them.
    part: f64,
    /// Copies of one group in a domain at most, by depth.
    crowds: [f64; DEPTH],
    all: &'a [&'a Disk<'a>],
}

impl Dealer<'_> {
    fn deal(&self, total: f64, disks: &[&Disk<'_>], depth: usize, shares: &mut Shares) {
        if depth == DEPTH {
            let items: Vec<_> = disks.iter().map(|disk| (disk.weight, self.groups)).collect();
            for (disk, share) in disks.iter().zip(divide(total, &items)) {
                *shares.entry(disk.member).or_default() += share;
            }
            return;
        }
        let mut domains: BTreeMap<Step<'_>, Vec<&Disk<'_>>> = BTreeMap::new();
        for disk in disks {
            domains.entry(disk.path[depth]).or_default().push(disk);
        }
        let room: Vec<(f64, f64)> = domains
            .values()
            .map(|disks| (disks.iter().map(|disk| disk.weight).sum(), self.room(disks, depth, shares)))
            .collect();
        // Others get their part of each domain, unless these copies have no place elsewhere.
        let part: Vec<(f64, f64)> = room.iter().map(|(weight, room)| (*weight, room * self.part)).collect();
        let enough = part.iter().map(|(_, room)| room).sum::<f64>() + 1e-9 >= total;
        for (disks, share) in domains.values().zip(divide(total, if enough { &part } else { &room })) {
            self.deal(share, disks, depth + 1, shares);
        }
    }

    /// Copies that a domain can take beside those it has.
    fn room(&self, disks: &[&Disk<'_>], depth: usize, shares: &Shares) -> f64 {
        let nodes = disks.iter().map(|disk| disk.member.node).collect::<BTreeSet<_>>().len() as f64;
        let same = |disk: &&&Disk<'_>| disks.first().is_some_and(|first| first.path[..=depth] == disk.path[..=depth]);
        let has = self.all.iter().filter(same).filter_map(|disk| shares.get(&disk.member)).sum::<f64>();
        (self.groups * self.crowds[depth].min(nodes) - has).max(0.0)
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
