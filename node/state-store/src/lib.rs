//! The ordered key-value store under `meta-core`: one RocksDB per group.
//!
//! Nothing is flushed per write: the Raft log is, and refills what a power cut takes from here. What must hold instead:
//!
//! - Rows and the applied point move in one batch, and recovery stops at the first damaged record. So what comes back is
//!   always the state after some prefix of the commits, and it knows which.
//! - The Raft log is cut only up to what [`StateStore::sync`] has returned.
//! - A snapshot is a checkpoint: a folder of files that are never changed again. Installing one replaces the whole store,
//!   so that after a crash the old one or the new one stands.
//! - After any error the store is fenced; the process ends and comes back by replaying the log.
//!
//! Reads for clients go through a [`StateView`], which stays at one moment however long it lives. Byte tables:
//! `docs/formats/state-store.md`.

mod batch;
mod check;
mod error;
mod export;
mod install;
mod options;
mod point;
mod rows;
mod store;
mod view;

pub use batch::{Savepoint, StateBatch};
pub use check::{CheckedState, check};
pub use error::{Fatal, OpenError};
pub use export::{ExportError, ExportHead, ExportReader, ExportSum, write_export};
pub use options::SharedCache;
pub use point::AppliedPoint;
pub use store::StateStore;
pub use view::StateView;
