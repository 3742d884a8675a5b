//! All test programs, in two lanes side by side: those that start clusters wait most of their time, those that only compute need
//! the processor. The second lane is niced, so that it takes what the first leaves; what starts clusters and can wait comes last there.
//!
//! Every program runs as `cargo test` runs it, from the folder of its package. What it says is printed in one piece when it ends.

use crate::ci::{Wrong, cargo_path};
use crate::programs::{self, Program};
use anyhow::Context;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// Packages whose tests know no real time: they may run beside a cluster and come to the same. All others have the first lane.
const COMPUTE: [&str; 15] = [
    "chunk-core",
    "chunk-store",
    "drm",
    "drm-compat",
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

/// Programs that start clusters and ask of them only that they come to the right end, however long it takes.
const PATIENT: [&str; 7] = [
    "cluster: faces",
    "cluster: folders",
    "cluster: fsck",
    "cluster: machine",
    "cluster: recover",
    "cluster: restore",
    "cluster: rules",
];

/// A test program and what it is called.
struct Test {
    package: String,
    name: String,
    program: Program,
}

impl Test {
    fn of(program: Program) -> anyhow::Result<Self> {
        let package = program.folder.file_name().context("a package without a folder")?.to_string_lossy().into_owned();
        let own = program.target.replace('_', "-") == package;
        let name = if own { package.clone() } else { format!("{package}: {}", program.target) };
        Ok(Test { package, name, program })
    }
}

/// What became of it.
struct Ended {
    name: String,
    wrong: Wrong,
    tests: usize,
    took: Duration,
}

/// Builds and runs all test programs and tells what is wrong.
///
/// # Errors
/// Cargo or a program cannot be started.
pub fn run(root: &Path) -> anyhow::Result<Wrong> {
    let Some(tests) = build(root)? else { return Ok(vec!["it does not build".into()]) };
    anyhow::ensure!(!tests.is_empty(), "cargo has built no test program");
    let (mut niced, waiting): (Vec<_>, Vec<_>) =
        tests.into_iter().partition(|test| COMPUTE.contains(&test.package.as_str()));
    let (patient, prompt): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|test| PATIENT.contains(&test.name.as_str()));
    niced.extend(patient);
    let started = Instant::now();
    let ended = std::thread::scope(|scope| {
        let beside = scope.spawn(|| lane(&niced, 10));
        let mut ended = lane(&prompt, 0)?;
        ended.extend(beside.join().map_err(|_| anyhow::anyhow!("the second lane has panicked"))??);
        anyhow::Ok(ended)
    })?;
    Ok(summarize(ended, started.elapsed()))
}

/// `None`: it does not build, and cargo has said why.
fn build(root: &Path) -> anyhow::Result<Option<Vec<Test>>> {
    let mut cargo = Command::new(cargo_path());
    cargo.args(["test", "--workspace", "--lib", "--bins", "--tests", "--examples", "--locked", "--no-run"]);
    let built = programs::build(cargo.current_dir(root))?;
    built.map(|built| built.into_iter().filter(|program| program.test).map(Test::of).collect()).transpose()
}

/// Runs programs one after the other.
fn lane(tests: &[Test], nice: i32) -> anyhow::Result<Vec<Ended>> {
    tests.iter().map(|test| one(test, nice)).collect()
}

fn one(Test { name, program, .. }: &Test, nice: i32) -> anyhow::Result<Ended> {
    println!(".. {name}");
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
    println!("\n== {name}: {verdict}, {:.1} s, {status}\n{}", took.as_secs_f64(), out.trim_start());
    let wrong = if passed { Wrong::new() } else { wrong_in(name, status, &out) };
    Ok(Ended { name: name.clone(), wrong, tests: passed_in(&out), took })
}

/// Tests that passed, by the last line of a program.
fn passed_in(said: &str) -> usize {
    let counts = said.lines().filter_map(|line| line.strip_prefix("test result: ")?.split(' ').nth(1));
    counts.filter_map(|count| count.parse::<usize>().ok()).sum()
}

/// Where and why a program that failed has panicked, and how it ended.
fn wrong_in(name: &str, status: ExitStatus, said: &str) -> Wrong {
    const PANICS: usize = 3;
    const CHARS: usize = 300;
    let mut lines = said.lines();
    let mut wrong = vec![format!("{name}: {status}")];
    while let Some(line) = lines.find(|line| line.contains(" panicked at ")) {
        let place = line.rsplit(" panicked at ").next().unwrap_or_default();
        let why = lines.next().unwrap_or_default();
        wrong.push(format!("{name}: {place} {}", why.chars().take(CHARS).collect::<String>()));
    }
    wrong.truncate(1 + PANICS);
    wrong
}

fn summarize(mut ended: Vec<Ended>, took: Duration) -> Wrong {
    const SLOWEST: usize = 15;
    ended.sort_by_key(|program| std::cmp::Reverse(program.took));
    println!("\n== test: the slowest of {} programs", ended.len());
    for program in ended.iter().take(SLOWEST) {
        println!("{:>8.1} s  {}", program.took.as_secs_f64(), program.name);
    }
    let tests: usize = ended.iter().map(|program| program.tests).sum();
    println!("test: {tests} tests passed in {:.0} s", took.as_secs_f64());
    let wrong: Wrong = ended.into_iter().flat_map(|program| program.wrong).collect();
    for what in &wrong {
        println!("test: FAILED: {what}");
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn a_test_is_called_after_its_package_and_its_target() {
        let name = |target: &str| {
            let (folder, path) = ("/r/node/raft-log".into(), "/t/x".into());
            let test = Test::of(Program { folder, target: target.into(), test: true, path }).expect("a folder");
            (test.package, test.name)
        };
        assert_eq!(name("raft_log"), ("raft-log".into(), "raft-log".into()));
        assert_eq!(name("crash"), ("raft-log".into(), "raft-log: crash".into()));
    }

    #[test]
    fn what_failed_is_told_with_its_place_and_its_reason() {
        let said =
            "thread 'a' (7) panicked at tests/a.rs:3:5:\nlost: 1\nnote: more\nthread 'b' panicked at tests/a.rs:9:1:\n";
        let status = ExitStatus::from_raw(101 << 8);
        let ended = format!("x: {status}");
        assert_eq!(wrong_in("x", status, said), [&*ended, "x: tests/a.rs:3:5: lost: 1", "x: tests/a.rs:9:1: "]);
        assert_eq!(wrong_in("x", status, "killed"), [&*ended]);
    }

    #[test]
    fn passed_tests_are_counted() {
        let said = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored\n";
        assert_eq!(passed_in(said), 2);
        assert_eq!(passed_in("test result: FAILED. 1 passed; 1 failed"), 1);
        assert_eq!(passed_in("killed"), 0);
    }
}
