//! Segment files: their names, their first block, and the open ones of a disk.
//!
//! A segment is `segments/<number, 16 hex digits>.seg`, preallocated, filled from front to back with records. Only the one with the highest
//! number is appended to. Its first block:
//!
//! ```text
//! offset  size  what
//!      0     4  magic "SGSH"
//!      4     2  version, 1
//!      6     2  zero
//!      8    16  tag: the disk's secret
//!     24     8  number of the segment
//!     32     8  batch: the number of the first flush that may lie here
//!     40     8  where the records of the segment before it end; 0 if that is not known
//!     48    76  zero
//!    124     4  CRC32C of bytes 0..124
//!    128     -  zeros up to 4096
//! ```
//!
//! A segment that compaction emptied is removed, or cut off behind its first block as long as the segment before it has records.
//! The end of the former segment stands here so that what a power cut left behind that end, which was never
//! acknowledged, is not taken for rot by a later scan.

use crate::files::{Files, SegmentFile};
use crate::record::{BLOCK_BYTES, BatchNo, SegmentNo, Tag, crc32c};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// First bytes of a segment.
pub(crate) const SEGMENT_MAGIC: [u8; 4] = *b"SGSH";
/// The version written here. History: 1 = first light.
pub(crate) const SEGMENT_VERSION: u16 = 1;
/// Where the first record begins.
pub(crate) const RECORDS_AT: u64 = BLOCK_BYTES;

const HEADER_BYTES: usize = 128;
const CRC_AT: usize = HEADER_BYTES - 4;

/// Segments kept open. Two descriptors each; with the index's files a disk stays below 256, so that three disks fit the
/// usual limit of 1024.
const OPEN_SEGMENTS_MAX: usize = 64;

/// The first block, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) segment: SegmentNo,
    pub(crate) first_batch: BatchNo,
    /// Where the records of the segment before it end, if that was known.
    pub(crate) former_end: Option<u64>,
}

impl SegmentHeader {
    pub(crate) fn encode(&self, tag: &Tag) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&SEGMENT_MAGIC);
        out[4..6].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
        out[8..24].copy_from_slice(&tag.0);
        out[24..32].copy_from_slice(&self.segment.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.first_batch.0.to_le_bytes());
        out[40..48].copy_from_slice(&self.former_end.unwrap_or(0).to_le_bytes());
        let crc = crc32c(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES], tag: &Tag, segment: SegmentNo) -> Option<SegmentHeader> {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let crc = u32::from_le_bytes(std::array::from_fn(|i| bytes[CRC_AT + i]));
        let known = bytes[..4] == SEGMENT_MAGIC && bytes[4..6] == SEGMENT_VERSION.to_le_bytes();
        if !known || crc32c(&bytes[..CRC_AT]) != crc || bytes[8..24] != tag.0 || number(24) != segment.0 {
            return None;
        }
        let former_end = Some(number(40)).filter(|end| *end >= RECORDS_AT);
        Some(SegmentHeader { segment, first_batch: BatchNo(number(32)), former_end })
    }

    /// Reads the first block of a segment; `None` if it is not one.
    pub(crate) fn read(file: &dyn SegmentFile, tag: &Tag, segment: SegmentNo) -> io::Result<Option<SegmentHeader>> {
        if file.len()? < BLOCK_BYTES {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_BYTES];
        file.read_at(0, &mut bytes)?;
        Ok(SegmentHeader::decode(&bytes, tag, segment))
    }
}

/// The file name of a segment.
pub(crate) fn name_of(segment: SegmentNo) -> String {
    format!("{:016x}.seg", segment.0)
}

/// The number of a file name, if it is a segment's.
pub(crate) fn number_of(name: &str) -> Option<SegmentNo> {
    let digits = name.strip_suffix(".seg")?;
    let number = (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())??;
    (number > 0 && name_of(SegmentNo(number)) == name).then_some(SegmentNo(number))
}

/// The segment files of a disk, shared by its writer, its readers and compaction.
pub(crate) struct Segments {
    files: Arc<dyn Files>,
    open: RwLock<BTreeMap<SegmentNo, Arc<dyn SegmentFile>>>,
    /// Bytes of every file.
    sizes: Mutex<BTreeMap<SegmentNo, u64>>,
}

impl Segments {
    pub(crate) fn new(files: Arc<dyn Files>) -> Self {
        Segments { files, open: RwLock::default(), sizes: Mutex::default() }
    }

    /// The disk's directory.
    pub(crate) fn files(&self) -> &dyn Files {
        &*self.files
    }

    /// A segment's file, opened if it was not.
    pub(crate) fn get(&self, segment: SegmentNo) -> io::Result<Arc<dyn SegmentFile>> {
        if let Some(file) = self.open.read().get(&segment) {
            return Ok(file.clone());
        }
        // Opened under the lock, so that a file that is being removed is not kept.
        let mut open = self.open.write();
        let file = self.files.open(&name_of(segment))?;
        keep(&mut open, segment, file.clone());
        Ok(file)
    }

    /// Adds a segment of `bytes` that was just made.
    pub(crate) fn insert(&self, segment: SegmentNo, file: Arc<dyn SegmentFile>, bytes: u64) {
        keep(&mut self.open.write(), segment, file);
        self.sizes.lock().insert(segment, bytes);
    }

    /// Removes a segment's file. Who has it open reads on. Durable after `Files::sync`.
    pub(crate) fn remove(&self, segment: SegmentNo) -> io::Result<()> {
        let mut open = self.open.write();
        open.remove(&segment);
        self.files.remove(&name_of(segment))?;
        self.sizes.lock().remove(&segment);
        Ok(())
    }

    /// Cuts a segment that is not appended to any more off at `bytes`.
    pub(crate) fn cut(&self, segment: SegmentNo, bytes: u64) -> io::Result<()> {
        let file = self.get(segment)?;
        file.truncate(bytes)?;
        file.sync()?;
        self.sizes.lock().insert(segment, bytes);
        Ok(())
    }

    /// The numbers of all segments on the disk, ascending; their sizes are known from then on.
    pub(crate) fn list(&self) -> io::Result<Vec<SegmentNo>> {
        let names = self.files.list()?;
        let mut sizes = BTreeMap::new();
        for name in names {
            if let Some(segment) = number_of(&name) {
                sizes.insert(segment, self.files.size(&name)?);
            }
        }
        let numbers = sizes.keys().copied().collect();
        *self.sizes.lock() = sizes;
        Ok(numbers)
    }

    /// Bytes of every file.
    pub(crate) fn sizes(&self) -> BTreeMap<SegmentNo, u64> {
        self.sizes.lock().clone()
    }

    /// Notes that a file was cut off.
    pub(crate) fn note_size(&self, segment: SegmentNo, bytes: u64) {
        self.sizes.lock().insert(segment, bytes);
    }
}

fn keep(open: &mut BTreeMap<SegmentNo, Arc<dyn SegmentFile>>, segment: SegmentNo, file: Arc<dyn SegmentFile>) {
    if open.len() >= OPEN_SEGMENTS_MAX {
        open.pop_first();
    }
    open.insert(segment, file);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_round_trip_and_strangers_are_ignored() {
        assert_eq!(number_of(&name_of(SegmentNo(0xab))), Some(SegmentNo(0xab)));
        for name in
            ["0.seg", "00000000000000AB.seg", "0000000000000000.seg", "00000000000000ab.tmp", "+00000000000000a.seg"]
        {
            assert_eq!(number_of(name), None, "{name}");
        }
    }

    #[test]
    fn header_has_the_documented_bytes() {
        let header = SegmentHeader { segment: SegmentNo(2), first_batch: BatchNo(9), former_end: Some(0x3000) };
        let bytes = header.encode(&Tag([7; 16]));
        assert_eq!(&bytes[..8], b"SGSH\x01\0\0\0");
        assert_eq!(bytes[8..24], [7; 16]);
        assert_eq!(bytes[24..32], [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[32..40], [9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[40..48], [0, 0x30, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[48..124], [0; 76]);
        assert_eq!(SegmentHeader::decode(&bytes, &Tag([7; 16]), SegmentNo(2)), Some(header));
    }

    #[test]
    fn a_header_of_another_disk_or_segment_or_with_a_flipped_bit_is_refused() {
        let header = SegmentHeader { segment: SegmentNo(2), first_batch: BatchNo(9), former_end: Some(0x3000) };
        let bytes = header.encode(&Tag([7; 16]));
        assert_eq!(SegmentHeader::decode(&bytes, &Tag([8; 16]), SegmentNo(2)), None);
        assert_eq!(SegmentHeader::decode(&bytes, &Tag([7; 16]), SegmentNo(3)), None);
        for at in 0..bytes.len() {
            let mut flipped = bytes;
            flipped[at] ^= 1;
            assert_eq!(SegmentHeader::decode(&flipped, &Tag([7; 16]), SegmentNo(2)), None, "byte {at}");
        }
    }
}
