//! A whole record, read from the medium and held against everything that is known of it. For scrub and compaction; readers check
//! only what they give out ([`crate::get`]).

use crate::error::GetError;
use crate::index::Located;
use crate::record::{self, HEADER_BYTES, Header, Tag, record_bytes};
use crate::segment::Segments;
use bytes::Bytes;
use std::io;
use types::{ChunkId, LeafList};

/// A chunk whose data has the right hash.
pub(crate) struct Verified {
    pub(crate) data: Bytes,
    pub(crate) leaves: LeafList,
    pub(crate) crc: u32,
    /// Whether header, leaf hashes, trailer and padding are right too. If not, readers of ranges or a scan of the segments may fail: the
    /// record has to be written anew.
    pub(crate) framed: bool,
}

/// Reads the record at `located`.
///
/// # Errors
/// `Corrupt`, or `Unreadable` (see [`crate::get::is_damage`]): the data is not what it should be.
pub(crate) fn read_record(
    segments: &Segments,
    tag: &Tag,
    chunk: ChunkId,
    located: &Located,
) -> Result<Verified, GetError> {
    let record = read_bytes(segments, located).map_err(GetError::Unreadable)?;
    let head = record.first_chunk::<HEADER_BYTES>().expect("a record is longer than its header");
    let header = Header::decode(head, tag, located.place);
    let is_its = |header: &Header| (header.chunk, header.len, header.root) == (chunk, located.len, located.root);
    let framed = header.is_some_and(|header| is_its(&header) && record::is_whole(&record, &header));
    let data = Bytes::from(record).slice(HEADER_BYTES..HEADER_BYTES + located.len as usize);
    let leaves = types::leaves_of(&data);
    if types::root_of(&data, &leaves) != located.root {
        return Err(GetError::Corrupt);
    }
    let crc = record::body_crc(&data, &leaves);
    Ok(Verified { data, leaves, crc, framed })
}

fn read_bytes(segments: &Segments, located: &Located) -> io::Result<Vec<u8>> {
    let mut record = vec![0; record_bytes(located.len as usize) as usize];
    segments.get(located.place.segment)?.read_medium_at(located.place.offset, &mut record)?;
    Ok(record)
}
