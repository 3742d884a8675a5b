//! `sago trash`.

use super::ClientArgs;
use crate::when::{Length, When};
use clap::{Args, Subcommand, ValueEnum};
use proto::trash::TrashReason;

/// What was deleted, overwritten or truncated, and the way back.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  sago trash list books --since 2h --prefix ebooks/
  sago trash restore books --since 14:00 --oldest --replace     a deploy at 14:00 UTC deleted and overwrote books
  sago trash restore books --prefix ebooks/ --to found/         beside what is there
  sago trash purge books --until 3d --yes --config site/operator")]
pub enum TrashCommand {
    /// List what is in the trash of a bucket, oldest first.
    List(TrashListArgs),
    /// Bring files back with all they had.
    Restore(RestoreArgs),
    /// Release files for good; only with an operator's certificate.
    Purge(PurgeArgs),
    /// Show or set how long a bucket keeps what was deleted; setting needs an operator's certificate.
    Window(WindowArgs),
}

/// Which entries are meant.
#[derive(Debug, Args)]
pub struct TrashFilterArgs {
    /// The bucket.
    pub bucket: String,
    /// Only paths that begin so.
    #[arg(long, default_value = "")]
    pub prefix: String,
    /// Only what was removed at this time or later: 2026-11-25T14:00:00Z, 14:00 (today, UTC), 2h (ago).
    #[arg(long)]
    pub since: Option<When>,
    /// Only what was removed before this time.
    #[arg(long)]
    pub until: Option<When>,
    /// Only what this session (a process of a gateway, mount or tool, as in the list) removed.
    #[arg(long)]
    pub session: Option<u64>,
    /// Only what was removed this way.
    #[arg(long)]
    pub reason: Option<ReasonArg>,
    /// Files made and removed by one mount within minutes too.
    #[arg(long)]
    pub scratch: bool,
}

/// `sago trash list`.
#[derive(Debug, Args)]
pub struct TrashListArgs {
    /// Which.
    #[command(flatten)]
    pub filter: TrashFilterArgs,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `sago trash restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Which.
    #[command(flatten)]
    pub filter: TrashFilterArgs,
    /// Under this prefix instead of where they were.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub to: String,
    /// Where a name is taken, what stands there goes to the trash.
    #[arg(long, conflicts_with = "keep_both")]
    pub replace: bool,
    /// Where a name is taken, the file comes back as NAME.restored-1, -2, ...
    #[arg(long)]
    pub keep_both: bool,
    /// Of several versions of a path take the one removed first; with --since the path as it was at that time. Otherwise it is the
    /// one removed last.
    #[arg(long)]
    pub oldest: bool,
    /// Say what would be restored, and restore nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `sago trash purge`.
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// Which.
    #[command(flatten)]
    pub filter: TrashFilterArgs,
    /// It is meant: nothing brings them back.
    #[arg(long, required_unless_present = "dry_run")]
    pub yes: bool,
    /// Say what would be purged, and purge nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `sago trash window`.
#[derive(Debug, Args)]
pub struct WindowArgs {
    /// The bucket.
    pub bucket: String,
    /// The new window: 1h to 365d.
    pub window: Option<Length>,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// A way into the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReasonArg {
    /// Unlinked through a mount.
    Unlinked,
    /// Another file was renamed over it.
    RenamedOver,
    /// Another object was put over it.
    Overwritten,
    /// Deleted through S3.
    Deleted,
    /// Its content was cut off or written over as a whole.
    Truncated,
    /// A restored file took its place.
    Replaced,
}

impl From<ReasonArg> for TrashReason {
    fn from(reason: ReasonArg) -> Self {
        match reason {
            ReasonArg::Unlinked => TrashReason::Unlinked,
            ReasonArg::RenamedOver => TrashReason::RenamedOver,
            ReasonArg::Overwritten => TrashReason::Overwritten,
            ReasonArg::Deleted => TrashReason::Deleted,
            ReasonArg::Truncated => TrashReason::Truncated,
            ReasonArg::Replaced => TrashReason::Replaced,
        }
    }
}

/// The word for a way into the trash.
#[must_use]
pub fn reason_word(reason: TrashReason) -> &'static str {
    match reason {
        TrashReason::Unlinked => "unlinked",
        TrashReason::RenamedOver => "renamed-over",
        TrashReason::Overwritten => "overwritten",
        TrashReason::Deleted => "deleted",
        TrashReason::Truncated => "truncated",
        TrashReason::Replaced => "replaced",
    }
}
