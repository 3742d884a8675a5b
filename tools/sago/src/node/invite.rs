//! The operator's side of a join: the token, and the certificate for whoever shows that it has it.

use crate::cluster::OPERATOR_FOLDER;
use crate::config::{ClientFile, NodeAddress, TokenFile};
use crate::connect::{Session, connect_with};
use crate::copies;
use crate::exit::{Done, Failure, Kind};
use crate::when::Length;
use gateway_core::StoreConfig;
use proto::control::{ControlAnswer, ControlCommand, ControlQuery};
use proto::join::{Invitation, InvitationState};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::sleep;
use transport::{ClusterCa, Role, join_proof};
use types::{DiskId, InvitationId, NodeId, NodeMode, NodeState, PlacementMap, Timestamp};

/// Between two looks at what waits for.
const LOOK: Duration = Duration::from_millis(500);
/// What a token's life may be, seconds: an hour less what clocks may differ.
const LIFE_SECONDS: std::ops::RangeInclusive<u64> = 60..=3300;
/// Nodes that a token names.
const PEERS_MAX: usize = 16;

/// A node that is to come.
pub struct NewComer {
    /// Its id.
    pub id: u64,
    /// `host:port` of its QUIC endpoint.
    pub addr: String,
    /// Its failure domain.
    pub domain: String,
    /// How many disks it has.
    pub disks: u16,
}

/// The folder that `sago cluster init` made: the authority's key, and the way to the cluster as an operator.
pub struct Site {
    ca: ClusterCa,
    session: Session,
}

impl Site {
    /// Reads the folder and begins to look for the cluster.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open(folder: &Path) -> Done<Site> {
        let usage = |error| Failure::new(Kind::Usage, format!("{}: {error:#}", folder.display()));
        let ca = ClusterCa::load(folder).map_err(|error| usage(anyhow::Error::from(error)))?;
        let (file, path) = ClientFile::load(&folder.join(OPERATOR_FOLDER))?;
        let session = connect_with(&file, &path, "tool", StoreConfig::default()).await?;
        Ok(Site { ca, session })
    }

    /// The connection.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Ends the connection.
    pub async fn close(&self) {
        self.session.close().await;
    }

    /// The map as it is.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn map(&self) -> Done<PlacementMap> {
        copies::map(&self.session).await
    }

    /// Gives an invitation and writes its token.
    ///
    /// # Errors
    /// [`Failure`]: the id is taken, or a life out of range.
    pub async fn invite(&self, new: &NewComer, life: Length, path: &Path) -> Done<TokenFile> {
        if !LIFE_SECONDS.contains(&life.0) {
            return Err(Failure::new(Kind::Usage, "a token is good for 1 to 55 minutes"));
        }
        let expires = now() + life.0 as i64;
        let id = InvitationId(rand::random());
        let invitation = Invitation {
            id,
            node: NodeId(new.id),
            addr: new.addr.clone(),
            domain: new.domain.clone(),
            disks: (0..new.disks).map(|_| DiskId(rand::random())).collect(),
            expires: Timestamp::from_secs(expires, 0),
        };
        let map = self.map().await?;
        let known = map.nodes.iter().filter(|node| node.mode != NodeMode::Removed);
        let mut peers: Vec<_> = known.collect();
        peers.sort_by_key(|node| node.state != NodeState::Up);
        let peers = peers.into_iter().take(PEERS_MAX);
        let peers = peers.map(|node| NodeAddress { id: node.id.0, addr: node.addr.clone() }).collect();
        let lent = self.ca.invite(id, Duration::from_secs(life.0)).map_err(Failure::failed)?;
        let token = TokenFile::new(new.id, id, expires, rand::random(), lent, peers);
        self.say(ControlCommand::Invite { invitation }).await?;
        token.save(path)?;
        Ok(token)
    }

    /// Waits until the token was used and lets its holder in. Returns once the node is in the map; repeating it does no harm.
    ///
    /// # Errors
    /// [`Failure`]: the time is over, or somebody without the token was first.
    pub async fn admit(&self, token: &TokenFile) -> Done {
        let id = token.invitation();
        let over = || Failure::new(Kind::Failed, "the invitation is over: invite the node again");
        loop {
            let (_, state) = self.invitation(id).await?.ok_or_else(over)?;
            match state {
                InvitationState::Open if now() >= token.expires => return Err(over()),
                InvitationState::Open => sleep(LOOK).await,
                InvitationState::Claimed { request, proof } => {
                    if proof != join_proof(token.secret(), &request) {
                        self.say(ControlCommand::RevokeInvitation { id }).await?;
                        let message = "somebody without the token has claimed the invitation: find out which node spoke \
                                       for it; the invitation was taken back";
                        return Err(Failure::new(Kind::Failed, message));
                    }
                    let role = Role::Node(NodeId(token.node));
                    let cert = self.ca.certify(&role, &request).map_err(Failure::failed)?;
                    self.say(ControlCommand::AdmitNode { id, request, cert }).await?;
                }
                InvitationState::Admitted { .. } => return Ok(()),
            }
        }
    }

    /// Waits until a node is up.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn until_up(&self, node: NodeId) -> Done {
        while !self.map().await?.is_up(node) {
            sleep(LOOK).await;
        }
        Ok(())
    }

    async fn invitation(&self, id: InvitationId) -> Done<Option<(Invitation, InvitationState)>> {
        match self.session.cluster.control_query(ControlQuery::Invitations).await? {
            ControlAnswer::Invitations(known) => Ok(known.into_iter().find(|(invitation, _)| invitation.id == id)),
            _ => Err(Failure::new(Kind::Failed, "the control group answered something else")),
        }
    }

    async fn say(&self, command: ControlCommand) -> Done {
        self.session.cluster.control(command).await??;
        Ok(())
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
