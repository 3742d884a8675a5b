//! `sago rule`.

use super::ClientArgs;
use clap::{Args, Subcommand, ValueEnum};
use types::FailureLevel;

/// Rules of placement: how far apart the copies of a bucket's contents stand, and on which kinds of disks.
#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// List rules with what they ask for, their buckets, and how many of their groups the cluster cannot place so.
    List {
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a rule; only with an operator's certificate. Refused if the cluster cannot give what it asks for.
    Add(RuleArgs),
    /// Change what a rule asks for; only with an operator's certificate. What is not given becomes as by default. All that was written by the rule
    /// moves, in the background, as far as it lies otherwise.
    Set(RuleArgs),
    /// Take a rule away that no bucket has; only with an operator's certificate. What was written by it moves to where the default rule wants it.
    Remove {
        /// Its name.
        name: String,
        /// Show what would move; nothing is changed.
        #[arg(long)]
        dry_run: bool,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// A rule.
#[derive(Debug, Args)]
pub struct RuleArgs {
    /// Its name: 1 to 32 of a-z 0-9 -. `default` is that of buckets of which nothing was said.
    pub name: String,
    /// What no two copies share.
    #[arg(long, default_value = "rack")]
    pub level: LevelArg,
    /// Copies on disks of a class, such as ssd=2; give it once for each class. The rest lie on any disk.
    #[arg(long = "class", value_name = "CLASS=COPIES")]
    pub classes: Vec<String>,
    /// Show where copies would go; nothing is changed.
    #[arg(long)]
    pub dry_run: bool,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// What no two copies share.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LevelArg {
    /// A zone: what stands before the first / of a node's domain.
    Zone,
    /// A rack: the whole domain of a node.
    Rack,
    /// A node.
    Node,
}

impl From<LevelArg> for FailureLevel {
    fn from(arg: LevelArg) -> Self {
        match arg {
            LevelArg::Zone => FailureLevel::Zone,
            LevelArg::Rack => FailureLevel::Rack,
            LevelArg::Node => FailureLevel::Node,
        }
    }
}
