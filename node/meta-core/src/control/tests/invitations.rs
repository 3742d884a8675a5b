//! Invitations: one key each, for a time, and a node in the map.

use super::{Answered, Control};
use proto::control::{ControlAnswer, ControlCommand as C, ControlOutcome, ControlQuery, ControlRefusal};
use proto::join::{Invitation, InvitationState};
use types::{DiskId, InvitationId, NodeEntry, NodeId, NodeMode, NodeState, Timestamp};

const DONE: Answered = Ok(ControlOutcome::Done);
const ID: InvitationId = InvitationId([7; 16]);

/// Node 4, until the time 1000.
fn node_4() -> Invitation {
    Invitation {
        id: ID,
        node: NodeId(4),
        addr: "n4:1".into(),
        domain: "d4".into(),
        disks: vec![DiskId([4; 16]), DiskId([104; 16])],
        expires: Timestamp(1000),
    }
}

fn invite(invitation: Invitation) -> C {
    C::Invite { invitation }
}

fn claim(id: InvitationId, request: &[u8]) -> C {
    C::ClaimInvitation { id, request: request.to_vec(), proof: [1; 32] }
}

fn admit(id: InvitationId, request: &[u8]) -> C {
    C::AdmitNode { id, request: request.to_vec(), cert: "certificate".into() }
}

fn known(control: &Control) -> Vec<(Invitation, InvitationState)> {
    match control.ask(ControlQuery::Invitations) {
        ControlAnswer::Invitations(known) => known,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_comes_in_by_its_steps_and_repeats_change_nothing() {
    let mut control = Control::new();
    for command in [invite(node_4()), claim(ID, b"key"), admit(ID, b"key")] {
        assert_eq!(control.run(command.clone()), DONE);
        let (map, invitations) = (control.map(), known(&control));
        assert_eq!(control.run(command), DONE, "again");
        assert_eq!((control.map(), known(&control)), (map, invitations));
    }
    let entry = control.map().node(NodeId(4)).expect("node 4").clone();
    let expected = NodeEntry::new(NodeId(4), "n4:1".into(), "d4".into(), node_4().disks);
    assert_eq!(entry, NodeEntry { state: NodeState::Down, ..expected });
    let state = InvitationState::Admitted { request: b"key".to_vec(), cert: "certificate".into() };
    assert_eq!(known(&control), [(node_4(), state)]);
    // Still what it was for whoever lost the answer, and nobody else's.
    assert_eq!(
        (control.run(claim(ID, b"key")), control.run(claim(ID, b"other"))),
        (DONE, Err(ControlRefusal::InvitationUsed))
    );
    assert!(control.map().nodes.is_sorted_by_key(|node| node.id));
}

#[test]
fn c02_of_two_with_one_token_exactly_one_gets_in() {
    let mut control = Control::new();
    assert_eq!(control.run(invite(node_4())), DONE);
    assert_eq!(control.run(claim(ID, b"first")), DONE);
    assert_eq!(control.run(claim(ID, b"second")), Err(ControlRefusal::InvitationUsed));
    // An operator that was shown the second, by whatever lie, lets nobody in.
    assert_eq!(control.run(admit(ID, b"second")), Err(ControlRefusal::InvitationUsed));
    assert_eq!(control.run(admit(ID, b"first")), DONE);
    assert_eq!(control.map().nodes.len(), 4);
}

#[test]
fn c02_what_is_over_or_taken_back_or_never_was_lets_nobody_in() {
    let mut control = Control::new();
    let void = Err(ControlRefusal::NoSuchInvitation);
    assert_eq!((control.run(claim(ID, b"key")), control.run(admit(ID, b"key"))), (void.clone(), void.clone()));
    assert_eq!(control.run(invite(node_4())), DONE);
    assert_eq!(control.run(admit(ID, b"key")), Err(ControlRefusal::InvitationUsed), "nobody has claimed it");
    control.time = 999;
    assert_eq!(control.run(claim(ID, b"key")), void, "its time is over");
    let again = Invitation { id: InvitationId([8; 16]), expires: Timestamp(2000), ..node_4() };
    assert_eq!(control.run(invite(again.clone())), DONE);
    assert_eq!(control.run(claim(again.id, b"key")), DONE);
    control.time = 2000;
    assert_eq!(control.run(admit(again.id, b"key")), void);
    let third = Invitation { id: InvitationId([9; 16]), expires: Timestamp(3000), ..node_4() };
    assert_eq!(control.run(invite(third.clone())), DONE);
    assert_eq!(known(&control).len(), 1, "those before it are gone");
    assert_eq!(
        (control.run(C::RevokeInvitation { id: third.id }), control.run(C::RevokeInvitation { id: ID })),
        (DONE, DONE)
    );
    assert_eq!(control.run(claim(third.id, b"key")), void);
    assert_eq!(control.map().nodes.len(), 3);
}

#[test]
fn a_newer_invitation_of_a_node_takes_the_place_of_one_that_was_not_used() {
    let mut control = Control::new();
    let newer = Invitation { id: InvitationId([8; 16]), addr: "other:1".into(), ..node_4() };
    assert_eq!(control.run(invite(node_4())), DONE);
    assert_eq!(control.run(claim(ID, b"key")), DONE);
    assert_eq!(control.run(invite(newer.clone())), DONE);
    assert_eq!(control.run(admit(ID, b"key")), Err(ControlRefusal::NoSuchInvitation));
    assert_eq!(known(&control), [(newer.clone(), InvitationState::Open)]);
    // The same id cannot come to mean something else.
    let changed = Invitation { domain: "d9".into(), ..newer };
    assert_eq!(control.run(invite(changed)), Err(ControlRefusal::InvitationUsed));
}

#[test]
fn nobody_is_invited_under_a_name_that_was_used_nor_for_long() {
    let mut control = Control::new();
    let node_9 = Invitation { node: NodeId(9), disks: vec![DiskId([9; 16])], ..node_4() };
    for (refused, changed) in [
        (ControlRefusal::NodeExists, Invitation { node: NodeId(3), ..node_9.clone() }),
        (ControlRefusal::NodeExists, Invitation { disks: vec![DiskId([3; 16])], ..node_9.clone() }),
        (ControlRefusal::InvalidName, Invitation { node: NodeId(0), ..node_9.clone() }),
        (ControlRefusal::InvalidName, Invitation { node: NodeId(NodeId::LIMIT), ..node_9.clone() }),
        (ControlRefusal::InvalidName, Invitation { disks: vec![], ..node_9.clone() }),
        (ControlRefusal::InvalidName, Invitation { disks: vec![DiskId([9; 16]); 2], ..node_9.clone() }),
        (ControlRefusal::InvalidName, Invitation { addr: String::new(), ..node_9.clone() }),
        (ControlRefusal::InvalidName, Invitation { domain: "a\nb".into(), ..node_9.clone() }),
        (ControlRefusal::Setting, Invitation { expires: Timestamp(1), ..node_9.clone() }),
        (ControlRefusal::Setting, Invitation { expires: Timestamp(Invitation::LIFE_MAX + 1000), ..node_9.clone() }),
    ] {
        assert_eq!(control.run(invite(changed.clone())), Err(refused), "{changed:?}");
    }
    for request in [&b""[..], &[1; Invitation::REQUEST_BYTES_MAX + 1]] {
        assert_eq!(control.run(claim(ID, request)), Err(ControlRefusal::InvalidName));
    }
    // A removed node stays in the map, so its id is never given again.
    for command in [invite(node_4()), claim(ID, b"key"), admit(ID, b"key")] {
        assert_eq!(control.run(command), DONE);
    }
    assert_eq!(control.run(C::SetNodeMode { node: NodeId(4), mode: NodeMode::Removed }), DONE);
    let again = Invitation { id: InvitationId([8; 16]), disks: vec![DiskId([8; 16])], ..node_4() };
    assert_eq!(control.run(invite(again)), Err(ControlRefusal::NodeExists));
}

#[test]
fn there_are_only_so_many_invitations() {
    let mut control = Control::new();
    let of = |n: u8| Invitation {
        id: InvitationId([n; 16]),
        node: NodeId(100 + u64::from(n)),
        disks: vec![DiskId([n; 16])],
        ..node_4()
    };
    for n in 10..74 {
        assert_eq!(control.run(invite(of(n))), DONE);
    }
    assert_eq!(control.run(invite(of(74))), Err(ControlRefusal::Limit));
    assert_eq!(control.run(C::RevokeInvitation { id: InvitationId([10; 16]) }), DONE);
    assert_eq!(control.run(invite(of(74))), DONE);
}
