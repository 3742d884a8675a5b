//! The one writer of a disk: takes a batch of jobs, appends their records, flushes once, answers.
//!
//! The order, which is the whole point: **write, fdatasync, index, answer**. A batch lies in one segment. The next batch is not
//! written before the flush of the former one succeeded, so a record of batch n+1 is proof that batch n is on stable
//! storage: that is how a scan tells rot from a torn tail.
//!
//! | what fails | what follows |
//! | --- | --- |
//! | no room for a segment, or within one | those jobs are refused, the disk goes on |
//! | any other error of a write, flush, truncation or of the index | the disk is fenced: this batch and all later jobs are refused |
//!
//! Compaction ([`crate::compaction`]) moves records through here too, so that a move and a delete of the same chunk come one after
//! the other: a record is moved only if the index still names the place it came from.
//!
//! What a failed write may have left behind the last good record is never written over: the segment is sealed there.

use crate::buffer::AlignedBuffer;
use crate::error::{DeleteError, IndexError, PutError, StoreError};
use crate::fence::Fence;
use crate::files::{SegmentFile, is_full};
use crate::index::{Entry, Index, Located, Position};
use crate::observer::{BatchWritten, Observer};
use crate::record::{self, BLOCK_BYTES, BatchNo, Header, Kind, Place, SegmentNo, Tag, record_bytes};
use crate::segment::{RECORDS_AT, SegmentHeader, Segments, name_of};
use bytes::Bytes;
use mistakes::{Mistake, is_planted};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;
use types::{Blake3Root, ChunkId, DiskId, LeafList};

/// Size of a segment that is made for tombstones when there is no room for a whole one.
const SMALL_SEGMENT_BYTES: u64 = 1 << 20;

/// A chunk whose hash was checked.
pub(crate) struct PutJob {
    pub(crate) chunk: ChunkId,
    pub(crate) root: Blake3Root,
    pub(crate) data: Bytes,
    pub(crate) leaves: LeafList,
    pub(crate) crc: u32,
    pub(crate) answer: oneshot::Sender<Result<(), PutError>>,
}

/// Ids to be deleted, at most `TOMBSTONES_MAX`.
pub(crate) struct DeleteJob {
    pub(crate) chunks: Vec<ChunkId>,
    pub(crate) answer: oneshot::Sender<Result<(), DeleteError>>,
}

/// What the writer is asked to do.
pub(crate) enum Job {
    Put(PutJob),
    Delete(DeleteJob),
    /// A reader found the replica at this place damaged.
    Quarantine(ChunkId, Located),
    /// Take replicas out that are not wanted on this disk any more.
    Release(DeleteJob),
    /// Write the chunk once more, if its replica still lies at this place.
    Move(PutJob, Place),
    /// Write tombstones once more, those whose records still lie in this segment.
    MoveTombstones(DeleteJob, SegmentNo),
    /// Drop tombstones whose records lie in this segment.
    Forget(DeleteJob, SegmentNo),
    /// Answer when everything before is in the index, with its position.
    Settle(DeleteJob),
}

/// What a writer needs to know of its disk.
pub(crate) struct WriterSettings {
    pub(crate) number: usize,
    pub(crate) disk: DiskId,
    pub(crate) tag: Tag,
    pub(crate) segment_bytes: u64,
    pub(crate) batch_bytes_max: usize,
    pub(crate) reserve_bytes: u64,
    pub(crate) checkpoint_bytes: u64,
}

/// The segment that is appended to.
pub(crate) struct Active {
    pub(crate) segment: SegmentNo,
    pub(crate) file: Arc<dyn SegmentFile>,
    pub(crate) len: u64,
    /// Where the next record goes.
    pub(crate) end: u64,
    /// Nothing was ever written from here on; above `end` if there are remains of a write that was not acknowledged.
    pub(crate) dirty_end: u64,
}

/// Where a writer takes up.
pub(crate) struct Tail {
    pub(crate) active: Option<Active>,
    pub(crate) next_segment: SegmentNo,
    pub(crate) next_batch: BatchNo,
}

/// What a record is for decides what room it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// A chunk: leaves the reserve alone.
    Put,
    /// Compaction: takes half of the reserve if it must, for it gives back more than it takes.
    Move,
    /// Tombstones: take what there is.
    Tombstones,
}

/// Why a record got no room.
enum Refused {
    NoSpace,
    Fenced,
}

enum Waiter {
    Put(oneshot::Sender<Result<(), PutError>>),
    Delete(oneshot::Sender<Result<(), DeleteError>>),
}

/// Records in the buffer that are not written yet.
#[derive(Default)]
struct Staged {
    bytes: usize,
    records: usize,
    changes: Vec<(ChunkId, Entry)>,
    state: HashMap<ChunkId, Entry>,
    waiters: Vec<Waiter>,
    /// The position goes into the index even if nothing else does.
    settle: bool,
    /// The index is to be flushed soon.
    checkpoint: bool,
}

/// The writer of a disk. One owner, no locks.
pub(crate) struct Writer {
    settings: WriterSettings,
    segments: Arc<Segments>,
    index: Arc<Index>,
    fence: Arc<Fence>,
    observer: Arc<dyn Observer>,
    tail: Tail,
    buffer: AlignedBuffer,
    staged: Staged,
    since_checkpoint: u64,
}

impl Writer {
    pub(crate) fn new(
        settings: WriterSettings,
        segments: Arc<Segments>,
        index: Arc<Index>,
        fence: Arc<Fence>,
        observer: Arc<dyn Observer>,
        tail: Tail,
    ) -> Self {
        let buffer = AlignedBuffer::zeroed(settings.batch_bytes_max.next_multiple_of(BLOCK_BYTES as usize));
        Writer {
            settings,
            segments,
            index,
            fence,
            observer,
            tail,
            buffer,
            staged: Staged::default(),
            since_checkpoint: 0,
        }
    }

    /// Does all jobs and answers them.
    pub(crate) fn commit(&mut self, jobs: impl IntoIterator<Item = Job>) {
        for job in jobs {
            match job {
                Job::Put(put) => self.stage_put(put),
                Job::Delete(delete) => self.stage_delete(delete),
                Job::Quarantine(chunk, located) => self.stage_quarantine(chunk, located),
                Job::Release(delete) => self.release(delete),
                Job::Move(put, from) => self.stage_move(put, from),
                Job::MoveTombstones(delete, from) => {
                    self.stage_tombstones(delete, Need::Move, |entry| entry == Some(Entry::Tombstone(from)));
                }
                Job::Forget(delete, from) => self.forget(delete, from),
                Job::Settle(delete) => {
                    self.staged.settle = true;
                    self.staged.waiters.push(Waiter::Delete(delete.answer));
                }
            }
        }
        self.flush();
    }

    /// Flushes the index, so that the next start has nothing to scan. For a clean stop.
    pub(crate) fn checkpoint(&mut self) {
        if !self.is_fenced()
            && let Err(error) = self.index.flush(true)
        {
            self.fence(&error.into());
        }
    }

    fn stage_put(&mut self, put: PutJob) {
        match self.state(put.chunk) {
            Err(()) => {
                let _ = put.answer.send(Err(self.put_fenced()));
            }
            Ok(Some(Entry::Tombstone(_))) => {
                let _ = put.answer.send(Err(PutError::Deleted));
            }
            Ok(Some(Entry::Live(here) | Entry::Quarantined(here))) if !same(&here, &put) => {
                let _ = put.answer.send(Err(PutError::Conflict));
            }
            Ok(Some(Entry::Live(_))) if self.staged.state.contains_key(&put.chunk) => {
                self.staged.waiters.push(Waiter::Put(put.answer));
            }
            Ok(Some(Entry::Live(_))) => {
                let _ = put.answer.send(Ok(()));
            }
            Ok(Some(Entry::Quarantined(_)) | None) => self.append_put(put, Need::Put),
        }
    }

    /// What was deleted, damaged or moved meanwhile stays as it is.
    fn stage_move(&mut self, put: PutJob, from: Place) {
        match self.state(put.chunk) {
            Err(()) => {
                let _ = put.answer.send(Err(self.put_fenced()));
            }
            Ok(Some(Entry::Live(here))) if here.place == from && same(&here, &put) => self.append_put(put, Need::Move),
            Ok(_) => {
                let _ = put.answer.send(Ok(()));
            }
        }
    }

    fn append_put(&mut self, put: PutJob, need: Need) {
        let place = match self.room(record_bytes(put.data.len()), need) {
            Ok(place) => place,
            Err(refused) => {
                let error = match refused {
                    Refused::NoSpace => PutError::NoSpace,
                    Refused::Fenced => self.put_fenced(),
                };
                let _ = put.answer.send(Err(error));
                return;
            }
        };
        let len = put.data.len() as u32;
        let header = self.header(Kind::Put, place, put.chunk, len, put.root);
        self.encode(&header, &put.data, &put.leaves, put.crc);
        self.stage(put.chunk, Entry::Live(Located { place, len, root: put.root }));
        self.staged.waiters.push(Waiter::Put(put.answer));
    }

    fn stage_delete(&mut self, delete: DeleteJob) {
        self.stage_tombstones(delete, Need::Tombstones, |entry| !matches!(entry, Some(Entry::Tombstone(_))));
    }

    /// Tombstones for those chunks of which `wanted` holds.
    fn stage_tombstones(&mut self, mut delete: DeleteJob, need: Need, wanted: impl Fn(Option<Entry>) -> bool) {
        let mut failed = false;
        delete.chunks.sort_unstable();
        delete.chunks.dedup();
        delete.chunks.retain(|chunk| match self.state(*chunk) {
            Ok(entry) => wanted(entry),
            Err(()) => {
                failed = true;
                false
            }
        });
        if failed {
            let _ = delete.answer.send(Err(self.delete_fenced()));
            return;
        }
        // Nothing new to say, but what is said may still be on its way to the disk.
        let Some(first) = delete.chunks.first().copied() else {
            self.staged.waiters.push(Waiter::Delete(delete.answer));
            return;
        };
        let data = record::tombstones_encode(&delete.chunks);
        let place = match self.room(record_bytes(data.len()), need) {
            Ok(place) => place,
            Err(refused) => {
                let error = match refused {
                    Refused::NoSpace => DeleteError::NoSpace,
                    Refused::Fenced => self.delete_fenced(),
                };
                let _ = delete.answer.send(Err(error));
                return;
            }
        };
        let root = types::root_of(&data, &[]);
        let len = data.len() as u32;
        let header = self.header(Kind::Tombstones, place, first, len, root);
        self.encode(&header, &data, &[], record::body_crc(&data, &[]));
        for chunk in delete.chunks {
            self.stage(chunk, Entry::Tombstone(place.segment));
        }
        self.staged.waiters.push(Waiter::Delete(delete.answer));
    }

    /// Quarantine waits for no flush: what is lost of it in a crash is found again. A flush of the index follows soon.
    fn stage_quarantine(&mut self, chunk: ChunkId, located: Located) {
        if matches!(self.state(chunk), Ok(Some(Entry::Live(here))) if here.place == located.place) {
            self.stage(chunk, Entry::Quarantined(located));
            self.staged.checkpoint = true;
        }
    }

    /// Needs no record and no flush: what comes back after a crash is found to be unwanted again.
    fn release(&mut self, delete: DeleteJob) {
        self.take_out(delete, |index, chunks, position| index.release(chunks, position));
    }

    /// The tombstones' segment is about to be removed; nothing is written to segments.
    fn forget(&mut self, delete: DeleteJob, from: SegmentNo) {
        self.take_out(delete, |index, chunks, position| index.forget(chunks, from, position));
    }

    /// Takes rows out of the index. What is staged goes first, so that the order of the jobs is kept.
    fn take_out(
        &mut self,
        delete: DeleteJob,
        take: impl FnOnce(&Index, &[ChunkId], Position) -> Result<(), IndexError>,
    ) {
        self.flush();
        let done = match self.position() {
            _ if self.is_fenced() => Err(Refused::Fenced),
            None => Ok(()),
            Some(position) => take(&self.index, &delete.chunks, position).map_err(|error| {
                self.fence(&error.into());
                Refused::Fenced
            }),
        };
        self.answer(Waiter::Delete(delete.answer), &done);
    }

    /// What is known of a chunk, with what is staged. An index that fails fences the disk.
    fn state(&mut self, chunk: ChunkId) -> Result<Option<Entry>, ()> {
        if self.is_fenced() {
            return Err(());
        }
        if let Some(entry) = self.staged.state.get(&chunk) {
            return Ok(Some(*entry));
        }
        self.index.get(chunk).map_err(|error| self.fence(&error.into()))
    }

    fn stage(&mut self, chunk: ChunkId, entry: Entry) {
        self.staged.changes.push((chunk, entry));
        self.staged.state.insert(chunk, entry);
    }

    fn header(&self, kind: Kind, place: Place, chunk: ChunkId, len: u32, root: Blake3Root) -> Header {
        let batch_at = place.offset - self.staged.bytes as u64;
        Header { kind, place, batch: self.tail.next_batch, batch_at, chunk, len, root }
    }

    fn encode(&mut self, header: &Header, data: &[u8], leaves: &[types::Leaf], crc: u32) {
        let bytes = header.record_bytes() as usize;
        let out = self.buffer.bytes_mut(self.staged.bytes, bytes);
        record::encode_into(out, header, &self.settings.tag, data, leaves, crc);
        self.staged.bytes += bytes;
        self.staged.records += 1;
    }

    /// Where a record of this many bytes goes; flushes what is staged, or begins a segment, if it does not fit.
    fn room(&mut self, bytes: u64, need: Need) -> Result<Place, Refused> {
        if self.staged.bytes as u64 + bytes > self.buffer.capacity() as u64 {
            self.flush();
        }
        if !self.fits(bytes) {
            self.flush();
            if self.is_fenced() {
                return Err(Refused::Fenced);
            }
            if !self.fits(bytes) {
                self.roll(bytes, need)?;
            }
        }
        if self.is_fenced() {
            return Err(Refused::Fenced);
        }
        let active = self.tail.active.as_ref().expect("a record fits only into an active segment");
        Ok(Place { segment: active.segment, offset: active.end + self.staged.bytes as u64 })
    }

    fn fits(&self, bytes: u64) -> bool {
        self.tail.active.as_ref().is_some_and(|active| {
            active.dirty_end <= active.end && active.end + self.staged.bytes as u64 + bytes <= active.len
        })
    }

    /// Seals the active segment and begins the next one. On a full disk what gives space back, or costs little, gets a small one.
    fn roll(&mut self, bytes: u64, need: Need) -> Result<(), Refused> {
        let wanted = self.settings.segment_bytes.max(RECORDS_AT + bytes);
        let (small, reserve) = match need {
            Need::Put => (None, self.settings.reserve_bytes),
            Need::Move => (Some((RECORDS_AT + bytes).max(wanted / 16)), self.settings.reserve_bytes / 2),
            Need::Tombstones => (Some(SMALL_SEGMENT_BYTES.min(wanted)), 0),
        };
        let at_first = if need == Need::Tombstones { 0 } else { self.settings.reserve_bytes };
        let created = self.create(wanted, at_first).or_else(|error| match small {
            Some(small) if is_full(&error) => self.create(small.next_multiple_of(BLOCK_BYTES), reserve),
            _ => Err(error),
        });
        match created {
            Ok(active) => {
                self.tail.next_segment = SegmentNo(active.segment.0 + 1);
                self.tail.active = Some(active);
                Ok(())
            }
            Err(error) if is_full(&error) => Err(Refused::NoSpace),
            Err(error) => {
                self.fence(&error.into());
                Err(Refused::Fenced)
            }
        }
    }

    fn create(&self, len: u64, reserve: u64) -> io::Result<Active> {
        let files = self.segments.files();
        if reserve > 0 && files.space()?.free < len.saturating_add(reserve) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let segment = self.tail.next_segment;
        let file = files.create(&name_of(segment), len)?;
        let former = self.tail.active.as_ref();
        let former_end = former.filter(|active| active.segment.0 + 1 == segment.0).map(|active| active.end);
        let header = SegmentHeader { segment, first_batch: self.tail.next_batch, former_end };
        let mut block = AlignedBuffer::zeroed(BLOCK_BYTES as usize);
        let encoded = header.encode(&self.settings.tag);
        block.bytes_mut(0, encoded.len()).copy_from_slice(&encoded);
        let written = file.write_at(0, block.bytes(BLOCK_BYTES as usize));
        if let Err(error) = written {
            files.remove(&name_of(segment))?;
            return Err(error);
        }
        file.sync().map_err(not_full)?;
        if !is_planted(Mistake::FolderNotFlushed) {
            files.sync().map_err(not_full)?;
        }
        // The rest of the former segment's preallocation goes back to the file system.
        if let Some(former) = former
            && former.end.max(former.dirty_end) < former.len
        {
            former.file.truncate(former.end.max(former.dirty_end)).map_err(not_full)?;
            self.segments.note_size(former.segment, former.end.max(former.dirty_end));
        }
        self.segments.insert(segment, file.clone(), len);
        Ok(Active { segment, file, len, end: RECORDS_AT, dirty_end: RECORDS_AT })
    }

    /// Writes, flushes, indexes and answers what is staged.
    fn flush(&mut self) {
        let staged = std::mem::take(&mut self.staged);
        if staged.changes.is_empty() && staged.waiters.is_empty() && !staged.settle {
            return;
        }
        let begun = Instant::now();
        let done = self.write(&staged);
        if done.is_ok() && staged.records > 0 {
            self.observer.batch_written(BatchWritten {
                disk: self.settings.number,
                records: staged.records,
                bytes: staged.bytes as u64,
                time: begun.elapsed(),
            });
        }
        for waiter in staged.waiters {
            self.answer(waiter, &done);
        }
    }

    fn write(&mut self, staged: &Staged) -> Result<(), Refused> {
        if self.is_fenced() {
            return Err(Refused::Fenced);
        }
        if staged.records > 0 {
            self.append(staged.bytes)?;
        }
        let changed = !staged.changes.is_empty() || staged.settle;
        let Some(position) = self.position().filter(|_| changed) else { return Ok(()) };
        if let Err(error) = self.index.apply(&staged.changes, position) {
            self.fence(&error.into());
            return Err(Refused::Fenced);
        }
        self.since_checkpoint += staged.bytes as u64;
        if self.since_checkpoint >= self.settings.checkpoint_bytes || staged.checkpoint {
            self.since_checkpoint = 0;
            if let Err(error) = self.index.flush(false) {
                self.fence(&error.into());
            }
        }
        Ok(())
    }

    /// Appends the first `bytes` of the buffer and flushes them.
    fn append(&mut self, bytes: usize) -> Result<(), Refused> {
        let active = self.tail.active.as_mut().expect("records are staged for an active segment only");
        let batch_end = active.end + bytes as u64;
        active.dirty_end = batch_end;
        self.tail.next_batch = BatchNo(self.tail.next_batch.0 + 1);
        let written = active.file.write_at(active.end, self.buffer.bytes(bytes));
        if written.as_ref().is_err_and(is_full) {
            return Err(Refused::NoSpace);
        }
        match written.and_then(|()| active.file.sync()) {
            Ok(()) => {
                active.end = batch_end;
                Ok(())
            }
            Err(error) => {
                self.fence(&error.into());
                Err(Refused::Fenced)
            }
        }
    }

    fn position(&self) -> Option<Position> {
        let active = self.tail.active.as_ref()?;
        let place = Place { segment: active.segment, offset: active.end };
        Some(Position { place, batch: BatchNo(self.tail.next_batch.0.saturating_sub(1)) })
    }

    fn answer(&self, waiter: Waiter, done: &Result<(), Refused>) {
        // Who asked may have gone away; what was written stays.
        match waiter {
            Waiter::Put(answer) => drop(answer.send(match done {
                Ok(()) => Ok(()),
                Err(Refused::NoSpace) => Err(PutError::NoSpace),
                Err(Refused::Fenced) => Err(self.put_fenced()),
            })),
            Waiter::Delete(answer) => drop(answer.send(match done {
                Ok(()) => Ok(()),
                Err(Refused::NoSpace) => Err(DeleteError::NoSpace),
                Err(Refused::Fenced) => Err(self.delete_fenced()),
            })),
        }
    }

    fn is_fenced(&self) -> bool {
        self.fence.is_set()
    }

    fn fence(&self, error: &StoreError) {
        self.fence.set(error);
    }

    fn put_fenced(&self) -> PutError {
        PutError::Fenced { disk: self.settings.disk }
    }

    fn delete_fenced(&self) -> DeleteError {
        DeleteError::Fenced { disk: self.settings.disk }
    }
}

/// A flush or a cut that says "no space" has failed like any other: what it was to make durable may be lost.
fn not_full(error: io::Error) -> io::Error {
    if is_full(&error) { io::Error::other(error) } else { error }
}

fn same(here: &Located, put: &PutJob) -> bool {
    here.root == put.root && here.len as usize == put.data.len()
}
