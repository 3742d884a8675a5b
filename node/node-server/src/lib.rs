//! The daemon: one process of metadata and chunks behind one QUIC endpoint, with liveness, repair, and pages for operators.
//!
//! ```text
//!                    +-- meta-server    (Raft groups)  <-- heartbeats counted by `liveness` --> SetNodeState
//!  QUIC -- dispatch -+-- chunk-server   (disks)        <-- `map_feed`: the placement map, as the control group has it
//!                    +-- status                        <-- `repair`: copies that are missing, once their node is back
//!                                                       <-- `moves`: where copies should be, planned and driven by the control group's leader
//!                                                     <-- `garbage`: what is deleted for good, and orphans; `leases`: silent sessions
//!                                                     <-- `join`: machines that were invited
//!                                                     <-- `trash`: what has lain in the trash for its window is released
//!  HTTP -- admin: /health, /status, /metrics
//! ```
//! Decisions are elsewhere; what is here translates and drives. The only state that must survive is the count of starts
//! ([`incarnation`]); [`map_note`] helps to find the others again; heartbeats are soft state of whoever leads the control group.

#![forbid(unsafe_code)]

mod admin;
mod clock;
mod config;
mod dispatch;
mod error;
mod garbage;
mod health;
mod heartbeat;
mod incarnation;
mod join;
mod leases;
mod liveness;
mod mandate;
mod map_feed;
mod map_note;
mod membership;
pub mod metrics;
mod move_host;
mod moves;
mod peers;
mod repair;
mod server;
mod status;
mod trash;

pub use config::{GarbageConfig, MemoryConfig, NodeConfig, RaftConfig, StoreConfig};
pub use error::{ConfigError, StartError};
pub use incarnation::{CheckedFolder, ImportFolder, begin_import, check_folder, may_import};
pub use map_note::read as noted_map;
pub use server::NodeServer;
