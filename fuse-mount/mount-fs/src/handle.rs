//! Handles: what the kernel holds between open and release.

use crate::FsError;
use crate::inode::Inode;
use crate::prefetch::Readahead;
use mistakes::{Mistake, is_planted};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Handles of one kind that may be open at once; far above what a process may open, so only a leak meets it.
const HANDLES_MAX: usize = 1 << 20;

/// Handles by number. Numbers are not used again.
#[derive(Debug)]
pub(crate) struct Handles<T> {
    open: Mutex<HashMap<u64, Arc<T>>>,
    next: AtomicU64,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Handles { open: Mutex::default(), next: AtomicU64::new(1) }
    }
}

impl<T> Handles<T> {
    pub(crate) fn insert(&self, handle: T) -> Result<u64, FsError> {
        let mut open = self.open.lock();
        if open.len() >= HANDLES_MAX {
            return Err(FsError::TooManyHandles);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        open.insert(number, Arc::new(handle));
        Ok(number)
    }

    pub(crate) fn get(&self, number: u64) -> Result<Arc<T>, FsError> {
        self.open.lock().get(&number).cloned().ok_or(FsError::BadHandle)
    }

    pub(crate) fn remove(&self, number: u64) -> Result<Arc<T>, FsError> {
        self.open.lock().remove(&number).ok_or(FsError::BadHandle)
    }

    pub(crate) fn len(&self) -> usize {
        self.open.lock().len()
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct FileHandle {
    pub(crate) inode: Arc<Inode>,
    pub(crate) writable: bool,
    pub(crate) readahead: Mutex<Readahead>,
    /// Number of the newest failure this handle has reported, or that happened before it was opened.
    seen_error: AtomicU64,
}

impl FileHandle {
    pub(crate) fn new(inode: Arc<Inode>, writable: bool) -> Self {
        let seen = inode.state.lock().error.as_ref().map_or(0, |(number, _)| *number);
        FileHandle { inode, writable, readahead: Mutex::default(), seen_error: AtomicU64::new(seen) }
    }

    /// Fails once for each loss of data since the last call.
    pub(crate) fn report_error(&self) -> Result<(), FsError> {
        let error = self.inode.state.lock().error.clone();
        let Some((number, error)) = error.filter(|_| !is_planted(Mistake::WriteBackErrorSwallowed)) else {
            return Ok(());
        };
        if self.seen_error.fetch_max(number, Ordering::Relaxed) < number { Err(error) } else { Ok(()) }
    }

    /// Whether there is nothing to report.
    pub(crate) fn report_none(&self) -> bool {
        let number = self.inode.state.lock().error.as_ref().map_or(0, |(number, _)| *number);
        self.seen_error.load(Ordering::Relaxed) >= number
    }
}
