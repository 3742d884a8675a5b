//! Invitations: a machine becomes a node by one that was given for it, once.
//!
//! ```text
//! open --claimed by a key--> claimed --admitted by the operator--> admitted, the node is in the map
//!   `-------- void when its time is over or it is taken back ---------'
//! ```
//! Which of two joiners with one token comes first is decided by the order of the log.

use super::{Change, InvitationRow, Step};
use crate::key::Table;
use crate::key::control::InvitationKey;
use crate::kv::{KvError, KvRead};
use crate::row;
use proto::control::{ControlAnswer, ControlOutcome, ControlRefusal};
use proto::join::{Invitation, InvitationState};
use std::collections::BTreeSet;
use types::{InvitationId, NODE_DISKS_MAX, NodeEntry, NodeId, NodeState, PlacementMap};

/// Invitations that are not over. Each is an operator's own act.
const INVITATIONS_MAX: usize = 64;
/// Nodes of a cluster, removed ones among them: they all stand in the map.
const NODES_MAX: usize = 1024;
/// Bytes of an address, and of a failure domain.
const NAME_BYTES_MAX: usize = 255;

impl Change<'_> {
    pub(super) fn invite(&mut self, invitation: &Invitation) -> Step<ControlOutcome> {
        let map = self.map()?;
        let life = invitation.expires.0.saturating_sub(self.now.0);
        if !(1..=Invitation::LIFE_MAX).contains(&life) {
            return Err(ControlRefusal::Setting.into());
        }
        may_come(&map, invitation)?;
        if let Some(known) = self.read(&InvitationKey(invitation.id))? {
            let same = known.invitation == *invitation;
            return if same { Ok(ControlOutcome::Done) } else { Err(ControlRefusal::InvitationUsed.into()) };
        }
        let mut left = 0;
        for (key, value) in super::table(&self.rows, Table::Invitation)? {
            let other = row::decode::<InvitationKey>(&key, &value)?;
            let unused = matches!(other.state, InvitationState::Open | InvitationState::Claimed { .. });
            if other.invitation.expires <= self.now || unused && other.invitation.node == invitation.node {
                self.remove(&InvitationKey(other.invitation.id));
            } else {
                left += 1;
            }
        }
        if left >= INVITATIONS_MAX || map.nodes.len() >= NODES_MAX {
            return Err(ControlRefusal::Limit.into());
        }
        let row = InvitationRow { invitation: invitation.clone(), state: InvitationState::Open };
        self.write(&InvitationKey(invitation.id), &row);
        Ok(ControlOutcome::Done)
    }

    pub(super) fn revoke_invitation(&mut self, id: InvitationId) -> Step<ControlOutcome> {
        if self.read(&InvitationKey(id))?.is_some() {
            self.remove(&InvitationKey(id));
        }
        Ok(ControlOutcome::Done)
    }

    pub(super) fn claim_invitation(
        &mut self,
        id: InvitationId,
        request: &[u8],
        proof: [u8; 32],
    ) -> Step<ControlOutcome> {
        if request.is_empty() || request.len() > Invitation::REQUEST_BYTES_MAX {
            return Err(ControlRefusal::InvalidName.into());
        }
        let mut row = self.invitation(id)?;
        match &row.state {
            InvitationState::Open => {}
            InvitationState::Claimed { request: by, .. } | InvitationState::Admitted { request: by, .. } => {
                let same = by == request;
                return if same { Ok(ControlOutcome::Done) } else { Err(ControlRefusal::InvitationUsed.into()) };
            }
        }
        row.state = InvitationState::Claimed { request: request.to_vec(), proof };
        self.write(&InvitationKey(id), &row);
        Ok(ControlOutcome::Done)
    }

    pub(super) fn admit_node(&mut self, id: InvitationId, request: &[u8], cert: &str) -> Step<ControlOutcome> {
        if cert.len() > Invitation::CERT_BYTES_MAX {
            return Err(ControlRefusal::InvalidName.into());
        }
        let InvitationRow { invitation, state } = self.invitation(id)?;
        match state {
            InvitationState::Claimed { request: by, .. } if by == request => {}
            InvitationState::Admitted { request: by, .. } if by == request => return Ok(ControlOutcome::Done),
            InvitationState::Open | InvitationState::Claimed { .. } | InvitationState::Admitted { .. } => {
                return Err(ControlRefusal::InvitationUsed.into());
            }
        }
        let mut map = self.map()?;
        may_come(&map, &invitation)?;
        let Invitation { node, addr, domain, disks, .. } = invitation.clone();
        let entry = NodeEntry { state: NodeState::Down, ..NodeEntry::new(node, addr, domain, disks) };
        let at = map.nodes.partition_point(|other| other.id < node);
        map.nodes.insert(at, entry);
        self.set_map(map);
        let state = InvitationState::Admitted { request: request.to_vec(), cert: cert.to_owned() };
        self.write(&InvitationKey(id), &InvitationRow { invitation, state });
        Ok(ControlOutcome::Done)
    }

    /// One whose time is not over.
    fn invitation(&self, id: InvitationId) -> Step<InvitationRow> {
        let row = self.read(&InvitationKey(id))?.filter(|row| self.now < row.invitation.expires);
        Ok(row.ok_or(ControlRefusal::NoSuchInvitation)?)
    }
}

/// Whether the map can take the node in: its id and its disks are new and all that is said of it is within bounds.
fn may_come(map: &PlacementMap, invitation: &Invitation) -> Result<(), ControlRefusal> {
    let Invitation { node, addr, domain, disks, .. } = invitation;
    let text = |text: &str| (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    let unique: BTreeSet<_> = disks.iter().collect();
    if node.0 == 0
        || node.0 >= NodeId::LIMIT
        || !text(addr)
        || !text(domain)
        || disks.is_empty()
        || disks.len() > NODE_DISKS_MAX
        || unique.len() != disks.len()
    {
        return Err(ControlRefusal::InvalidName);
    }
    let known = |entry: &NodeEntry| entry.id == *node || entry.disks.iter().any(|disk| unique.contains(&disk.id));
    if map.nodes.iter().any(known) { Err(ControlRefusal::NodeExists) } else { Ok(()) }
}

/// All of them. Those that are over stay until the next one is given.
pub(super) fn all(kv: &dyn KvRead) -> Result<ControlAnswer, KvError> {
    let rows = super::table(kv, Table::Invitation)?;
    let rows = rows.iter().map(|(key, value)| row::decode::<InvitationKey>(key, value));
    let rows = rows.map(|row| row.map(|row| (row.invitation, row.state)));
    Ok(ControlAnswer::Invitations(rows.collect::<Result<_, KvError>>()?))
}
