//! Replacing a store by a fetched checkpoint, so that a crash leaves the old one or the new one.
//!
//! ```text
//! 1. fsync the fetched files and their folder     crash: the old store stands
//! 2. rename store -> store.old                    crash: `settle` renames it back
//! 3. rename fetched -> store                      crash: the new store stands, `settle` removes store.old
//! 4. fsync the parent, remove store.old
//! ```

use crate::error::Fatal;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

fn old(path: &Path) -> PathBuf {
    path.with_extension("old")
}

/// Finishes or undoes an installation that was interrupted.
pub(crate) fn settle(path: &Path) -> io::Result<()> {
    let old = old(path);
    if old.exists() && !path.exists() {
        fs::rename(&old, path)?;
        sync_dir(path.parent())?;
    } else if old.exists() {
        fs::remove_dir_all(&old)?;
    }
    Ok(())
}

pub(crate) fn install(fetched: &Path, path: &Path) -> Result<(), Fatal> {
    replace(fetched, path).map_err(|error| Fatal::new(path, error))
}

fn replace(fetched: &Path, path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(fetched)? {
        File::open(entry?.path())?.sync_all()?;
    }
    sync_dir(Some(fetched))?;
    settle(path)?;
    if path.exists() {
        fs::rename(path, old(path))?;
        sync_dir(path.parent())?;
    }
    fs::rename(fetched, path)?;
    sync_dir(path.parent())?;
    sync_dir(fetched.parent())?;
    match fs::remove_dir_all(old(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_dir(dir: Option<&Path>) -> io::Result<()> {
    dir.map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}
