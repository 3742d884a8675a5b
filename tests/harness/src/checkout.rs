//! The clone that the tests run in.

use anyhow::Context;
use std::path::{Path, PathBuf};

/// The top folder of the clone. Looked for from where the test runs (cargo starts it in its package's folder), not where it was compiled: a target
/// folder outlives the clone that filled it.
///
/// # Errors
/// The test runs outside a clone.
pub fn checkout() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?;
    let found = here.ancestors().find(|folder| folder.join("Cargo.lock").exists());
    found.map(Path::to_owned).with_context(|| format!("{} lies in no clone of Sago", here.display()))
}
