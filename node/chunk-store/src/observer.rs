//! What an embedding service may want to count. Called from the store's threads; must be quick and must not block.

use std::time::Duration;

/// One flush of a disk.
#[derive(Clone, Copy, Debug)]
pub struct BatchWritten {
    /// Which of the node's disks.
    pub disk: usize,
    /// Records that shared the flush.
    pub records: usize,
    /// Bytes appended, padding included.
    pub bytes: u64,
    /// Time of write and flush.
    pub time: Duration,
}

/// Hears of what the store does.
pub trait Observer: Send + Sync + 'static {
    /// Records were made durable.
    fn batch_written(&self, _batch: BatchWritten) {}
    /// A damaged replica was found.
    fn corrupt(&self, _disk: usize) {}
    /// A replica was read wrongly once, and is right.
    fn misread(&self, _disk: usize) {}
    /// A disk failed and takes no more requests.
    fn fenced(&self, _disk: usize) {}
}

/// Counts nothing.
pub struct NoObserver;

impl Observer for NoObserver {}
