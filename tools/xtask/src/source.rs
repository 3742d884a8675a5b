//! The text files of the repository, and which of their lines are test code.

use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One text file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Relative to the root.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// The file's extension, or an empty string.
    pub fn extension(&self) -> &str {
        self.path.extension().and_then(|ext| ext.to_str()).unwrap_or("")
    }

    /// Whether the file stands under a folder of that name, or is called `NAME.rs`.
    fn is_under(&self, name: &str) -> bool {
        self.path.components().any(|part| part.as_os_str() == name)
            || self.path.file_stem().is_some_and(|stem| stem == name)
    }

    /// Whether the whole file is test code.
    pub fn is_test(&self) -> bool {
        self.is_under("tests") || self.is_under("testdata") || self.is_under("benches")
    }

    /// The line (from 1) of the test module that ends the file; past the end if there is none. Test modules stand last in this house.
    pub fn first_test_line(&self) -> usize {
        let mut lines = self.text.lines().enumerate().peekable();
        while let Some((at, line)) = lines.next() {
            // `#[cfg(test)] mod tests;` (a file of its own) does not end the production code.
            let declares_file = lines.peek().is_some_and(|(_, next)| next.trim_end().ends_with(';'));
            if line == "#[cfg(test)]" && !declares_file {
                return at + 1;
            }
        }
        self.text.lines().count() + 1
    }

    /// Lines with their number from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}

/// Reads every text file that git tracks or would track; binary files are left out.
///
/// # Errors
/// git is missing or the folder is no clone.
pub fn all(root: &Path) -> anyhow::Result<Vec<Source>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot run git ls-files")?;
    anyhow::ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let mut names: Vec<_> = output.stdout.split(|&byte| byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    let mut sources = Vec::new();
    for name in names {
        let path = PathBuf::from(String::from_utf8_lossy(name).into_owned());
        let whole = root.join(&path);
        // A deleted but still tracked file, a link (its target is read where it stands) or a binary one.
        if whole.is_symlink() {
            continue;
        }
        if let Ok(text) = std::fs::read_to_string(&whole) {
            sources.push(Source { path, text });
        }
    }
    Ok(sources)
}

/// Whether `word` stands in `line` with no letter, digit or underscore on either side.
pub fn has_word(line: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(is_word)
            && !line[at + word.len()..].chars().next().is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn has_word_respects_borders() {
        assert!(has_word("a HashMap<u8>", "HashMap"));
        assert!(!has_word("a MyHashMap", "HashMap"));
        assert!(!has_word("HashMapLike", "HashMap"));
        assert!(has_word("rand::rng()", "rand::rng"));
    }

    #[test]
    fn test_module_ends_production_code() {
        assert_eq!(source("a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n").first_test_line(), 2);
        assert_eq!(source("a.rs", "#[cfg(test)]\nmod tests;\nfn a() {}\n").first_test_line(), 4);
    }

    #[test]
    fn test_files_are_recognised() {
        assert!(source("node/x/src/foo/tests.rs", "").is_test());
        assert!(source("tests/cluster/src/lib.rs", "").is_test());
        assert!(!source("node/x/src/foo.rs", "").is_test());
    }
}
