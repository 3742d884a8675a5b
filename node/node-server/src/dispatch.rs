//! What peers ask, handed to whom it concerns, after a look at what their certificate allows.
//!
//! The transport refuses what a role may never do (snapshots, deletes and heartbeats of clients). Here are the rules that need a look
//! into a command: states of nodes, the first map, moves, repaired chunks and expiry are for nodes only; what ends the way back from the trash, and
//! the settings and locks that protect it, what steers the copies and their collector, and invitations, for operators. Nodes that were removed are
//! not heard at all.

use crate::join::Door;
use crate::liveness::{Liveness, Verdict};
use crate::mandate::Mandate;
use crate::status::Status;
use async_trait::async_trait;
use bytes::Bytes;
use chunk_server::ChunkService;
use meta_server::MetaServer;
use mistakes::{Mistake, is_planted};
use parking_lot::Mutex;
use proto::control::{ControlAnswer, ControlCommand, ControlQuery, ControlReply, ControlRequest};
use proto::join::JoinError;
use proto::meta::{Command, MetaOp, MetaReply, MetaRequest};
use proto::node::{Ailment, NodeReply, NodeRequest};
use proto::raft_wire::RaftBatch;
use proto::rpc::{GroupError, Rejection};
use proto::{Reply, Request};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use transport::{Handler, PeerIdentity};
use types::{DiskId, DiskState, FeatureLevel, GroupId, Incarnation, NodeId, NodeMode, PlacementMap, RuleId};

/// Longer than any client waits; a call must come to an end even if its group never does.
const CALL_MAX: Duration = Duration::from_secs(30);

/// Answers for this node.
pub(crate) struct Dispatch {
    pub(crate) meta: Arc<MetaServer>,
    pub(crate) chunks: Arc<ChunkService>,
    pub(crate) status: Arc<Status>,
    pub(crate) liveness: Mutex<Liveness>,
    /// The map that moves are driven by.
    pub(crate) mandate: Mandate,
    pub(crate) door: Door,
    /// The newest feature level that this node does.
    pub(crate) level: FeatureLevel,
}

impl Dispatch {
    pub(crate) fn heard(&self, node: NodeId, incarnation: Incarnation, ailing: Vec<(DiskId, Ailment)>) {
        self.liveness.lock().heard(node, incarnation, ailing);
    }

    /// What nodes say of their disks and the map does not show yet.
    pub(crate) fn disk_verdicts(&self, map: &PlacementMap) -> Vec<(DiskId, DiskState)> {
        self.liveness.lock().disks(map)
    }

    pub(crate) fn tick(&self, map: &PlacementMap) -> Vec<Verdict> {
        let resting = self.resting(map);
        let mut liveness = self.liveness.lock();
        liveness.let_rest(resting);
        liveness.tick(self.leads_control(), map)
    }

    /// Nodes that an operator lets be away, by this node's clock.
    fn resting(&self, map: &PlacementMap) -> BTreeSet<NodeId> {
        if map.level < FeatureLevel::RESTS || !self.leads_control() {
            return BTreeSet::new();
        }
        let Ok(ControlAnswer::Rests(rests)) = self.meta.control_query(&ControlQuery::Rests) else {
            return BTreeSet::new();
        };
        let now = crate::clock::now();
        rests.into_iter().filter(|(_, until)| now < *until).map(|(node, _)| node).collect()
    }

    /// How long this leader has heard nothing of a node, at least.
    pub(crate) fn silence(&self, node: NodeId) -> Duration {
        self.liveness.lock().silence(node)
    }

    pub(crate) fn leads_control(&self) -> bool {
        self.meta.is_leader(GroupId::CONTROL)
    }

    /// The map that a node has to know for its lease to count; `None` if this node grants no leases.
    pub(crate) fn lease_map(&self) -> Option<u64> {
        self.mandate.map_version().filter(|_| self.leads_control())
    }

    async fn meta_call(&self, request: MetaRequest) -> Result<MetaReply, GroupError> {
        let late = if matches!(request.op, MetaOp::Command(..)) { GroupError::Unknown } else { GroupError::Busy };
        timeout(CALL_MAX, self.meta.meta(request)).await.unwrap_or(Err(late))
    }

    async fn control_call(&self, request: ControlRequest) -> Result<ControlReply, GroupError> {
        let late = if matches!(request, ControlRequest::Command(_)) { GroupError::Unknown } else { GroupError::Busy };
        let map = matches!(request, ControlRequest::StaleQuery(ControlQuery::Map));
        match timeout(CALL_MAX, self.meta.control(request)).await.unwrap_or(Err(late)) {
            // Without a replica of the control group, or with one that was let go, this node is told the map by one that has it, and tells
            // it on.
            Err(GroupError::NotHere) if map => self.heard_map(None).ok_or(GroupError::NotHere),
            Ok(ControlReply::Answer(ControlAnswer::Map(own))) if map => {
                let version = own.as_ref().map(|own| own.version);
                Ok(self.heard_map(version).unwrap_or(ControlReply::Answer(ControlAnswer::Map(own))))
            }
            answer => answer,
        }
    }

    /// The map that was heard of, if it is newer than that.
    fn heard_map(&self, than: Option<u64>) -> Option<ControlReply> {
        let map = self.door.peers.heard_map().filter(|map| Some(map.version) > than)?;
        Some(ControlReply::Answer(ControlAnswer::Map(Some(Box::new((*map).clone())))))
    }

    /// A node that was removed has a certificate for years to come and no say any more.
    fn is_removed(&self, node: NodeId) -> bool {
        let removed = self.door.peers.map().node(node).is_some_and(|entry| entry.mode == NodeMode::Removed);
        removed && !is_planted(Mistake::RemovedNodeHeard)
    }

    async fn node_call(&self, peer: &PeerIdentity, request: NodeRequest) -> NodeReply {
        match request {
            NodeRequest::Join { request, proof } => NodeReply::Join(match peer.invitation() {
                Some(invitation) => self.door.knock(invitation, request, proof).await,
                None => Err(JoinError::Void),
            }),
            NodeRequest::Ping => NodeReply::Pong,
            NodeRequest::Heartbeat { node, incarnation, ailing } => {
                self.heard(node, incarnation, ailing);
                let map_version = self.lease_map().unwrap_or_default();
                NodeReply::Heard { leading: self.leads_control(), map_version }
            }
            NodeRequest::Status => NodeReply::Status(self.status.node()),
            NodeRequest::Scrub => NodeReply::Scrubbing(self.chunks.scrub_now()),
            NodeRequest::Clock => NodeReply::Clock(crate::clock::now()),
            NodeRequest::Members { group } => {
                let members = timeout(CALL_MAX, self.meta.members(group)).await.unwrap_or(Err(GroupError::Busy));
                NodeReply::Members(members.map(|members| members.all().collect()))
            }
        }
    }
}

#[async_trait]
impl Handler for Dispatch {
    async fn call(&self, peer: &PeerIdentity, request: Request, body: Bytes) -> (Reply, Bytes) {
        if peer.node().is_some_and(|node| self.is_removed(node)) {
            return (Reply::Rejected(Rejection::Removed), Bytes::new());
        }
        if request.level() > self.level {
            // As a program that has never heard of it answers.
            return (Reply::Rejected(Rejection::Malformed), Bytes::new());
        }
        if !allowed(peer, &request) {
            return (Reply::Rejected(Rejection::Forbidden), Bytes::new());
        }
        match request {
            Request::Chunk(request) => {
                let (reply, body) = self.chunks.handle(peer.is_node(), request, body).await;
                (Reply::Chunk(reply), body)
            }
            Request::Meta(request) => (Reply::Meta(self.meta_call(request).await), Bytes::new()),
            Request::Control(request) => (Reply::Control(self.control_call(request).await), Bytes::new()),
            Request::Node(request) => (Reply::Node(self.node_call(peer, request).await), Bytes::new()),
            Request::Snapshot(request) => match peer.node() {
                Some(node) => {
                    let (reply, body) = self.meta.snapshot(node, request).await;
                    (Reply::Snapshot(reply), body)
                }
                // They are for nodes only, which was seen above.
                None => (Reply::Rejected(Rejection::Forbidden), Bytes::new()),
            },
        }
    }

    fn raft(&self, from: NodeId, batch: RaftBatch) {
        if !self.is_removed(from) {
            self.meta.raft(from, batch);
        }
    }
}

/// Whether the peer's role allows what is inside the request.
fn allowed(peer: &PeerIdentity, request: &Request) -> bool {
    let nodes_only = match request {
        Request::Control(ControlRequest::Command(command)) => {
            matches!(
                command,
                ControlCommand::Bootstrap { .. }
                    | ControlCommand::SetNodeState { .. }
                    | ControlCommand::BeginMove { .. }
                    | ControlCommand::PassBarrier { .. }
                    | ControlCommand::NoteSynced { .. }
                    | ControlCommand::CommitMove { .. }
                    | ControlCommand::AbortMove { .. }
                    | ControlCommand::ExpireSession { .. }
                    | ControlCommand::RecordVoters { .. }
                    | ControlCommand::ClaimInvitation { .. }
                    | ControlCommand::SpeakLevel { .. }
            )
        }
        Request::Meta(request) => matches!(
            &request.op,
            MetaOp::Command(_, Command::ClearUnderReplicated { .. } | Command::ExpireTrash { .. })
        ),
        Request::Snapshot(_) => true,
        Request::Control(_) | Request::Chunk(_) | Request::Node(_) => false,
    };
    (!nodes_only || peer.is_node()) && (!operators_only(request) || peer.may_operate())
}

/// Whether a request is for operators (and the cluster itself): a client, however it was led astray, must not be able to make a
/// deletion final, nor to move copies off the disks that have them, nor to let anybody in.
fn operators_only(request: &Request) -> bool {
    match request {
        Request::Control(ControlRequest::Command(command)) => {
            matches!(
                command,
                ControlCommand::UndeleteBucket { .. }
                    | ControlCommand::PlaceVoters { .. }
                    | ControlCommand::Invite { .. }
                    | ControlCommand::RevokeInvitation { .. }
                    | ControlCommand::AdmitNode { .. }
                    | ControlCommand::Finalize { .. }
                    | ControlCommand::SetNodeMode { .. }
                    | ControlCommand::SetDiskState { .. }
                    | ControlCommand::SetDiskWeight { .. }
                    | ControlCommand::SetPlacement { .. }
                    | ControlCommand::SetGarbage { .. }
                    | ControlCommand::AddDisk { .. }
                    | ControlCommand::RestNode { .. }
                    | ControlCommand::AddRule { .. }
                    | ControlCommand::SetRule { .. }
                    | ControlCommand::RemoveRule { .. }
                    | ControlCommand::SetBucketRule { .. }
            ) || matches!(command, ControlCommand::CreateBucket { rule, .. } if *rule != RuleId::DEFAULT)
        }
        Request::Meta(request) => matches!(
            &request.op,
            MetaOp::Command(
                _,
                Command::PurgeTrash { .. }
                    | Command::SetBucketOptions { .. }
                    | Command::LiftBreaker { .. }
                    | Command::UnsealBucket { .. }
                    | Command::ReleaseHold
            )
        ),
        Request::Control(_) | Request::Chunk(_) | Request::Node(_) | Request::Snapshot(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::trash::{BucketOptions, NameTaken};
    use transport::Role;
    use types::{BucketId, InvitationId, NodeState, PlacementOptions, PlacementRule, RequestId, SessionId};

    #[test]
    fn clients_do_not_speak_for_nodes() {
        let client = PeerIdentity { role: Role::Client("tool".to_owned()) };
        let node = PeerIdentity { role: Role::Node(NodeId(1)) };
        let id = RequestId { session: SessionId(1), seq: 1, low: 1 };
        let state =
            ControlCommand::SetNodeState { node: NodeId(1), incarnation: Incarnation(1), state: NodeState::Down };
        let commit = ControlCommand::CommitMove { pg: types::PgId(0), epoch: types::PgEpoch(1) };
        let claim = ControlCommand::ClaimInvitation { id: InvitationId([1; 16]), request: vec![1], proof: [0; 32] };
        let expire = ControlCommand::ExpireSession { session: SessionId(1), renewed: types::Timestamp(0) };
        let clear = MetaOp::Command(id, Command::ClearUnderReplicated { chunks: Vec::new() });
        for request in [
            Request::Control(ControlRequest::Command(state)),
            Request::Control(ControlRequest::Command(commit)),
            Request::Control(ControlRequest::Command(ControlCommand::Bootstrap { map: PlacementMap::default() })),
            Request::Control(ControlRequest::Command(expire)),
            Request::Control(ControlRequest::Command(claim)),
            Request::Meta(MetaRequest { group: GroupId(1), op: clear }),
        ] {
            assert!(allowed(&node, &request) && !allowed(&client, &request), "{request:?}");
        }
        let (bucket, entries) = (BucketId(1), Vec::new());
        let expire = MetaOp::Command(id, Command::ExpireTrash { bucket, entries, now: types::Timestamp(0) });
        let operator = PeerIdentity { role: Role::Operator("kim".to_owned()) };
        let expire = Request::Meta(MetaRequest { group: GroupId(1), op: expire });
        assert!(allowed(&node, &expire) && !allowed(&client, &expire) && !allowed(&operator, &expire));
        assert!(allowed(&client, &Request::Control(ControlRequest::Query(ControlQuery::Map))));
        assert!(allowed(&client, &Request::Node(NodeRequest::Status)));
    }

    #[test]
    fn only_operators_make_a_deletion_final_or_steer_copies() {
        let client = PeerIdentity { role: Role::Client("tool".to_owned()) };
        let operator = PeerIdentity { role: Role::Operator("kim".to_owned()) };
        let bucket = BucketId(1);
        let request = |command| {
            let id = RequestId { session: SessionId(1), seq: 1, low: 1 };
            Request::Meta(MetaRequest { group: GroupId(1), op: MetaOp::Command(id, command) })
        };
        for command in [
            Command::PurgeTrash { bucket, entries: Vec::new() },
            Command::SetBucketOptions { bucket, options: BucketOptions::default() },
            Command::LiftBreaker { bucket },
            Command::UnsealBucket { bucket },
            Command::ReleaseHold,
        ] {
            let request = request(command);
            assert!(allowed(&operator, &request) && !allowed(&client, &request), "{request:?}");
        }
        let create = |rule| ControlCommand::CreateBucket { name: "abc".into(), owner: "kim".into(), nonce: 1, rule };
        for command in [
            ControlCommand::UndeleteBucket { bucket, name: "books".into() },
            ControlCommand::SetNodeMode { node: NodeId(1), mode: NodeMode::Draining },
            ControlCommand::SetDiskState { disk: DiskId([1; 16]), state: DiskState::Failed },
            ControlCommand::SetDiskWeight { disk: DiskId([1; 16]), class: "ssd".into(), weight: 1 },
            ControlCommand::SetPlacement { options: PlacementOptions::default() },
            ControlCommand::SetGarbage { on: Some(true), grace: Some(0), lift: true },
            ControlCommand::AdmitNode { id: InvitationId([1; 16]), request: Vec::new(), cert: String::new() },
            ControlCommand::Finalize { level: types::FeatureLevel(1) },
            ControlCommand::AddDisk { node: NodeId(1), disk: DiskId([9; 16]), class: String::new() },
            ControlCommand::RestNode { node: NodeId(1), seconds: 60 },
            ControlCommand::AddRule { name: "fast".into(), rule: PlacementRule::default(), groups: Vec::new() },
            ControlCommand::SetRule { id: RuleId::DEFAULT, rule: PlacementRule::default() },
            ControlCommand::RemoveRule { id: RuleId(1) },
            ControlCommand::SetBucketRule { bucket, rule: RuleId(1) },
            create(RuleId(1)),
        ] {
            let request = Request::Control(ControlRequest::Command(command));
            assert!(allowed(&operator, &request) && !allowed(&client, &request), "{request:?}");
        }
        assert!(allowed(&client, &Request::Control(ControlRequest::Command(create(RuleId::DEFAULT)))));
        let (entries, to) = (Vec::new(), Bytes::new());
        let restore = Command::RestoreTrash { bucket, entries, to, taken: NameTaken::Refuse };
        assert!(allowed(&client, &request(restore)));
    }
}
