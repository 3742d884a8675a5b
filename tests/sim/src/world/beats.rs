//! Heartbeats, leases of nodes and the way of the placement map; and what operators say.

use super::World;
use crate::event::{Event, Life, Millis};
use crate::judge::Violation;
use crate::message::{Message, Party, Reply, Request, Waiter};
use crate::replica::Turn;
use proto::control::{ControlCommand, ControlRequest};
use std::sync::Arc;
use types::{GroupId, Incarnation, NodeId, PlacementMap};

/// A heartbeat that is not answered by then is lost.
const ANSWER_MAX: Millis = 1_000;
/// How often a node looks for a newer map.
const LOOK: (Millis, Millis) = (150, 350);
/// How soon it does when it is shown that there is one.
const LOOK_SOON: Millis = 5;
/// Calls for a map that are remembered.
const LOOKS_MAX: usize = 8;
/// Pause before an operator tries again, and how often.
const OPERATE_PAUSE: Millis = 400;
pub(super) const OPERATE_TRIES: u32 = 30;
/// Weights that operators give disks.
const WEIGHTS: [u32; 4] = [50, 100, 100, 200];

impl World<'_> {
    /// A node says that it is alive; and looks at who else is, if it leads the control group.
    pub(super) fn beat(&mut self, id: NodeId, life: Life) -> Result<(), Violation> {
        let (now, knobs) = (self.now, self.script.knobs);
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.life != life {
            return Ok(());
        }
        let next = now + node.random.between(knobs.beat * 9 / 10, knobs.beat * 11 / 10 + 1);
        self.agenda.at(next, Event::Beat(id, life));
        node.beats.retain(|_, sent| now - *sent <= ANSWER_MAX);
        let (incarnation, ails, map) = (node.incarnation(), node.troubles.dead, node.map.clone());
        for voter in map.voters(GroupId::CONTROL).iter().copied() {
            let node = self.nodes.get_mut(&id).expect("a node");
            if voter == id {
                let answer = self.heard(id, id, incarnation, ails);
                self.leased(id, now, &answer);
                continue;
            }
            let number = node.next_call();
            node.beats.insert(number, now);
            let message = Message::Request(number, Request::Heartbeat(incarnation, ails));
            self.send(Party::Node(id), Party::Node(voter), message);
        }
        let node = self.nodes.get_mut(&id).expect("a node");
        let Some(replica) = node.replica(GroupId::CONTROL) else { return Ok(()) };
        let (leads, Some(map)) = (replica.leads().is_some(), replica.map().cloned()) else { return Ok(()) };
        let out = u64::from(map.options.out_after_seconds) * 1_000 / knobs.beat;
        let mut commands = node.liveness.tick(leads, &map, out);
        commands.extend(node.liveness.disks(&map));
        self.record(id, commands)
    }

    /// A node hears the heartbeat of another, or its own.
    pub(super) fn heard(&mut self, id: NodeId, from: NodeId, incarnation: Incarnation, ails: bool) -> Reply {
        let node = self.nodes.get_mut(&id).expect("a node");
        node.liveness.heard(from, incarnation, ails);
        Reply::Heard(node.decides_by())
    }

    /// A heartbeat sent at a moment was answered; by the leader it was a lease.
    pub(super) fn leased(&mut self, id: NodeId, sent: Millis, answer: &Reply) {
        let Reply::Heard(Some(decided_by)) = answer else { return };
        if self.now - sent > ANSWER_MAX {
            return;
        }
        let until = sent + self.script.knobs.hold;
        let node = self.nodes.get_mut(&id).expect("a node");
        let known = if node.informed { node.map.version } else { 0 };
        if node.lease.renew(known, *decided_by, until) {
            self.look_soon(id);
        }
    }

    /// A node looks for a newer map: in its own replica of the control group, if that hears a leader; else at a voter.
    pub(super) fn look_for_map(&mut self, id: NodeId, life: Life, again: bool) {
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.life != life {
            return;
        }
        if again {
            let next = self.now + node.random.between(LOOK.0, LOOK.1);
            self.agenda.at(next, Event::Look(id, life, true));
        }
        let own = node.replica(GroupId::CONTROL).filter(|replica| replica.votes_under_a_leader());
        if let Some(map) = own.and_then(|replica| replica.map()).cloned() {
            node.hears(&map);
            return;
        }
        // Those that have the map; if one has not answered, those that are told it as well: the voters may all have gone.
        let voters = node.map.voters(GroupId::CONTROL);
        let silent = !node.looks.is_empty();
        let others = voters.iter().copied().chain(node.map.nodes.iter().map(|entry| entry.id).filter(|_| silent));
        let others: Vec<NodeId> = others.filter(|other| *other != id).collect();
        let Some(target) = node.random.pick(&others).copied() else { return };
        let number = node.next_call();
        node.looks.insert(number);
        while node.looks.len() > LOOKS_MAX {
            node.looks.pop_first();
        }
        self.send(Party::Node(id), Party::Node(target), Message::Request(number, Request::Map));
    }

    /// A node was shown that there is a newer map than it knows.
    pub(super) fn look_soon(&mut self, id: NodeId) {
        let life = self.nodes[&id].life;
        self.agenda.at(self.now + LOOK_SOON, Event::Look(id, life, false));
    }

    /// A node tells the map it knows, if it knows one.
    pub(super) fn tell_map(&mut self, id: NodeId, waiter: Waiter) {
        let node = &self.nodes[&id];
        if node.informed {
            let map: Arc<PlacementMap> = node.map.clone();
            self.reply(id, waiter, Reply::Map(map));
        }
    }

    /// An operator gives the control group a command; again a little later if nobody leads.
    pub(super) fn operate(&mut self, command: ControlCommand, left: u32) -> Result<(), Violation> {
        if let Some(leader) = self.leader(GroupId::CONTROL) {
            return self.record(leader, vec![command]);
        }
        if left > 0 {
            self.agenda.at(self.now + OPERATE_PAUSE, Event::Operate(command, left - 1));
        }
        Ok(())
    }

    /// An operator says that a disk takes more or less than others.
    pub(super) fn reweigh(&mut self) -> Result<(), Violation> {
        let map = self.map.clone();
        let Some(entry) = self.random.pick(&map.nodes) else { return Ok(()) };
        let weight = *self.random.pick(&WEIGHTS).expect("four");
        let Some(disk) = entry.disks.first() else { return Ok(()) };
        self.operate(ControlCommand::SetDiskWeight { disk: disk.id, class: disk.class.clone(), weight }, OPERATE_TRIES)
    }

    /// The first map is set, if this node leads the control group and there is none.
    pub(super) fn bootstrap(&mut self, id: NodeId) -> Result<(), Violation> {
        let node = &self.nodes[&id];
        let none = node.replica(GroupId::CONTROL).is_some_and(|replica| replica.map().is_none());
        if !none {
            return Ok(());
        }
        let map = self.first.clone();
        let number = self.nodes.get_mut(&id).expect("a node").next_call();
        let command = ControlRequest::Command(ControlCommand::Bootstrap { map: (*map).clone() });
        let _ = self.control(id, (Party::Node(id), number), command);
        self.perform(id, GroupId::CONTROL, Turn::default())
    }
}
