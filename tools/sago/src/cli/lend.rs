//! `sago drm`: what speaks with a cluster. Titles, licences, who may, what was downloaded.

use super::ClientArgs;
use crate::when::{Length, When};
use clap::{Args, Subcommand, ValueEnum};
use drm::licence::LicenceId;
use std::path::PathBuf;

/// Titles: books that are lent or sold.
#[derive(Debug, Subcommand)]
pub enum TitleCommand {
    /// List titles, and where each stands.
    List {
        /// Only of this bucket.
        #[arg(long, conflicts_with = "standing")]
        bucket: Option<String>,
        /// Only those that stand so.
        #[arg(long, value_enum)]
        standing: Option<StandingWord>,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show a title with its packages.
    Show {
        /// Its id, or BUCKET/KEY.
        title: String,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Have the objects of a protected bucket protected: those that are no titles yet, or have changed.
    Protect(ProtectArgs),
    /// Forget a title and delete its packages. Not while licences of it are open.
    Remove {
        /// Its id, or BUCKET/KEY.
        title: String,
        /// Also while licences are open: they can download nothing any more.
        #[arg(long)]
        force: bool,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Where a title stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StandingWord {
    /// Waits for a worker.
    Queued,
    /// A worker protects it.
    Protecting,
    /// Can be lent.
    Ready,
    /// Cannot be protected.
    Failed,
    /// Its object was deleted.
    Gone,
}

impl StandingWord {
    /// The number that stands for it.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8 + 1
    }
}

/// What to protect.
#[derive(Debug, Args)]
pub struct ProtectArgs {
    /// BUCKET, or BUCKET/PREFIX.
    pub path: String,
    /// Only count what would be done.
    #[arg(long, conflicts_with_all = ["again", "wait"])]
    pub dry_run: bool,
    /// Everything, also what is protected and what was refused.
    #[arg(long)]
    pub again: bool,
    /// Wait until no title is queued any more.
    #[arg(long)]
    pub wait: bool,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Licences.
#[derive(Debug, Subcommand)]
pub enum LicenceCommand {
    /// Issue a licence, as a store does by HTTP.
    Issue(Box<IssueArgs>),
    /// List licences, in the order in which they were issued.
    List {
        /// Only of this title: its id, or BUCKET/KEY.
        #[arg(long)]
        title: Option<String>,
        /// Only of this reader, as the store calls him.
        #[arg(long)]
        user: Option<String>,
        /// Only those that stand so.
        #[arg(long, value_enum)]
        state: Option<StateWord>,
        /// Only those with at least so many devices.
        #[arg(long, value_name = "N")]
        devices: Option<u32>,
        /// At most so many.
        #[arg(long, default_value_t = 1000)]
        max: u32,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Print a licence as it is sent (`.lcpl`), brought up to date.
    Show {
        /// The licence.
        licence: LicenceId,
        /// Into this file.
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Where a licence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateWord {
    /// No device has registered.
    Ready,
    /// One has.
    Active,
    /// Given back.
    Returned,
    /// Taken back.
    Revoked,
    /// Its end has passed.
    Expired,
    /// Given or taken back before it was used.
    Cancelled,
}

/// For whom, and what he may.
#[derive(Debug, Args)]
pub struct IssueArgs {
    /// The title: its id, or BUCKET/KEY.
    pub title: String,
    /// How the store calls the reader.
    #[arg(long)]
    pub user: String,
    /// What reminds him of his passphrase.
    #[arg(long)]
    pub hint: String,
    /// File with his passphrase; a line break at its end is no part of it.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: PathBuf,
    /// His name; encrypted in the licence.
    #[arg(long)]
    pub name: Option<String>,
    /// His address; encrypted in the licence.
    #[arg(long)]
    pub email: Option<String>,
    /// First moment: 2026-11-25T14:00:00Z.
    #[arg(long)]
    pub start: Option<When>,
    /// Last moment; makes it a loan.
    #[arg(long, conflicts_with = "days")]
    pub end: Option<When>,
    /// A loan of so many days from now.
    #[arg(long)]
    pub days: Option<u32>,
    /// Pages that may be printed; without it any number.
    #[arg(long, value_name = "PAGES")]
    pub print: Option<u64>,
    /// Characters that may be copied; without it any number.
    #[arg(long, value_name = "CHARACTERS")]
    pub copy: Option<u64>,
    /// Write the licence (`.lcpl`) into this file.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// What was downloaded.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Only with this licence.
    #[arg(long)]
    pub licence: Option<LicenceId>,
    /// Only of this title: its id, or BUCKET/KEY.
    #[arg(long)]
    pub title: Option<String>,
    /// Only by this reader, as the store calls him.
    #[arg(long)]
    pub user: Option<String>,
    /// Only what began then or later.
    #[arg(long)]
    pub since: Option<When>,
    /// Only what began before.
    #[arg(long)]
    pub until: Option<When>,
    /// As comma-separated values, for spreadsheets.
    #[arg(long, conflicts_with = "summary")]
    pub csv: bool,
    /// Only how many titles and licences stand where, and how much was downloaded.
    #[arg(long)]
    pub summary: bool,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// A download token.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The licence whose book it opens the way to.
    pub licence: LicenceId,
    /// For how long.
    #[arg(long, default_value = "15m")]
    pub ttl: Length,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Rights of users.
#[derive(Debug, Subcommand)]
pub enum RightCommand {
    /// Give a user a right: it holds on every gateway within five seconds.
    Grant(RightArgs),
    /// Take a right from a user: it is gone on every gateway within five seconds.
    Revoke(RightArgs),
    /// List who has which rights.
    List {
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Whose right.
#[derive(Debug, Args)]
pub struct RightArgs {
    /// The user.
    pub user: String,
    /// `lend`: may ask for licences and change them. `download`: may download for readers. `plain-read` or `plain-read=BUCKET`: may read plain bytes of
    /// protected buckets of his own.
    pub right: String,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}
