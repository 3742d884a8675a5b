//! Calls to a node itself: liveness and status.

use crate::rpc::GroupError;
use serde::{Deserialize, Serialize};
use types::{DiskId, GroupId, Incarnation, LogIndex, NodeId, ReplicaId, Term};

/// What a node can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeRequest {
    /// Are you there.
    Ping,
    /// "I am alive", sent by every node to the leader of the control group.
    Heartbeat {
        /// The sender; must agree with its certificate.
        node: NodeId,
        /// Its start counter.
        incarnation: Incarnation,
    },
    /// How are you.
    Status,
    /// Who belongs to a Raft group that you lead; confirmed by a quorum.
    Members {
        /// The group.
        group: GroupId,
    },
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeReply {
    /// Here.
    Pong,
    /// The heartbeat was counted, or this node does not lead the control group.
    Heard {
        /// Whether this node leads the control group.
        leading: bool,
    },
    /// Its state.
    Status(NodeStatus),
    /// All replicas of the group, voters or not.
    Members(Result<Vec<ReplicaId>, GroupError>),
}

/// A node's view of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Who.
    pub node: NodeId,
    /// Start counter.
    pub incarnation: Incarnation,
    /// Program version.
    pub version: String,
    /// Its Raft groups.
    pub groups: Vec<GroupStatus>,
    /// Its disks.
    pub disks: Vec<DiskStatus>,
}

/// One Raft group on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Which.
    pub group: GroupId,
    /// Leader, follower, candidate or learner.
    pub role: String,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Term.
    pub term: Term,
    /// Committed up to here.
    pub commit: LogIndex,
    /// Applied up to here.
    pub applied: LogIndex,
    /// First entry still in the log.
    pub first: LogIndex,
    /// Last entry of the log.
    pub last: LogIndex,
    /// The nodes that vote in it; while they change, those before and after.
    pub voters: Vec<NodeId>,
    /// The nodes that only learn.
    pub learners: Vec<NodeId>,
    /// Its state was found to differ from what most replicas have: it answers nothing and is made anew.
    pub diverged: bool,
}

/// One disk of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Which.
    pub disk: DiskId,
    /// Its folder.
    pub path: String,
    /// Replicas on it.
    pub chunks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Free bytes of the file system.
    pub free: u64,
    /// Size of the file system.
    pub total: u64,
    /// Whether it was fenced after an error.
    pub fenced: bool,
}
