//! What stands in the Raft log: many commands under one stamp.

use crate::{control::ControlCommand, meta::Command};
use serde::{Deserialize, Serialize};
use types::{GroupId, NodeId, RequestId, Timestamp};

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
    /// For any group: this state is the truth from here on, though the cluster may have done more. Nobody can ask for it; it is written
    /// into a log that nobody has open, by `sago recover`, or carried out on rows that no node has yet, by `sago meta import`.
    Recover(Recovery),
}

/// What a group is told whose state may be older than what the cluster has done. Each group takes its part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Recovery {
    /// For the control group: who votes from now on in the groups that are recovered together with it.
    pub voters: Vec<(GroupId, Vec<NodeId>)>,
    /// For the control group: nodes that are gone for good. They are removed, whatever they held.
    pub lost: Vec<NodeId>,
}

/// Encodes a [`LogBatch`] of commands that were encoded one by one, so that no command is encoded twice.
#[must_use]
pub fn encode_batch(time: Timestamp, commands: &[Vec<u8>]) -> Vec<u8> {
    // Postcard writes a sequence as its length and then the elements.
    let mut out = crate::encode(&(time, commands.len()));
    out.reserve(commands.iter().map(Vec::len).sum());
    commands.iter().for_each(|command| out.extend_from_slice(command));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{BucketId, SessionId};

    #[test]
    fn a_batch_of_encoded_commands_is_an_encoded_batch() {
        let id = RequestId { session: SessionId(1), seq: 300, low: 2 };
        let commands: Vec<_> = (0..200)
            .map(|bucket| LogCommand::Meta(Some(id), Command::EnsureBucket { bucket: BucketId(bucket) }))
            .collect();
        let encoded: Vec<_> = commands.iter().map(crate::encode).collect();
        let batch = LogBatch { time: Timestamp(-7), commands };
        assert_eq!(encode_batch(batch.time, &encoded), crate::encode(&batch));
        assert_eq!(crate::decode(&encode_batch(batch.time, &encoded)), Ok(batch));
    }
}
