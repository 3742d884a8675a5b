//! `sago fsck`.

use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  sago fsck site/node-2              the node must be stopped; nothing is changed
  sago fsck site/node-2 --deep       also computes the hash of every chunk
  sago fsck site/node-2/node.toml --json

It looks at one node's folder: identities, Raft logs, the state of every group, every record on every disk, and whether these agree with each other.
A note is good to know, a warning goes away by itself when the node runs, a damage says what to do about it.

Exit codes: 0 no damage, 5 damage was found, 6 it could not be checked, such as a node that runs.";

/// What to look at.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct FsckArgs {
    /// The node's `node.toml`, or the folder it stands in.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Compute the BLAKE3 hash of every chunk too; without it every record is read and its checksums are checked.
    #[arg(long)]
    pub deep: bool,
}
