//! Why a node does not start. Messages say what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use types::NodeId;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The certificate is another's.
    #[error("the certificate is not of {0}: point `credentials` at the folder that `cluster init` made for this node")]
    Certificate(NodeId),
    /// The node is not in the cluster's map.
    #[error("{0} is not in the cluster file")]
    NotInMap(NodeId),
    /// The certificate cannot be read.
    #[error("the credentials cannot be used")]
    Credentials(#[from] transport::CredentialsError),
    /// The QUIC address cannot be used.
    #[error("cannot listen for the cluster")]
    Listen(#[from] transport::BindError),
    /// The admin address cannot be used.
    #[error("cannot listen for admin requests on {addr}")]
    Admin {
        /// Where.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The start counter cannot be kept.
    #[error("the start counter {path} cannot be kept")]
    Incarnation {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The metadata cannot be recovered.
    #[error("the metadata service cannot start")]
    Meta(#[from] meta_server::StartError),
    /// A disk cannot be opened.
    #[error("the chunk service cannot start")]
    Chunks(#[from] chunk_server::OpenError),
}
