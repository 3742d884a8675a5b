//! The control group: calls to it, and its leader's look at the leases of sessions.

use super::World;
use crate::event::{Event, Life, Millis};
use crate::judge::Violation;
use crate::message::{Party, Reply, Waiter};
use crate::replica::{Question, Turn};
use proto::control::{ControlAnswer, ControlCommand, ControlQuery, ControlRequest};
use proto::log::LogCommand;
use types::{GroupId, NodeId};

/// Looks in one lease.
const LOOKS: Millis = 10;

impl World<'_> {
    /// A call to the control group; an answer at once means that it was not taken.
    pub(super) fn control(&mut self, id: NodeId, waiter: Waiter, request: ControlRequest) -> Option<Reply> {
        let node = self.nodes.get_mut(&id)?;
        let steady = node.steady(self.now);
        let Some(replica) = node.replica_mut(GroupId::CONTROL) else { return Some(Reply::NotLeader(None)) };
        match request {
            ControlRequest::Query(query) | ControlRequest::StaleQuery(query) => {
                replica.query(waiter, Question::Control(query), steady)
            }
            ControlRequest::Command(command) => replica.command(waiter, LogCommand::Control(command)),
        }
    }

    /// A look of a node at the leases of sessions, if it leads; and at what was set for the collection of garbage.
    pub(super) fn look_at_leases(&mut self, id: NodeId, life: Life) -> Result<(), Violation> {
        let knobs = self.script.knobs;
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.life != life {
            return Ok(());
        }
        self.agenda.at(now + knobs.lease / LOOKS, Event::Leases(id, life));
        let leads = node.replica(GroupId::CONTROL).filter(|replica| replica.leads().is_some());
        let Some(asked) = leads
            .map(|replica| (replica.ask_control(&ControlQuery::Sessions), replica.ask_control(&ControlQuery::Garbage)))
        else {
            node.leases = crate::control::Leases::default();
            return Ok(());
        };
        let mut commands = Vec::new();
        if let (ControlAnswer::Sessions(open), ControlAnswer::Garbage(options)) = asked {
            let silent = node.leases.look(now, knobs.lease, &open).into_iter();
            commands.extend(silent.map(|(session, renewed)| ControlCommand::ExpireSession { session, renewed }));
            let grace = (knobs.grace * knobs.pace) as i64 * 1_000_000;
            if options.grace != grace {
                commands.push(ControlCommand::SetGarbage { on: Some(true), grace: Some(grace), lift: false });
            }
        }
        self.bootstrap(id)?;
        self.record(id, commands)
    }

    /// Has the control group carry out commands of its leader. What is lost is tried again at the next look.
    pub(super) fn record(&mut self, id: NodeId, commands: Vec<ControlCommand>) -> Result<(), Violation> {
        for command in commands {
            let number = self.nodes.get_mut(&id).expect("a node").next_call();
            let _ = self.control(id, (Party::Node(id), number), ControlRequest::Command(command));
        }
        self.perform(id, GroupId::CONTROL, Turn::default())
    }

    /// A replica of the control group has applied more: the judge hears which sessions are over.
    pub(super) fn hear_of_sessions(&mut self, id: NodeId) {
        let Some(replica) = self.nodes[&id].replica(GroupId::CONTROL) else { return };
        if let ControlAnswer::OpenSessions { open, last } = replica.ask_control(&ControlQuery::OpenSessions) {
            let at = replica.state().1.index;
            self.judge.sessions(at, &open, last);
        }
    }

    /// All sessions that are open end, as far as there is a leader who hears of it.
    pub(super) fn end_sessions(&mut self) -> Result<(), Violation> {
        let leader = self.leader(GroupId::CONTROL);
        let Some(replica) = leader.and_then(|id| self.nodes[&id].replica(GroupId::CONTROL)) else { return Ok(()) };
        let ControlAnswer::OpenSessions { open, .. } = replica.ask_control(&ControlQuery::OpenSessions) else {
            return Ok(());
        };
        let end = |session| ControlCommand::EndSession { session };
        leader.map_or(Ok(()), |id| self.record(id, open.into_iter().map(end).collect()))
    }
}
