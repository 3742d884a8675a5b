//! A search of everything that a cluster has written: data folders, Raft logs, snapshots, logs of processes.

use crate::shop::{base64, hex};
use aho_corasick::AhoCorasick;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Bytes read at a time.
const PIECE: usize = 4 << 20;

/// Something to look for, in all forms in which it could stand.
pub struct Canary {
    what: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Canary {
    /// Text, as it is.
    #[must_use]
    pub fn text(what: &'static str, text: &str) -> Self {
        Canary { what, forms: vec![text.as_bytes().to_vec()] }
    }

    /// Bytes: raw, in hex of either case, in base64.
    #[must_use]
    pub fn bytes(what: &'static str, bytes: &[u8]) -> Self {
        let hex = hex(bytes);
        let base64 = base64(bytes).trim_end_matches('=').to_owned();
        let forms = vec![bytes.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes(), base64.into_bytes()];
        Canary { what, forms }
    }
}

/// What a search has found.
#[derive(Debug, Default)]
pub struct Found {
    /// Bytes looked through.
    pub bytes: u64,
    /// Files in which what is in the clear was found.
    pub seen: BTreeSet<PathBuf>,
    /// What was found where.
    pub leaks: BTreeSet<String>,
}

/// Looks through every file below `folder`, but for the keys themselves in `drm/`.
///
/// # Errors
/// A file cannot be read.
pub fn find(folder: &Path, secrets: &[Canary], known: &Canary) -> anyhow::Result<Found> {
    let all: Vec<&Canary> = secrets.iter().chain([known]).collect();
    let forms = all.iter().enumerate().flat_map(|(at, canary)| canary.forms.iter().map(move |form| (at, form)));
    let (owners, forms): (Vec<usize>, Vec<&Vec<u8>>) = forms.unzip();
    let overlap = forms.iter().map(|form| form.len()).max().unwrap_or(0);
    let searcher = AhoCorasick::new(&forms)?;
    let mut search = Search { searcher, owners, overlap, all, found: Found::default() };
    search.walk(folder)?;
    Ok(search.found)
}

struct Search<'a> {
    searcher: AhoCorasick,
    /// Of each form, whose it is.
    owners: Vec<usize>,
    /// Length of the longest form.
    overlap: usize,
    /// The last one is known to be there.
    all: Vec<&'a Canary>,
    found: Found,
}

impl Search<'_> {
    fn walk(&mut self, folder: &Path) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() && entry.file_name() != "drm" && entry.file_name() != "mnt" {
                self.walk(&path)?;
            } else if kind.is_file() {
                self.look(&path)?;
            }
        }
        Ok(())
    }

    /// Piece by piece, each with the end of the one before: what lies across their border is seen too.
    fn look(&mut self, path: &Path) -> anyhow::Result<()> {
        let mut file = File::open(path)?;
        let (mut buffer, mut kept) = (vec![0; PIECE + self.overlap], 0);
        loop {
            let read = file.read(&mut buffer[kept..])?;
            if read == 0 {
                return Ok(());
            }
            self.found.bytes += read as u64;
            let end = kept + read;
            for hit in self.searcher.find_overlapping_iter(&buffer[..end]) {
                let at = self.owners[hit.pattern().as_usize()];
                if at + 1 == self.all.len() {
                    self.found.seen.insert(path.to_owned());
                } else {
                    self.found.leaks.insert(format!("{} in {}", self.all[at].what, path.display()));
                }
            }
            let keep = self.overlap.min(end);
            buffer.copy_within(end - keep..end, 0);
            kept = keep;
        }
    }
}
