//! The durable Raft log of all groups of a node: one RocksDB, one flush a loop, and beside it a watermark that
//! knows what the node has promised.
//!
//! ```text
//! <folder>/LOCK            held while the log is open
//! <folder>/IDENTITY        whose log this is
//! <folder>/CLEAN           there only after an orderly shutdown
//! <folder>/WATERMARK-0/-1  what was acknowledged, in two checksummed slots
//! <folder>/db/             RocksDB: group | 'e' | index -> entry, group | 'h' -> hard state, group | 's' -> start
//! ```
//!
//! The order that everything here rests on: entries and hard state are written and flushed ([`RaftLog::write`]),
//! *then* the messages that acknowledge them leave, *then* the watermark names what they promised
//! ([`RaftLog::acknowledged`]). So the watermark never promises what the log does not hold, and a log that comes back
//! shorter than the watermark has lost something that others rely on ([`Recovery::amnesia`]).
//!
//! What it does not do: it never repairs itself. After any I/O error it is fenced and refuses everything; what is
//! damaged beyond a torn tail is refused at [`RaftLog::open`], and the node is replaced.
//!
//! Byte tables: `docs/formats/raft-log.md`.
#![forbid(unsafe_code)]

mod check;
mod db;
mod error;
mod folder;
mod group;
mod log;
mod reader;
mod recovery;
mod row;
mod terms;
mod watermark;

pub use check::{CheckedGroup, CheckedLog, check};
pub use db::LogConfig;
pub use error::{Cause, Fatal, OpenError};
pub use log::replace::{ReplaceError, Replacement, replace_voters};
pub use log::{GroupLog, GroupWrite, RaftLog};
pub use recovery::Recovery;
pub use watermark::Mark;
