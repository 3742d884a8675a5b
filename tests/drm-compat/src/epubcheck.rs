//! What EPUBCheck says of EPUBs.

use crate::programs::{json_of, program};
use serde::Deserialize;
use std::path::PathBuf;

/// What EPUBCheck cannot know of a protected book, whoever protects it.
pub const EXPECTED: [&str; 3] = [
    // The navigation of a book is clear and may point into chapters, which are not: the place is not found there.
    "RSC-012: Fragment identifier is not defined.",
    // What LCP says of each resource has come with EPUB 3; in an EPUB 2 it is taken for a mistake.
    "RSC-005: Error while parsing file: found attribute \"Method\", but no attributes allowed here",
    "RSC-005: Error while parsing file: found attribute \"OriginalLength\", but no attributes allowed here",
];

#[derive(Debug, Deserialize)]
struct Checked {
    mistakes: Vec<String>,
}

/// The mistakes of each of the books, in their order: all that is called an error or fatal.
///
/// # Errors
/// One could not be checked.
pub fn mistakes(books: &[PathBuf]) -> anyhow::Result<Vec<Vec<String>>> {
    let checked: Vec<Checked> = json_of(program("py/check_epubs.py")?.args(books))?;
    anyhow::ensure!(checked.len() == books.len(), "{} of {} books were checked", checked.len(), books.len());
    Ok(checked.into_iter().map(|book| book.mistakes).collect())
}
