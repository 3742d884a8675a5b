//! Files that hold a secret: who may reach them, and how much of them is read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bits of a mode that let users in who are neither the owner nor of his group. Those of other credentials are judged by the same ones.
const MODE_OTHERS: u32 = 0o007;

/// Why a secret was not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A folder, a device or the like.
    #[error("{0} is not a file")]
    NoFile(PathBuf),
    /// Other users can read or write it.
    #[error("{0} is accessible to other users; set its mode to 0600")]
    Exposed(PathBuf),
    /// Far longer than what it should hold.
    #[error("{path} has more than {max} bytes, which is too many for what it should hold")]
    Long {
        /// Which.
        path: PathBuf,
        /// How many it may have.
        max: u64,
    },
    /// No UTF-8.
    #[error("{0} is not text")]
    NoText(PathBuf),
}

/// Reads a file of at most `bytes_max` bytes that no other user can reach. What was read is wiped when it is dropped.
///
/// # Errors
/// [`SecretFileError`]; it never holds anything of what was read.
pub fn read(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let failed = |source| SecretFileError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Of the file that is open, not of what the path may name a moment later.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(SecretFileError::NoFile(path.to_owned()));
    }
    if metadata.mode() & MODE_OTHERS != 0 {
        return Err(SecretFileError::Exposed(path.to_owned()));
    }
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let room = usize::try_from(metadata.len().min(bytes_max) + 1).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(SecretFileError::Long { path: path.to_owned(), max: bytes_max });
    }
    Ok(bytes)
}

/// The same of a file that has to be text.
///
/// # Errors
/// [`SecretFileError`].
pub fn read_text(path: &Path, bytes_max: u64) -> Result<Zeroizing<String>, SecretFileError> {
    let bytes = read(path, bytes_max)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretFileError::NoText(path.to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_what_others_cannot_reach_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, "s3cret").expect("written");
        for (mode, readable) in
            [(0o600, true), (0o640, true), (0o400, true), (0o604, false), (0o601, false), (0o602, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            let read = read_text(&path, 6);
            assert_eq!(read.is_ok(), readable, "{mode:o}");
            assert!(readable || matches!(read, Err(SecretFileError::Exposed(_))));
        }
    }

    #[test]
    fn what_is_no_short_text_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let write = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        };
        write(b"s3cret");
        let long = read(&path, 5).expect_err("too long");
        assert!(matches!(long, SecretFileError::Long { max: 5, .. }) && !format!("{long} {long:?}").contains("s3cret"));
        write(b"s3cret\xff");
        let error = read_text(&path, 99).expect_err("no text");
        assert!(matches!(error, SecretFileError::NoText(_)) && !format!("{error} {error:?}").contains("s3cret"));
        assert_eq!(**read(&path, 99).expect("bytes"), *b"s3cret\xff");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("a mode");
        assert!(matches!(read(folder.path(), 99), Err(SecretFileError::NoFile(_))));
        assert!(matches!(read(&folder.path().join("none"), 99), Err(SecretFileError::File { .. })));
    }
}
