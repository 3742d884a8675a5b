use super::*;
use proptest::prelude::*;
use types::LogIndex;

fn ids(numbers: &[u64]) -> Vec<ReplicaId> {
    numbers.iter().copied().map(ReplicaId).collect()
}

fn any_change() -> impl Strategy<Value = Change> {
    let ids = || proptest::collection::vec((0u64..1 << 63).prop_map(ReplicaId), 0..4);
    prop_oneof![
        (0u64..1 << 63).prop_map(|id| Change::AddLearner(ReplicaId(id))),
        (0u64..1 << 63).prop_map(|id| Change::RemoveLearner(ReplicaId(id))),
        (ids(), ids()).prop_map(|(promote, demote)| Change::EnterJoint { promote, demote }),
        Just(Change::LeaveJoint),
        (0u64..1 << 63).prop_map(|id| Change::Only(ReplicaId(id))),
    ]
}

proptest! {
    #[test]
    fn changes_come_back(change in any_change()) {
        prop_assert_eq!(Change::decode(&change.encode()), Ok(change));
    }

    #[test]
    fn hostile_bytes_are_refused_not_panicked_on(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Change::decode(&bytes);
    }
}

#[test]
fn the_coding_of_changes_is_that_of_the_format_page() {
    let replica = ReplicaId::new(NodeId(4), LogIndex(9));
    let hex = |change: &Change| change.encode().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&Change::AddLearner(replica)), "008480c004");
    assert_eq!(hex(&Change::EnterJoint { promote: vec![replica], demote: ids(&[3]) }), "01018480c0040103");
    assert_eq!(hex(&Change::LeaveJoint), "02");
    assert_eq!(hex(&Change::RemoveLearner(ReplicaId(3))), "0303");
    assert_eq!(hex(&Change::Only(replica)), "048480c004");
}

#[test]
fn members_survive_raft_rs() {
    let members =
        Members { voters: ids(&[1, 2]), outgoing: ids(&[2, 3]), learners: ids(&[5]), learners_next: ids(&[3]) };
    assert_eq!(Members::from_raft(&members.to_raft()), members);
    let stored = members.encode();
    assert_eq!(stored, [1, 2, 1, 2, 2, 2, 3, 1, 5, 1, 3]);
    assert_eq!(Members::decode(&stored), Some(members.clone()));
    assert_eq!(Members::decode(&[&stored[..], &[0]].concat()), None);
    assert_eq!(Members::decode(&[&[2], &stored[1..]].concat()), None);
    assert_eq!(members.all().collect::<Vec<_>>(), ids(&[1, 2, 3, 5]));
    assert!(members.is_joint() && members.is_voter(ReplicaId(3)) && !members.is_voter(ReplicaId(5)));
    assert_eq!(members.other_voters(ReplicaId(2)).collect::<Vec<_>>(), ids(&[1, 3]));
}

fn step(members: &Members, own: u64, caught_up: &[u64], heirs: &[u64], wanted: &[u64]) -> Step {
    let caught_up = ids(caught_up).into_iter().collect();
    let heirs = ids(heirs);
    let unfit = BTreeSet::new();
    let view = LeaderView { own: ReplicaId(own), members, caught_up: &caught_up, heirs: &heirs, unfit: &unfit };
    next_step(&view, &wanted.iter().copied().map(NodeId).collect::<Vec<_>>())
}

#[test]
fn steps_are_taken_in_their_order() {
    let mut members = Members::founding([1, 2, 3].map(NodeId));
    assert_eq!(step(&members, 1, &[], &[], &[1, 2, 3]), Step::Settled);
    assert_eq!(step(&members, 1, &[], &[], &[]), Step::Settled, "nobody is wanted: an unknown wish changes nothing");
    assert_eq!(step(&members, 1, &[], &[], &[1, 2, 4]), Step::AddLearner(NodeId(4)));
    members.learners = ids(&[4]);
    assert_eq!(step(&members, 1, &[2, 3], &[], &[1, 2, 4]), Step::Wait);
    let enter = Change::EnterJoint { promote: ids(&[4]), demote: ids(&[3]) };
    assert_eq!(step(&members, 1, &[2, 3, 4], &[], &[1, 2, 4]), Step::Change(enter));
    // The wish changed meanwhile.
    assert_eq!(step(&members, 1, &[2, 3, 4], &[], &[1, 2, 3]), Step::Change(Change::RemoveLearner(ReplicaId(4))));
    let joint =
        Members { voters: ids(&[1, 2, 4]), outgoing: ids(&[1, 2, 3]), learners: vec![], learners_next: ids(&[3]) };
    assert_eq!(step(&joint, 1, &[], &[], &[1, 2, 3]), Step::Change(Change::LeaveJoint), "left whatever is wanted now");
    assert_eq!(step(&joint, 3, &[], &[], &[1, 2, 4]), Step::Wait);
    assert_eq!(step(&joint, 3, &[], &[4, 1], &[1, 2, 4]), Step::HandOver(ReplicaId(4)));
    let left = Members { voters: ids(&[1, 2, 4]), learners: ids(&[3]), ..Members::default() };
    assert_eq!(step(&left, 1, &[], &[], &[1, 2, 4]), Step::Change(Change::RemoveLearner(ReplicaId(3))));
}

#[test]
fn a_replica_that_lost_its_promises_is_let_go_before_anything_else() {
    let (caught_up, unfit) = (BTreeSet::new(), [ReplicaId(3)].into());
    let step = |members: &Members, wanted: &[u64]| {
        let view = LeaderView { own: ReplicaId(1), members, caught_up: &caught_up, heirs: &[], unfit: &unfit };
        next_step(&view, &wanted.iter().copied().map(NodeId).collect::<Vec<_>>())
    };
    let demote = Change::EnterJoint { promote: vec![], demote: ids(&[3]) };
    assert_eq!(step(&Members::founding([1, 2, 3].map(NodeId)), &[1, 2, 4]), Step::Change(demote));
    let demoted = Members { voters: ids(&[1, 2]), learners: ids(&[3]), ..Members::default() };
    assert_eq!(step(&demoted, &[1, 2, 3]), Step::Change(Change::RemoveLearner(ReplicaId(3))));
    assert_eq!(step(&Members::founding([1, 2].map(NodeId)), &[1, 2, 3]), Step::AddLearner(NodeId(3)));
}

#[test]
fn a_group_does_not_grow_without_bound() {
    let members = Members {
        learners: (4..=MEMBERS_MAX as u64).map(ReplicaId).collect(),
        ..Members::founding([1, 2, 3].map(NodeId))
    };
    let wanted: Vec<_> = (1..=MEMBERS_MAX as u64 + 1).collect();
    assert_eq!(step(&members, 1, &[], &[], &wanted), Step::Wait);
}
