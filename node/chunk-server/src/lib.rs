//! The chunk service of a node: who may write what where, and how much at once; the disks are `chunk-store`'s.
//!
//! ```text
//!  ChunkRequest ──▶ admission (bytes, calls) ──▶ placement (epoch, member, disk) ──▶ chunk-store ──▶ ChunkReply
//!  Replicate    ──▶ the same, with the data fetched from another node through ReplicaSource and verified here
//! ```
//!
//! - A put is taken only under the epoch that this node knows for the chunk's placement group, and only by a member of it. Reads are
//!   answered by whoever has the chunk: data is verified, so an old member does no harm.
//! - Deletes leave tombstones and are for nodes only.
//! - A node that lost its lease to the control group takes no changes; it answers reads.
//! - Moves: the disk that comes in is filled by [`PullWorker`], what is left behind on the one that went is taken off by
//!   [`LeftoverWorker`] once the members were seen to have it.
//! - What is in memory at once is bounded in bytes, both ways.
//!
//! Three workers go with it, each a future that runs for ever: [`compact_disks`] gives back space, [`scrub_disks`] looks at every chunk,
//! [`rewrite_chunks`] writes damaged replicas anew.

#![forbid(unsafe_code)]

mod admission;
mod answers;
mod audit_worker;
mod collect_worker;
mod compaction_worker;
mod fullness;
mod in_flight;
mod leftover_worker;
mod membership;
pub mod metrics;
mod move_host;
mod pull_worker;
mod repair_worker;
mod replicate;
mod rewrite_worker;
mod scrub_worker;
mod service;
mod sweep_worker;

pub use audit_worker::{AuditHost, AuditWorker, Unmade};
pub use chunk_store::{OpenError, StoreConfig};
pub use collect_worker::{CollectHost, CollectWorker};
pub use compaction_worker::{CompactionConfig, compact_disks};
pub use fullness::FullnessConfig;
pub use leftover_worker::LeftoverWorker;
pub use move_host::MoveHost;
pub use pull_worker::PullWorker;
pub use repair_worker::{RepairHost, RepairWorker};
pub use replicate::{ChunkCall, FetchError, PeerSource, ReplicaSource};
pub use rewrite_worker::rewrite_chunks;
pub use scrub_worker::scrub_disks;
pub use service::{ChunkService, ServiceConfig};
pub use sweep_worker::{SweepHost, SweepWorker};

#[cfg(test)]
mod move_tests;
#[cfg(test)]
mod tests;
