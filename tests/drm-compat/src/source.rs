//! What a reader has to give out of a protected book.

use crate::books::{Format, Sample};
use crate::reader::{Found, plain_entries};
use ring::digest::{SHA256, digest};
use std::collections::BTreeMap;
use std::fs;

impl Sample {
    /// SHA-256 of all that a reader has to give out: the book's entries, or the book itself.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn resources(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let entries = || Ok::<_, anyhow::Error>(plain_entries(&[&self.path])?.remove(0).into_iter());
        let junk = |name: &str| name.starts_with("__MACOSX/") || name == "ComicInfo.xml";
        Ok(match self.format {
            Format::Epub => entries()?.filter(|(name, _)| !name.ends_with('/')).collect(),
            Format::Comic => entries()?.filter(|(name, _)| !junk(name)).collect(),
            Format::Pdf => {
                let hash = hex::encode(digest(&SHA256, &fs::read(&self.path)?));
                [("publication.pdf".to_owned(), hash)].into()
            }
        })
    }
}

impl Found {
    /// Leaves out what only the package has, and what is clear in all of them.
    pub fn leave_out_what_was_added(&mut self) {
        self.plain.retain(|path, _| !is_added(path));
        self.unlisted.retain(|path| !is_added(path) && !is_clear(path));
    }
}

/// What no manifest names.
fn is_clear(name: &str) -> bool {
    name.starts_with("META-INF/") || name == "mimetype" || name.ends_with(".opf")
}

/// What only the package has.
fn is_added(name: &str) -> bool {
    matches!(name, "META-INF/license.lcpl" | "META-INF/encryption.xml" | "license.lcpl" | "manifest.json")
}
