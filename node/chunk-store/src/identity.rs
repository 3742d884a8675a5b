//! Who a data directory is: disk, node, format, and the secret tag of its records.
//!
//! The file `IDENTITY` is text, written once, atomically (temporary file, fsync, rename, fsync of the directory):
//!
//! ```text
//! sago-disk 1
//! disk 0123456789abcdef0123456789abcdef
//! node 3
//! tag 0123456789abcdef0123456789abcdef
//! crc32c 89abcdef
//! ```
//!
//! The CRC32C is of all bytes before its line. Nothing else is made in the directory before it is durable, so a directory
//! that holds anything but no identity is not ours or has lost it, and is not touched. An empty disk never takes the place of a lost
//! one: its id is new and stands in no placement map.
//!
//! Source: `reference/reliability.md` R5.

use crate::error::{OpenError, StoreError};
use crate::record::{Tag, crc32c};
use rand::RngCore;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use types::{DiskId, NodeId};

/// The file's name.
pub const IDENTITY: &str = "IDENTITY";
/// The name it is written under first.
pub const IDENTITY_TEMPORARY: &str = "IDENTITY.tmp";
/// The lock's name.
pub const LOCK: &str = "LOCK";

const FIRST_LINE: &str = "sago-disk 1";
/// Names that may stand in a directory that is no disk yet.
const HARMLESS: [&str; 3] = [LOCK, IDENTITY_TEMPORARY, "lost+found"];
/// An identity is about 130 bytes; what is longer is none.
const IDENTITY_BYTES_MAX: u64 = 1024;

/// What the file says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The disk.
    pub disk: DiskId,
    /// Whose it is.
    pub node: NodeId,
    /// Marks its records.
    pub tag: Tag,
}

impl Identity {
    /// The text of the file.
    #[must_use]
    pub fn encode(&self) -> String {
        let tag = DiskId(self.tag.0);
        let text = format!("{FIRST_LINE}\ndisk {}\nnode {}\ntag {tag}\n", self.disk, self.node.0);
        let crc = crc32c(text.as_bytes());
        format!("{text}crc32c {crc:08x}\n")
    }

    /// Parses the file; `None` if a byte is wrong.
    #[must_use]
    pub fn decode(text: &str) -> Option<Identity> {
        let mut lines = text.lines();
        let first = lines.next()?;
        let disk = lines.next()?.strip_prefix("disk ")?.parse().ok()?;
        let node = NodeId(lines.next()?.strip_prefix("node ")?.parse().ok()?);
        let tag: DiskId = lines.next()?.strip_prefix("tag ")?.parse().ok()?;
        let identity = Identity { disk, node, tag: Tag(tag.0) };
        (first == FIRST_LINE && identity.encode() == text).then_some(identity)
    }

    fn new(node: NodeId, disk: Option<DiskId>) -> Identity {
        let mut random = [0; 32];
        rand::rng().fill_bytes(&mut random);
        let half = |at: usize| std::array::from_fn(|i| random[at + i]);
        Identity { disk: disk.unwrap_or(DiskId(half(0))), node, tag: Tag(half(16)) }
    }
}

/// A data directory that this process has to itself until the value is dropped.
pub struct Directory {
    /// Where.
    pub path: PathBuf,
    /// Who.
    pub identity: Identity,
    _lock: File,
}

impl Directory {
    /// Locks a directory and reads its identity, or gives it one if it is empty or missing and `create` is set. With `disk` it
    /// must be, or becomes, that disk.
    ///
    /// # Errors
    /// [`OpenError`]; the directory was not changed, except that `LOCK` may have been made.
    pub fn open(path: &Path, node: NodeId, create: bool, disk: Option<DiskId>) -> Result<Directory, OpenError> {
        let failed = |source: io::Error| OpenError::Disk { path: path.to_owned(), source: StoreError::Io(source) };
        if create {
            make_folder(path).map_err(failed)?;
        } else if !path.join(IDENTITY).exists() {
            return Err(missing(path));
        }
        let lock = lock(path)?;
        let identity = match read(path).map_err(failed)? {
            Some(text) => Identity::decode(&text).ok_or(OpenError::BadIdentity { path: path.to_owned() })?,
            None => match stranger(path).map_err(failed)? {
                Some(found) => return Err(OpenError::NoIdentity { path: path.to_owned(), found }),
                None if !create => return Err(missing(path)),
                None => write(path, Identity::new(node, disk)).map_err(failed)?,
            },
        };
        if identity.node != node {
            return Err(OpenError::Foreign { path: path.to_owned(), owner: identity.node, node });
        }
        if let Some(expected) = disk.filter(|expected| *expected != identity.disk) {
            return Err(OpenError::WrongDisk { path: path.to_owned(), found: identity.disk, expected });
        }
        Ok(Directory { path: path.to_owned(), identity, _lock: lock })
    }
}

/// Makes an empty or missing directory a disk of `node`, with nothing on it yet, and tells its id; or tells which disk it is already. Durable
/// when it returns; idempotent.
///
/// # Errors
/// [`OpenError`]: it is another node's, is in use, or holds something else.
pub fn prepare(path: &Path, node: NodeId) -> Result<DiskId, OpenError> {
    Ok(Directory::open(path, node, true, None)?.identity.disk)
}

fn missing(path: &Path) -> OpenError {
    match stranger(path) {
        Ok(Some(found)) => OpenError::NoIdentity { path: path.to_owned(), found },
        _ => OpenError::Missing { path: path.to_owned() },
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let failed = |source: io::Error| OpenError::Disk { path: path.to_owned(), source: StoreError::Io(source) };
    let file = File::options().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(failed)?;
    try_lock(file, path)
}

/// Locks a directory without making anything in it; `None` if nobody ever had it open.
pub(crate) fn hold(path: &Path) -> Result<Option<File>, OpenError> {
    match File::open(path.join(LOCK)) {
        Ok(file) => try_lock(file, path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::Disk { path: path.to_owned(), source: StoreError::Io(error) }),
    }
}

fn try_lock(file: File, path: &Path) -> Result<File, OpenError> {
    let failed = |source: io::Error| OpenError::Disk { path: path.to_owned(), source: StoreError::Io(source) };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The text of a directory's identity; empty if it is too long to be one.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    let file = path.join(IDENTITY);
    match std::fs::metadata(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(metadata) if metadata.len() > IDENTITY_BYTES_MAX => Ok(Some(String::new())),
        Ok(_) => Ok(Some(String::from_utf8_lossy(&std::fs::read(&file)?).into_owned())),
    }
}

/// Something in the directory that a new disk would not have.
fn stranger(path: &Path) -> io::Result<Option<String>> {
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !HARMLESS.contains(&name.as_str()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn write(path: &Path, identity: Identity) -> io::Result<Identity> {
    let temporary = path.join(IDENTITY_TEMPORARY);
    let mut file = File::create(&temporary)?;
    file.write_all(identity.encode().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path.join(IDENTITY))?;
    sync_folder(path)?;
    Ok(identity)
}

/// Makes a folder and those above it, each durable in the one that holds it.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_folder(parent)?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(parent),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_any_flipped_bit_is_refused() {
        let identity = Identity { disk: DiskId([1; 16]), node: NodeId(3), tag: Tag([2; 16]) };
        let text = identity.encode();
        let expected =
            "sago-disk 1\ndisk 01010101010101010101010101010101\nnode 3\ntag 02020202020202020202020202020202\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(Identity::decode(&text) == Some(identity));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(String::from_utf8(bytes).is_ok_and(|text| Identity::decode(&text).is_none()), "byte {at}");
        }
        assert!(Identity::decode("").is_none());
    }

    #[test]
    fn a_new_directory_gets_an_identity_and_keeps_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a/b");
        let first = Directory::open(&path, NodeId(1), true, None).map(|directory| directory.identity);
        let again = Directory::open(&path, NodeId(1), false, None).map(|directory| directory.identity);
        assert!(first.is_ok_and(|first| again.is_ok_and(|again| first == again)));
    }

    #[test]
    fn one_process_holds_it_at_a_time() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let held = Directory::open(folder.path(), NodeId(1), true, None);
        assert!(held.is_ok());
        assert!(matches!(Directory::open(folder.path(), NodeId(1), true, None), Err(OpenError::Locked { .. })));
        drop(held);
        assert!(Directory::open(folder.path(), NodeId(1), true, None).is_ok());
    }

    #[test]
    fn another_nodes_disk_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        drop(Directory::open(folder.path(), NodeId(1), true, None));
        let refused = Directory::open(folder.path(), NodeId(2), true, None);
        assert!(matches!(refused, Err(OpenError::Foreign { owner: NodeId(1), node: NodeId(2), .. })));
    }

    #[test]
    fn a_new_directory_becomes_the_disk_that_is_expected_and_another_disk_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (expected, other) = (DiskId([1; 16]), DiskId([2; 16]));
        let made = Directory::open(folder.path(), NodeId(1), true, Some(expected)).map(|made| made.identity.disk);
        assert!(made.is_ok_and(|disk| disk == expected));
        let refused = Directory::open(folder.path(), NodeId(1), true, Some(other));
        assert!(matches!(refused, Err(OpenError::WrongDisk { found, .. }) if found == expected));
        assert!(Directory::open(folder.path(), NodeId(1), false, Some(expected)).is_ok());
    }

    #[test]
    fn data_without_identity_is_refused_and_an_empty_folder_only_taken_when_asked() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(matches!(Directory::open(folder.path(), NodeId(1), false, None), Err(OpenError::Missing { .. })));
        std::fs::create_dir(folder.path().join("segments")).expect("a folder");
        for create in [true, false] {
            let refused = Directory::open(folder.path(), NodeId(1), create, None);
            assert!(matches!(refused, Err(OpenError::NoIdentity { found, .. }) if found == "segments"));
        }
    }

    #[test]
    fn a_start_cut_short_leaves_nothing_that_stops_the_next() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(IDENTITY_TEMPORARY), "sago-disk 1\ndi").expect("a file");
        assert!(Directory::open(folder.path(), NodeId(1), true, None).is_ok());
    }

    #[test]
    fn a_damaged_identity_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for text in ["", "sago-disk 2\n", &"x".repeat(5000)] {
            std::fs::write(folder.path().join(IDENTITY), text).expect("a file");
            assert!(matches!(
                Directory::open(folder.path(), NodeId(1), true, None),
                Err(OpenError::BadIdentity { .. })
            ));
        }
    }
}
