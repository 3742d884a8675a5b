//! From a placement map and what is assumed to an estimate. Pure.

use super::model::{Hazard, YEAR_SECONDS, probability, rate_of, together, years_to_loss};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use types::{DiskId, Member, NodeId, NodeMode, NodeState, PlacementMap, REPLICAS};

/// What the map does not tell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assumed {
    /// Share of disks that fail for good in a year, 0 to 1.
    pub(super) disk_failures: f64,
    /// Share of nodes that are lost with all their disks in a year, 0 to 1.
    pub(super) node_failures: f64,
    /// Bytes a second that one node copies; groups with one copy left too.
    pub(super) copy_rate: f64,
    /// Seconds in which a person puts a new node or disk in, where there is no place for a copy until then.
    pub(super) replace_seconds: f64,
    /// Seconds to make the copies of a lost disk anew, if it was measured or is given; else computed from the rate.
    pub(super) repair_seconds: Option<f64>,
    /// Bytes on each disk.
    pub(super) bytes: BTreeMap<DiskId, u64>,
}

/// The estimate, with what it was made from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Estimate {
    pub(super) nodes: usize,
    pub(super) disks: usize,
    pub(super) groups: usize,
    /// Different sets of three disks that hold the copies of some group.
    pub(super) sets: usize,
    /// Other disks that share groups with a disk, on average.
    pub(super) scatter: f64,
    /// Bytes of a disk, on average.
    pub(super) disk_bytes: u64,
    /// Whether a lost node's copies have a place on others, without a person.
    pub(super) heals: bool,
    /// Seconds until the copies of a lost disk, and those of a lost node, are made anew.
    pub(super) disk_repair_seconds: f64,
    pub(super) node_repair_seconds: f64,
    /// The same for those copies of which one was left.
    pub(super) urgent_disk_repair_seconds: f64,
    pub(super) urgent_node_repair_seconds: f64,
    /// Expected years until a given chunk is lost, and the probability that it is within a year.
    pub(super) chunk_years: f64,
    pub(super) chunk_loss_a_year: f64,
    /// Expected years until the cluster loses anything, and the probability that it does within a year.
    pub(super) cluster_years: f64,
    pub(super) cluster_loss_a_year: f64,
    /// Share of all data that such a loss takes.
    pub(super) share_lost: f64,
    /// Groups that have fewer than three copies just now.
    pub(super) groups_short: usize,
}

/// Nothing can be estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unknown {
    /// There is no group with three copies.
    #[error("the map has no placement group with three copies")]
    Groups,
    /// Nothing ever fails.
    #[error("with failure rates of 0 nothing is ever lost")]
    Failures,
    /// No repair can be computed.
    #[error("give --repair-hours, or a rate above 0")]
    Rate,
}

/// Estimates.
pub(super) fn estimate(map: &PlacementMap, assumed: &Assumed) -> Result<Estimate, Unknown> {
    let sets = sets(map);
    if sets.is_empty() {
        return Err(Unknown::Groups);
    }
    let (disk_rate, node_rate) = (rate_of(assumed.disk_failures), rate_of(assumed.node_failures));
    if disk_rate + node_rate <= 0.0 {
        return Err(Unknown::Failures);
    }
    if assumed.repair_seconds.is_none() && assumed.copy_rate <= 0.0 {
        return Err(Unknown::Rate);
    }
    let members: BTreeSet<Member> = sets.iter().flatten().copied().collect();
    let nodes: BTreeSet<NodeId> = members.iter().map(|member| member.node).collect();
    let takers = takers(map);
    let neighbours = neighbours(&sets);
    let mean = |sum: f64, count: usize| sum / count.max(1) as f64;
    let bytes_on = |member: &Member| map.disk(*member).and_then(|disk| assumed.bytes.get(&disk.id)).copied();
    let disk_bytes = mean(members.iter().filter_map(bytes_on).sum::<u64>() as f64, members.len());
    let disks_a_node = mean(members.len() as f64, nodes.len());
    let scatter = mean(neighbours.values().map(BTreeSet::len).sum::<usize>() as f64, members.len());
    // Of what a disk holds, the part that one of its neighbours holds too: what has one copy left once both are lost.
    let shared = (REPLICAS - 1) as f64 / scatter.max(1.0);

    let heals = takers.len() > REPLICAS;
    // A copy needs a node that has none: with as many nodes as copies only another disk of the same node will do.
    let disk_heals = heals || disks_a_node > 1.0;
    let disk_takers = if heals { takers.len() - 1 } else { 1 };
    let wait = f64::from(map.options.out_after_seconds);
    let copy = |bytes: f64, takers: usize| bytes / (assumed.copy_rate * takers as f64);
    let time = |bytes: f64, takers: usize, heals: bool| {
        let person = if heals { 0.0 } else { assumed.replace_seconds };
        person + wait + assumed.repair_seconds.unwrap_or_else(|| copy(bytes, takers))
    };
    let node_takers = if heals { takers.len() - 1 } else { 1 };
    let disk_repair = time(disk_bytes, disk_takers, disk_heals);
    let node_repair = time(disk_bytes * disks_a_node, node_takers, heals);
    let urgent_disk = time(disk_bytes * shared, disk_takers, disk_heals).min(disk_repair);
    let urgent_node = time(disk_bytes * disks_a_node * shared, node_takers, heals).min(node_repair);

    let hazards = [
        Hazard { rate: disk_rate, repair: disk_repair / YEAR_SECONDS, urgent: urgent_disk / YEAR_SECONDS },
        Hazard { rate: node_rate, repair: node_repair / YEAR_SECONDS, urgent: urgent_node / YEAR_SECONDS },
    ];
    let chunk_years = years_to_loss(together(&hazards));
    let cluster_years = chunk_years / sets.len() as f64;
    let short = |group: &&types::PlacementGroup| group.members.iter().any(|member| map.is_lost(*member));
    Ok(Estimate {
        nodes: nodes.len(),
        disks: members.len(),
        groups: map.groups.len(),
        sets: sets.len(),
        scatter,
        disk_bytes: disk_bytes as u64,
        heals,
        disk_repair_seconds: disk_repair,
        node_repair_seconds: node_repair,
        urgent_disk_repair_seconds: urgent_disk,
        urgent_node_repair_seconds: urgent_node,
        chunk_years,
        chunk_loss_a_year: probability(1.0 / chunk_years, 1.0),
        cluster_years,
        cluster_loss_a_year: probability(1.0 / cluster_years, 1.0),
        share_lost: 1.0 / sets.len() as f64,
        groups_short: map.groups.iter().filter(short).count(),
    })
}

/// Different sets of disks that hold the copies of groups.
fn sets(map: &PlacementMap) -> BTreeSet<Vec<Member>> {
    let sorted = |group: &types::PlacementGroup| {
        let mut members = group.members.clone();
        members.sort_unstable();
        members
    };
    map.groups.iter().filter(|group| group.members.len() == REPLICAS).map(sorted).collect()
}

/// Nodes that take copies.
fn takers(map: &PlacementMap) -> Vec<NodeId> {
    let takes = |node: &&types::NodeEntry| node.state == NodeState::Up && node.mode == NodeMode::Active;
    map.nodes.iter().filter(takes).map(|node| node.id).collect()
}

/// For each disk the other disks that share groups with it.
fn neighbours(sets: &BTreeSet<Vec<Member>>) -> BTreeMap<Member, BTreeSet<Member>> {
    let mut neighbours: BTreeMap<Member, BTreeSet<Member>> = BTreeMap::new();
    for set in sets {
        for member in set {
            let others = set.iter().filter(|other| *other != member);
            neighbours.entry(*member).or_default().extend(others);
        }
    }
    neighbours
}

#[cfg(test)]
mod tests {
    use super::*;
    use placement::{InitialPlan, PlannedNode};

    fn map(nodes: u64, disks: u8) -> PlacementMap {
        let planned = |id: u64| PlannedNode {
            id: NodeId(id),
            addr: format!("n{id}:1"),
            domain: format!("z{id}"),
            disks: (0..disks).map(|disk| DiskId([id as u8, disk, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])).collect(),
        };
        let planned: Vec<_> = (1..=nodes).map(planned).collect();
        placement::initial(&planned, &InitialPlan::default()).expect("a map")
    }

    fn assumed(map: &PlacementMap) -> Assumed {
        let disks = map.nodes.iter().flat_map(|node| &node.disks);
        Assumed {
            disk_failures: 0.02,
            node_failures: 0.01,
            copy_rate: 50e6,
            replace_seconds: 86_400.0,
            repair_seconds: None,
            bytes: disks.map(|disk| (disk.id, 4_000_000_000_000)).collect(),
        }
    }

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected.abs() * 1e-9
    }

    #[test]
    fn repair_takes_what_all_nodes_left_need_to_copy() {
        let map = map(6, 1);
        let found = estimate(&map, &assumed(&map)).expect("an estimate");
        assert_eq!((found.nodes, found.disks, found.disk_bytes, found.heals), (6, 6, 4_000_000_000_000, true));
        // 300 s until the node is out, then 4 TB by five nodes at 50 MB/s: 16000 s.
        assert!(close(found.disk_repair_seconds, 16_300.0), "{found:?}");
        assert!(close(found.node_repair_seconds, 16_300.0), "{found:?}");
        // Each disk shares groups with all five others, so a fifth of two copies' worth is with any one of them.
        assert!(close(found.scatter, 5.0), "{found:?}");
        assert!(close(found.urgent_disk_repair_seconds, 300.0 + 16_000.0 * 2.0 / 5.0), "{found:?}");
        assert!(close(found.cluster_years * found.sets as f64, found.chunk_years));
        assert!(found.cluster_loss_a_year > found.chunk_loss_a_year);
    }

    #[test]
    fn with_three_nodes_a_person_is_waited_for() {
        let map = map(3, 1);
        let found = estimate(&map, &assumed(&map)).expect("an estimate");
        assert_eq!((found.sets, found.heals), (1, false));
        // A day, 300 s, and 4 TB at 50 MB/s into one node: 80000 s.
        assert!(close(found.node_repair_seconds, 86_400.0 + 300.0 + 80_000.0), "{found:?}");
        assert!(close(found.share_lost, 1.0) && close(found.cluster_years, found.chunk_years));
        let two_disks = self::map(3, 2);
        let found = estimate(&two_disks, &assumed(&two_disks)).expect("an estimate");
        // Another disk of the same node takes the copies.
        assert!(close(found.disk_repair_seconds, 300.0 + 80_000.0), "{found:?}");
        assert!(close(found.node_repair_seconds, 86_400.0 + 300.0 + 160_000.0), "{found:?}");
    }

    #[test]
    fn a_measured_repair_counts_for_what_it_is() {
        let map = map(6, 1);
        let measured = Assumed { repair_seconds: Some(21_300.0), node_failures: 0.0, ..assumed(&map) };
        let found = estimate(&map, &measured).expect("an estimate");
        // 21600 s are 6 h, as in the figures of the model; disks alone fail.
        assert!(close(found.disk_repair_seconds, 21_600.0));
        let rate = rate_of(0.02);
        let expected = years_to_loss(Hazard { rate, repair: 1.0 / 1461.0, urgent: 1.0 / 1461.0 });
        assert!(close(found.chunk_years, expected), "{found:?}");
    }

    #[test]
    fn more_failures_slower_repair_and_more_sets_are_worse() {
        let map = map(6, 1);
        let years = |change: fn(&mut Assumed)| {
            let mut assumed = assumed(&map);
            change(&mut assumed);
            estimate(&map, &assumed).expect("an estimate").cluster_years
        };
        let usual = years(|_| {});
        assert!(years(|assumed| assumed.disk_failures = 0.08) < usual);
        assert!(years(|assumed| assumed.node_failures = 0.05) < usual);
        assert!(years(|assumed| assumed.copy_rate = 10e6) < usual);
    }

    #[test]
    fn what_cannot_be_estimated_is_said() {
        let map = map(6, 1);
        let nothing = Assumed { disk_failures: 0.0, node_failures: 0.0, ..assumed(&map) };
        assert_eq!(estimate(&map, &nothing), Err(Unknown::Failures));
        assert_eq!(estimate(&map, &Assumed { copy_rate: 0.0, ..assumed(&map) }), Err(Unknown::Rate));
        assert_eq!(estimate(&PlacementMap::default(), &assumed(&map)), Err(Unknown::Groups));
    }
}
