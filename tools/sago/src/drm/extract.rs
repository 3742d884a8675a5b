//! Writes what is in a book into a folder, decrypted.
//!
//! The folder is made, or is an empty one; every file in it is new, and nothing but plain names leads to it. So an archive can neither overwrite anything nor write
//! anywhere else.

use super::resources::{self, Allowance, Unread};
use crate::exit::{Done, Failure, Kind};
use ::drm::ContentKey;
use ::drm::open::Package;
use serde::Serialize;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

/// What was written.
#[derive(Debug, Serialize)]
pub(super) struct Extracted {
    folder: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Writes every entry. Files that were finished before an error stay.
///
/// # Errors
/// [`Failure`]: the folder is not empty, or an entry does not come out.
pub(super) fn extract(package: &Package<'_>, key: &ContentKey, len: u64, to: &Path) -> Done<Extracted> {
    empty_folder(to)?;
    let mut allowance = Allowance::of(len);
    let mut extracted = Extracted { folder: to.display().to_string(), files: 0, bytes: 0 };
    for (entry, _) in package.entries() {
        let named = |failure: Failure| failure.while_doing(format!("{:?}", entry.name()));
        let path = inside(to, entry.name()).map_err(named)?;
        if entry.is_folder() {
            make_folders(to, &path).map_err(|error| named(error.into()))?;
            continue;
        }
        make_folders(to, path.parent().unwrap_or(to)).map_err(|error| named(error.into()))?;
        extracted.bytes +=
            write(package, entry.name(), key, &mut allowance, &path).map_err(|error| named(error.into()))?;
        extracted.files += 1;
    }
    Ok(extracted)
}

fn empty_folder(to: &Path) -> Done {
    match DirBuilder::new().mode(0o700).create(to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut entries = fs::read_dir(to).map_err(|error| Failure::from(error).while_doing(to.display()))?;
            match entries.next() {
                None => Ok(()),
                Some(_) => {
                    Err(Failure::new(Kind::Failed, format!("{} is not empty: choose another folder", to.display())))
                }
            }
        }
        made => made.map_err(|error| Failure::from(error).while_doing(to.display())),
    }
}

/// The path of an entry in the folder. The archive's reader has refused other names already.
fn inside(to: &Path, name: &str) -> Done<PathBuf> {
    let relative = Path::new(name);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !plain {
        return Err(Failure::new(Kind::Damaged, "the name leads out of the folder"));
    }
    Ok(to.join(relative))
}

/// Makes the folders from `to` down to `folder`; none of them is a link or a file.
fn make_folders(to: &Path, folder: &Path) -> io::Result<()> {
    let mut path = to.to_owned();
    for part in folder.strip_prefix(to).map_err(io::Error::other)?.components() {
        path.push(part);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.symlink_metadata()?.is_dir() => {}
            made => made?,
        }
    }
    Ok(())
}

/// Writes a file that is not there yet, and gives how many bytes it has. One that does not come out is removed again.
fn write(
    package: &Package<'_>,
    name: &str,
    key: &ContentKey,
    allowance: &mut Allowance,
    path: &Path,
) -> Result<u64, Unread> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut bytes = 0;
    let written = resources::read(package, name, key, allowance, |piece| {
        bytes += piece.len() as u64;
        file.write_all(piece)
    });
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written.map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        let to = Path::new("/x");
        assert_eq!(inside(to, "OPS/책 1.xhtml").expect("good"), Path::new("/x/OPS/책 1.xhtml"));
        assert_eq!(inside(to, "a/").expect("good"), Path::new("/x/a"));
        for name in ["", "/etc/passwd", "..", "a/../../b", "./a"] {
            assert_eq!(inside(to, name).expect_err("refused").kind, Kind::Damaged, "{name}");
        }
    }

    #[test]
    fn no_link_is_followed_and_no_file_is_taken_for_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let (to, outside) = (folder.path().join("to"), folder.path().join("outside"));
        fs::create_dir(&to).expect("made");
        fs::create_dir(&outside).expect("made");
        std::os::unix::fs::symlink(&outside, to.join("link")).expect("a link");
        fs::write(to.join("file"), "x").expect("written");
        assert!(make_folders(&to, &to.join("link/a")).is_err() && make_folders(&to, &to.join("file/a")).is_err());
        assert!(make_folders(&to, &to.join("a/b")).is_ok() && make_folders(&to, &to.join("a/b")).is_ok());
        assert_eq!(fs::read_dir(&outside).expect("a folder").count(), 0);
        assert_eq!(empty_folder(&to).expect_err("not empty").kind, Kind::Failed);
        assert!(empty_folder(&outside).is_ok() && empty_folder(&folder.path().join("new")).is_ok());
    }
}
