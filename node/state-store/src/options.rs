//! How RocksDB is set up for state, and the memory that all groups of a node share.

use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, Options, ReadOptions, WriteBufferManager,
};

/// A page of a listing reads a few blocks, a lookup one. Smaller ones compress worse and need a larger index.
const BLOCK_BYTES: usize = 16 << 10;

/// 10 bits a key let one lookup in a hundred read a block in vain.
const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// One memtable of one group: an eighth of the shared budget within these bounds. RocksDB takes no less than the lower
/// one; a larger one than the upper would make a crash replay, and a checkpoint write out, more than it is worth.
const MEMTABLE_BYTES_MIN: usize = 64 << 10;
const MEMTABLE_BYTES_MAX: usize = 8 << 20;
const MEMTABLES_MAX: i32 = 3;

/// Files one group keeps open: 256 files of 64 MiB are 16 GiB of metadata. With hundreds of groups this bounds the node.
const OPEN_FILES_MAX: i32 = 256;

/// Half of the last 1,024 keys being tombstones gets a file compacted: a scan through a purged trash would
/// otherwise step over all of them each time.
const TOMBSTONE_WINDOW: usize = 1024;
const TOMBSTONE_TRIGGER: usize = 512;

/// A memtable or a compaction is handed to the disk in pieces of this size, so that the Raft log's flush does not wait
/// behind all of it.
const BYTES_PER_SYNC: u64 = 1 << 20;

/// RocksDB's own text log: this many files of this size are kept.
const INFO_LOG_FILES: usize = 3;
const INFO_LOG_BYTES: usize = 1 << 20;

/// Disk space taken ahead for RocksDB's list of files, per group.
const MANIFEST_AHEAD_BYTES: usize = 64 << 10;

/// Memory that the stores of all groups of a node share. Clones are the same memory.
#[derive(Clone)]
pub struct SharedCache {
    cache: Cache,
    memtables: WriteBufferManager,
    memtable_bytes: usize,
}

impl SharedCache {
    /// `bytes` bound blocks, indexes, filters and memtables of all stores together; memtables may take half of it. 64 MiB
    /// and more let a memtable have its full size; any smaller budget works and is slower.
    #[must_use]
    pub fn new(bytes: usize) -> SharedCache {
        let memtable_bytes = (bytes / 8).clamp(MEMTABLE_BYTES_MIN, MEMTABLE_BYTES_MAX);
        let budget = (bytes / 2).max(memtable_bytes);
        let cache = Cache::new_lru_cache(bytes.max(2 * budget));
        // A full budget writes memtables out; it never stalls the writers, which hold up consensus.
        let memtables = WriteBufferManager::new_write_buffer_manager_with_cache(budget, false, cache.clone());
        SharedCache { cache, memtables, memtable_bytes }
    }

    /// The settings of one store.
    ///
    /// Recovery stops at the first record that does not match: what follows comes back from the Raft log.
    pub(crate) fn options(&self) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(BLOCK_BYTES);
        table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.create_if_missing(true);
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_recycle_log_file_num(0);
        options.set_paranoid_checks(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(self.memtable_bytes);
        options.set_max_write_buffer_number(MEMTABLES_MAX);
        options.set_write_buffer_manager(&self.memtables);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_max_file_opening_threads(1);
        options.set_max_background_jobs(2);
        options.set_bytes_per_sync(BYTES_PER_SYNC);
        options.set_manifest_preallocation_size(MANIFEST_AHEAD_BYTES);
        options.set_keep_log_file_num(INFO_LOG_FILES);
        options.set_max_log_file_size(INFO_LOG_BYTES);
        options.set_log_level(LogLevel::Warn);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.add_compact_on_deletion_collector_factory(TOMBSTONE_WINDOW, TOMBSTONE_TRIGGER, 0.0);
        options
    }
}

/// The settings of a store that is only read, by one reader: with the default cache, and the recovery of a store that is used.
pub(crate) fn read_only_options() -> Options {
    let mut options = Options::default();
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_paranoid_checks(true);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_file_opening_threads(1);
    options
}

/// How a range of rows is read.
pub(crate) fn range_options(from: Vec<u8>, to: Vec<u8>) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_range(from..to);
    options
}
