//! The bytes of a record, version 1.
//!
//! A record begins at a multiple of [`BLOCK_BYTES`] and is padded with zeros to one. Numbers are little endian, ids big endian.
//!
//! ```text
//! offset  size  header
//!      0     4  magic "SGRC"
//!      4     2  version, 1
//!      6     1  kind: 1 = put, 2 = tombstones
//!      7     1  zero
//!      8    16  tag: the disk's secret, see below
//!     24     8  number of the segment
//!     32     8  offset of the record in the segment
//!     40     8  batch: records that were flushed together carry the same number, a later flush a higher one
//!     48    16  chunk id; of tombstones the first of them
//!     64     4  length of the data, 1..=CHUNK_BYTES_MAX
//!     68     4  number of leaf hashes: 0 if the data is one leaf, else one for every LEAF_BYTES begun
//!     72    32  BLAKE3 of the data
//!    104     8  where the records of this batch begin in the segment: all before was flushed when this was written
//!    112    12  zero
//!    124     4  CRC32C of bytes 0..124
//!    128     -  data; of tombstones the ids, 16 bytes each
//!      -     -  leaf hashes, 32 bytes each
//!
//! offset  size  trailer, right behind the leaf hashes
//!      0     4  magic "SGRE"
//!      4     4  CRC32C of data and leaf hashes
//!      8     4  the header's CRC32C again
//!     12     4  CRC32C of bytes 0..12 of the trailer
//! ```
//!
//! The CRCs frame torn writes; what a reader gets is checked by BLAKE3. The header repeats segment and offset so that a misdirected
//! write or a swapped file shows. The tag is random and known to the disk alone: bytes of a chunk cannot be made to
//! look like a record to a scan that lost its way.

use types::{Blake3Root, CHUNK_BYTES_MAX, ChunkId, LEAF_BYTES, Leaf};

/// Records begin at multiples of this, so that direct I/O works.
pub const BLOCK_BYTES: u64 = 4096;
/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 128;
/// Bytes of a record's trailer.
pub const TRAILER_BYTES: usize = 16;
/// First bytes of a record.
pub const RECORD_MAGIC: [u8; 4] = *b"SGRC";
/// First bytes of a trailer.
pub const TRAILER_MAGIC: [u8; 4] = *b"SGRE";
/// The version written here. History: 1 = first light.
pub const RECORD_VERSION: u16 = 1;
/// Ids in one tombstone record: as many as fit one leaf.
pub const TOMBSTONES_MAX: usize = LEAF_BYTES / ID_BYTES;
/// The largest record.
pub const RECORD_BYTES_MAX: u64 = record_bytes(CHUNK_BYTES_MAX);

const ID_BYTES: usize = 16;
const CRC_AT: usize = HEADER_BYTES - 4;

const _: () = assert!(HEADER_BYTES + TRAILER_BYTES < BLOCK_BYTES as usize);
const _: () = assert!(RECORD_BYTES_MAX.is_multiple_of(BLOCK_BYTES));

/// The number of a segment of a disk; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNo(pub u64);

/// Counts the flushes of a disk; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchNo(pub u64);

/// The random bytes that mark records of one disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tag(pub [u8; 16]);

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A chunk.
    Put,
    /// Ids that were deleted and cannot be used again.
    Tombstones,
}

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// In which segment.
    pub segment: SegmentNo,
    /// At which byte of it.
    pub offset: u64,
}

/// The header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the record says.
    pub kind: Kind,
    /// Where it lies.
    pub place: Place,
    /// When it was flushed.
    pub batch: BatchNo,
    /// Where the first record of that batch begins.
    pub batch_at: u64,
    /// The chunk, or the first of the tombstones.
    pub chunk: ChunkId,
    /// Length of the data, bytes.
    pub len: u32,
    /// BLAKE3 of the data.
    pub root: Blake3Root,
}

/// The CRC32C of some bytes.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The CRC32C that stands in the trailer.
#[must_use]
pub fn body_crc(data: &[u8], leaves: &[Leaf]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(data);
    digest.update(leaves.as_flattened());
    digest.finalize() as u32
}

/// Leaf hashes beside data of this length.
#[must_use]
pub const fn leaf_count(len: usize) -> usize {
    if len <= LEAF_BYTES { 0 } else { len.div_ceil(LEAF_BYTES) }
}

/// Bytes that a record of this much data takes, padding included.
#[must_use]
pub const fn record_bytes(len: usize) -> u64 {
    let bytes = HEADER_BYTES + len + 32 * leaf_count(len) + TRAILER_BYTES;
    (bytes as u64).next_multiple_of(BLOCK_BYTES)
}

impl Header {
    /// Encodes the header.
    #[must_use]
    pub fn encode(&self, tag: &Tag) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&RECORD_MAGIC);
        out[4..6].copy_from_slice(&RECORD_VERSION.to_le_bytes());
        out[6] = match self.kind {
            Kind::Put => 1,
            Kind::Tombstones => 2,
        };
        out[8..24].copy_from_slice(&tag.0);
        out[24..32].copy_from_slice(&self.place.segment.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.place.offset.to_le_bytes());
        out[40..48].copy_from_slice(&self.batch.0.to_le_bytes());
        out[48..64].copy_from_slice(&self.chunk.to_bytes());
        out[64..68].copy_from_slice(&self.len.to_le_bytes());
        out[68..72].copy_from_slice(&(leaf_count(self.len as usize) as u32).to_le_bytes());
        out[72..104].copy_from_slice(&self.root.0);
        out[104..112].copy_from_slice(&self.batch_at.to_le_bytes());
        let crc = crc32c(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decodes the header that is expected at `place`; `None` for anything else, however close.
    #[must_use]
    pub fn decode(bytes: &[u8; HEADER_BYTES], tag: &Tag, place: Place) -> Option<Header> {
        if bytes[..4] != RECORD_MAGIC || crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
            return None;
        }
        if u16::from_le_bytes([bytes[4], bytes[5]]) != RECORD_VERSION || bytes[8..24] != tag.0 {
            return None;
        }
        let kind = match bytes[6] {
            1 => Kind::Put,
            2 => Kind::Tombstones,
            _ => return None,
        };
        let header = Header {
            kind,
            place: Place { segment: SegmentNo(u64_at(bytes, 24)), offset: u64_at(bytes, 32) },
            batch: BatchNo(u64_at(bytes, 40)),
            batch_at: u64_at(bytes, 104),
            chunk: ChunkId::from_bytes(array_at(bytes, 48)),
            len: u32_at(bytes, 64),
            root: Blake3Root(array_at(bytes, 72)),
        };
        let leaves_agree = u32_at(bytes, 68) as usize == leaf_count(header.len as usize);
        let sane = header.is_well_formed() && header.batch_at <= header.place.offset;
        (header.place == place && sane && leaves_agree).then_some(header)
    }

    /// Bytes of the whole record, padding included.
    #[must_use]
    pub fn record_bytes(&self) -> u64 {
        record_bytes(self.len as usize)
    }

    fn is_well_formed(&self) -> bool {
        let len = self.len as usize;
        match self.kind {
            Kind::Put => (1..=CHUNK_BYTES_MAX).contains(&len),
            Kind::Tombstones => (ID_BYTES..=TOMBSTONES_MAX * ID_BYTES).contains(&len) && len.is_multiple_of(ID_BYTES),
        }
    }
}

/// Writes a record into `out`, which is exactly as long as the record, padding included.
///
/// `crc` is [`body_crc`] of `data` and `leaves`, `leaves` are `types::leaves_of(data)`.
///
/// # Panics
/// If the lengths do not agree.
pub fn encode_into(out: &mut [u8], header: &Header, tag: &Tag, data: &[u8], leaves: &[Leaf], crc: u32) {
    assert_eq!(data.len(), header.len as usize, "the header is of other data");
    assert_eq!(leaves.len(), leaf_count(data.len()), "the leaves are of other data");
    assert_eq!(out.len() as u64, header.record_bytes(), "the buffer is of another record");
    let head = header.encode(tag);
    let (head_out, rest) = out.split_at_mut(HEADER_BYTES);
    let (data_out, rest) = rest.split_at_mut(data.len());
    let (leaves_out, rest) = rest.split_at_mut(32 * leaves.len());
    let (trailer_out, padding) = rest.split_at_mut(TRAILER_BYTES);
    head_out.copy_from_slice(&head);
    data_out.copy_from_slice(data);
    leaves_out.copy_from_slice(leaves.as_flattened());
    trailer_out[..4].copy_from_slice(&TRAILER_MAGIC);
    trailer_out[4..8].copy_from_slice(&crc.to_le_bytes());
    trailer_out[8..12].copy_from_slice(&head[CRC_AT..]);
    let trailer_crc = crc32c(&trailer_out[..12]);
    trailer_out[12..].copy_from_slice(&trailer_crc.to_le_bytes());
    padding.fill(0);
}

/// Whether `record`, which begins with the encoded `header`, is whole: trailer, CRC and zeros.
#[must_use]
pub fn is_whole(record: &[u8], header: &Header) -> bool {
    if record.len() as u64 != header.record_bytes() {
        return false;
    }
    let body = header.len as usize + 32 * leaf_count(header.len as usize);
    let (head, rest) = record.split_at(HEADER_BYTES);
    let (body, rest) = rest.split_at(body);
    let (trailer, padding) = rest.split_at(TRAILER_BYTES);
    trailer[..4] == TRAILER_MAGIC
        && crc32c(&trailer[..12]) == u32_at(trailer, 12)
        && trailer[8..12] == head[CRC_AT..]
        && u32_at(trailer, 4) == crc32c(body)
        && padding.iter().all(|byte| *byte == 0)
}

/// The data of a record.
#[must_use]
pub fn data<'a>(record: &'a [u8], header: &Header) -> &'a [u8] {
    &record[HEADER_BYTES..HEADER_BYTES + header.len as usize]
}

/// The data of a tombstone record.
#[must_use]
pub fn tombstones_encode(chunks: &[ChunkId]) -> Vec<u8> {
    chunks.iter().flat_map(|chunk| chunk.to_bytes()).collect()
}

/// The ids in a tombstone record's data; a rest of fewer than 16 bytes, which no whole record has, is left out.
pub fn tombstones_decode(data: &[u8]) -> impl Iterator<Item = ChunkId> + '_ {
    data.as_chunks::<ID_BYTES>().0.iter().map(|id| ChunkId::from_bytes(*id))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
#[path = "record/tests.rs"]
mod tests;
