//! `client.toml`: how gateways, mounts and tools reach the cluster, and how gateways and mounts run.

use super::{ConfigError, LcpSection, Size};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use transport::Credentials;
use types::NodeId;

/// Settings of everything that is not a node. Flags and variables stand over them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientFile {
    /// Folder of `ca.pem`, `cert.pem` and `key.pem`; the key must not be accessible to other users. Default: this file's folder.
    #[serde(default = "default_credentials")]
    pub credentials: PathBuf,
    /// Nodes to begin with, any of the cluster's; the others are learnt from them. At least one.
    pub node: Vec<NodeAddress>,
    /// Limits of the connection to the cluster.
    #[serde(default)]
    pub limits: ClientLimits,
    /// `sago gateway`.
    #[serde(default)]
    pub gateway: GatewaySection,
    /// `sago mount`.
    #[serde(default)]
    pub mount: MountSection,
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeAddress {
    /// Its id.
    pub id: u64,
    /// `host:port` of its QUIC endpoint.
    pub addr: String,
}

/// `[limits]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientLimits {
    /// Chunks on their way to the nodes, all writers of the process together. 16 MiB to 2 GiB, default 64 MiB.
    pub write: Size,
    /// Chunks on their way from the nodes, all readers of the process together. 16 MiB to 2 GiB, default 64 MiB.
    pub read: Size,
}

/// `[gateway]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewaySection {
    /// TCP address of the S3 interface. Default `127.0.0.1:9000`.
    pub listen: SocketAddr,
    /// Region clients must sign for. Default `us-east-1`.
    pub region: String,
    /// Request bodies held by all uploads together. 8 MiB to 1 TiB, default 256 MiB.
    pub upload: Size,
    /// Content read ahead by all downloads together. 8 MiB to 1 TiB, default 256 MiB.
    pub download: Size,
    /// TCP address of `/health` and `/metrics`; without it there are none. Not for the public.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
    /// Books that go out wrapped; without it they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lcp: Option<LcpSection>,
}

/// `[mount]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MountSection {
    /// Memory for cached content and read-ahead, and as much again for data not yet written. 32 MiB to 1 TiB, default 256 MiB.
    pub memory: Size,
    /// Names and attributes are never served from a cache. Default false: they may be a second old.
    pub strict: bool,
}

impl Default for ClientLimits {
    fn default() -> Self {
        ClientLimits { write: Size(64 << 20), read: Size(64 << 20) }
    }
}

impl Default for GatewaySection {
    fn default() -> Self {
        GatewaySection {
            listen: SocketAddr::from(([127, 0, 0, 1], 9000)),
            region: "us-east-1".to_owned(),
            upload: Size(256 << 20),
            download: Size(256 << 20),
            admin: None,
            lcp: None,
        }
    }
}

impl Default for MountSection {
    fn default() -> Self {
        MountSection { memory: Size(256 << 20), strict: false }
    }
}

fn default_credentials() -> PathBuf {
    ".".into()
}

impl ClientFile {
    /// Reads the file, or `client.toml` in it if it is a folder.
    ///
    /// # Errors
    /// [`ConfigError`]; also if no node is named.
    pub fn load(path: &Path) -> Result<(Self, PathBuf), ConfigError> {
        let path = if path.is_dir() { path.join("client.toml") } else { path.to_owned() };
        let file: ClientFile = super::load(&path)?;
        if file.node.is_empty() || file.node.iter().any(|node| node.id == 0) {
            return Err(ConfigError::value(path.display(), "at least one [[node]] with an id from 1 is needed"));
        }
        Ok((file, path))
    }

    /// The credentials; `path` is the file's.
    ///
    /// # Errors
    /// They cannot be read, or others could read the key.
    pub fn credentials(&self, path: &Path) -> Result<Credentials, ConfigError> {
        load_credentials(&super::beside(path, &self.credentials))
    }

    /// Nodes to begin with.
    #[must_use]
    pub fn nodes(&self) -> Vec<(NodeId, String)> {
        self.node.iter().map(|node| (NodeId(node.id), node.addr.clone())).collect()
    }
}

/// Reads credentials of a folder.
///
/// # Errors
/// They cannot be read, or others could read the key.
pub fn load_credentials(folder: &Path) -> Result<Credentials, ConfigError> {
    Credentials::load(folder).map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        ConfigError::value("credentials", format!("{error}{source}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "[[node]]\nid = 1\naddr = \"a:1\"\n";

    fn read(text: &str) -> Result<ClientFile, String> {
        super::super::parse(Path::new("client.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn nodes_are_enough_and_unknown_keys_are_refused() {
        let file = read(NODES).expect("the defaults");
        assert_eq!(file.nodes(), [(NodeId(1), "a:1".to_owned())]);
        assert_eq!(file.gateway, GatewaySection::default());
        for more in ["[gateway]\nport = 1", "[mount]\ncash = 1", "[limit]\n", "port = 3"] {
            let error = read(&format!("{more}\n{NODES}")).expect_err(more);
            assert!(error.contains("unknown field"), "{error}");
        }
    }

    #[test]
    fn a_file_without_nodes_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("client.toml"), "node = []\n").expect("a file");
        assert!(ClientFile::load(folder.path()).is_err());
        std::fs::write(folder.path().join("client.toml"), NODES).expect("a file");
        assert!(ClientFile::load(folder.path()).is_ok());
    }
}
