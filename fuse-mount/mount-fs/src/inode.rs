//! Open inodes: what all handles of a file share.

use crate::FsError;
use crate::chunk_buffers::ChunkBuffers;
use crate::content::ContentCache;
use crate::write_buffer::WriteBuffer;
use parking_lot::Mutex;
use proto::object::Attr;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::Instant;
use types::{Ino, Timestamp};

/// An inode with at least one open handle here.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) ino: Ino,
    /// Never held across an await.
    pub(crate) state: Mutex<InodeState>,
    /// Held by whoever sends changes of content: a commit of the write buffer or a change of size.
    pub(crate) commit: tokio::sync::Mutex<()>,
    /// Notified when buffered bytes have left memory and when a commit has ended.
    pub(crate) progress: Notify,
}

#[derive(Debug)]
pub(crate) struct InodeState {
    /// The newest attributes known from the server.
    pub(crate) attr: Attr,
    /// When they were learnt.
    pub(crate) attr_at: Instant,
    /// What the server does not have yet.
    pub(crate) buffer: WriteBuffer,
    /// Dirty bytes and bytes of pieces on their way: what this inode takes of the budgets.
    pub(crate) buffered: usize,
    /// Wall time of the last write into the buffer.
    pub(crate) written_at: Timestamp,
    /// When the buffer stopped being empty.
    pub(crate) dirty_since: Option<Instant>,
    /// A commit was asked for because of the number of runs, and has not begun.
    pub(crate) commit_asked: bool,
    /// What is known of the extents.
    pub(crate) content: ContentCache,
    /// The newest failure to store data, and its number; handles report each once.
    pub(crate) error: Option<(u64, FsError)>,
}

impl Inode {
    fn new(attr: Attr, buffers: Arc<ChunkBuffers>) -> Self {
        let state = InodeState {
            attr_at: Instant::now(),
            buffer: WriteBuffer::new(buffers),
            buffered: 0,
            written_at: Timestamp::default(),
            dirty_since: None,
            commit_asked: false,
            content: ContentCache::default(),
            error: None,
            attr,
        };
        Inode { ino: state.attr.ino, state: Mutex::new(state), commit: Default::default(), progress: Notify::new() }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.state.lock().buffer.is_empty()
    }
}

impl InodeState {
    /// Takes in attributes that the server gave; older ones than known are ignored.
    pub(crate) fn observe(&mut self, attr: &Attr) {
        if attr.change < self.attr.change {
            return;
        }
        if attr.change > self.attr.change {
            self.content.forget();
        }
        self.attr = attr.clone();
        self.attr_at = Instant::now();
    }

    /// The attributes as programs on this machine must see them: the server's, with what is buffered here.
    pub(crate) fn merged(&self) -> Attr {
        let mut attr = self.attr.clone();
        if self.buffer.is_empty() {
            return attr;
        }
        attr.size = attr.size.max(self.buffered_end());
        attr.mtime = attr.mtime.max(self.written_at);
        attr.ctime = attr.ctime.max(self.written_at);
        attr
    }

    /// Where the buffered data ends in the file, as far as that is known before it is applied.
    pub(crate) fn buffered_end(&self) -> u64 {
        if self.buffer.is_append() { self.attr.size + self.buffer.append_len() } else { self.buffer.end() }
    }

    /// Records that data was lost.
    pub(crate) fn fail(&mut self, error: FsError) {
        let number = self.error.as_ref().map_or(1, |(number, _)| number + 1);
        self.error = Some((number, error));
    }
}

/// All open inodes, with the number of handles of each.
#[derive(Debug, Default)]
pub(crate) struct InodeTable {
    open: Mutex<HashMap<Ino, (Arc<Inode>, usize)>>,
}

impl InodeTable {
    /// The inode of `attr` for one more handle.
    pub(crate) fn open(&self, attr: Attr, buffers: &Arc<ChunkBuffers>) -> Arc<Inode> {
        let mut open = self.open.lock();
        let new = || (Arc::new(Inode::new(attr.clone(), buffers.clone())), 0);
        let (inode, handles) = open.entry(attr.ino).or_insert_with(new);
        *handles += 1;
        inode.state.lock().observe(&attr);
        inode.clone()
    }

    /// One handle less.
    pub(crate) fn close(&self, ino: Ino) {
        let mut open = self.open.lock();
        if let Some((_, handles)) = open.get_mut(&ino) {
            *handles -= 1;
            if *handles == 0 {
                open.remove(&ino);
            }
        }
    }

    /// The inode, if it is open.
    pub(crate) fn get(&self, ino: Ino) -> Option<Arc<Inode>> {
        self.open.lock().get(&ino).map(|(inode, _)| inode.clone())
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Inode>> {
        self.open.lock().values().map(|(inode, _)| inode.clone()).collect()
    }
}

/// Entries kept in [`PageVersions`]; beyond, all are forgotten, which only costs the kernel its pages at the next open.
const PAGE_VERSIONS_MAX: usize = 1 << 16;

/// Which version of each file the pages in the kernel's cache belong to.
///
/// An open that finds the same change counter lets the kernel keep them. A change made here goes into the pages as well, so it
/// moves the version on, if nobody else's change lies between.
#[derive(Debug, Default)]
pub(crate) struct PageVersions {
    versions: Mutex<HashMap<Ino, u64>>,
}

impl PageVersions {
    /// Notes an open at `change`; true if the kernel's pages are of that version.
    pub(crate) fn opened(&self, ino: Ino, change: u64) -> bool {
        let mut versions = self.versions.lock();
        if versions.len() >= PAGE_VERSIONS_MAX {
            versions.clear();
        }
        versions.insert(ino, change) == Some(change)
    }

    /// Whether a version is known.
    pub(crate) fn knows(&self, ino: Ino) -> bool {
        self.versions.lock().contains_key(&ino)
    }

    /// Notes that a command of ours took the inode to `change`.
    pub(crate) fn own_change(&self, ino: Ino, change: u64) {
        if let Some(version) = self.versions.lock().get_mut(&ino)
            && change == *version + 1
        {
            *version = change;
        }
    }

    /// The pages cannot be trusted, or are gone.
    pub(crate) fn forget(&self, ino: Ino) {
        self.versions.lock().remove(&ino);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_kept_over_own_changes_and_dropped_after_anothers() {
        let pages = PageVersions::default();
        let ino = Ino(9);
        assert!(!pages.opened(ino, 1));
        pages.own_change(ino, 2);
        assert!(pages.opened(ino, 2));
        pages.own_change(ino, 4);
        assert!(!pages.opened(ino, 4), "change 3 was somebody else's");
        pages.forget(ino);
        assert!(!pages.opened(ino, 4));
    }
}
