//! `sago mount`.

use super::ClientArgs;
use crate::config::Size;
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Example:
  sago mount books /mnt/books --config site/client

It runs until SIGTERM, SIGINT or `umount`; what is written is on three nodes when close or fsync returns.";

/// How to mount a bucket. What is given here stands over the file's `[mount]`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct MountArgs {
    /// The bucket.
    pub bucket: String,
    /// An empty folder.
    pub dir: PathBuf,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Memory for cached content and read-ahead, and as much again for data not yet written.
    #[arg(long, env = "SAGO_MOUNT_MEMORY", value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Never serve names and attributes from a cache.
    #[arg(long, env = "SAGO_MOUNT_STRICT")]
    pub strict: bool,
    /// Refuse every change.
    #[arg(long, env = "SAGO_MOUNT_READ_ONLY")]
    pub read_only: bool,
    /// Remove a dead mount that a killed process left there.
    #[arg(long, env = "SAGO_MOUNT_CLEAR_STALE")]
    pub clear_stale: bool,
    /// End when the process of this id, our parent, does.
    #[arg(long, hide = true, value_name = "PID")]
    pub with_parent: Option<i32>,
}
