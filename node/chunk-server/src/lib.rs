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
//! - What is in memory at once is bounded in bytes, both ways.
//!
//! What it does not do yet: scrub and compaction workers.

#![forbid(unsafe_code)]

mod admission;
mod answers;
mod collect_worker;
mod membership;
pub mod metrics;
mod repair_worker;
mod replicate;
mod service;
mod sweep_worker;

pub use chunk_store::{OpenError, StoreConfig};
pub use collect_worker::{CollectHost, CollectWorker};
pub use repair_worker::{RepairHost, RepairWorker};
pub use replicate::{ChunkCall, FetchError, PeerSource, ReplicaSource};
pub use service::{ChunkService, ServiceConfig};
pub use sweep_worker::{SweepHost, SweepWorker};

#[cfg(test)]
mod tests;
