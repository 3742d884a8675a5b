//! `sago placement`.

use super::ClientArgs;
use crate::config::Size;
use clap::{Args, Subcommand, ValueEnum};
use types::{DiskId, DiskState, NodeMode};

/// Where copies lie, and how they move.
#[derive(Debug, Subcommand)]
pub enum PlacementCommand {
    /// Show copies left, moves in progress, and what cannot be helped and why.
    Status {
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show what would move next, and how much, with a node or disk in another state; nothing is changed.
    Plan(PlanArgs),
    /// Say what is wanted of a node; only with an operator's certificate.
    Node {
        /// The node's number.
        node: u64,
        /// What is wanted: a draining node gives its copies away, a removed one is gone for ever.
        mode: ModeArg,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Say what may be done with a disk; only with an operator's certificate.
    Disk {
        /// The disk's id, 32 hex digits, as `sago placement status` shows it.
        disk: DiskId,
        /// What may be done: a draining disk gives its copies away, a failed one has none any more and is never used again.
        state: StateArg,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Say what kind of disk it is, and its share of all copies; only with an operator's certificate.
    Weight {
        /// The disk's id, 32 hex digits.
        disk: DiskId,
        /// Its share, in the unit of all disks, such as GiB; 0 takes none.
        weight: u32,
        /// Its class, such as ssd; none if not given.
        #[arg(long, default_value = "")]
        class: String,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Change how copies are placed and moved; what is not given stays. Only with an operator's certificate.
    Set(SetArgs),
}

/// What to imagine.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// As if this node were draining.
    #[arg(long, value_name = "NODE")]
    pub drain: Vec<u64>,
    /// As if this node were lost.
    #[arg(long, value_name = "NODE")]
    pub lose: Vec<u64>,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Settings of placement.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Seconds a node may be down before its copies are made anew elsewhere.
    #[arg(long)]
    pub out_after: Option<u32>,
    /// Moves in progress in the whole cluster.
    #[arg(long)]
    pub moves: Option<u16>,
    /// Moves into and out of one node.
    #[arg(long)]
    pub moves_per_node: Option<u16>,
    /// Moves into one disk.
    #[arg(long)]
    pub moves_per_disk: Option<u16>,
    /// Bytes a second that one node copies for moves; 0 for no cap.
    #[arg(long)]
    pub copy_rate: Option<Size>,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// What is wanted of a node.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ModeArg {
    /// It takes part.
    Active,
    /// It gives its copies away.
    Drain,
    /// It is gone for ever.
    Remove,
}

impl From<ModeArg> for NodeMode {
    fn from(arg: ModeArg) -> Self {
        match arg {
            ModeArg::Active => NodeMode::Active,
            ModeArg::Drain => NodeMode::Draining,
            ModeArg::Remove => NodeMode::Removed,
        }
    }
}

/// What may be done with a disk.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StateArg {
    /// It takes and gives.
    Active,
    /// It gives its copies away.
    Drain,
    /// It gets no new groups.
    ReadOnly,
    /// It has nothing any more.
    Failed,
}

impl From<StateArg> for DiskState {
    fn from(arg: StateArg) -> Self {
        match arg {
            StateArg::Active => DiskState::Active,
            StateArg::Drain => DiskState::Draining,
            StateArg::ReadOnly => DiskState::ReadOnly,
            StateArg::Failed => DiskState::Failed,
        }
    }
}
