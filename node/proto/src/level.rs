//! Which feature level each message and command came with.
//!
//! What is newer than the level of the cluster is not asked for and never proposed: a program of the level before could not decode it. A variant that
//! is added gets its line here.

use crate::control::{ControlCommand, ControlQuery, ControlRequest};
use crate::log::{LogBatch, LogCommand};
use crate::rpc::Request;
use types::FeatureLevel;

impl ControlCommand {
    /// The level of the cluster from which on it may stand in a log.
    #[must_use]
    pub fn level(&self) -> FeatureLevel {
        if matches!(self, ControlCommand::RestNode { .. }) { FeatureLevel::RESTS } else { FeatureLevel::FIRST }
    }
}

impl ControlQuery {
    /// The level of the cluster from which on everybody can answer it.
    #[must_use]
    pub fn level(&self) -> FeatureLevel {
        if matches!(self, ControlQuery::Rests) { FeatureLevel::RESTS } else { FeatureLevel::FIRST }
    }
}

impl Request {
    /// The level of the cluster from which on everybody understands it.
    #[must_use]
    pub fn level(&self) -> FeatureLevel {
        match self {
            Request::Control(ControlRequest::Command(command)) => command.level(),
            Request::Control(ControlRequest::Query(query) | ControlRequest::StaleQuery(query)) => query.level(),
            Request::Chunk(_) | Request::Meta(_) | Request::Node(_) | Request::Snapshot(_) => FeatureLevel::FIRST,
        }
    }
}

impl LogBatch {
    /// The newest level of its commands.
    #[must_use]
    pub fn level(&self) -> FeatureLevel {
        let level = |command: &LogCommand| match command {
            LogCommand::Control(command) => command.level(),
            LogCommand::Meta(..) | LogCommand::Recover(_) => FeatureLevel::FIRST,
        };
        self.commands.iter().map(level).max().unwrap_or(FeatureLevel::FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{NodeId, Timestamp};

    #[test]
    fn an_entry_and_a_request_are_of_the_level_of_what_is_in_them() {
        let rest = ControlCommand::RestNode { node: NodeId(1), seconds: 60 };
        let old = ControlCommand::EndSession { session: types::SessionId(1) };
        let batch = |commands: &[&ControlCommand]| LogBatch {
            time: Timestamp(0),
            commands: commands.iter().map(|command| LogCommand::Control((*command).clone())).collect(),
        };
        assert_eq!((batch(&[]).level(), batch(&[&old]).level()), (FeatureLevel::FIRST, FeatureLevel::FIRST));
        assert_eq!(batch(&[&old, &rest, &old]).level(), FeatureLevel::RESTS);
        let asked = |query: ControlQuery| Request::Control(ControlRequest::Query(query)).level();
        assert_eq!((asked(ControlQuery::Map), asked(ControlQuery::Rests)), (FeatureLevel::FIRST, FeatureLevel::RESTS));
        assert_eq!(Request::Control(ControlRequest::Command(rest)).level(), FeatureLevel::RESTS);
    }
}
