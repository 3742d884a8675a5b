//! The repo's own chores.
//!
//! `xtask ci` is the gate: the same steps on a developer's machine and in `.ci/run`. Every check that is ours alone
//! (`layers`, `tidy`) reads plain files, prints `path:line: what is wrong` and knows no network.

#![forbid(unsafe_code)]

mod ci;
mod finding;
mod layers;
mod planted;
mod programs;
mod purity;
mod rocksdb;
mod source;
mod suite;
mod tidy;

use clap::{Parser, Subcommand};
use finding::Finding;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "xtask", about = "The repo's own chores")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run the whole gate: format, lints, docs, layers, tidy, tests, deny, lock file.
    Ci {
        /// Leave out a step (may be repeated; names from --list).
        #[arg(long, value_name = "STEP")]
        skip: Vec<String>,
        /// Run only these steps (may be repeated).
        #[arg(long, value_name = "STEP", conflicts_with = "skip")]
        only: Vec<String>,
        /// Print the steps and stop.
        #[arg(long)]
        list: bool,
    },
    /// Build and run all test programs, clusters and computations side by side.
    Test,
    /// Plant mistakes and see that the tests find them; takes long.
    Planted {
        /// Only these (may be repeated).
        #[arg(long, value_name = "M1")]
        only: Vec<String>,
    },
    /// Refuse imports that point upward, crates outside their fence, and impure pure crates.
    Layers,
    /// Refuse leftovers, dead links, machine paths, overlong files, sleeps in tests, banned words, promises without a test.
    Tidy,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.chore {
        Chore::Ci { skip, only, list } => ci::run(&root(), &skip, &only, list),
        Chore::Test => suite::run(&root()).map(|wrong| wrong.is_empty()),
        Chore::Planted { only } => planted::run(&root(), &only),
        Chore::Layers => layers::check(&root()).map(|findings| report("layers", &findings)),
        Chore::Tidy => tidy::check(&root()).map(|findings| report("tidy", &findings)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The root of the repository this program was built from, or, if it has moved, the folder above that holds `Cargo.lock`.
fn root() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    here.ancestors().find(|folder| folder.join("Cargo.lock").exists()).map_or(here.clone(), PathBuf::from)
}

/// Prints the findings and tells whether there were none.
fn report(chore: &str, findings: &[Finding]) -> bool {
    for finding in findings {
        println!("{finding}");
    }
    println!("{chore}: {}", if findings.is_empty() { "ok".into() } else { format!("{} findings", findings.len()) });
    findings.is_empty()
}
