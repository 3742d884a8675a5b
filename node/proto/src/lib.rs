//! What travels between processes: requests, replies, log commands, and the frame they are packed in.
//!
//! Bytes in, values out; nothing here does I/O. Values are encoded with postcard behind a frame header
//! that carries the protocol version (`docs/FORMATS.md`). A command in the Raft log is a request plus the proposer's
//! stamp ([`log::LogBatch`]).

#![forbid(unsafe_code)]

pub mod chunk;
pub mod control;
pub mod frame;
pub mod join;
mod level;
pub mod log;
pub mod meta;
pub mod node;
pub mod object;
pub mod raft_wire;
pub mod record;
mod refusal;
pub mod rpc;
pub mod trash;

pub use frame::{DecodeError, decode, encode};
pub use rpc::{Reply, Request};
