//! Plans, carried out to the end over clusters that grow, shrink, drain and break.

use crate::shares::shares;
use crate::testing;
use crate::{InitialPlan, Limits, Obstacle, Plan, PlannedNode, Reason, Report, check, check_plan, initial, plan};
use proptest::prelude::*;
use types::{
    ClassCopies, DiskEntry, DiskId, DiskState, Member, Move, MovePhase, NodeEntry, NodeId, NodeMode, NodeState, PgId,
    PlacementGroup, PlacementMap, RuleId,
};

fn disk_id(node: u64, disk: usize) -> DiskId {
    DiskId([node as u8, disk as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
}

/// Nodes of their own domains with so many disks each.
fn cluster(disks: &[usize]) -> PlacementMap {
    let nodes: Vec<_> = disks
        .iter()
        .zip(1..)
        .map(|(disks, id)| PlannedNode {
            id: NodeId(id),
            addr: String::new(),
            domain: format!("d{id}"),
            disks: (0..*disks).map(|disk| disk_id(id, disk)).collect(),
        })
        .collect();
    initial(&nodes, &InitialPlan::default()).expect("a map")
}

fn join(map: &mut PlacementMap, domain: &str, disks: usize, weight: u32) -> NodeId {
    let id = NodeId(map.nodes.last().map_or(1, |node| node.id.0 + 1));
    let entry = NodeEntry::new(id, String::new(), domain.to_owned(), (0..disks).map(|disk| disk_id(id.0, disk)));
    map.nodes.push(entry);
    map.nodes.last_mut().expect("just pushed").disks.iter_mut().for_each(|disk| disk.weight = weight);
    id
}

fn node(map: &mut PlacementMap, id: u64) -> &mut NodeEntry {
    map.nodes.iter_mut().find(|node| node.id == NodeId(id)).expect("a node")
}

/// Settles the map; no step makes the copies of a group that are not lost stand nearer to each other.
fn settle(map: &mut PlacementMap) -> (Report, usize) {
    testing::settle(map, 2000, |map| {
        let kept = |group: &PlacementGroup| {
            let spread = map.spread(group.members.iter().copied().filter(|member| !map.is_lost(*member)));
            [spread.0, spread.1]
        };
        map.groups.iter().flat_map(kept).collect()
    })
}

/// Disks that differ from their share by more than 5 % and more than one copy.
fn uneven(map: &PlacementMap) -> Vec<String> {
    let holds = |member: Member| map.groups.iter().flat_map(|group| &group.members).filter(|m| **m == member).count();
    let all = shares(map, RuleId::DEFAULT, map.groups.len())
        .into_iter()
        .map(|(member, share)| (member, share, holds(member)));
    let off = all.filter(|(_, share, copies)| (*copies as f64 - share).abs() > (share * 0.05).max(1.0) + 1e-6);
    off.map(|(member, share, copies)| format!("{member:?} holds {copies}, its share is {share:.2}")).collect()
}

fn on_node(map: &PlacementMap, id: u64) -> usize {
    map.groups.iter().flat_map(|group| &group.members).filter(|member| member.node == NodeId(id)).count()
}

#[test]
fn a_sound_and_even_map_needs_nothing() {
    for nodes in 3..=20 {
        let (planned, report) = plan(&cluster(&vec![2; nodes]), &Limits::from(&cluster(&[1; 3]).options));
        assert_eq!((planned, report.blocked), (Plan::default(), Vec::new()), "{nodes} nodes");
        assert_eq!(report.groups_by_copies, [0, 0, 0, 64]);
    }
}

#[test]
fn groups_with_one_copy_left_come_first() {
    let mut map = cluster(&[1; 6]);
    map.options.moves_max = 4;
    node(&mut map, 1).state = NodeState::Out;
    node(&mut map, 2).state = NodeState::Out;
    let (planned, report) = plan(&map, &Limits::from(&map.options));
    assert!(report.groups_by_copies[1] >= 4, "{report:?}");
    assert_eq!(planned.moves.len(), 4);
    assert!(planned.moves.iter().all(|planned| planned.reason == Reason::Lost { copies_left: 1 }));
    assert!(report.blocked.iter().any(|blocked| blocked.obstacle == Obstacle::Limit));
    let (report, _) = settle(&mut map);
    assert_eq!((report.groups_by_copies, report.blocked), ([0, 0, 0, 64], Vec::new()));
    assert_eq!(uneven(&map), Vec::<String>::new());
}

#[test]
fn down_is_waited_for_and_out_is_not() {
    let mut map = cluster(&[1; 4]);
    node(&mut map, 2).state = NodeState::Down;
    assert_eq!(settle(&mut map).1, 0);
    node(&mut map, 2).state = NodeState::Out;
    settle(&mut map);
    assert_eq!((on_node(&map, 2), check(&map)), (0, Vec::new()));
}

#[test]
fn three_nodes_without_one_have_nowhere_to_go_and_say_so() {
    let mut map = cluster(&[1; 3]);
    node(&mut map, 3).state = NodeState::Out;
    let (report, moves) = settle(&mut map);
    assert_eq!((moves, report.groups_by_copies, report.blocked.len()), (0, [0, 0, 64, 0], 64));
    assert!(report.blocked.iter().all(|blocked| blocked.obstacle == Obstacle::NoTarget));
    node(&mut map, 1).state = NodeState::Out;
    node(&mut map, 2).state = NodeState::Out;
    let (report, _) = settle(&mut map);
    assert!(report.blocked.iter().all(|blocked| blocked.obstacle == Obstacle::NoCopyLeft));
}

#[test]
fn a_drained_node_and_a_drained_or_failed_disk_end_up_empty() {
    let mut map = cluster(&[2, 2, 2, 2]);
    node(&mut map, 4).mode = NodeMode::Draining;
    node(&mut map, 1).disks[0].state = DiskState::Draining;
    node(&mut map, 2).disks[1].state = DiskState::Failed;
    let (report, _) = settle(&mut map);
    assert_eq!(report.blocked, Vec::new());
    let left = |member: Member| map.groups.iter().any(|group| group.members.contains(&member));
    assert!(on_node(&map, 4) == 0 && !left(Member { node: NodeId(1), disk: 0 }));
    assert!(!left(Member { node: NodeId(2), disk: 1 }) && check(&map).is_empty());
}

#[test]
fn from_three_nodes_to_six_and_back() {
    let mut map = cluster(&[1; 3]);
    let new: Vec<_> = (4..7).map(|id| join(&mut map, &format!("d{id}"), 1, 100)).collect();
    settle(&mut map);
    assert_eq!(uneven(&map), Vec::<String>::new());
    assert_eq!(map.nodes.iter().map(|node| on_node(&map, node.id.0)).collect::<Vec<_>>(), [32; 6]);
    for id in new {
        node(&mut map, id.0).mode = NodeMode::Draining;
    }
    settle(&mut map);
    assert_eq!(map.nodes.iter().map(|node| on_node(&map, node.id.0)).collect::<Vec<_>>(), [64, 64, 64, 0, 0, 0]);
}

/// One machine of three disks, a node on each; two more machines come, and what is on the first one goes out to them.
#[test]
fn from_one_machine_to_three_every_group_ends_on_three_and_none_was_the_worse() {
    let nodes: Vec<_> = (1..=3)
        .map(|id| PlannedNode {
            id: NodeId(id),
            addr: String::new(),
            domain: format!("a/{id}"),
            disks: vec![disk_id(id, 0)],
        })
        .collect();
    let mut map = initial(&nodes, &InitialPlan::default()).expect("a map");
    let machines = |map: &PlacementMap| -> Vec<usize> {
        map.groups.iter().map(|group| map.spread(group.members.iter().copied()).1).collect()
    };
    assert_eq!((settle(&mut map).1, machines(&map)), (0, vec![1; 64]));
    join(&mut map, "b", 1, 100);
    settle(&mut map);
    assert_eq!((check(&map), machines(&map)), (vec![], vec![2; 64]));
    join(&mut map, "c/1", 1, 100);
    join(&mut map, "c/2", 1, 100);
    let (report, _) = settle(&mut map);
    assert_eq!((check(&map), machines(&map), report.unmet), (vec![], vec![3; 64], vec![]));
    // A machine of one disk has a copy of every group, one of several a share of them on each.
    assert_eq!([1, 2, 3].map(|id| on_node(&map, id)).iter().sum::<usize>(), 64);
    assert_eq!((on_node(&map, 4), on_node(&map, 5) + on_node(&map, 6)), (64, 64));
}

#[test]
fn copies_crowded_into_one_domain_spread_out_when_there_is_another() {
    let mut map = cluster(&[1; 3]);
    join(&mut map, "d1", 1, 100);
    node(&mut map, 3).state = NodeState::Out;
    let (report, moves) = settle(&mut map);
    assert_eq!((moves, report.groups_by_copies), (64, [0, 0, 0, 64]), "two domains are better than two copies");
    join(&mut map, "d5", 1, 100);
    settle(&mut map);
    assert_eq!(check(&map), Vec::<String>::new());
}

#[test]
fn classes_are_given_what_they_ask_for() {
    let mut map = cluster(&[2; 4]);
    for entry in &mut map.nodes {
        entry.disks[0].class = "ssd".to_owned();
        entry.disks[1].class = "durable".to_owned();
    }
    let wanted = |class: &str, copies| ClassCopies { class: class.to_owned(), copies };
    map.rules[0].rule.classes = vec![wanted("ssd", 2), wanted("durable", 1)];
    let (report, _) = settle(&mut map);
    assert_eq!(report.blocked, Vec::new());
    for group in &map.groups {
        let ssd = group.members.iter().filter(|member| member.disk == 0).count();
        assert_eq!(ssd, 2, "{group:?}");
    }
}

#[test]
fn a_move_whose_target_went_away_is_given_up() {
    let mut map = cluster(&[1; 4]);
    let group = map.groups.iter_mut().find(|group| group.members.iter().all(|member| member.node != NodeId(4)));
    let group = group.expect("a group without node 4");
    let to = Member { node: NodeId(4), disk: 0 };
    group.moving = Some(Move { at: 0, to, phase: MovePhase::Copying });
    let (pg, epoch) = (group.id, group.epoch);
    let limits = Limits::from(&map.options);
    assert!(plan(&map, &limits).0.aborts.is_empty());
    node(&mut map, 4).state = NodeState::Down;
    assert!(plan(&map, &limits).0.aborts.is_empty(), "it may come back");
    let changes: [fn(&mut NodeEntry); 2] =
        [|entry| entry.state = NodeState::Out, |entry| entry.mode = NodeMode::Draining];
    for change in changes {
        let mut map = map.clone();
        change(node(&mut map, 4));
        let (planned, _) = plan(&map, &limits);
        assert_eq!(planned.aborts, [(pg, epoch)]);
        assert_eq!(check_plan(&map, &planned, &limits), Vec::<String>::new());
    }
}

#[test]
fn a_wrong_plan_is_found() {
    let mut map = cluster(&[1; 4]);
    node(&mut map, 4).state = NodeState::Out;
    join(&mut map, "d5", 2, 100);
    let limits = Limits::from(&map.options);
    let (sound, _) = plan(&map, &limits);
    let broken = |change: &dyn Fn(&mut Plan)| {
        let mut plan = sound.clone();
        change(&mut plan);
        check_plan(&map, &plan, &limits).len()
    };
    assert_eq!(broken(&|_| {}), 0);
    assert!(broken(&|plan| plan.moves[0].epoch.0 += 1) > 0);
    assert!(broken(&|plan| plan.moves[0].to.node = NodeId(4)) > 0);
    assert!(broken(&|plan| plan.moves[0].to = plan.moves[0].from) > 0);
    assert!(broken(&|plan| plan.moves[0].pg = PgId(999)) > 0);
    assert!(broken(&|plan| plan.moves.push(plan.moves[0])) > 0);
    assert!(broken(&|plan| plan.aborts.push((PgId(0), types::PgEpoch(1)))) > 0);
    let tight = Limits { moves: 1, per_node: 1, per_disk: 1 };
    assert!(!check_plan(&map, &sound, &tight).is_empty());
}

/// What happens to a cluster.
#[derive(Clone, Debug)]
enum Event {
    Join { domain: u8, disks: u8, weight: u8 },
    Drain(u8),
    Undrain(u8),
    Out(u8),
    Up(u8),
    Fail(u8, u8),
    Grow(u8, u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0u8..6, 1u8..3, 1u8..4).prop_map(|(domain, disks, weight)| Event::Join { domain, disks, weight }),
        any::<u8>().prop_map(Event::Drain),
        any::<u8>().prop_map(Event::Undrain),
        any::<u8>().prop_map(Event::Out),
        any::<u8>().prop_map(Event::Up),
        (any::<u8>(), 0u8..3).prop_map(|(node, disk)| Event::Fail(node, disk)),
        (any::<u8>(), 1u8..4).prop_map(|(node, weight)| Event::Grow(node, weight)),
    ]
}

fn happen(map: &mut PlacementMap, event: &Event) {
    let count = map.nodes.len();
    let pick = |at: u8| usize::from(at) % count;
    match *event {
        Event::Join { domain, disks, weight } => {
            if count < 20 {
                join(map, &format!("d{domain}"), usize::from(disks), 100 * u32::from(weight));
            }
        }
        Event::Drain(at) => map.nodes[pick(at)].mode = NodeMode::Draining,
        Event::Undrain(at) => map.nodes[pick(at)].mode = NodeMode::Active,
        Event::Out(at) => map.nodes[pick(at)].state = NodeState::Out,
        Event::Up(at) => map.nodes[pick(at)].state = NodeState::Up,
        Event::Fail(at, disk) => {
            let disks: &mut Vec<DiskEntry> = &mut map.nodes[pick(at)].disks;
            let disk = usize::from(disk) % disks.len();
            disks[disk].state = DiskState::Failed;
        }
        Event::Grow(at, weight) => {
            map.nodes[pick(at)].disks.iter_mut().for_each(|disk| disk.weight = 100 * u32::from(weight));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever happens, moves come to an end, nothing is lost that has a copy, and what is unmet is reported.
    #[test]
    fn any_cluster_settles(start in 3usize..12, events in prop::collection::vec(event(), 0..8)) {
        let mut map = cluster(&vec![1; start]);
        for event in &events {
            happen(&mut map, event);
            let (report, _) = settle(&mut map);
            for group in &map.groups {
                for from in &group.members {
                    let bad = map.is_lost(*from)
                        || map.node(from.node).is_some_and(|node| node.mode == NodeMode::Draining);
                    let told = report.blocked.iter().any(|blocked| blocked.pg == group.id && blocked.from == *from);
                    prop_assert!(!bad || told, "{:?} of {:?} is neither helped nor reported", from, group.id);
                }
            }
        }
    }

    /// Nodes that are their own domains: growing, shrinking and new weights leave every disk within 5 % of its share, or one copy.
    #[test]
    fn any_change_ends_in_balance(
        start in 3usize..10,
        grow in prop::collection::vec((1usize..3, 1u32..3), 0..8),
        drain in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let mut map = cluster(&vec![1; start]);
        for (disks, weight) in grow {
            let domain = format!("n{}", map.nodes.len());
            join(&mut map, &domain, disks, 100 * weight);
            settle(&mut map);
            prop_assert_eq!(uneven(&map), Vec::<String>::new());
        }
        for at in drain {
            let active = map.nodes.iter().filter(|node| node.mode == NodeMode::Active).count();
            let at = usize::from(at) % map.nodes.len();
            if active > 3 {
                map.nodes[at].mode = NodeMode::Draining;
            }
            settle(&mut map);
            prop_assert_eq!(uneven(&map), Vec::<String>::new());
        }
        prop_assert_eq!(check(&map), Vec::<String>::new());
    }
}
