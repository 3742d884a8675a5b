//! Rules of placement: single steps, and any sequence of them.

use super::{Answered, Control, map};
use proto::control::{BucketInfo, ControlAnswer, ControlCommand as C, ControlOutcome, ControlQuery, ControlRefusal};
use types::{
    BucketId, ClassCopies, DiskEntry, DiskId, FailureLevel, Member, NodeEntry, NodeId, NodeMode, PgEpoch, PgId,
    PlacementGroup, PlacementMap, PlacementRule, RULES_MAX, RuleFault, RuleId, Slot,
};

const DONE: Answered = Ok(ControlOutcome::Done);

fn member(node: u64, disk: u16) -> Member {
    Member { node: NodeId(node), disk }
}

/// Four nodes in two zones, the first three with a fast disk beside their first.
fn cluster() -> Control {
    let node = |id: u64| {
        let plain = DiskEntry::new(DiskId([id as u8; 16]));
        let fast = DiskEntry { class: "ssd".to_owned(), ..DiskEntry::new(DiskId([id as u8 + 100; 16])) };
        let disks = if id < 4 { vec![plain, fast] } else { vec![plain] };
        NodeEntry { disks, ..NodeEntry::new(NodeId(id), format!("n{id}:1"), format!("z{}/r{id}", id % 2), []) }
    };
    let members = vec![member(1, 0), member(2, 0), member(3, 0)];
    let groups = vec![PlacementGroup::settled(PgId(0), PgEpoch(1), members)];
    let map = PlacementMap { nodes: (1..=4).map(node).collect(), groups, slots: vec![0, 0], ..map() };
    let mut control = Control::empty();
    assert_eq!(control.run(C::Bootstrap { map }), DONE);
    control
}

fn rule(level: FailureLevel, classes: &[(&str, u8)]) -> PlacementRule {
    let classes = classes.iter().map(|(class, copies)| ClassCopies { class: (*class).to_owned(), copies: *copies });
    PlacementRule { level, classes: classes.collect() }
}

fn fast() -> PlacementRule {
    rule(FailureLevel::Rack, &[("ssd", 2)])
}

fn on_fast() -> Vec<Member> {
    vec![member(1, 1), member(2, 1), member(4, 0)]
}

fn add(name: &str, rule: PlacementRule, groups: Vec<Vec<Member>>) -> C {
    C::AddRule { name: name.to_owned(), rule, groups }
}

fn create(name: &str, rule: RuleId) -> C {
    C::CreateBucket { name: name.to_owned(), owner: "kim".to_owned(), nonce: 1, rule }
}

fn bucket(control: &mut Control, name: &str, rule: RuleId) -> BucketInfo {
    match control.run(create(name, rule)) {
        Ok(ControlOutcome::Bucket(info)) => info,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rule_brings_groups_and_slots_of_its_own() {
    let mut control = cluster();
    let before = control.map();
    let one = Ok(ControlOutcome::Rule(RuleId(1)));
    let command = add("fast", fast(), vec![on_fast(), on_fast()]);
    assert_eq!(control.run(command.clone()), one);
    let map = control.map();
    assert_eq!(map.groups[..1], before.groups[..]);
    assert_eq!(map.slots, [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    assert_eq!(map.rule_of(Slot(1)), Some(RuleId::DEFAULT));
    assert_eq!((map.rule_of(Slot(2)), map.groups[2].rule, map.groups[2].id), (Some(RuleId(1)), RuleId(1), PgId(2)));
    assert_eq!(map.rule(RuleId(1)), &fast());
    assert_eq!(control.run(command), one, "the same again");
    assert_eq!(control.map(), map);
    let other = add("fast", PlacementRule::default(), vec![on_fast()]);
    assert_eq!(control.run(other), Err(ControlRefusal::RuleExists));
    let default = add("default", fast(), vec![on_fast()]);
    assert_eq!(control.run(default), Err(ControlRefusal::RuleExists));
}

#[test]
fn what_the_cluster_cannot_give_is_refused_and_so_are_groups_that_do_not_fit() {
    let mut control = cluster();
    let before = control.map();
    let mut refused = |rule: PlacementRule, groups: Vec<Vec<Member>>| match control.run(add("r", rule, groups)) {
        Err(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    let zones = RuleFault::TooFew { level: FailureLevel::Zone, have: 2 };
    assert_eq!(refused(rule(FailureLevel::Zone, &[]), vec![on_fast()]), ControlRefusal::Rule(zones));
    let tape = RuleFault::TooFewOfClass { level: FailureLevel::Rack, class: "tape".to_owned(), copies: 1, have: 0 };
    assert_eq!(refused(rule(FailureLevel::Rack, &[("tape", 1)]), vec![on_fast()]), ControlRefusal::Rule(tape));
    assert_eq!(refused(rule(FailureLevel::Rack, &[("ssd", 4)]), vec![]), ControlRefusal::Rule(RuleFault::Form));
    for groups in [
        vec![],
        vec![on_fast(), vec![member(1, 1), member(2, 0), member(3, 0)]],
        vec![vec![member(1, 1), member(2, 1)]],
        vec![vec![member(1, 1), member(2, 1), member(2, 0)]],
        vec![vec![member(1, 1), member(2, 1), member(9, 0)]],
        vec![vec![member(1, 1), member(2, 1), member(4, 7)]],
        vec![on_fast(); 257],
    ] {
        assert_eq!(refused(fast(), groups), ControlRefusal::RuleGroups);
    }
    assert_eq!(control.map(), before);
    let name = add("Fast!", fast(), vec![on_fast()]);
    assert_eq!(control.run(name), Err(ControlRefusal::Rule(RuleFault::Form)));
    assert_eq!(control.run(C::SetNodeMode { node: NodeId(4), mode: NodeMode::Draining }), DONE);
    assert_eq!(
        control.run(add("r", fast(), vec![on_fast()])),
        Err(ControlRefusal::RuleGroups),
        "one is on its way out"
    );
}

#[test]
fn there_are_so_many_rules_and_no_more() {
    let mut control = cluster();
    for number in 1..=RULES_MAX as u16 {
        let answer = control.run(add(&format!("r{number}"), fast(), vec![on_fast()]));
        assert_eq!(answer, Ok(ControlOutcome::Rule(RuleId(number))));
    }
    assert_eq!(control.run(add("more", fast(), vec![on_fast()])), Err(ControlRefusal::Limit));
    assert_eq!(control.run(C::RemoveRule { id: RuleId(5) }), DONE);
    let id = RuleId(RULES_MAX as u16 + 1);
    assert_eq!(control.run(add("more", fast(), vec![on_fast()])), Ok(ControlOutcome::Rule(id)), "no id comes twice");
}

#[test]
fn what_a_rule_asks_for_may_change_within_what_there_is() {
    let mut control = cluster();
    control.run(add("fast", fast(), vec![on_fast()])).expect("a rule");
    let three = rule(FailureLevel::Node, &[("ssd", 3)]);
    assert_eq!(control.run(C::SetRule { id: RuleId(1), rule: three.clone() }), DONE);
    assert_eq!(control.run(C::SetRule { id: RuleId::DEFAULT, rule: fast() }), DONE);
    let map = control.map();
    assert_eq!((map.rule(RuleId(1)), map.rule(RuleId::DEFAULT)), (&three, &fast()));
    assert_eq!(map.groups[1].members, on_fast(), "groups move later");
    assert_eq!(control.run(C::SetRule { id: RuleId(1), rule: three }), DONE);
    assert_eq!(control.map(), map, "nothing changed");
    let zone = C::SetRule { id: RuleId(1), rule: rule(FailureLevel::Zone, &[]) };
    assert!(matches!(control.run(zone), Err(ControlRefusal::Rule(RuleFault::TooFew { .. }))));
    let missing = C::SetRule { id: RuleId(7), rule: fast() };
    assert_eq!(control.run(missing), Err(ControlRefusal::NoSuchRule));
    assert_eq!(control.map(), map);
}

#[test]
fn a_bucket_has_the_rule_it_was_given_last_and_writers_are_told() {
    let mut control = cluster();
    control.run(add("fast", fast(), vec![on_fast()])).expect("a rule");
    assert_eq!(control.run(create("none", RuleId(9))), Err(ControlRefusal::NoSuchRule));
    let books = bucket(&mut control, "books", RuleId(1));
    assert_eq!((books.rule, control.map().bucket_rules), (RuleId(1), vec![]));
    let set = |bucket, rule| C::SetBucketRule { bucket, rule };
    let changed = BucketInfo { rule: RuleId::DEFAULT, ..books.clone() };
    for _ in 0..2 {
        let answer = control.run(set(books.id, RuleId::DEFAULT));
        assert_eq!(answer, Ok(ControlOutcome::Bucket(changed.clone())));
        assert_eq!(control.map().bucket_rules, [(books.id, RuleId::DEFAULT)]);
    }
    let ControlAnswer::Buckets(all) = control.ask(ControlQuery::Buckets) else { panic!("buckets") };
    assert_eq!(all, [changed]);
    assert_eq!(control.run(set(BucketId(9), RuleId(1))), Err(ControlRefusal::NoSuchBucket));
    assert_eq!(control.run(set(books.id, RuleId(9))), Err(ControlRefusal::NoSuchRule));
    // Deleted and had back, it has the rule it had, whatever a writer knows.
    control.run(set(books.id, RuleId(1))).expect("known");
    control.run(C::DeleteBucket { bucket: books.id }).expect("known");
    assert_eq!(control.map().bucket_rules, []);
    control.run(C::UndeleteBucket { bucket: books.id, name: "again".to_owned() }).expect("deleted");
    assert_eq!(control.map().rule_of_bucket(books.id, RuleId::DEFAULT), RuleId(1));
}

#[test]
fn a_rule_in_use_stays_and_what_was_written_by_one_that_goes_is_the_default_rules() {
    let mut control = cluster();
    control.run(add("fast", fast(), vec![on_fast()])).expect("a rule");
    let (books, other) = (bucket(&mut control, "books", RuleId(1)), bucket(&mut control, "other", RuleId(1)));
    let remove = || C::RemoveRule { id: RuleId(1) };
    assert_eq!(control.run(remove()), Err(ControlRefusal::InUse));
    control.run(C::SetBucketRule { bucket: books.id, rule: RuleId::DEFAULT }).expect("known");
    control.run(C::DeleteBucket { bucket: other.id }).expect("known");
    let before = control.map();
    assert_eq!(control.run(remove()), DONE);
    let map = control.map();
    assert_eq!((map.slots, map.groups.len()), (before.slots, 2));
    assert!(map.rules.is_empty() && map.groups.iter().all(|group| group.rule == RuleId::DEFAULT));
    assert_eq!(control.run(remove()), DONE, "it is away already");
    assert_eq!(control.run(C::RemoveRule { id: RuleId(2) }), Err(ControlRefusal::NoSuchRule));
    assert_eq!(control.run(C::RemoveRule { id: RuleId::DEFAULT }), Err(ControlRefusal::InUse));
    let back = control.run(C::UndeleteBucket { bucket: other.id, name: "other".to_owned() });
    let Ok(ControlOutcome::Bucket(back)) = back else { panic!("{back:?}") };
    assert_eq!(back.rule, RuleId::DEFAULT);
}

/// Small numbers from a seed; the test needs no better ones.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// After each command the invariants of the control group hold ([`Control::run`] looks), a refusal changes nothing, a chunk's slot leads to the group it
/// led to, and no group's members change but by moves.
#[test]
fn any_sequence_of_commands_keeps_every_chunk_where_it_is() {
    let (mut added, mut removed) = (0, 0);
    for seed in 0..200 {
        let (mut control, mut dice) = (cluster(), Dice(seed));
        for _ in 0..40 {
            let id = RuleId(dice.roll(5) as u16);
            let name = ["books", "films", "maps"][dice.roll(3) as usize].to_owned();
            let bucket = BucketId(dice.roll(5));
            let asked = if dice.roll(2) == 0 { fast() } else { rule(FailureLevel::Node, &[]) };
            let command = match dice.roll(8) {
                0 | 1 => add(["fast", "slow", "third"][dice.roll(3) as usize], asked, vec![on_fast(); 2]),
                2 => C::SetRule { id, rule: asked },
                3 => C::RemoveRule { id },
                4 => create(&name, id),
                5 => C::SetBucketRule { bucket, rule: id },
                6 => C::DeleteBucket { bucket },
                _ => C::UndeleteBucket { bucket, name },
            };
            let before = control.map();
            let answer = control.run(command.clone());
            let after = control.map();
            if answer.is_err() {
                assert_eq!(before, after, "{command:?}");
            }
            assert_eq!(before.slots[..], after.slots[..before.slots.len()]);
            for (old, new) in before.groups.iter().zip(&after.groups) {
                assert_eq!((old.id, old.epoch, &old.members), (new.id, new.epoch, &new.members));
                assert!(new.rule == old.rule || new.rule == RuleId::DEFAULT);
            }
            added += usize::from(after.rules.len() > before.rules.len());
            removed += usize::from(after.rules.len() < before.rules.len());
        }
    }
    assert!(added > 200 && removed > 50, "only {added} were added and {removed} removed");
}
