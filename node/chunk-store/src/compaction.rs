//! Gives back the space of what was deleted, moved or superseded.
//!
//! A sealed segment of which little is in use is emptied: what is live is verified and written once more at the end, what is
//! rotten is quarantined and stays, tombstones are written once more. Then the file goes. The order, cut anywhere:
//!
//! | step | a crash behind it leaves |
//! | --- | --- |
//! | 1. record copied into the active segment, flushed | two equal records; the index, or a scan, takes the later one |
//! | 2. index names the copy | the same |
//! | 3. index flushed, its position behind this segment | a segment that nothing refers to; it is found again by its count |
//! | 4. file removed, folder flushed | nothing |
//!
//! - Step 2 is the writer's: it moves a record only if the index still names the place it was read from, so a delete that came between wins.
//! - Nothing can begin to refer to a sealed segment, so what is unused stays unused.
//! - A segment that holds a quarantined replica is left alone until that was written anew or deleted: it may be the last there is of it.
//! - Tombstones are kept. They may be dropped where the caller knows that the id is never written again *and* no older segment is
//!   left that could hold a record of it: then no scan can bring the chunk back.
//! - The first block of a segment says where the segment before it ends, which a scan needs to tell rot from a torn tail. So a segment is
//!   cut off behind that block, not removed, while the one before it has records.
//!
//! Readers that looked a place up just before step 4 go on with the open file, or look it up again.
//!
//! Source: docs/adr/0012-compaction.md

use crate::disk::Disk;
use crate::error::{CompactError, DeleteError, PutError};
use crate::files::SegmentFile;
use crate::get;
use crate::index::{Entry, Located, Use};
use crate::record::{self, BLOCK_BYTES, HEADER_BYTES, Header, Kind, Place, SegmentNo, TOMBSTONES_MAX, Tag};
use crate::segment::RECORDS_AT;
use crate::verify::{Verified, read_record};
use crate::writer::{Job, PutJob};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tokio::sync::oneshot;
use types::ChunkId;

/// Bytes copied together, and one chunk more: what foreground writes may have to wait for.
const COPY_BYTES: u64 = 2 << 20;
/// Chunks that are looked for in the index at once, when a segment's own headers do not name them.
const SEARCH_CHUNKS: usize = 256;

/// Says of an id that nobody will ever write it again.
pub type NeverAgain = Arc<dyn Fn(ChunkId) -> bool + Send + Sync>;

/// What a call of `ChunkStore::compact` is to do.
#[derive(Clone)]
pub struct CompactGoal {
    /// Segments of which at most this share is in use are emptied. 1..=99.
    pub live_percent_max: u8,
    /// Bytes to copy before the call returns; the last batch may go over it.
    pub budget_bytes: u64,
    /// Which tombstones may be dropped; without it all are kept.
    pub never_again: Option<NeverAgain>,
}

/// What it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of records written once more.
    pub copied: u64,
    /// Bytes given back to the file system.
    pub freed: u64,
    /// Segments emptied.
    pub segments: u64,
    /// Whether there is more to do.
    pub more: bool,
}

/// A segment that is being emptied.
pub(crate) struct Victim {
    segment: SegmentNo,
    /// Where the walk over its records goes on.
    at: u64,
}

/// Where compaction of a disk stands.
#[derive(Default)]
pub(crate) struct Progress {
    victim: Option<Victim>,
    /// Segments that could not be emptied, and what was in use then: they are tried again once that changed.
    stuck: BTreeMap<SegmentNo, Use>,
}

/// Empties segments until the budget is spent or none is worth it. Blocks; one call at a time for a disk, another one returns at once.
pub(crate) fn compact(disk: &Disk, goal: &CompactGoal) -> Result<Compacted, CompactError> {
    let mut done = Compacted::default();
    let Some(mut progress) = disk.compaction.try_lock() else { return Ok(Compacted { more: true, ..done }) };
    loop {
        // After an error the segment is begun anew; what was moved is passed over.
        let Some(mut victim) = progress.victim.take().or_else(|| choose(disk, goal, &mut progress.stuck)) else {
            return Ok(done);
        };
        if !empty(disk, goal, &mut victim, &mut done)? {
            progress.victim = Some(victim);
            return Ok(Compacted { more: true, ..done });
        }
        let segment = victim.segment;
        if !retire(disk, segment, &mut done)? {
            progress.stuck.insert(segment, disk.index.use_of(segment));
        }
        if done.copied >= goal.budget_bytes {
            return Ok(Compacted { more: true, ..done });
        }
    }
}

/// Bytes of sealed segments that nothing uses.
pub(crate) fn garbage(disk: &Disk) -> u64 {
    sealed(disk).iter().map(|(_, size, in_use)| (size - RECORDS_AT).saturating_sub(in_use.bytes())).sum()
}

/// Segments that are not appended to any more and have records, their size and what of them is in use.
fn sealed(disk: &Disk) -> Vec<(SegmentNo, u64, Use)> {
    let Some(position) = disk.index.position() else { return Vec::new() };
    let before = |segment: &SegmentNo| *segment < position.place.segment;
    let sizes = disk.segments.sizes().into_iter().filter(|(segment, size)| before(segment) && *size > RECORDS_AT);
    sizes.map(|(segment, size)| (segment, size, disk.index.use_of(segment))).collect()
}

/// The segment that gives back most for the least copying.
fn choose(disk: &Disk, goal: &CompactGoal, stuck: &mut BTreeMap<SegmentNo, Use>) -> Option<Victim> {
    stuck.retain(|segment, in_use| disk.index.use_of(*segment) == *in_use);
    let share = |size: u64, in_use: &Use| in_use.bytes().saturating_mul(100) / (size - RECORDS_AT).max(1);
    let worth = sealed(disk).into_iter().filter(|(segment, size, in_use)| {
        let little = share(*size, in_use) <= u64::from(goal.live_percent_max);
        little && in_use.quarantined == 0 && !stuck.contains_key(segment)
    });
    let best = worth.min_by_key(|(_, size, in_use)| share(*size, in_use))?;
    Some(Victim { segment: best.0, at: RECORDS_AT })
}

/// Moves what is in use out of a segment. `false` if the budget ended first.
fn empty(disk: &Disk, goal: &CompactGoal, victim: &mut Victim, done: &mut Compacted) -> Result<bool, CompactError> {
    let segment = victim.segment;
    let mut load = Load::new(disk, goal, segment);
    let file = disk.segments.get(segment)?;
    let size = file.len()?;
    while let Some(header) = next_header(&*file, disk.tag(), Place { segment, offset: victim.at }, size)? {
        victim.at = header.place.offset + header.record_bytes();
        match header.kind {
            Kind::Put => load.live(header.chunk, header.place)?,
            Kind::Tombstones => load.tombstones(&*file, &header, size)?,
        }
        if load.is_full() {
            load.move_out(done)?;
            if done.copied >= goal.budget_bytes {
                return Ok(false);
            }
        }
    }
    load.move_out(done)?;
    settle(disk)?;
    let left = disk.index.use_of(segment);
    if left.live > 0 || left.tombstones > 0 {
        search(disk, segment, &mut load, done)?;
    }
    Ok(true)
}

/// Looks in the index for what the headers of the segment did not name, because they are rotten.
fn search(disk: &Disk, segment: SegmentNo, load: &mut Load<'_>, done: &mut Compacted) -> Result<(), CompactError> {
    let mut after = None;
    loop {
        let (found, next) = disk.index.in_segment(segment, after, SEARCH_CHUNKS)?;
        for (chunk, entry) in found {
            match entry {
                Entry::Live(located) => load.chunks.push((chunk, located)),
                Entry::Tombstone(_) => load.gone.push(chunk),
                Entry::Quarantined(_) => {}
            }
            if load.is_full() {
                load.move_out(done)?;
            }
        }
        load.move_out(done)?;
        match next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// What is to be moved together.
struct Load<'a> {
    disk: &'a Disk,
    goal: &'a CompactGoal,
    segment: SegmentNo,
    /// No older segment has records: tombstones here may be all that is left of their chunks.
    oldest: bool,
    chunks: Vec<(ChunkId, Located)>,
    gone: Vec<ChunkId>,
}

impl<'a> Load<'a> {
    fn new(disk: &'a Disk, goal: &'a CompactGoal, segment: SegmentNo) -> Self {
        let oldest = disk.segments.sizes().range(..segment).all(|(_, size)| *size <= RECORDS_AT);
        Load { disk, goal, segment, oldest, chunks: Vec::new(), gone: Vec::new() }
    }

    fn live(&mut self, chunk: ChunkId, place: Place) -> Result<(), CompactError> {
        if let Some(Entry::Live(located)) = self.disk.index.get(chunk)?
            && located.place == place
        {
            self.chunks.push((chunk, located));
        }
        Ok(())
    }

    fn tombstones(&mut self, file: &dyn SegmentFile, header: &Header, size: u64) -> Result<(), CompactError> {
        let bytes = header.record_bytes();
        if header.place.offset + bytes > size {
            return Ok(());
        }
        let mut record = vec![0; bytes as usize];
        file.read_medium_at(header.place.offset, &mut record)?;
        // Of a rotten one the index knows what it said.
        if record::is_whole(&record, header) {
            for chunk in record::tombstones_decode(record::data(&record, header)) {
                if self.disk.index.get(chunk)? == Some(Entry::Tombstone(self.segment)) {
                    self.gone.push(chunk);
                }
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let bytes: u64 = self.chunks.iter().map(|(_, located)| u64::from(located.len)).sum();
        bytes >= COPY_BYTES || self.gone.len() >= TOMBSTONES_MAX
    }

    /// Writes all of it once more and waits until the index names the copies.
    fn move_out(&mut self, done: &mut Compacted) -> Result<(), CompactError> {
        let mut waiting = Vec::new();
        for (chunk, located) in std::mem::take(&mut self.chunks) {
            let Some(verified) = self.read(chunk, &located)? else { continue };
            let permit = match self.disk.queue.reserve(verified.data.len()) {
                Some(permit) => permit,
                // The queue may be full of what was pushed here.
                None => {
                    wait(&mut waiting, done)?;
                    self.disk.queue.reserve(verified.data.len()).ok_or(CompactError::Busy)?
                }
            };
            let (answer, answered) = oneshot::channel();
            let (data, leaves, crc) = (verified.data, verified.leaves, verified.crc);
            let put = PutJob { chunk, root: located.root, data, leaves, crc, answer };
            self.disk.queue.push(Job::Move(put, located.place), permit);
            waiting.push((answered, record::record_bytes(located.len as usize)));
        }
        wait(&mut waiting, done)?;
        self.move_tombstones(done)
    }

    /// The chunk, verified; one that is rotten is quarantined and stays where it is.
    fn read(&self, chunk: ChunkId, located: &Located) -> Result<Option<Verified>, CompactError> {
        match read_record(&self.disk.segments, self.disk.tag(), chunk, located) {
            Ok(verified) => Ok(Some(verified)),
            Err(error) if get::is_damage(&error) => {
                self.disk.judge(chunk, located, error);
                Ok(None)
            }
            Err(error) => Err(CompactError::Read(error)),
        }
    }

    fn move_tombstones(&mut self, done: &mut Compacted) -> Result<(), CompactError> {
        let gone = std::mem::take(&mut self.gone);
        let may_go = |chunk: &ChunkId| self.oldest && self.goal.never_again.as_ref().is_some_and(|never| never(*chunk));
        let (dropped, kept): (Vec<_>, Vec<_>) = gone.into_iter().partition(may_go);
        for ids in kept.chunks(TOMBSTONES_MAX) {
            self.disk.ask(ids.to_vec(), |job| Job::MoveTombstones(job, self.segment)).map_err(deleted)?;
            done.copied += record::record_bytes(16 * ids.len());
        }
        for ids in dropped.chunks(TOMBSTONES_MAX) {
            self.disk.ask(ids.to_vec(), |job| Job::Forget(job, self.segment)).map_err(deleted)?;
        }
        Ok(())
    }
}

/// A move that was asked for, and its bytes.
type Moving = (oneshot::Receiver<Result<(), PutError>>, u64);

fn wait(moving: &mut Vec<Moving>, done: &mut Compacted) -> Result<(), CompactError> {
    for (answer, bytes) in std::mem::take(moving) {
        answer.blocking_recv().map_err(|_| CompactError::Closed)?.map_err(moved)?;
        done.copied += bytes;
    }
    Ok(())
}

/// Waits until all that was pushed before is in the index, and the index's position behind it.
fn settle(disk: &Disk) -> Result<(), CompactError> {
    disk.ask(Vec::new(), Job::Settle).map_err(deleted)
}

/// Removes a segment that nothing refers to any more. `false` if something does.
fn retire(disk: &Disk, segment: SegmentNo, done: &mut Compacted) -> Result<bool, CompactError> {
    settle(disk)?;
    disk.index.flush(true)?;
    let sealed = |segment: SegmentNo| disk.index.position().is_some_and(|position| segment < position.place.segment);
    if !disk.index.use_of(segment).is_none() || !sealed(segment) {
        return Ok(false);
    }
    disk.fencing(|| {
        let sizes = disk.segments.sizes();
        let size = |number: u64| sizes.get(&SegmentNo(number)).copied().unwrap_or(0);
        let has_records = |number: u64| number != segment.0 && size(number) > RECORDS_AT;
        let kept = if has_records(segment.0 - 1) { RECORDS_AT } else { 0 };
        match kept {
            0 => disk.segments.remove(segment)?,
            bytes => disk.segments.cut(segment, bytes)?,
        }
        done.freed += size(segment.0) - kept;
        // First blocks that stood for the end of a segment which has no records any more.
        let cut_off = sizes.iter().filter(|(number, size)| **size <= RECORDS_AT && sealed(**number));
        for (number, size) in cut_off.filter(|(number, _)| !has_records(number.0 - 1)) {
            disk.segments.remove(*number)?;
            done.freed += size;
        }
        disk.segments.files().sync()
    })?;
    done.segments += 1;
    Ok(true)
}

/// The next record's header at or behind `from`.
fn next_header(file: &dyn SegmentFile, tag: &Tag, from: Place, size: u64) -> io::Result<Option<Header>> {
    let mut place = from;
    while place.offset + BLOCK_BYTES <= size {
        let Some(data) = file.next_data(place.offset)? else { return Ok(None) };
        place.offset = place.offset.max(data / BLOCK_BYTES * BLOCK_BYTES);
        if place.offset + BLOCK_BYTES > size {
            return Ok(None);
        }
        let mut head = [0; HEADER_BYTES];
        match file.read_at(place.offset, &mut head) {
            // A block that the medium does not give is passed over; the index knows what lay there.
            Err(error) if get::is_bad_place(&error) => {}
            Err(error) => return Err(error),
            Ok(()) => {
                if let Some(header) = Header::decode(&head, tag, place) {
                    return Ok(Some(header));
                }
            }
        }
        place.offset += BLOCK_BYTES;
    }
    Ok(None)
}

fn moved(error: PutError) -> CompactError {
    match error {
        PutError::NoSpace => CompactError::NoSpace,
        PutError::Busy => CompactError::Busy,
        PutError::Fenced { disk } => CompactError::Fenced { disk },
        // A chunk that is here already, with its own bytes, is refused for no other reason.
        _ => CompactError::Closed,
    }
}

fn deleted(error: DeleteError) -> CompactError {
    match error {
        DeleteError::NoSpace => CompactError::NoSpace,
        DeleteError::Busy => CompactError::Busy,
        DeleteError::Fenced { disk } => CompactError::Fenced { disk },
        DeleteError::Index(error) => CompactError::Index(error),
        DeleteError::NoSuchDisk { .. } | DeleteError::TooMany { .. } | DeleteError::Closed => CompactError::Closed,
    }
}
