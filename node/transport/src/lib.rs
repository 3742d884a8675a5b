//! QUIC between processes of one cluster: mutual TLS, one stream a call, deadlines, bounded memory.
//!
//! ```text
//!  Peer::call(Small) --+                               +-- accept_bi --> Handler::call
//!  Peer::send_raft  ---+== connection "small" ========>|-- accept_uni -> Handler::raft   (nodes only)
//!  Peer::call(Bulk) ------ connection "bulk" =========>+-- accept_bi --> Handler::call
//! ```
//!
//! * Two connections a direction, so that consensus and small calls never wait behind chunk data.
//! * Who a peer is and what it may do comes from its certificate alone ([`Role`]), never from a message.
//! * A call's failure says whether it may have been executed ([`TransportError`]).
//! * What a peer can make this process hold is bounded in bytes, count and time ([`TransportConfig`]).
//! * A peer that falls silent is noticed by the missing answers to keep-alives ([`Peer::health`]), not by timeouts of minutes.
//!
//! It does not retry, find leaders or choose replicas: that is `cluster-client`.

#![forbid(unsafe_code)]

pub mod ca;
mod call;
mod config;
mod credentials;
mod endpoint;
mod error;
mod identity;
mod link;
mod message;
mod node_key;
mod peer;
mod permission;
mod raft_stream;
mod server;
mod tls;

pub use ca::{CaError, ClusterCa};
pub use config::TransportConfig;
pub use credentials::{Credentials, CredentialsError};
pub use endpoint::Endpoint;
pub use error::{BindError, TransportError};
pub use identity::{IdentityError, PeerIdentity, Role};
pub use node_key::{NodeKey, join_proof};
pub use peer::{Class, Peer, PeerHealth};
pub use server::Handler;
