//! The command line of the load generator.

#![forbid(unsafe_code)]

use anyhow::Context;
use clap::{Parser, Subcommand};
use gateway_core::provider_key::ProviderKey;
use loadgen::suite::{self, Options};
use loadgen::target::Target;
use loadgen::workload::{Bound, downloads, licences, local, protect};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(name = "loadgen", version, about = "Load for a Sago cluster, and what it costs the servers")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every workload against a cluster and print the table, the gates and the aims. Exit code 1: a gate was missed.
    Suite {
        /// The line that `sago demo --json` printed.
        #[arg(long, value_name = "FILE")]
        demo_json: PathBuf,
        /// A folder on the disk of the nodes, for the local baseline; default: beside the first node's.
        #[arg(long, value_name = "DIR")]
        local: Option<PathBuf>,
        /// Seconds of each workload.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Seed of bodies and choices; also names the keys, so that two runs in one bucket do not meet.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Also write the report as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Create and fsync files in a folder: what the disk can do without Sago.
    Local {
        /// Where; what is made there is removed again.
        dir: PathBuf,
        /// Bytes of each file.
        #[arg(long, default_value_t = 64 << 10)]
        bytes: usize,
        /// Threads.
        #[arg(long, default_value_t = 8)]
        threads: usize,
        /// Seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Download a wrapped book and GET the same bytes plain, turn by turn. Exit code 1: an aim was missed.
    Downloads {
        /// The line that `sago demo --json` printed.
        #[arg(long, value_name = "FILE")]
        demo_json: PathBuf,
        /// The book, `BUCKET/KEY`.
        #[arg(long)]
        book: String,
        /// A licence of it; several are taken in turn.
        #[arg(long, value_name = "ID", required = true)]
        licence: Vec<String>,
        /// Connections.
        #[arg(long, default_value_t = 8)]
        workers: usize,
        /// Seconds of each turn.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Turns of each kind.
        #[arg(long, default_value_t = 6)]
        turns: usize,
    },
    /// Issue licences on one thread, without a cluster. Exit code 1: fewer than are aimed at.
    Licences {
        /// The provider's certificate, PEM; `sago drm ca-dev` makes one.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// Its key, PKCS #8 in PEM.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Protect a book of text on one thread, and deflate the same text. Exit code 1: it costs more than is aimed at.
    Protect {
        /// Bytes of plain text.
        #[arg(long, default_value_t = 5 << 20)]
        bytes: usize,
        /// How often; the best counts.
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// A file with text, such as XHTML of a real book, to make the book of. Default: words by the seed.
        #[arg(long, value_name = "FILE")]
        text: Option<PathBuf>,
        /// Seed of the words.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let code = |met: bool| if met { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match Args::parse().command {
        Command::Downloads { demo_json, book, licence, workers, seconds, turns } => {
            let target = Target::read(&demo_json)?;
            let (bucket, key) = book.split_once('/').context("a book is BUCKET/KEY")?;
            let (book, turn) = ((bucket.to_owned(), key.to_owned()), Duration::from_secs(seconds));
            let options = downloads::Options { book, licences: licence, workers, turn, turns };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let compared = runtime.block_on(downloads::compare(&target, &options))?;
            println!("{}", serde_json::to_string(&compared)?);
            Ok(code(compared.aims_met))
        }
        Command::Licences { certificate, key, seconds } => {
            let signer = ProviderKey::load(&certificate, &key)?;
            let issued = licences::issue(&signer, Bound::time(Duration::from_secs(seconds)));
            println!("{}", serde_json::to_string(&issued)?);
            Ok(code(issued.aim_met))
        }
        Command::Protect { bytes, rounds, text, seed } => {
            let file = text.map(|path| std::fs::read(&path).with_context(|| format!("cannot read {}", path.display())));
            let file = file.transpose()?;
            let text = file.as_deref().map_or(protect::Text::Words(seed), protect::Text::Of);
            let cost = protect::measure(bytes, text, rounds)?;
            println!("{}", serde_json::to_string(&cost)?);
            Ok(code(cost.aim_met))
        }
        Command::Local { dir, bytes, threads, seconds } => {
            let outcome = local::create_fsync(&dir, bytes, threads, Bound::time(Duration::from_secs(seconds)))?;
            println!("{}", serde_json::to_string(&outcome.samples.summary(outcome.wall))?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Suite { demo_json, local, seconds, seed, json } => {
            let target = Target::read(&demo_json)?;
            let beside = target.nodes.first().and_then(|node| node.dirs.first()?.parent().map(PathBuf::from));
            let local = local.or(beside).context("name a folder with --local")?;
            let options = Options { time: Duration::from_secs(seconds), local, servers: target.processes(), seed };
            // One thread: see the head of the library.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let report = runtime.block_on(suite::run(&target, &options))?;
            if let Some(path) = json {
                std::fs::write(&path, serde_json::to_vec_pretty(&report)?)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            println!("{}", report.markdown());
            Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
