//! Chunks on the disks of a node: append-only segments, one flush for many writers, an index that can be made again.
//!
//! ```text
//!  put ──hash──▶ queue of the disk ──▶ writer thread ──▶ segment (append, ONE fdatasync) ──▶ index ──▶ answers
//!  get ─────────▶ index ──▶ segment (pread) ──▶ check against the BLAKE3 root ──▶ whole leaves
//!  open ──▶ position kept in the index ──▶ scan the records after it ──▶ index
//! ```
//!
//! A data directory holds
//!
//! | name | what |
//! | --- | --- |
//! | `IDENTITY` | disk id, node, format, the secret tag of its records ([`identity`]) |
//! | `LOCK` | held by the process that has the directory open |
//! | `segments/` | the records: the truth ([`record`], `segment`) |
//! | `index/` | RocksDB, derived from the segments (`index`) |
//! | `scrub` | where the scrub stands (`scrub::state`) |
//!
//! Invariants, each with a test in `crash_tests`:
//! - what was acknowledged was flushed before, and is there after any cut;
//! - what was not acknowledged is there whole or not at all;
//! - rot is an error, never bytes, and a rotten record hides no other;
//! - compaction loses nothing and brings nothing back, wherever it is cut;
//! - after an error of a write or a flush nothing is acknowledged by that disk any more.
//!
//! What it does not do: it knows no placement and no epochs (`chunk-server` does), and has no timers: compaction and scrub run when they are
//! called.
//!
//! Source: DESIGN section 5, `docs/formats/segments.md`.

#![forbid(unsafe_code)]

mod buffer;
mod check;
mod compaction;
mod config;
mod disk;
mod error;
mod fence;
mod files;
mod get;
pub mod identity;
mod index;
mod observer;
mod queue;
pub mod record;
mod recovery;
mod scrub;
mod segment;
mod store;
mod verify;
mod writer;

#[cfg(test)]
mod crash_tests;

pub use check::{CheckedDisk, DiskSummary, Held, check};
pub use compaction::{CompactGoal, Compacted, NeverAgain};
pub use config::StoreConfig;
pub use disk::DiskInfo;
pub use error::{CompactError, DeleteError, GetError, IndexError, OpenError, PutError, ScrubError, StoreError};
pub use files::{Files, OsFiles, SegmentFile, Space};
pub use get::RangedRead;
pub use identity::prepare;
pub use observer::{BatchWritten, NoObserver, Observer};
pub use recovery::{Damage, RecoveryReport};
pub use scrub::{ScrubState, Scrubbed};
pub use store::{ChunkStore, Known, Listed};
