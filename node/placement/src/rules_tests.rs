//! Several rules in one cluster: what each asks for, balance of each, and what is said of what cannot be had.

use crate::plan::groups_of;
use crate::shares::shares;
use crate::testing;
use crate::{
    InitialPlan, Lack, Limits, Plan, PlannedMove, PlannedNode, Reason, Report, Unmet, check, check_plan, found_rule,
    initial, plan,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use types::{
    ClassCopies, DiskId, DiskState, FailureLevel, Member, NodeId, NodeMode, NodeState, PgEpoch, PgId, PlacementGroup,
    PlacementMap, PlacementRule, RuleEntry, RuleFault, RuleId,
};

/// Nodes with their domains and the classes of their disks.
fn cluster(nodes: &[(&str, &[&str])]) -> PlacementMap {
    let planned = |(id, (domain, classes)): (u64, &(&str, &[&str]))| PlannedNode {
        id: NodeId(id),
        addr: String::new(),
        domain: (*domain).to_owned(),
        disks: (0..classes.len())
            .map(|at| DiskId([id as u8, at as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]))
            .collect(),
    };
    let planned: Vec<_> = (1..).zip(nodes).map(planned).collect();
    let mut map = initial(&planned, &InitialPlan::default()).expect("a map");
    for (entry, (_, classes)) in map.nodes.iter_mut().zip(nodes) {
        entry.disks.iter_mut().zip(*classes).for_each(|(disk, class)| disk.class = (*class).to_owned());
    }
    map
}

/// So many nodes in racks of their own, each with a fast and a durable disk.
fn mixed(nodes: usize) -> PlacementMap {
    let domains: Vec<String> = (0..nodes).map(|at| format!("z{}/r{at}", at % 4)).collect();
    let nodes: Vec<(&str, &[&str])> = domains.iter().map(|domain| (domain.as_str(), &["ssd", "durable"][..])).collect();
    cluster(&nodes)
}

fn rule(level: FailureLevel, classes: &[(&str, u8)]) -> PlacementRule {
    let classes = classes.iter().map(|(class, copies)| ClassCopies { class: (*class).to_owned(), copies: *copies });
    PlacementRule { level, classes: classes.collect() }
}

/// Adds a rule as the control group does.
fn add(map: &mut PlacementMap, rule: &PlacementRule) -> RuleId {
    let id = RuleId(map.rules.last().map_or(0, |entry| entry.id.0) + 1);
    let found = found_rule(map, rule, 64).expect("a rule that can be had");
    map.rules.push(RuleEntry { id, name: format!("r{}", id.0), rule: rule.clone() });
    for members in found {
        let at = map.groups.len() as u32;
        map.slots.extend([at; 4]);
        map.groups.push(PlacementGroup { rule: id, ..PlacementGroup::settled(PgId(at), PgEpoch(1), members) });
    }
    id
}

/// Settles the map. A step never leaves fewer domains of the level that is asked for.
fn settle(map: &mut PlacementMap) -> (Report, usize) {
    testing::settle(map, 3000, |map| {
        let left = |group: &PlacementGroup| {
            let kept = group.members.iter().copied().filter(|member| !map.is_lost(*member));
            map.spread_at(map.rule(group.rule).level, kept).asked
        };
        map.groups.iter().map(left).collect()
    })
}

/// Disks that hold more or less of a rule's copies than 5 % beside their share, and one copy.
fn uneven(map: &PlacementMap) -> Vec<String> {
    let mut off = Vec::new();
    for RuleEntry { id, .. } in &map.rules {
        for (disk, share) in shares(map, *id, groups_of(map, *id)) {
            let groups = map.groups.iter().filter(|group| group.rule == *id);
            let holds = groups.filter(|group| group.members.contains(&disk)).count() as f64;
            if (holds - share).abs() > (share * 0.05).max(1.0) + 1e-6 {
                off.push(format!("{disk:?} holds {holds} of {id}, its share is {share:.2}"));
            }
        }
    }
    off
}

/// Groups whose members do not lie as their rule asks for.
fn wrong(map: &PlacementMap) -> Vec<PgId> {
    let lies_wrong = |group: &&PlacementGroup| {
        let rule = map.rule(group.rule);
        let apart = map.spread_at(rule.level, group.members.iter().copied()).asked;
        apart < 3 || map.copies_lacking(rule, group.members.iter().copied()) > 0
    };
    map.groups.iter().filter(lies_wrong).map(|group| group.id).collect()
}

fn partners(map: &PlacementMap, node: NodeId) -> usize {
    let groups = map.groups.iter().filter(|group| group.members.iter().any(|member| member.node == node));
    let all: BTreeSet<NodeId> = groups.flat_map(|group| &group.members).map(|member| member.node).collect();
    all.len().saturating_sub(1)
}

#[test]
fn a_new_rule_is_founded_where_it_asks_and_next_to_level() {
    let mut map = mixed(8);
    let two_and_one = add(&mut map, &rule(FailureLevel::Rack, &[("ssd", 2), ("durable", 1)]));
    let zones = add(&mut map, &rule(FailureLevel::Zone, &[]));
    let nodes = add(&mut map, &rule(FailureLevel::Node, &[("durable", 3)]));
    assert_eq!((check(&map), wrong(&map), uneven(&map)), (vec![], vec![], vec![]));
    for group in map.groups.iter().filter(|group| group.rule == two_and_one) {
        let ssd = group.members.iter().filter(|member| member.disk == 0).count();
        assert_eq!(ssd, 2, "{group:?}");
    }
    let in_zones = map.groups.iter().filter(|group| group.rule == zones);
    assert!(in_zones.clone().count() == 64);
    assert!(in_zones.map(|group| map.spread(group.members.iter().copied()).1).all(|zones| zones == 3));
    let durable = map.groups.iter().filter(|group| group.rule == nodes);
    assert!(durable.flat_map(|group| &group.members).all(|member| member.disk == 1));
    let (report, moves) = settle(&mut map);
    assert_eq!((report.blocked, report.unmet), (vec![], vec![]));
    assert!(moves <= 4, "{moves} of {} copies moved at once", 3 * map.groups.len());
}

#[test]
fn nine_nodes_in_three_zones_keep_three_rules_apart() {
    let domains: Vec<String> = (0..9).map(|at| format!("z{}/r{at}", at % 3)).collect();
    let nodes: Vec<(&str, &[&str])> = domains.iter().map(|domain| (domain.as_str(), &["ssd", "durable"][..])).collect();
    let mut map = cluster(&nodes);
    settle(&mut map);
    add(&mut map, &rule(FailureLevel::Zone, &[("ssd", 2), ("durable", 1)]));
    add(&mut map, &rule(FailureLevel::Node, &[("ssd", 3)]));
    assert_eq!((check(&map), wrong(&map), uneven(&map)), (vec![], vec![], vec![]));
    for lost in [2, 7] {
        map.nodes[lost].state = NodeState::Out;
        let (report, _) = settle(&mut map);
        assert_eq!((report.groups_by_copies, report.blocked, report.unmet), ([0, 0, 0, 192], vec![], vec![]));
    }
    assert_eq!((check(&map), wrong(&map), uneven(&map)), (vec![], vec![], vec![]));
    map.nodes[2].state = NodeState::Up;
    map.nodes[7].mode = NodeMode::Draining;
    settle(&mut map);
    assert_eq!((check(&map), wrong(&map), uneven(&map)), (vec![], vec![], vec![]));
}

#[test]
fn what_a_rule_says_may_change_and_only_its_groups_follow() {
    let mut map = mixed(6);
    let fast = add(&mut map, &rule(FailureLevel::Rack, &[("durable", 1)]));
    settle(&mut map);
    let others: Vec<_> = map.groups.iter().filter(|group| group.rule != fast).cloned().collect();
    map.rules[1].rule = rule(FailureLevel::Rack, &[("ssd", 3)]);
    let (planned, _) = plan(&map, &Limits::from(&map.options));
    assert!(planned.moves.iter().all(|planned| planned.reason == Reason::Class) && !planned.moves.is_empty());
    let (report, moves) = settle(&mut map);
    assert!(moves >= 64 && report.unmet.is_empty(), "{moves} {report:?}");
    assert_eq!((wrong(&map), uneven(&map)), (vec![], vec![]));
    assert_eq!(map.groups.iter().filter(|group| group.rule != fast).cloned().collect::<Vec<_>>(), others);
}

#[test]
fn a_rule_that_the_cluster_cannot_give_is_refused_with_its_reason() {
    let map = mixed(3);
    let found = |rule: &PlacementRule| found_rule(&map, rule, 64).map(|groups| groups.len());
    assert_eq!(found(&rule(FailureLevel::Zone, &[("ssd", 3)])), Ok(64));
    let few = RuleFault::TooFewOfClass { level: FailureLevel::Node, class: "nvme".into(), copies: 1, have: 0 };
    assert_eq!(found(&rule(FailureLevel::Node, &[("nvme", 1)])), Err(few));
    let shared = cluster(&[("z/1", &["ssd"]), ("z/2", &["ssd"]), ("z/3", &["ssd"])]);
    let few = RuleFault::TooFew { level: FailureLevel::Zone, have: 1 };
    assert_eq!(found_rule(&shared, &rule(FailureLevel::Zone, &[]), 64), Err(few));
    assert_eq!(found(&rule(FailureLevel::Node, &[("ssd", 4)])), Err(RuleFault::Form));
}

#[test]
fn a_class_that_is_gone_is_made_up_for_and_told_and_given_again() {
    let mut map = cluster(&[("a", &["ssd"]), ("b", &["ssd"]), ("c", &["ssd"]), ("d", &[""]), ("e", &[""])]);
    let fast = add(&mut map, &rule(FailureLevel::Rack, &[("ssd", 3)]));
    settle(&mut map);
    map.nodes[2].disks[0].state = DiskState::Failed;
    let (report, _) = settle(&mut map);
    assert_eq!(report.groups_by_copies, [0, 0, 0, 128], "three copies come before their class");
    assert_eq!(report.blocked, vec![]);
    let all = report.unmet.iter().all(|unmet| matches!(unmet, Unmet { rule, lacks: Lack::Class, .. } if *rule == fast));
    assert!(all && report.unmet.len() == 64, "{:?}", report.unmet);
    map.nodes[4].disks[0].class = "ssd".to_owned();
    let (report, _) = settle(&mut map);
    assert_eq!((report.unmet, wrong(&map)), (vec![], vec![]));
}

#[test]
fn too_few_domains_are_told() {
    let mut map = cluster(&[("a", &[""]), ("a", &[""]), ("b", &[""]), ("c", &[""])]);
    map.nodes[3].state = NodeState::Out;
    let (report, _) = settle(&mut map);
    assert!(report.unmet.len() == 64 && report.unmet.iter().all(|unmet| unmet.lacks == Lack::Domains));
}

#[test]
fn the_class_that_a_rule_asks_for_outweighs_the_zones_it_does_not() {
    let nodes: [(&str, &[&str]); 5] =
        [("x/1", &["ssd"]), ("x/2", &["ssd"]), ("x/3", &["ssd"]), ("y/4", &[""]), ("z/5", &[""])];
    let mut map = cluster(&nodes);
    map.rules[0].rule = rule(FailureLevel::Rack, &[("ssd", 3)]);
    let (report, _) = settle(&mut map);
    assert_eq!((report.unmet, wrong(&map)), (vec![], vec![]));
    map.rules[0].rule = rule(FailureLevel::Zone, &[("ssd", 3)]);
    let (report, _) = settle(&mut map);
    assert!(report.unmet.iter().all(|unmet| unmet.lacks == Lack::Class) && report.unmet.len() == 64);
    assert_eq!(check(&map), Vec::<String>::new());
}

#[test]
fn a_plan_that_takes_a_copy_off_its_class_is_found() {
    let mut map = mixed(5);
    let fast = add(&mut map, &rule(FailureLevel::Rack, &[("ssd", 3)]));
    let group = map.groups.iter().find(|group| group.rule == fast).expect("a group");
    let free = map.nodes.iter().find(|node| group.members.iter().all(|member| member.node != node.id)).expect("a node");
    let to = Member { node: free.id, disk: 1 };
    let (pg, epoch, from) = (group.id, group.epoch, group.members[0]);
    let limits = Limits::from(&map.options);
    let broken = |reason| {
        let plan = Plan { aborts: vec![], moves: vec![PlannedMove { pg, epoch, from, to, reason }] };
        check_plan(&map, &plan, &limits).len()
    };
    assert_eq!((broken(Reason::Balance), broken(Reason::Class), broken(Reason::Drain)), (1, 1, 0));
}

#[test]
fn rules_on_twenty_nodes_do_not_widen_the_circle_of_partners() {
    let mut map = mixed(20);
    let before: Vec<usize> = map.nodes.iter().map(|node| partners(&map, node.id)).collect();
    for _ in 0..4 {
        add(&mut map, &rule(FailureLevel::Rack, &[("ssd", 2), ("durable", 1)]));
    }
    let after: Vec<usize> = map.nodes.iter().map(|node| partners(&map, node.id)).collect();
    assert!(after.iter().max() <= before.iter().max(), "{before:?} became {after:?}");
    assert_eq!(uneven(&map), Vec::<String>::new());
}

fn a_rule() -> impl Strategy<Value = PlacementRule> {
    let level = prop_oneof![Just(FailureLevel::Zone), Just(FailureLevel::Rack), Just(FailureLevel::Node)];
    let classes = prop_oneof![
        Just(vec![]),
        Just(vec![("ssd", 3)]),
        Just(vec![("ssd", 2), ("durable", 1)]),
        Just(vec![("ssd", 1)]),
        Just(vec![("durable", 2)]),
    ];
    (level, classes).prop_map(|(level, classes)| rule(level, &classes))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever rules a cluster has and whichever nodes come to harm: each group ends up with three copies, as its rule asks where it can be
    /// had and told where not, and each rule's copies are level.
    #[test]
    fn any_rules_are_kept_through_any_loss(
        nodes in 5usize..10,
        rules in prop::collection::vec(a_rule(), 1..4),
        harm in prop::collection::vec((any::<u8>(), 0u8..3), 0..4),
        then in a_rule(),
    ) {
        let mut map = mixed(nodes);
        settle(&mut map);
        for rule in &rules {
            add(&mut map, rule);
        }
        prop_assert_eq!((check(&map), wrong(&map)), (vec![], vec![]));
        for (at, kind) in harm {
            let at = usize::from(at) % map.nodes.len();
            let whole = map.nodes.iter().filter(|node| node.mode == NodeMode::Active && node.state == NodeState::Up);
            if whole.count() <= 4 {
                break;
            }
            match kind {
                0 => map.nodes[at].state = NodeState::Out,
                1 => map.nodes[at].mode = NodeMode::Draining,
                _ => map.nodes[at].disks[0].weight *= 2,
            }
            let (report, _) = settle(&mut map);
            let told: BTreeSet<PgId> = report.unmet.iter().map(|unmet| unmet.pg).collect();
            prop_assert_eq!(report.groups_by_copies[3] as usize, map.groups.len());
            for pg in wrong(&map) {
                prop_assert!(told.contains(&pg), "{:?} is not as asked and nobody says so", pg);
            }
        }
        let last = map.rules.len() - 1;
        map.rules[last].rule = then;
        let (report, _) = settle(&mut map);
        let told: BTreeSet<PgId> = report.unmet.iter().map(|unmet| unmet.pg).collect();
        prop_assert!(wrong(&map).iter().all(|pg| told.contains(pg)));
    }

    /// On nodes like each other every rule is level, after the loss of one too.
    #[test]
    fn every_rule_is_level(nodes in 5usize..12, rules in prop::collection::vec(a_rule(), 1..4)) {
        let domains: Vec<String> = (0..nodes).map(|at| format!("z{at}/r{at}")).collect();
        let nodes: Vec<(&str, &[&str])> =
            domains.iter().map(|domain| (domain.as_str(), &["ssd", "durable"][..])).collect();
        let mut map = cluster(&nodes);
        for rule in &rules {
            add(&mut map, rule);
        }
        settle(&mut map);
        prop_assert_eq!(uneven(&map), Vec::<String>::new());
        map.nodes[1].state = NodeState::Out;
        let (report, _) = settle(&mut map);
        prop_assert_eq!((uneven(&map), wrong(&map), report.unmet), (vec![], vec![], vec![]));
    }
}
