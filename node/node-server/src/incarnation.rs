//! How often this node was started: a number that tells its lives apart, durable before anybody hears of it.
//!
//! `META/incarnation` is a decimal number and a newline, replaced atomically. Its presence also says that the metadata folder is this
//! node's and has been in use.

use crate::error::StartError;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use types::Incarnation;

const NAME: &str = "incarnation";
const LOCK: &str = "LOCK";

/// A metadata folder that this process has to itself.
pub(crate) struct MetaFolder {
    pub(crate) incarnation: Incarnation,
    _lock: File,
}

/// Takes the folder and counts one more start of it.
///
/// # Errors
/// In use; empty although it must not be; or not usable.
pub(crate) fn begin(folder: &Path, create: bool) -> Result<MetaFolder, StartError> {
    let failed = |path: PathBuf| |source| StartError::Meta { path, source };
    let file = folder.join(NAME);
    if create {
        std::fs::create_dir_all(folder).map_err(failed(folder.to_owned()))?;
    } else if !file.exists() {
        return Err(StartError::MetaMissing(folder.to_owned()));
    }
    let lock = lock(folder)?;
    let last = read(&file).map_err(failed(file.clone()))?;
    let incarnation = Incarnation(last.map_or(0, |last| last.0) + 1);
    write(folder, incarnation).map_err(failed(file))?;
    Ok(MetaFolder { incarnation, _lock: lock })
}

fn lock(folder: &Path) -> Result<File, StartError> {
    let path = folder.join(LOCK);
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = open.map_err(|source| StartError::Meta { path: path.clone(), source })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::Locked(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(StartError::Meta { path, source }),
    }
}

fn read(path: &Path) -> io::Result<Option<Incarnation>> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(text) => match text.strip_suffix('\n').and_then(|number| number.parse().ok()) {
            Some(count) => Ok(Some(Incarnation(count))),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "not a number of starts")),
        },
    }
}

fn write(folder: &Path, incarnation: Incarnation) -> io::Result<()> {
    let beside = folder.join(format!("{NAME}.new"));
    let mut file = File::create(&beside)?;
    writeln!(file, "{}", incarnation.0)?;
    file.sync_all()?;
    std::fs::rename(&beside, folder.join(NAME))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_counts_and_only_one_runs_at_a_time() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path().join("meta");
        let first = begin(&folder, true).expect("the first start");
        assert_eq!(first.incarnation, Incarnation(1));
        assert!(matches!(begin(&folder, false), Err(StartError::Locked(_))));
        drop(first);
        assert_eq!(begin(&folder, false).expect("the second start").incarnation, Incarnation(2));
    }

    #[test]
    fn an_empty_folder_is_only_taken_when_allowed_and_a_damaged_count_never() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(begin(folder.path(), false), Err(StartError::MetaMissing(_))));
        assert!(begin(folder.path(), true).is_ok());
        for text in ["", "7", "x\n", "-1\n"] {
            std::fs::write(folder.path().join(NAME), text).expect("a file");
            assert!(matches!(begin(folder.path(), true), Err(StartError::Meta { .. })), "{text:?}");
        }
    }
}
