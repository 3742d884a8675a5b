//! The gate: every step timed, a summary at the end, one exit code.
//!
//! Steps go on after one has failed, so that one run tells everything; only a step that cannot be started counts as failed too.

use crate::{layers, report, rocksdb, suite, tidy};
use anyhow::Context;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What cargo-deny is to refuse.
const DENY_CONFIG: &str = ".ci/deny.toml";

/// One step of the gate.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Path) -> anyhow::Result<bool>,
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
    let mut rows = Vec::new();
    for step in &STEPS {
        if skip.iter().any(|name| name == step.name) || (!only.is_empty() && !only.iter().any(|name| name == step.name))
        {
            rows.push((step.name, "skipped", Duration::ZERO));
            continue;
        }
        println!("\n== {}: {}", step.name, step.about);
        let start = Instant::now();
        let passed = (step.run)(root).unwrap_or_else(|error| {
            println!("{}: {error:#}", step.name);
            false
        });
        rows.push((step.name, if passed { "ok" } else { "FAILED" }, start.elapsed()));
    }
    println!("\n== summary");
    for (name, state, took) in &rows {
        println!("{name:<10} {state:<8} {:>7.1} s", took.as_secs_f64());
    }
    Ok(rows.iter().all(|(_, state, _)| *state != "FAILED"))
}

fn lockfile(root: &Path) -> anyhow::Result<bool> {
    let quiet = ["metadata", "--locked", "--format-version", "1"];
    let output = Command::new(cargo_path()).args(quiet).current_dir(root).output().context("cannot run cargo")?;
    if !output.status.success() {
        println!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.status.success())
}

fn fmt(root: &Path) -> anyhow::Result<bool> {
    cargo(root, &["fmt", "--all", "--check"], &[])
}

fn ours_layers(root: &Path) -> anyhow::Result<bool> {
    Ok(report("layers", &layers::check(root)?))
}

fn ours_tidy(root: &Path) -> anyhow::Result<bool> {
    Ok(report("tidy", &tidy::check(root)?))
}

fn clippy(root: &Path) -> anyhow::Result<bool> {
    cargo(root, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], &[])
}

fn doc(root: &Path) -> anyhow::Result<bool> {
    let args = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
    // A private item may be linked: the documentation is for those who work here.
    cargo(root, &args, &[("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links")])
}

fn doctest(root: &Path) -> anyhow::Result<bool> {
    cargo(root, &["test", "--workspace", "--doc", "--locked"], &[])
}

/// Licences, sources and duplicates need no network. Advisories need the database: where `SAGO_ADVISORY_DB` names a folder that
/// holds a clone of it they are checked, else it is said that they were not.
fn deny(root: &Path) -> anyhow::Result<bool> {
    let found =
        Command::new(cargo_path()).args(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    anyhow::ensure!(found, "cargo-deny is missing: `tools/setup.sh --with-deny` builds it (or: --skip deny)");
    let check = |config: &str, what: &[&str]| {
        let common = ["deny", "--offline", "--locked", "--workspace", "--config", config, "check"];
        cargo(root, &[&common[..], what].concat(), &[])
    };
    let passed = check(DENY_CONFIG, &["bans", "licenses", "sources"])?;
    let Some(database) = std::env::var_os("SAGO_ADVISORY_DB") else {
        println!("deny: ADVISORIES WERE NOT CHECKED: set SAGO_ADVISORY_DB to a folder with the advisory database");
        return Ok(passed);
    };
    let database = database.into_string().map_err(|_| anyhow::anyhow!("SAGO_ADVISORY_DB is not UTF-8"))?;
    let rules = std::fs::read_to_string(root.join(DENY_CONFIG))?;
    let rules = rules.replace("[advisories]", &format!("[advisories]\ndb-path = {database:?}"));
    // cargo-deny takes the folder of the database from its file only.
    let config = std::env::temp_dir().join(format!("xtask-deny-{}.toml", std::process::id()));
    std::fs::write(&config, rules)?;
    let advised = check(&config.display().to_string(), &["advisories"]);
    std::fs::remove_file(&config)?;
    Ok(advised? && passed)
}

pub(crate) fn cargo_path() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cargo(root: &Path, args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<bool> {
    println!("cargo {}", args.join(" "));
    let status = Command::new(cargo_path())
        .args(args)
        .envs(rocksdb::environment(root))
        .envs(env.iter().copied())
        .current_dir(root)
        .status()
        .context("cannot run cargo")?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_does_not_exist_is_refused() {
        assert!(run(Path::new("."), &["nothing".into()], &[], false).is_err());
    }
}
