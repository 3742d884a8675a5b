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
    /// An existing folder.
    pub dir: PathBuf,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Memory for cached content, read-ahead and unwritten data together.
    #[arg(long, env = "SAGO_MOUNT_MEMORY", value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Never serve names and attributes from a cache.
    #[arg(long, env = "SAGO_MOUNT_STRICT")]
    pub strict: bool,
    /// End when the process of this id, our parent, does.
    #[arg(long, hide = true, value_name = "PID")]
    pub with_parent: Option<i32>,
}
