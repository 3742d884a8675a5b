//! Moves, modes and disks: single steps, and any sequence of them.

use super::{Answered, Control, map};
use proto::control::{ControlCommand as C, ControlOutcome, ControlRefusal};
use types::{
    DiskEntry, DiskId, DiskState, Member, MoveFault, MovePhase, NodeEntry, NodeId, NodeMode, NodeState, PgEpoch, PgId,
    PlacementGroup, PlacementMap, PlacementOptions, SetDigest,
};

const DONE: Answered = Ok(ControlOutcome::Done);
const PG: PgId = PgId(0);

fn member(node: u64, disk: u16) -> Member {
    Member { node: NodeId(node), disk }
}

/// Five nodes of two disks, in four domains: 4 and 5 share one. Two groups on nodes 1, 2 and 3, whose nodes vote.
fn cluster() -> Control {
    let node = |id: u64| {
        let disks = [DiskId([id as u8; 16]), DiskId([id as u8 + 100; 16])];
        NodeEntry::new(NodeId(id), format!("n{id}:1"), format!("d{}", id.min(4)), disks)
    };
    let members = || vec![member(1, 0), member(2, 0), member(3, 0)];
    let groups = (0..2).map(|id| PlacementGroup::settled(PgId(id), PgEpoch(1), members())).collect();
    let map = PlacementMap { nodes: (1..=5).map(node).collect(), groups, slots: vec![0, 1, 0], ..map() };
    let mut control = Control::empty();
    assert_eq!(control.run(C::Bootstrap { map }), DONE);
    control
}

fn begin(epoch: u64, from: Member, to: Member) -> C {
    C::BeginMove { pg: PG, epoch: PgEpoch(epoch), from, to }
}

fn synced(epoch: u64) -> C {
    C::NoteSynced { pg: PG, epoch: PgEpoch(epoch), chunks: 7, digest: SetDigest(9) }
}

fn pass(epoch: u64) -> C {
    C::PassBarrier { pg: PG, epoch: PgEpoch(epoch) }
}

fn commit(epoch: u64) -> C {
    C::CommitMove { pg: PG, epoch: PgEpoch(epoch) }
}

fn abort(epoch: u64) -> C {
    C::AbortMove { pg: PG, epoch: PgEpoch(epoch) }
}

fn group(control: &Control) -> PlacementGroup {
    control.map().group(PG).expect("a group").clone()
}

#[test]
fn a_move_goes_through_its_steps_and_repeats_change_nothing() {
    let mut control = cluster();
    let (from, to) = (member(2, 0), member(4, 1));
    for (command, epoch, phase) in [
        (begin(1, from, to), 2, Some(MovePhase::Barrier)),
        (pass(2), 2, Some(MovePhase::Copying)),
        (synced(2), 2, Some(MovePhase::Synced { chunks: 7, digest: SetDigest(9) })),
    ] {
        assert_eq!(control.run(command.clone()), DONE);
        let after = control.map();
        assert_eq!(control.run(command), DONE, "again");
        assert_eq!(control.map(), after);
        assert_eq!((group(&control).epoch.0, group(&control).moving.map(|moving| moving.phase)), (epoch, phase));
        assert_eq!(group(&control).takers().collect::<Vec<_>>(), [member(1, 0), from, member(3, 0), to]);
    }
    assert_eq!(control.run(commit(2)), DONE);
    assert_eq!(group(&control), PlacementGroup::settled(PG, PgEpoch(3), vec![member(1, 0), to, member(3, 0)]));
    assert_eq!(control.run(commit(2)), Err(ControlRefusal::StaleEpoch { current: PgEpoch(3) }));
}

#[test]
fn steps_out_of_order_and_old_epochs_are_refused() {
    let mut control = cluster();
    let (from, to) = (member(2, 0), member(4, 1));
    let stale = |current| Err(ControlRefusal::StaleEpoch { current: PgEpoch(current) });
    assert_eq!(control.run(pass(1)), Err(ControlRefusal::WrongPhase));
    assert_eq!(control.run(commit(1)), Err(ControlRefusal::WrongPhase));
    assert_eq!(control.run(begin(2, from, to)), stale(1));
    assert_eq!(control.run(begin(1, from, to)), DONE);
    assert_eq!(control.run(begin(2, from, member(5, 0))), Err(ControlRefusal::WrongPhase));
    assert_eq!(control.run(begin(1, from, member(5, 0))), stale(2));
    assert_eq!(control.run(synced(2)), Err(ControlRefusal::WrongPhase));
    assert_eq!(control.run(commit(2)), Err(ControlRefusal::WrongPhase));
    assert_eq!(control.run(pass(1)), stale(2));
    assert_eq!(control.run(pass(2)), DONE);
    assert_eq!(control.run(commit(2)), Err(ControlRefusal::WrongPhase));
    assert_eq!(control.run(abort(1)), stale(2));
    assert_eq!(control.run(abort(2)), DONE);
    let members = vec![member(1, 0), from, member(3, 0)];
    assert_eq!(group(&control), PlacementGroup::settled(PG, PgEpoch(3), members));
    for late in [abort(2), synced(2), commit(2), pass(2)] {
        assert_eq!(control.run(late), stale(3));
    }
    let nowhere = C::CommitMove { pg: PgId(9), epoch: PgEpoch(1) };
    assert_eq!(control.run(nowhere), Err(ControlRefusal::NoSuchGroup));
}

#[test]
fn copies_move_only_to_disks_that_take_them_and_never_into_fewer_domains() {
    let mut control = cluster();
    let from = member(2, 0);
    let mut refused = |to: Member| match control.run(begin(1, from, to)) {
        Err(ControlRefusal::Move(fault)) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(member(9, 0)), MoveFault::NoSuchDisk);
    assert_eq!(refused(member(4, 2)), MoveFault::NoSuchDisk);
    assert_eq!(refused(member(3, 1)), MoveFault::NodeTaken(NodeId(3)));
    assert_eq!(refused(from), MoveFault::NodeTaken(NodeId(2)));
    assert_eq!(control.run(begin(1, member(2, 1), member(4, 0))), Err(ControlRefusal::Move(MoveFault::NoSuchMember)));
    let disk = DiskId([4; 16]);
    let unfit = |node| Err(ControlRefusal::Move(MoveFault::NodeUnfit(NodeId(node))));
    assert_eq!(control.run(C::SetDiskState { disk, state: DiskState::ReadOnly }), DONE);
    assert_eq!(control.run(begin(1, from, member(4, 0))), Err(ControlRefusal::Move(MoveFault::DiskUnfit)));
    assert_eq!(control.run(C::SetNodeMode { node: NodeId(4), mode: NodeMode::Draining }), DONE);
    assert_eq!(control.run(begin(1, from, member(4, 1))), unfit(4));
    // 4 and 5 stand in one domain: the second of them is refused, until the first copy is lost.
    assert_eq!(control.run(C::SetNodeMode { node: NodeId(4), mode: NodeMode::Active }), DONE);
    for command in [begin(1, from, member(4, 1)), pass(2), synced(2), commit(2)] {
        assert_eq!(control.run(command), DONE);
    }
    let fewer = Err(ControlRefusal::Move(MoveFault::FewerDomains));
    assert_eq!(control.run(begin(3, member(3, 0), member(5, 0))), fewer);
    let out = C::SetNodeState { node: NodeId(3), incarnation: types::Incarnation(0), state: NodeState::Out };
    assert_eq!(control.run(out), DONE);
    assert_eq!(control.run(begin(3, member(3, 0), member(5, 0))), DONE);
    // From one disk of a node to another.
    let other = C::BeginMove { pg: PgId(1), epoch: PgEpoch(1), from: member(1, 0), to: member(1, 1) };
    assert_eq!(control.run(other), DONE);
}

#[test]
fn what_is_gone_stays_gone_and_what_is_in_use_is_not_removed() {
    let mut control = cluster();
    let mode = |node, mode| C::SetNodeMode { node: NodeId(node), mode };
    assert_eq!(control.run(mode(1, NodeMode::Removed)), Err(ControlRefusal::InUse));
    assert_eq!(control.run(begin(1, member(1, 0), member(5, 0))), DONE);
    assert_eq!(control.run(mode(5, NodeMode::Removed)), Err(ControlRefusal::InUse));
    assert_eq!(control.run(abort(2)), DONE);
    assert_eq!(control.run(mode(5, NodeMode::Removed)), DONE);
    assert_eq!(control.run(mode(5, NodeMode::Active)), Err(ControlRefusal::Gone));
    assert_eq!(control.run(mode(9, NodeMode::Active)), Err(ControlRefusal::NoSuchNode));
    let state = |disk: u8, state| C::SetDiskState { disk: DiskId([disk; 16]), state };
    assert_eq!(control.run(state(1, DiskState::Failed)), DONE);
    assert_eq!(control.run(state(1, DiskState::Active)), Err(ControlRefusal::Gone));
    assert_eq!(control.run(state(99, DiskState::Active)), Err(ControlRefusal::NoSuchDisk));
    let weight = C::SetDiskWeight { disk: DiskId([2; 16]), class: "ssd".into(), weight: 7 };
    assert_eq!(control.run(weight.clone()), DONE);
    let version = control.map().version;
    assert_eq!(control.run(weight), DONE);
    assert_eq!(control.map().version, version, "nothing changed");
    let entry = control.map().disk(member(2, 0)).cloned();
    assert_eq!(entry, Some(DiskEntry { class: "ssd".into(), weight: 7, ..DiskEntry::new(DiskId([2; 16])) }));
    let bad = C::SetDiskWeight { disk: DiskId([2; 16]), class: "SSD".into(), weight: 7 };
    assert_eq!(control.run(bad), Err(ControlRefusal::InvalidName));
    let zero = PlacementOptions { moves_max: 0, ..PlacementOptions::default() };
    assert_eq!(control.run(C::SetPlacement { options: zero }), Err(ControlRefusal::Setting));
    let options = PlacementOptions { out_after_seconds: 5, ..PlacementOptions::default() };
    assert_eq!(control.run(C::SetPlacement { options: options.clone() }), DONE);
    assert_eq!(control.map().options, options);
}

#[test]
fn a_disk_that_is_added_is_the_last_of_its_node_and_broken_until_it_is_heard_of() {
    let mut control = cluster();
    let add =
        |node, disk: u8, class: &str| C::AddDisk { node: NodeId(node), disk: DiskId([disk; 16]), class: class.into() };
    assert_eq!(control.run(add(2, 50, "ssd")), DONE);
    let version = control.map().version;
    assert_eq!(control.run(add(2, 50, "ssd")), DONE);
    assert_eq!(control.map().version, version, "nothing changed");
    let entry = control.map().disk(member(2, 2)).cloned();
    let state = DiskState::Broken;
    assert_eq!(entry, Some(DiskEntry { class: "ssd".into(), state, ..DiskEntry::new(DiskId([50; 16])) }));
    assert_eq!(control.run(add(3, 50, "")), Err(ControlRefusal::NodeExists));
    assert_eq!(control.run(add(9, 51, "")), Err(ControlRefusal::NoSuchNode));
    assert_eq!(control.run(add(2, 51, "SSD")), Err(ControlRefusal::InvalidName));
    assert_eq!(control.run(C::SetNodeMode { node: NodeId(5), mode: NodeMode::Removed }), DONE);
    assert_eq!(control.run(add(5, 51, "")), Err(ControlRefusal::Gone));
    for disk in 0..=u8::MAX {
        let id = DiskId([disk, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
        let added = control.run(C::AddDisk { node: NodeId(4), disk: id, class: String::new() });
        assert_eq!(added, if disk < 254 { DONE } else { Err(ControlRefusal::Limit) }, "{disk}");
    }
}

#[test]
fn out_is_left_by_coming_up_only() {
    let mut control = cluster();
    let mut set = |incarnation, state| {
        let incarnation = types::Incarnation(incarnation);
        control.run(C::SetNodeState { node: NodeId(2), incarnation, state }).expect("known");
        control.map().node(NodeId(2)).map(|node| (node.incarnation.0, node.state))
    };
    assert_eq!(set(1, NodeState::Out), Some((1, NodeState::Out)));
    assert_eq!(set(1, NodeState::Down), Some((1, NodeState::Out)));
    assert_eq!(set(0, NodeState::Up), Some((1, NodeState::Out)), "an older life");
    assert_eq!(set(2, NodeState::Up), Some((2, NodeState::Up)));
}

/// Small numbers from a seed; the tests need no better ones.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn any_command(dice: &mut Dice, map: &PlacementMap) -> C {
    let pg = PgId(dice.roll(2) as u32);
    let known = map.group(pg).expect("a group");
    // Mostly the right epoch, else one of those round it.
    let epoch =
        PgEpoch(if dice.roll(4) > 0 { known.epoch.0 } else { (known.epoch.0 + 1).saturating_sub(dice.roll(3)) });
    // Half of the steps of a move are the right ones.
    if let Some(moving) = known.moving.as_ref().filter(|_| dice.roll(2) == 0) {
        return match moving.phase {
            MovePhase::Barrier => C::PassBarrier { pg, epoch },
            MovePhase::Copying => C::NoteSynced { pg, epoch, chunks: 1, digest: SetDigest(1) },
            MovePhase::Synced { .. } => C::CommitMove { pg, epoch },
        };
    }
    let any = |dice: &mut Dice| member(1 + dice.roll(6), dice.roll(3) as u16);
    match dice.roll(16) {
        0..4 => {
            let from = if dice.roll(8) > 0 { known.members[dice.roll(3) as usize] } else { any(dice) };
            C::BeginMove { pg, epoch, from, to: any(dice) }
        }
        4..6 => C::PassBarrier { pg, epoch },
        6..8 => C::NoteSynced { pg, epoch, chunks: dice.roll(9), digest: SetDigest(0) },
        8..10 => C::CommitMove { pg, epoch },
        10 => C::AbortMove { pg, epoch },
        11..13 => {
            let states = [NodeState::Up, NodeState::Up, NodeState::Down, NodeState::Out];
            let (node, state) = (NodeId(1 + dice.roll(5)), states[dice.roll(4) as usize]);
            C::SetNodeState { node, incarnation: types::Incarnation(dice.roll(3)), state }
        }
        13..15 => {
            let modes = [NodeMode::Active, NodeMode::Active, NodeMode::Draining, NodeMode::Draining];
            C::SetNodeMode { node: NodeId(1 + dice.roll(5)), mode: modes[dice.roll(4) as usize] }
        }
        _ => {
            let states = [DiskState::Active, DiskState::Draining, DiskState::ReadOnly];
            C::SetDiskState { disk: DiskId([1 + dice.roll(5) as u8; 16]), state: states[dice.roll(3) as usize] }
        }
    }
}

/// What one command may do to a group.
fn check_step(before: &PlacementMap, command: &C, answer: &Answered, after: &PlacementMap) {
    if answer.is_err() {
        assert_eq!(before, after, "{command:?} was refused and changed something");
    }
    for (old, new) in before.groups.iter().zip(&after.groups) {
        let grown = new.epoch.0 - old.epoch.0;
        let changed = old.members != new.members || old.moving.is_some() != new.moving.is_some();
        assert_eq!(grown, u64::from(changed), "{command:?}: {old:?} -> {new:?}");
        if old.members != new.members {
            let moving = old.moving.as_ref().expect("only a move changes members");
            assert!(matches!(moving.phase, MovePhase::Synced { .. }), "{command:?} committed what was not synced");
            let mut expected = old.members.clone();
            expected[usize::from(moving.at)] = moving.to;
            assert_eq!(new.members, expected);
        }
        let nodes: std::collections::BTreeSet<_> = new.members.iter().map(|member| member.node).collect();
        assert_eq!(nodes.len(), 3, "two copies on one node: {new:?}");
    }
}

#[test]
fn any_sequence_of_commands_keeps_groups_whole() {
    let mut reached = 0;
    for seed in 0..300 {
        let (mut control, mut dice) = (cluster(), Dice(seed));
        for _ in 0..60 {
            let before = control.map();
            let command = any_command(&mut dice, &before);
            let answer = control.run(command.clone());
            let after = control.map();
            check_step(&before, &command, &answer, &after);
            reached += usize::from(matches!((&command, &answer), (C::CommitMove { .. }, Ok(_))));
        }
    }
    assert!(reached > 100, "only {reached} moves were committed");
}
