//! Where every chunk of a disk lies: RocksDB, derived from the segments.
//!
//! ```text
//! key                        value
//! 'c' chunk id, 16 bytes     state: 1 = live, 2 = tombstone, 3 = quarantined
//!                            live and quarantined: segment 8, offset 8, length 4, root 32 (numbers little endian)
//! 'm' "position"             disk id 16, segment 8, offset 8, batch 8, chunks 8, bytes 8
//! ```
//!
//! There is no WAL. Every batch of changes carries the position in the segments up to which it is complete, in the same
//! write; RocksDB flushes whole writes in order, so whatever state comes back after a crash says itself where the scan
//! of the segments has to go on. A flush only shortens that scan. If the database does not open, it is made anew from all segments.

use crate::error::IndexError;
use crate::record::{BatchNo, Place, SegmentNo};
use parking_lot::Mutex;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, FlushOptions, IteratorMode, LogLevel, Options,
    WriteBatch, WriteOptions,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use types::{Blake3Root, ChunkId, DiskId};

/// Memory for changes that are not yet in a file; there are at most three of these per disk.
const WRITE_BUFFER_BYTES: usize = 8 << 20;
/// Files that RocksDB keeps open per disk.
const OPEN_FILES_MAX: i32 = 100;
/// Marks an index that gave wrong answers; it is made anew at the next start.
const DISTRUST: &str = "index.distrust";

const POSITION_KEY: &[u8] = b"mposition";
const LOCATED_BYTES: usize = 53;
const POSITION_BYTES: usize = 56;

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
    /// It was deleted, for good.
    Tombstone,
    /// It was here; what lies there now is damaged. The same chunk may be put again.
    Quarantined(Located),
}

/// Up to where the segments are in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// All records before this place are.
    pub(crate) place: Place,
    /// The highest batch among them.
    pub(crate) batch: BatchNo,
}

/// What the disk holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Live chunks.
    pub(crate) chunks: u64,
    /// Bytes of them.
    pub(crate) bytes: u64,
}

impl Totals {
    fn add(&mut self, entry: Option<&Entry>) {
        if let Some(Entry::Live(located)) = entry {
            self.chunks += 1;
            self.bytes += u64::from(located.len);
        }
    }

    fn remove(&mut self, entry: Option<&Entry>) {
        if let Some(Entry::Live(located)) = entry {
            self.chunks = self.chunks.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(u64::from(located.len));
        }
    }
}

/// The index of a disk. Reads from any thread; changes from the disk's writer only.
pub(crate) struct Index {
    db: DB,
    disk: DiskId,
    totals: Mutex<Totals>,
    distrust: PathBuf,
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
        let state = match db.get(POSITION_KEY)? {
            Some(bytes) => Some(decode_position(&bytes, disk).ok_or(IndexError::Malformed)?),
            None if db.iterator(IteratorMode::Start).next().is_some() => return Err(IndexError::Malformed),
            None => None,
        };
        let totals = Mutex::new(state.map(|(_, totals)| totals).unwrap_or_default());
        Ok((Index { db, disk, totals, distrust: distrust.to_owned() }, state.map(|(position, _)| position)))
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
    /// A tombstone stays whatever is said later; quarantine takes the replica at its place only, not another one.
    pub(crate) fn apply(&self, changes: &[(ChunkId, Entry)], position: Position) -> Result<(), IndexError> {
        let mut batch = WriteBatch::default();
        let mut totals = *self.totals.lock();
        let mut changed: BTreeMap<ChunkId, Entry> = BTreeMap::new();
        for (chunk, entry) in changes {
            let former = match changed.get(chunk) {
                Some(entry) => Some(*entry),
                None => self.get(*chunk)?,
            };
            if takes_effect(former.as_ref(), entry) {
                totals.remove(former.as_ref());
                totals.add(Some(entry));
                batch.put(key(*chunk), encode(entry));
                changed.insert(*chunk, *entry);
            }
        }
        batch.put(POSITION_KEY, encode_position(position, self.disk, totals));
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        self.db.write_opt(batch, &unlogged)?;
        *self.totals.lock() = totals;
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
        *self.totals.lock()
    }

    /// Up to `max` live chunks with higher ids than `after`, ascending.
    pub(crate) fn list(&self, after: Option<ChunkId>, max: usize) -> Result<Vec<(ChunkId, Located)>, IndexError> {
        let start = key(after.unwrap_or(ChunkId(0)));
        let mut found = Vec::new();
        for row in self.db.iterator(IteratorMode::From(&start, Direction::Forward)) {
            let (row_key, value) = row?;
            let Some(chunk) = chunk_of(&row_key) else { break };
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
            let Some(chunk) = chunk_of(&row_key).filter(|chunk| *chunk <= last) else { break };
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

    /// Takes live chunks out without a trace; they may be put again. A crash may bring them back, and so does a new index.
    pub(crate) fn forget(&self, chunks: &[ChunkId]) -> Result<(), IndexError> {
        let mut batch = WriteBatch::default();
        let mut totals = *self.totals.lock();
        let mut seen = std::collections::BTreeSet::new();
        for chunk in chunks {
            let entry = self.get(*chunk)?;
            if matches!(entry, Some(Entry::Live(_))) && seen.insert(*chunk) {
                totals.remove(entry.as_ref());
                batch.delete(key(*chunk));
            }
        }
        // The position stays; the totals that stand beside it must not.
        if let Some(bytes) = self.db.get(POSITION_KEY)? {
            let (position, _) = decode_position(&bytes, self.disk).ok_or(IndexError::Malformed)?;
            batch.put(POSITION_KEY, encode_position(position, self.disk, totals));
        }
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        self.db.write_opt(batch, &unlogged)?;
        *self.totals.lock() = totals;
        Ok(())
    }

    /// Copies the state to a folder, as a crash right now could leave it at best.
    #[cfg(test)]
    pub(crate) fn snapshot(&self, to: &Path) -> Result<(), IndexError> {
        Ok(rocksdb::checkpoint::Checkpoint::new(&self.db)?.create_checkpoint(to)?)
    }

    /// Leaves a mark, so that the next start does not believe this index.
    fn distrust(&self, error: IndexError) -> IndexError {
        if let Err(mark) = std::fs::write(&self.distrust, b"") {
            tracing::error!(path = %self.distrust.display(), error = %mark, "the damaged index could not be marked");
        }
        error
    }
}

fn takes_effect(former: Option<&Entry>, entry: &Entry) -> bool {
    match (former, entry) {
        (Some(Entry::Tombstone), _) => false,
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

fn chunk_of(key: &[u8]) -> Option<ChunkId> {
    let id = key.strip_prefix(b"c")?;
    Some(ChunkId::from_bytes(id.try_into().ok()?))
}

fn encode(entry: &Entry) -> Vec<u8> {
    let (state, located) = match entry {
        Entry::Live(located) => (1, located),
        Entry::Tombstone => return vec![2],
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
    if bytes == [2] {
        return Some(Entry::Tombstone);
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
    out.extend_from_slice(&disk.0);
    for field in [position.place.segment.0, position.place.offset, position.batch.0, totals.chunks, totals.bytes] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out
}

fn decode_position(bytes: &[u8], disk: DiskId) -> Option<(Position, Totals)> {
    let bytes: &[u8; POSITION_BYTES] = bytes.try_into().ok()?;
    let position = Position {
        place: Place { segment: SegmentNo(number(bytes, 16)), offset: number(bytes, 24) },
        batch: BatchNo(number(bytes, 32)),
    };
    let totals = Totals { chunks: number(bytes, 40), bytes: number(bytes, 48) };
    (bytes[..16] == disk.0).then_some((position, totals))
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[cfg(test)]
#[path = "index/tests.rs"]
mod tests;
