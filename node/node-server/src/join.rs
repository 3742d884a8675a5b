//! The door: machines that were invited knock here, and this node speaks for them to the control group.
//!
//! It decides nothing. Which invitation the joiner holds is in its certificate; that a request is the joiner's own the operator sees by the
//! proof; who was first the log says.

use crate::heartbeat::LastHeard;
use crate::peers::Peers;
use meta_server::MetaServer;
use proto::control::{ControlAnswer, ControlCommand, ControlQuery, ControlRefusal, ControlReply, ControlRequest};
use proto::join::{Invitation, InvitationState, JoinAnswer, JoinError};
use proto::{Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use types::{GroupId, InvitationId};

/// How long the control group may take for one step; the joiner asks again.
const CALL_MAX: Duration = Duration::from_secs(2);
/// Without a leader of the control group for so long there is nobody to ask.
const LEADER_SILENT_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Door {
    pub(crate) meta: Arc<MetaServer>,
    pub(crate) peers: Peers,
    pub(crate) last_heard: Arc<LastHeard>,
}

impl Door {
    /// Claims the invitation, if nobody has, and says how far it has come.
    pub(crate) async fn knock(
        &self,
        id: InvitationId,
        request: Vec<u8>,
        proof: [u8; 32],
    ) -> Result<JoinAnswer, JoinError> {
        if request.is_empty() || request.len() > Invitation::REQUEST_BYTES_MAX {
            return Err(JoinError::Request);
        }
        let Some(ControlReply::Answer(ControlAnswer::Invitations(known))) =
            self.control(ControlRequest::Query(ControlQuery::Invitations)).await
        else {
            return Err(JoinError::Unavailable);
        };
        let known = known.into_iter().find(|(invitation, _)| invitation.id == id);
        match known.ok_or(JoinError::Void)? {
            (_, InvitationState::Open) => self.claim(id, request, proof).await,
            (_, InvitationState::Claimed { request: by, .. }) if by == request => Ok(JoinAnswer::Waiting),
            (invitation, InvitationState::Admitted { request: by, cert }) if by == request => {
                let map = self.control(ControlRequest::Query(ControlQuery::Map)).await;
                let Some(ControlReply::Answer(ControlAnswer::Map(Some(map)))) = map else {
                    return Err(JoinError::Unavailable);
                };
                Ok(JoinAnswer::Admitted { node: invitation.node, cert, map })
            }
            (_, InvitationState::Claimed { .. } | InvitationState::Admitted { .. }) => Err(JoinError::Used),
        }
    }

    async fn claim(&self, id: InvitationId, request: Vec<u8>, proof: [u8; 32]) -> Result<JoinAnswer, JoinError> {
        let claim = ControlCommand::ClaimInvitation { id, request, proof };
        match self.control(ControlRequest::Command(claim)).await {
            Some(ControlReply::Applied(Ok(_))) => Ok(JoinAnswer::Waiting),
            Some(ControlReply::Applied(Err(ControlRefusal::InvitationUsed))) => Err(JoinError::Used),
            Some(ControlReply::Applied(Err(ControlRefusal::NoSuchInvitation))) => Err(JoinError::Void),
            Some(ControlReply::Applied(Err(_))) => Err(JoinError::Request),
            Some(ControlReply::Answer(_)) | None => Err(JoinError::Unavailable),
        }
    }

    async fn control(&self, request: ControlRequest) -> Option<ControlReply> {
        if self.meta.is_leader(GroupId::CONTROL) {
            return timeout(CALL_MAX, self.meta.control(request)).await.ok()?.ok();
        }
        let leader = self.last_heard.leader(LEADER_SILENT_MAX)?;
        match self.peers.call(leader, &Request::Control(request), CALL_MAX).await? {
            Reply::Control(reply) => reply.ok(),
            _ => None,
        }
    }
}
