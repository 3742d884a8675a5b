//! Appends an archive to a sink.

use super::{End, Method, NAME_BYTES_MAX, NameFault, central_header, check_name, local_header};
use crate::{Sink, SinkError};

/// An entry whose data is known: what its header says is final.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// Its path from the root, of less than 64 KiB; see [`NameFault`] for what it may be.
    pub name: &'a str,
    /// Says that the name is UTF-8 even if it is ASCII.
    pub utf8: bool,
    /// How its data is kept.
    pub method: Method,
    /// CRC-32 of its data.
    pub crc32: u32,
    /// Bytes of its data, as they are kept.
    pub compressed: u64,
    /// Bytes of its data.
    pub size: u64,
}

impl<'a> NewEntry<'a> {
    /// Whose data is kept as it is.
    #[must_use]
    pub fn stored(name: &'a str, data: &[u8]) -> Self {
        let size = data.len() as u64;
        let crc32 = crc32fast::hash(data);
        NewEntry { name, utf8: false, method: Method::Stored, crc32, compressed: size, size }
    }
}

/// The central directory of an archive that was written, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where it begins.
    pub offset: u64,
    /// How many entries it has.
    pub entries: u64,
    /// Bytes of the whole archive.
    pub archive_bytes: u64,
    /// Whether the archive has the records of Zip64.
    pub zip64: bool,
}

/// Writes an archive, in the order in which entries come. In memory it holds the central directory.
pub struct Writer<'a> {
    sink: &'a mut dyn Sink,
    offset: u64,
    /// What is missing of the entry that was begun last.
    missing: u64,
    directory: Vec<u8>,
    entries: u64,
}

impl<'a> Writer<'a> {
    /// Begins an archive at the beginning of the sink.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        Writer { sink, offset: 0, missing: 0, directory: Vec::new(), entries: 0 }
    }

    /// As if so many bytes had been written already.
    #[cfg(test)]
    pub(crate) fn at(offset: u64, sink: &'a mut dyn Sink) -> Self {
        Writer { offset, ..Writer::new(sink) }
    }

    /// Begins an entry. Its data follows by [`Writer::write`], as much as it says.
    ///
    /// # Errors
    /// [`SinkError`].
    ///
    /// # Panics
    /// If the name is none that [`crate::zip::Archive`] would read, or data of the entry before is missing.
    pub fn begin(&mut self, entry: &NewEntry<'_>) -> Result<(), SinkError> {
        assert_eq!(self.missing, 0, "an entry is written whole before the next one");
        let fault: Result<(), NameFault> = check_name(entry.name);
        assert!(fault.is_ok() && entry.name.len() <= NAME_BYTES_MAX, "names are checked where they come from");
        let mut header = Vec::new();
        local_header(entry, &mut header);
        central_header(entry, self.offset, &mut self.directory);
        self.entries += 1;
        self.missing = header.len() as u64 + entry.compressed;
        self.write(&header)
    }

    /// Appends data of the entry.
    ///
    /// # Errors
    /// [`SinkError`].
    ///
    /// # Panics
    /// If it is more than the entry said.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.missing = self.missing.checked_sub(bytes.len() as u64).expect("an entry has as much data as it said");
        self.offset += bytes.len() as u64;
        self.sink.write(bytes)
    }

    /// Appends an entry whose data is in memory.
    ///
    /// # Errors
    /// [`SinkError`].
    pub fn add(&mut self, entry: &NewEntry<'_>, data: &[u8]) -> Result<(), SinkError> {
        self.begin(entry)?;
        self.write(data)
    }

    /// Appends the central directory and the end.
    ///
    /// # Errors
    /// [`SinkError`].
    ///
    /// # Panics
    /// If data of the last entry is missing.
    pub fn finish(self) -> Result<Directory, SinkError> {
        assert_eq!(self.missing, 0, "the last entry is written whole");
        let end = End { entries: self.entries, cd_offset: self.offset, cd_size: self.directory.len() as u64 };
        let mut tail = Vec::new();
        end.write(&mut tail);
        self.sink.write(&self.directory)?;
        self.sink.write(&tail)?;
        Ok(Directory {
            archive_bytes: end.cd_offset + end.cd_size + end.bytes(),
            bytes: self.directory,
            offset: end.cd_offset,
            entries: end.entries,
            zip64: end.is_zip64(),
        })
    }
}
