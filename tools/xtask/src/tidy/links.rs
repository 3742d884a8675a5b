//! Links in the documents: every relative one leads to a file, and to a heading in it.

use crate::{Finding, source::Source};
use std::path::{Component, Path, PathBuf};

/// Follows every relative link of every Markdown file.
pub fn check(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.extension() == "md") {
        for (number, target) in targets(&source.text) {
            if let Some(what) = dead(root, sources, &source.path, &target) {
                findings.push(Finding::at(&source.path, number, what));
            }
        }
    }
    findings
}

/// Why the link leads nowhere.
fn dead(root: &Path, sources: &[Source], from: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { from.to_path_buf() } else { normal(&from.parent().unwrap_or(from).join(file)) };
    if !root.join(&path).exists() {
        return Some(format!("dead link: {target}"));
    }
    let text = sources.iter().find(|source| source.path == path).map(|source| source.text.as_str());
    match text {
        Some(text) if !heading.is_empty() && path.extension().is_some_and(|ext| ext == "md") => {
            let known = headings(text).any(|known| known == heading);
            (!known).then(|| format!("no heading #{heading} in {}", path.display()))
        }
        _ => None,
    }
}

/// Removes `.` and `..` without asking the disk.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// Link targets with their lines; fenced code is left out.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let mut rest = line;
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let Some(end) = rest.find(')') else { break };
            let target = rest[..end].split_whitespace().next().unwrap_or("");
            found.push((number, target.to_owned()));
            rest = &rest[end..];
        }
    }
    found
}

/// The anchors GitHub makes of headings.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter(|(_, line)| line.starts_with('#')).map(|(_, line)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        title
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    })
}

/// Lines outside fenced code, with their number from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((at + 1, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("docs")).expect("a folder");
        std::fs::write(folder.path().join("docs/b.md"), "# Two words, here\n").expect("a file");
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        std::fs::write(folder.path().join("README.md"), text).expect("a file");
        let sources = [source("README.md", text), source("docs/b.md", "# Two words, here\n")];
        check(folder.path(), &sources).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn good_links_pass() {
        assert_eq!(found("[b](docs/b.md) [c](docs/b.md#two-words-here) [d](https://example.org/x)\n"), [""; 0]);
        assert_eq!(found("```\n[x](nowhere.md)\n```\n"), [""; 0]);
    }

    #[test]
    fn dead_links_and_headings_are_found() {
        assert_eq!(found("[b](docs/c.md)\n"), ["dead link: docs/c.md"]);
        assert_eq!(found("[b](docs/b.md#three)\n").len(), 1);
    }
}
