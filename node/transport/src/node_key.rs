//! The key of a node that is to join: made on its machine, which it never leaves.

use crate::ca::CaError;
use crate::credentials::{Credentials, read_pem, write_private};
use rcgen::{CertificateParams, CertificateSigningRequest, DistinguishedName, KeyPair};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;

const KEY_FILE: &str = "key.pem";
const REQUEST_FILE: &str = "request.pem";

/// A private key without a certificate. `Debug` does not show it.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// Makes one.
    ///
    /// # Errors
    /// [`CaError::Crypto`].
    pub fn generate() -> Result<Self, CaError> {
        Ok(NodeKey(KeyPair::generate()?))
    }

    /// One that was written as PEM.
    ///
    /// # Errors
    /// [`CaError::Crypto`]: it is not PEM of a key.
    pub fn from_pem(pem: &str) -> Result<Self, CaError> {
        Ok(NodeKey(KeyPair::from_pem(pem)?))
    }

    /// The key in `key.pem` of a folder and its request (DER) in `request.pem`; makes what is missing, readable by the owner alone. Whoever
    /// was interrupted so comes back with what was already asked with: no two requests of a key are alike.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn in_folder(folder: &Path) -> Result<(Self, Vec<u8>), CaError> {
        let (key_path, request_path) = (folder.join(KEY_FILE), folder.join(REQUEST_FILE));
        let key = if key_path.exists() {
            NodeKey::from_pem(&read_pem(&key_path)?)?
        } else {
            let key = NodeKey::generate()?;
            write_private(&key_path, &key.0.serialize_pem())?;
            key
        };
        if !request_path.exists() {
            write_private(&request_path, &key.signed()?.pem()?)?;
        }
        let kept = read_pem(&request_path)?;
        let kept = CertificateSigningRequestDer::from_pem_slice(kept.as_bytes()).map_err(|_| CaError::Request)?;
        Ok((key, kept.to_vec()))
    }

    /// What an authority certifies the key by: PKCS #10, DER, signed with the key. It asks for no name; the authority gives one.
    ///
    /// # Errors
    /// [`CaError::Crypto`].
    pub fn request(&self) -> Result<Vec<u8>, CaError> {
        Ok(self.signed()?.der().to_vec())
    }

    fn signed(&self) -> Result<CertificateSigningRequest, CaError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.0)?)
    }

    /// The key with the certificate it was given. PEM, like everything in [`Credentials`].
    #[must_use]
    pub fn credentials(&self, ca: String, cert: String) -> Credentials {
        Credentials { ca, cert, key: self.0.serialize_pem() }
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeKey").finish_non_exhaustive()
    }
}

/// Shows that whoever made `request` holds the secret of an invitation: nobody on the way, nodes among them, can put a key of its own in place
/// of the joiner's.
#[must_use]
pub fn join_proof(secret: &[u8; 32], request: &[u8]) -> [u8; 32] {
    let key = blake3::derive_key("sago 2026 join proof", secret);
    *blake3::keyed_hash(&key, request).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_one_secret_and_one_request() {
        let proof = join_proof(&[7; 32], b"request");
        assert_eq!(proof, join_proof(&[7; 32], b"request"));
        assert_ne!(proof, join_proof(&[8; 32], b"request"));
        assert_ne!(proof, join_proof(&[7; 32], b"requesT"));
    }

    #[test]
    fn whoever_comes_back_has_the_same_key_and_nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let (first, request) = NodeKey::in_folder(folder.path()).expect("made");
        let (again, same) = NodeKey::in_folder(folder.path()).expect("read");
        assert_eq!((again.0.public_key_raw(), same), (first.0.public_key_raw(), request));
        for file in [KEY_FILE, REQUEST_FILE] {
            let mode = std::fs::metadata(folder.path().join(file)).expect(file).permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        assert!(!format!("{first:?}").contains("PRIVATE"));
    }
}
