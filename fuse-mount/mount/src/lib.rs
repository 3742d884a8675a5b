//! The kernel's side of a mount: one thin adapter from fuser's callbacks to [`mount_fs::MountFs`], and the life of a mount.
//!
//! ```no_run
//! # async fn example(cluster: std::sync::Arc<dyn mount_fs::Cluster>) -> Result<(), mount::MountError> {
//! let mut handle = mount::mount(cluster, mount::MountConfig::new("books", "/mnt/books")).await?;
//! tokio::select! {
//!     () = handle.ended() => {} // somebody called umount
//!     _ = tokio::signal::ctrl_c() => handle.unmount().await?,
//! }
//! # Ok(()) }
//! ```
//!
//! A callback runs on one of fuser's threads. What needs no waiting is answered there; all else is copied, spawned onto tokio and
//! answered from the task. Callbacks and tasks may panic: the request is answered with EIO and the mount lives on.
//!
//! Kernel features used: asynchronous reads, parallel directory operations, readdirplus, truncation with open, cached symbolic
//! links. Not used: the write-back cache, which would make the kernel the owner of sizes and times.

#![forbid(unsafe_code)]

mod adapter;
mod answer;
mod config;
mod convert;
mod errno;
mod error;
mod kernel;
mod mountpoint;
mod reopen;
mod session;

pub use config::MountConfig;
pub use error::MountError;
pub use session::{MountHandle, mount};
