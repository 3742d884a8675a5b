//! `sago node`: running one, and the comings and goings of nodes.

use super::{ClientArgs, NodeSpec};
use crate::config::Size;
use crate::when::Length;
use clap::builder::RangedI64ValueParser;
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use types::FeatureLevel;

const EXAMPLES: &str = "\
Example:
  sago node --config site/node-1/node.toml

A node joins a cluster that runs:
  sago node invite 4=10.0.0.4:7400,zone=d --site site --token node-4.token     where the authority is; it waits
  sago node join --token node-4.token --dir node-4                             on the new machine
  sago node --config node-4/node.toml

Restarts and upgrades, one node after the other, each once the one before has caught up:
  sago node restart --each 'ssh $HOST systemctl restart sago-node' --config site/operator

It stops cleanly on SIGTERM and SIGINT. Its health is at http://ADMIN/health, figures for Prometheus at /metrics.";

/// How to run a node. What is given here stands over `node.toml`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct NodeArgs {
    /// Rather than run one.
    #[command(subcommand)]
    pub command: Option<NodeCommand>,
    /// The node's `node.toml`.
    #[arg(long, env = "SAGO_NODE_CONFIG", value_name = "FILE", required = true)]
    pub config: Option<PathBuf>,
    /// UDP address to listen at.
    #[arg(long, env = "SAGO_NODE_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// TCP address of /metrics, /health and /status.
    #[arg(long, env = "SAGO_NODE_ADMIN", value_name = "ADDRESS:PORT")]
    pub admin: Option<SocketAddr>,
    /// Cache of metadata.
    #[arg(long, env = "SAGO_NODE_STATE_CACHE", value_name = "SIZE")]
    pub state_cache: Option<Size>,
    /// Cache of the chunk index.
    #[arg(long, env = "SAGO_NODE_INDEX_CACHE", value_name = "SIZE")]
    pub index_cache: Option<Size>,
    /// Request bodies that have arrived and are not yet answered.
    #[arg(long, env = "SAGO_NODE_NETWORK", value_name = "SIZE")]
    pub network: Option<Size>,
    /// Chunks that wait for one disk.
    #[arg(long, env = "SAGO_NODE_DISK_QUEUE", value_name = "SIZE")]
    pub disk_queue: Option<Size>,
    /// End when the process of this id, our parent, does.
    #[arg(long, hide = true, value_name = "PID")]
    pub with_parent: Option<i32>,
    /// Do no more than a program of this feature level does: for tests and rehearsals of upgrades.
    #[arg(long, env = "SAGO_NODE_FEATURE_LEVEL", hide = true, value_name = "LEVEL", value_parser = levels())]
    pub feature_level: Option<u32>,
}

/// The levels at which this program works.
fn levels() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(FeatureLevel::OLDEST.0)..=i64::from(FeatureLevel::NEWEST.0))
}

/// Nodes come and go.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Invite a node: write a token that lets one machine join, once and soon, and wait for it.
    Invite(InviteArgs),
    /// Go on waiting for a node that was invited, and let it in.
    Admit(AdmitArgs),
    /// Join a cluster with a token: make a key, ask to be let in, and write the files of the node.
    Join(JoinArgs),
    /// Have a node give away its copies and its votes, and wait until it has none.
    Drain(DrainArgs),
    /// Take a node that has nothing any more out of the cluster, for ever.
    Remove(RemoveArgs),
    /// Give a node one more disk, or take one away.
    #[command(subcommand)]
    Disk(DiskCommand),
    /// Let a node be away for a while: it is down meanwhile, and its copies are not made anew elsewhere.
    Rest(RestArgs),
    /// Restart nodes one after the other, each once the one before has caught up and nothing is amiss.
    Restart(RestartArgs),
    /// Put a new node in the place of another: invite it into the same failure domain, drain the other, remove it.
    Replace(ReplaceArgs),
}

/// Whom to invite.
#[derive(Debug, Args)]
pub struct InviteArgs {
    /// The node: ID=HOST:PORT, then optionally ,zone=ZONE. The id must be new.
    #[arg(value_name = "NODE")]
    pub node: NodeSpec,
    /// What to write the token to. Whoever has it may join in the node's place until it was used; give it to that machine alone.
    #[arg(long, value_name = "FILE")]
    pub token: PathBuf,
    /// How the token is made.
    #[command(flatten)]
    pub how: InviteHow,
}

/// How a node is invited.
#[derive(Debug, Args)]
pub struct InviteHow {
    /// The folder of `sago cluster init`, with the authority's key and the operator's.
    #[arg(long, value_name = "DIR")]
    pub site: PathBuf,
    /// Disks of the node: data directories data/disk-0, data/disk-1, ...
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub disks: u16,
    /// How long the token is good for, at most an hour.
    #[arg(long, default_value = "30m", value_name = "TIME")]
    pub life: Length,
}

/// Whom to wait for.
#[derive(Debug, Args)]
pub struct AdmitArgs {
    /// The token that was given to the node.
    #[arg(long, value_name = "FILE")]
    pub token: PathBuf,
    /// The folder of `sago cluster init`.
    #[arg(long, value_name = "DIR")]
    pub site: PathBuf,
}

/// How to join.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The token, as `sago node invite` wrote it.
    #[arg(long, value_name = "FILE")]
    pub token: PathBuf,
    /// Folder for the node's files. The same again after an interruption.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// TCP address for /metrics, /health and /status; into node.toml.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7401")]
    pub admin: SocketAddr,
}

/// Which node.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The node's number.
    pub node: u64,
    /// Do not wait until it has nothing any more.
    #[arg(long)]
    pub no_wait: bool,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Which node.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The node's number.
    pub node: u64,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Which node, and for how long.
#[derive(Debug, Args)]
pub struct RestArgs {
    /// The node's number.
    pub node: u64,
    /// For how long from now on, at most a week.
    #[arg(long = "for", value_name = "TIME", required_unless_present = "over")]
    pub length: Option<Length>,
    /// It is back for good, or shall be given up after the out time as any other.
    #[arg(long, conflicts_with = "length")]
    pub over: bool,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

const RESTART_EXAMPLES: &str = "\
The command is run by `sh` on this machine, once for each node, with its number in $NODE and its host in $HOST. It has to stop the node in order
(SIGTERM: what it leads is handed over first) and to start it again, at once or in a moment:
  sago node restart --each 'ssh $HOST systemctl restart sago-node' --config site/operator
  sago node restart 2 3 --within 30m --each 'ssh $HOST upgrade-and-reboot' --config site/operator
Nothing is restarted while anything is amiss. If a node does not come back in time, or the command fails, it ends there and the others are left alone.";

/// Which nodes, and how.
#[derive(Debug, Args)]
#[command(after_help = RESTART_EXAMPLES)]
pub struct RestartArgs {
    /// Numbers of the nodes, in this order; all of them if none is given.
    #[arg(value_name = "NODE")]
    pub nodes: Vec<u64>,
    /// What restarts a node.
    #[arg(long, value_name = "COMMAND")]
    pub each: String,
    /// How long one node may take in all, and how long the cluster is waited for before the first.
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub within: Length,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Which node goes and which comes.
#[derive(Debug, Args)]
pub struct ReplaceArgs {
    /// The number of the node that goes; it may be dead.
    pub old: u64,
    /// The node that comes: ID=HOST:PORT. It stands in the failure domain of the other.
    #[arg(value_name = "NODE")]
    pub new: NodeSpec,
    /// What to write the token to.
    #[arg(long, value_name = "FILE")]
    pub token: PathBuf,
    /// How the token is made.
    #[command(flatten)]
    pub how: InviteHow,
}

const DISK_EXAMPLES: &str = "\
A disk more, mounted at site/node-2/data/disk-1; then the node is restarted:
  sago node disk add site/node-2 data/disk-1 --config site/operator
A disk less; once the node was restarted it may be taken out:
  sago node disk drain site/node-2 data/disk-0 --config site/operator
  sago node disk remove site/node-2 data/disk-0 --config site/operator";

/// Disks of a node come and go. All of it needs an operator's certificate.
#[derive(Debug, Subcommand)]
#[command(after_help = DISK_EXAMPLES)]
pub enum DiskCommand {
    /// Make an empty folder a data directory of the node: it takes its share once the node was restarted.
    Add(DiskAddArgs),
    /// Have a disk give away its copies, and wait until it has none.
    Drain(DiskDrainArgs),
    /// Give up a disk that is empty, or broken, for ever.
    Remove(DiskArgs),
}

/// Which disk, on the machine of its node.
#[derive(Debug, Args)]
pub struct DiskArgs {
    /// The node's folder, with `node.toml`.
    #[arg(value_name = "NODE-FOLDER")]
    pub folder: PathBuf,
    /// The data directory, as it stands in `node.toml`.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Which disk, and of what kind.
#[derive(Debug, Args)]
pub struct DiskAddArgs {
    /// Which.
    #[command(flatten)]
    pub disk: DiskArgs,
    /// Its class, such as ssd; none if not given.
    #[arg(long, default_value = "")]
    pub class: String,
}

/// Which disk, and whether to wait.
#[derive(Debug, Args)]
pub struct DiskDrainArgs {
    /// Which.
    #[command(flatten)]
    pub disk: DiskArgs,
    /// Do not wait until it has nothing any more.
    #[arg(long)]
    pub no_wait: bool,
}
