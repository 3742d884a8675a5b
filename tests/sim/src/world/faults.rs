//! Faults as they come.

use super::World;
use super::beats::OPERATE_TRIES;
use crate::disk::Crash;
use crate::event::{Event, Millis};
use crate::fault::{Fault, PlannedFault};
use crate::judge::Violation;
use crate::marks::Mark;
use crate::message::Party;
use crate::network::Weather;
use crate::random::Random;
use crate::script::FAULTS_MIN;
use proto::control::ControlCommand;
use std::collections::BTreeSet;
use types::{ChunkId, NodeId, NodeMode};

/// How far a wall clock jumps: a day, either way.
const JUMP_MAX: u64 = 86_400_000;
/// A fault that would take the last good copy of a chunk is tried again after a pause, for so long.
pub(super) const LATER: Millis = 150;
pub(super) const LATER_MAX: Millis = 6_000;
/// How long a disk stays dead beyond the length of the fault: long enough for its copies to be made anew.
const DEAD_MORE: Millis = 4_000;
/// Failure domains whose nodes take copies, whatever is lost and emptied.
pub(super) const DOMAINS_MIN: usize = 3;

/// What came of a fault.
enum Made {
    /// It was made.
    Yes,
    /// There was nothing to break.
    No,
    /// There will be, perhaps.
    Later,
}

impl World<'_> {
    pub(super) fn fault(&mut self, place: usize) -> Result<(), Violation> {
        let planned = self.script.faults[place];
        if self.calm {
            return Ok(());
        }
        match self.make(planned)? {
            Made::Yes => self.count(planned.fault),
            Made::Later if self.now < planned.at + LATER_MAX => self.agenda.at(self.now + LATER, Event::Fault(place)),
            Made::Later | Made::No => {}
        }
        Ok(())
    }

    /// Kills nodes if so many planned faults found nothing to break that the run would prove little. A shrunk script is left as it is.
    pub(super) fn make_up_for_missed_faults(&mut self) {
        if (self.script.faults.len() as u64) < FAULTS_MIN {
            return;
        }
        let missing = FAULTS_MIN.saturating_sub(self.report.faults.values().sum());
        let running: Vec<NodeId> = self.node_ids().into_iter().filter(|id| self.nodes[id].runs).collect();
        for id in running.into_iter().take(missing as usize) {
            self.crash(id, Crash::Kill);
            self.count(Fault::Kill);
        }
    }

    pub(super) fn count(&mut self, fault: Fault) {
        *self.report.faults.entry(fault).or_default() += 1;
    }

    fn node_ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Makes a fault, if it can.
    fn make(&mut self, planned: PlannedFault) -> Result<Made, Violation> {
        let PlannedFault { fault, node, length, dice, .. } = planned;
        let id = NodeId(node + 1);
        let mut random = Random::new(dice);
        let until = self.now + length;
        if self.nodes[&id].gone
            && !matches!(fault, Fault::PowerAll | Fault::Swizzle | Fault::Storm | Fault::Silence | Fault::ClientDies)
        {
            return Ok(Made::No);
        }
        let yes = |made: bool| Ok(if made { Made::Yes } else { Made::No });
        let troubles = &mut self.nodes.get_mut(&id).expect("a node").troubles;
        match fault {
            Fault::Kill => return yes(self.crash(id, Crash::Kill)),
            Fault::Power => return yes(self.crash(id, Crash::Power)),
            Fault::PowerAll => {
                let ids = self.node_ids();
                return yes(ids.into_iter().filter(|id| self.crash(*id, Crash::Power)).count() > 0);
            }
            Fault::Pause => troubles.paused = until,
            Fault::SlowDisk => troubles.slow = until,
            Fault::FullDisk => troubles.full = until,
            Fault::ReadError => troubles.unreadable = until,
            Fault::FlushError => troubles.flush_fails = true,
            Fault::LostWrite => troubles.loses_next = true,
            Fault::Misdirect => troubles.misdirects_next = true,
            Fault::LyingDisk => {
                (troubles.lying, troubles.lied) = (until, true);
                let when = self.now + random.between(length / 2, length + 1);
                self.agenda.at(when, Event::PowerGoes(id));
            }
            Fault::ClockDrift => {
                (troubles.drifting, troubles.drift) = (until, *random.pick(&[40, 70, 150, 250]).expect("four"));
            }
            Fault::ClockJump => {
                let jump = random.below(JUMP_MAX) as i64;
                let node = self.nodes.get_mut(&id).expect("a node");
                node.clock_ahead += if random.chance(500) { jump } else { -jump };
                self.ahead_max = self.ahead_max.max(node.clock_ahead);
            }
            Fault::Cut => {
                let other = self.another(id, &mut random);
                self.cut(Party::Node(id), Party::Node(other), length);
                if random.chance(500) {
                    self.cut(Party::Node(other), Party::Node(id), length);
                }
            }
            Fault::Bridge => {
                let other = self.another(id, &mut random);
                self.cut(Party::Node(id), Party::Node(other), 2 * length);
                self.cut(Party::Node(other), Party::Node(id), 2 * length);
            }
            // The clients may still reach it, which is the worse case.
            Fault::Isolate => self.isolate(id, random.chance(400), 0, length),
            Fault::Swizzle => self.swizzle(length, &mut random),
            Fault::Storm => {
                let (loss, twice) = (random.between(50, 300), random.between(50, 500));
                let (delay_max, late) = (random.between(10, 200), random.between(20, 200));
                self.network.storm(Weather { loss, twice, delay_max, late });
                self.agenda.at(until, Event::StormEnds);
            }
            Fault::Silence => {
                self.silent.insert(node, self.now + 2 * length);
            }
            Fault::ClientDies => {
                self.clients.get_mut(&node).expect("a client").dies();
                self.wake_at(node, self.now + 1);
            }
            Fault::Rot => return yes(self.rot(id, &mut random)),
            Fault::Torn => troubles.tears_next = true,
            Fault::Wipe => {
                self.crash(id, Crash::Power);
                self.nodes.get_mut(&id).expect("a node").wipe();
            }
            Fault::Loss => return Ok(self.lose(id)),
            Fault::Majority => {
                self.cut_off_survivor(id, &mut random);
                return Ok(Made::No);
            }
            Fault::DeadDisk => return Ok(self.kill_disk(id, until)),
            Fault::Drain => return self.drain(id, until, &mut random),
        }
        Ok(Made::Yes)
    }

    /// A machine is lost for good, unless it has the last good copy of a chunk. One in a run; a voter only where no disk has lied, since what
    /// that one forgot may be nowhere else.
    fn lose(&mut self, id: NodeId) -> Made {
        let lied = self.may_lie();
        let votes = self.map.raft_groups.iter().any(|group| group.voters.contains(&id));
        if self.nodes.values().any(|node| node.gone) || lied && votes || self.domains_without(&[id]) < DOMAINS_MIN {
            return Made::No;
        }
        if !self.may_lose(&[id]) {
            return Made::Later;
        }
        self.is_gone(id);
        Made::Yes
    }

    /// Whether a disk lies at some time of the run.
    pub(super) fn may_lie(&self) -> bool {
        self.script.faults.iter().any(|planned| matches!(planned.fault, Fault::LyingDisk | Fault::Wipe))
    }

    /// A machine is gone, with all it had.
    pub(super) fn is_gone(&mut self, id: NodeId) {
        self.crash(id, Crash::Power);
        let node = self.nodes.get_mut(&id).expect("a node");
        node.gone = true;
        node.wipe();
        self.damaged.retain(|(_, at)| *at != id);
    }

    /// The disk of a node's chunks answers nothing until a new process has looked at it, unless it has the last good copy of a chunk.
    fn kill_disk(&mut self, id: NodeId, until: Millis) -> Made {
        let node = &self.nodes[&id];
        if !node.runs || node.troubles.dead {
            return Made::No;
        }
        if !self.may_lose(&[id]) {
            return Made::Later;
        }
        let node = self.nodes.get_mut(&id).expect("a node");
        node.troubles.dead = true;
        node.chunks.kill();
        // Whoever waits for a flush waits in vain.
        node.storing.clear();
        self.agenda.at(until + DEAD_MORE, Event::Mend(id));
        Made::Yes
    }

    /// A new process looks at a dead disk.
    pub(super) fn mend(&mut self, id: NodeId) {
        if self.nodes[&id].troubles.dead {
            self.crash(id, Crash::Kill);
        }
    }

    /// An operator has a node emptied, as far as enough others are left. In a third of the cases he thinks better of it, in another he removes
    /// it once it is empty. Counted when the map shows it.
    fn drain(&mut self, id: NodeId, until: Millis, random: &mut Random) -> Result<Made, Violation> {
        if self.emptied.is_some() || self.domains_without(&[id]) < DOMAINS_MIN {
            return Ok(Made::No);
        }
        self.emptied = Some(id);
        let set = |mode| ControlCommand::SetNodeMode { node: id, mode };
        let later = until + random.below(2 * DEAD_MORE);
        match random.below(3) {
            0 => self.agenda.at(later, Event::Operate(set(NodeMode::Active), OPERATE_TRIES)),
            1 => self.agenda.at(later, Event::Remove(id)),
            _ => {}
        }
        self.operate(set(NodeMode::Draining), OPERATE_TRIES)?;
        Ok(Made::No)
    }

    /// Failure domains that take copies, without those nodes, the one that an operator has wanted to be emptied, and whatever is gone.
    pub(super) fn domains_without(&self, ids: &[NodeId]) -> usize {
        let takes = |node: &&types::NodeEntry| {
            !ids.contains(&node.id) && self.emptied != Some(node.id) && !self.nodes[&node.id].gone
        };
        let domains: BTreeSet<&str> = self.map.nodes.iter().filter(takes).map(|node| node.domain.as_str()).collect();
        domains.len()
    }

    fn another(&self, than: NodeId, random: &mut Random) -> NodeId {
        let others: Vec<NodeId> = self.nodes.keys().copied().filter(|id| *id != than).collect();
        *random.pick(&others).expect("there are three nodes")
    }

    fn cut(&mut self, from: Party, to: Party, length: Millis) {
        self.network.cut(from, to);
        self.agenda.at(self.now + length, Event::Join(from, to));
    }

    /// Cuts a node off from all others after `delay`, for `length`.
    pub(super) fn isolate(&mut self, id: NodeId, clients_too: bool, delay: Millis, length: Millis) {
        let nodes = self.nodes.keys().copied().map(Party::Node);
        let clients = self.clients.keys().copied().map(Party::Client).filter(|_| clients_too);
        let others: Vec<Party> = nodes.chain(clients).filter(|other| *other != Party::Node(id)).collect();
        let from = self.now + delay;
        for other in others {
            for (one, other) in [(Party::Node(id), other), (other, Party::Node(id))] {
                self.agenda.at(from, Event::Part(one, other));
                self.agenda.at(from + length, Event::Join(one, other));
            }
        }
    }

    /// Nodes leave one after the other, and come back in another order.
    fn swizzle(&mut self, length: Millis, random: &mut Random) {
        let mut delay = 0;
        for id in self.node_ids() {
            if random.chance(600) {
                let back = delay + length / 4 + random.below(length);
                self.isolate(id, true, delay, back - delay);
                delay += random.between(50, 600);
            }
        }
    }

    pub(super) fn power_goes(&mut self, id: NodeId) -> Result<(), Violation> {
        self.crash(id, Crash::Power);
        Ok(())
    }

    /// Ends a process and plans its return. Whether there was one.
    pub(super) fn crash(&mut self, id: NodeId, crash: Crash) -> bool {
        self.crash_while(id, crash, None)
    }

    /// The same, while a chunk is being written of which a part is left.
    pub(super) fn crash_while(&mut self, id: NodeId, crash: Crash, tear: Option<ChunkId>) -> bool {
        let node = self.nodes.get_mut(&id).expect("a node");
        let runs = node.runs;
        let mut random = node.random.fork(node.life.0);
        let (cut, forgot) = node.crash(crash, tear, &mut random);
        if crash == Crash::Power {
            (node.troubles.lying, node.troubles.lied) = (0, false);
        }
        if cut.torn > 0 {
            self.report.marks.hit(Mark::TornRecordDropped);
        }
        if cut.back > 0 {
            self.report.marks.hit(Mark::DeletedBack);
        }
        if cut.forgotten > 0 || forgot {
            self.report.marks.hit(Mark::LieFound);
        }
        let back = self.now + random.between(100, 5000);
        self.agenda.at(back, Event::Start(id));
        runs
    }
}
