//! Segment files of the operating system: appended with direct I/O where asked and possible, read through the page cache.
//!
//! The kernel drops cached pages under a direct write, and readers turn read-ahead off, so that no page of the space behind
//! the last record is cached while it is written.

use super::{Files, SegmentFile, Space};
use crate::buffer::AlignedBuffer;
use crate::record::BLOCK_BYTES;
use rustix::fs::{Advice, FallocateFlags, OFlags, SeekFrom};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that shows whether direct I/O works here.
const PROBE: &str = "probe.tmp";

/// The `segments` folder of a data directory.
pub struct OsFiles {
    folder: PathBuf,
    direct: bool,
}

impl OsFiles {
    /// Opens the folder, making it if need be. With `direct` it tries whether the file system takes direct I/O, and goes on
    /// without, with a line in the log, where it does not.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn open(folder: &Path, direct: bool) -> io::Result<OsFiles> {
        crate::identity::make_folder(folder)?;
        let mut files = OsFiles { folder: folder.to_owned(), direct };
        if direct && let Err(error) = files.probe() {
            tracing::info!(folder = %folder.display(), %error, "no direct I/O here, segments are written through the page cache");
            files.direct = false;
        }
        Ok(files)
    }

    /// Whether segments are written with direct I/O.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    fn probe(&self) -> io::Result<()> {
        let path = self.folder.join(PROBE);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(&path);
        let written = file.and_then(|file| {
            let block = AlignedBuffer::zeroed(BLOCK_BYTES as usize);
            file.write_all_at(block.bytes(BLOCK_BYTES as usize), 0)
        });
        let removed = match std::fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        written.and(removed)
    }

    fn handles(&self, name: &str) -> io::Result<OsSegment> {
        let path = self.folder.join(name);
        let reader = File::open(&path)?;
        let mut options = OpenOptions::new();
        options.write(true);
        if self.direct {
            options.custom_flags(OFlags::DIRECT.bits() as i32);
        }
        let writer = options.open(&path)?;
        rustix::fs::fadvise(&reader, 0, None, Advice::Random)?;
        Ok(OsSegment { reader, writer })
    }
}

impl Files for OsFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn SegmentFile>> {
        let path = self.folder.join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let allocated = match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(bytes),
            other => other.map_err(io::Error::from),
        };
        let opened = allocated.and_then(|()| self.handles(name));
        match opened {
            Ok(segment) => Ok(Arc::new(segment)),
            Err(error) => {
                std::fs::remove_file(&path)?;
                Err(error)
            }
        }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(self.handles(name)?))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.folder.join(name))?.len())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }
}

struct OsSegment {
    reader: File,
    writer: File,
}

impl SegmentFile for OsSegment {
    fn len(&self) -> io::Result<u64> {
        Ok(self.reader.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact_at(out, offset)
    }

    /// Drops what the page cache has of the range before, so that the read goes to the medium, and after, so that a scrub does not
    /// push out what is read often.
    fn read_medium_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let len = NonZeroU64::new(out.len() as u64);
        rustix::fs::fadvise(&self.reader, offset, len, Advice::DontNeed)?;
        let read = self.reader.read_exact_at(out, offset);
        rustix::fs::fadvise(&self.reader, offset, len, Advice::DontNeed)?;
        read
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.writer.sync_data()
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.reader, SeekFrom::Data(offset)) {
            Ok(at) => Ok(Some(at)),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok((offset < self.len()?).then_some(offset)),
            Err(error) => Err(error.into()),
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.writer.set_len(len)
    }
}
