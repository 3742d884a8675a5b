//! Leftovers: work that was put off, tests that were switched off.

use crate::{
    Finding,
    source::{Source, has_word},
};

/// Spelled in two halves, so that this file does not find itself.
const WORDS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
const CODE: [&str; 4] =
    [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore"), concat!("dbg", "!(")];

/// Looks for leftovers in every text file.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.extension() != "lock") {
        for (number, line) in source.lines() {
            if let Some(word) = WORDS.iter().find(|word| has_word(line, word)) {
                findings.push(Finding::at(
                    &source.path,
                    number,
                    format!("`{word}`: do it, or say in ROADMAP.md who will"),
                ));
            }
            if let Some(code) = CODE.iter().find(|code| source.extension() == "rs" && line.contains(*code)) {
                findings.push(Finding::at(&source.path, number, format!("`{code}` is never merged")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&[Source { path: path.into(), text: text.into() }]).len()
    }

    #[test]
    fn leftovers_are_found_as_words() {
        assert_eq!(found("a.rs", &format!("// {}: later\n", WORDS[0])), 1);
        assert_eq!(found("a.rs", &format!("{})\n", CODE[0])), 1);
        assert_eq!(found("a.rs", &format!("    {} = \"slow\"]\n", CODE[2])), 1);
        assert_eq!(found("a.sh", "mktemp -d /tmp/a.XXXXXX\n"), 0);
    }
}
