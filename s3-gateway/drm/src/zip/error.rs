//! Why an archive is refused.

use crate::SourceError;

/// What is wrong with the name of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// No name.
    Empty,
    /// Begins with a slash or with the letter of a drive.
    Absolute,
    /// Has a segment that is empty, `.` or `..`.
    Traversal,
    /// Has a backslash, which some systems take for a slash.
    Backslash,
    /// Has a control character.
    Control,
    /// Says that it is UTF-8 and is not.
    NotUtf8,
}

/// The archive cannot be read, or not in one way only. Nothing helps but another archive, or other limits.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// The source failed; the archive may be good.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Not an archive, or one with something behind its end.
    #[error("no end of a ZIP archive")]
    NoEnd,
    /// Part of an archive over several disks.
    #[error("an archive of several disks")]
    MultiDisk,
    /// The records of Zip64 are missing, damaged, or say something else than the others.
    #[error("the Zip64 records contradict the others")]
    Zip64,
    /// The central directory is not where, or not what, the end record says.
    #[error("damaged central directory")]
    Directory,
    /// More entries than [`crate::zip::Limits::entries`].
    #[error("{entries} entries; {max} are allowed")]
    TooManyEntries {
        /// How many it has.
        entries: u64,
        /// How many are allowed.
        max: u64,
    },
    /// A central directory larger than [`crate::zip::Limits::directory_bytes`].
    #[error("a central directory of {bytes} bytes; {max} are allowed")]
    DirectoryTooLarge {
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        max: u64,
    },
    /// A name longer than [`crate::zip::Limits::name_bytes`].
    #[error("a name of {bytes} bytes; {max} are allowed")]
    NameTooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// A name that no entry may have.
    #[error("the name {name:?} is refused: {fault:?}")]
    Name {
        /// The name, as far as it can be read.
        name: String,
        /// What is wrong with it.
        fault: NameFault,
    },
    /// Two entries of one name.
    #[error("two entries are named {0:?}")]
    Duplicate(String),
    /// An entry lies over another one, or over the central directory.
    #[error("entry {0:?} lies over another part of the archive")]
    Overlap(String),
    /// An entry is encrypted by ZIP's own means.
    #[error("entry {0:?} is encrypted")]
    Encrypted(String),
    /// An entry is neither stored nor deflated.
    #[error("entry {name:?} is compressed by method {method}; 0 and 8 are understood")]
    Method {
        /// Which.
        name: String,
        /// Its method.
        method: u16,
    },
    /// An entry larger than [`crate::zip::Limits::entry_bytes`], or than the document that it is may be.
    #[error("entry {name:?} has {bytes} bytes; {max} are allowed")]
    EntryTooLarge {
        /// Which.
        name: String,
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        max: u64,
    },
    /// All entries together are larger than [`crate::zip::Limits::total_bytes`].
    #[error("entries of {bytes} bytes; {max} are allowed")]
    TotalTooLarge {
        /// How large they are.
        bytes: u64,
        /// How large they may be.
        max: u64,
    },
    /// Larger by [`crate::zip::Limits::ratio`] when inflated.
    #[error("{archive} bytes inflate to {bytes}; {max} times as many are allowed")]
    Ratio {
        /// Bytes of all entries.
        bytes: u64,
        /// Bytes of the archive.
        archive: u64,
        /// The ratio that is allowed.
        max: u64,
    },
    /// The local header of an entry says something else than the central directory.
    #[error("the headers of entry {name:?} differ in the {what}")]
    Contradiction {
        /// Which.
        name: String,
        /// What differs.
        what: &'static str,
    },
    /// A folder with data.
    #[error("folder {0:?} has data")]
    Folder(String),
    /// What an entry holds cannot be inflated.
    #[error("entry {0:?} cannot be inflated")]
    Deflate(String),
    /// An entry is not as large as its headers say.
    #[error("entry {0:?} has not the size that it claims")]
    Size(String),
    /// An entry is not what was stored.
    #[error("entry {0:?} has a wrong CRC-32")]
    Crc(String),
    /// There is no such entry.
    #[error("there is no entry {0:?}")]
    Missing(String),
}
