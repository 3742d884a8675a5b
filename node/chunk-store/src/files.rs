//! A disk's segment files as the store uses them. The operating system's are [`OsFiles`]; tests put in others that
//! record what is done, or fail.

mod os;
mod read_only;

pub use os::OsFiles;
pub(crate) use read_only::ReadOnlyFiles;

use std::io;
use std::sync::Arc;

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be allocated.
    pub free: u64,
    /// Its size.
    pub total: u64,
}

/// The folder of a disk's segments.
pub trait Files: Send + Sync + 'static {
    /// The names of all files.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file of `bytes` zeros that are allocated. It is lost in a crash until [`Files::sync`].
    ///
    /// # Errors
    /// `StorageFull` or `QuotaExceeded`: there is no room, and nothing is left of the file. Others: the disk is not to be trusted.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn SegmentFile>>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// It does not, or cannot be opened.
    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>>;

    /// Bytes of a file.
    ///
    /// # Errors
    /// It does not exist, or cannot be asked.
    fn size(&self, name: &str) -> io::Result<u64>;

    /// Removes a file. Who has it open may go on with it.
    ///
    /// # Errors
    /// It is still there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all creations and removals durable.
    ///
    /// # Errors
    /// The disk is not to be trusted.
    fn sync(&self) -> io::Result<()>;

    /// Room on the file system.
    ///
    /// # Errors
    /// It cannot be asked.
    fn space(&self) -> io::Result<Space>;
}

/// One segment.
#[allow(clippy::len_without_is_empty)]
pub trait SegmentFile: Send + Sync + 'static {
    /// Its length.
    ///
    /// # Errors
    /// It cannot be asked.
    fn len(&self) -> io::Result<u64>;

    /// Fills `out` from `offset`.
    ///
    /// # Errors
    /// The medium failed, or the file ends before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Fills `out` from `offset` as the medium has it, not from a cache, as far as that can be had.
    ///
    /// # Errors
    /// As [`SegmentFile::read_at`].
    fn read_medium_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, out)
    }

    /// Writes all of `bytes` at `offset`; both the offset and the length are multiples of the block. Not durable.
    ///
    /// # Errors
    /// `StorageFull`: there was no room, parts may have been written. Others: the disk is not to be trusted.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written durable (fdatasync).
    ///
    /// # Errors
    /// The disk is not to be trusted: what was written may be lost although it can be read.
    fn sync(&self) -> io::Result<()>;

    /// The first byte at or after `offset` that may be other than zero; `None` if there is none. May answer too low.
    ///
    /// # Errors
    /// It cannot be asked.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>>;

    /// Cuts the file off at `len`.
    ///
    /// # Errors
    /// The disk is not to be trusted.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// Whether an error says that the file system is full, rather than broken.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
