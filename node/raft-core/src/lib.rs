//! A shell round raft-rs: our ids, our codec, seeded timeouts, ready -> effects. Commands are opaque bytes.
//!
//! Pure: no I/O, no clock, no randomness of its own. [`Group`] is one replica; the driver in `meta-server`
//! performs its [`Effects`] in the order that `group.rs` states.

#![forbid(unsafe_code)]

mod divergence;
mod entry;
mod group;
mod lease;
mod log_view;
mod membership;
mod message;
mod quarantine;

pub use divergence::{StateHash, Verdict};
pub use entry::{Entry, EntryKind, HardState, LogReadError, LogReader, LogStart};
pub use group::{ChangeError, Effects, Group, GroupConfig, GroupView, ProposeError, Role, StartError};
pub use lease::LEASE_MILLIS;
pub use membership::{Change, LeaderView, MEMBERS_MAX, Members, Step, next_step};
pub use message::{MessageKind, NotCarried, RaftMessage, StatePoint};
pub use slog;
