//! Who a peer is: the role in its certificate's URI, `sago://<cluster>/node/<id>`, `sago://<cluster>/client/<name>`,
//! `sago://<cluster>/operator/<name>` or, for an hour at most, `sago://<cluster>/join/<invitation>`.

use rustls::pki_types::CertificateDer;
use types::{ClusterId, InvitationId, NodeId};
use x509_parser::extensions::GeneralName;

const SCHEME: &str = "sago://";
const CLIENT_NAME_BYTES_MAX: usize = 64;

/// What a certificate entitles its holder to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A node of the cluster.
    Node(NodeId),
    /// A gateway, mount or tool. 1..=64 of `a-z A-Z 0-9 . _ -`.
    Client(String),
    /// A person who may do what cannot be undone, with a tool. The same alphabet.
    Operator(String),
    /// A machine that was invited to become a node. It may say so, and nothing else.
    Joiner(InvitationId),
}

/// The other end of a connection, as its certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Its role.
    pub role: Role,
}

/// A certificate that says nothing, or something else than it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The peer showed no certificate, or one that cannot be parsed.
    #[error("no readable certificate")]
    Certificate,
    /// No role in it, or more than one.
    #[error("the certificate does not name exactly one role")]
    Role,
    /// It belongs to another cluster.
    #[error("the certificate belongs to {0}, another cluster")]
    OtherCluster(ClusterId),
    /// It belongs to another peer than the one that was called.
    #[error("the certificate belongs to {0:?}")]
    OtherPeer(Role),
}

impl PeerIdentity {
    /// The node's id, if it is a node.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        match self.role {
            Role::Node(id) => Some(id),
            Role::Client(_) | Role::Operator(_) | Role::Joiner(_) => None,
        }
    }

    /// The invitation it holds, if that is all it is.
    #[must_use]
    pub fn invitation(&self) -> Option<InvitationId> {
        match self.role {
            Role::Joiner(invitation) => Some(invitation),
            Role::Node(_) | Role::Client(_) | Role::Operator(_) => None,
        }
    }

    /// Whether it is a node.
    #[must_use]
    pub fn is_node(&self) -> bool {
        self.node().is_some()
    }

    /// Whether it may do what only operators and the cluster itself may.
    #[must_use]
    pub fn may_operate(&self) -> bool {
        matches!(self.role, Role::Node(_) | Role::Operator(_))
    }
}

impl Role {
    /// Whether the role can be written into a certificate: a node id is not 0, a name keeps to its alphabet.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        match self {
            Role::Node(id) => id.0 != 0,
            Role::Joiner(_) => true,
            Role::Client(name) | Role::Operator(name) => {
                (1..=CLIENT_NAME_BYTES_MAX).contains(&name.len())
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            }
        }
    }

    /// The URI that stands in the certificate.
    pub(crate) fn uri(&self, cluster: ClusterId) -> String {
        match self {
            Role::Node(id) => format!("{SCHEME}{cluster}/node/{}", id.0),
            Role::Client(name) => format!("{SCHEME}{cluster}/client/{name}"),
            Role::Operator(name) => format!("{SCHEME}{cluster}/operator/{name}"),
            Role::Joiner(invitation) => format!("{SCHEME}{cluster}/join/{invitation}"),
        }
    }

    fn parse(path: &str) -> Option<Role> {
        let role = match path.split_once('/')? {
            ("node", id) => Role::Node(NodeId(id.parse().ok()?)),
            ("client", name) => Role::Client(name.to_owned()),
            ("operator", name) => Role::Operator(name.to_owned()),
            ("join", invitation) => Role::Joiner(invitation.parse().ok()?),
            _ => return None,
        };
        role.is_valid().then_some(role)
    }
}

/// The URI of the cluster itself, in the certificate of its authority.
pub(crate) fn cluster_uri(cluster: ClusterId) -> String {
    format!("{SCHEME}{cluster}")
}

/// The name TLS checks a node's certificate against.
pub(crate) fn server_name(cluster: ClusterId, node: NodeId) -> String {
    format!("node-{}.{cluster}.sago", node.0)
}

/// The cluster and, unless it is the authority's own, the role in a certificate.
pub(crate) fn parse_certificate(der: &CertificateDer<'_>) -> Result<(ClusterId, Option<Role>), IdentityError> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|_| IdentityError::Certificate)?;
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Certificate)?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(SCHEME),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(IdentityError::Role);
    };
    let (cluster, path) = uri.split_once('/').map_or((uri, None), |(cluster, path)| (cluster, Some(path)));
    let cluster = cluster.parse().map_err(|_| IdentityError::Role)?;
    match path {
        None => Ok((cluster, None)),
        Some(path) => Ok((cluster, Some(Role::parse(path).ok_or(IdentityError::Role)?))),
    }
}

/// Who a connection leads to. TLS has checked the chain; this checks what the certificate says.
pub(crate) fn identify(connection: &quinn::Connection, cluster: ClusterId) -> Result<PeerIdentity, IdentityError> {
    let chain = connection.peer_identity().ok_or(IdentityError::Certificate)?;
    let chain = chain.downcast::<Vec<CertificateDer<'static>>>().map_err(|_| IdentityError::Certificate)?;
    let (found, role) = parse_certificate(chain.first().ok_or(IdentityError::Certificate)?)?;
    if found != cluster {
        return Err(IdentityError::OtherCluster(found));
    }
    Ok(PeerIdentity { role: role.ok_or(IdentityError::Role)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_survive_their_uri() {
        let cluster = ClusterId([7; 16]);
        for role in [
            Role::Node(NodeId(12)),
            Role::Client("gateway-1.a_b".into()),
            Role::Operator("kim".into()),
            Role::Joiner(InvitationId([0xa5; 16])),
        ] {
            let uri = role.uri(cluster);
            let path = uri.strip_prefix(&format!("{}/", cluster_uri(cluster))).map(Role::parse);
            assert_eq!(path, Some(Some(role)));
        }
    }

    #[test]
    fn other_paths_name_no_role() {
        let long = format!("client/{}", "x".repeat(65));
        for path in [
            "",
            "node",
            "node/",
            "node/0",
            "node/-1",
            "node/1/2",
            "client/",
            "client/a/b",
            "operator/",
            "join/",
            "join/7",
            "root/1",
            &long,
        ] {
            assert_eq!(Role::parse(path), None, "{path}");
        }
    }
}
