//! The token that a machine joins with: what it may say and to whom, for one node, once, until its time is over.
//!
//! It carries the authority's certificate, by which the machine knows the cluster before it says anything; a certificate and a key that are good
//! for asking to be let in and for nothing else; and a secret by which the operator knows that it was the holder who asked. The key that the
//! node will have is not in it.

use super::{ConfigError, NodeAddress};
use serde::{Deserialize, Serialize};
use std::path::Path;
use transport::Credentials;
use types::InvitationId;

/// The format written here. History: 1 = the first.
const FORMAT: u32 = 1;

/// A token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    format: u32,
    /// The node that it lets in.
    pub node: u64,
    /// The invitation, 32 hex digits.
    invitation: String,
    /// Seconds since 1970 until which it is good.
    pub expires: i64,
    secret: [u8; 32],
    ca: String,
    cert: String,
    key: String,
    /// Nodes to ask.
    pub peer: Vec<NodeAddress>,
}

impl TokenFile {
    /// A token for `node`.
    #[must_use]
    pub fn new(
        node: u64,
        invitation: InvitationId,
        expires: i64,
        secret: [u8; 32],
        lent: Credentials,
        peer: Vec<NodeAddress>,
    ) -> Self {
        let Credentials { ca, cert, key } = lent;
        TokenFile { format: FORMAT, node, invitation: invitation.to_string(), expires, secret, ca, cert, key, peer }
    }

    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let token: TokenFile = super::load(path)?;
        let wrong = |what: &str| ConfigError::value(path.display(), what);
        if token.format != FORMAT {
            return Err(wrong("its format is not read by this version"));
        }
        if token.node == 0 || token.peer.is_empty() || token.invitation.parse::<InvitationId>().is_err() {
            return Err(wrong("not a token"));
        }
        Ok(token)
    }

    /// Writes it, readable by the owner alone.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let text = toml::to_string(self).map_err(|error| ConfigError::value(path.display(), error.to_string()))?;
        let head = "# Lets one machine join a Sago cluster, once: sago node join --token FILE --dir DIR. A secret.\n\n";
        super::save_private(path, &format!("{head}{text}"))
    }

    /// The invitation.
    #[must_use]
    pub fn invitation(&self) -> InvitationId {
        self.invitation.parse().unwrap_or_default()
    }

    /// What only the operator who gave it and its holder know.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// What its holder may speak with.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials { ca: self.ca.clone(), cert: self.cert.clone(), key: self.key.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn token() -> TokenFile {
        let lent = Credentials { ca: "a\nb".into(), cert: "c".into(), key: "k".into() };
        TokenFile::new(4, InvitationId([9; 16]), 77, [7; 32], lent, vec![NodeAddress { id: 1, addr: "a:1".into() }])
    }

    #[test]
    fn a_token_is_private_and_read_back_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        token().save(&path).expect("written");
        let read = TokenFile::load(&path).expect("read");
        assert!(read == token() && read.invitation() == InvitationId([9; 16]) && read.credentials().ca == "a\nb");
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o077, 0);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let text = toml::to_string(&token()).expect("plain data");
        for (from, to) in
            [("format = 1", "format = 2"), ("node = 4", "node = 0"), ("0909", "09"), ("expires", "expire")]
        {
            assert!(text.contains(from), "{from}");
            std::fs::write(&path, text.replacen(from, to, 1)).expect("a file");
            assert!(TokenFile::load(&path).is_err(), "{to}");
        }
    }
}
