//! The daemon: the metadata service and the chunk service behind one QUIC endpoint, liveness, minimal repair, and the admin pages.
//!
//! ```text
//!   other nodes, gateways, mounts --QUIC--> handler --> MetaServer (raft, state)
//!                                              |    --> ChunkService (disks)
//!   operator, Prometheus -----------HTTP--> admin
//!   control loops: heartbeats -> liveness -> SetNodeState;  map -> chunk service;  under-replicated rows -> repair
//! ```

#![forbid(unsafe_code)]

mod admin;
mod config;
mod error;
mod handler;
mod incarnation;
mod liveness;
mod map;
mod node;
mod peers;
mod repair;

pub use config::NodeConfig;
pub use error::StartError;
pub use node::NodeServer;
