//! Replacing a store by a fetched checkpoint, so that a crash leaves the old one or the new one.
//!
//! ```text
//! 1. flush the fetched files and their folder     crash: the old store stands
//! 2. rename store -> store.old                    crash: `settle` renames it back, the old store stands
//! 3. rename fetched -> store                      crash: the new store stands, `settle` removes store.old
//! 4. flush the folder around, remove store.old
//! ```
//!
//! Removing a store goes the same way: it is renamed to `store.gone` first, so that half a store is never opened.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Finishes or undoes what was interrupted.
pub(crate) fn settle(store: &Path) -> io::Result<()> {
    remove(&beside(store, ".gone"))?;
    let old = beside(store, ".old");
    if !old.try_exists()? {
        return Ok(());
    }
    if store.try_exists()? {
        return remove(&old);
    }
    fs::rename(&old, store)?;
    sync_around(store)
}

/// Puts the files of `fetched` in place of the store, which nobody has open.
pub(crate) fn replace(fetched: &Path, store: &Path) -> io::Result<()> {
    for entry in fs::read_dir(fetched)? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(fetched)?.sync_all()?;
    settle(store)?;
    let old = beside(store, ".old");
    if store.try_exists()? {
        fs::rename(store, &old)?;
        sync_around(store)?;
    }
    fs::rename(fetched, store)?;
    sync_around(store)?;
    sync_around(fetched)?;
    remove(&old)
}

/// Removes the store, which nobody has open, and what an interrupted installation left of it.
pub(crate) fn destroy(store: &Path) -> io::Result<()> {
    settle(store)?;
    if !store.try_exists()? {
        return Ok(());
    }
    let gone = beside(store, ".gone");
    fs::rename(store, &gone)?;
    sync_around(store)?;
    remove(&gone)
}

/// The name beside the store under which a part of it waits.
pub(crate) fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.file_name().map_or_else(OsString::new, ToOwned::to_owned);
    name.push(suffix);
    store.with_file_name(name)
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Makes a rename in the folder around `path` durable.
fn sync_around(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
