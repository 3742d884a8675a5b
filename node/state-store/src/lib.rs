//! The ordered key-value store under `meta-core`: one RocksDB per group.
//!
//! The WAL is not flushed per write: the Raft log is, and refills what a crash takes from here. What must hold instead:
//! rows and the applied index move in one batch, recovery stops at the first damaged record (so that the state is a
//! prefix of what was applied), and the Raft log is cut only up to what [`StateStore::sync`] has returned.

#![forbid(unsafe_code)]

mod batch;
mod error;
mod install;
mod options;
mod store;

pub use batch::StateBatch;
pub use error::{Fatal, OpenError};
pub use options::SharedCache;
pub use store::{AppliedPoint, StateStore, StateView};
