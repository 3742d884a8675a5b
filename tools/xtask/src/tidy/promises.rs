//! Promises: a sentence in `docs/SEMANTICS.md` or the README that promises something names the test that proves it.
//!
//! A promise is a table row whose first cell is a bold id (`**W1**`). Its last cell holds either tests, each in backquotes as
//! `crate::test_name`, or the words `planned: <issue>`. A test exists if a file of that crate defines a function of that name. No two
//! promises of a file have one id.

use crate::{Finding, source::Source};
use std::collections::BTreeSet;

/// Files that promise.
const FILES: [&str; 2] = ["docs/SEMANTICS.md", "README.md"];

/// Looks for promises without a proof and proofs that do not exist.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| FILES.iter().any(|file| source.path == std::path::Path::new(file))) {
        let mut ids = BTreeSet::new();
        for (number, line) in source.lines() {
            let Some((id, proof)) = promise(line) else { continue };
            if !ids.insert(id) {
                findings.push(Finding::at(&source.path, number, format!("another promise is called {id}")));
            }
            let named: Vec<&str> = proof.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
            if named.is_empty() && !proof.contains("planned: ") {
                findings.push(Finding::at(
                    &source.path,
                    number,
                    "a promise names its test, or says `planned: <issue>`",
                ));
            }
            for name in named.iter().filter(|name| !exists(sources, name)) {
                findings.push(Finding::at(&source.path, number, format!("there is no test {name}")));
            }
        }
    }
    findings
}

/// The id and the last cell of a row that promises.
fn promise(line: &str) -> Option<(&str, &str)> {
    let cells = line.strip_prefix("| **")?.trim_end().strip_suffix('|')?;
    Some((cells.split_once("**")?.0, cells.rsplit('|').next()?))
}

/// Whether a function of that name stands in a file of that crate.
fn exists(sources: &[Source], name: &str) -> bool {
    let mut parts = name.split("::");
    let (Some(package), Some(test)) = (parts.next(), name.rsplit("::").next()) else { return false };
    let defined = |text: &str| {
        text.match_indices(test).any(|(at, _)| {
            let before = &text[..at];
            let after = text[at + test.len()..].chars().next();
            (before.ends_with("fn ") || before.ends_with("def ")) && after.is_some_and(|c| c == '(' || c == '<')
        })
    };
    sources
        .iter()
        .filter(|source| source.path.components().nth(1).is_some_and(|folder| folder.as_os_str() == package))
        .any(|source| matches!(source.extension(), "rs" | "py") && defined(&source.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(row: &str) -> usize {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let code = source("node/chunk-store/src/put.rs", "#[test]\nfn put_is_durable() {}\n");
        check(&[source("docs/SEMANTICS.md", row), code]).len()
    }

    #[test]
    fn a_named_test_must_exist() {
        assert_eq!(found("| **W1** | it stays | `chunk-store::put_is_durable` |\n"), 0);
        assert_eq!(found("| **W1** | it stays | `chunk-store::put_is_dur` |\n"), 1);
        assert_eq!(found("| **W1** | it stays | `meta-core::put_is_durable` |\n"), 1);
    }

    #[test]
    fn two_promises_have_two_ids() {
        let row = |id: &str| format!("| **{id}** | it stays | `chunk-store::put_is_durable` |\n");
        assert_eq!(found(&[row("W1"), row("W2")].concat()), 0);
        assert_eq!(found(&[row("W1"), row("W1")].concat()), 1);
    }

    #[test]
    fn a_promise_needs_a_proof_or_a_plan() {
        assert_eq!(found("| **W1** | it stays | yes |\n"), 1);
        assert_eq!(found("| **W1** | it stays | planned: It heals |\n"), 0);
        assert_eq!(found("| id | promise | proof |\n"), 0);
    }
}
