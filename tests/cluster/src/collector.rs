//! What collects garbage: what it says of itself, and collectors that do not wait for hours, so that a test sees what they do, and what they leave.

use harness::Cluster;
use serde_json::Value;
use std::fs;

/// Has node `at` (an index) look for garbage and orphans all the time, from its next start on.
///
/// # Errors
/// Its settings cannot be read or written.
pub fn hasty_collector(cluster: &Cluster, at: usize) -> anyhow::Result<()> {
    let file = cluster.node_folder(at).join("node.toml");
    let mut lines: Vec<String> = fs::read_to_string(&file)?.lines().map(str::to_owned).collect();
    set(&mut lines, "garbage", "round", "200");
    set(&mut lines, "garbage", "sweep", "1000");
    Ok(fs::write(file, lines.join("\n") + "\n")?)
}

/// What `sago cluster garbage` shows, after it was told something.
///
/// # Errors
/// The command failed.
pub fn garbage(cluster: &Cluster, words: &[&str]) -> anyhow::Result<Value> {
    let words = [&["cluster", "garbage", "--json"], words].concat();
    Ok(serde_json::from_str(&cluster.operate(&words)?)?)
}

/// Groups that collect nothing since they were recovered, by what `sago cluster garbage` shows.
#[must_use]
pub fn held(garbage: &Value) -> usize {
    garbage["held"].as_array().map_or(0, Vec::len)
}

/// Replaces a setting of a section of a TOML file, or adds it.
fn set(lines: &mut Vec<String>, section: &str, key: &str, value: &str) {
    let head = format!("[{section}]");
    let at = lines.iter().position(|line| *line == head).unwrap_or_else(|| {
        lines.push(head);
        lines.len() - 1
    });
    let end = lines[at + 1..].iter().position(|line| line.starts_with('[')).map_or(lines.len(), |to| at + 1 + to);
    let begins = format!("{key} = ");
    let line = format!("{begins}{value}");
    match lines[at + 1..end].iter_mut().find(|line| line.starts_with(&begins)) {
        Some(found) => *found = line,
        None => lines.insert(at + 1, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_replaced_or_added_in_its_section() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let mut file = lines("id = 1\n\n[garbage]\nround = 10000\n\n[store]\nsweep = 9");
        set(&mut file, "garbage", "round", "200");
        set(&mut file, "garbage", "sweep", "1000");
        set(&mut file, "memory", "read", "5");
        assert_eq!(
            file,
            lines("id = 1\n\n[garbage]\nsweep = 1000\nround = 200\n\n[store]\nsweep = 9\n[memory]\nread = 5")
        );
    }
}
