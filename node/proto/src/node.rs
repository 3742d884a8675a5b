//! Calls to a node itself: liveness and status.

use crate::join::{JoinAnswer, JoinError};
use crate::meta::GarbageStatus;
use crate::rpc::GroupError;
use serde::{Deserialize, Serialize};
use types::{ChunkId, DiskId, GroupId, Incarnation, LogIndex, NodeId, ReplicaId, Term, Timestamp};

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
        /// Its disks that are not well; all others are.
        ailing: Vec<(DiskId, Ailment)>,
    },
    /// How are you.
    Status,
    /// Look at every chunk now, as fast as the disks give them; answered by [`NodeReply::Scrubbing`].
    Scrub,
    /// What time is it.
    Clock,
    /// Who belongs to a Raft group that you lead; confirmed by a quorum.
    Members {
        /// The group.
        group: GroupId,
    },
    /// Let me in. Only for those who were invited; repeating it is how they wait.
    Join {
        /// A request for a certificate: PKCS #10, DER.
        request: Vec<u8>,
        /// Shows that the secret of the token is known.
        proof: [u8; 32],
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
        /// The version of the placement map that it decides by: who does not know it has no lease. 0 if it grants none yet.
        map_version: u64,
    },
    /// Its state.
    Status(NodeStatus),
    /// One entry for each disk: done once its [`ScrubStatus::passes`] is this number or more.
    Scrubbing(Vec<(DiskId, u64)>),
    /// The time of its clock.
    Clock(Timestamp),
    /// All replicas of the group, voters or not.
    Members(Result<Vec<ReplicaId>, GroupError>),
    /// Whether a joiner is let in.
    Join(Result<JoinAnswer, JoinError>),
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
    /// Chunks whose replica here is damaged and of which no other member has an intact one; the first few.
    pub lost: Vec<ChunkId>,
    /// How many there are.
    pub lost_count: u64,
    /// Garbage of the groups it leads.
    pub garbage: Vec<(GroupId, GarbageStatus)>,
    /// What its last look for orphans has found.
    pub orphans: OrphanStatus,
}

/// How a node's look for orphans goes, since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct OrphanStatus {
    /// Passes over all chunks that came to an end.
    pub passes: u64,
    /// Orphans deleted.
    pub deleted: u64,
    /// Orphans found by the last pass and held back by the breaker.
    pub held: u64,
    /// Chunks that nobody judged in the last pass.
    pub unjudged: u64,
}

/// One Raft group on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Which.
    pub group: GroupId,
    /// Leader, follower, candidate or learner; [`GroupStatus::QUARANTINED`] for a voter that does not vote.
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

impl GroupStatus {
    /// The role of a replica that may have forgotten promises and does not vote before it knows better.
    pub const QUARANTINED: &str = "quarantined";

    /// Whether it is in quarantine: the group must not lose another voter now.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.role == Self::QUARANTINED
    }
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
    /// Bytes of segments that nothing uses: what compaction can give back.
    pub garbage: u64,
    /// Damaged replicas that wait to be written anew.
    pub quarantined: u64,
    /// How far the scrub is.
    pub scrub: ScrubStatus,
    /// How full its file system is.
    pub fullness: Fullness,
}

/// What keeps a disk from taking chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ailment {
    /// It returned errors and takes no requests.
    Fenced,
    /// It was full, and has not come back below the share at which disks take copies again.
    Full,
}

/// How full a file system is. The shares are settings of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fullness {
    /// There is room.
    #[default]
    Normal,
    /// It is time to add space.
    Near,
    /// It takes no copies from other nodes.
    Backfill,
    /// It takes no chunks.
    Full,
}

/// The scrub of one disk. Times are seconds since 1970 by the node's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// Passes that came to their end.
    pub passes: u64,
    /// When the last of them did; 0: none did.
    pub finished: u64,
    /// When the present one began; 0: none has.
    pub begun: u64,
    /// Chunks looked at in it.
    pub chunks: u64,
    /// Bytes read in it.
    pub bytes: u64,
    /// Damaged replicas found in it.
    pub damaged: u64,
}
