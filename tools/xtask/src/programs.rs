//! The programs that a cargo command has built, as cargo itself names them.

use anyhow::Context;
use serde::Deserialize;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program.
pub struct Program {
    /// The folder of its package.
    pub folder: PathBuf,
    /// The name of its target.
    pub target: String,
    /// Whether it is a test program.
    pub test: bool,
    /// Where it is.
    pub path: PathBuf,
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

/// Runs a cargo command that builds. `None`: it does not build, and cargo has said why.
///
/// # Errors
/// Cargo cannot be started, or says what it should not.
pub fn build(cargo: &mut Command) -> anyhow::Result<Option<Vec<Program>>> {
    cargo.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let output = cargo.output().context("cannot run cargo")?;
    let said = String::from_utf8(output.stdout).context("cargo does not speak UTF-8")?;
    output.status.success().then(|| said.lines().filter_map(|line| program(line).transpose()).collect()).transpose()
}

fn program(line: &str) -> anyhow::Result<Option<Program>> {
    let said: Artifact = serde_json::from_str(line).with_context(|| format!("cargo said {line:?}"))?;
    let (Some(manifest), Some(target), Some(profile), Some(path)) =
        (said.manifest_path, said.target, said.profile, said.executable)
    else {
        return Ok(None);
    };
    if said.reason != "compiler-artifact" {
        return Ok(None);
    }
    let folder = manifest.parent().context("a manifest without a folder")?.to_owned();
    Ok(Some(Program { folder, target: target.name, test: profile.test, path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_everything_else_that_cargo_says() {
        let built = |test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/r/node/raft-log/Cargo.toml","target":{{"name":"crash"}},"profile":{{"test":{test}}},"executable":"/t/x"}}"#
            )
        };
        let read =
            |line: &str| program(line).expect("it is JSON").map(|found| (found.folder, found.target, found.test));
        assert_eq!(read(&built(true)), Some(("/r/node/raft-log".into(), "crash".into(), true)));
        assert_eq!(read(&built(false)), Some(("/r/node/raft-log".into(), "crash".into(), false)));
        assert_eq!(read(r#"{"reason":"build-finished","success":true}"#), None);
        assert!(program("error").is_err());
    }
}
