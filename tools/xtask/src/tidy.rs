//! What a careful reader would ask for before reading the code.
//!
//! Each check is a function from the sources to findings. A check that has exceptions takes them beside the line, with a reason.

mod glossary;
mod lengths;
mod links;
mod markers;
mod paths;
mod promises;
mod waits;

use crate::{Finding, source};
use std::path::Path;

/// Runs every check over the repository.
///
/// # Errors
/// The files cannot be listed or a rule file cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let sources = source::all(root)?;
    let mut findings = Vec::new();
    findings.extend(markers::check(&sources));
    findings.extend(links::check(root, &sources));
    findings.extend(paths::check(&sources));
    findings.extend(lengths::check(&sources));
    findings.extend(waits::check(&sources));
    findings.extend(glossary::check(root, &sources)?);
    findings.extend(promises::check(&sources));
    Ok(findings)
}
