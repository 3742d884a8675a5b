//! `sago meta`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  sago meta export site/node-1 --to backup-2026-11-26              a node that is stopped; every group it has
  sago meta export site/node-1 --to backup-2026-11-26 --running    the same while it runs, from snapshots
  sago meta import site/node-1 --from backup-2026-11-26 --plan     what would be made of it
  sago meta import site/node-1 --from backup-2026-11-26            on every node that voted, before it is started

An export holds everything but the contents of files: names, attributes, where chunks lie, users and their keys. Keep it as you keep a password.
Groups of one export may be of different moments. docs/OPERATIONS.md has the way back.";

/// The metadata of a cluster as files.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum MetaCommand {
    /// Write the metadata that a node has into files, one a Raft group, after it was found to be sound.
    Export(MetaExportArgs),
    /// Make the first metadata of a node that has none from files: every node that votes from the same ones.
    Import(MetaImportArgs),
}

/// What to export.
#[derive(Debug, Args)]
pub struct MetaExportArgs {
    /// The node's `node.toml`, or the folder it stands in.
    #[arg(value_name = "NODE-FOLDER")]
    pub path: PathBuf,
    /// Folder for the files; made if it is missing. Nothing in it is overwritten.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// The node runs: fetch a snapshot of each group from it.
    #[arg(long)]
    pub running: bool,
}

/// What to import.
#[derive(Debug, Args)]
pub struct MetaImportArgs {
    /// The node's `node.toml`, or the folder it stands in. It must have no metadata.
    #[arg(value_name = "NODE-FOLDER")]
    pub path: PathBuf,
    /// Folder with the files, the control group's among them.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Check the files, say what would be made of them, and end.
    #[arg(long)]
    pub plan: bool,
}
