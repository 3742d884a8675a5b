//! The cluster's own certificate authority: it makes the identities that all processes of a cluster check each other by.

use crate::credentials::{Credentials, CredentialsError, read_pem, write_private};
use crate::identity::{self, IdentityError, Role};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use types::{ClusterId, InvitationId};

const CA_CERT_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key.pem";
const DAY: Duration = Duration::from_secs(86_400);
/// Clocks of machines differ: certificates are valid from a day before they are made.
const BACKDATE: Duration = DAY;
const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);
const CERT_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The authority of one cluster: certificate and private key. Whoever holds it can join the cluster as anyone.
pub struct ClusterCa {
    cluster: ClusterId,
    cert: String,
    key: KeyPair,
}

/// The authority could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A name that cannot stand in a certificate.
    #[error("{0:?} cannot stand in a certificate")]
    Role(Role),
    /// The certificate is not that of a cluster's authority.
    #[error("not the certificate of a cluster's authority")]
    NotAuthority(#[source] Option<IdentityError>),
    /// Key or certificate could not be made or parsed.
    #[error("certificate authority")]
    Crypto(#[from] rcgen::Error),
    /// A request for a certificate that is not signed by the key it is for, or is none.
    #[error("not a request for a certificate")]
    Request,
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] CredentialsError),
}

impl ClusterCa {
    /// Makes the authority of a new cluster.
    ///
    /// # Errors
    /// [`CaError::Crypto`]: no key could be made.
    pub fn create(cluster: ClusterId) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let mut params = params(&format!("sago cluster {cluster}"), CA_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![SanType::URI(identity::cluster_uri(cluster).try_into()?)];
        let cert = params.self_signed(&key)?.pem();
        Ok(ClusterCa { cluster, cert, key })
    }

    /// The authority from its certificate and private key.
    ///
    /// # Errors
    /// [`CaError`]: not PEM, or not the certificate of a cluster's authority.
    pub fn from_pem(cert: &str, key: &str) -> Result<Self, CaError> {
        let der = CertificateDer::from_pem_slice(cert.as_bytes()).map_err(|_| CaError::NotAuthority(None))?;
        let (cluster, role) = identity::parse_certificate(&der).map_err(|error| CaError::NotAuthority(Some(error)))?;
        if role.is_some() {
            return Err(CaError::NotAuthority(None));
        }
        Ok(ClusterCa { cluster, cert: cert.to_owned(), key: KeyPair::from_pem(key)? })
    }

    /// Certificate and private key.
    #[must_use]
    pub fn to_pem(&self) -> (String, String) {
        (self.cert.clone(), self.key.serialize_pem())
    }

    /// Writes `ca.pem` and `ca.key.pem` into a folder, readable by the owner alone.
    ///
    /// # Errors
    /// [`CaError::File`].
    pub fn save(&self, folder: &Path) -> Result<(), CaError> {
        write_private(&folder.join(CA_CERT_FILE), &self.cert)?;
        Ok(write_private(&folder.join(CA_KEY_FILE), &self.key.serialize_pem())?)
    }

    /// Reads what [`ClusterCa::save`] wrote.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn load(folder: &Path) -> Result<Self, CaError> {
        Self::from_pem(&read_pem(&folder.join(CA_CERT_FILE))?, &read_pem(&folder.join(CA_KEY_FILE))?)
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Makes a key and a certificate for a role. Only a node's certificate can be used to accept connections.
    ///
    /// # Errors
    /// [`CaError::Role`]: the role is not valid, or is one that is only lent: see [`ClusterCa::invite`].
    pub fn issue(&self, role: &Role) -> Result<Credentials, CaError> {
        if matches!(role, Role::Joiner(_)) {
            return Err(CaError::Role(role.clone()));
        }
        self.issue_for(role, CERT_LIFE)
    }

    /// Makes a key and a certificate with which a machine can ask to become a node, for as long as `life`: they are good for nothing else.
    ///
    /// # Errors
    /// [`CaError::Crypto`].
    pub fn invite(&self, invitation: InvitationId, life: Duration) -> Result<Credentials, CaError> {
        self.issue_for(&Role::Joiner(invitation), life)
    }

    /// The certificate, PEM, of a role for whoever has the key that `request` (PKCS #10, DER) is signed with. Nothing else is taken from the
    /// request: what the certificate says is said here.
    ///
    /// # Errors
    /// [`CaError::Request`], [`CaError::Role`].
    pub fn certify(&self, role: &Role, request: &[u8]) -> Result<String, CaError> {
        let request = CertificateSigningRequestParams::from_der(&request.into()).map_err(|_| CaError::Request)?;
        let params = self.params_of(role, CERT_LIFE)?;
        let issuer = Issuer::from_ca_cert_pem(&self.cert, &self.key)?;
        Ok(params.signed_by(&request.public_key, &issuer)?.pem())
    }

    fn issue_for(&self, role: &Role, life: Duration) -> Result<Credentials, CaError> {
        let params = self.params_of(role, life)?;
        let issuer = Issuer::from_ca_cert_pem(&self.cert, &self.key)?;
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &issuer)?.pem();
        Ok(Credentials { ca: self.cert.clone(), cert, key: key.serialize_pem() })
    }

    fn params_of(&self, role: &Role, life: Duration) -> Result<CertificateParams, CaError> {
        if !role.is_valid() {
            return Err(CaError::Role(role.clone()));
        }
        let uri = role.uri(self.cluster);
        let mut params = params(uri.trim_start_matches("sago://"), life);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::URI(uri.clone().try_into()?)];
        if let Role::Node(id) = role {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            let name = identity::server_name(self.cluster, *id);
            params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
        }
        Ok(params)
    }
}

fn params(name: &str, life: Duration) -> CertificateParams {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + now.saturating_sub(BACKDATE);
    params.not_after = epoch + now + life;
    params.distinguished_name = DistinguishedName::new();
    // 64 bytes is what X.520 allows a common name; the URI is what counts.
    let cut = name.char_indices().nth(64).map_or(name.len(), |(at, _)| at);
    params.distinguished_name.push(DnType::CommonName, &name[..cut]);
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeKey;
    use types::NodeId;

    #[test]
    fn credentials_carry_their_role_and_survive_the_disk() {
        let cluster = ClusterId([9; 16]);
        let ca = ClusterCa::create(cluster).expect("create");
        let folder = tempfile::tempdir().expect("folder");
        ca.save(folder.path()).expect("save");
        let ca = ClusterCa::load(folder.path()).expect("load");
        assert_eq!(ca.cluster(), cluster);
        for role in [Role::Node(NodeId(3)), Role::Client("mount".into())] {
            let made = ca.issue(&role).expect("issue");
            let folder = folder.path().join("role");
            made.save(&folder).expect("save");
            let loaded = Credentials::load(&folder).expect("load");
            assert_eq!(loaded, made);
            assert_eq!(loaded.identity().expect("identity"), (cluster, role));
        }
        assert!(!format!("{:?}", ca.issue(&Role::Node(NodeId(1))).expect("issue")).contains("PRIVATE"));
    }

    #[test]
    fn an_exposed_key_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        let ca = ClusterCa::create(ClusterId([1; 16])).expect("create");
        ca.issue(&Role::Node(NodeId(1))).expect("issue").save(folder.path()).expect("save");
        let key = folder.path().join("key.pem");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(matches!(Credentials::load(folder.path()), Err(CredentialsError::Exposed(_))));
    }

    #[test]
    fn a_key_made_elsewhere_is_certified_for_what_the_authority_says_and_nothing_else() {
        let ca = ClusterCa::create(ClusterId([1; 16])).expect("create");
        let key = NodeKey::generate().expect("a key");
        let request = key.request().expect("a request");
        let node = Role::Node(NodeId(4));
        let cert = ca.certify(&node, &request).expect("certified");
        let made = key.credentials(ca.to_pem().0, cert);
        assert_eq!(made.identity().expect("identity"), (ca.cluster(), node.clone()));
        // The same key again asks for the same.
        let again = NodeKey::from_pem(&made.key).expect("the key");
        let cert = ca.certify(&node, &again.request().expect("a request")).expect("certified");
        assert!(again.credentials(ca.to_pem().0, cert).identity().is_ok());
        let mut forged = request;
        let last = forged.len() - 1;
        forged[last] ^= 1;
        for request in [&forged[..], &forged[..20], &[], b"request"] {
            assert!(matches!(ca.certify(&node, request), Err(CaError::Request)));
        }
    }

    #[test]
    fn an_invitation_is_a_role_of_its_own_and_never_issued_for_long() {
        let ca = ClusterCa::create(ClusterId([1; 16])).expect("create");
        let joiner = Role::Joiner(InvitationId([5; 16]));
        assert!(matches!(ca.issue(&joiner), Err(CaError::Role(_))));
        let lent = ca.invite(InvitationId([5; 16]), Duration::from_secs(60)).expect("lent");
        assert_eq!(lent.identity().expect("identity").1, joiner);
    }

    #[test]
    fn invalid_roles_and_other_certificates_are_refused() {
        let ca = ClusterCa::create(ClusterId([1; 16])).expect("create");
        assert!(matches!(ca.issue(&Role::Node(NodeId(0))), Err(CaError::Role(_))));
        assert!(matches!(ca.issue(&Role::Client("a/b".into())), Err(CaError::Role(_))));
        let node = ca.issue(&Role::Node(NodeId(1))).expect("issue");
        assert!(matches!(ClusterCa::from_pem(&node.cert, &node.key), Err(CaError::NotAuthority(_))));
    }
}
