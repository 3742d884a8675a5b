//! What keeps a disk that failed from taking anything more.

use crate::error::{IndexError, StoreError};
use crate::files::is_full;
use crate::observer::Observer;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use types::DiskId;

/// Set once, by the first error, and for as long as the disk is open. Shared by all who use it.
pub(crate) struct Fence {
    number: usize,
    disk: DiskId,
    observer: Arc<dyn Observer>,
    set: AtomicBool,
    lacked_room: AtomicBool,
}

impl Fence {
    pub(crate) fn new(number: usize, disk: DiskId, observer: Arc<dyn Observer>) -> Self {
        Fence { number, disk, observer, set: AtomicBool::new(false), lacked_room: AtomicBool::new(false) }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Whether all that was wrong is that the file system had no room.
    pub(crate) fn lacked_room(&self) -> bool {
        self.is_set() && self.lacked_room.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, error: &StoreError) {
        if !self.set.swap(true, Ordering::AcqRel) {
            self.lacked_room.store(is_want_of_room(error), Ordering::Release);
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            tracing::error!(disk = %self.disk, %error, source, "the disk failed and is fenced");
            self.observer.fenced(self.number);
        }
    }
}

fn is_want_of_room(error: &StoreError) -> bool {
    match error {
        // A flush that found no room is wrapped, because it is no refusal.
        StoreError::Io(error) => is_full(error) || wrapped(error).is_some_and(is_full),
        StoreError::Index(IndexError::Db(error)) => index_lacks_room(error),
        StoreError::Index(IndexError::Malformed) | StoreError::Closed => false,
    }
}

fn wrapped(error: &io::Error) -> Option<&io::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Whether the index database found no room. It says so in words only.
pub(crate) fn index_lacks_room(error: &rocksdb::Error) -> bool {
    error.kind() == rocksdb::ErrorKind::IOError && error.as_ref().contains("No space left on device")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::NoObserver;

    #[test]
    fn only_want_of_room_can_pass() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        for (error, passes) in [
            (full(), true),
            (io::Error::other(full()), true),
            (io::ErrorKind::QuotaExceeded.into(), true),
            (io::Error::from_raw_os_error(5), false),
            (io::Error::other("no space"), false),
        ] {
            let fence = Fence::new(0, DiskId::default(), Arc::new(NoObserver));
            assert!(!fence.is_set() && !fence.lacked_room());
            fence.set(&error.into());
            assert!(fence.is_set());
            assert_eq!(fence.lacked_room(), passes);
            fence.set(&full().into());
            assert_eq!(fence.lacked_room(), passes, "the first error counts");
        }
    }
}
