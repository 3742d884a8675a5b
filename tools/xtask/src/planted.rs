//! Do the tests bite? Each mistake of `node/mistakes` is planted, and the test that should find it has to fail.
//!
//! One build with the feature `mistakes/planted`, in a target folder of its own, so that no other build ever takes its program; then one run
//! for each mistake, chosen by a variable. First every test runs once with nothing planted and has to pass.

use crate::ci::cargo_path;
use crate::programs::{self, Program};
use crate::rocksdb;
use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Time in which a mistake must be found.
const FOUND_MAX: Duration = Duration::from_secs(600);
/// Exit code of a test program that cannot run here, as `tests/harness` has it.
const CANNOT_RUN: i32 = 77;
/// Between two looks whether a test has ended.
const LOOK: Duration = Duration::from_millis(200);

/// A mistake and who finds it.
struct Planted {
    name: &'static str,
    about: &'static str,
    /// The test target, and which of its tests.
    target: &'static str,
    filter: &'static str,
    /// Whether the fault test runs at full length.
    battery: bool,
}

const PLANTED: [Planted; 6] = [
    Planted {
        name: "M1",
        about: "the Raft log is not flushed before it is acknowledged",
        target: "power_cut",
        filter: "",
        battery: true,
    },
    Planted {
        name: "M3",
        about: "the folder of a new segment is not flushed",
        target: "chunk_store",
        filter: "crash_tests",
        battery: false,
    },
    Planted { name: "M8", about: "readers do not look at the hash", target: "rot", filter: "", battery: false },
    Planted {
        name: "M11",
        about: "the log forgives damage in its middle, and is not compared with what it promised",
        target: "folders",
        filter: "a_damaged_log",
        battery: false,
    },
    Planted {
        name: "M15",
        about: "a node that was removed is listened to",
        target: "nodes",
        filter: "",
        battery: false,
    },
    Planted {
        name: "M16",
        about: "a mount that lost written data tells nobody",
        target: "quorum",
        filter: "",
        battery: false,
    },
];

/// What was built.
struct Built {
    /// The test programs by the name of their target, with the folder of their package.
    tests: BTreeMap<String, (PathBuf, PathBuf)>,
    sago: PathBuf,
}

/// How a run ended.
enum End {
    Passed,
    Failed,
    CannotRun,
    TooLate,
}

/// Plants all mistakes, or those that are named. Whether each was found, and nothing else was.
///
/// # Errors
/// A mistake that does not exist was named, or the build failed.
pub fn run(root: &Path, only: &[String]) -> anyhow::Result<bool> {
    for name in only {
        ensure!(PLANTED.iter().any(|planted| planted.name == name), "there is no mistake {name}");
    }
    let built = build(root)?;
    let chosen = |planted: &&Planted| only.is_empty() || only.iter().any(|name| name == planted.name);
    let (mut rows, mut good) = (Vec::new(), true);
    for planted in PLANTED.iter().filter(chosen) {
        println!("\n== {}: nothing planted in {}", planted.name, planted.target);
        let (sound, _) = one(&built, planted, None)?;
        println!("\n== {}: {}", planted.name, planted.about);
        let (found, took) = one(&built, planted, Some(planted.name))?;
        let verdict = match (sound, found) {
            (End::Passed, End::Failed) => format!("found after {:.0} s", took.as_secs_f64()),
            (End::CannotRun, _) | (_, End::CannotRun) => "CANNOT RUN HERE".into(),
            (End::Passed, _) => "NOT FOUND".into(),
            (_, _) => "FAILS WITHOUT IT".into(),
        };
        good &= verdict.starts_with("found");
        rows.push(format!(
            "| {} | {} | `{}` {} | {verdict} |",
            planted.name, planted.about, planted.target, planted.filter
        ));
    }
    println!("\n| | mistake | test | |\n| --- | --- | --- | --- |\n{}", rows.join("\n"));
    Ok(good)
}

fn build(root: &Path) -> anyhow::Result<Built> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from).join("planted");
    let mut cargo = Command::new(cargo_path());
    cargo.args(["build", "--workspace", "--all-targets", "--locked", "--features", "mistakes/planted", "--target-dir"]);
    cargo.arg(&target).envs(rocksdb::environment(root)).current_dir(root);
    let (mut tests, mut sago) = (BTreeMap::new(), None);
    for Program { folder, target, test, path } in programs::build(&mut cargo)?.context("cargo build failed")? {
        match (test, target.replace('-', "_")) {
            (true, name) => drop(tests.insert(name, (path, folder))),
            (false, name) if name == "sago" => sago = Some(path),
            _ => {}
        }
    }
    Ok(Built { tests, sago: sago.context("no program sago was built")? })
}

/// Runs the test of a mistake, with what is planted.
fn one(built: &Built, planted: &Planted, name: Option<&str>) -> anyhow::Result<(End, Duration)> {
    let (program, folder) = built.tests.get(planted.target).with_context(|| format!("no test {}", planted.target))?;
    let mut command = Command::new(program);
    command.arg("--test-threads=1").args(Some(planted.filter).filter(|filter| !filter.is_empty()));
    command.current_dir(folder).env("SAGO_BIN", &built.sago).env_remove("SAGO_MISTAKE").process_group(0);
    if let Some(name) = name {
        command.env("SAGO_MISTAKE", name);
        if planted.battery {
            command.env("SAGO_BATTERY", "1");
        }
    }
    let begun = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    loop {
        if let Some(status) = child.try_wait()? {
            let end = match status.code() {
                Some(0) => End::Passed,
                Some(CANNOT_RUN) => End::CannotRun,
                _ => End::Failed,
            };
            return Ok((end, begun.elapsed()));
        }
        if begun.elapsed() > FOUND_MAX {
            // The nodes of the test end with it.
            Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status()?;
            child.wait()?;
            return Ok((End::TooLate, begun.elapsed()));
        }
        std::thread::sleep(LOOK);
    }
}
