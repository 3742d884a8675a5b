//! A leader with a lease is the only one there is.

use super::testing::*;
use super::*;
use crate::lease::LEASE_MILLIS;

/// Has the leader ask; until when it may read then.
fn asked(net: &mut Net, leader: NodeId, context: u64) -> Option<Moment> {
    let now = net.now;
    net.of_node(leader.0).group.read(context, now).expect("it leads");
    net.settle();
    net.of_node(leader.0).group.lease()
}

/// A leader whose term has an entry, and the two others.
fn led(seed: u64) -> (Net, NodeId, [NodeId; 2]) {
    let mut net = Net::new(seed);
    let leader = net.tick_until_leader();
    net.propose(leader, b"x");
    let others: Vec<_> = net.replicas.keys().copied().filter(|node| *node != leader).collect();
    let others = others.try_into().expect("three replicas");
    (net, leader, others)
}

/// Ticks until somebody else than `old` leads.
fn ticks_to_another(net: &mut Net, old: NodeId) -> Moment {
    for _ in 0..200 {
        net.tick();
        let leads = |(node, replica): (&NodeId, &Replica)| *node != old && replica.group.view().role == Role::Leader;
        if net.replicas.iter().any(leads) {
            return net.now;
        }
    }
    panic!("nobody else leads within 20 s, seed {}", net.seed);
}

#[test]
fn nobody_else_leads_while_a_leader_has_a_lease() {
    for seed in 0..200 {
        let (mut net, leader, [heard, deaf]) = led(seed);
        assert_eq!(net.of_node(leader.0).group.lease(), None, "nobody was asked");
        // One follower has waited for long and would be elected at once; the other has just answered, and forgets it.
        net.cut.insert(deaf);
        (0..30).for_each(|_| net.tick());
        let until = asked(&mut net, leader, 1).expect("two of three answered");
        assert_eq!(until, net.now + LEASE_MILLIS);
        net.cut = [leader].into();
        if seed % 2 == 0 {
            net.restart(heard);
        }
        assert!(ticks_to_another(&mut net, leader) > until, "seed {seed}");
    }
}

#[test]
fn a_leader_that_nobody_answers_has_no_lease() {
    let (mut net, leader, _) = led(1);
    net.cut.insert(leader);
    assert_eq!(asked(&mut net, leader, 1), None);
    net.cut.clear();
    (0..3).for_each(|_| net.tick());
    let begun = net.now;
    let until = asked(&mut net, leader, 2);
    assert_eq!(until, Some(begun + LEASE_MILLIS));
}

#[test]
fn a_leader_that_hands_over_has_no_lease_any_more() {
    let (mut net, leader, [heir, _]) = led(2);
    (0..10).for_each(|_| net.tick());
    assert!(asked(&mut net, leader, 1).is_some());
    let group = &mut net.of_node(leader.0).group;
    assert!(group.transfer_leader(ReplicaId::founding(heir)));
    assert_eq!(group.lease(), None, "before anything was sent");
    net.settle();
    assert_eq!(net.leader(), Some(heir), "the guard of those who heard the old leader does not stop it");
    assert!(asked(&mut net, heir, 2).is_some());
}

#[test]
fn a_change_of_members_ends_a_lease() {
    let (mut net, leader, _) = led(3);
    assert!(asked(&mut net, leader, 1).is_some());
    net.of_node(leader.0).group.add_learner(NodeId(4)).expect("allowed");
    net.settle();
    assert_eq!(net.of_node(leader.0).group.lease(), None);
    assert!(asked(&mut net, leader, 2).is_some());
}

#[test]
fn who_has_just_heard_a_leader_neither_votes_nor_campaigns_however_fast_it_ticks() {
    let (mut net, leader, [heard, other]) = led(4);
    let now = net.now;
    net.cut.insert(leader);
    let group = &mut net.of_node(heard.0).group;
    (0..100).for_each(|_| group.tick(now + 50));
    assert_eq!(group.view().role, Role::Follower);
    let term = Term(group.view().term.0 + 1);
    let vote = RaftMessage::bare(MessageKind::Vote, ReplicaId::founding(other), ReplicaId::founding(heard), term);
    let vote = RaftMessage { index: LogIndex(1 << 20), log_term: term, ..vote };
    group.step(vote.clone(), now + 100);
    assert!(group.view().term < term);
    group.step(vote, now + 2000);
    assert_eq!(group.view().term, term);
}
