//! The file system of a mount: names, attributes, handles, read-ahead, a cache of verified data and a write buffer.
//!
//! Knows no fuser: `mount` translates the kernel's requests into calls of [`MountFs`], and [`FsError`] into an errno.
//!
//! ```text
//! kernel -> mount (fuser) -> MountFs -+-> namespace, attr, xattr, readdir -> one command or query of the inode's group
//!                                     +-> write -> write_buffer -> push (chunks, in parallel) -> flush (one Write command)
//!                                     +-> read  -> content (extents by change counter) -> prefetch -> block_cache -> read_chunk
//! ```
//!
//! What callers can rely on:
//! - **Close to open.** `open` asks the server; `flush` and `fsync` return after data and metadata are durable. Attributes and
//!   names may be as old as [`FsConfig::attr_ttl`], in strict mode not at all.
//! - **One inode, one buffer.** All handles of an inode share its dirty data and its view of the content, so that whatever was
//!   written here is read here. A handle pins its inode: a file that is replaced or unlinked is read to its end unmixed.
//! - **Errors stick.** Data that could not be stored is dropped, and each handle that was open then reports it once: at its
//!   next write, fsync or flush.
//! - **Bounded.** Dirty data and cached data have budgets; writers wait, read-ahead gives way. Every operation ends: the cluster's
//!   calls have deadlines, and retries stop at [`FsConfig::deadline`].
//!
//! It does not lock files across machines, keep access times (they change only when set), or make device nodes.

#![forbid(unsafe_code)]

mod attr;
mod block_cache;
mod budget;
mod call;
mod chunk_buffers;
mod config;
mod content;
mod dir_attrs;
mod error;
mod flush;
mod fs;
mod guard;
mod handle;
mod inode;
mod namespace;
mod open;
mod own_dir;
mod piece;
mod prefetch;
mod read;
mod readdir;
mod write;
mod write_buffer;
mod xattr;

pub use attr::{SetAttr, StatFs};
pub use cluster_client::Cluster;
pub use config::{ConfigError, FsConfig};
pub use error::FsError;
pub use fs::{MountFs, OpenBucketError};
pub use namespace::Caller;
pub use open::{OpenMode, Opened};
pub use proto::meta::{SetTime, SetXattrMode};
pub use proto::object::{Attr, FileKind};
pub use readdir::{DirItem, DirPage};
pub use types::{Ino, Timestamp};
