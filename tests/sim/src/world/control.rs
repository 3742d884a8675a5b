//! Calls to the control group, and its look at the leases of sessions.

use super::World;
use proto::control::{ControlCommand, ControlReply, ControlRequest};
use types::Timestamp;

use crate::event::{Event, Millis};

/// Looks in one lease.
const LOOKS: Millis = 10;

impl World<'_> {
    /// The wall time by a clock that is right.
    fn time(&self) -> Timestamp {
        Timestamp((self.now * self.script.knobs.pace) as i64 * 1_000_000)
    }

    pub(super) fn control(&mut self, request: ControlRequest) -> ControlReply {
        match request {
            ControlRequest::Query(query) | ControlRequest::StaleQuery(query) => {
                ControlReply::Answer(self.control.query(&query))
            }
            ControlRequest::Command(command) => {
                let ends = match &command {
                    ControlCommand::EndSession { session } | ControlCommand::ExpireSession { session, .. } => {
                        Some(*session)
                    }
                    _ => None,
                };
                let reply = self.control.command(self.time(), command);
                // One that was renewed meanwhile lives on.
                if let Some(session) = ends.filter(|session| !self.control.open().contains(session)) {
                    self.judge.session_ended(session);
                }
                ControlReply::Applied(reply)
            }
        }
    }

    pub(super) fn look_at_leases(&mut self) {
        let lease = self.script.knobs.lease;
        for (session, renewed) in self.control.silent(self.now, lease) {
            self.control(ControlRequest::Command(ControlCommand::ExpireSession { session, renewed }));
        }
        self.agenda.at(self.now + lease / LOOKS, Event::Leases);
    }

    /// All clients give their sessions back.
    pub(super) fn end_sessions(&mut self) {
        self.clients.values_mut().for_each(|client| client.leaves());
        for session in self.control.open() {
            self.control(ControlRequest::Command(ControlCommand::EndSession { session }));
        }
    }
}
