//! The metadata service of a node: drives the Raft groups, applies what they commit, answers for them.
//!
//! ```text
//!            requests, messages                 committed entries
//!   tokio ----------------------> raft thread ----------------------> apply threads (one a group)
//!     ^                            |      ^                                |        |
//!     |                   effects  |      | persisted                      | rows   | answers
//!     |                            v      |                                v        v
//!   network <------ messages --- log thread (one flush for all)      state stores   callers
//! ```
//! The raft thread owns all replicas and never does I/O; the log thread makes their effects durable and only then sends what
//! promises them; the apply threads turn entries into rows through `meta-core`. Any error of a disk ends the process
//! ([`writer`]'s `fence`).

#![forbid(unsafe_code)]

mod applier;
mod boot_note;
mod config;
mod control;
mod driver;
mod event;
mod group;
mod logger;
mod network;
mod outbox;
mod pace;
mod proposals;
mod read_lease;
mod reads;
mod registry;
mod replicas;
mod server;
mod shared;
mod snapshots;
mod start;
mod steady_clock;
mod voters;
mod writer;

pub use config::MetaConfig;
pub use control::{Blocked, NextSteps, Obstacle, Reason, Report, next_steps};
pub use meta_core::Applied;
pub use network::{Network, QuicNetwork};
pub use placement::{Standing, VoterNode};
pub use raft_core::Members;
pub use server::{Membership, MetaServer};
pub use start::StartError;
