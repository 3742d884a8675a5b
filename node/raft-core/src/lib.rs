//! A shell round raft-rs: our ids, our codec, seeded timeouts, ready -> effects. Commands are opaque bytes.
#![forbid(unsafe_code)]

mod entry;

pub use entry::{Entry, EntryKind, HardState, LogReadError, LogReader, LogStart};
