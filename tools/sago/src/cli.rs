//! The command line: what can be said and what it means. Parsing only; the work is in the modules named after the commands.

mod bucket;
mod client;
mod cluster;
mod demo;
mod drm;
mod durability;
mod fsck;
mod gateway;
mod lend;
mod meta;
mod mount;
mod node;
mod object;
mod placement;
mod recover;
mod rule;
mod scrub;
mod trash;
mod user;

pub use bucket::{BreakerCommand, BucketCommand, BucketRuleCommand, DrmArg};
pub use client::ClientArgs;
pub use cluster::{ClusterCommand, GarbageArgs, InitArgs, NodeSpec, StatusArgs};
pub use demo::DemoArgs;
pub use drm::{CaDevArgs, DrmCommand, DrmKeyCommand, VerifyArgs};
pub use durability::DurabilityArgs;
pub use fsck::FsckArgs;
pub use gateway::GatewayArgs;
pub use lend::{
    IssueArgs, LicenceCommand, ProtectArgs, ReportArgs, RightArgs, RightCommand, StandingWord, StateWord, TitleCommand,
    TokenArgs,
};
pub use meta::{MetaCommand, MetaExportArgs, MetaImportArgs};
pub use mount::MountArgs;
pub use node::{
    AdmitArgs, DiskAddArgs, DiskArgs, DiskCommand, DiskDrainArgs, DrainArgs, InviteArgs, JoinArgs, NodeArgs,
    NodeCommand, RemoveArgs, ReplaceArgs, RestArgs, RestartArgs,
};
pub use object::{GetArgs, LsArgs, PutArgs, RmArgs, StatArgs};
pub use placement::{PlacementCommand, PlanArgs, SetArgs};
pub use recover::RecoverArgs;
pub use rule::{RuleArgs, RuleCommand};
pub use scrub::ScrubArgs;
pub use trash::{PurgeArgs, RestoreArgs, TrashCommand, TrashFilterArgs, TrashListArgs, WindowArgs, reason_word};
pub use user::{KeyCommand, UserCommand};

use clap::{Args, Parser, Subcommand};

const ABOUT: &str = "Sago keeps every file in three places and serves it while machines die.";

const AFTER_HELP: &str = "\
Begin here:
  sago demo                                three nodes, S3 and a mount under ./sago-demo
  sago put book.epub books/book.epub --config sago-demo/client
  sago ls books --config sago-demo/client

A real cluster:
  sago cluster init --dir site --node 1=10.0.0.1:7400,zone=a --node 2=10.0.0.2:7400,zone=b --node 3=10.0.0.3:7400,zone=c
  sago node --config site/node-1/node.toml           on each machine, with its own folder and cluster.toml
  export SAGO_CONFIG=site/client                     where gateways, mounts and tools run
  sago user create alice; sago bucket create books --owner alice
  sago gateway --listen 0.0.0.0:9000
  sago mount books /mnt/books

Settings are read from a file, then from SAGO_* variables, then from flags; the later wins.
Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 not found, 4 the cluster did not answer, 5 damage was found, 6 not checked.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "sago", version, about = ABOUT, after_help = AFTER_HELP, max_term_width = 120)]
pub struct Cli {
    /// For all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of all commands.
#[derive(Debug, Args)]
pub struct Global {
    /// Print JSON on standard output, one document a line (`ls`: one a page); errors too, on standard error.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to log on standard error: error, warn, info, debug, trace, or a filter such as `info,raft=debug`.
    #[arg(long, global = true, env = "SAGO_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try it: a whole cluster with S3 and a mount in one folder.
    Demo(DemoArgs),
    /// Set up a cluster, or see how it is.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Where copies lie, and how they move.
    #[command(subcommand)]
    Placement(PlacementCommand),
    /// Rules of placement: how far apart copies stand, and on which kinds of disks.
    #[command(subcommand)]
    Rule(RuleCommand),
    /// Run a node, which keeps metadata and chunks; or have nodes come and go.
    Node(NodeArgs),
    /// Run an S3 gateway.
    Gateway(GatewayArgs),
    /// Mount a bucket as a file system.
    Mount(MountArgs),
    /// Users of S3.
    #[command(subcommand)]
    User(UserCommand),
    /// Key pairs of users.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Buckets.
    #[command(subcommand)]
    Bucket(BucketCommand),
    /// Protected books: keys, certificates for development, and the reader's side.
    #[command(subcommand)]
    Drm(DrmCommand),
    /// Look at every chunk now, and find what is damaged.
    Scrub(ScrubArgs),
    /// Estimate how long the data may be expected to last.
    Durability(DurabilityArgs),
    /// Look at the folder of a node that is stopped, and name everything that is damaged.
    Fsck(FsckArgs),
    /// Make one node's metadata the only truth, when the majority of a group's voters is gone for good.
    Recover(RecoverArgs),
    /// The metadata of a cluster as files, and the way back.
    #[command(subcommand)]
    Meta(MetaCommand),
    /// What was deleted, overwritten or truncated, and the way back.
    #[command(subcommand)]
    Trash(TrashCommand),
    /// Store files.
    Put(PutArgs),
    /// Fetch a file.
    Get(GetArgs),
    /// List buckets, or what is in one.
    Ls(LsArgs),
    /// Delete files.
    Rm(RmArgs),
    /// Show what is known of a file.
    Stat(StatArgs),
    /// Print the version.
    Version,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_and_the_big_ones_give_examples() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some() || path == " sago", "{path} says nothing");
            for arg in command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str())) {
                assert!(arg.get_help().is_some(), "{path}: {} says nothing", arg.get_id());
            }
            command.get_subcommands().for_each(|sub| check(sub, &path));
        }
        check(&Cli::command(), "");
        for name in [
            "demo",
            "drm",
            "node",
            "gateway",
            "mount",
            "scrub",
            "durability",
            "fsck",
            "meta",
            "recover",
            "put",
            "get",
            "ls",
            "rm",
            "trash",
        ] {
            let command = Cli::command();
            let help = command.find_subcommand(name).and_then(|sub| sub.get_after_help().map(ToString::to_string));
            assert!(help.is_some_and(|help| help.contains(&format!("sago {name}"))), "{name} has no example");
        }
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "sago",
            "sago frobnicate",
            "sago put",
            "sago cluster init",
            "sago cluster init --dir d --node one=a:1",
            "sago cluster init --dir d --node 1=a",
            "sago demo --nodes 2",
            "sago placement node 1 gone",
            "sago placement disk 1 drain",
            "sago mount books",
            "sago node",
            "sago node invite 4 --site s --token t",
            "sago node invite 4=a:1 --token t",
            "sago node join --dir d",
            "sago node drain",
            "sago node --config c drain 1",
            "sago ls --frob",
            "sago trash purge books",
            "sago trash restore books --replace --keep-both",
            "sago trash list books --since yesterday",
            "sago bucket breaker set books --limit 0",
            "sago fsck",
            "sago meta export node-1",
            "sago meta import node-1",
            "sago recover --unsafe --all",
            "sago recover --unsafe node-1",
            "sago recover --unsafe node-1 --all --group 3",
            "sago recover --unsafe node-1 --group 1048576",
            "sago durability --annual-failure-rate 100",
            "sago durability --nodes 6",
            "sago drm ca-dev",
            "sago drm ca-dev d --rsa --ecdsa",
            "sago drm ca-dev d --days 0",
            "sago drm key new",
            "sago drm verify b --passphrase p --passphrase-file f",
            "sago drm verify b --crl c",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn json_stands_anywhere() {
        for line in ["sago --json version", "sago user create alice --json", "sago ls --json books --config x"] {
            assert!(Cli::try_parse_from(line.split(' ')).expect(line).global.json, "{line}");
        }
    }
}
