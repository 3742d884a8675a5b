//! What stands in the Raft log: many commands under one stamp.

use crate::{control::ControlCommand, meta::Command};
use serde::{Deserialize, Serialize};
use types::{RequestId, Timestamp};

/// One log entry: commands that were proposed together. Each is applied or refused on its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogBatch {
    /// The proposer's wall time; `apply` reads no other clock and never lets it run backwards.
    pub time: Timestamp,
    /// The commands, in order.
    pub commands: Vec<LogCommand>,
}

/// One command of a log entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LogCommand {
    /// For a metadata group. Without an id the command must be idempotent by itself.
    Meta(Option<RequestId>, Command),
    /// For the control group; these are idempotent by themselves.
    Control(ControlCommand),
}
