//! Opens an archive: finds its end, reads its central directory, and judges what that claims.

use super::names::decode;
use super::records::{
    CENTRAL_BYTES, COMMENT_BYTES_MAX, END, END_BYTES, End, FLAG_DESCRIPTOR, FLAG_UTF8, FLAGS_REFUSED, LOCAL_BYTES,
    LOCATOR, LOCATOR_BYTES, ZIP64_END, ZIP64_END_BYTES, u16_at, u32_at, u64_at,
};
use super::records::{CentralHeader, DirectoryWalk};
use super::{Entry, EntryReader, Limits, Method, NAME_BYTES_MAX, NameFault, StoredReader, ZipError, check_name};
use crate::Source;

/// An archive whose central directory has been read and found good. What its entries hold is proved as it is read.
#[derive(Debug)]
pub struct Archive<'a> {
    source: &'a dyn Source,
    entries: Vec<Entry>,
    /// The places of the entries in the order of their names.
    by_name: Vec<usize>,
}

impl<'a> Archive<'a> {
    /// Reads the central directory. No local header and no data is looked at yet.
    ///
    /// # Errors
    /// [`ZipError`]: no archive, or one that is refused.
    pub fn open(source: &'a dyn Source, limits: &Limits) -> Result<Self, ZipError> {
        let end = find_end(source)?;
        let entries = read_directory(source, end, limits)?;
        let by_name = sort_by_name(&entries)?;
        let mut archive = Archive { source, entries, by_name };
        archive.fence(end.cd_offset)?;
        archive.weigh(limits)?;
        Ok(archive)
    }

    /// All entries, folders among them, in the order of the central directory.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of exactly that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Entry> {
        let place = self.by_name.binary_search_by(|at| self.entries[*at].name.as_str().cmp(name)).ok()?;
        Some(&self.entries[self.by_name[place]])
    }

    /// Begins to read what an entry of this archive holds, inflated.
    ///
    /// # Errors
    /// [`ZipError`]: its local header is refused.
    pub fn read<'e>(&self, entry: &'e Entry) -> Result<EntryReader<'e>, ZipError>
    where
        'a: 'e,
    {
        EntryReader::new(self.source, entry)
    }

    /// Begins to read what an entry holds, as it is kept. It proves nothing about it.
    ///
    /// # Errors
    /// [`ZipError`]: its local header is refused.
    pub fn read_stored<'e>(&self, entry: &'e Entry) -> Result<StoredReader<'e>, ZipError>
    where
        'a: 'e,
    {
        StoredReader::new(self.source, entry)
    }

    /// All that an entry holds, of at most `max` bytes.
    ///
    /// # Errors
    /// [`ZipError`]: it is larger, or refused.
    pub fn read_whole(&self, entry: &Entry, max: u64) -> Result<Vec<u8>, ZipError> {
        if entry.size > max {
            return Err(ZipError::EntryTooLarge { name: entry.name.clone(), bytes: entry.size, max });
        }
        let (mut reader, mut whole) = (self.read(entry)?, Vec::new());
        while let Some(piece) = reader.piece()? {
            whole.extend_from_slice(piece);
        }
        Ok(whole)
    }

    /// Tells each entry where the next thing in the archive begins, over which its own bytes may not lie.
    fn fence(&mut self, cd_offset: u64) -> Result<(), ZipError> {
        let mut places: Vec<usize> = (0..self.entries.len()).collect();
        places.sort_unstable_by_key(|at| self.entries[*at].header_at);
        let mut fence = cd_offset;
        for at in places.into_iter().rev() {
            let entry = &mut self.entries[at];
            let least = (LOCAL_BYTES + entry.raw_name().len()) as u64;
            let ends = entry.header_at.checked_add(least).and_then(|begins| begins.checked_add(entry.compressed));
            if ends.is_none_or(|ends| ends > fence) {
                return Err(ZipError::Overlap(entry.name.clone()));
            }
            entry.fence = std::mem::replace(&mut fence, entry.header_at);
        }
        Ok(())
    }

    fn weigh(&self, limits: &Limits) -> Result<(), ZipError> {
        let bytes = self.entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.size));
        if bytes > limits.total_bytes {
            return Err(ZipError::TotalTooLarge { bytes, max: limits.total_bytes });
        }
        let archive = self.source.len();
        if bytes > Limits::RATIO_FLOOR_BYTES && bytes / limits.ratio.max(1) > archive {
            return Err(ZipError::Ratio { bytes, archive, max: limits.ratio });
        }
        Ok(())
    }
}

/// Finds the end record, which may have a comment, and what Zip64 adds to it.
fn find_end(source: &dyn Source) -> Result<End, ZipError> {
    let len = source.len();
    let mut tail = vec![0; len.min((END_BYTES + COMMENT_BYTES_MAX) as u64) as usize];
    let tail_at = len - tail.len() as u64;
    source.read_at(tail_at, &mut tail)?;
    let ends_there = |at: &usize| {
        let record = &tail[*at..];
        record.starts_with(&END) && END_BYTES + usize::from(u16_at(record, 20)) == record.len()
    };
    let at = (0..=tail.len().checked_sub(END_BYTES).ok_or(ZipError::NoEnd)?).rev().find(ends_there);
    let at = at.ok_or(ZipError::NoEnd)?;
    let record = &tail[at..];
    if u16_at(record, 4) != 0 || u16_at(record, 6) != 0 || u16_at(record, 8) != u16_at(record, 10) {
        return Err(ZipError::MultiDisk);
    }
    let end = End {
        entries: u64::from(u16_at(record, 10)),
        cd_size: u64::from(u32_at(record, 12)),
        cd_offset: u64::from(u32_at(record, 16)),
    };
    let end_at = tail_at + at as u64;
    let (end, behind) = match read_locator(source, end_at)? {
        Some(zip64_end_at) => (read_zip64_end(source, zip64_end_at, end_at, end)?, zip64_end_at),
        None => (end, end_at),
    };
    // Exactly: an archive behind other bytes, or with something before its end, reads differently elsewhere.
    if end.cd_offset.checked_add(end.cd_size) != Some(behind) {
        return Err(ZipError::Directory);
    }
    Ok(end)
}

/// Where the Zip64 end record lies, if a locator stands before the end record.
fn read_locator(source: &dyn Source, end_at: u64) -> Result<Option<u64>, ZipError> {
    let Some(at) = end_at.checked_sub(LOCATOR_BYTES as u64) else { return Ok(None) };
    let mut locator = [0; LOCATOR_BYTES];
    source.read_at(at, &mut locator)?;
    if !locator.starts_with(&LOCATOR) {
        return Ok(None);
    }
    if u32_at(&locator, 4) != 0 || u32_at(&locator, 16) > 1 {
        return Err(ZipError::MultiDisk);
    }
    Ok(Some(u64_at(&locator, 8)))
}

fn read_zip64_end(source: &dyn Source, at: u64, end_at: u64, end: End) -> Result<End, ZipError> {
    let locator_at = end_at - LOCATOR_BYTES as u64;
    let bytes = locator_at.checked_sub(at).filter(|bytes| *bytes >= ZIP64_END_BYTES as u64).ok_or(ZipError::Zip64)?;
    let mut record = [0; ZIP64_END_BYTES];
    source.read_at(at, &mut record)?;
    if !record.starts_with(&ZIP64_END) || u64_at(&record, 4) != bytes - 12 {
        return Err(ZipError::Zip64);
    }
    if u32_at(&record, 16) != 0 || u32_at(&record, 20) != 0 {
        return Err(ZipError::MultiDisk);
    }
    end.widen(&record).ok_or(ZipError::Zip64)
}

fn read_directory(source: &dyn Source, end: End, limits: &Limits) -> Result<Vec<Entry>, ZipError> {
    if end.entries > limits.entries {
        return Err(ZipError::TooManyEntries { entries: end.entries, max: limits.entries });
    }
    if end.cd_size > limits.directory_bytes {
        return Err(ZipError::DirectoryTooLarge { bytes: end.cd_size, max: limits.directory_bytes });
    }
    if end.cd_size / (CENTRAL_BYTES as u64) < end.entries {
        return Err(ZipError::Directory);
    }
    let mut directory = vec![0; end.cd_size as usize];
    source.read_at(end.cd_offset, &mut directory)?;
    let mut entries = Vec::with_capacity(end.entries as usize);
    for header in DirectoryWalk(&directory) {
        if entries.len() as u64 == end.entries {
            return Err(ZipError::Directory);
        }
        entries.push(entry_of(&header.map_err(|()| ZipError::Directory)?, limits)?);
    }
    if entries.len() as u64 != end.entries {
        return Err(ZipError::Directory);
    }
    Ok(entries)
}

/// The entry that a central header claims.
fn entry_of(header: &CentralHeader<'_>, limits: &Limits) -> Result<Entry, ZipError> {
    let flags = u16_at(header.fixed, 8);
    let (name, raw) = name_of(header.name, flags, limits)?;
    if flags & FLAGS_REFUSED != 0 {
        return Err(ZipError::Encrypted(name));
    }
    let number = u16_at(header.fixed, 10);
    let Some(method) = Method::of(number) else { return Err(ZipError::Method { name, method: number }) };
    if u16_at(header.fixed, 34) != 0 {
        return Err(ZipError::MultiDisk);
    }
    let extent = header.extent().ok_or(ZipError::Zip64)?;
    let entry = Entry {
        name,
        raw,
        method,
        crc32: u32_at(header.fixed, 16),
        compressed: extent.compressed,
        size: extent.size,
        header_at: extent.header_at,
        fence: 0,
        descriptor: flags & FLAG_DESCRIPTOR != 0,
    };
    judge(&entry, limits)?;
    Ok(entry)
}

fn name_of(raw: &[u8], flags: u16, limits: &Limits) -> Result<(String, Option<Vec<u8>>), ZipError> {
    let max = limits.name_bytes.min(NAME_BYTES_MAX);
    let too_long = |bytes| ZipError::NameTooLong { bytes, max };
    if raw.len() > max {
        return Err(too_long(raw.len()));
    }
    let (name, raw) = decode(raw.to_vec(), flags & FLAG_UTF8 != 0)
        .map_err(|name| ZipError::Name { name, fault: NameFault::NotUtf8 })?;
    match check_name(&name) {
        // From another code page a name becomes longer.
        Ok(()) if name.len() > max => Err(too_long(name.len())),
        Ok(()) => Ok((name, raw)),
        Err(fault) => Err(ZipError::Name { name, fault }),
    }
}

/// What an entry claims of itself must be possible.
fn judge(entry: &Entry, limits: &Limits) -> Result<(), ZipError> {
    let name = || entry.name.clone();
    if entry.is_folder() && entry.size != 0 {
        return Err(ZipError::Folder(name()));
    }
    if entry.size > limits.entry_bytes {
        return Err(ZipError::EntryTooLarge { name: name(), bytes: entry.size, max: limits.entry_bytes });
    }
    if entry.method == Method::Stored && entry.compressed != entry.size {
        return Err(ZipError::Size(name()));
    }
    Ok(())
}

fn sort_by_name(entries: &[Entry]) -> Result<Vec<usize>, ZipError> {
    let mut places: Vec<usize> = (0..entries.len()).collect();
    places.sort_unstable_by(|a, b| entries[*a].name.cmp(&entries[*b].name));
    match places.windows(2).find(|pair| entries[pair[0]].name == entries[pair[1]].name) {
        Some(pair) => Err(ZipError::Duplicate(entries[pair[0]].name.clone())),
        None => Ok(places),
    }
}
