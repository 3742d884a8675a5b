//! Segment files that are only looked at, once and from front to back; every change is refused.
//!
//! Where the medium gives an error the blocks are taken for zeros, so that a look goes on behind them, and are counted.

use super::{Files, SegmentFile, Space};
use crate::record::BLOCK_BYTES;
use parking_lot::Mutex;
use rustix::fs::{Advice, SeekFrom};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The `segments` folder of a data directory that nobody has open.
pub(crate) struct ReadOnlyFiles {
    folder: PathBuf,
    unreadable: Unreadable,
}

/// Blocks of each file that the medium does not give.
type Unreadable = Arc<Mutex<BTreeMap<String, BTreeSet<u64>>>>;

fn refused<T>() -> io::Result<T> {
    Err(ErrorKind::ReadOnlyFilesystem.into())
}

impl ReadOnlyFiles {
    pub(crate) fn new(folder: &Path) -> Self {
        ReadOnlyFiles { folder: folder.to_owned(), unreadable: Unreadable::default() }
    }

    /// Number of blocks that the medium did not give so far, by file.
    pub(crate) fn unreadable(&self) -> Vec<(String, usize)> {
        self.unreadable.lock().iter().map(|(name, blocks)| (name.clone(), blocks.len())).collect()
    }
}

impl Files for ReadOnlyFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.folder)?;
        names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, _: &str, _: u64) -> io::Result<Arc<dyn SegmentFile>> {
        refused()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        let file = File::open(self.folder.join(name))?;
        rustix::fs::fadvise(&file, 0, None, Advice::Sequential)?;
        Ok(Arc::new(ReadOnlySegment { file, name: name.to_owned(), unreadable: self.unreadable.clone() }))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.folder.join(name))?.len())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }

    fn space(&self) -> io::Result<Space> {
        refused()
    }
}

struct ReadOnlySegment {
    file: File,
    name: String,
    unreadable: Unreadable,
}

impl ReadOnlySegment {
    /// Reads block by block, and zeros for those that cannot be read.
    fn read_around(&self, offset: u64, out: &mut [u8]) {
        for (i, block) in out.chunks_mut(BLOCK_BYTES as usize).enumerate() {
            let at = offset + i as u64 * BLOCK_BYTES;
            if self.file.read_exact_at(block, at).is_err() {
                block.fill(0);
                self.unreadable.lock().entry(self.name.clone()).or_default().insert(at / BLOCK_BYTES);
            }
        }
    }
}

impl SegmentFile for ReadOnlySegment {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// What was read is dropped from the page cache, so that a whole disk that goes through does not push out everything else. Single blocks
    /// stay: the record that begins with one is read next.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.file.read_exact_at(out, offset) {
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => self.read_around(offset, out),
            read => read?,
        }
        if out.len() as u64 > BLOCK_BYTES {
            rustix::fs::fadvise(&self.file, offset, NonZeroU64::new(out.len() as u64), Advice::DontNeed)?;
        }
        Ok(())
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(at) => Ok(Some(at)),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok((offset < self.len()?).then_some(offset)),
            Err(error) => Err(error.into()),
        }
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        refused()
    }
}
