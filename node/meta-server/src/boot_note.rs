//! `META/boot-id`: under which boot of the machine this folder was used last, and that it is the folder itself and no copy.
//!
//! | found | means | consequence |
//! | --- | --- | --- |
//! | this boot | the process was killed at most: what it wrote is there | none |
//! | another boot, or no note | the power may have gone, and a disk that lies about flushes shows only then | after an unclean stop: quarantine |
//! | a note of another file | the folder is a copy, so it may be an old one, of before promises that were given since | quarantine always |
//!
//! The note is one line, `boot id SP inode SP birth of the file in ns`. A copy of a file has another inode or another birth; nobody can give it
//! the old one by accident. It does not see a copy of the whole block device: bring such a node back as what it is, a new one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

const NAME: &str = "boot-id";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How the folder was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Used under this boot.
    SameBoot,
    /// Used under another one, or never.
    OtherBoot,
    /// Copied from where it was used.
    Copy,
}

/// A note that is not left yet.
#[derive(Debug)]
pub(crate) struct Note {
    path: PathBuf,
    line: String,
}

impl Note {
    /// Leaves it for the next start. Not flushed: one that is lost makes the next start only more careful.
    pub(crate) fn leave(&self) -> io::Result<()> {
        fs::write(&self.path, &self.line)
    }
}

/// Reads the note of the last start. The new one is to be left once this start is over: if it gave reason for doubt, when the doubt is
/// gone, so that a process that is killed before does not come back as one to be trusted.
pub(crate) fn look(dir: &Path) -> io::Result<(Found, Note)> {
    let boot = fs::read_to_string(BOOT_ID)?;
    look_under(dir, boot.trim())
}

fn look_under(dir: &Path, boot: &str) -> io::Result<(Found, Note)> {
    let path = dir.join(NAME);
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    let line = line(boot, &file)?;
    let last = fs::read_to_string(&path)?;
    let whole = last.split(' ').count() == line.split(' ').count();
    let found = if last == line {
        Found::SameBoot
    } else if whole && file_of(&last) != file_of(&line) {
        Found::Copy
    } else {
        Found::OtherBoot
    };
    Ok((found, Note { path, line }))
}

fn line(boot: &str, file: &File) -> io::Result<String> {
    let about = file.metadata()?;
    // A file system that keeps no births has inodes.
    let birth = about.created().ok().and_then(|birth| birth.duration_since(UNIX_EPOCH).ok());
    Ok(format!("{boot} {} {}", about.ino(), birth.unwrap_or_default().as_nanos()))
}

/// The part of a note that tells the file.
fn file_of(note: &str) -> Option<&str> {
    note.split_once(' ').map(|(_, file)| file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start that is over at once.
    fn start(dir: &Path, boot: &str) -> Found {
        let (found, note) = look_under(dir, boot).expect("a note");
        note.leave().expect("left");
        found
    }

    #[test]
    fn boots_and_copies_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let (own, old) = (folder.path().join("own"), folder.path().join("old"));
        fs::create_dir_all(&own).expect("a folder");
        fs::create_dir_all(&old).expect("a folder");
        assert_eq!(
            (start(&own, "one"), start(&own, "one"), start(&own, "two")),
            (Found::OtherBoot, Found::SameBoot, Found::OtherBoot)
        );
        fs::copy(own.join(NAME), old.join(NAME)).expect("copied");
        // From the second start on it is a folder like any other.
        assert_eq!((start(&old, "two"), start(&old, "two")), (Found::Copy, Found::SameBoot));
        // Swapped back in place of the one that was used.
        fs::remove_file(own.join(NAME)).expect("removed");
        fs::copy(old.join(NAME), own.join(NAME)).expect("copied");
        assert_eq!(start(&own, "two"), Found::Copy);
    }

    #[test]
    fn a_doubt_stays_until_the_note_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        start(folder.path(), "one");
        let killed = || look_under(folder.path(), "two").expect("a note").0;
        assert_eq!((killed(), killed()), (Found::OtherBoot, Found::OtherBoot));
        assert_eq!((start(folder.path(), "two"), killed()), (Found::OtherBoot, Found::SameBoot));
    }

    #[test]
    fn a_torn_note_and_one_of_an_older_version_are_of_another_boot() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in ["", "one", "one\n", "one 12"] {
            fs::write(folder.path().join(NAME), text).expect("a note");
            assert_eq!(start(folder.path(), "one"), Found::OtherBoot, "{text:?}");
        }
    }
}
