//! How RocksDB is set up for state.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Options, WriteBufferManager};

/// Block size: a page of a listing reads a few, a lookup one.
const BLOCK_BYTES: usize = 16 << 10;
/// Bytes of one memtable.
const MEMTABLE_BYTES: usize = 8 << 20;

/// Block cache and memtable budget shared by all groups of a node.
#[derive(Clone)]
pub struct SharedCache {
    cache: Cache,
    memtables: WriteBufferManager,
}

impl SharedCache {
    /// `bytes` bound the cached blocks; memtables of all groups together may take half as much on top.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        SharedCache {
            cache: Cache::new_lru_cache(bytes),
            memtables: WriteBufferManager::new_write_buffer_manager((bytes / 2).max(MEMTABLE_BYTES), false),
        }
    }

    pub(crate) fn options(&self) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(BLOCK_BYTES);
        table.set_bloom_filter(10.0, false);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_format_version(5);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(MEMTABLE_BYTES);
        options.set_write_buffer_manager(&self.memtables);
        options.set_max_background_jobs(2);
        options.set_max_open_files(256);
        options.set_keep_log_file_num(3);
        options.set_max_total_wal_size(64 << 20);
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_paranoid_checks(true);
        options
    }
}
