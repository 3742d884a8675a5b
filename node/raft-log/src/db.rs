//! The settings of the log's RocksDB, and the fence round it.

use crate::error::Cause;
use mistakes::{Mistake, is_planted};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, LogLevel, Options, ReadOptions, WriteOptions,
};
use std::path::Path;
use std::sync::OnceLock;

/// How much memory the log takes. The defaults suit a node with a few dozen groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Bytes of one memtable; RocksDB takes at least 64 KiB. Entries are usually truncated before two of 16 MiB are
    /// full, so most never reach a deeper level.
    pub memtable_bytes: usize,
    /// Memtables at most, at least 2: one is filled while the others are written out. A disk that does not follow
    /// stalls the log here.
    pub memtables_max: i32,
    /// Bytes kept of the older part of the log. `raft-core` keeps the newest entries itself, so this only helps a
    /// follower that lags far behind.
    pub block_cache_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { memtable_bytes: 16 << 20, memtables_max: 4, block_cache_bytes: 8 << 20 }
    }
}

/// Files RocksDB keeps open. A log of a few GiB has fewer.
const OPEN_FILES_MAX: i32 = 256;

/// A memtable or a compaction is handed to the disk in pieces of this size, so that the next flush of the log does not
/// wait behind all of it.
const BYTES_PER_SYNC: u64 = 1 << 20;

/// RocksDB's own text log: this many files of this size are kept.
const INFO_LOG_FILES: usize = 4;
const INFO_LOG_BYTES: usize = 1 << 20;

/// Disk space taken ahead for RocksDB's list of files. It grows by a few hundred bytes per memtable written out.
const MANIFEST_AHEAD_BYTES: usize = 64 << 10;

/// Opens the database; with `create` an empty one is made if there is none.
///
/// Recovery forgives a torn record at the end of the write-ahead log, which every power cut may leave, and nothing
/// else. The library's default would also open a log that is damaged in the middle, silently without what follows.
/// Write-ahead logs are not recycled, because an old record in a recycled file can look like a torn tail.
pub(crate) fn open(path: &Path, create: bool, config: &LogConfig) -> Result<DB, rocksdb::Error> {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(config.block_cache_bytes));
    table.set_block_size(16 << 10);
    table.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.create_if_missing(create);
    options.set_wal_recovery_mode(forgives());
    options.set_recycle_log_file_num(0);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(config.memtable_bytes);
    options.set_max_write_buffer_number(config.memtables_max);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_file_opening_threads(1);
    options.set_manifest_preallocation_size(MANIFEST_AHEAD_BYTES);
    options.set_bytes_per_sync(BYTES_PER_SYNC);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(INFO_LOG_FILES);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    DB::open(&options, path)
}

/// What recovery forgives.
fn forgives() -> DBRecoveryMode {
    match is_planted(Mistake::DamagedLogOpened) {
        true => DBRecoveryMode::PointInTime,
        false => DBRecoveryMode::TolerateCorruptedTailRecords,
    }
}

/// Opens the database so that nothing in its folder changes; its write-ahead log is replayed into memory.
pub(crate) fn open_read_only(path: &Path) -> Result<DB, rocksdb::Error> {
    let mut options = Options::default();
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_file_opening_threads(1);
    DB::open_for_read_only(&options, path, false)
}

/// How all rows are read once, from first to last.
pub(crate) fn scan_options() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.fill_cache(false);
    options
}

/// How a batch is written: into the write-ahead log always, through to the disk if `sync`.
pub(crate) fn write_options(sync: bool) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(sync && !is_planted(Mistake::LogNotFlushed));
    options
}

/// How a range of rows is read, without pushing anything out of the cache.
pub(crate) fn range_options(from: &[u8], to: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_range(from.to_vec()..to.to_vec());
    options.set_verify_checksums(true);
    options.fill_cache(false);
    options
}

/// Closed by the first failure, for ever: what a failed write left on the disk is unknown, and a second attempt that
/// seems to succeed proves nothing about the first.
#[derive(Default)]
pub(crate) struct Fence(OnceLock<String>);

impl Fence {
    /// Passes while nothing has failed.
    pub(crate) fn check(&self) -> Result<(), Cause> {
        match self.0.get() {
            None => Ok(()),
            Some(reason) => Err(Cause::Fenced(reason.clone())),
        }
    }

    /// Closes it. The first reason stays.
    pub(crate) fn close(&self, reason: String) {
        let _ = self.0.set(reason);
    }
}
