//! `sago user` and `sago key`.

use super::ClientArgs;
use clap::Subcommand;

/// Users of S3.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user and a key pair; the secret is shown this once.
    Create {
        /// 1 to 64 of a-z A-Z 0-9 . _ @ -
        name: String,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List users.
    List {
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a user with all keys. Buckets stay.
    Delete {
        /// The user.
        name: String,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Key pairs of users.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make another key pair for a user; the secret is shown this once.
    Create {
        /// The user.
        user: String,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List access keys.
    List {
        /// Only this user's.
        user: Option<String>,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a key pair.
    Delete {
        /// The access key.
        access_key: String,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
}
