//! Elections, commits, reads and quarantine.

use super::testing::*;
use super::*;
use crate::entry::EntryKind;

fn run(seed: u64) -> Net {
    let mut net = Net::new(seed);
    for round in 0..5u8 {
        let leader = net.tick_until_leader();
        net.propose(leader, &[round; 9]);
        net.replicas.get_mut(&leader).expect("a replica").up = false;
        let next = net.tick_until_leader();
        assert_ne!(next, leader);
        net.propose(next, &[round; 5]);
        net.restart(leader);
        (0..5).for_each(|_| net.tick());
    }
    net
}

#[test]
fn committed_entries_survive_every_leader_and_are_the_same_everywhere() {
    for seed in 0..20 {
        let net = run(seed);
        let applied = |replica: &Replica| {
            replica
                .state
                .entries
                .iter()
                .filter(|entry| !entry.data.is_empty())
                .map(|e| e.data.clone())
                .collect::<Vec<_>>()
        };
        let all: Vec<_> = net.replicas.values().map(applied).collect();
        assert_eq!(all[0].len(), 10, "seed {seed}");
        assert!(all.iter().all(|one| *one == all[0]), "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(run(7).trace, run(7).trace);
    assert_ne!(run(7).trace, run(8).trace);
}

#[test]
fn a_read_needs_a_quorum() {
    let mut net = Net::new(3);
    let leader = net.tick_until_leader();
    net.propose(leader, b"x");
    net.replicas.get_mut(&leader).expect("a replica").group.read(1, NOW).expect("it leads");
    net.settle();
    assert_eq!(net.replicas[&leader].reads.len(), 1);
    for (node, replica) in &mut net.replicas {
        replica.up = *node == leader;
    }
    net.replicas.get_mut(&leader).expect("a replica").group.read(2, NOW).expect("it leads");
    net.settle();
    assert_eq!(net.replicas[&leader].reads.len(), 1, "a leader without a quorum answered a read");
}

#[test]
fn followers_take_neither_proposals_nor_reads() {
    let mut net = Net::new(4);
    let leader = net.tick_until_leader();
    let (_, follower) = net.replicas.iter_mut().find(|(node, _)| **node != leader).expect("a follower");
    assert_eq!(follower.group.propose(b"x".to_vec()), Err(ProposeError::NotLeader));
    assert_eq!(follower.group.read(1, NOW), Err(ProposeError::NotLeader));
}

/// Two followers; the first loses its log and all it has promised, and is kept from voting.
fn forget(net: &mut Net, leader: NodeId, watermark: LogIndex) -> (NodeId, NodeId) {
    let followers: Vec<NodeId> = net.replicas.keys().copied().filter(|node| *node != leader).collect();
    let [victim, other] = followers[..] else { panic!("three replicas") };
    let replica = net.replicas.get_mut(&victim).expect("a replica");
    replica.log = Arc::new(MemoryLog::default());
    let mut config = config(ReplicaId::founding(victim), &replica.log, HardState::default(), 5);
    config.quarantine = Some(watermark);
    replica.group = Group::new(config).expect("it starts");
    replica.state = State { members: Members::founding([1, 2, 3].map(NodeId)), ..State::default() };
    (victim, other)
}

fn tick(net: &mut Net, ticks: u32) {
    for _ in 0..ticks {
        net.tick();
    }
}

#[test]
fn a_replica_that_lost_its_log_does_not_vote_while_the_leader_is_away() {
    let mut net = Net::new(5);
    let leader = net.tick_until_leader();
    (0..10).for_each(|i| net.propose(leader, &[i]));
    let (victim, other) = forget(&mut net, leader, LogIndex(8));
    net.replicas.get_mut(&leader).expect("a replica").up = false;
    tick(&mut net, 400);
    assert!(net.replicas[&victim].group.is_quarantined());
    assert_ne!(net.replicas[&other].group.view().role, Role::Leader, "the forgetful replica voted");
}

/// Found by the simulator: a replica in quarantine does not campaign, and took the last leader it had heard for one for ever. Its node had what is
/// in its state for the newest there is, also after the group had let it go.
#[test]
fn a_leader_that_falls_silent_is_forgotten_in_quarantine_too() {
    let mut net = Net::new(5);
    let leader = net.tick_until_leader();
    let (victim, other) = forget(&mut net, leader, LogIndex(1_000));
    tick(&mut net, 30);
    assert_eq!(net.replicas[&victim].group.view().leader, Some(leader));
    for silent in [leader, other] {
        net.replicas.get_mut(&silent).expect("a replica").up = false;
    }
    tick(&mut net, 30);
    assert!(net.replicas[&victim].group.is_quarantined());
    assert_eq!(net.replicas[&victim].group.view().leader, None);
}

#[test]
fn a_replica_that_lost_its_log_and_does_not_know_it_is_sent_all_of_it_again_by_the_leader() {
    let mut net = Net::new(5);
    let leader = net.tick_until_leader();
    (0..10).for_each(|i| net.propose(leader, &[i]));
    let (victim, _) = forget(&mut net, leader, LogIndex(0));
    tick(&mut net, 30);
    assert!(!net.replicas[&victim].group.is_quarantined());
    assert_eq!(net.replicas[&victim].state.entries, net.replicas[&leader].state.entries);
    assert_eq!(net.replicas[&leader].group.view().role, Role::Leader, "nobody was disturbed");
}

/// Found by a fault test: only a leader without anything to append ended a quarantine, and under load there is none.
#[test]
fn a_quarantine_ends_under_load_too() {
    let mut net = Net::new(5);
    let leader = net.tick_until_leader();
    (0..10).for_each(|i| net.propose(leader, &[i]));
    let (victim, _) = forget(&mut net, leader, LogIndex(10));
    for i in 0..30 {
        net.tick();
        net.propose(leader, &[i]);
    }
    tick(&mut net, 2);
    assert!(!net.replicas[&victim].group.is_quarantined());
    assert_eq!(net.replicas[&victim].state.entries, net.replicas[&leader].state.entries);
}

#[test]
fn a_replica_that_lost_its_log_votes_only_for_whoever_has_all_it_may_have_acknowledged() {
    for seed in 0..20 {
        let mut net = Net::new(seed);
        let leader = net.tick_until_leader();
        net.propose(leader, b"everywhere");
        // One follower is away while an entry is committed by the leader and the one that will forget it.
        let away = *net.replicas.keys().rfind(|node| **node != leader).expect("a follower");
        net.replicas.get_mut(&away).expect("a replica").up = false;
        net.propose(leader, b"acknowledged");
        let (victim, other) = forget(&mut net, leader, LogIndex(0));
        assert_eq!(other, away);
        // The leader restarts, so that nobody leads, and all of them are there again.
        net.restart(leader);
        net.replicas.get_mut(&away).expect("a replica").up = true;
        let next = net.tick_until_leader();
        assert_eq!(next, leader, "seed {seed}: only it has everything");
        tick(&mut net, 50);
        assert!(net.replicas[&victim].state.entries.iter().any(|entry| entry.data == b"acknowledged".as_slice()));
        assert!(!net.replicas[&victim].group.is_quarantined());
    }
}

/// Found by the simulator: a disk lied about the first entry of a new leader, which had replaced one of the leader before, and lost its power. What was in
/// its place again was taken for committed, since the leader believed its own there.
#[test]
fn an_old_entry_in_place_of_one_that_was_lost_is_not_taken_for_committed() {
    let mut net = Net::new(14);
    let first = net.tick_until_leader();
    net.propose(first, b"before");
    (0..5).for_each(|_| net.tick());
    let GroupView { commit: last, term, .. } = net.replicas[&first].group.view();
    net.replicas.get_mut(&first).expect("a replica").up = false;
    let second = net.tick_until_leader();
    let victim = *net.replicas.keys().find(|node| **node != first && **node != second).expect("a third");
    (0..5).for_each(|_| net.tick());
    let lost = net.replicas.get_mut(&victim).expect("a replica");
    let mut log = lost.log.0.lock().expect("not poisoned");
    log.split_off(&(last.0 + 1));
    let old = Entry { index: LogIndex(last.0 + 1), data: b"never".as_slice().into(), ..log[&last.0].clone() };
    log.insert(old.index.0, old);
    drop(log);
    lost.hard_state = HardState { term, commit: last, ..HardState::default() };
    lost.state.entries.retain(|entry| entry.index <= last);
    lost.state.at = LogStart { index: last, term };
    net.restart(victim);
    net.of_node(victim.0).group.distrust(LogIndex(0));
    tick(&mut net, 50);
    assert_eq!(net.replicas[&victim].state.entries, net.replicas[&second].state.entries);
    assert!(!net.replicas[&victim].group.is_quarantined());
}

#[test]
fn replicas_that_all_came_back_from_a_power_cut_find_each_other_and_elect_a_leader() {
    let mut net = Net::new(6);
    let leader = net.tick_until_leader();
    net.propose(leader, b"kept");
    for node in [NodeId(1), NodeId(2), NodeId(3)] {
        let replica = net.replicas.get_mut(&node).expect("a replica");
        let hard_state = HardState { commit: LogIndex(0), ..replica.hard_state };
        let mut config = config(ReplicaId(node.0), &replica.log, hard_state, 6);
        config.quarantine = Some(LogIndex(0));
        replica.group = Group::new(config).expect("it starts");
    }
    let leader = net.tick_until_leader();
    assert!(net.replicas[&leader].state.entries.iter().any(|entry| entry.data == b"kept".as_slice()));
    assert!(net.replicas.values().all(|replica| !replica.group.is_quarantined()));
}

#[test]
fn replicas_in_quarantine_are_not_stuck_when_the_leader_dies_as_well() {
    let mut net = Net::new(8);
    let leader = net.tick_until_leader();
    net.propose(leader, b"kept");
    for node in [NodeId(1), NodeId(2), NodeId(3)].into_iter().filter(|node| *node != leader) {
        let replica = net.replicas.get_mut(&node).expect("a replica");
        let mut config = config(ReplicaId(node.0), &replica.log, replica.hard_state, 8);
        config.quarantine = Some(LogIndex(0));
        replica.group = Group::new(config).expect("it starts");
    }
    // They hear the leader once and are not released yet.
    (0..2).for_each(|_| net.replicas.get_mut(&leader).expect("a replica").group.tick(NOW));
    net.settle();
    assert_eq!(net.replicas.values().filter(|replica| replica.group.is_quarantined()).count(), 2);
    net.restart(leader);
    let next = net.tick_until_leader();
    assert!(net.replicas[&next].state.entries.iter().any(|entry| entry.data == b"kept".as_slice()));
}

/// Found by the simulator: without ticks the lease of a leader that was heard last never ended, and whoever had more of the log than these asked for their
/// votes in vain.
#[test]
fn replicas_in_quarantine_vote_for_a_better_log_when_the_leader_is_silent() {
    let mut net = Net::new(8);
    let leader = net.tick_until_leader();
    let others: Vec<NodeId> = net.replicas.keys().copied().filter(|node| *node != leader).collect();
    for node in &others {
        let replica = net.replicas.get_mut(node).expect("a replica");
        let mut config = config(ReplicaId(node.0), &replica.log, replica.hard_state, 8);
        config.quarantine = Some(LogIndex(0));
        replica.group = Group::new(config).expect("it starts");
    }
    (0..2).for_each(|_| net.replicas.get_mut(&leader).expect("a replica").group.tick(NOW));
    net.settle();
    others.iter().for_each(|node| net.replicas.get_mut(node).expect("a replica").up = false);
    net.propose(leader, b"only here");
    others.iter().for_each(|node| net.replicas.get_mut(node).expect("a replica").up = true);
    assert!(others.iter().all(|node| net.replicas[node].group.is_quarantined()));
    net.restart(leader);
    assert_eq!(net.tick_until_leader(), leader);
}

/// Found by the simulator (seed 4695): a leader that had just come back said of what was committed before only where it is. A voter in quarantine took it for
/// an entry of that leader's own term, and gave nobody its vote when that leader was lost for good.
#[test]
fn a_leader_that_has_just_come_back_says_of_which_term_what_is_committed_is() {
    let mut net = Net::new(9);
    let leader = net.tick_until_leader();
    net.propose(leader, b"committed");
    // What is committed is not where its log ends.
    let others: Vec<NodeId> = net.replicas.keys().copied().filter(|node| *node != leader).collect();
    net.cut.extend(&others);
    net.propose(leader, b"not yet");
    net.cut.clear();
    [1, 2, 3].map(NodeId).into_iter().for_each(|node| net.restart(node));
    net.trace.clear();
    assert_eq!(net.tick_until_leader(), leader);
    let says = |line: &&String| line.contains("commit: index-") && !line.contains("commit: index-0,");
    let of_leaders =
        net.trace.iter().filter(|line| line.contains("kind: Append,") || line.contains("kind: Heartbeat,"));
    let said: Vec<_> = of_leaders.filter(says).collect();
    assert!(!said.is_empty());
    assert!(said.iter().all(|line| !line.contains("commit_term: term-0")), "{said:#?}");
}

#[test]
fn one_replica_that_came_back_from_a_power_cut_alone_waits_for_the_others() {
    let mut net = Net::new(7);
    let leader = net.tick_until_leader();
    for node in [NodeId(1), NodeId(2), NodeId(3)] {
        net.replicas.get_mut(&node).expect("a replica").up = node == leader;
    }
    let replica = net.replicas.get_mut(&leader).expect("a replica");
    let mut config = config(ReplicaId(leader.0), &replica.log, replica.hard_state, 7);
    config.quarantine = Some(LogIndex(0));
    replica.group = Group::new(config).expect("it starts");
    for _ in 0..1000 {
        net.replicas.get_mut(&leader).expect("a replica").group.tick(NOW);
        net.settle();
    }
    assert!(net.replicas[&leader].group.is_quarantined());
}

#[test]
fn a_snapshot_that_is_applied_before_the_log_is_durable_is_noted_later() {
    let log = Arc::new(MemoryLog::default());
    let mut group = Group::new(config(ReplicaId(1), &log, HardState::default(), 1)).expect("it starts");
    let at = LogStart { index: LogIndex(10), term: Term(2) };
    let mut message = RaftMessage::bare(MessageKind::Snapshot, ReplicaId(2), ReplicaId(1), Term(2));
    let point = StatePoint { at, members: Members::founding([1, 2, 3].map(NodeId)) };
    message.point = Some(point.clone());
    group.step_snapshot(message, point);
    let effects = group.ready();
    assert!(effects.snapshot.is_some());
    assert!(!group.applied(at), "the log is not durable yet");
    // Nor does it campaign meanwhile: raft-rs would look for the entries before the snapshot.
    (0..50).for_each(|_| group.tick(LATE));
    group.campaign();
    group.step(RaftMessage::bare(MessageKind::TimeoutNow, ReplicaId(2), ReplicaId(1), Term(2)), NOW);
    assert_eq!(group.view().role, Role::Follower);
    group.persisted(effects.number, Some(at.index));
    assert!(group.applied(at));
}

#[test]
fn contradictory_recovered_state_is_refused() {
    let log = Arc::new(MemoryLog::default());
    let mut bad = config(ReplicaId(1), &log, HardState { commit: LogIndex(5), ..HardState::default() }, 1);
    assert!(matches!(Group::new(bad), Err(StartError::CommitOutsideLog { .. })));
    bad = config(ReplicaId(1), &log, HardState::default(), 1);
    bad.applied = LogStart { index: LogIndex(3), term: Term(1) };
    assert!(matches!(Group::new(bad), Err(StartError::AppliedOutsideLog { .. })));
}

/// The leader waits long for a snapshot to arrive. Nobody fetches it any more when the follower was killed meanwhile, and the next life says so.
#[test]
fn a_follower_that_died_while_it_fetched_a_snapshot_is_sent_one_again_at_once() {
    let mut net = Net::new(4);
    let leader = net.tick_until_leader();
    let follower = net.replicas.keys().copied().find(|node| *node != leader).expect("two others");
    net.cut.insert(follower);
    (0..10_u8).for_each(|n| net.propose(leader, &[n]));
    let leads = net.of_node(leader.0);
    let cut = leads.state.at;
    leads.log.0.lock().expect("not poisoned").retain(|index, _| *index > cut.index.0);
    leads.start = cut;
    leads.group.truncated(cut);
    net.cut.clear();
    net.losing.insert(follower);
    (0..5).for_each(|_| net.tick());
    let awaited = vec![net.replicas[&follower].group.replica()];
    assert_eq!(net.replicas[&leader].group.awaiting_snapshot(), awaited);
    net.losing.clear();
    (0..20).for_each(|_| net.tick());
    assert_eq!(net.replicas[&leader].group.awaiting_snapshot(), awaited, "it may be fetching");
    net.restart(follower);
    (0..5).for_each(|_| net.tick());
    assert_eq!(net.replicas[&follower].state.at, net.replicas[&leader].state.at);
}

#[test]
fn who_would_not_ask_a_replica_in_quarantine_for_its_vote_tells_it_where_its_log_ends_and_who_votes() {
    let log = Arc::new(MemoryLog::default());
    let entry = Entry { term: Term(2), index: LogIndex(1), kind: EntryKind::Normal, data: b"x".to_vec().into() };
    log.0.lock().expect("not poisoned").insert(1, entry);
    // A learner asks nobody, a voter nobody that it does not know for one.
    for (own, sender, answers) in [(4, 2, true), (1, 5, true), (1, 2, false)] {
        let mut config = config(ReplicaId(own), &log, HardState { term: Term(2), ..HardState::default() }, 1);
        config.members.learners = vec![ReplicaId(4)];
        let members = config.members.clone();
        let mut group = Group::new(config).expect("it starts");
        let said = |group: &mut Group| -> Vec<RaftMessage> {
            let said = if group.has_ready() { group.ready().send_now } else { vec![] };
            said.into_iter().filter(|said| said.to == ReplicaId(sender)).collect()
        };
        let bare = RaftMessage::bare(MessageKind::HeartbeatResponse, ReplicaId(sender), ReplicaId(own), Term(2));
        let greeting = RaftMessage { reject: true, ..bare };
        group.step(greeting.clone(), NOW);
        let answer = said(&mut group);
        assert_eq!(answer.len(), usize::from(answers), "{answer:?}");
        for answer in answer {
            assert!(answer.reject && answer.kind == MessageKind::HeartbeatResponse);
            assert_eq!((answer.index, answer.log_term, answer.term), (LogIndex(1), Term(2), Term(2)));
            let point = answer.point.expect("it says who votes");
            assert_eq!(point.members, members);
            // Else two that know of no leader would go on for ever.
            group.step(RaftMessage { point: Some(point), ..greeting.clone() }, NOW);
            assert_eq!(said(&mut group), []);
        }
        group.step(RaftMessage::bare(MessageKind::Heartbeat, ReplicaId(3), ReplicaId(own), Term(2)), NOW);
        said(&mut group);
        group.step(greeting, NOW);
        assert_eq!(said(&mut group), [], "who leads is what counts");
    }
}
