//! Which feature level each message and command came with.
//!
//! What is newer than the level of the cluster is not asked for and never proposed: a program of the level before could not decode it. A variant that
//! is added gets its line here.

use crate::control::{ControlCommand, ControlQuery, ControlRequest};
use crate::log::{LogBatch, LogCommand};
use crate::meta::{Command, MetaOp, Query};
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

impl Command {
    /// The level of the cluster from which on it may stand in a log.
    #[must_use]
    pub fn level(&self) -> FeatureLevel {
        if matches!(self, Command::PutRecords { .. }) { FeatureLevel::RECORDS } else { FeatureLevel::FIRST }
    }
}

impl Query {
    /// The level of the cluster from which on everybody can answer it.
    #[must_use]
    pub fn level(&self) -> FeatureLevel {
        match self {
            Query::Records { .. } | Query::ScanRecords { .. } => FeatureLevel::RECORDS,
            _ => FeatureLevel::FIRST,
        }
    }
}

impl MetaOp {
    /// The level of the cluster from which on everybody understands it.
    #[must_use]
    pub fn level(&self) -> FeatureLevel {
        match self {
            MetaOp::Command(_, command) => command.level(),
            MetaOp::Query(query) | MetaOp::StaleQuery(query) => query.level(),
        }
    }
}

impl Request {
    /// The level of the cluster from which on everybody understands it.
    #[must_use]
    pub fn level(&self) -> FeatureLevel {
        match self {
            Request::Control(ControlRequest::Command(command)) => command.level(),
            Request::Control(ControlRequest::Query(query) | ControlRequest::StaleQuery(query)) => query.level(),
            Request::Meta(request) => request.op.level(),
            Request::Chunk(_) | Request::Node(_) | Request::Snapshot(_) => FeatureLevel::FIRST,
        }
    }
}

impl LogCommand {
    /// The level of the cluster from which on it may stand in a log.
    #[must_use]
    pub fn level(&self) -> FeatureLevel {
        match self {
            LogCommand::Meta(_, command) => command.level(),
            LogCommand::Control(command) => command.level(),
            LogCommand::Recover(_) => FeatureLevel::FIRST,
        }
    }
}

impl LogBatch {
    /// The newest level of its commands.
    #[must_use]
    pub fn level(&self) -> FeatureLevel {
        self.commands.iter().map(LogCommand::level).max().unwrap_or(FeatureLevel::FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::MetaRequest;
    use types::{BucketId, GroupId, NodeId, RequestId, Timestamp};

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

    #[test]
    fn what_comes_with_records_is_of_their_level() {
        let bucket = BucketId(1);
        let (put, old) = (Command::PutRecords { bucket, changes: Vec::new() }, Command::EnsureBucket { bucket });
        let commands = [&old, &put].map(|command| LogCommand::Meta(None, command.clone())).to_vec();
        assert_eq!(LogBatch { time: Timestamp(0), commands }.level(), FeatureLevel::RECORDS);
        let asked = |op| Request::Meta(MetaRequest { group: GroupId(1), op }).level();
        let id = RequestId { session: types::SessionId(1), seq: 1, low: 1 };
        assert_eq!(
            (asked(MetaOp::Command(id, put)), asked(MetaOp::Command(id, old))),
            (FeatureLevel::RECORDS, FeatureLevel::FIRST)
        );
        let records = || Query::Records { bucket, keys: Vec::new() };
        assert_eq!(
            (asked(MetaOp::Query(records())), asked(MetaOp::StaleQuery(records()))),
            (FeatureLevel::RECORDS, FeatureLevel::RECORDS)
        );
        assert_eq!(asked(MetaOp::Query(Query::Usage { bucket })), FeatureLevel::FIRST);
    }
}
