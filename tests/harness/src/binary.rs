//! The `sago` binary under test.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The binary: `SAGO_BIN` (the Makefile sets it), or the one of the test's own profile, built now if need be.
///
/// # Errors
/// It does not exist and cannot be built.
pub fn sago() -> anyhow::Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| find().map_err(|error| format!("{error:#}")));
    found.clone().map_err(anyhow::Error::msg)
}

fn find() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("SAGO_BIN") {
        let path = std::path::absolute(named)?;
        ensure!(path.exists(), "SAGO_BIN names {}, which does not exist", path.display());
        return Ok(path);
    }
    // TARGET/PROFILE/deps/TEST-HASH -> TARGET/PROFILE/sago
    let test = std::env::current_exe().context("cannot tell where this test lies")?;
    let folder = test.parent().and_then(Path::parent).context("this test lies outside a target folder")?;
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The features of the whole workspace, as the test itself was built: other ones would build every dependency again.
    build.args(["build", "--locked", "--workspace", "--bin", "sago"]).current_dir(crate::checkout()?);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let status = build.status().context("cannot run cargo to build sago")?;
    let path = folder.join("sago");
    ensure!(status.success() && path.exists(), "cargo build --workspace --bin sago did not make {}", path.display());
    Ok(path)
}
