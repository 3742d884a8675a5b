//! Sleeps in tests: wait for a condition with a bound instead.

use crate::{Finding, source::Source};

const SLEEPS: [&str; 4] = ["thread::sleep", "time::sleep", "sleep_ms(", "tokio_sleep("];
/// Reason given in the same line or the one above.
const EXCEPTION: &str = "wait-ok:";

/// Looks for sleeps in test code, Rust and Python.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| matches!(source.extension(), "rs" | "py")) {
        let start = if source.is_test() { 1 } else { source.first_test_line() };
        let mut above = "";
        for (number, line) in source.lines() {
            let sleeps = SLEEPS.iter().any(|sleep| line.contains(sleep)) && !line.trim_start().starts_with("//");
            if number >= start && sleeps && !excused(line) && !excused(above) {
                findings.push(Finding::at(
                    &source.path,
                    number,
                    "a sleep in a test: wait for a condition with a bound",
                ));
            }
            above = line;
        }
    }
    // The rule itself names what it refuses.
    findings.retain(|finding| !finding.path.starts_with("tools/xtask"));
    findings
}

fn excused(line: &str) -> bool {
    line.split_once(EXCEPTION).is_some_and(|(_, reason)| reason.trim().len() > 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&[Source { path: path.into(), text: text.into() }]).len()
    }

    #[test]
    fn sleeps_in_tests_are_found() {
        assert_eq!(found("tests/a/src/lib.rs", "std::thread::sleep(d);\n"), 1);
        assert_eq!(found("node/a/src/lib.rs", "fn a() {}\n#[cfg(test)]\nmod t {\ntokio::time::sleep(d);\n}\n"), 1);
        assert_eq!(found("node/a/src/lib.rs", "tokio::time::sleep(d);\n"), 0);
    }

    #[test]
    fn a_reason_excuses() {
        assert_eq!(
            found("tests/a/src/lib.rs", "sleep(); // nothing\n// wait-ok: pace of the load\nstd::thread::sleep(d);\n"),
            0
        );
        assert_eq!(found("tests/a/src/lib.rs", "std::thread::sleep(d); // wait-ok:\n"), 1);
    }
}
