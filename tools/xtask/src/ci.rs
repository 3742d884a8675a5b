//! The gate: every step timed, a summary at the end, one exit code.
//!
//! Steps go on after one has failed, so that one run tells everything; a step that cannot be started counts as failed too. What is wrong
//! is told where it happens and once more as the very last, for whoever sees only the end of a long log.

use crate::finding::Finding;
use crate::{layers, report, rocksdb, suite, tidy};
use anyhow::Context;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What cargo-deny is to refuse.
const DENY_CONFIG: &str = ".ci/deny.toml";

/// What is wrong, a line each; nothing: all is well.
pub(crate) type Wrong = Vec<String>;

/// One step of the gate.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Path) -> anyhow::Result<Wrong>,
}

/// In the order of how soon they tell something.
const STEPS: [Step; 9] = [
    Step { name: "lockfile", about: "Cargo.lock says what the manifests ask for", run: lockfile },
    Step { name: "fmt", about: "rustfmt", run: fmt },
    Step { name: "layers", about: "imports only point down; fences; pure crates", run: ours_layers },
    Step { name: "tidy", about: "leftovers, links, paths, lengths, sleeps, words, promises", run: ours_tidy },
    Step { name: "deny", about: "licences, sources, duplicates, advisories", run: deny },
    Step { name: "clippy", about: "lints, all targets, warnings refused", run: clippy },
    Step { name: "doc", about: "rustdoc, warnings refused", run: doc },
    Step { name: "test", about: "unit, integration and real-process tests", run: suite::run },
    Step { name: "doctest", about: "examples in the documentation", run: doctest },
];

/// Runs the steps and tells whether all passed.
///
/// # Errors
/// A step that does not exist was named.
pub fn run(root: &Path, skip: &[String], only: &[String], list: bool) -> anyhow::Result<bool> {
    if list {
        for step in &STEPS {
            println!("{:<10} {}", step.name, step.about);
        }
        return Ok(true);
    }
    for name in skip.iter().chain(only) {
        anyhow::ensure!(STEPS.iter().any(|step| step.name == name), "there is no step `{name}`; see --list");
    }
    let chosen = |step: &&Step| !named(skip, step) && (only.is_empty() || named(only, step));
    let mut rows = Vec::new();
    for step in STEPS.iter().filter(chosen) {
        println!("\n== {}: {}", step.name, step.about);
        let start = Instant::now();
        let wrong = (step.run)(root).unwrap_or_else(|error| {
            println!("{}: {error:#}", step.name);
            vec![format!("{error:#}")]
        });
        rows.push((step.name, wrong, start.elapsed()));
    }
    summarize(&rows);
    Ok(rows.iter().all(|(_, wrong, _)| wrong.is_empty()))
}

fn named(names: &[String], step: &Step) -> bool {
    names.iter().any(|name| name == step.name)
}

fn summarize(rows: &[(&str, Wrong, Duration)]) {
    println!("\n== summary");
    for (name, wrong, took) in rows {
        let state = if wrong.is_empty() { "ok" } else { "FAILED" };
        println!("{name:<10} {state:<8} {:>7.1} s", took.as_secs_f64());
    }
    for (name, wrong, _) in rows {
        for what in wrong {
            println!("{name}: {what}");
        }
    }
}

fn lockfile(root: &Path) -> anyhow::Result<Wrong> {
    let quiet = ["metadata", "--locked", "--format-version", "1"];
    let output = Command::new(cargo_path()).args(quiet).current_dir(root).output().context("cannot run cargo")?;
    if output.status.success() {
        return Ok(Wrong::new());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    println!("{said}");
    Ok(vec![said])
}

fn fmt(root: &Path) -> anyhow::Result<Wrong> {
    cargo(root, &["fmt", "--all", "--check"], &[])
}

fn ours_layers(root: &Path) -> anyhow::Result<Wrong> {
    Ok(findings("layers", &layers::check(root)?))
}

fn ours_tidy(root: &Path) -> anyhow::Result<Wrong> {
    Ok(findings("tidy", &tidy::check(root)?))
}

fn findings(step: &str, found: &[Finding]) -> Wrong {
    report(step, found);
    found.iter().map(Finding::to_string).collect()
}

fn clippy(root: &Path) -> anyhow::Result<Wrong> {
    cargo(root, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], &[])
}

fn doc(root: &Path) -> anyhow::Result<Wrong> {
    let args = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
    // A private item may be linked: the documentation is for those who work here.
    cargo(root, &args, &[("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links")])
}

fn doctest(root: &Path) -> anyhow::Result<Wrong> {
    cargo(root, &["test", "--workspace", "--doc", "--locked"], &[])
}

/// Licences, sources and duplicates need no network. Advisories need the database: where `SAGO_ADVISORY_DB` names a folder that
/// holds a clone of it they are checked, else it is said that they were not.
fn deny(root: &Path) -> anyhow::Result<Wrong> {
    let found =
        Command::new(cargo_path()).args(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    anyhow::ensure!(found, "cargo-deny is missing: `tools/setup.sh --with-deny` builds it (or: --skip deny)");
    let check = |config: &str, what: &[&str]| {
        let common = ["deny", "--offline", "--locked", "--workspace", "--config", config, "check"];
        cargo(root, &[&common[..], what].concat(), &[])
    };
    let mut wrong = check(DENY_CONFIG, &["bans", "licenses", "sources"])?;
    let Some(database) = std::env::var_os("SAGO_ADVISORY_DB") else {
        println!("deny: ADVISORIES WERE NOT CHECKED: set SAGO_ADVISORY_DB to a folder with the advisory database");
        return Ok(wrong);
    };
    let database = database.into_string().map_err(|_| anyhow::anyhow!("SAGO_ADVISORY_DB is not UTF-8"))?;
    let rules = std::fs::read_to_string(root.join(DENY_CONFIG))?;
    let rules = rules.replace("[advisories]", &format!("[advisories]\ndb-path = {database:?}"));
    // cargo-deny takes the folder of the database from its file only.
    let config = std::env::temp_dir().join(format!("xtask-deny-{}.toml", std::process::id()));
    std::fs::write(&config, rules)?;
    let advised = check(&config.display().to_string(), &["advisories"]);
    std::fs::remove_file(&config)?;
    wrong.extend(advised?);
    Ok(wrong)
}

pub(crate) fn cargo_path() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cargo(root: &Path, args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Wrong> {
    let called = format!("cargo {}", args.join(" "));
    println!("{called}");
    let status = Command::new(cargo_path())
        .args(args)
        .envs(rocksdb::environment(root))
        .envs(env.iter().copied())
        .current_dir(root)
        .status()
        .context("cannot run cargo")?;
    Ok(if status.success() { Wrong::new() } else { vec![format!("{called}: {status}")] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_does_not_exist_is_refused() {
        assert!(run(Path::new("."), &["nothing".into()], &[], false).is_err());
    }
}
