//! Members of a group: taken in, promoted, replaced and let go, while leaders die and links are cut.

use super::testing::*;
use super::*;
use crate::divergence::StateHash;
use crate::entry::EntryKind;
use crate::membership::{Change, Members, Step};
use bytes::Bytes;
use std::collections::BTreeSet;

fn joint(promote: &[ReplicaId], demote: &[ReplicaId]) -> Change {
    Change::EnterJoint { promote: promote.to_vec(), demote: demote.to_vec() }
}

fn on(net: &Net, leader: NodeId, node: u64) -> ReplicaId {
    net.replicas[&leader].group.members().on(NodeId(node)).expect("a member")
}

#[test]
fn a_voter_is_replaced_learner_first_and_removed_last() {
    let mut net = Net::new(1);
    let leader = net.tick_until_leader();
    net.propose(leader, b"before");
    let gone = (1..=3).find(|node| *node != leader.0).expect("a follower");
    let wanted: Vec<_> = (1..=4).filter(|node| *node != gone).collect();
    let steps = net.change_to(&wanted);
    let new = on(&net, leader, 4);
    let old = ReplicaId(gone);
    let expected = [
        Step::AddLearner(NodeId(4)),
        Step::Change(joint(&[new], &[old])),
        Step::Change(Change::LeaveJoint),
        Step::Change(Change::RemoveLearner(old)),
    ];
    assert_eq!(steps, expected);
    net.propose(leader, b"after");
    net.tick();
    let learnt: Vec<_> = net.replicas[&NodeId(4)].state.entries.iter().map(|entry| entry.data.clone()).collect();
    assert!(learnt.contains(&Bytes::from_static(b"before")) && learnt.contains(&Bytes::from_static(b"after")));
    // The new one counts, the old one does not: with one of the other two it goes on.
    let third = wanted.iter().copied().find(|node| *node != leader.0 && *node != 4).expect("the third");
    net.of_node(third).up = false;
    net.propose(leader, b"with the new one");
    assert_eq!(net.of_node(leader.0).state.entries.last().expect("entries").data, b"with the new one".as_slice());
    net.of_node(4).up = false;
    net.propose(leader, b"alone");
    assert_ne!(net.of_node(leader.0).state.entries.last().expect("entries").data, b"alone".as_slice());
}

#[test]
fn a_learner_begins_with_a_snapshot_even_of_a_log_that_was_never_cut() {
    let mut net = Net::new(2);
    let leader = net.tick_until_leader();
    net.propose(leader, b"x");
    net.of_node(leader.0).group.add_learner(NodeId(4)).expect("allowed");
    net.settle();
    (0..10).for_each(|_| net.tick());
    let learner = &net.replicas[&NodeId(4)];
    assert!(
        learner.start.index > LogIndex(0),
        "it was fed the log from its beginning, which does not name the founders"
    );
    assert_eq!(learner.group.members(), net.replicas[&leader].group.members());
    assert_eq!(learner.group.view().role, Role::Learner);
    // Nor does a new leader feed it so.
    net.of_node(leader.0).up = false;
    net.replicas.remove(&NodeId(4));
    let next = net.tick_until_leader();
    (0..30).for_each(|_| net.tick());
    assert!(net.replicas[&NodeId(4)].start.index > LogIndex(0));
    assert_eq!(net.replicas[&NodeId(4)].group.members(), net.replicas[&next].group.members());
}

#[test]
fn a_learner_without_a_snapshot_is_not_promoted_and_a_failed_one_is_sent_again() {
    let mut net = Net::new(3);
    let leader = net.tick_until_leader();
    net.propose(leader, b"x");
    net.unfetching.insert(NodeId(4));
    let (new, _) = net.of_node(leader.0).group.add_learner(NodeId(4)).expect("allowed");
    net.settle();
    (0..30).for_each(|_| net.tick());
    let group = &mut net.of_node(leader.0).group;
    assert_eq!(group.propose_change(&joint(&[new], &[])), Err(ChangeError::NotCaughtUp(new)));
    assert_eq!(group.next_step(&[1, 2, 3, 4].map(NodeId)), Step::Wait);
    net.unfetching.clear();
    (0..30).for_each(|_| net.tick());
    assert!(net.of_node(leader.0).group.propose_change(&joint(&[new], &[])).is_ok());
}

#[test]
fn one_change_at_a_time_and_only_those_that_fit() {
    let mut net = Net::new(4);
    let leader = net.tick_until_leader();
    let group = &mut net.of_node(leader.0).group;
    assert_eq!(group.add_learner(NodeId(2)), Err(ChangeError::Misfit));
    assert_eq!(group.add_learner(NodeId(0)), Err(ChangeError::Misfit));
    assert_eq!(group.add_learner(NodeId(NodeId::LIMIT)), Err(ChangeError::Misfit));
    assert_eq!(group.propose_change(&Change::LeaveJoint), Err(ChangeError::Misfit));
    assert_eq!(group.propose_change(&Change::RemoveLearner(ReplicaId(2))), Err(ChangeError::Misfit));
    let all = [1, 2, 3].map(ReplicaId);
    assert_eq!(group.propose_change(&joint(&[], &all)), Err(ChangeError::Misfit));
    group.add_learner(NodeId(4)).expect("allowed");
    assert_eq!(group.add_learner(NodeId(5)), Err(ChangeError::UnderWay));
    net.settle();
    let follower = (1..=3).find(|node| *node != leader.0).expect("a follower");
    assert_eq!(net.of_node(follower).group.add_learner(NodeId(5)), Err(ChangeError::NotLeader));
}

#[test]
fn a_leader_that_is_to_go_hands_over_before_it_leaves() {
    let mut net = Net::new(5);
    let leader = net.tick_until_leader();
    net.propose(leader, b"x");
    let steps = net.change_to(&[4, 5, 6]);
    assert!(steps.iter().any(|step| matches!(step, Step::HandOver(_))), "{steps:?}");
    assert_eq!(net.voters(), [4, 5, 6].map(NodeId));
    assert!(net.leader().expect("one leads").0 > 3);
}

#[test]
fn groups_of_two_shrink_to_either_and_one_grows_to_three() {
    for keep in [1, 2] {
        for seed in 0..8 {
            let mut net = Net::of(2, seed);
            let leader = net.tick_until_leader();
            net.propose(leader, b"x");
            net.change_to(&[keep]);
            assert_eq!((net.voters(), net.leader()), (vec![NodeId(keep)], Some(NodeId(keep))));
            // The one that was let go may die.
            net.of_node(3 - keep).up = false;
            net.propose(NodeId(keep), b"alone");
            assert_eq!(net.of_node(keep).state.entries.last().expect("entries").data, b"alone".as_slice());
            net.of_node(3 - keep).up = true;
            net.change_to(&[keep, 4, 5]);
            assert_eq!(net.voters(), [keep, 4, 5].map(NodeId));
        }
    }
}

#[test]
fn nobody_campaigns_while_a_committed_change_is_not_applied() {
    let mut net = Net::new(6);
    let leader = net.tick_until_leader();
    net.propose(leader, b"x");
    let follower = (1..=3).find(|node| *node != leader.0).expect("a follower");
    net.of_node(follower).stalled = Some(Vec::new());
    net.of_node(leader.0).group.add_learner(NodeId(4)).expect("allowed");
    net.settle();
    (0..4).for_each(|_| net.tick());
    let term = net.of_node(leader.0).group.view().term;
    let timeout_now = RaftMessage::bare(MessageKind::TimeoutNow, ReplicaId(leader.0), ReplicaId(follower), term);
    let group = &mut net.of_node(follower).group;
    group.step(timeout_now.clone(), NOW);
    assert_eq!(group.view().role, Role::Follower, "it was told to");
    group.campaign();
    assert_eq!(group.view().role, Role::Follower, "at the start");
    (0..50).for_each(|_| group.tick(LATE));
    assert_eq!(group.view().role, Role::Follower, "by time");
    net.of_node(follower).resume();
    net.of_node(follower).group.step(timeout_now, NOW);
    assert_eq!(net.of_node(follower).group.view().role, Role::Candidate);
}

#[test]
fn leadership_is_not_handed_to_a_voter_that_was_just_made() {
    let mut net = Net::of(1, 7);
    net.tick_until_leader();
    net.propose(NodeId(1), b"x");
    let (new, _) = net.of_node(1).group.add_learner(NodeId(2)).expect("allowed");
    net.settle();
    (0..10).for_each(|_| net.tick());
    assert!(!net.of_node(1).group.transfer_leader(new), "a learner");
    net.of_node(1).group.propose_change(&joint(&[new], &[])).expect("allowed");
    net.settle();
    assert!(net.of_node(1).group.members().is_joint());
    assert!(!net.of_node(1).group.transfer_leader(new), "it was just promoted");
    (0..10).for_each(|_| net.tick());
    assert!(net.of_node(1).group.transfer_leader(new));
    net.settle();
    assert_eq!(net.leader(), Some(NodeId(2)));
}

#[test]
fn a_node_that_comes_back_is_another_replica() {
    let mut net = Net::new(8);
    let leader = net.tick_until_leader();
    net.propose(leader, b"x");
    let node = (1..=3).find(|node| *node != leader.0).expect("a follower");
    let keep: Vec<_> = (1..=3).filter(|other| *other != node).collect();
    net.change_to(&keep);
    let former = net.replicas.remove(&NodeId(node)).expect("it was there");
    assert_eq!(former.group.replica(), ReplicaId(node));
    let (new, _) = net.of_node(leader.0).group.add_learner(NodeId(node)).expect("allowed");
    assert!(new.node() == NodeId(node) && new.life() > LogIndex(0) && new != ReplicaId(node));
    net.settle();
    // A late word of the former replica counts for nothing, neither as an acknowledgement nor as a vote.
    let (term, last) = (net.of_node(leader.0).group.view().term, net.of_node(leader.0).group.view().last);
    let mut late = RaftMessage::bare(MessageKind::AppendResponse, ReplicaId(node), ReplicaId(leader.0), term);
    late.index = LogIndex(last.0 + 1000);
    net.of_node(leader.0).group.step(late, NOW);
    let matched = net.of_node(leader.0).group.matched();
    assert!(matched.iter().all(|(replica, index)| *replica != ReplicaId(node) && *index <= last), "{matched:?}");
    // And what is sent to the former one does not reach the new one.
    let mut to_former =
        RaftMessage::bare(MessageKind::Heartbeat, ReplicaId(leader.0), ReplicaId(node), Term(term.0 + 9));
    to_former.commit = last;
    net.of_node(node).group.step(to_former, NOW);
    assert_eq!(net.of_node(node).group.view().term, term);
    net.change_to(&[1, 2, 3]);
    assert_eq!(net.voters(), [1, 2, 3].map(NodeId));
}

#[test]
fn members_come_back_with_the_state_and_the_log() {
    let mut net = Net::new(9);
    let leader = net.tick_until_leader();
    let follower = (1..=3).find(|node| *node != leader.0).expect("a follower");
    net.of_node(leader.0).group.add_learner(NodeId(4)).expect("allowed");
    net.settle();
    (0..10).for_each(|_| net.tick());
    let new = on(&net, leader, 4);
    // One has applied the promotion when it is killed, one has it in its log only.
    net.of_node(follower).stalled = Some(Vec::new());
    net.of_node(leader.0).group.propose_change(&joint(&[new], &[])).expect("allowed");
    net.settle();
    assert!(!net.of_node(follower).state.members.is_joint() && net.of_node(leader.0).state.members.is_joint());
    for node in [leader, NodeId(follower)] {
        net.restart(node);
    }
    net.settle();
    for node in [leader.0, follower, 4] {
        let members = net.of_node(node).group.members();
        assert!(members.is_joint() && members.voters.contains(&new), "node {node}: {members:?}");
    }
    // Whoever leads now carries the change on.
    net.change_to(&[1, 2, 3, 4]);
    assert_eq!(net.voters(), [1, 2, 3, 4].map(NodeId));
}

#[test]
fn a_change_that_does_not_fit_is_void_and_one_not_understood_is_told() {
    let mut net = Net::new(10);
    let leader = net.tick_until_leader();
    let before = net.of_node(leader.0).group.members().clone();
    net.force(leader, &Change::RemoveLearner(ReplicaId(77)));
    net.force(leader, &joint(&[], &[1, 2, 3].map(ReplicaId)));
    net.propose(leader, b"goes on");
    (0..4).for_each(|_| net.tick());
    assert!(net.replicas.values().all(|replica| *replica.group.members() == before));
    let raw = &mut net.of_node(leader.0).group.raw;
    let coded = Change::AddLearner(ReplicaId(4)).to_raft().expect("it can be proposed");
    raw.propose_conf_change(vec![0xff; 3], coded).expect("it leads");
    let replica = net.of_node(leader.0);
    let mut told = None;
    for _ in 0..20 {
        while replica.group.has_ready() {
            let effects = replica.group.ready();
            told = told.or(effects.not_understood);
            replica.group.persisted(effects.number, effects.entries.last().map(|entry| entry.index));
            let acks = effects.send_now.iter().filter(|sent| sent.kind == MessageKind::Append);
            for sent in acks {
                let mut ack = RaftMessage::bare(MessageKind::AppendResponse, sent.to, sent.from, sent.term);
                ack.index = sent.entries.last().map_or(sent.index, |entry| entry.index);
                replica.group.step(ack, NOW);
            }
        }
    }
    assert!(told.is_some());
}

#[test]
fn a_voter_that_lost_everything_is_let_go_and_comes_back_as_another() {
    let mut net = Net::new(11);
    let leader = net.tick_until_leader();
    net.propose(leader, b"x");
    net.change_to(&[leader.0, 4, 5]);
    let before = on(&net, leader, 4);
    let others: BTreeSet<_> = [leader.0, 4, 5].into();
    // Its disk is wiped: the next message makes it anew, empty, under the name it has.
    net.replicas.remove(&NodeId(4));
    net.propose(leader, b"makes it");
    (0..30).for_each(|_| net.tick());
    let lost = &net.replicas[&NodeId(4)].group;
    assert!(lost.replica() == before && lost.members().is_empty(), "it was filled as if nothing had happened");
    let vote = RaftMessage::bare(MessageKind::Vote, ReplicaId(5), before, Term(99));
    net.of_node(4).group.step(vote, NOW);
    assert_eq!(net.of_node(4).group.view().term, net.of_node(leader.0).group.view().term, "it heard of an election");
    let steps = net.change_to(&others.iter().copied().collect::<Vec<_>>());
    assert_eq!(steps.first(), Some(&Step::Change(joint(&[], &[before]))), "{steps:?}");
    let after = on(&net, leader, 4);
    assert!(after.life() > before.life() && !net.replicas[&NodeId(4)].group.members().is_empty());
}

/// Found by the simulator: a disk that had lied about a snapshot lost its power, and the voter that had been filled by it came back empty and in
/// quarantine, where it spoke to the others it knew of, who were none.
#[test]
fn a_voter_that_lost_everything_says_so_in_quarantine_too() {
    let mut net = Net::new(13);
    let leader = net.tick_until_leader();
    net.propose(leader, b"x");
    net.change_to(&[leader.0, 4, 5]);
    let before = on(&net, leader, 4);
    let lost = net.of_node(4);
    lost.log.0.lock().expect("not poisoned").clear();
    (lost.start, lost.hard_state, lost.state) = Default::default();
    net.restart(NodeId(4));
    net.of_node(4).group.distrust(LogIndex(0));
    // Nothing is proposed: no append shows the leader what it does not hold.
    (0..60).for_each(|_| net.tick());
    let steps = net.change_to(&[leader.0, 4, 5]);
    assert_eq!(steps.first(), Some(&Step::Change(joint(&[], &[before]))), "{steps:?}");
    let after = on(&net, leader, 4);
    assert!(after.life() > before.life() && !net.of_node(4).group.members().is_empty());
}

#[test]
fn a_diverged_replica_is_told_and_let_go_and_a_diverged_leader_hands_over_first() {
    for leader_differs in [false, true] {
        let mut net = Net::new(12);
        let leader = net.tick_until_leader();
        net.propose(leader, b"x");
        (0..8).for_each(|_| net.tick());
        let follower = (1..=3).find(|node| *node != leader.0).expect("a follower");
        let wrong = if leader_differs { leader.0 } else { follower };
        for node in 1..=3 {
            let hash = if node == wrong { [9; 32] } else { [1; 32] };
            net.of_node(node).group.note_hash(StateHash { index: LogIndex(1), hash });
            net.settle();
        }
        assert!(net.of_node(wrong).group.is_diverged());
        let verdicts = net.of_node(leader.0).group.take_verdicts();
        let accused: Vec<_> = verdicts.iter().flat_map(|(_, verdict)| &verdict.diverged).collect();
        assert_eq!(accused, [&ReplicaId(wrong)]);
        if leader_differs {
            let heir = net.of_node(wrong).group.heirs()[0];
            assert!(net.of_node(wrong).group.transfer_leader(heir));
            net.settle();
            (0..8).for_each(|_| net.tick());
            assert_ne!(net.leader(), Some(NodeId(wrong)));
        }
        let steps = net.change_to(&[1, 2, 3]);
        assert!(steps.contains(&Step::Change(Change::RemoveLearner(ReplicaId(wrong)))), "{steps:?}");
        let leader = net.leader().expect("one leads");
        assert!(on(&net, leader, wrong).life() > LogIndex(0) && !net.of_node(wrong).group.is_diverged());
    }
}

fn alone(replica: ReplicaId) -> Members {
    Members { voters: vec![replica], ..Members::default() }
}

#[test]
fn a_voter_that_is_left_becomes_the_only_one_and_the_group_grows_from_it() {
    for seed in 0..9 {
        let mut net = Net::new(seed);
        let leader = net.tick_until_leader();
        net.propose(leader, b"before");
        (0..4).for_each(|_| net.tick());
        (1..=3).for_each(|node| net.of_node(node).up = false);
        let left = NodeId(1 + seed % 3);
        let name = net.recover(left);
        assert_eq!(net.tick_until_leader(), left);
        let replica = &net.replicas[&left];
        assert_eq!((replica.group.replica(), replica.group.members()), (name, &alone(name)));
        assert_eq!(replica.state.members, alone(name));
        let kept: Vec<_> = replica.state.entries.iter().map(|entry| entry.data.clone()).collect();
        assert!(kept.contains(&Bytes::from_static(b"before")));
        // It comes back as what it is.
        net.restart(left);
        assert_eq!(net.tick_until_leader(), left);
        net.propose(left, b"after");
        net.change_to(&[left.0, 4, 5]);
        let mut voters = vec![left, NodeId(4), NodeId(5)];
        voters.sort_unstable();
        assert_eq!(net.voters(), voters);
        let learnt: Vec<_> = net.of_node(5).state.entries.iter().map(|entry| entry.data.clone()).collect();
        assert!(learnt.contains(&Bytes::from_static(b"before")) && learnt.contains(&Bytes::from_static(b"after")));
    }
}

#[test]
fn whatever_change_was_under_way_one_voter_is_left() {
    // Before it is applied, while it is joint, and when it was left.
    for (steps, stalled) in [(1, true), (1, false), (2, false), (3, true)] {
        let mut net = Net::new(14);
        let leader = net.tick_until_leader();
        net.propose(leader, b"x");
        let follower = (1..=3).find(|node| *node != leader.0).expect("a follower");
        net.of_node(leader.0).group.add_learner(NodeId(4)).expect("allowed");
        net.settle();
        (0..10).for_each(|_| net.tick());
        let new = on(&net, leader, 4);
        if stalled {
            net.of_node(follower).stalled = Some(Vec::new());
        }
        let changes =
            [joint(&[new], &[ReplicaId(follower)]), Change::LeaveJoint, Change::RemoveLearner(ReplicaId(follower))];
        for change in changes.iter().take(steps) {
            net.of_node(leader.0).group.propose_change(change).expect("allowed");
            net.settle();
            (0..4).for_each(|_| net.tick());
        }
        let all: Vec<_> = net.replicas.keys().copied().collect();
        all.into_iter().for_each(|node| net.of_node(node.0).up = false);
        let name = net.recover(NodeId(follower));
        assert_eq!(net.tick_until_leader(), NodeId(follower));
        assert_eq!(*net.of_node(follower).group.members(), alone(name), "{steps} steps, {stalled}");
    }
}

#[test]
fn nothing_that_a_former_voter_says_is_for_the_one_that_is_left() {
    let mut net = Net::new(15);
    let leader = net.tick_until_leader();
    net.propose(leader, b"x");
    (0..4).for_each(|_| net.tick());
    (1..=3).for_each(|node| net.of_node(node).up = false);
    // It has entries that the one that is left never had, in later terms: by Raft's rules its log is the better one.
    let former = net.of_node(2);
    let index = LogIndex(former.log.0.lock().expect("not poisoned").len() as u64 + 1);
    let more = Entry { term: Term(50), index, kind: EntryKind::Normal, data: Bytes::from_static(b"lost") };
    former.log.0.lock().expect("not poisoned").insert(index.0, more);
    former.hard_state.term = Term(50);
    net.recover(NodeId(1));
    assert_eq!(net.tick_until_leader(), NodeId(1));
    net.change_to(&[1, 4, 5]);
    net.restart(NodeId(2));
    (0..100).for_each(|_| net.tick());
    assert_eq!((net.leader(), net.voters()), (Some(NodeId(1)), [1, 4, 5].map(NodeId).to_vec()));
    // Nor when the others elect.
    net.of_node(1).up = false;
    let next = net.tick_until_leader();
    net.restart(NodeId(1));
    (0..100).for_each(|_| net.tick());
    assert!([4, 5].contains(&next.0) && net.of_node(next.0).group.view().term < Term(50));
    net.propose(net.leader().expect("one leads"), b"goes on");
    let data: Vec<_> = net.of_node(1).state.entries.iter().map(|entry| entry.data.clone()).collect();
    assert!(!data.contains(&Bytes::from_static(b"lost")));
}

#[test]
fn nobody_proposes_to_be_alone() {
    let mut net = Net::new(16);
    let leader = net.tick_until_leader();
    net.propose(leader, b"x");
    let only = Change::Only(ReplicaId::new(leader, LogIndex(9)));
    assert_eq!(net.of_node(leader.0).group.propose_change(&only), Err(ChangeError::Misfit));
}

/// T22 in the pure core: members change while links are cut, leaders are killed and replicas restarted. There is never more than
/// one leader in a term, what is committed is the same everywhere, and once the faults stop the members are those wanted last.
#[test]
fn t22_members_change_under_partitions_and_leader_kills() {
    for seed in 0..60 {
        let mut net = Net::new(seed);
        let mut dice = Timeouts::new(seed ^ 0x22);
        let mut below = |n: u64| dice.next() % n;
        let mut wanted = [1, 2, 3].map(NodeId).to_vec();
        for round in 0..300u64 {
            match below(20) {
                0 => {
                    let all = (1..=6).map(NodeId);
                    let mut all: Vec<_> = all.map(|node| (below(1000), node)).collect();
                    all.sort_unstable();
                    wanted = all.iter().take(if below(4) == 0 { 1 } else { 3 }).map(|(_, node)| *node).collect();
                }
                1 => net.cut = (1..=6).filter(|_| below(5) == 0).map(NodeId).collect(),
                2 => net.cut.clear(),
                3 => {
                    if let Some(leader) = net.leader() {
                        net.of_node(leader.0).up = false;
                    }
                }
                4 => {
                    let down: Vec<_> = net.replicas.iter().filter(|(_, r)| !r.up).map(|(node, _)| *node).collect();
                    down.into_iter().for_each(|node| net.restart(node));
                }
                5 => {
                    if let Some(leader) = net.leader() {
                        let _ = net.of_node(leader.0).group.propose(round.to_be_bytes().to_vec());
                    }
                }
                6 => net.unfetching = (1..=6).filter(|_| below(3) == 0).map(NodeId).collect(),
                _ => {}
            }
            net.tick();
            net.step_towards(&wanted);
        }
        net.cut.clear();
        net.unfetching.clear();
        let down: Vec<_> = net.replicas.iter().filter(|(_, replica)| !replica.up).map(|(node, _)| *node).collect();
        down.into_iter().for_each(|node| net.restart(node));
        let wanted: Vec<_> = wanted.iter().map(|node| node.0).collect();
        net.change_to(&wanted);
        let leader = net.leader().expect("one leads");
        net.propose(leader, b"the end");
        (0..5).for_each(|_| net.tick());
        let voters = net.voters();
        assert_eq!(voters.iter().map(|voter| voter.0).collect::<BTreeSet<_>>(), wanted.into_iter().collect());
        let full = net.replicas[&leader].state.clone();
        for node in voters {
            let state = &net.replicas[&node].state;
            assert_eq!((state.at, &state.members), (full.at, &full.members), "seed {seed}, {node}");
            // A snapshot brings the whole list along, so that it can be compared from its beginning.
            assert!(state.entries == full.entries, "seed {seed}, {node} differs");
        }
        assert_eq!(
            full.members,
            Members { outgoing: vec![], learners: vec![], learners_next: vec![], ..full.members.clone() }
        );
    }
}
