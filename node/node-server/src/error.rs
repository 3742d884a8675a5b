//! Why a node does not start. Once it runs, it goes on or, after an error of its disks, aborts.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use types::{FeatureLevel, NodeId};

/// Settings that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The cluster does not know the node.
    #[error("{0} is not in the cluster file")]
    NotInMap(NodeId),
    /// The data directories are not as many as the map's disks.
    #[error("{node} has {planned} disks in the cluster file, and {given} data directories")]
    Disks {
        /// The node.
        node: NodeId,
        /// Directories that were given.
        given: usize,
        /// Disks in the map.
        planned: usize,
    },
    /// A setting outside its range.
    #[error("{setting} must be {range}")]
    Range {
        /// Its name.
        setting: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// The certificate is another's.
    #[error("the certificate is not that of {0}")]
    Identity(NodeId),
}

/// A node does not start; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificate or its key.
    #[error("credentials")]
    Credentials(#[from] transport::CredentialsError),
    /// The metadata folder is empty and must not be made anew.
    #[error(
        "{0} holds no metadata of this node: is the file system mounted? A node that lost its metadata does not come back under its id"
    )]
    MetaMissing(PathBuf),
    /// An import of metadata was begun and not finished.
    #[error("{0} is half an import of metadata: do `sago meta import` again before the node is started")]
    ImportUnfinished(PathBuf),
    /// Metadata cannot be imported where there are some.
    #[error("{0} holds metadata: move it away first, and keep it")]
    MetaThere(PathBuf),
    /// The metadata folder could not be used.
    #[error("{path}")]
    Meta {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process runs on the metadata folder.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// The network.
    #[error("cannot listen on udp {addr}")]
    Bind {
        /// Where.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: transport::BindError,
    },
    /// The admin pages.
    #[error("cannot listen on tcp {addr}")]
    Admin {
        /// Where.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disks.
    #[error("disks")]
    Chunks(#[from] chunk_server::OpenError),
    /// The cluster has gone on to what this program does not know.
    #[error("the cluster is at level {cluster}, this program does {program} at most: start a newer one")]
    TooOld {
        /// The level of the cluster.
        cluster: FeatureLevel,
        /// The newest this program can do.
        program: FeatureLevel,
    },
    /// The metadata.
    #[error("metadata")]
    Metadata(#[source] meta_server::StartError),
}

impl From<meta_server::StartError> for StartError {
    fn from(error: meta_server::StartError) -> Self {
        match error {
            meta_server::StartError::TooOld { cluster, program } => Self::TooOld { cluster, program },
            other => Self::Metadata(other),
        }
    }
}
