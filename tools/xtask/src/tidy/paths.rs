//! Paths and hosts that exist only on one machine.

use crate::{Finding, source::Source};

/// Starts of paths that another clone does not have; in two halves, so that this file does not find itself.
const FOLDERS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
/// Parts of hosts that the ordinary clients already know.
const REGISTRIES: [&str; 4] =
    [concat!("crates", ".io"), concat!("py", "pi"), concat!("np", "mjs"), concat!("deb", "ian.org")];
/// Reason given beside a line that must name such a path.
const EXCEPTION: &str = concat!("path", "-ok:");

/// Looks for them in every text file but lock files.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.extension() != "lock") {
        for (number, line) in source.lines().filter(|(_, line)| !line.contains(EXCEPTION)) {
            if let Some(folder) = FOLDERS.iter().find(|folder| starts_path(line, folder)) {
                findings.push(Finding::at(&source.path, number, format!("a path of one machine: {folder}")));
            }
            if let Some(host) = url_hosts(line).find(|host| REGISTRIES.iter().any(|registry| host.contains(registry))) {
                findings.push(Finding::at(&source.path, number, format!("a registry's host: {host}")));
            }
        }
    }
    findings
}

/// Whether `folder` begins a path in the line, rather than standing inside one.
fn starts_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        !line[..at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | '$' | ')'))
    })
}

fn url_hosts(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("://").map(|(at, mark)| {
        let rest = &line[at + mark.len()..];
        rest.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-'))).next().unwrap_or("")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check(&[Source { path: "a.md".into(), text: text.into() }]).len()
    }

    #[test]
    fn machine_paths_are_found() {
        assert_eq!(found(&format!("see {}x/y\n", FOLDERS[0])), 1);
        assert_eq!(found(&format!("see $HOME{}x\n", FOLDERS[0])), 0);
        assert_eq!(found(&format!("artwork at art{}x\n", FOLDERS[0])), 0);
    }

    #[test]
    fn registry_hosts_are_found() {
        assert_eq!(found(&format!("https://static.{}/x\n", REGISTRIES[0])), 1);
        assert_eq!(found("https://example.org/x\n"), 0);
    }
}
