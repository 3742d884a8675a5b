//! Pure crates: the same input gives the same output, on every machine and in every simulation.
//!
//! Clippy refuses the same things by type (each pure crate has a `clippy.toml` that bans at least what `.ci/pure-clippy.toml` does); this reads the text, so that a macro,
//! an `allow` or a fully qualified path does not slip through.

use crate::{Finding, source::has_word};
use anyhow::Context;
use std::path::{Path, PathBuf};

/// Words that may not stand in the code of a pure crate, and what to use instead.
const BANNED: [(&str, &str); 15] = [
    ("tokio", "the shell drives, the core only steps"),
    ("async", "the shell drives, the core only steps"),
    ("std::time", "take the time or a tick as an argument"),
    ("SystemTime", "take the time as an argument"),
    ("Instant", "take a tick as an argument"),
    ("std::thread", "the shell drives, the core only steps"),
    ("std::fs", "bytes in, values out"),
    ("std::net", "bytes in, values out"),
    ("std::env", "take the setting as an argument"),
    ("HashMap", "random order: BTreeMap"),
    ("HashSet", "random order: BTreeSet"),
    ("thread_rng", "take a seeded generator as an argument"),
    ("rand::rng", "take a seeded generator as an argument"),
    ("getrandom", "take a seeded generator as an argument"),
    ("OsRng", "take a seeded generator as an argument"),
];
/// The least that a pure crate's clippy.toml bans.
const LINTS: &str = ".ci/pure-clippy.toml";

/// Looks through the sources of the pure crate in `folder`.
///
/// # Errors
/// A file cannot be read.
pub fn check(root: &Path, folder: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let lints = folder.join("clippy.toml");
    let shared = std::fs::read_to_string(root.join(LINTS)).with_context(|| format!("cannot read {LINTS}"))?;
    let own = std::fs::read_to_string(&lints).unwrap_or_default();
    for path in banned_paths(&shared).filter(|path| !banned_paths(&own).any(|other| other == *path)) {
        findings.push(Finding::at(
            &lints,
            0,
            format!("a pure crate bans {path} (link {LINTS}, or repeat it with a substitute)"),
        ));
    }
    for path in rust_files(&folder.join("src"))? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        findings.extend(scan(&path, text));
    }
    Ok(findings)
}

/// The items that a clippy.toml bans.
fn banned_paths(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.split_once("path = \"")?.1.split('"').next())
}

fn scan(path: &Path, text: String) -> Vec<Finding> {
    let source = crate::source::Source { path: path.to_path_buf(), text };
    if source.is_test() {
        return Vec::new();
    }
    let end = source.first_test_line();
    let mut findings = Vec::new();
    for (number, line) in source.lines().take_while(|(number, _)| *number < end) {
        let code = line.split("//").next().unwrap_or("");
        for (word, instead) in BANNED.iter().filter(|(word, _)| has_word(code, word)) {
            findings.push(Finding::at(path, number, format!("`{word}` in a pure crate: {instead}")));
        }
    }
    findings
}

fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<usize> {
        scan(Path::new("node/core/src/lib.rs"), text.into()).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn clocks_randomness_and_maps_are_found() {
        assert_eq!(found("use std::collections::HashMap;\nlet now = std::time::Instant::now();\n"), [1, 2, 2]);
        assert_eq!(found("let x = rand::rng();\n"), [1]);
    }

    #[test]
    fn comments_and_tests_are_left_alone() {
        assert_eq!(found("// no tokio, no HashMap\n/// An Instant is refused.\nfn a() {}\n"), [0; 0]);
        assert_eq!(found("fn a() {}\n#[cfg(test)]\nmod tests { use std::collections::HashMap; }\n"), [0; 0]);
    }
}
