//! Faults as they come, and the atlas of what is damaged: the last good copy of a chunk is never touched, so that any loss is a mistake.

use super::World;
use crate::chunks::Flush;
use crate::disk::Crash;
use crate::event::{Event, Millis};
use crate::fault::{Fault, PlannedFault};
use crate::judge::Violation;
use crate::marks::Mark;
use crate::message::Party;
use crate::network::Weather;
use crate::random::Random;
use types::{ChunkId, NodeId};

/// How far a wall clock jumps: a day, either way.
const JUMP_MAX: u64 = 86_400_000;

impl World<'_> {
    pub(super) fn fault(&mut self, place: usize) -> Result<(), Violation> {
        let planned = self.script.faults[place];
        if self.calm {
            return Ok(());
        }
        if self.make(planned)? {
            self.count(planned.fault);
        }
        Ok(())
    }

    fn count(&mut self, fault: Fault) {
        *self.report.faults.entry(fault).or_default() += 1;
    }

    fn node_ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Makes a fault; `false` if there was nothing to break.
    fn make(&mut self, planned: PlannedFault) -> Result<bool, Violation> {
        let PlannedFault { fault, node, length, dice, .. } = planned;
        let id = NodeId(node + 1);
        let mut random = Random::new(dice);
        let until = self.now + length;
        let troubles = &mut self.nodes.get_mut(&id).expect("a node").troubles;
        match fault {
            Fault::Kill => return Ok(self.crash(id, Crash::Kill)),
            Fault::Power => return Ok(self.crash(id, Crash::Power)),
            Fault::PowerAll => {
                let ids = self.node_ids();
                return Ok(ids.into_iter().filter(|id| self.crash(*id, Crash::Power)).count() > 0);
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
            Fault::Rot => return Ok(self.rot(id, &mut random)),
            Fault::Torn => troubles.tears_next = true,
            Fault::Wipe => {
                self.crash(id, Crash::Power);
                self.nodes.get_mut(&id).expect("a node").wipe();
            }
        }
        Ok(true)
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
    fn isolate(&mut self, id: NodeId, clients_too: bool, delay: Millis, length: Millis) {
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

    /// Rots one copy of a committed chunk, and sometimes a second one of the same: whoever makes copies again then finds a bad one first
    /// as often as a good one.
    fn rot(&mut self, id: NodeId, random: &mut Random) -> bool {
        // Half of the time one that was just committed: what a writer claimed too early may not be there yet.
        let recent = random.chance(500);
        let all = self.judge.committed();
        let some = &all[if recent { all.len().saturating_sub(3) } else { 0 }..];
        let there = |chunk: &ChunkId| self.nodes[&id].chunks.has(*chunk) && self.may_damage(*chunk, id);
        let chunks: Vec<ChunkId> = some.iter().map(|chunk| chunk.id).filter(there).collect();
        let Some(chunk) = random.pick(&chunks).copied() else { return false };
        let made = self.rot_copy(chunk, id, random);
        if made && random.chance(400) {
            let members = self.map.group_of(chunk.slot()).map_or(&[][..], |group| &group.members[..]);
            let others: Vec<NodeId> = members.iter().map(|member| member.node).filter(|node| *node != id).collect();
            let other = random.pick(&others).copied();
            if let Some(other) = other.filter(|other| self.may_damage(chunk, *other)) {
                self.rot_copy(chunk, other, random);
            }
        }
        made
    }

    fn rot_copy(&mut self, chunk: ChunkId, id: NodeId, random: &mut Random) -> bool {
        let made = self.nodes.get_mut(&id).expect("a node").chunks.rot(chunk, random);
        if made {
            self.damaged.insert((chunk, id));
        }
        made
    }

    /// Whether a node's copy of a chunk may be damaged: another one that its writer claimed is not. Of a chunk that is not committed
    /// yet, another must be durable already.
    fn may_damage(&self, chunk: ChunkId, id: NodeId) -> bool {
        let Some(group) = self.map.group_of(chunk.slot()) else { return false };
        match self.judge.missing(chunk) {
            Some(missing) => group.members.iter().enumerate().any(|(i, member)| {
                missing >> i & 1 == 0 && member.node != id && !self.damaged.contains(&(chunk, member.node))
            }),
            None => group.members.iter().any(|member| {
                member.node != id
                    && !self.damaged.contains(&(chunk, member.node))
                    && self.nodes[&member.node].chunks.has_good(chunk)
            }),
        }
    }

    /// What becomes of a chunk whose flush ends now.
    pub(super) fn flush_of(&mut self, id: NodeId, chunk: ChunkId, lies: bool) -> Flush {
        if lies {
            return Flush::Lied;
        }
        let troubles = &self.nodes[&id].troubles;
        let (loses, misdirects) = (troubles.loses_next, troubles.misdirects_next);
        if !(loses || misdirects) || !self.may_damage(chunk, id) {
            return Flush::Honest;
        }
        let node = self.nodes.get_mut(&id).expect("a node");
        if loses {
            node.troubles.loses_next = false;
            return Flush::Lost;
        }
        let dice = node.random.next();
        match node.chunks.any(dice).filter(|victim| *victim != chunk) {
            Some(victim) if self.may_damage(victim, id) => {
                self.nodes.get_mut(&id).expect("a node").troubles.misdirects_next = false;
                Flush::Misdirected(victim)
            }
            _ => Flush::Honest,
        }
    }
}
