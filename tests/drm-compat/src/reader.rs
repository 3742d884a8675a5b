//! Readium's reader, and Python's for what is plain.

use crate::programs::{json_of, program};
use drm::PassphraseHash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

/// A publication to be opened.
#[derive(Clone, Debug, Serialize)]
pub struct Opening {
    /// Its file or its address.
    #[serde(rename = "where")]
    pub place: String,
    /// Hashes of passphrases that are tried, hex.
    pub keys: Vec<String>,
}

impl Opening {
    /// With one passphrase.
    #[must_use]
    pub fn new(place: impl Into<String>, passphrase: &str) -> Self {
        Opening { place: place.into(), keys: vec![hashed(passphrase)] }
    }
}

/// What the reader saw of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Whether a passphrase fitted. If not, all else is empty.
    pub opened: bool,
    /// SHA-256 of each entry of the archive as the reader gives it out.
    pub plain: BTreeMap<String, String>,
    /// Which of them it has decrypted.
    pub encrypted: Vec<String>,
    /// Which are none of the publication's resources.
    pub unlisted: Vec<String>,
    /// The title that it shows.
    pub title: Option<serde_json::Value>,
    /// The hint that it shows.
    pub hint: Option<String>,
}

/// The hash of a passphrase as a reader keeps it.
#[must_use]
pub fn hashed(passphrase: &str) -> String {
    hex::encode(PassphraseHash::of(passphrase).expose())
}

/// Opens publications, in one process.
///
/// # Errors
/// One could not be read, whatever the passphrase.
pub fn open(openings: &[Opening]) -> anyhow::Result<Vec<Found>> {
    let mut jobs = tempfile::NamedTempFile::new()?;
    jobs.write_all(&serde_json::to_vec(openings)?)?;
    json_of(program("js/open.js")?.arg(jobs.path()))
}

/// Names and SHA-256 of the entries of archives, in the order of their directories, as Python reads them.
///
/// # Errors
/// One is no sound archive.
pub fn plain_entries(archives: &[&Path]) -> anyhow::Result<Vec<Vec<(String, String)>>> {
    json_of(program("py/entries.py")?.args(archives))
}
