//! The folder round the database: whose it is, who has it open, whether it was left in order.
//!
//! A new folder is made in this order, so that a crash on the way is told from a lost log: `IDENTITY.new`, the
//! watermark, the database, and last `IDENTITY.new` becomes `IDENTITY`.

use crate::error::OpenError;
use crate::row::crc_of;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use types::NodeId;

const LOCK: &str = "LOCK";
const IDENTITY: &str = "IDENTITY";
const IDENTITY_NEW: &str = "IDENTITY.new";
const CLEAN: &str = "CLEAN";
const DB: &str = "db";

const IDENTITY_MAGIC: [u8; 8] = *b"SAGORLOG";
/// The version of everything in the folder. A newer one is refused.
const FORMAT: u32 = 1;
/// `magic:8 | format:4 | node:8 | crc:4`.
const IDENTITY_BYTES: usize = 24;
const _: () = assert!(IDENTITY_BYTES == 8 + 4 + 8 + 4);

/// How the folder was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Empty, or its creation was interrupted.
    New,
    /// In use before, and closed in order.
    Clean,
    /// In use before; the process or the machine died.
    Unclean,
}

/// The folder of a log, locked as long as the value lives.
pub(crate) struct Folder {
    root: PathBuf,
    node: NodeId,
    _lock: File,
}

impl Folder {
    /// Locks the folder, checks whose it is, and takes the mark of an orderly shutdown away.
    pub(crate) fn open(root: &Path, node: NodeId) -> Result<(Folder, Found), OpenError> {
        fs::create_dir_all(root).map_err(io_at(root))?;
        let known = exists(&root.join(IDENTITY))?;
        let begun = exists(&root.join(IDENTITY_NEW))?;
        if !known && !begun && !is_empty(root)? {
            return Err(OpenError::NotALog { path: root.to_owned() });
        }
        let folder = Folder { root: root.to_owned(), node, _lock: lock(&root.join(LOCK))? };
        if !known {
            folder.begin(node)?;
            return Ok((folder, Found::New));
        }
        check_identity(root, node)?;
        let clean = folder.root.join(CLEAN);
        let found = if exists(&clean)? { Found::Clean } else { Found::Unclean };
        if found == Found::Clean {
            fs::remove_file(&clean).map_err(io_at(&clean))?;
            sync_dir(root)?;
        }
        Ok((folder, found))
    }

    /// Where the database lies.
    pub(crate) fn db(&self) -> PathBuf {
        db_of(&self.root)
    }

    /// Whose log it is.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Begins a new log; what an interrupted creation left is thrown away.
    fn begin(&self, node: NodeId) -> Result<(), OpenError> {
        for entry in fs::read_dir(&self.root).map_err(io_at(&self.root))? {
            let path = entry.map_err(io_at(&self.root))?.path();
            if path.file_name().is_some_and(|name| name != LOCK && name != IDENTITY_NEW) {
                let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                gone.map_err(io_at(&path))?;
            }
        }
        write_file(&self.root.join(IDENTITY_NEW), &encode_identity(node))?;
        sync_dir(&self.root)
    }

    /// Ends the creation: from now on a missing piece is a loss.
    pub(crate) fn finish_creation(&self) -> Result<(), OpenError> {
        let (from, to) = (self.root.join(IDENTITY_NEW), self.root.join(IDENTITY));
        fs::rename(&from, &to).map_err(io_at(&to))?;
        sync_dir(&self.root)?;
        self.root.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)
    }

    /// Says that everything was flushed and nothing will be written any more.
    pub(crate) fn mark_clean(&self) -> Result<(), OpenError> {
        write_file(&self.root.join(CLEAN), b"")?;
        sync_dir(&self.root)
    }

    /// Whether the database was ever made: `CURRENT` names its newest state.
    pub(crate) fn db_exists(&self) -> Result<bool, OpenError> {
        exists(&self.db().join("CURRENT"))
    }

    /// Whether the database's folder is missing or empty.
    pub(crate) fn db_is_empty(&self) -> Result<bool, OpenError> {
        Ok(!exists(&self.db())? || is_empty(&self.db())?)
    }
}

/// What a folder holds, for a look that changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// It is missing or empty.
    Nothing,
    /// The creation of a log that was interrupted.
    Unfinished,
    /// A log.
    Log,
    /// Something without an identity.
    Strange,
}

/// Looks what a folder holds.
pub(crate) fn contents(root: &Path) -> Result<Contents, OpenError> {
    if !exists(root)? || is_empty(root)? {
        return Ok(Contents::Nothing);
    }
    Ok(match (exists(&root.join(IDENTITY))?, exists(&root.join(IDENTITY_NEW))?) {
        (true, _) => Contents::Log,
        (false, true) => Contents::Unfinished,
        (false, false) => Contents::Strange,
    })
}

/// Locks a folder without making anything in it; `None` if nobody ever had it open.
pub(crate) fn hold(root: &Path) -> Result<Option<File>, OpenError> {
    let path = root.join(LOCK);
    match File::open(&path) {
        Ok(file) => try_lock(file, &path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_at(&path)(error)),
    }
}

/// Whether the log was closed in order.
pub(crate) fn is_clean(root: &Path) -> Result<bool, OpenError> {
    exists(&root.join(CLEAN))
}

/// Where the database of a log lies.
pub(crate) fn db_of(root: &Path) -> PathBuf {
    root.join(DB)
}

/// Names in a folder that no log has.
pub(crate) fn strangers(root: &Path) -> Result<Vec<String>, OpenError> {
    const KNOWN: [&str; 7] = [LOCK, IDENTITY, IDENTITY_NEW, CLEAN, DB, "WATERMARK-0", "WATERMARK-1"];
    let names = fs::read_dir(root).map_err(io_at(root))?.map(|entry| entry.map(|entry| entry.file_name()));
    let names = names.map(|name| name.map(|name| name.to_string_lossy().into_owned())).collect::<io::Result<Vec<_>>>();
    let mut names = names.map_err(io_at(root))?;
    names.retain(|name| !KNOWN.contains(&name.as_str()));
    names.sort_unstable();
    Ok(names)
}

/// Turns an I/O error at `path` into an [`OpenError`].
pub(crate) fn io_at(path: &Path) -> impl Fn(io::Error) -> OpenError + '_ {
    |source| OpenError::Io { path: path.to_owned(), source }
}

/// Makes creations, renames and removals in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(io_at(path))
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(io_at(path))
}

fn is_empty(root: &Path) -> Result<bool, OpenError> {
    let mut entries = fs::read_dir(root).map_err(io_at(root))?;
    let other = entries.find(|entry| !entry.as_ref().is_ok_and(|entry| entry.file_name() == LOCK));
    other.transpose().map(|found| found.is_none()).map_err(io_at(root))
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(io_at(path))?;
    try_lock(file, path)
}

fn try_lock(file: File, path: &Path) -> Result<File, OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path: path.to_owned(), source }),
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let mut file = File::create(path).map_err(io_at(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_at(path))
}

fn encode_identity(node: NodeId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(IDENTITY_BYTES);
    bytes.extend_from_slice(&IDENTITY_MAGIC);
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    bytes.extend_from_slice(&node.0.to_be_bytes());
    let crc = crc_of(&[&bytes]);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

/// Reads the identity of a log and compares it with whose it should be.
pub(crate) fn check_identity(root: &Path, node: NodeId) -> Result<(), OpenError> {
    let path = root.join(IDENTITY);
    let mut bytes = Vec::new();
    // One byte more than it may have, so that a longer file is noticed and never read whole.
    let file = File::open(&path).map_err(io_at(&path))?;
    file.take(IDENTITY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io_at(&path))?;
    let Some((covered, crc)) = bytes.split_last_chunk::<4>() else {
        return Err(OpenError::DamagedIdentity { path });
    };
    let (Some(magic), Some(format), Some(found)) =
        (covered.first_chunk::<8>(), covered.get(8..12), covered.get(12..20))
    else {
        return Err(OpenError::DamagedIdentity { path });
    };
    if *magic != IDENTITY_MAGIC || crc_of(&[covered]).to_be_bytes() != *crc || bytes.len() != IDENTITY_BYTES {
        return Err(OpenError::DamagedIdentity { path });
    }
    let format = u32::from_be_bytes(*format.first_chunk().expect("sliced to 4 bytes"));
    if format != FORMAT {
        return Err(OpenError::Format { path, found: format, known: FORMAT });
    }
    let found = NodeId(u64::from_be_bytes(*found.first_chunk().expect("sliced to 8 bytes")));
    if found != node {
        return Err(OpenError::ForeignNode { path: root.to_owned(), expected: node, found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_that_of_the_format_page() {
        let hex: String = encode_identity(NodeId(5)).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5341474f524c4f47000000010000000000000005a2c6d4a3");
        assert_eq!(hex.len(), 2 * IDENTITY_BYTES);
    }
}
