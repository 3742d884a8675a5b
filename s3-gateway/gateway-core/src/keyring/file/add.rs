//! Adds a key to a file.
//!
//! A key that gets lost may have wrapped something by then: the file is flushed before it takes the place of the old one, and the folder after it. Two who add
//! at once do it one after the other, by a lock on the folder.

use super::{FILE_BYTES_MAX, KeyFileError, parse, text};
use crate::keyring::SecretKey;
use crate::secret_file::{self, SecretFileError};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const HEAD: &str = "\
# Keys that wrap the keys of protected books, the newest first. Whoever has this file and the cluster has the books; without it every sold book is lost.
# Keep a copy of it, apart from the backups of the cluster.
";

pub(super) fn add(path: &Path, name: &str, key: &SecretKey) -> Result<(), KeyFileError> {
    text::check_name(name).map_err(KeyFileError::Name)?;
    let failed = |source| KeyFileError::Write { path: path.to_owned(), source };
    // What is replaced is the file, not a link to it.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = File::open(folder_of(&target)).map_err(failed)?;
    folder.lock().map_err(failed)?;
    let old = existing(&target)?;
    let text = with_key(old.as_ref().map_or(HEAD, |(text, _)| text), name, key);
    check(path, old.as_ref().map_or("", |(text, _)| text), &text, name)?;
    write(&target, &text, old.as_ref().map(|(_, metadata)| metadata)).and_then(|()| folder.sync_all()).map_err(failed)
}

fn existing(path: &Path) -> Result<Option<(Zeroizing<String>, Metadata)>, KeyFileError> {
    let text = match secret_file::read_text(path, FILE_BYTES_MAX) {
        Err(SecretFileError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let metadata = fs::metadata(path).map_err(|source| KeyFileError::Write { path: path.to_owned(), source })?;
    Ok(Some((text, metadata)))
}

/// The text with the key before all others, and after the comments at its head.
fn with_key(old: &str, name: &str, key: &SecretKey) -> Zeroizing<String> {
    let line = text::line(name, key);
    let is_comment = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let head: usize = old.split_inclusive('\n').take_while(is_comment).map(str::len).sum();
    let (head, rest) = old.split_at(head);
    let mut text = Zeroizing::new(String::with_capacity(old.len() + line.len() + 1));
    text.push_str(head);
    if !head.is_empty() && !head.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&line);
    text.push_str(rest);
    text
}

/// Whether the old text is a good one, and the new one will be.
fn check(path: &Path, old: &str, new: &str, name: &str) -> Result<(), KeyFileError> {
    if parse(path, old)?.iter().any(|kek| kek.name == name) {
        return Err(KeyFileError::Taken { path: path.to_owned(), name: name.to_owned() });
    }
    parse(path, new)?;
    if new.len() as u64 > FILE_BYTES_MAX {
        return Err(SecretFileError::Long { path: path.to_owned(), max: FILE_BYTES_MAX }.into());
    }
    Ok(())
}

fn write(path: &Path, text: &str, old: Option<&Metadata>) -> io::Result<()> {
    let beside = beside(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| old.map_or(Ok(()), |old| keep_access(&file, old)));
    written.and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path)).inspect_err(|_| {
        // A key that nobody will use; the error tells more than this one would.
        let _ = fs::remove_file(&beside);
    })
}

/// Whoever could read the old file can read the new one: a gateway may run as another user than who adds keys.
fn keep_access(file: &File, old: &Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(old.mode() & 0o770))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
