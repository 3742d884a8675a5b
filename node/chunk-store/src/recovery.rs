//! The start of a disk: brings the index up to the segments, and finds where to go on.
//!
//! 1. Scan the records behind the position that the index carries (all of them if it has none).
//! 2. A record that is not whole is either the torn tail of a write that was never acknowledged, or rot. Batches are written one
//!    after the other, each after the flush of the one before it: a bad place is rot if it lies before the begin of a batch of which
//!    anything is there, or before the end that the next segment recorded. Rot is reported, and quarantined where its header says which chunk it
//!    was. A torn tail is dropped. (Rot in the very last batch after a crash looks like a torn tail: absent, not wrong.)
//! 3. A scan that lost its way goes on at the next block that is a record's header, so nothing is hidden by what is bad before it.
//! 4. The records of the last batch are written again in place and flushed before anything is answered: after a failed
//!    flush the page cache shows what the disk does not have.
//!
//! Source: `reference/reliability.md` R1, R2; Protocol-Aware Recovery, FAST 2018.

use crate::buffer::AlignedBuffer;
use crate::error::StoreError;
use crate::files::SegmentFile;
use crate::index::{Entry, Index, Located, Position};
use crate::record::{self, BLOCK_BYTES, BatchNo, HEADER_BYTES, Header, Kind, Place, SegmentNo, Tag};
use crate::segment::{RECORDS_AT, SegmentHeader, Segments};
use crate::writer::{Active, Tail};
use std::io;
use types::ChunkId;

/// Bytes looked at together while the scan searches for a header.
const SEARCH_BYTES: usize = 1 << 20;
/// Changes that go into the index together.
const CHANGES_MAX: usize = 4096;
/// Bad places kept for the report; the count goes on.
const DAMAGE_LISTED_MAX: usize = 1024;

/// A place in a segment that holds no record although it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Number of the segment.
    pub segment: SegmentNo,
    /// First bad byte.
    pub offset: u64,
    /// Bad bytes.
    pub bytes: u64,
    /// The chunk that lay there, if the record's header can still be read; it is quarantined.
    pub chunk: Option<ChunkId>,
}

/// What the start of a disk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Whether the index was made from all segments.
    pub rebuilt: bool,
    /// Whole records behind the index's position.
    pub records: u64,
    /// Places dropped as never acknowledged.
    pub torn: u64,
    /// Number of damaged places.
    pub damaged: u64,
    /// The first of them.
    pub damage: Vec<Damage>,
}

/// Brings `index`, which is at `position`, up to the segments. Returns where the writer takes up.
///
/// # Errors
/// The disk cannot be read or written, and must not be used.
pub(crate) fn recover(
    segments: &Segments,
    index: &Index,
    position: Option<Position>,
    tag: &Tag,
) -> Result<(Tail, RecoveryReport), StoreError> {
    let numbers = segments.list()?;
    let start = position.map_or(Place { segment: SegmentNo(0), offset: 0 }, |position| position.place);
    let mut taker = index;
    let mut scan = Scan::new(&mut taker, position);
    let mut ends = scan.all(segments, &numbers, start, tag)?;
    if position.is_some() && !numbers.contains(&start.segment) {
        scan.damage(Damage { segment: start.segment, offset: 0, bytes: start.offset, chunk: None });
    }

    let dropped_empty = drop_empty(segments, &mut ends, start)?;
    let next_segment = numbers.last().map_or(start.segment.0, |last| last.0.max(start.segment.0)) + 1 - dropped_empty;
    scan.rewrite_last(segments)?;
    scan.finish()?;
    let next_batch = BatchNo(scan.highest.0 + 1);
    let active = match ends.pop() {
        Some(Scanned { segment, len, end }) => {
            Some(Active { segment, file: segments.get(segment)?, len, end: end.records, dirty_end: end.dirty })
        }
        None => None,
    };
    Ok((Tail { active, next_segment: SegmentNo(next_segment), next_batch }, scan.report))
}

/// A segment that was scanned. Its file is not kept open: a disk may have thousands.
pub(crate) struct Scanned {
    segment: SegmentNo,
    len: u64,
    end: End,
}

/// Removes segments at the end that were made and never written to: their first block may be torn. Returns how many.
fn drop_empty(segments: &Segments, ends: &mut Vec<Scanned>, start: Place) -> Result<u64, StoreError> {
    let mut dropped = 0;
    while let Some(Scanned { segment, end, .. }) = ends.last()
        && end.is_empty()
        && *segment != start.segment
    {
        segments.remove(*segment)?;
        ends.pop();
        dropped += 1;
    }
    segments.files().sync()?;
    Ok(dropped)
}

/// Where a segment's content ends.
#[derive(Clone, Copy)]
struct End {
    /// Behind the last record.
    records: u64,
    /// Behind the last byte that is not zero, as far as is known.
    dirty: u64,
}

impl End {
    fn is_empty(self) -> bool {
        self.records <= RECORDS_AT && self.dirty <= RECORDS_AT
    }
}

/// A bad place of which it is not known yet whether it is rot.
struct Undecided {
    damage: Damage,
    header: Option<Header>,
    /// Something that was written later says that this was flushed.
    flushed: bool,
}

/// Who hears what a scan finds.
pub(crate) trait Taker {
    /// A whole record and its bytes. It may belong to a batch that was never acknowledged.
    fn record(&mut self, _header: &Header, _record: &[u8]) {}

    /// What the segments say up to `position`, in their order.
    fn take(&mut self, changes: &[(ChunkId, Entry)], position: Position) -> Result<(), StoreError>;
}

impl Taker for &Index {
    fn take(&mut self, changes: &[(ChunkId, Entry)], position: Position) -> Result<(), StoreError> {
        Ok(self.apply(changes, position)?)
    }
}

/// A scan of segments, from a place on or from the first record. Changes nothing by itself.
pub(crate) struct Scan<'a> {
    taker: &'a mut dyn Taker,
    pub(crate) report: RecoveryReport,
    /// The highest batch of which anything was seen: all lower ones were flushed.
    highest: BatchNo,
    /// Whole records of the highest batch, which may not have been flushed.
    waiting: Vec<Header>,
    /// What they say.
    waiting_changes: Vec<(ChunkId, Entry)>,
    undecided: Vec<Undecided>,
    /// What the index is to take up.
    changes: Vec<(ChunkId, Entry)>,
    /// Behind the last record that was taken up.
    at: Place,
    memory: Vec<u8>,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(taker: &'a mut dyn Taker, position: Option<Position>) -> Self {
        let start = Place { segment: SegmentNo(1), offset: RECORDS_AT };
        Scan {
            taker,
            report: RecoveryReport { rebuilt: position.is_none(), ..RecoveryReport::default() },
            highest: position.map_or(BatchNo(0), |position| position.batch),
            waiting: Vec::new(),
            waiting_changes: Vec::new(),
            undecided: Vec::new(),
            changes: Vec::new(),
            at: position.map_or(start, |position| position.place),
            memory: Vec::new(),
        }
    }

    /// Scans all of the disk's segments, `numbers`, from `start` on.
    pub(crate) fn all(
        &mut self,
        segments: &Segments,
        numbers: &[SegmentNo],
        start: Place,
        tag: &Tag,
    ) -> Result<Vec<Scanned>, StoreError> {
        let mut ends = Vec::new();
        for (i, segment) in numbers.iter().copied().enumerate().filter(|(_, number)| *number >= start.segment) {
            let file = segments.get(segment)?;
            let len = file.len()?;
            let from = if segment == start.segment { start.offset.max(RECORDS_AT) } else { RECORDS_AT };
            // Compaction leaves gaps: only the very next segment knows where this one ends.
            let former_end = match numbers.get(i + 1) {
                Some(next) if next.0 == segment.0 + 1 => {
                    SegmentHeader::read(&*segments.get(*next)?, tag, *next)?.and_then(|header| header.former_end)
                }
                _ => None,
            };
            self.index_is_ahead(segment, from, len);
            let end = self.segment(&*file, segment, tag, from, len, former_end)?;
            ends.push(Scanned { segment, len, end });
        }
        Ok(ends)
    }

    /// The index knows of records behind the end of the file.
    fn index_is_ahead(&mut self, segment: SegmentNo, from: u64, len: u64) {
        if from > len.max(RECORDS_AT) {
            self.damage(Damage { segment, offset: len, bytes: from - len, chunk: None });
        }
    }

    fn segment(
        &mut self,
        file: &dyn SegmentFile,
        segment: SegmentNo,
        tag: &Tag,
        from: u64,
        len: u64,
        former_end: Option<u64>,
    ) -> Result<End, StoreError> {
        let limit = former_end.unwrap_or(len).min(len);
        let mut end = End { records: from, dirty: from };
        let mut known = from;
        while let Some((found, header)) = self.next_header(file, segment, tag, known, limit, &mut end)? {
            let bytes = header.record_bytes();
            let whole = found + bytes <= limit && {
                self.memory.resize(bytes as usize, 0);
                file.read_at(found, &mut self.memory)?;
                record::is_whole(&self.memory, &header)
            };
            // What lies before the batch of this record was flushed when it was written; the rest may belong to the batch.
            let batch_at = header.batch_at.clamp(known, found);
            self.bad(segment, known, batch_at, None);
            self.flushed_up_to(segment, header.batch_at);
            self.bad(segment, batch_at, found, None);
            self.see(header.batch)?;
            if whole {
                self.take(header);
                end.records = found + bytes;
            } else {
                self.bad(segment, found, found + bytes, Some(header));
            }
            known = found + bytes;
            end.dirty = end.dirty.max(known);
        }
        self.bad(segment, known, former_end.unwrap_or(end.dirty), None);
        if former_end.is_some() {
            self.flushed_up_to(segment, limit);
        }
        // What lies behind the recorded end was never looked at and must not be written over.
        end.dirty = if limit < len { len } else { end.dirty };
        Ok(end)
    }

    /// The next block from `at` on that is a record's header.
    fn next_header(
        &mut self,
        file: &dyn SegmentFile,
        segment: SegmentNo,
        tag: &Tag,
        mut at: u64,
        limit: u64,
        end: &mut End,
    ) -> Result<Option<(u64, Header)>, StoreError> {
        let mut window = BLOCK_BYTES;
        while at < limit {
            match file.next_data(at)? {
                None => return Ok(None),
                Some(data) => at = at.max(data / BLOCK_BYTES * BLOCK_BYTES),
            }
            let bytes = window.min(limit.saturating_sub(at));
            self.memory.resize(bytes as usize, 0);
            file.read_at(at, &mut self.memory)?;
            for (i, block) in self.memory.chunks(BLOCK_BYTES as usize).enumerate() {
                let offset = at + i as u64 * BLOCK_BYTES;
                let head = block.first_chunk::<HEADER_BYTES>();
                if let Some(header) = head.and_then(|head| Header::decode(head, tag, Place { segment, offset })) {
                    return Ok(Some((offset, header)));
                }
                if block.iter().any(|byte| *byte != 0) {
                    end.dirty = end.dirty.max(offset + BLOCK_BYTES);
                }
            }
            at += bytes;
            window = SEARCH_BYTES as u64;
        }
        Ok(None)
    }

    /// Something of this batch is there, so all batches before it were flushed.
    fn see(&mut self, batch: BatchNo) -> Result<(), StoreError> {
        if batch <= self.highest {
            return Ok(());
        }
        self.highest = batch;
        self.release();
        if self.changes.len() >= CHANGES_MAX {
            let position = Position { place: self.at, batch: BatchNo(batch.0 - 1) };
            self.taker.take(&std::mem::take(&mut self.changes), position)?;
        }
        Ok(())
    }

    /// Takes up the records that wait, and decides about what is bad as far as can be.
    fn release(&mut self) {
        self.changes.extend(std::mem::take(&mut self.waiting_changes));
        self.waiting.clear();
        for bad in std::mem::take(&mut self.undecided) {
            if !bad.flushed && bad.header.is_none_or(|header| header.batch >= self.highest) {
                self.undecided.push(bad);
                continue;
            }
            if let Some(header) = bad.header.filter(|header| header.kind == Kind::Put) {
                let located = Located { place: header.place, len: header.len, root: header.root };
                self.changes.push((header.chunk, Entry::Quarantined(located)));
            }
            self.damage(bad.damage);
        }
    }

    /// A whole record, which lies in `memory`.
    fn take(&mut self, header: Header) {
        self.report.records += 1;
        self.taker.record(&header, &self.memory);
        match header.kind {
            Kind::Put => {
                let located = Located { place: header.place, len: header.len, root: header.root };
                self.waiting_changes.push((header.chunk, Entry::Live(located)));
            }
            Kind::Tombstones => {
                let chunks = record::tombstones_decode(record::data(&self.memory, &header));
                let gone = Entry::Tombstone(header.place.segment);
                self.waiting_changes.extend(chunks.map(|chunk| (chunk, gone)));
            }
        }
        self.waiting.push(header);
        self.at = Place { segment: header.place.segment, offset: header.place.offset + header.record_bytes() };
    }

    /// Something lay, or may have lain, at `from..to` and does not any more.
    fn bad(&mut self, segment: SegmentNo, from: u64, to: u64, header: Option<Header>) {
        if from < to {
            let damage = Damage { segment, offset: from, bytes: to - from, chunk: header.map(|header| header.chunk) };
            self.undecided.push(Undecided { damage, header, flushed: false });
        }
    }

    /// All of a segment before `offset` was on stable storage once.
    fn flushed_up_to(&mut self, segment: SegmentNo, offset: u64) {
        for bad in &mut self.undecided {
            let end = bad.damage.offset + bad.damage.bytes;
            bad.flushed |= bad.damage.segment == segment && end <= offset;
        }
    }

    fn damage(&mut self, damage: Damage) {
        tracing::error!(segment = damage.segment.0, offset = damage.offset, bytes = damage.bytes, chunk = ?damage.chunk, "a segment is damaged");
        self.report.damaged += 1;
        if self.report.damage.len() < DAMAGE_LISTED_MAX {
            self.report.damage.push(damage);
        }
    }

    /// Makes the last batch durable once more.
    fn rewrite_last(&self, segments: &Segments) -> Result<(), StoreError> {
        let mut last: Vec<Header> =
            self.waiting.iter().filter(|header| header.batch == self.highest).copied().collect();
        last.sort_by_key(|header| header.place);
        for header in &last {
            rewrite(&*segments.get(header.place.segment)?, header)?;
        }
        last.dedup_by_key(|header| header.place.segment);
        for header in &last {
            segments.get(header.place.segment)?.sync()?;
        }
        Ok(())
    }

    /// Takes the last batch up.
    pub(crate) fn finish(&mut self) -> Result<(), StoreError> {
        let highest = self.highest;
        self.release();
        self.report.torn += self.undecided.len() as u64;
        let changes = std::mem::take(&mut self.changes);
        if !changes.is_empty() {
            self.taker.take(&changes, Position { place: self.at, batch: highest })?;
        }
        Ok(())
    }
}

/// Writes a record once more where it lies.
fn rewrite(file: &dyn SegmentFile, header: &Header) -> io::Result<()> {
    let bytes = header.record_bytes() as usize;
    let mut buffer = AlignedBuffer::zeroed(bytes);
    file.read_at(header.place.offset, buffer.bytes_mut(0, bytes))?;
    file.write_at(header.place.offset, buffer.bytes(bytes))
}
