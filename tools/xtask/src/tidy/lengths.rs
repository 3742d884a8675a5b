//! Long files: a second noun has moved in.

use crate::{Finding, source::Source};

/// Production lines of a Rust file. 100 to 300 read well; from 600 on a second noun has always moved in.
const LINES_MAX: usize = 600;

/// Counts the lines before the test module of every Rust file that is not a test.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let code = sources.iter().filter(|source| source.extension() == "rs" && !source.is_test());
    code.filter_map(|source| {
        let lines = source.first_test_line() - 1;
        let what = || format!("{lines} lines before the tests, over {LINES_MAX}: which second noun moved in?");
        (lines > LINES_MAX).then(|| Finding::at(&source.path, 0, what()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_do_not_count() {
        let long = "fn a() {}\n".repeat(LINES_MAX);
        let source = |text: String| Source { path: "node/a/src/lib.rs".into(), text };
        assert_eq!(check(&[source(format!("{long}#[cfg(test)]\nmod tests {{\n{long}}}\n"))]), []);
        assert_eq!(check(&[source(format!("{long}fn b() {{}}\n"))]).len(), 1);
    }
}
