//! How a machine becomes a node of a cluster that runs.
//!
//! ```text
//! operator                       control group                    joiner, with the token
//!   Invite{node, disks, ..} ----->  open
//!                                   claimed{request} <----------- Join{request, proof}    through any node
//!   looks at the proof
//!   Admit{certificate} ---------->  admitted; the node is in the map
//!                                            ------------------> certificate, map
//! ```
//! An invitation is good for one key: the first that claims it. Its time is over an hour after it was given at the latest.

use serde::{Deserialize, Serialize};
use types::{DiskId, InvitationId, NodeId, PlacementMap, Timestamp};

/// What an operator says of a node that is to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Names it; also in the certificate of whoever holds the token.
    pub id: InvitationId,
    /// The node's id, never used before.
    pub node: NodeId,
    /// `host:port` of its QUIC endpoint.
    pub addr: String,
    /// Its failure domain.
    pub domain: String,
    /// Its disks.
    pub disks: Vec<DiskId>,
    /// It is void from then on.
    pub expires: Timestamp,
}

impl Invitation {
    /// The longest life of an invitation, nanoseconds: an hour.
    pub const LIFE_MAX: i64 = 3600 * Timestamp::SECOND;
    /// Bytes of a request for a certificate.
    pub const REQUEST_BYTES_MAX: usize = 4096;
    /// Bytes of a certificate, PEM.
    pub const CERT_BYTES_MAX: usize = 8192;
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvitationState {
    /// Nobody has claimed it.
    Open,
    /// Somebody has, with this key; nobody else can any more.
    Claimed {
        /// A request for a certificate: PKCS #10, DER.
        request: Vec<u8>,
        /// Shows that the joiner holds the token's secret; only the operator who gave it can tell.
        proof: [u8; 32],
    },
    /// The node is in the map.
    Admitted {
        /// Whose key it is.
        request: Vec<u8>,
        /// Its certificate, PEM.
        cert: String,
    },
}

/// What a joiner is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAnswer {
    /// The operator has yet to admit it: ask again.
    Waiting,
    /// It is a node.
    Admitted {
        /// Which.
        node: NodeId,
        /// Its certificate, PEM.
        cert: String,
        /// The cluster.
        map: Box<PlacementMap>,
    },
}

/// Why it is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JoinError {
    /// The invitation is over, was taken back, or never was.
    #[error("the invitation is over or was taken back")]
    Void,
    /// Another machine has used it.
    #[error("the invitation was used by another machine")]
    Used,
    /// The request is too large.
    #[error("the request is not one")]
    Request,
    /// The control group does not answer: ask again.
    #[error("the control group does not answer")]
    Unavailable,
}
