//! Where every chunk of a disk lies: RocksDB, derived from the segments.
//!
//! ```text
//! key                        value
//! 'c' chunk id, 16 bytes     state: 1 = live, 2 = tombstone, 3 = quarantined
//!                            live and quarantined: segment 8, offset 8, length 4, root 32 (numbers little endian)
//!                            tombstone: the segment where its record lies, 8
//! 'm' "position"             version 1 (= 2), disk id 16, segment 8, offset 8, batch 8, chunks 8, bytes 8, quarantined 8
//! 'q' chunk id, 16 bytes     nothing: the chunk is quarantined
//! 's' segment 8, big endian  what of a segment is in use: bytes of live records 8, of quarantined ones 8, tombstones 8
//! ```
//!
//! The 's' rows change in the same write as the rows they count, so they are right after any crash; compaction goes by them.
//!
//! There is no WAL. Every batch of changes carries the position in the segments up to which it is complete, in the same
//! write; RocksDB flushes whole writes in order, so whatever state comes back after a crash says itself where the scan
//! of the segments has to go on. A flush only shortens that scan. If the database does not open, it is made anew from all segments.

mod sums;

pub(crate) use sums::{Totals, Use};

use crate::error::IndexError;
use crate::fence::index_lacks_room;
use crate::record::{BatchNo, Place, SegmentNo};
use parking_lot::Mutex;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, FlushOptions, IteratorMode, LogLevel, Options,
    WriteBatch, WriteOptions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use sums::{Counting, Sums};
use types::{Blake3Root, ChunkId, DiskId};

/// Memory for changes that are not yet in a file; there are at most three of these per disk.
const WRITE_BUFFER_BYTES: usize = 8 << 20;
/// Files that RocksDB keeps open per disk.
const OPEN_FILES_MAX: i32 = 100;
/// Blocks kept while an index is only looked at.
const READ_ONLY_CACHE_BYTES: usize = 32 << 20;
/// Rows that one call looks at while it searches for those of a segment.
const LOOKED_AT_MAX: usize = 100_000;
/// Marks an index that gave wrong answers; it is made anew at the next start.
pub(crate) const DISTRUST: &str = "index.distrust";

const POSITION_KEY: &[u8] = b"mposition";
/// The version of all rows, kept beside the position; an index of another is made anew. History: 1 = first light (without this
/// byte), 2 = places of tombstones, use of segments, list of the quarantined.
const INDEX_VERSION: u8 = 2;
const LOCATED_BYTES: usize = 53;
const TOMBSTONE_BYTES: usize = 9;
const POSITION_BYTES: usize = 65;
const USE_BYTES: usize = 24;

/// Where a replica lies and what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) place: Place,
    pub(crate) len: u32,
    pub(crate) root: Blake3Root,
}

/// What is known of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is here.
    Live(Located),
    /// It was deleted, for good; the record that says so lies in this segment.
    Tombstone(SegmentNo),
    /// It was here; what lies there now is damaged. The same chunk may be put again.
    Quarantined(Located),
}

/// Chunks whose record lies in a segment, and behind which chunk to go on.
type InSegment = (Vec<(ChunkId, Entry)>, Option<ChunkId>);

/// Up to where the segments are in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// All records before this place are.
    pub(crate) place: Place,
    /// The highest batch among them.
    pub(crate) batch: BatchNo,
}

/// The index of a disk. Reads from any thread; changes from the disk's writer only.
pub(crate) struct Index {
    db: DB,
    disk: DiskId,
    sums: Mutex<Sums>,
    /// Where a mark is left if it gives wrong answers; `None` where nothing may be changed.
    distrust: Option<PathBuf>,
}

/// What the rows of an index come to when they are all counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recount {
    pub(crate) totals: Totals,
    pub(crate) uses: BTreeMap<SegmentNo, Use>,
    /// Rows of the list of the quarantined.
    pub(crate) listed: u64,
    /// Rows that cannot be read.
    pub(crate) malformed: u64,
}

impl Index {
    /// Opens the index in a data directory, or begins an empty one if there is none, it is damaged, or it is another disk's.
    /// The second value says whether there was one.
    pub(crate) fn open(directory: &Path, disk: DiskId, cache: &Cache) -> Result<(Index, Option<Position>), IndexError> {
        let path = directory.join("index");
        let distrust = directory.join(DISTRUST);
        if distrust.exists() {
            tracing::warn!(path = %path.display(), "the chunk index gave wrong answers and is made anew from the segments");
            clear(&path, &distrust)?;
        }
        match Index::try_open(&path, &distrust, disk, cache) {
            Ok(opened) => Ok(opened),
            // Nothing is wrong with it; to make it anew would need more room.
            Err(IndexError::Db(error)) if index_lacks_room(&error) => Err(error.into()),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the chunk index does not open and is made anew from the segments");
                clear(&path, &distrust)?;
                Index::try_open(&path, &distrust, disk, cache)
            }
        }
    }

    fn try_open(
        path: &Path,
        distrust: &Path,
        disk: DiskId,
        cache: &Cache,
    ) -> Result<(Index, Option<Position>), IndexError> {
        let db = DB::open(&options(cache), path)?;
        let sums = match db.get(POSITION_KEY)? {
            Some(bytes) => {
                let (position, totals) = decode_position(&bytes, disk).ok_or(IndexError::Malformed)?;
                Sums { position: Some(position), totals, uses: read_uses(&db)? }
            }
            None if db.iterator(IteratorMode::Start).next().is_some() => return Err(IndexError::Malformed),
            None => Sums::default(),
        };
        let position = sums.position;
        Ok((Index { db, disk, sums: Mutex::new(sums), distrust: Some(distrust.to_owned()) }, position))
    }

    /// Opens the index in a data directory so that nothing there changes; `None` if there is none, or none that is believed.
    pub(crate) fn open_read_only(directory: &Path, disk: DiskId) -> Result<Option<(Index, Position)>, IndexError> {
        let path = directory.join("index");
        if directory.join(DISTRUST).exists() || !path.join("CURRENT").exists() {
            return Ok(None);
        }
        let cache = Cache::new_lru_cache(READ_ONLY_CACHE_BYTES);
        let db = DB::open_for_read_only(&options(&cache), &path, false)?;
        let Some(bytes) = db.get(POSITION_KEY)? else { return Ok(None) };
        let (position, totals) = decode_position(&bytes, disk).ok_or(IndexError::Malformed)?;
        let sums = Sums { position: Some(position), totals, uses: read_uses(&db)? };
        Ok(Some((Index { db, disk, sums: Mutex::new(sums), distrust: None }, position)))
    }

    /// Counts all rows, and shows those of chunks in the order of ids.
    pub(crate) fn recount(&self, mut visit: impl FnMut(ChunkId, &Entry)) -> Result<Recount, IndexError> {
        let none = Sums::default();
        let mut counting = Counting { sums: &none, totals: Totals::default(), touched: BTreeMap::new() };
        let (mut listed, mut malformed) = (0, 0);
        for row in self.db.iterator(IteratorMode::Start) {
            let (row_key, value) = row?;
            if let Some(chunk) = id_after(b"c", &row_key) {
                match decode(&value) {
                    Some(entry) => {
                        counting.add(&entry);
                        visit(chunk, &entry);
                    }
                    None => malformed += 1,
                }
            } else if id_after(b"q", &row_key).is_some() {
                listed += 1;
            } else if *row_key != *POSITION_KEY && row_key.first() != Some(&b's') {
                malformed += 1;
            }
        }
        let Counting { totals, touched, .. } = counting;
        Ok(Recount { totals, uses: touched, listed, malformed })
    }

    /// The sums that are kept beside the rows, in the form of a recount.
    pub(crate) fn counted(&self) -> Recount {
        let sums = self.sums.lock();
        Recount { totals: sums.totals, uses: sums.uses.clone(), listed: sums.totals.quarantined, malformed: 0 }
    }

    /// What is known of a chunk.
    pub(crate) fn get(&self, chunk: ChunkId) -> Result<Option<Entry>, IndexError> {
        match self.db.get_pinned(key(chunk)).map_err(IndexError::from).map_err(|error| self.distrust(error))? {
            None => Ok(None),
            Some(bytes) => decode(&bytes).map(Some).ok_or_else(|| self.distrust(IndexError::Malformed)),
        }
    }

    /// Adds what is durable in the segments up to `position`.
    ///
    /// A tombstone stays whatever is said later, though its record may move; quarantine takes the replica at its place only, not
    /// another one.
    pub(crate) fn apply(&self, changes: &[(ChunkId, Entry)], position: Position) -> Result<(), IndexError> {
        let mut sums = self.sums.lock();
        let mut counting = Counting { sums: &sums, totals: sums.totals, touched: BTreeMap::new() };
        let mut batch = WriteBatch::default();
        let mut changed: BTreeMap<ChunkId, Entry> = BTreeMap::new();
        for (chunk, entry) in changes {
            let former = match changed.get(chunk) {
                Some(entry) => Some(*entry),
                None => self.get(*chunk)?,
            };
            if !takes_effect(former.as_ref(), entry) {
                continue;
            }
            if let Some(former) = &former {
                counting.remove(former);
            }
            counting.add(entry);
            batch.put(key(*chunk), encode(entry));
            match (former, entry) {
                (_, Entry::Quarantined(_)) => batch.put(quarantine_key(*chunk), []),
                (Some(Entry::Quarantined(_)), _) => batch.delete(quarantine_key(*chunk)),
                _ => {}
            }
            changed.insert(*chunk, *entry);
        }
        let Counting { totals, touched, .. } = counting;
        self.write(batch, &mut sums, totals, touched, position)
    }

    /// Takes live chunks out without a trace; they may be put again. A crash may bring them back, and so does a new index.
    pub(crate) fn release(&self, chunks: &[ChunkId], position: Position) -> Result<(), IndexError> {
        self.take_out(chunks, position, |entry| matches!(entry, Entry::Live(_)))
    }

    /// Drops tombstones whose records lie in `segment`, which is about to be removed. The caller knows that nothing can bring these
    /// chunks back.
    pub(crate) fn forget(&self, chunks: &[ChunkId], segment: SegmentNo, position: Position) -> Result<(), IndexError> {
        self.take_out(chunks, position, |entry| *entry == Entry::Tombstone(segment))
    }

    /// Deletes the rows of those of `chunks` that hold what is `wanted`.
    fn take_out(
        &self,
        chunks: &[ChunkId],
        position: Position,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<(), IndexError> {
        let mut sums = self.sums.lock();
        let mut counting = Counting { sums: &sums, totals: sums.totals, touched: BTreeMap::new() };
        let mut batch = WriteBatch::default();
        for chunk in chunks.iter().collect::<BTreeSet<_>>() {
            if let Some(entry) = self.get(*chunk)?.filter(&wanted) {
                counting.remove(&entry);
                batch.delete(key(*chunk));
            }
        }
        let Counting { totals, touched, .. } = counting;
        self.write(batch, &mut sums, totals, touched, position)
    }

    fn write(
        &self,
        mut batch: WriteBatch,
        sums: &mut Sums,
        totals: Totals,
        touched: BTreeMap<SegmentNo, Use>,
        position: Position,
    ) -> Result<(), IndexError> {
        for (segment, in_use) in &touched {
            match in_use.is_none() {
                true => batch.delete(use_key(*segment)),
                false => batch.put(use_key(*segment), encode_use(in_use)),
            }
        }
        batch.put(POSITION_KEY, encode_position(position, self.disk, totals));
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        self.db.write_opt(batch, &unlogged)?;
        sums.uses.extend(touched);
        sums.uses.retain(|_, in_use| !in_use.is_none());
        sums.totals = totals;
        sums.position = Some(position);
        Ok(())
    }

    /// Writes all changes to files; with `wait` they are there when it returns.
    pub(crate) fn flush(&self, wait: bool) -> Result<(), IndexError> {
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        Ok(self.db.flush_opt(&options)?)
    }

    /// What the disk holds.
    pub(crate) fn totals(&self) -> Totals {
        self.sums.lock().totals
    }

    /// Up to where the segments are in the index.
    pub(crate) fn position(&self) -> Option<Position> {
        self.sums.lock().position
    }

    /// What of a segment is in use.
    pub(crate) fn use_of(&self, segment: SegmentNo) -> Use {
        self.sums.lock().uses.get(&segment).copied().unwrap_or_default()
    }

    /// Up to `max` quarantined chunks with higher ids than `after`, ascending.
    pub(crate) fn quarantined(
        &self,
        after: Option<ChunkId>,
        max: usize,
    ) -> Result<Vec<(ChunkId, Located)>, IndexError> {
        let start = quarantine_key(after.unwrap_or(ChunkId(0)));
        let mut found = Vec::new();
        for row in self.db.iterator(IteratorMode::From(&start, Direction::Forward)) {
            let (row_key, _) = row?;
            let Some(chunk) = id_after(b"q", &row_key) else { break };
            if found.len() == max {
                break;
            }
            if Some(chunk) != after
                && let Some(Entry::Quarantined(located)) = self.get(chunk)?
            {
                found.push((chunk, located));
            }
        }
        Ok(found)
    }

    /// Up to `max` chunks behind `after` whose only record lies in a segment, live ones and tombstones, and where to go on; `None` at
    /// the end. Looks at no more than a bounded number of rows.
    pub(crate) fn in_segment(
        &self,
        segment: SegmentNo,
        after: Option<ChunkId>,
        max: usize,
    ) -> Result<InSegment, IndexError> {
        let start = key(after.unwrap_or(ChunkId(0)));
        let mut found = Vec::new();
        let mut last = None;
        for (looked_at, row) in self.db.iterator(IteratorMode::From(&start, Direction::Forward)).enumerate() {
            let (row_key, value) = row?;
            let Some(chunk) = id_after(b"c", &row_key) else { return Ok((found, None)) };
            if Some(chunk) == after {
                continue;
            }
            if found.len() == max || looked_at > LOOKED_AT_MAX {
                return Ok((found, last));
            }
            last = Some(chunk);
            let entry = decode(&value).ok_or(IndexError::Malformed)?;
            let here = match entry {
                Entry::Live(located) => located.place.segment == segment,
                Entry::Tombstone(at) => at == segment,
                Entry::Quarantined(_) => false,
            };
            if here {
                found.push((chunk, entry));
            }
        }
        Ok((found, None))
    }

    /// Up to `max` live chunks with higher ids than `after`, ascending.
    pub(crate) fn list(&self, after: Option<ChunkId>, max: usize) -> Result<Vec<(ChunkId, Located)>, IndexError> {
        let start = key(after.unwrap_or(ChunkId(0)));
        let mut found = Vec::new();
        for row in self.db.iterator(IteratorMode::From(&start, Direction::Forward)) {
            let (row_key, value) = row?;
            let Some(chunk) = id_after(b"c", &row_key) else { break };
            if Some(chunk) == after {
                continue;
            }
            if found.len() == max {
                break;
            }
            if let Entry::Live(located) = decode(&value).ok_or(IndexError::Malformed)? {
                found.push((chunk, located));
            }
        }
        Ok(found)
    }

    /// Up to `max` rows with ids above `after`, from `first` to `last`, ascending: live chunks and tombstones, without what is quarantined.
    pub(crate) fn range(
        &self,
        first: ChunkId,
        last: ChunkId,
        after: Option<ChunkId>,
        max: usize,
    ) -> Result<Vec<(ChunkId, Entry)>, IndexError> {
        let start = key(after.map_or(first, |after| after.max(first)));
        let mut found = Vec::new();
        for row in self.db.iterator(IteratorMode::From(&start, Direction::Forward)) {
            let (row_key, value) = row?;
            let Some(chunk) = id_after(b"c", &row_key).filter(|chunk| *chunk <= last) else { break };
            if Some(chunk) == after {
                continue;
            }
            if found.len() == max {
                break;
            }
            match decode(&value).ok_or(IndexError::Malformed)? {
                Entry::Quarantined(_) => {}
                entry => found.push((chunk, entry)),
            }
        }
        Ok(found)
    }

    /// Whether the sums are those of the rows.
    #[cfg(test)]
    pub(crate) fn sums_hold(&self) -> bool {
        self.recount(|_, _| {}).expect("rows") == self.counted()
    }

    /// Copies the state to a folder, as a crash right now could leave it at best.
    #[cfg(test)]
    pub(crate) fn snapshot(&self, to: &Path) -> Result<(), IndexError> {
        Ok(rocksdb::checkpoint::Checkpoint::new(&self.db)?.create_checkpoint(to)?)
    }

    /// Leaves a mark, so that the next start does not believe this index.
    fn distrust(&self, error: IndexError) -> IndexError {
        if let Some(distrust) = &self.distrust
            && let Err(mark) = std::fs::write(distrust, b"")
        {
            tracing::error!(path = %distrust.display(), error = %mark, "the damaged index could not be marked");
        }
        error
    }
}

fn takes_effect(former: Option<&Entry>, entry: &Entry) -> bool {
    match (former, entry) {
        (Some(Entry::Tombstone(_)), entry) => matches!(entry, Entry::Tombstone(_)),
        (Some(Entry::Live(here)), Entry::Quarantined(bad)) => here.place == bad.place,
        _ => true,
    }
}

fn clear(path: &Path, distrust: &Path) -> Result<(), IndexError> {
    for removed in [std::fs::remove_dir_all(path), std::fs::remove_file(distrust)] {
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "the old index could not be removed");
            return Err(IndexError::Malformed);
        }
    }
    Ok(())
}

fn options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(3);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(2);
    options.set_paranoid_checks(true);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options
}

fn key(chunk: ChunkId) -> [u8; 17] {
    let mut key = [b'c'; 17];
    key[1..].copy_from_slice(&chunk.to_bytes());
    key
}

fn quarantine_key(chunk: ChunkId) -> [u8; 17] {
    let mut key = [b'q'; 17];
    key[1..].copy_from_slice(&chunk.to_bytes());
    key
}

fn use_key(segment: SegmentNo) -> [u8; 9] {
    let mut key = [b's'; 9];
    key[1..].copy_from_slice(&segment.0.to_be_bytes());
    key
}

fn id_after(kind: &[u8; 1], key: &[u8]) -> Option<ChunkId> {
    let id = key.strip_prefix(kind)?;
    Some(ChunkId::from_bytes(id.try_into().ok()?))
}

fn read_uses(db: &DB) -> Result<BTreeMap<SegmentNo, Use>, IndexError> {
    let mut uses = BTreeMap::new();
    for row in db.iterator(IteratorMode::From(b"s", Direction::Forward)) {
        let (row_key, value) = row?;
        let Some(number) = row_key.strip_prefix(b"s") else { break };
        let number = number.try_into().map_err(|_| IndexError::Malformed)?;
        let value: &[u8; USE_BYTES] = (*value).try_into().map_err(|_| IndexError::Malformed)?;
        let [live, quarantined, tombstones] =
            [0, 8, 16].map(|at| u64::from_le_bytes(std::array::from_fn(|i| value[at + i])));
        uses.insert(SegmentNo(u64::from_be_bytes(number)), Use { live, quarantined, tombstones });
    }
    Ok(uses)
}

fn encode_use(in_use: &Use) -> Vec<u8> {
    [in_use.live, in_use.quarantined, in_use.tombstones].iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn encode(entry: &Entry) -> Vec<u8> {
    let (state, located) = match entry {
        Entry::Live(located) => (1, located),
        Entry::Tombstone(segment) => {
            let mut out = vec![2];
            out.extend_from_slice(&segment.0.to_le_bytes());
            return out;
        }
        Entry::Quarantined(located) => (3, located),
    };
    let mut out = Vec::with_capacity(LOCATED_BYTES);
    out.push(state);
    out.extend_from_slice(&located.place.segment.0.to_le_bytes());
    out.extend_from_slice(&located.place.offset.to_le_bytes());
    out.extend_from_slice(&located.len.to_le_bytes());
    out.extend_from_slice(&located.root.0);
    out
}

fn decode(bytes: &[u8]) -> Option<Entry> {
    if bytes.len() == TOMBSTONE_BYTES && bytes[0] == 2 {
        return Some(Entry::Tombstone(SegmentNo(number(bytes, 1))));
    }
    let bytes: &[u8; LOCATED_BYTES] = bytes.try_into().ok()?;
    let located = Located {
        place: Place { segment: SegmentNo(number(bytes, 1)), offset: number(bytes, 9) },
        len: u32::from_le_bytes(std::array::from_fn(|i| bytes[17 + i])),
        root: Blake3Root(std::array::from_fn(|i| bytes[21 + i])),
    };
    match bytes[0] {
        1 => Some(Entry::Live(located)),
        3 => Some(Entry::Quarantined(located)),
        _ => None,
    }
}

fn encode_position(position: Position, disk: DiskId, totals: Totals) -> Vec<u8> {
    let mut out = Vec::with_capacity(POSITION_BYTES);
    out.push(INDEX_VERSION);
    out.extend_from_slice(&disk.0);
    let Totals { chunks, bytes, quarantined } = totals;
    for field in [position.place.segment.0, position.place.offset, position.batch.0, chunks, bytes, quarantined] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out
}

fn decode_position(bytes: &[u8], disk: DiskId) -> Option<(Position, Totals)> {
    let bytes: &[u8; POSITION_BYTES] = bytes.try_into().ok()?;
    let position = Position {
        place: Place { segment: SegmentNo(number(bytes, 17)), offset: number(bytes, 25) },
        batch: BatchNo(number(bytes, 33)),
    };
    let totals = Totals { chunks: number(bytes, 41), bytes: number(bytes, 49), quarantined: number(bytes, 57) };
    (bytes[0] == INDEX_VERSION && bytes[1..17] == disk.0).then_some((position, totals))
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[cfg(test)]
#[path = "index/tests.rs"]
mod tests;
