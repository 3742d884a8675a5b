//! Calls to the control group: nodes, placement map, buckets, users, sessions.

use crate::join::{Invitation, InvitationState};
use serde::{Deserialize, Serialize};
use types::{
    BucketId, DiskId, DiskState, FeatureLevel, GroupId, Incarnation, InvitationId, LogIndex, Member, MoveFault, NodeId,
    NodeMode, NodeState, OptionFault, PgEpoch, PgId, PlacementMap, PlacementOptions, PlacementRule, RuleFault, RuleId,
    SessionId, SetDigest, Timestamp,
};

/// A call to the control group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlRequest {
    /// A change. All are idempotent: where a duplicate would matter the caller chooses a nonce.
    Command(ControlCommand),
    /// A linearizable read.
    Query(ControlQuery),
    /// A read of whatever this replica has applied; may be stale. For the placement map and the node states.
    StaleQuery(ControlQuery),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlReply {
    /// To a command.
    Applied(Result<ControlOutcome, ControlRefusal>),
    /// To a query.
    Answer(ControlAnswer),
}

/// A change of the control group's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlCommand {
    /// Set the first placement map; does nothing if there is one.
    Bootstrap {
        /// The map.
        map: PlacementMap,
    },
    /// Record that a node was started or was found up or down.
    SetNodeState {
        /// The node.
        node: NodeId,
        /// Its start counter; an older one than known is ignored.
        incarnation: Incarnation,
        /// Its state.
        state: NodeState,
    },
    /// Begin a session. -> [`ControlOutcome::Session`]. A repeated call makes another one, which does no harm.
    OpenSession {
        /// What kind of process, for `sago cluster status`.
        kind: String,
    },
    /// The session lives. -> [`ControlOutcome::Done`], or refused if it was ended.
    RenewSession {
        /// The session.
        session: SessionId,
    },
    /// The session is over.
    EndSession {
        /// The session.
        session: SessionId,
    },
    /// Make a bucket. -> [`ControlOutcome::Bucket`]
    CreateBucket {
        /// Its name; S3's rules are checked here.
        name: String,
        /// Its owner.
        owner: String,
        /// Chosen at random by the caller: the same name with the same nonce is the same request.
        nonce: u128,
        /// The rule of placement of what will be written into it. Any but the default one only for operators.
        rule: RuleId,
    },
    /// Forget a bucket whose group has sealed it. Its id is never used again.
    DeleteBucket {
        /// The bucket.
        bucket: BucketId,
    },
    /// Make a user; one of that name may exist. -> [`ControlOutcome::Done`]
    CreateUser {
        /// The name: 1..=64 of `a-z A-Z 0-9 . _ @ -`.
        name: String,
    },
    /// Delete a user and its keys.
    DeleteUser {
        /// The name.
        name: String,
    },
    /// Give a user a key pair made by the caller.
    CreateKey {
        /// The pair.
        key: AccessKey,
    },
    /// Delete a key pair.
    DeleteKey {
        /// Which.
        access_key: String,
    },
    /// Begin to move one copy of a settled placement group. Grows its epoch. Only for nodes.
    BeginMove {
        /// The group.
        pg: PgId,
        /// Its epoch, as the planner saw it.
        epoch: PgEpoch,
        /// The member that is to leave.
        from: Member,
        /// The disk that is to take its place.
        to: Member,
    },
    /// Every member has stopped to take puts of the epoch before the move, or cannot take any. Only for nodes.
    PassBarrier {
        /// The group.
        pg: PgId,
        /// The epoch of the move.
        epoch: PgEpoch,
    },
    /// The new member holds what the old ones hold. Only for nodes.
    NoteSynced {
        /// The group.
        pg: PgId,
        /// The epoch of the move.
        epoch: PgEpoch,
        /// Chunks compared.
        chunks: u64,
        /// What they are.
        digest: SetDigest,
    },
    /// The new member takes the place of the old one. Grows the epoch. Only for nodes.
    CommitMove {
        /// The group.
        pg: PgId,
        /// The epoch of the move.
        epoch: PgEpoch,
    },
    /// Give a move up. Grows the epoch. Only for nodes.
    AbortMove {
        /// The group.
        pg: PgId,
        /// The epoch of the move.
        epoch: PgEpoch,
    },
    /// Say what is wanted of a node. A removed one stays so.
    SetNodeMode {
        /// The node.
        node: NodeId,
        /// What is wanted.
        mode: NodeMode,
    },
    /// Say what may be done with a disk. A failed one stays so.
    SetDiskState {
        /// The disk.
        disk: DiskId,
        /// What may be done.
        state: DiskState,
    },
    /// Say what kind of disk it is and how much it takes.
    SetDiskWeight {
        /// The disk.
        disk: DiskId,
        /// Its class.
        class: String,
        /// Its weight.
        weight: u32,
    },
    /// Change how copies are placed and moved.
    SetPlacement {
        /// All settings.
        options: PlacementOptions,
    },
    /// Remember a deleted bucket again, under its own or another name; its group must be told to unseal it afterwards. Only for
    /// operators and nodes. -> [`ControlOutcome::Bucket`]
    UndeleteBucket {
        /// The bucket.
        bucket: BucketId,
        /// Its name from now on.
        name: String,
    },
    /// End a session if it was not renewed since; said by the leader's node after a lease of silence. Only for nodes.
    ExpireSession {
        /// The session.
        session: SessionId,
        /// Its last renewal, as the leader has seen it stand for a whole lease.
        renewed: Timestamp,
    },
    /// Change how garbage is collected; what is `None` stays. -> [`ControlOutcome::Done`]
    SetGarbage {
        /// Whether it is collected at all.
        on: Option<bool>,
        /// Nanoseconds that readers may go on reading what was deleted, at most [`GarbageOptions::GRACE_MAX`].
        grace: Option<i64>,
        /// Let nodes delete the orphans that their breaker has held back.
        lift: bool,
    },
    /// Say who shall vote in a Raft group; its leader changes the members accordingly. -> [`ControlOutcome::Done`]
    PlaceVoters {
        /// The group.
        group: GroupId,
        /// An odd number of known nodes in distinct failure domains.
        wanted: Vec<NodeId>,
    },
    /// Record who votes in a Raft group, as its leader knows it. What is older than what is known changes nothing.
    RecordVoters {
        /// The group.
        group: GroupId,
        /// An entry of the group's log at which they were these.
        at: LogIndex,
        /// The voters; while they change, those before and after.
        voters: Vec<NodeId>,
    },
    /// Record what a node's program can do. Only for nodes, each for itself.
    SpeakLevel {
        /// The node.
        node: NodeId,
        /// The newest level it can do.
        level: FeatureLevel,
    },
    /// Have the cluster go to a level that all its nodes can do; there is no way back. Only for operators.
    Finalize {
        /// The level.
        level: FeatureLevel,
    },
    /// Invite a node. Takes the place of an invitation of the same node that was not used. Only for operators. -> [`ControlOutcome::Done`]
    Invite {
        /// What is said of it.
        invitation: Invitation,
    },
    /// Take an invitation back; one that is not there is taken back already. A node that was admitted stays. Only for operators.
    RevokeInvitation {
        /// Which.
        id: InvitationId,
    },
    /// Claim an invitation for a key: the first one that does has it. Only for nodes, who speak for the joiner.
    ClaimInvitation {
        /// The one in the joiner's certificate.
        id: InvitationId,
        /// See [`InvitationState::Claimed`].
        request: Vec<u8>,
        /// See [`InvitationState::Claimed`].
        proof: [u8; 32],
    },
    /// Take a node into the map, as its invitation says. It is down until it is heard. Only for operators.
    AdmitNode {
        /// The invitation.
        id: InvitationId,
        /// The request that was certified: the one it was claimed with.
        request: Vec<u8>,
        /// The certificate, PEM.
        cert: String,
    },
    /// A node has one more disk. It counts as broken until the node says that it is well. The same again changes nothing. Only for operators.
    AddDisk {
        /// The node.
        node: NodeId,
        /// The disk, new to the cluster.
        disk: DiskId,
        /// Its class; empty for none.
        class: String,
    },
    /// A node may be away for so long: it is down meanwhile, and not out. Takes the place of a rest that it has. From level
    /// [`FeatureLevel::RESTS`] on. Only for operators. -> [`ControlOutcome::Done`]
    RestNode {
        /// The node.
        node: NodeId,
        /// For so long from now on, at most [`REST_SECONDS_MAX`]; 0 ends its rest.
        seconds: u32,
    },
    /// Make a rule of placement, with groups and slots of its own. One of that name that asks for the same is the one. Refused if the cluster cannot
    /// give what it asks for. Only for operators. -> [`ControlOutcome::Rule`]
    AddRule {
        /// Its name.
        name: String,
        /// What it asks for.
        rule: PlacementRule,
        /// The members of each of its groups, chosen by the caller; they have to be as far apart and on such disks as the rule asks for.
        groups: Vec<Vec<Member>>,
    },
    /// Change what a rule asks for; its groups move accordingly. Refused if the cluster cannot give it. Only for operators.
    SetRule {
        /// Which.
        id: RuleId,
        /// What it asks for from now on.
        rule: PlacementRule,
    },
    /// Take a rule away that no bucket has. Its groups, with the chunks that were written by it, are the default rule's from then on. Only for
    /// operators.
    RemoveRule {
        /// Which; never the default one.
        id: RuleId,
    },
    /// Give a bucket another rule. What is written from then on follows it; what is there stays. Only for operators. -> [`ControlOutcome::Bucket`]
    SetBucketRule {
        /// The bucket.
        bucket: BucketId,
        /// Its rule.
        rule: RuleId,
    },
}

/// Longest rest of a node: a week. Its copies are missing all the while, and a second loss in that time is one too many.
pub const REST_SECONDS_MAX: u32 = 7 * 24 * 3600;

/// How garbage is collected in this cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GarbageOptions {
    /// Whether it is collected at all.
    pub on: bool,
    /// Nanoseconds that readers may go on reading what was deleted.
    pub grace: i64,
    /// Counts how often an operator has lifted the breakers of the nodes.
    pub lifted: u64,
}

impl GarbageOptions {
    /// A day: longer than any download, and a day to notice that something is wrong.
    pub const GRACE: i64 = 24 * 3600 * Timestamp::SECOND;
    /// A year.
    pub const GRACE_MAX: i64 = 365 * Self::GRACE;
}

impl Default for GarbageOptions {
    fn default() -> Self {
        GarbageOptions { on: true, grace: Self::GRACE, lifted: 0 }
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlOutcome {
    /// Done.
    Done,
    /// The new session.
    Session(SessionId),
    /// The bucket; `created` is false if it was there and is the caller's own.
    Bucket(BucketInfo),
    /// The rule.
    Rule(RuleId),
}

/// Why a command was not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ControlRefusal {
    /// The bucket's name is taken by the same owner.
    #[error("the bucket exists and is yours")]
    BucketExistsYours,
    /// The bucket's name is taken by another.
    #[error("the bucket exists")]
    BucketExists,
    /// Not a bucket name.
    #[error("invalid bucket name")]
    InvalidBucketName,
    /// No such bucket.
    #[error("no such bucket")]
    NoSuchBucket,
    /// No such user.
    #[error("no such user")]
    NoSuchUser,
    /// A name that does not follow the rules.
    #[error("invalid name")]
    InvalidName,
    /// The access key is taken by another user or with another secret.
    #[error("the access key exists")]
    KeyExists,
    /// The session was ended or never was.
    #[error("no such session")]
    NoSuchSession,
    /// The cluster has no placement map yet.
    #[error("the cluster is not bootstrapped")]
    NotBootstrapped,
    /// Too many of something.
    #[error("limit reached")]
    Limit,
    /// No such node.
    #[error("no such node")]
    NoSuchNode,
    /// No such disk.
    #[error("no such disk")]
    NoSuchDisk,
    /// No such placement group.
    #[error("no such placement group")]
    NoSuchGroup,
    /// The placement group has moved on.
    #[error("stale epoch, the group is at {current}")]
    StaleEpoch {
        /// Where it is.
        current: PgEpoch,
    },
    /// The placement group is not in the state that the step needs.
    #[error("the move is not at this step")]
    WrongPhase,
    /// The copy may not move there.
    #[error("the copy may not move there: {0}")]
    Move(MoveFault),
    /// Copies or voters are still on it.
    #[error("copies or voters are still on it")]
    InUse,
    /// It was removed, or has failed, for good.
    #[error("it is gone for good")]
    Gone,
    /// A setting outside its range.
    #[error("setting out of range")]
    Setting,
    /// No such Raft group.
    #[error("no such raft group")]
    NoSuchRaftGroup,
    /// Voters that no group can have.
    #[error("voters are an odd number of known nodes, at most seven, in distinct failure domains")]
    BadVoters,
    /// The node's id, or one of its disks, is in the map already.
    #[error("the node or one of its disks is known already")]
    NodeExists,
    /// No such invitation, or its time is over.
    #[error("no such invitation")]
    NoSuchInvitation,
    /// The invitation was used with another key.
    #[error("the invitation was used")]
    InvitationUsed,
    /// A node cannot do that level, or has not said so.
    #[error("{node} does level {speaks}")]
    NodeBehind {
        /// The node.
        node: NodeId,
        /// What it can do.
        speaks: FeatureLevel,
    },
    /// The cluster is not at the level that the command came with: some node could not read it.
    #[error(
        "it needs feature level {needs}, and the cluster is at {at}: once every node runs a program that can do it, `sago cluster finalize`"
    )]
    Level {
        /// The level that it came with.
        needs: FeatureLevel,
        /// The level of the cluster.
        at: FeatureLevel,
    },
    /// No such rule of placement.
    #[error("no such rule of placement")]
    NoSuchRule,
    /// A rule of that name asks for something else.
    #[error("there is a rule of that name that asks for something else")]
    RuleExists,
    /// The rule cannot be had.
    #[error("the rule cannot be had: {0}")]
    Rule(RuleFault),
    /// Groups that are not as the rule asks for, or too many: the cluster has changed since they were chosen.
    #[error("the groups are not as the rule asks for, the cluster may have changed: try again")]
    RuleGroups,
}

impl From<MoveFault> for ControlRefusal {
    fn from(fault: MoveFault) -> Self {
        ControlRefusal::Move(fault)
    }
}

impl From<RuleFault> for ControlRefusal {
    fn from(fault: RuleFault) -> Self {
        ControlRefusal::Rule(fault)
    }
}

impl From<OptionFault> for ControlRefusal {
    fn from(_: OptionFault) -> Self {
        ControlRefusal::Setting
    }
}

/// A bucket as the control group knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketInfo {
    /// Its id.
    pub id: BucketId,
    /// Its name.
    pub name: String,
    /// The metadata group that holds all of it.
    pub group: GroupId,
    /// Its owner.
    pub owner: String,
    /// When it was made.
    pub created: Timestamp,
    /// The rule of placement of what is written into it, as far as the placement map does not know a later one.
    pub rule: RuleId,
}

/// A key pair for S3.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: String,
    /// Whose it is.
    pub user: String,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey")
            .field("access_key", &self.access_key)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A read of the control group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlQuery {
    /// The placement map with the nodes' states. -> [`ControlAnswer::Map`]
    Map,
    /// A bucket by name. -> [`ControlAnswer::Bucket`]
    Bucket {
        /// The name.
        name: String,
    },
    /// All buckets, by name. -> [`ControlAnswer::Buckets`]
    Buckets,
    /// A key pair. -> [`ControlAnswer::Key`]
    Key {
        /// Which.
        access_key: String,
    },
    /// All key pairs' public halves with their users. -> [`ControlAnswer::Keys`]
    Keys,
    /// All users. -> [`ControlAnswer::Users`]
    Users,
    /// All open sessions. -> [`ControlAnswer::Sessions`]
    Sessions,
    /// Buckets that were deleted and can be had back, by id. -> [`ControlAnswer::DeletedBuckets`]
    DeletedBuckets,
    /// The ids of all open sessions, and the last one that was handed out. -> [`ControlAnswer::OpenSessions`]
    OpenSessions,
    /// How garbage is collected. -> [`ControlAnswer::Garbage`]
    Garbage,
    /// All invitations. -> [`ControlAnswer::Invitations`]
    Invitations,
    /// Nodes that may be away. From level [`FeatureLevel::RESTS`] on. -> [`ControlAnswer::Rests`]
    Rests,
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlAnswer {
    /// The map, if there is one.
    Map(Option<Box<PlacementMap>>),
    /// The bucket, if there is one.
    Bucket(Option<BucketInfo>),
    /// Buckets.
    Buckets(Vec<BucketInfo>),
    /// The key pair, if there is one.
    Key(Option<AccessKey>),
    /// Access key and user.
    Keys(Vec<(String, String)>),
    /// Names.
    Users(Vec<String>),
    /// Session, kind, last renewal.
    Sessions(Vec<(SessionId, String, Timestamp)>),
    /// Buckets as they were, and when each was deleted.
    DeletedBuckets(Vec<(BucketInfo, Timestamp)>),
    /// Every other session up to the last one is over.
    OpenSessions {
        /// In ascending order.
        open: Vec<SessionId>,
        /// The last one that was handed out.
        last: SessionId,
    },
    /// How garbage is collected.
    Garbage(GarbageOptions),
    /// All invitations and how far they have come, by id.
    Invitations(Vec<(Invitation, InvitationState)>),
    /// By node, and until when by the group's time; some may be over.
    Rests(Vec<(NodeId, Timestamp)>),
}
