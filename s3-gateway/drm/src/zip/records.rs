//! The records of an archive, byte for byte. All numbers are little-endian.
//!
//! ```text
//! local header    50 4b 03 04 | version 2 | flags 2 | method 2 | time 2 | date 2 | crc 4 | compressed 4 | size 4 | name n 2 | extra m 2 | name | extra
//! central header  50 4b 01 02 | made by 2 | version 2 | flags 2 | method 2 | time 2 | date 2 | crc 4 | compressed 4 | size 4 | name n 2 | extra m 2
//!                 | comment k 2 | disk 2 | internal 2 | external 4 | local header 4 | name | extra | comment
//! Zip64 extra     01 00 | bytes 2 | size 8? | compressed 8? | local header 8? | disk 4?      only what does not fit above, in this order
//! Zip64 end       50 4b 06 06 | bytes that follow 8 | made by 2 | version 2 | disk 4 | disk 4 | entries here 8 | entries 8 | bytes 8 | offset 8
//! locator         50 4b 06 07 | disk 4 | offset of the Zip64 end 8 | disks 4
//! end             50 4b 05 06 | disk 2 | disk 2 | entries here 2 | entries 2 | bytes 4 | offset 4 | comment k 2 | comment
//! ```

use super::NewEntry;

pub(super) const LOCAL_BYTES: usize = 30;
pub(super) const CENTRAL_BYTES: usize = 46;
pub(super) const END_BYTES: usize = 22;
pub(super) const ZIP64_END_BYTES: usize = 56;
pub(super) const LOCATOR_BYTES: usize = 20;
pub(super) const COMMENT_BYTES_MAX: usize = 0xffff;

pub(super) const LOCAL: [u8; 4] = *b"PK\x03\x04";
pub(super) const CENTRAL: [u8; 4] = *b"PK\x01\x02";
pub(super) const END: [u8; 4] = *b"PK\x05\x06";
pub(super) const ZIP64_END: [u8; 4] = *b"PK\x06\x06";
pub(super) const LOCATOR: [u8; 4] = *b"PK\x06\x07";
const ZIP64_EXTRA: u16 = 1;

/// The data is encrypted; strongly; the directory is; the data is a patch of other data.
pub(super) const FLAGS_REFUSED: u16 = 1 | 1 << 5 | 1 << 6 | 1 << 13;
/// Checksum and sizes stand behind the data.
pub(super) const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// The name is UTF-8.
pub(super) const FLAG_UTF8: u16 = 1 << 11;

/// From these on a number stands in a field of Zip64.
const U16_FULL: u64 = 0xffff;
const U32_FULL: u64 = 0xffff_ffff;

const VERSION: u16 = 20;
const VERSION_ZIP64: u16 = 45;
/// The beginning of DOS time: the same content gives the same bytes.
const DATE: u16 = 1 << 5 | 1;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// The number as far as it fits, or all ones.
fn low16(number: u64) -> [u8; 2] {
    (number.min(U16_FULL) as u16).to_le_bytes()
}

fn low32(number: u64) -> [u8; 4] {
    (number.min(U32_FULL) as u32).to_le_bytes()
}

/// Sizes and place of an entry, which Zip64 may have to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) size: u64,
    pub(super) compressed: u64,
    pub(super) header_at: u64,
}

/// Puts in place of the full fields what the Zip64 extra field has for them; `None` if it has not.
pub(super) fn resolve(mut extent: Extent, extra: &[u8]) -> Option<Extent> {
    let mut wide = zip64_extra(extra)?;
    for field in [&mut extent.size, &mut extent.compressed, &mut extent.header_at] {
        if *field == U32_FULL {
            let (number, rest) = wide.split_at_checked(8)?;
            *field = u64_at(number, 0);
            wide = rest;
        }
    }
    Some(extent)
}

/// What the only Zip64 field has, nothing without one; `None` if there are two, or the fields do not fit into `extra`.
fn zip64_extra(mut extra: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    // Less than a header at the end is the padding of tools that align what follows.
    while extra.len() >= 4 {
        let (id, bytes) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let Some(field) = extra.get(4..4 + bytes) else {
            return if id == ZIP64_EXTRA { None } else { Some(found.unwrap_or_default()) };
        };
        if id == ZIP64_EXTRA && found.replace(field).is_some() {
            return None;
        }
        extra = &extra[4 + bytes..];
    }
    Some(found.unwrap_or_default())
}

/// The central directory, header by header.
pub(crate) struct DirectoryWalk<'a>(pub(crate) &'a [u8]);

pub(crate) struct CentralHeader<'a> {
    pub(super) fixed: &'a [u8; CENTRAL_BYTES],
    pub(crate) name: &'a [u8],
    pub(super) extra: &'a [u8],
}

impl<'a> Iterator for DirectoryWalk<'a> {
    /// `Err` once, and at the end, if the rest is no header.
    type Item = Result<CentralHeader<'a>, ()>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let header = self.header();
        if header.is_none() {
            self.0 = &[];
        }
        Some(header.ok_or(()))
    }
}

impl<'a> DirectoryWalk<'a> {
    fn header(&mut self) -> Option<CentralHeader<'a>> {
        let (fixed, rest) = self.0.split_first_chunk::<CENTRAL_BYTES>()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16_at(fixed, 28)))?;
        let (extra, rest) = rest.split_at_checked(usize::from(u16_at(fixed, 30)))?;
        self.0 = rest.get(usize::from(u16_at(fixed, 32))..)?;
        fixed.starts_with(&CENTRAL).then_some(CentralHeader { fixed, name, extra })
    }
}

impl CentralHeader<'_> {
    pub(super) fn extent(&self) -> Option<Extent> {
        let narrow = |at| u64::from(u32_at(self.fixed, at));
        resolve(Extent { size: narrow(24), compressed: narrow(20), header_at: narrow(42) }, self.extra)
    }
}

/// Appends the local header of an entry.
pub(crate) fn local_header(entry: &NewEntry<'_>, out: &mut Vec<u8>) {
    // Both sizes, if one of them needs it: the field has no other form here.
    let wide = entry.size >= U32_FULL || entry.compressed >= U32_FULL;
    let (size, compressed) = if wide { (U32_FULL, U32_FULL) } else { (entry.size, entry.compressed) };
    out.extend_from_slice(&LOCAL);
    common(entry, wide, compressed, size, out);
    out.extend_from_slice(&(if wide { 20u16 } else { 0 }).to_le_bytes());
    out.extend_from_slice(entry.name.as_bytes());
    if wide {
        zip64_field(&[entry.size, entry.compressed], out);
    }
}

/// Appends the central header of an entry whose local header lies at `header_at`.
pub(crate) fn central_header(entry: &NewEntry<'_>, header_at: u64, out: &mut Vec<u8>) {
    let all = [entry.size, entry.compressed, header_at];
    let wide: Vec<u64> = all.into_iter().filter(|number| *number >= U32_FULL).collect();
    let extra_bytes = if wide.is_empty() { 0 } else { 4 + 8 * wide.len() as u16 };
    let version = if wide.is_empty() { VERSION } else { VERSION_ZIP64 };
    out.extend_from_slice(&CENTRAL);
    out.extend_from_slice(&version.to_le_bytes());
    common(entry, !wide.is_empty(), entry.compressed, entry.size, out);
    out.extend_from_slice(&extra_bytes.to_le_bytes());
    // Comment, disk, internal and external attributes: none.
    out.extend_from_slice(&[0; 10]);
    out.extend_from_slice(&low32(header_at));
    out.extend_from_slice(entry.name.as_bytes());
    if !wide.is_empty() {
        zip64_field(&wide, out);
    }
}

/// What both headers have from the version to the length of the name.
fn common(entry: &NewEntry<'_>, wide: bool, compressed: u64, size: u64, out: &mut Vec<u8>) {
    let version = if wide { VERSION_ZIP64 } else { VERSION };
    let flags = if entry.utf8 || !entry.name.is_ascii() { FLAG_UTF8 } else { 0 };
    for field in [version, flags, entry.method.number(), 0, DATE] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&entry.crc32.to_le_bytes());
    out.extend_from_slice(&low32(compressed));
    out.extend_from_slice(&low32(size));
    out.extend_from_slice(&(entry.name.len() as u16).to_le_bytes());
}

fn zip64_field(numbers: &[u64], out: &mut Vec<u8>) {
    out.extend_from_slice(&ZIP64_EXTRA.to_le_bytes());
    out.extend_from_slice(&(8 * numbers.len() as u16).to_le_bytes());
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

/// What the end of an archive says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) entries: u64,
    pub(crate) cd_offset: u64,
    pub(crate) cd_size: u64,
}

impl End {
    /// Whether it needs the records of Zip64.
    pub(crate) fn is_zip64(&self) -> bool {
        self.entries >= U16_FULL || self.cd_offset >= U32_FULL || self.cd_size >= U32_FULL
    }

    /// How many bytes [`End::write`] appends.
    pub(crate) fn bytes(&self) -> u64 {
        (END_BYTES + if self.is_zip64() { ZIP64_END_BYTES + LOCATOR_BYTES } else { 0 }) as u64
    }

    /// Appends what comes behind the central directory.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.is_zip64() {
            out.extend_from_slice(&ZIP64_END);
            out.extend_from_slice(&(ZIP64_END_BYTES as u64 - 12).to_le_bytes());
            out.extend_from_slice(&VERSION_ZIP64.to_le_bytes());
            out.extend_from_slice(&VERSION_ZIP64.to_le_bytes());
            out.extend_from_slice(&[0; 8]);
            for number in [self.entries, self.entries, self.cd_size, self.cd_offset] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&LOCATOR);
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&(self.cd_offset + self.cd_size).to_le_bytes());
            out.extend_from_slice(&1u32.to_le_bytes());
        }
        out.extend_from_slice(&END);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&low16(self.entries));
        out.extend_from_slice(&low16(self.entries));
        out.extend_from_slice(&low32(self.cd_size));
        out.extend_from_slice(&low32(self.cd_offset));
        out.extend_from_slice(&[0; 2]);
    }

    /// The end record, whose fields may be full, made wide by the record of Zip64. `None` if that says something else than a field that is not full.
    pub(super) fn widen(self, zip64_end: &[u8; ZIP64_END_BYTES]) -> Option<End> {
        let wide =
            End { entries: u64_at(zip64_end, 32), cd_size: u64_at(zip64_end, 40), cd_offset: u64_at(zip64_end, 48) };
        let agree = |narrow, full, wide| narrow == full || narrow == wide;
        let agrees = agree(self.entries, U16_FULL, wide.entries)
            && agree(self.cd_size, U32_FULL, wide.cd_size)
            && agree(self.cd_offset, U32_FULL, wide.cd_offset)
            && u64_at(zip64_end, 24) == wide.entries;
        agrees.then_some(wide)
    }
}
