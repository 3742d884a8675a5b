//! The one envelope of all calls: a [`Request`] with an optional raw body, answered by a [`Reply`] with one.
//!
//! Bulk bytes (chunk data, snapshot pieces) travel as the body, never inside the envelope, so that they are not copied
//! through the codec.

use crate::{chunk, control, meta, node, raft_wire};
use serde::{Deserialize, Serialize};

/// A call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// To the chunk service.
    Chunk(chunk::ChunkRequest),
    /// To a metadata group.
    Meta(meta::MetaRequest),
    /// To the control group.
    Control(control::ControlRequest),
    /// To a node itself: liveness and status.
    Node(node::NodeRequest),
    /// Pieces of a state snapshot; only between nodes.
    Snapshot(raft_wire::SnapshotRequest),
}

/// The answer to a call, of the same kind as the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// From the chunk service.
    Chunk(Result<chunk::ChunkReply, chunk::ChunkError>),
    /// From a metadata group.
    Meta(Result<meta::MetaReply, GroupError>),
    /// From the control group.
    Control(Result<control::ControlReply, GroupError>),
    /// From the node.
    Node(node::NodeReply),
    /// A piece of a snapshot.
    Snapshot(Result<raft_wire::SnapshotReply, raft_wire::SnapshotError>),
    /// The request was not understood or not allowed for this peer.
    Rejected(Rejection),
}

/// Why a node would not look at a request at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The frame or its content could not be decoded.
    #[error("malformed request")]
    Malformed,
    /// The peer's certificate does not allow this call.
    #[error("the certificate's role may not do this")]
    Forbidden,
    /// Protocol version outside what this node speaks.
    #[error("protocol version {theirs} is not spoken here (this node speaks {ours})")]
    Version {
        /// The version in the frame.
        theirs: u16,
        /// The newest version spoken here.
        ours: u16,
    },
    /// Too many calls at once; nothing was done.
    #[error("overloaded")]
    Busy,
    /// The calling node was removed from the cluster. That is for ever: it should end.
    #[error("this node was removed from the cluster, for ever")]
    Removed,
}

/// Why a Raft group did not take a request; nothing is known to have been applied unless it says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum GroupError {
    /// This node does not lead the group.
    #[error("not the leader")]
    NotLeader {
        /// Who does, as far as this node knows.
        leader: Option<types::NodeId>,
    },
    /// No replica of the group is here.
    #[error("no replica of the group on this node")]
    NotHere,
    /// Too many proposals wait; nothing was done.
    #[error("busy")]
    Busy,
    /// It was proposed, but the outcome did not become known (leadership moved, deadline passed). It may yet be applied.
    #[error("outcome unknown")]
    Unknown,
    /// The command is larger than a log entry may be.
    #[error("command too large")]
    TooLarge,
    /// The leader has not heard that the cluster is at the feature level of the command; nothing was done. If it is, the leader hears it soon.
    #[error("it needs feature level {needs}; the cluster is at {at}, as far as the leader knows")]
    Level {
        /// The level of the command.
        needs: types::FeatureLevel,
        /// What the leader knows.
        at: types::FeatureLevel,
    },
}
