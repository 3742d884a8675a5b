//! The one binary: nodes, gateways, mounts, the demo, and the operator's commands. The only place where all parts meet.
//!
//! `cli` says what can be said, `config` what files may contain; every command has a module of its name; `exit` is the one place
//! where errors become exit codes.

#![forbid(unsafe_code)]

mod bucket;
mod cli;
mod cluster;
mod config;
mod connect;
mod copies;
mod demo;
mod drm;
mod durability;
mod exit;
mod fsck;
mod lending;
mod meta;
mod node;
mod object;
mod operate;
mod output;
mod recover;
mod rule;
mod scrub;
mod serve;
mod trash;
mod user;
mod when;

use clap::{CommandFactory, Parser};
use cli::{Cli, ClusterCommand, Command, NodeArgs};
use exit::{Done, Failure};
use output::Output;
use serde_json::json;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// What long-running commands log unless told otherwise. The S3 library logs every refused request as an error; the gateway has a
/// log of its own.
const SERVICE_LOG: &str = "info,s3s=off";
/// What short commands log: what goes wrong is their result already.
const TOOL_LOG: &str = "error,s3s=off";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output { json: cli.global.json };
    match run(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(output.json),
    }
}

fn run(cli: Cli, output: Output) -> Done {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    config::check_environment(&Cli::command(), names)?;
    let serves_node = matches!(&cli.command, Command::Node(args) if args.command.is_none());
    let service = serves_node || matches!(&cli.command, Command::Gateway(_) | Command::Mount(_));
    start_log(cli.global.log.as_deref().unwrap_or(if service { SERVICE_LOG } else { TOOL_LOG }))?;
    // For reqwest; the transport names its provider itself. Only the first call in a process has an effect.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if serves_node {
        runtime.worker_threads(node_threads());
    }
    let runtime = runtime.enable_all().build()?;
    let done = runtime.block_on(dispatch(cli.command, output));
    // What is still under way, such as a read of standard input, holds up nobody.
    runtime.shutdown_background();
    done
}

/// Threads for a node's network: half the cores. Its disks, logs and state machines have threads of their own, and each more that
/// sleeps here is woken in vain for every packet.
fn node_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

async fn dispatch(command: Command, output: Output) -> Done {
    match command {
        Command::Demo(args) => Box::pin(demo::demo(args, output)).await,
        Command::Cluster(ClusterCommand::Init(args)) => cluster::init(args, output),
        Command::Cluster(ClusterCommand::Status(args)) => Box::pin(cluster::status(args, output)).await,
        Command::Cluster(ClusterCommand::Finalize(args)) => Box::pin(cluster::finalize(args, output)).await,
        Command::Placement(command) => Box::pin(copies::run(command, output)).await,
        Command::Rule(command) => Box::pin(rule::run(command, output)).await,
        Command::Cluster(ClusterCommand::Garbage(args)) => Box::pin(cluster::garbage(args, output)).await,
        Command::Node(NodeArgs { command: Some(command), .. }) => Box::pin(node::run(command, output)).await,
        Command::Node(args) => Box::pin(serve::node(args)).await,
        Command::Gateway(args) => Box::pin(serve::gateway(args)).await,
        Command::Mount(args) => Box::pin(serve::mount(args)).await,
        Command::User(command) => Box::pin(user::user(command, output)).await,
        Command::Key(command) => Box::pin(user::key(command, output)).await,
        Command::Bucket(command) => Box::pin(bucket::bucket(command, output)).await,
        Command::Scrub(args) => Box::pin(scrub::scrub(args, output)).await,
        Command::Drm(command) => Box::pin(drm::run(command, output)).await,
        Command::Durability(args) => Box::pin(durability::durability(args, output)).await,
        Command::Fsck(args) => fsck::fsck(&args, output),
        Command::Meta(command) => Box::pin(meta::run(command, output)).await,
        Command::Recover(args) => Box::pin(recover::recover(&args, output)).await,
        Command::Trash(command) => Box::pin(trash::trash(command, output)).await,
        Command::Put(args) => Box::pin(object::put(args, output)).await,
        Command::Get(args) => Box::pin(object::get(args, output)).await,
        Command::Ls(args) => Box::pin(object::ls(args, output)).await,
        Command::Rm(args) => Box::pin(object::rm(args, output)).await,
        Command::Stat(args) => Box::pin(object::stat(args, output)).await,
        Command::Version => {
            let version = json!({ "version": env!("CARGO_PKG_VERSION"), "protocol": proto::frame::VERSION });
            output.show(&version, |_| format!("sago {}", env!("CARGO_PKG_VERSION")))
        }
    }
}

fn start_log(filter: &str) -> Done {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Failure::new(exit::Kind::Usage, format!("--log {filter:?}: {error}")))?;
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    Ok(())
}
