//! `sago bucket`.

use super::ClientArgs;
use clap::Subcommand;

/// Buckets.
#[derive(Debug, Subcommand)]
pub enum BucketCommand {
    /// Make a bucket.
    Create {
        /// Its name, by the rules of S3.
        name: String,
        /// The user it belongs to; may be left out while there is only one.
        #[arg(long)]
        owner: Option<String>,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List buckets with their owners.
    List {
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete an empty bucket.
    Delete {
        /// Its name.
        name: String,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
}
