//! `sago put|get|ls|rm|stat`.

use super::ClientArgs;
use clap::Args;
use std::path::PathBuf;

const PUT_EXAMPLES: &str = "\
Examples:
  sago put book.epub books/novels/book.epub
  sago put *.jpg books/pictures/            names are kept under a target that ends in /
  tar c photos | sago put - books/photos.tar";

const GET_EXAMPLES: &str = "\
Examples:
  sago get books/novels/book.epub           into ./book.epub
  sago get books/novels/book.epub copy.epub
  sago get books/photos.tar - | tar x";

const LS_EXAMPLES: &str = "\
Examples:
  sago ls                                   buckets
  sago ls books/novels/                     one level
  sago ls -r books                          everything";

const RM_EXAMPLES: &str = "\
Examples:
  sago rm books/novels/book.epub
  sago rm -r books/pictures/                everything that begins so";

/// Store files.
#[derive(Debug, Args)]
#[command(after_help = PUT_EXAMPLES)]
pub struct PutArgs {
    /// Files, then where to: BUCKET/KEY, or BUCKET/PREFIX/ for several. `-` is standard input.
    #[arg(required = true, num_args = 2.., value_names = ["FILE", "TARGET"])]
    pub paths: Vec<PathBuf>,
    /// Media type to keep with the files; guessed from the name if not given.
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Fetch a file.
#[derive(Debug, Args)]
#[command(after_help = GET_EXAMPLES)]
pub struct GetArgs {
    /// BUCKET/KEY.
    pub source: String,
    /// File or folder to write to; `-` is standard output. Default: the key's last part, here.
    pub target: Option<PathBuf>,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// List buckets, or what is in one.
#[derive(Debug, Args)]
#[command(after_help = LS_EXAMPLES)]
pub struct LsArgs {
    /// BUCKET or BUCKET/PREFIX. Nothing: all buckets.
    pub path: Option<String>,
    /// Everything below, not only one level.
    #[arg(long, short)]
    pub recursive: bool,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Delete files.
#[derive(Debug, Args)]
#[command(after_help = RM_EXAMPLES)]
pub struct RmArgs {
    /// BUCKET/KEY, or with --recursive BUCKET/PREFIX.
    #[arg(required = true)]
    pub paths: Vec<String>,
    /// Everything that begins so.
    #[arg(long, short)]
    pub recursive: bool,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Show what is known of a file.
#[derive(Debug, Args)]
pub struct StatArgs {
    /// BUCKET/KEY.
    pub path: String,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}
