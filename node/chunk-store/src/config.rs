//! Settings of the store.

use crate::error::OpenError;
use crate::record::{BLOCK_BYTES, RECORD_BYTES_MAX};
use crate::segment::RECORDS_AT;
use std::path::PathBuf;
use types::{DiskId, NodeId};

/// Settings; validated by `ChunkStore::open`.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The node the disks belong to.
    pub node: NodeId,
    /// The data directories, in the order that the placement map numbers them. 1..=256.
    pub disks: Vec<PathBuf>,
    /// Whether a directory that is empty or missing is made into a disk. Off once a cluster runs: an unmounted disk must not look
    /// like a new one. Default on.
    pub create: bool,
    /// The ids of the disks as the placement map has them, in the order of `disks`: a new directory gets its own, a directory with
    /// another is refused. Empty (the default): new directories get random ids, and all are taken.
    pub disk_ids: Vec<DiskId>,
    /// Numbers of directories whose disks were taken out for good: they are not opened, and count as fenced. Not all of them.
    pub gone: Vec<usize>,
    /// Size of a segment, bytes; a multiple of 4096, at least 8 MiB. Default 1 GiB.
    pub segment_bytes: u64,
    /// Append with direct I/O where the file system takes it. Default on: 12 times the puts at 16 writers, a sixth of the CPU
    /// (`docs/formats/segments.md`).
    pub direct_io: bool,
    /// Bytes of chunks that may wait for a disk's writer; beyond, `Busy`. Per disk, at least one chunk. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// Bytes appended with one flush. At least one record. Default 8 MiB.
    pub batch_bytes_max: usize,
    /// Bytes of the file system that chunks do not take, so that deletes, the index and the Raft log go on when it is full.
    /// Default 1 GiB.
    pub reserve_bytes: u64,
    /// The index is flushed after this many appended bytes: the most a start after a crash has to scan. Default 256 MiB.
    pub checkpoint_bytes: u64,
    /// Memory for blocks of the index, shared by all disks. Default 32 MiB.
    pub index_cache_bytes: usize,
    /// Reads at once; more wait. Default 64.
    pub reads_max: usize,
}

impl StoreConfig {
    /// The defaults for a node and its directories.
    #[must_use]
    pub fn new(node: NodeId, disks: Vec<PathBuf>) -> Self {
        StoreConfig {
            node,
            disks,
            create: true,
            disk_ids: Vec::new(),
            gone: Vec::new(),
            segment_bytes: 1 << 30,
            direct_io: true,
            queue_bytes_max: 64 << 20,
            batch_bytes_max: 8 << 20,
            reserve_bytes: 1 << 30,
            checkpoint_bytes: 256 << 20,
            index_cache_bytes: 32 << 20,
            reads_max: 64,
        }
    }

    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// [`OpenError::Config`] names the field.
    pub fn validate(&self) -> Result<(), OpenError> {
        let rules = [
            (self.node.0 > 0, "node must not be 0"),
            ((1..=256).contains(&self.disks.len()), "disks must name 1 to 256 directories"),
            (
                self.disk_ids.is_empty() || self.disk_ids.len() == self.disks.len(),
                "disk_ids must name as many disks as there are directories, or none",
            ),
            (
                (0..self.disks.len()).any(|number| !self.gone.contains(&number))
                    && self.gone.iter().all(|number| *number < self.disks.len()),
                "gone must be numbers of directories, and not all of them",
            ),
            (self.segment_bytes >= 8 << 20, "segment_bytes must be at least 8 MiB"),
            (self.segment_bytes <= 1 << 40, "segment_bytes must be at most 1 TiB"),
            (self.segment_bytes.is_multiple_of(BLOCK_BYTES), "segment_bytes must be a multiple of 4096"),
            (self.queue_bytes_max >= types::CHUNK_BYTES_MAX, "queue_bytes_max must hold one chunk of 4 MiB"),
            (
                self.batch_bytes_max as u64 >= RECORD_BYTES_MAX,
                "batch_bytes_max must hold one record, a little over 4 MiB",
            ),
            (self.batch_bytes_max <= 1 << 28, "batch_bytes_max must be at most 256 MiB"),
            (self.checkpoint_bytes >= 1 << 20, "checkpoint_bytes must be at least 1 MiB"),
            (self.reads_max > 0, "reads_max must not be 0"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(OpenError::Config { rule }),
            None => Ok(()),
        }
    }
}

const _: () = assert!(RECORDS_AT + RECORD_BYTES_MAX <= 8 << 20);
