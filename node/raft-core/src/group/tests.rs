//! Three replicas in one thread: logs in memory, messages in a queue, everything from one seed.

use super::*;
use crate::entry::LogReadError;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

#[derive(Default)]
struct MemoryLog(Mutex<BTreeMap<u64, Entry>>);

impl LogReader for MemoryLog {
    fn entries(&self, from: LogIndex, to: LogIndex, _bytes_max: u64) -> Result<Vec<Entry>, LogReadError> {
        Ok(self.0.lock().expect("not poisoned").range(from.0..to.0).map(|(_, entry)| entry.clone()).collect())
    }
}

struct Replica {
    group: Group,
    log: Arc<MemoryLog>,
    hard_state: HardState,
    applied: Vec<Entry>,
    reads: Vec<(u64, LogIndex)>,
    up: bool,
}

struct Net {
    replicas: BTreeMap<NodeId, Replica>,
    queue: VecDeque<RaftMessage>,
    trace: Vec<String>,
    seed: u64,
}

fn config(node: NodeId, log: &Arc<MemoryLog>, hard_state: HardState, seed: u64) -> GroupConfig {
    let last = log
        .0
        .lock()
        .expect("not poisoned")
        .values()
        .last()
        .map_or(LogStart::default(), |e| LogStart { index: e.index, term: e.term });
    GroupConfig {
        node,
        voters: vec![NodeId(1), NodeId(2), NodeId(3)],
        hard_state,
        start: LogStart::default(),
        last,
        applied: LogStart::default(),
        reader: log.clone(),
        seed: seed ^ node.0,
        quarantine: None,
        logger: slog::Logger::root(slog::Discard, slog::o!()),
    }
}

impl Net {
    fn new(seed: u64) -> Self {
        let replicas = (1..=3).map(NodeId).map(|node| {
            let log = Arc::new(MemoryLog::default());
            let group = Group::new(config(node, &log, HardState::default(), seed)).expect("it starts");
            let replica =
                Replica { group, log, hard_state: HardState::default(), applied: vec![], reads: vec![], up: true };
            (node, replica)
        });
        Net { replicas: replicas.collect(), queue: VecDeque::new(), trace: vec![], seed }
    }

    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for replica in self.replicas.values_mut().filter(|replica| replica.up) {
                while replica.group.has_ready() {
                    quiet = false;
                    let effects = replica.group.ready();
                    self.queue.extend(effects.send_now);
                    let mut log = replica.log.0.lock().expect("not poisoned");
                    if let Some(first) = effects.entries.first() {
                        log.split_off(&first.index.0);
                    }
                    log.extend(effects.entries.iter().map(|entry| (entry.index.0, entry.clone())));
                    drop(log);
                    replica.hard_state = effects.hard_state.unwrap_or(replica.hard_state);
                    replica.group.persisted(effects.number, effects.entries.last().map(|entry| entry.index));
                    self.queue.extend(effects.send_after_persist);
                    if let Some(last) = effects.committed.last() {
                        replica.group.applied(LogStart { index: last.index, term: last.term });
                    }
                    replica.applied.extend(effects.committed);
                    replica.reads.extend(effects.reads);
                }
            }
            while let Some(message) = self.queue.pop_front() {
                quiet = false;
                self.trace.push(format!("{message:?}"));
                let message = RaftMessage::decode(&message.encode()).expect("own bytes");
                if let Some(replica) = self.replicas.get_mut(&message.to).filter(|replica| replica.up) {
                    replica.group.step(message);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn tick_until_leader(&mut self) -> NodeId {
        for _ in 0..200 {
            for replica in self.replicas.values_mut().filter(|replica| replica.up) {
                replica.group.tick();
            }
            self.settle();
            let leads = |replica: &Replica| replica.up && replica.group.view().role == Role::Leader;
            if let Some((node, _)) = self.replicas.iter().find(|(_, replica)| leads(replica)) {
                return *node;
            }
        }
        panic!("no leader within 20 s of ticks, seed {}", self.seed);
    }

    fn propose(&mut self, leader: NodeId, data: &[u8]) {
        self.replicas.get_mut(&leader).expect("a replica").group.propose(data.to_vec()).expect("it leads");
        self.settle();
    }

    fn restart(&mut self, node: NodeId) {
        let replica = self.replicas.get_mut(&node).expect("a replica");
        replica.group = Group::new(config(node, &replica.log, replica.hard_state, self.seed)).expect("it starts");
        replica.applied.clear();
        replica.up = true;
    }
}

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
        for _ in 0..5 {
            net.replicas.values_mut().for_each(|replica| replica.group.tick());
            net.settle();
        }
    }
    net
}

#[test]
fn committed_entries_survive_every_leader_and_are_the_same_everywhere() {
    for seed in 0..20 {
        let net = run(seed);
        let applied = |replica: &Replica| {
            replica.applied.iter().filter(|entry| !entry.data.is_empty()).map(|e| e.data.clone()).collect::<Vec<_>>()
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
    net.replicas.get_mut(&leader).expect("a replica").group.read(1).expect("it leads");
    net.settle();
    assert_eq!(net.replicas[&leader].reads.len(), 1);
    for (node, replica) in &mut net.replicas {
        replica.up = *node == leader;
    }
    net.replicas.get_mut(&leader).expect("a replica").group.read(2).expect("it leads");
    net.settle();
    assert_eq!(net.replicas[&leader].reads.len(), 1, "a leader without a quorum answered a read");
}

#[test]
fn followers_take_neither_proposals_nor_reads() {
    let mut net = Net::new(4);
    let leader = net.tick_until_leader();
    let (_, follower) = net.replicas.iter_mut().find(|(node, _)| **node != leader).expect("a follower");
    assert_eq!(follower.group.propose(b"x".to_vec()), Err(ProposeError::NotLeader));
    assert_eq!(follower.group.read(1), Err(ProposeError::NotLeader));
}

/// Two followers; the first loses its log and all it has promised, and is kept from voting.
fn forget(net: &mut Net, leader: NodeId, watermark: LogIndex) -> (NodeId, NodeId) {
    let followers: Vec<NodeId> = net.replicas.keys().copied().filter(|node| *node != leader).collect();
    let [victim, other] = followers[..] else { panic!("three replicas") };
    let replica = net.replicas.get_mut(&victim).expect("a replica");
    replica.log = Arc::new(MemoryLog::default());
    let mut config = config(victim, &replica.log, HardState::default(), 5);
    config.quarantine = Some(Quarantine::new([leader, other], watermark));
    replica.group = Group::new(config).expect("it starts");
    replica.applied.clear();
    (victim, other)
}

fn tick(net: &mut Net, ticks: u32) {
    for _ in 0..ticks {
        net.replicas.values_mut().filter(|replica| replica.up).for_each(|replica| replica.group.tick());
        net.settle();
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

#[test]
fn a_replica_that_lost_its_log_and_does_not_know_it_is_sent_all_of_it_again_by_the_leader() {
    let mut net = Net::new(5);
    let leader = net.tick_until_leader();
    (0..10).for_each(|i| net.propose(leader, &[i]));
    let (victim, _) = forget(&mut net, leader, LogIndex(0));
    tick(&mut net, 30);
    assert!(!net.replicas[&victim].group.is_quarantined());
    assert_eq!(net.replicas[&victim].applied, net.replicas[&leader].applied);
    assert_eq!(net.replicas[&leader].group.view().role, Role::Leader, "nobody was disturbed");
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
        assert!(net.replicas[&victim].applied.iter().any(|entry| entry.data == b"acknowledged".as_slice()));
        assert!(!net.replicas[&victim].group.is_quarantined());
    }
}

#[test]
fn replicas_that_all_came_back_from_a_power_cut_find_each_other_and_elect_a_leader() {
    let mut net = Net::new(6);
    let leader = net.tick_until_leader();
    net.propose(leader, b"kept");
    for node in [NodeId(1), NodeId(2), NodeId(3)] {
        let replica = net.replicas.get_mut(&node).expect("a replica");
        let others = [NodeId(1), NodeId(2), NodeId(3)].into_iter().filter(|other| *other != node);
        let hard_state = HardState { commit: LogIndex(0), ..replica.hard_state };
        let mut config = config(node, &replica.log, hard_state, 6);
        config.quarantine = Some(Quarantine::new(others, LogIndex(0)));
        replica.group = Group::new(config).expect("it starts");
    }
    let leader = net.tick_until_leader();
    assert!(net.replicas[&leader].applied.iter().any(|entry| entry.data == b"kept".as_slice()));
    assert!(net.replicas.values().all(|replica| !replica.group.is_quarantined()));
}

#[test]
fn replicas_in_quarantine_are_not_stuck_when_the_leader_dies_as_well() {
    let mut net = Net::new(8);
    let leader = net.tick_until_leader();
    net.propose(leader, b"kept");
    for node in [NodeId(1), NodeId(2), NodeId(3)].into_iter().filter(|node| *node != leader) {
        let replica = net.replicas.get_mut(&node).expect("a replica");
        let others = [NodeId(1), NodeId(2), NodeId(3)].into_iter().filter(|other| *other != node);
        let mut config = config(node, &replica.log, replica.hard_state, 8);
        config.quarantine = Some(Quarantine::new(others, LogIndex(0)));
        replica.group = Group::new(config).expect("it starts");
    }
    // They hear the leader once and are not released yet.
    (0..2).for_each(|_| net.replicas.get_mut(&leader).expect("a replica").group.tick());
    net.settle();
    assert_eq!(net.replicas.values().filter(|replica| replica.group.is_quarantined()).count(), 2);
    net.restart(leader);
    let next = net.tick_until_leader();
    assert!(net.replicas[&next].applied.iter().any(|entry| entry.data == b"kept".as_slice()));
}

#[test]
fn one_replica_that_came_back_from_a_power_cut_alone_waits_for_the_others() {
    let mut net = Net::new(7);
    let leader = net.tick_until_leader();
    for node in [NodeId(1), NodeId(2), NodeId(3)] {
        net.replicas.get_mut(&node).expect("a replica").up = node == leader;
    }
    let replica = net.replicas.get_mut(&leader).expect("a replica");
    let others = [NodeId(1), NodeId(2), NodeId(3)].into_iter().filter(|other| *other != leader);
    let mut config = config(leader, &replica.log, replica.hard_state, 7);
    config.quarantine = Some(Quarantine::new(others, LogIndex(0)));
    replica.group = Group::new(config).expect("it starts");
    for _ in 0..1000 {
        net.replicas.get_mut(&leader).expect("a replica").group.tick();
        net.settle();
    }
    assert!(net.replicas[&leader].group.is_quarantined());
}

#[test]
fn a_snapshot_that_is_applied_before_the_log_is_durable_is_noted_later() {
    let log = Arc::new(MemoryLog::default());
    let mut group = Group::new(config(NodeId(1), &log, HardState::default(), 1)).expect("it starts");
    let at = LogStart { index: LogIndex(10), term: Term(2) };
    let mut message = RaftMessage::bare(MessageKind::Snapshot, NodeId(2), NodeId(1), Term(2));
    message.snapshot = Some(SnapshotPoint { at, voters: vec![NodeId(1), NodeId(2), NodeId(3)] });
    group.step_snapshot(message, at);
    let effects = group.ready();
    assert!(effects.snapshot.is_some());
    assert!(!group.applied(at), "the log is not durable yet");
    // Nor does it campaign meanwhile: raft-rs would look for the entries before the snapshot.
    (0..50).for_each(|_| group.tick());
    group.campaign();
    group.step(RaftMessage::bare(MessageKind::TimeoutNow, NodeId(2), NodeId(1), Term(2)));
    assert_eq!(group.view().role, Role::Follower);
    group.persisted(effects.number, Some(at.index));
    assert!(group.applied(at));
}

#[test]
fn contradictory_recovered_state_is_refused() {
    let log = Arc::new(MemoryLog::default());
    let mut bad = config(NodeId(1), &log, HardState { commit: LogIndex(5), ..HardState::default() }, 1);
    assert!(matches!(Group::new(bad), Err(StartError::CommitOutsideLog { .. })));
    bad = config(NodeId(1), &log, HardState::default(), 1);
    bad.applied = LogStart { index: LogIndex(3), term: Term(1) };
    assert!(matches!(Group::new(bad), Err(StartError::AppliedOutsideLog { .. })));
}
