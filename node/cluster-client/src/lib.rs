//! The client of a cluster: finds leaders, retries with request ids, writes three copies, reads verified.
//!
//! Faces (gateway, mount, tools) hold an `Arc<dyn Cluster>` and know nothing else of the network. [`Client`] is the real one.
//!
//! ```text
//!  command, query --> leader: cached, or found by asking the group's voters --> transport (small)
//!                     window: one number a command, so that a retry is never applied twice
//!  write_chunk -----> session: id and slot --> chunk_core::write --> three puts (bulk)
//!  read_chunk ------> chunk_core::read --> one get, hedged, verified (bulk)
//!  in the background: the placement map every second, the session's lease every five
//! ```

#![forbid(unsafe_code)]

mod client;
mod cluster;
mod config;
mod error;
mod hedge;
mod leader;
mod map;
mod peer;
mod replicate;
mod retry;
mod session;
mod window;

pub use chunk_core::read::Piece;
pub use client::Client;
pub use cluster::{ChunkOwner, Cluster, WrittenChunk};
pub use config::ClientConfig;
pub use error::{CallError, ReadError, WriteError};
pub use peer::ChunkPeer;
