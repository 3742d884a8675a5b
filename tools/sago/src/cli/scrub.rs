//! `sago scrub`.

use super::ClientArgs;
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  sago scrub --wait            every node, with progress on standard error
  sago scrub --node 2          node 2 only; `sago cluster status` shows how far it is

Every node looks at all its chunks within store.scrub_days by itself. What is damaged is written anew from an intact copy.";

/// Whom to ask.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ScrubArgs {
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Only this node; by default all.
    #[arg(long, value_name = "N")]
    pub node: Option<u64>,
    /// Wait until every chunk was looked at.
    #[arg(long)]
    pub wait: bool,
}
