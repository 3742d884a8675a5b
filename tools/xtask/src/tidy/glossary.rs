//! Words that say nothing, or that mean something else here.

use crate::{Finding, source::Source};
use anyhow::Context;
use std::collections::BTreeMap;
use std::path::Path;

/// Where the list stands.
const LIST: &str = ".ci/glossary-banned.txt";
/// What comes before a name in a Rust declaration.
const DECLARES: [&str; 8] = ["struct", "enum", "trait", "mod", "fn", "type", "const", "static"];

/// Looks at the names of Rust items and of all files.
///
/// # Errors
/// The list cannot be read.
pub fn check(root: &Path, sources: &[Source]) -> anyhow::Result<Vec<Finding>> {
    let text = std::fs::read_to_string(root.join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let banned = parse(&text);
    let mut findings = Vec::new();
    for source in sources {
        let stem = source.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
        findings.extend(refused(&banned, stem).map(|what| Finding::at(&source.path, 0, what)));
        if source.extension() == "rs" {
            for (number, line) in source.lines() {
                let what = declared(line).and_then(|name| refused(&banned, name));
                findings.extend(what.map(|what| Finding::at(&source.path, number, what)));
            }
        }
    }
    Ok(findings)
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let rules = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    rules.map(|(word, instead)| (word.trim().to_owned(), instead.trim().to_owned())).collect()
}

/// The name that a line of Rust declares.
fn declared(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let code = words.find(|word| !matches!(*word, "pub" | "async" | "unsafe") && !word.starts_with("pub("))?;
    if !DECLARES.contains(&code) {
        return None;
    }
    words.next()?.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()
}

fn refused(banned: &BTreeMap<String, String>, name: &str) -> Option<String> {
    words(name).find_map(|word| banned.get(&word).map(|instead| format!("`{word}` in `{name}`: {instead}")))
}

/// `RepairManager`, `repair_manager` and `repair-manager` are `repair` and `manager`.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            spaced.push(' ');
        }
        spaced.extend(if c.is_alphanumeric() { c.to_lowercase().next() } else { Some(' ') });
    }
    spaced.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_names_are_split_into_words() {
        let banned = parse("# comment\nmanager = name what it does\n");
        assert_eq!(declared("pub(crate) struct RepairManager<T> {"), Some("RepairManager"));
        assert_eq!(declared("    let manager = 1;"), None);
        assert!(refused(&banned, "RepairManager").is_some());
        assert!(refused(&banned, "repair_manager").is_some());
        assert!(refused(&banned, "managerial").is_none());
    }
}
