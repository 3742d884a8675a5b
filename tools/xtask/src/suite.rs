//! All test programs, in two lanes side by side: those that start clusters wait most of their time, those that only compute need
//! the processor. The second lane is niced, so that it takes what the first leaves.
//!
//! Every program runs as `cargo test` runs it, from the folder of its package. What it says is printed in one piece when it ends.

use crate::ci::cargo_path;
use anyhow::Context;
use serde::Deserialize;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Packages whose tests know no real time: they may run beside a cluster and come to the same. All others have the first lane.
const COMPUTE: [&str; 13] = [
    "chunk-core",
    "chunk-store",
    "gateway-core",
    "meta-core",
    "placement",
    "proto",
    "raft-core",
    "raft-log",
    "rocks-check",
    "sim",
    "state-store",
    "types",
    "xtask",
];

/// A built test program.
struct Program {
    package: String,
    folder: PathBuf,
    name: String,
    path: PathBuf,
}

/// What became of it.
struct Ended {
    name: String,
    passed: bool,
    tests: usize,
    took: Duration,
}

/// Builds and runs all test programs and tells whether all passed.
///
/// # Errors
/// Cargo or a program cannot be started.
pub fn run(root: &Path) -> anyhow::Result<bool> {
    let Some(programs) = build(root)? else { return Ok(false) };
    anyhow::ensure!(!programs.is_empty(), "cargo has built no test program");
    let (computing, waiting): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|program| COMPUTE.contains(&program.package.as_str()));
    let started = Instant::now();
    let ended = std::thread::scope(|scope| {
        let beside = scope.spawn(|| lane(&computing, 10));
        let mut ended = lane(&waiting, 0)?;
        ended.extend(beside.join().map_err(|_| anyhow::anyhow!("the second lane has panicked"))??);
        anyhow::Ok(ended)
    })?;
    Ok(summarize(ended, started.elapsed()))
}

/// The lines of `cargo --message-format json` that matter.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// `None`: it does not build, and cargo has said why.
fn build(root: &Path) -> anyhow::Result<Option<Vec<Program>>> {
    let output = Command::new(cargo_path())
        .args(["test", "--workspace", "--lib", "--bins", "--tests", "--examples", "--locked", "--no-run"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    let said = String::from_utf8(output.stdout).context("cargo does not speak UTF-8")?;
    output.status.success().then(|| said.lines().filter_map(|line| program(line).transpose()).collect()).transpose()
}

fn program(line: &str) -> anyhow::Result<Option<Program>> {
    let said: Artifact = serde_json::from_str(line).with_context(|| format!("cargo said {line:?}"))?;
    let (Some(manifest), Some(target), Some(path)) = (said.manifest_path, said.target, said.executable) else {
        return Ok(None);
    };
    if said.reason != "compiler-artifact" || !said.profile.is_some_and(|profile| profile.test) {
        return Ok(None);
    }
    let folder = manifest.parent().context("a manifest without a folder")?.to_owned();
    let package = folder.file_name().context("a package without a folder")?.to_string_lossy().into_owned();
    let name =
        if target.name.replace('_', "-") == package { package.clone() } else { format!("{package}: {}", target.name) };
    Ok(Some(Program { package, folder, name, path }))
}

/// Runs programs one after the other.
fn lane(programs: &[Program], nice: i32) -> anyhow::Result<Vec<Ended>> {
    programs.iter().map(|program| one(program, nice)).collect()
}

fn one(program: &Program, nice: i32) -> anyhow::Result<Ended> {
    println!(".. {}", program.name);
    let started = Instant::now();
    // A file and no pipe: a process that a test has left behind would hold a pipe open, and its end would be waited for.
    let mut said = tempfile::tempfile()?;
    let status = Command::new("nice")
        .args(["-n", &nice.to_string()])
        .arg(&program.path)
        .current_dir(&program.folder)
        .env("CARGO_MANIFEST_DIR", &program.folder)
        .stdout(said.try_clone()?)
        .stderr(said.try_clone()?)
        .status()
        .with_context(|| format!("cannot start {}", program.path.display()))?;
    let (passed, took) = (status.success(), started.elapsed());
    let mut out = Vec::new();
    said.rewind()?;
    said.read_to_end(&mut out)?;
    let out = String::from_utf8_lossy(&out);
    let verdict = if passed { "ok" } else { "FAILED" };
    println!("\n== {}: {verdict}, {:.1} s, {status}\n{}", program.name, took.as_secs_f64(), out.trim_start());
    Ok(Ended { name: program.name.clone(), passed, tests: passed_in(&out), took })
}

/// Tests that passed, by the last line of a program.
fn passed_in(said: &str) -> usize {
    let counts = said.lines().filter_map(|line| line.strip_prefix("test result: ")?.split(' ').nth(1));
    counts.filter_map(|count| count.parse::<usize>().ok()).sum()
}

fn summarize(mut ended: Vec<Ended>, took: Duration) -> bool {
    const SLOWEST: usize = 15;
    ended.sort_by_key(|program| std::cmp::Reverse(program.took));
    println!("\n== test: the slowest of {} programs", ended.len());
    for program in ended.iter().take(SLOWEST) {
        println!("{:>8.1} s  {}", program.took.as_secs_f64(), program.name);
    }
    let failed: Vec<_> = ended.iter().filter(|program| !program.passed).map(|program| program.name.as_str()).collect();
    let tests: usize = ended.iter().map(|program| program.tests).sum();
    println!("test: {tests} tests passed in {:.0} s", took.as_secs_f64());
    if !failed.is_empty() {
        println!("test: FAILED: {}", failed.join(", "));
    }
    failed.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_told_from_everything_else_that_cargo_says() {
        let built = |name: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/r/node/raft-log/Cargo.toml","target":{{"name":"{name}"}},"profile":{{"test":{test}}},"executable":"/t/x"}}"#
            )
        };
        let name = |line: &str| program(line).expect("it is JSON").map(|program| (program.package, program.name));
        assert_eq!(name(&built("raft_log", true)), Some(("raft-log".into(), "raft-log".into())));
        assert_eq!(name(&built("crash", true)), Some(("raft-log".into(), "raft-log: crash".into())));
        assert_eq!(name(&built("raft_log", false)), None);
        assert_eq!(name(r#"{"reason":"build-finished","success":true}"#), None);
        assert!(program("error").is_err());
    }

    #[test]
    fn passed_tests_are_counted() {
        let said = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored\n";
        assert_eq!(passed_in(said), 2);
        assert_eq!(passed_in("test result: FAILED. 1 passed; 1 failed"), 1);
        assert_eq!(passed_in("killed"), 0);
    }
}
