//! A stored title and one reader's licence as one file, without copying the title.
//!
//! ```text
//! E[0 .. cd_offset)                stored bytes, sent as they lie
//! local header | licence           stored, name in UTF-8, checksum and sizes set
//! central directory of E           unchanged: no offset moves
//! central header of the licence
//! [Zip64 end | locator]            if an offset or the number of entries needs them
//! end
//! ```
//! Only what is behind `cd_offset` is made here, and held in memory: the licence, the central directory, some hundred bytes. The same title and licence
//! give the same bytes each time and everywhere, so that a download can be resumed at another gateway, and the ETag is strong.

use crate::zip::{DirectoryWalk, End, NewEntry, central_header, local_header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// Bytes of each hash that the ETag shows.
const ETAG_BYTES: usize = 8;

/// What has to be remembered of a stored title: its layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Bytes of the title as it is stored.
    pub len: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
    /// Where its central directory begins.
    pub cd_offset: u64,
    /// Bytes of the central directory.
    pub cd_size: u64,
    /// Entries.
    pub entries: u64,
    /// Whether it has the records of Zip64.
    pub zip64: bool,
}

/// The parts do not belong together; nothing can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// The numbers of the layout contradict each other.
    #[error("the layout of the stored title contradicts itself")]
    Layout,
    /// The central directory is not the one that the layout tells of.
    #[error("the central directory is not that of the stored title")]
    Directory,
    /// The title has a licence already, or what is named like one.
    #[error("the stored title has an entry named like the licence")]
    Occupied,
    /// A licence of 4 GiB.
    #[error("the licence is too large")]
    Licence,
    /// It was prepared by another scheme of protection.
    #[error("not prepared by this scheme of protection")]
    NotPrepared,
}

/// A range that is empty, or reaches beyond the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no bytes there; there are {len}")]
pub struct OutOfRange {
    /// How many bytes there are.
    pub len: u64,
}

/// Which bytes a range consists of: first those of the stored title, then those of the tail. Either may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Bytes of the stored title.
    pub stored: Range<u64>,
    /// Bytes of [`Body::tail`].
    pub tail: Range<usize>,
}

/// What a reader downloads: the beginning of something stored, and a tail in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    stored: u64,
    tail: Vec<u8>,
    etag: String,
}

impl Body {
    /// The stored bytes alone, as they are.
    #[must_use]
    pub fn plain(len: u64, sha256: &[u8; 32]) -> Body {
        Body { stored: len, tail: Vec::new(), etag: format!("\"{}\"", hex::encode(sha256)) }
    }

    /// How many bytes it has. Never none.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no archive is empty")]
    pub fn len(&self) -> u64 {
        self.stored + self.tail.len() as u64
    }

    /// A strong entity tag, in its quotes.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// What follows the stored bytes.
    #[must_use]
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// What follows the stored bytes, for a caller who shares it.
    #[must_use]
    pub fn into_tail(self) -> Vec<u8> {
        self.tail
    }

    /// Where the bytes of a range come from.
    ///
    /// # Errors
    /// [`OutOfRange`]: the range is empty, or not within `0..len`.
    pub fn parts(&self, range: Range<u64>) -> Result<Parts, OutOfRange> {
        if range.is_empty() || range.end > self.len() {
            return Err(OutOfRange { len: self.len() });
        }
        let in_tail = |at: u64| at.saturating_sub(self.stored) as usize;
        Ok(Parts {
            stored: range.start.min(self.stored)..range.end.min(self.stored),
            tail: in_tail(range.start)..in_tail(range.end),
        })
    }
}

/// What stands around the central directory in the tail: for a caller who holds the directory of a title once for all its readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// So many of the stored bytes come first.
    pub stored: u64,
    /// Between them and the central directory: the licence's entry.
    pub before: Vec<u8>,
    /// Behind the central directory, which is sent as it is stored.
    pub after: Vec<u8>,
    /// A strong entity tag of the whole, in its quotes.
    pub etag: String,
}

/// Checks what is the same for every reader of a title: that the layout holds, and that `directory` is its central directory, `cd_size` bytes from `cd_offset`
/// on, without an entry named like the licence. It is read from somewhere: what is wrong with it would be sent to everybody.
///
/// # Errors
/// [`SpliceError`]: the parts do not belong together.
pub fn check(layout: &Layout, directory: &[u8], licence_path: &str) -> Result<(), SpliceError> {
    check_layout(layout)?;
    check_directory(layout, directory, licence_path)
}

/// Adds `licence` as the entry `licence_path` to a stored title whose central directory [`check`] has passed.
///
/// # Errors
/// [`SpliceError::Licence`]; [`SpliceError::Layout`] if it was not checked.
pub fn frame(layout: &Layout, licence_path: &str, licence: &[u8]) -> Result<Frame, SpliceError> {
    check_layout(layout)?;
    if licence.len() as u64 >= u64::from(u32::MAX) {
        return Err(SpliceError::Licence);
    }
    let entry = NewEntry { utf8: true, ..NewEntry::stored(licence_path, licence) };
    let mut before = Vec::with_capacity(licence.len() + 256);
    local_header(&entry, &mut before);
    before.extend_from_slice(licence);
    let mut after = Vec::with_capacity(256);
    central_header(&entry, layout.cd_offset, &mut after);
    let end = End {
        entries: layout.entries + 1,
        cd_offset: layout.cd_offset + before.len() as u64,
        cd_size: layout.cd_size + after.len() as u64,
    };
    end.write(&mut after);
    Ok(Frame { stored: layout.cd_offset, before, after, etag: etag(&layout.sha256, licence) })
}

/// Adds `licence` as the entry `licence_path` to a stored title.
///
/// `directory` is the central directory of the title, `cd_size` bytes from `cd_offset` on.
///
/// # Errors
/// [`SpliceError`]: the parts do not belong together.
pub fn splice(layout: &Layout, directory: &[u8], licence_path: &str, licence: &[u8]) -> Result<Body, SpliceError> {
    check(layout, directory, licence_path)?;
    let frame = frame(layout, licence_path, licence)?;
    let tail = [&frame.before, directory, &frame.after].concat();
    Ok(Body { stored: frame.stored, tail, etag: frame.etag })
}

fn etag(title: &[u8; 32], licence: &[u8]) -> String {
    let licence = Sha256::digest(licence);
    format!("\"{}-{}\"", hex::encode(&title[..ETAG_BYTES]), hex::encode(&licence[..ETAG_BYTES]))
}

fn check_layout(layout: &Layout) -> Result<(), SpliceError> {
    let end = End { entries: layout.entries, cd_offset: layout.cd_offset, cd_size: layout.cd_size };
    let len = layout.cd_offset.checked_add(layout.cd_size).and_then(|len| len.checked_add(end.bytes()));
    if len == Some(layout.len) && end.is_zip64() == layout.zip64 { Ok(()) } else { Err(SpliceError::Layout) }
}

fn check_directory(layout: &Layout, directory: &[u8], licence_path: &str) -> Result<(), SpliceError> {
    if directory.len() as u64 != layout.cd_size {
        return Err(SpliceError::Directory);
    }
    let mut entries = 0;
    for header in DirectoryWalk(directory) {
        let header = header.map_err(|()| SpliceError::Directory)?;
        if header.name == licence_path.as_bytes() {
            return Err(SpliceError::Occupied);
        }
        entries += 1;
    }
    if entries == layout.entries { Ok(()) } else { Err(SpliceError::Directory) }
}

#[cfg(test)]
mod tests;
