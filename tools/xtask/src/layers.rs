//! The layers: who may import whom, and who may touch the outside world.
//!
//! The table is data (`.ci/layers.toml`); this module reads it, asks `cargo metadata` for the facts and compares.
//! Only normal dependencies count: a test may use what it likes, as long as it does not import a crate of the tests.

use crate::{Finding, purity};
use anyhow::{Context, anyhow};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the table stands.
const TABLE: &str = ".ci/layers.toml";
/// The layer of the test crates; only dev-dependencies of other test crates may name them.
const TEST_LAYER: u8 = 7;
/// What every crate may import.
const GROUND: &str = "types";

/// The whole table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    crates: BTreeMap<String, Row>,
    fences: BTreeMap<String, Vec<String>>,
}

/// What one crate of ours is and may.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    layer: u8,
    #[serde(default)]
    pure: bool,
    may: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// One crate of the workspace, as cargo tells.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// None = normal, else "dev" or "build".
    kind: Option<String>,
}

/// Compares the workspace with the table and looks into the sources of the pure crates.
///
/// # Errors
/// The table or `cargo metadata` cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let text = std::fs::read_to_string(root.join(TABLE)).with_context(|| format!("cannot read {TABLE}"))?;
    let table: Table = toml::from_str(&text).with_context(|| format!("cannot understand {TABLE}"))?;
    let packages = workspace(root)?;
    let mut findings = compare(&table, &packages);
    let pure = table.crates.iter().filter(|(_, row)| row.pure).map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>();
    for package in packages.iter().filter(|package| pure.contains(package.name.as_str())) {
        let folder = package.manifest_path.parent().ok_or_else(|| anyhow!("manifest without a folder"))?;
        findings.extend(purity::check(root, folder)?);
    }
    for finding in &mut findings {
        if let Ok(short) = finding.path.strip_prefix(root) {
            finding.path = short.to_path_buf();
        }
    }
    Ok(findings)
}

fn workspace(root: &Path) -> anyhow::Result<Vec<Package>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    anyhow::ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cannot understand cargo metadata")?;
    Ok(metadata.packages)
}

fn compare(table: &Table, packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for package in packages {
        let Some(row) = table.crates.get(&package.name) else {
            let what = format!("crate `{}` has no layer; add it to {TABLE}", package.name);
            findings.push(Finding::at(&package.manifest_path, 0, what));
            continue;
        };
        for dependency in &package.dependencies {
            let what = if ours.contains(dependency.name.as_str()) {
                refused_import(table, &package.name, row, dependency)
            } else if dependency.kind.is_none() {
                refused_fence(table, &package.name, row, &dependency.name)
            } else {
                None
            };
            findings.extend(what.map(|what| Finding::at(&package.manifest_path, 0, what)));
        }
    }
    for name in table.crates.keys().filter(|name| !ours.contains(name.as_str())) {
        findings.push(Finding::at(Path::new(TABLE), 0, format!("crate `{name}` does not exist; remove it")));
    }
    findings.extend(upward_rows(table));
    findings
}

/// Why `name` may not import `dependency`, one of our own crates.
fn refused_import(table: &Table, name: &str, row: &Row, dependency: &Dependency) -> Option<String> {
    let target = table.crates.get(&dependency.name)?;
    if dependency.kind.is_some() {
        let refused = target.layer == TEST_LAYER && row.layer != TEST_LAYER;
        return refused.then(|| format!("`{name}` imports the test crate `{}`: nothing may", dependency.name));
    }
    let any_lower = row.may.iter().any(|may| may == "*") && (target.layer < row.layer || row.layer == TEST_LAYER);
    let allowed = dependency.name == GROUND || row.may.contains(&dependency.name) || any_lower;
    (!allowed).then(|| {
        let may = if row.may.is_empty() { "nothing else".into() } else { row.may.join(", ") };
        format!(
            "`{name}` (L{}) imports `{}` (L{}): it may import {GROUND} and {may}",
            row.layer, dependency.name, target.layer
        )
    })
}

/// Why `name` may not import `outside`, a crate that is not ours.
fn refused_fence(table: &Table, name: &str, row: &Row, outside: &str) -> Option<String> {
    let fence = table.fences.get(outside)?;
    let allowed = fence.iter().any(|entry| match entry.strip_prefix('L').and_then(|rest| rest.strip_suffix('+')) {
        Some(layer) => layer.parse::<u8>().is_ok_and(|layer| row.layer >= layer),
        None => entry == name,
    });
    (!allowed).then(|| format!("`{name}` (L{}) imports `{outside}`, which is only for {}", row.layer, fence.join(", ")))
}

/// Rows of the table that would themselves let an arrow point up, or a pure crate import an impure one.
fn upward_rows(table: &Table) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, row) in &table.crates {
        for may in row.may.iter().filter(|may| *may != "*") {
            let what = match table.crates.get(may) {
                None => format!("`{name}` may import `{may}`, which has no row"),
                // Two crates of one layer: an order inside the layer, as `cluster-client` above `transport` in L3.
                Some(target) if target.layer > row.layer => format!("`{name}` may import `{may}` above it"),
                Some(target) if row.pure && !target.pure => format!("pure `{name}` may import impure `{may}`"),
                Some(target) if target.may.contains(name) => format!("`{name}` and `{may}` import each other"),
                Some(_) => continue,
            };
            findings.push(Finding::at(Path::new(TABLE), 0, what));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        toml::from_str(
            r#"
            [crates.types]
            layer = 0
            pure = true
            may = []
            [crates.core]
            layer = 2
            pure = true
            may = []
            [crates.store]
            layer = 3
            may = ["core"]
            [crates.bin]
            layer = 6
            may = ["*"]
            [crates.harness]
            layer = 7
            may = ["*"]
            [fences]
            rocksdb = ["store"]
            tokio = ["L3+"]
            "#,
        )
        .expect("a good table")
    }

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        Package {
            name: name.into(),
            manifest_path: format!("{name}/Cargo.toml").into(),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency { name: (*name).into(), kind: kind.map(Into::into) })
                .collect(),
        }
    }

    /// Every crate of the table, with one of them replaced.
    fn house(changed: Package) -> Vec<Package> {
        let mut all: Vec<Package> = ["types", "core", "store", "bin", "harness"].map(|name| package(name, &[])).into();
        all.retain(|package| package.name != changed.name);
        all.push(changed);
        all
    }

    fn findings(name: &str, dependencies: &[(&str, Option<&str>)]) -> Vec<String> {
        compare(&table(), &house(package(name, dependencies))).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn downward_imports_pass() {
        assert_eq!(findings("store", &[("types", None), ("core", None), ("rocksdb", None), ("tokio", None)]), [""; 0]);
        assert_eq!(findings("bin", &[("store", None), ("core", None)]), [""; 0]);
    }

    #[test]
    fn upward_import_is_refused() {
        assert_eq!(findings("core", &[("store", None)]).len(), 1);
        assert_eq!(findings("bin", &[("harness", None)]).len(), 1);
    }

    #[test]
    fn fence_is_kept() {
        assert_eq!(findings("core", &[("tokio", None)]).len(), 1);
        assert_eq!(findings("bin", &[("rocksdb", None)]).len(), 1);
    }

    #[test]
    fn dev_dependencies_are_free_but_for_the_test_crates() {
        assert_eq!(findings("core", &[("tokio", Some("dev")), ("store", Some("dev"))]), [""; 0]);
        assert_eq!(findings("core", &[("harness", Some("dev"))]).len(), 1);
    }

    #[test]
    fn unknown_and_vanished_crates_are_refused() {
        assert_eq!(compare(&table(), &house(package("new", &[]))).len(), 1);
        assert_eq!(compare(&table(), &[]).len(), 5);
    }

    #[test]
    fn table_that_points_up_is_refused() {
        let mut table = table();
        table.crates.get_mut("core").expect("it is there").may.push("store".into());
        assert!(!upward_rows(&table).is_empty());
    }
}
