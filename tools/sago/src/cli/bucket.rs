//! `sago bucket`.

use super::ClientArgs;
use clap::Subcommand;
use gateway_core::Protection;
use proto::trash::DeleteLimit;

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
        /// The rule of placement of what will be written into it, as `sago rule list` shows them; the default one if not given. Only with an
        /// operator's certificate.
        #[arg(long)]
        rule: Option<String>,
        /// Encrypt what is put into it, and have readers get it wrapped: `lcp` (Readium LCP). There is no way back but to delete the bucket.
        #[arg(long, value_name = "lcp")]
        drm: Option<DrmArg>,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List buckets with their owners.
    List {
        /// Those that were deleted and can be had back instead.
        #[arg(long)]
        deleted: bool,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete an empty bucket. Its trash stays, and `undelete` brings both back.
    Delete {
        /// Its name.
        name: String,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Bring a deleted bucket back with its trash; only with an operator's certificate.
    Undelete {
        /// The name it had.
        name: String,
        /// Its name from now on, if the old one is taken.
        #[arg(long = "as", value_name = "NAME")]
        new_name: Option<String>,
        /// Which one, if several of the name were deleted: its id in `list --deleted`. Otherwise the one deleted last.
        #[arg(long)]
        id: Option<u64>,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show what is in a bucket and in its trash, and how its breaker stands.
    Stat {
        /// Its name.
        name: String,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Encrypt what is put into an empty bucket from now on, and have readers get it wrapped. Every gateway needs the key-encryption key of the cluster
    /// for it, mounts refuse it, and there is no way back but to delete it.
    Drm {
        /// Its name.
        name: String,
        /// How: `lcp` (Readium LCP).
        drm: DrmArg,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// The rule of placement of a bucket, which says where the copies of its contents lie.
    #[command(subcommand)]
    Rule(BucketRuleCommand),
    /// The breaker of a bucket, which stops deletions when there are too many within ten minutes.
    #[command(subcommand)]
    Breaker(BreakerCommand),
}

/// The rule of placement of a bucket.
#[derive(Debug, Subcommand)]
pub enum BucketRuleCommand {
    /// Give a bucket another rule; only with an operator's certificate. What is written from then on (by everyone within about a second) follows it.
    /// What is there already stays where it is: copy it into another bucket with the new rule, or change what the old rule asks for (sago rule
    /// set), which moves all that was written by it.
    Set {
        /// The bucket.
        name: String,
        /// The rule, as `sago rule list` shows them.
        rule: String,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// The breaker of a bucket.
#[derive(Debug, Subcommand)]
pub enum BreakerCommand {
    /// Let the bucket take deletions again and count from zero; only with an operator's certificate.
    Lift {
        /// The bucket.
        name: String,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Set how many deletions and overwrites open it; only with an operator's certificate.
    Set {
        /// The bucket.
        name: String,
        /// So many within ten minutes; `auto` = 10,000 or a tenth of the files if that is more; `off` = any number.
        #[arg(long, value_name = "N|auto|off")]
        limit: LimitArg,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// How the content of a bucket is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrmArg(pub Protection);

impl std::str::FromStr for DrmArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Protection::from_name(text).map(DrmArg).ok_or_else(|| "lcp is the only one".to_owned())
    }
}

/// How many deletions open the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitArg(pub DeleteLimit);

impl std::str::FromStr for LimitArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(LimitArg(DeleteLimit::Auto)),
            "off" => Ok(LimitArg(DeleteLimit::Off)),
            number => match number.parse() {
                Ok(max) if max > 0 => Ok(LimitArg(DeleteLimit::Max(max))),
                _ => Err("a number from 1 on, auto or off".to_owned()),
            },
        }
    }
}
