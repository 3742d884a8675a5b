//! Reads what an entry holds, a piece at a time.

use super::records::{Extent, FLAG_DESCRIPTOR, FLAGS_REFUSED, LOCAL, LOCAL_BYTES, resolve, u16_at, u32_at};
use super::{Entry, Method, PIECE_BYTES, ZipError};
use crate::Source;
use crate::deflate::Inflater;

/// What an entry holds, as it is kept: deflated, if it is.
#[derive(Debug)]
pub struct StoredReader<'a> {
    source: &'a dyn Source,
    at: u64,
    end: u64,
    piece: Vec<u8>,
}

impl<'a> StoredReader<'a> {
    /// Reads the local header, which must agree with the central one.
    pub(super) fn new(source: &'a dyn Source, entry: &'a Entry) -> Result<Self, ZipError> {
        let at = data_at(source, entry)?;
        Ok(StoredReader { source, at, end: at + entry.compressed, piece: Vec::new() })
    }

    /// The next piece, of at most [`PIECE_BYTES`]; `None` at the end.
    ///
    /// # Errors
    /// [`ZipError::Source`].
    pub fn piece(&mut self) -> Result<Option<&[u8]>, ZipError> {
        let bytes = (self.end - self.at).min(PIECE_BYTES as u64) as usize;
        if bytes == 0 {
            return Ok(None);
        }
        self.piece.resize(bytes, 0);
        self.source.read_at(self.at, &mut self.piece)?;
        self.at += bytes as u64;
        Ok(Some(&self.piece))
    }
}

/// Where the data of an entry begins. Here the local header is read, and compared.
fn data_at(source: &dyn Source, entry: &Entry) -> Result<u64, ZipError> {
    let differs = |what| ZipError::Contradiction { name: entry.name.clone(), what };
    let mut fixed = [0; LOCAL_BYTES];
    source.read_at(entry.header_at, &mut fixed)?;
    if !fixed.starts_with(&LOCAL) {
        return Err(differs("signature"));
    }
    let flags = u16_at(&fixed, 6);
    if flags & FLAGS_REFUSED != 0 || (flags & FLAG_DESCRIPTOR != 0) != entry.descriptor {
        return Err(differs("flags"));
    }
    if u16_at(&fixed, 8) != entry.method.number() {
        return Err(differs("method"));
    }
    let name_bytes = usize::from(u16_at(&fixed, 26));
    if name_bytes != entry.raw_name().len() {
        return Err(differs("name"));
    }
    let mut variable = vec![0; name_bytes + usize::from(u16_at(&fixed, 28))];
    let begins = entry.header_at + (LOCAL_BYTES + variable.len()) as u64;
    if begins + entry.compressed > entry.fence {
        return Err(ZipError::Overlap(entry.name.clone()));
    }
    source.read_at(entry.header_at + LOCAL_BYTES as u64, &mut variable)?;
    let (name, extra) = variable.split_at(name_bytes);
    if name != entry.raw_name() {
        return Err(differs("name"));
    }
    // With a data descriptor the header was written before the sizes were known.
    if !entry.descriptor {
        compare_sizes(&fixed, extra, entry)?;
    }
    Ok(begins)
}

fn compare_sizes(fixed: &[u8; LOCAL_BYTES], extra: &[u8], entry: &Entry) -> Result<(), ZipError> {
    let differs = |what| ZipError::Contradiction { name: entry.name.clone(), what };
    let narrow = |at| u64::from(u32_at(fixed, at));
    let extent = resolve(Extent { size: narrow(22), compressed: narrow(18), header_at: 0 }, extra);
    let extent = extent.ok_or(ZipError::Zip64)?;
    if u32_at(fixed, 14) != entry.crc32 {
        return Err(differs("CRC-32"));
    }
    if (extent.size, extent.compressed) != (entry.size, entry.compressed) {
        return Err(differs("size"));
    }
    Ok(())
}

/// What an entry holds, inflated. Its size and checksum are proved at the end: until [`EntryReader::piece`] has given `None` they may be wrong.
#[derive(Debug)]
pub struct EntryReader<'a> {
    entry: &'a Entry,
    stored: StoredReader<'a>,
    inflating: Option<Inflating>,
    crc32: crc32fast::Hasher,
    bytes: u64,
}

struct Inflating {
    inflater: Inflater,
    /// Of the piece of the stored data that is being inflated, how much is done.
    used: usize,
    out: Vec<u8>,
    ended: bool,
}

impl std::fmt::Debug for Inflating {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inflating")
    }
}

impl<'a> EntryReader<'a> {
    pub(super) fn new(source: &'a dyn Source, entry: &'a Entry) -> Result<Self, ZipError> {
        let stored = StoredReader::new(source, entry)?;
        let inflating = (entry.method == Method::Deflated).then(|| Inflating {
            inflater: Inflater::raw(),
            used: 0,
            // One byte more than it claims, so that one too many is seen.
            out: vec![0; entry.size.saturating_add(1).min(PIECE_BYTES as u64) as usize],
            ended: false,
        });
        Ok(EntryReader { entry, stored, inflating, crc32: crc32fast::Hasher::new(), bytes: 0 })
    }

    /// The next piece, of at most [`PIECE_BYTES`]; `None` at the end, when all was as the headers claim.
    ///
    /// # Errors
    /// [`ZipError`]: the source fails, or the entry is not what it claims; nothing more is to be read.
    pub fn piece(&mut self) -> Result<Option<&[u8]>, ZipError> {
        let piece = match &mut self.inflating {
            None => self.stored.piece()?,
            Some(inflating) => inflating.piece(&mut self.stored, self.entry)?,
        };
        let bytes = piece.map_or(0, <[u8]>::len) as u64;
        self.bytes += bytes;
        if self.bytes > self.entry.size || (bytes == 0 && self.bytes < self.entry.size) {
            return Err(ZipError::Size(self.entry.name.clone()));
        }
        let Some(piece) = piece else {
            let right = self.crc32.clone().finalize() == self.entry.crc32;
            return if right { Ok(None) } else { Err(ZipError::Crc(self.entry.name.clone())) };
        };
        self.crc32.update(piece);
        Ok(Some(piece))
    }
}

impl Inflating {
    fn piece(&mut self, stored: &mut StoredReader<'_>, entry: &Entry) -> Result<Option<&[u8]>, ZipError> {
        let damaged = || ZipError::Deflate(entry.name.clone());
        while !self.ended {
            if self.used == stored.piece.len() {
                self.used = 0;
                stored.piece.clear();
                stored.piece()?;
            }
            let input = &stored.piece[self.used..];
            let step = self.inflater.inflate(input, &mut self.out).map_err(|_| damaged())?;
            // At the end of the input, with room in the output, the stream goes no further.
            if step.used == 0 && step.filled == 0 && !step.ended {
                return Err(damaged());
            }
            self.used += step.used;
            self.ended = step.ended;
            if step.filled > 0 {
                return Ok(Some(&self.out[..step.filled]));
            }
        }
        if self.used < stored.piece.len() || stored.at < stored.end { Err(damaged()) } else { Ok(None) }
    }
}
