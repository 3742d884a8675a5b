//! The resources of a book on this machine, read through to prove that they come out.

use crate::exit::{Done, Failure, Kind};
use ::drm::open::{OpenError, Package};
use ::drm::zip::Limits;
use ::drm::{ContentKey, Source, SourceError};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file that is read at any place.
pub(super) struct FileSource {
    file: File,
    len: u64,
}

impl FileSource {
    /// Opens a file. That it does not change meanwhile is for whoever runs this.
    pub(super) fn open(path: &Path) -> Done<Self> {
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            metadata.is_file().then_some(()).ok_or(std::io::ErrorKind::InvalidInput)?;
            Ok(FileSource { file, len: metadata.len() })
        };
        open().map_err(|error: std::io::Error| Failure::from(error).while_doing(path.display()))
    }
}

impl Source for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), SourceError> {
        self.file.read_exact_at(out, offset).map_err(SourceError::new)
    }
}

/// How much of a book may come out, all in all: a resource may be a bomb though its archive is none.
pub(super) struct Allowance {
    left: u64,
}

impl Allowance {
    /// For a book of so many bytes.
    pub(super) fn of(len: u64) -> Self {
        let limits = Limits::default();
        Allowance { left: len.saturating_mul(limits.ratio).clamp(Limits::RATIO_FLOOR_BYTES, limits.total_bytes) }
    }

    fn take(&mut self, bytes: usize) -> Result<(), Unread> {
        self.left = self.left.checked_sub(bytes as u64).ok_or(Unread::TooMuch)?;
        Ok(())
    }
}

/// Why a resource was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("far more comes out than a book of that size can have")]
    TooMuch,
    #[error(transparent)]
    Write(#[from] std::io::Error),
}

impl From<Unread> for Failure {
    fn from(error: Unread) -> Self {
        let kind = match &error {
            Unread::Open(OpenError::Source(_)) => Kind::Unchecked,
            Unread::Open(_) | Unread::TooMuch => Kind::Damaged,
            Unread::Write(_) => Kind::Failed,
        };
        Failure { kind, ..Failure::failed(error) }
    }
}

/// Reads one resource, and gives it piece by piece.
pub(super) fn read(
    package: &Package<'_>,
    name: &str,
    key: &ContentKey,
    allowance: &mut Allowance,
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<(), Unread> {
    let mut reader = package.read(name, key)?;
    while let Some(piece) = reader.piece()? {
        allowance.take(piece.len())?;
        take(piece)?;
    }
    Ok(())
}

/// What is in a book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) encrypted: u64,
    pub(super) clear: u64,
}

/// Counts all entries.
pub(super) fn count(package: &Package<'_>) -> Counts {
    let mut counts = Counts::default();
    for (_, encryption) in package.entries().filter(|(entry, _)| !entry.is_folder()) {
        match encryption {
            Some(_) => counts.encrypted += 1,
            None => counts.clear += 1,
        }
    }
    counts
}

/// Reads everything, what is encrypted and what is not. The error comes with the name.
pub(super) fn read_all(package: &Package<'_>, key: &ContentKey, len: u64) -> Result<(), (String, Unread)> {
    let mut allowance = Allowance::of(len);
    for (entry, _) in package.entries().filter(|(entry, _)| !entry.is_folder()) {
        let read = read(package, entry.name(), key, &mut allowance, |_| Ok(()));
        read.map_err(|error| (entry.name().to_owned(), error))?;
    }
    Ok(())
}
