//! What is measured: the line that `sago demo --json` prints.

use crate::s3::{Credentials, S3Client, S3Error};
use crate::usage::Process;
use anyhow::Context;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The contract of `sago demo --json`, as far as scripts and tests use it. Unknown fields are new ones, not errors.
#[derive(Clone, Debug, Deserialize)]
pub struct Target {
    /// The S3 endpoint.
    pub endpoint: String,
    /// The region to sign for.
    pub region: String,
    /// Public half of a key pair that may do everything.
    pub access_key: String,
    /// Secret half.
    pub secret_key: String,
    /// The bucket that is mounted.
    pub bucket: String,
    /// Where; none with `--no-mount`.
    #[serde(default)]
    pub mount: Option<PathBuf>,
    /// Base address of /metrics, /health and /status.
    #[serde(default)]
    pub admin: Option<String>,
    /// The folder of `client.toml`, for `sago` commands on this cluster.
    #[serde(default)]
    pub config: Option<PathBuf>,
    /// The process of the gateway.
    #[serde(default)]
    pub gateway_pid: Option<u32>,
    /// The process of the mount.
    #[serde(default)]
    pub mount_pid: Option<u32>,
    /// The node processes.
    pub nodes: Vec<Node>,
}

/// One node process.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Its id in the cluster.
    pub id: u64,
    /// Its process.
    pub pid: u32,
    /// Its data directories.
    #[serde(default)]
    pub dirs: Vec<PathBuf>,
    /// How to start it again, as program and arguments.
    #[serde(default)]
    pub start: Vec<String>,
    /// Base address of its own /metrics, /health and /status.
    #[serde(default)]
    pub admin: String,
}

impl Target {
    /// Reads the first line of a file.
    ///
    /// # Errors
    /// The file cannot be read, or its first line is not the contract.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(text.lines().next().unwrap_or_default())
    }

    /// Reads the line itself.
    ///
    /// # Errors
    /// It is not the contract.
    pub fn parse(line: &str) -> anyhow::Result<Self> {
        serde_json::from_str(line).with_context(|| format!("not the line of `sago demo --json`: {line}"))
    }

    /// Every server process, the nodes by their ids.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let nodes = self.nodes.iter().map(|node| Process { pid: node.pid, name: format!("node {}", node.id) });
        let faces = [(self.gateway_pid, "gateway"), (self.mount_pid, "mount")];
        let faces = faces.into_iter().filter_map(|(pid, name)| Some(Process { pid: pid?, name: name.into() }));
        nodes.chain(faces).collect()
    }

    /// A client with the demo's own key.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn s3(&self) -> Result<S3Client, S3Error> {
        let credentials = Credentials {
            access_key: self.access_key.clone(),
            secret_key: self.secret_key.clone(),
            region: self.region.clone(),
        };
        S3Client::new(&self.endpoint, credentials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_read() {
        let line = r#"{"endpoint":"http://127.0.0.1:1","region":"us-east-1","access_key":"a","secret_key":"b","bucket":"c","mount":null,
            "admin":"http://127.0.0.1:2","gateway_pid":8,"nodes":[{"id":1,"pid":7,"dirs":["/d"],"start":["sago","node"]}],"later":1}"#;
        let target = Target::parse(line).expect("a good line");
        assert_eq!((target.nodes[0].pid, target.mount.as_ref()), (7, None));
        let names: Vec<String> = target.processes().into_iter().map(|process| process.name).collect();
        assert_eq!(names, ["node 1", "gateway"]);
        assert!(Target::parse("ready").is_err());
    }
}
