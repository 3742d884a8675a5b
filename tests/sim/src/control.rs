//! The control group as far as sessions and garbage go: the real state machine of meta-core, in one place that never fails.
//!
//! Whoever talks to it talks through a node, so that calls and answers are late or lost. Its leader's look at leases is that of
//! `node-server`'s `leases.rs`.

use crate::event::Millis;
use meta_core::memory::MemoryKv;
use meta_core::{Applied, apply, control_query};
use proto::control::{ControlAnswer, ControlCommand, ControlOutcome, ControlQuery, ControlRefusal};
use proto::log::{LogBatch, LogCommand};
use std::collections::BTreeMap;
use types::{GroupId, SessionId, Timestamp};

/// The control group.
#[derive(Default)]
pub struct Control {
    rows: MemoryKv,
    /// Since when each session's last renewal has been seen to stand.
    seen: BTreeMap<SessionId, (Timestamp, Millis)>,
}

impl Control {
    /// Carries out a command.
    ///
    /// # Errors
    /// As the state machine has it.
    ///
    /// # Panics
    /// If the state machine contradicts itself.
    pub fn command(&mut self, time: Timestamp, command: ControlCommand) -> Result<ControlOutcome, ControlRefusal> {
        let batch = LogBatch { time, commands: vec![LogCommand::Control(command)] };
        let mut applied = apply(&mut self.rows, GroupId::CONTROL, &batch).expect("a store in memory");
        match applied.pop() {
            Some(Applied::Control(result)) => result,
            other => unreachable!("a control command came to {other:?}"),
        }
    }

    /// Answers a query.
    ///
    /// # Panics
    /// If the state machine contradicts itself.
    #[must_use]
    pub fn query(&self, query: &ControlQuery) -> ControlAnswer {
        control_query(&self.rows, query).expect("a store in memory")
    }

    /// The open sessions.
    #[must_use]
    pub fn open(&self) -> Vec<SessionId> {
        match self.query(&ControlQuery::OpenSessions) {
            ControlAnswer::OpenSessions { open, .. } => open,
            _ => Vec::new(),
        }
    }

    /// Sessions whose renewal has stood for a lease, each with that renewal.
    pub fn silent(&mut self, now: Millis, lease: Millis) -> Vec<(SessionId, Timestamp)> {
        let ControlAnswer::Sessions(open) = self.query(&ControlQuery::Sessions) else { return Vec::new() };
        let before = std::mem::take(&mut self.seen);
        let mut silent = Vec::new();
        for (session, _, renewed) in open {
            let since = before.get(&session).filter(|(seen, _)| *seen == renewed).map_or(now, |(_, since)| *since);
            self.seen.insert(session, (renewed, since));
            if now - since >= lease {
                silent.push((session, renewed));
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_not_renewed_for_a_lease_is_silent() {
        let mut control = Control::default();
        let open = || ControlCommand::OpenSession { kind: "test".to_owned() };
        for stamp in [1, 2] {
            control.command(Timestamp(stamp), open()).expect("a session");
        }
        assert_eq!(control.silent(0, 100), []);
        control.command(Timestamp(3), ControlCommand::RenewSession { session: SessionId(2) }).expect("it is open");
        assert_eq!(control.silent(99, 100), []);
        assert_eq!(control.silent(100, 100), [(SessionId(1), Timestamp(1))]);
        let expire = ControlCommand::ExpireSession { session: SessionId(1), renewed: Timestamp(1) };
        control.command(Timestamp(4), expire).expect("it is open");
        assert_eq!(control.open(), [SessionId(2)]);
    }
}
