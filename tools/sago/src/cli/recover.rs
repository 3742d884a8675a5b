//! `sago recover`.

use clap::Args;
use std::path::PathBuf;
use types::GroupId;

const EXAMPLES: &str = "\
Examples:
  sago recover --unsafe site/node-1 --all --plan     what would be done, and what may be lost; nothing is written
  sago recover --unsafe site/node-1 --all            the same, and then it asks for a sentence
  sago recover --unsafe site/node-1 --group 3        one Raft group only

For the day when two of three voters of a group are gone for good. Bring one of them back if that is possible at all: a disk in another machine is as
good as the node. What this node does not have is lost, and so is what the others had acknowledged without it.
The node must be stopped. The other voters are asked first; whoever of them answers ends it.

Nothing is deleted from the disks afterwards until you say `sago cluster garbage --on`. docs/OPERATIONS.md has the whole way.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 5 the metadata here is damaged, 6 it could not be checked, such as a node that runs.";

/// What to recover.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RecoverArgs {
    /// The node's `node.toml`, or the folder it stands in.
    #[arg(value_name = "NODE-FOLDER")]
    pub path: PathBuf,
    /// Say that you know that this cannot be safe. There is no way to recover without.
    #[arg(long = "unsafe")]
    pub unsafely: bool,
    /// The Raft group; 0 is the control group.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..i64::from(GroupId::LIMIT)))]
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub group: Option<u32>,
    /// Every group that this node votes in.
    #[arg(long)]
    pub all: bool,
    /// Print what would be done and what may be lost, and end.
    #[arg(long)]
    pub plan: bool,
}
