//! The client of a cluster: finds leaders, retries with request ids, writes three copies, reads verified.
//!
//! Faces (gateway, mount, tools) hold an `Arc<dyn Cluster>` and know nothing else of the network.

mod cluster;
mod error;

pub use cluster::{Cluster, WrittenChunk};
pub use error::{CallError, ReadError, WriteError};
