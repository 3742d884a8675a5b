//! What is known of where a file's bytes lie, for one version of the file.

use crate::inode::Inode;
use crate::{FsError, MountFs};
use bytes::Bytes;
use proto::object::ContentView;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use types::Extent;

/// How much of a file one query asks for: 16 extents of a plainly written file, and one round trip in 64 MiB for a reader.
const WINDOW_BYTES: u64 = 64 << 20;
/// Windows kept for one inode. With [`WINDOW_BYTES`] a random reader of 512 MiB asks once for each.
const WINDOWS_MAX: usize = 8;
/// Extents kept for one inode (72 bytes each), so that a file of tiny extents cannot take the memory of the mount.
const EXTENTS_MAX: usize = 64 << 10;

/// Extents of some windows of a file, all of the same change counter.
#[derive(Debug, Default)]
pub(crate) struct ContentCache {
    /// Counts calls of `forget`: an answer that was asked for before one must not be kept.
    epoch: u64,
    head: Option<Head>,
    windows: VecDeque<Window>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    change: u64,
    size: u64,
    inline: Bytes,
}

#[derive(Debug)]
struct Window {
    range: Range<u64>,
    extents: Arc<[Extent]>,
}

/// Where the bytes of a range lie: zeros, below `inline`, below `extents`, cut at `size`.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) size: u64,
    pub(crate) inline: Bytes,
    /// Clipped to the range, in order.
    pub(crate) extents: Vec<Extent>,
}

impl ContentCache {
    /// The content has changed.
    pub(crate) fn forget(&mut self) {
        self.epoch += 1;
        self.head = None;
        self.windows.clear();
    }

    /// Whether anything is known.
    pub(crate) fn is_known(&self) -> bool {
        self.head.is_some()
    }

    /// The layout of a range, if it is known.
    pub(crate) fn layout(&self, range: Range<u64>) -> Option<Layout> {
        let head = self.head.as_ref()?;
        let mut layout = Layout { size: head.size, inline: head.inline.clone(), extents: Vec::new() };
        let mut at = range.start;
        let end = range.end.min(head.size);
        while at < end {
            let window = self.windows.iter().find(|window| window.range.contains(&at))?;
            layout.extents.extend(clipped(&window.extents, at..end.min(window.range.end)));
            at = window.range.end;
        }
        Some(layout)
    }

    fn keep(&mut self, epoch: u64, view: &ContentView, window: Range<u64>, extents: Arc<[Extent]>) {
        if epoch != self.epoch {
            return;
        }
        let head = Head { change: view.change, size: view.size, inline: view.inline.clone() };
        if self.head.as_ref() != Some(&head) {
            if self.head.as_ref().is_some_and(|known| known.change > head.change) {
                return;
            }
            self.windows.clear();
            self.head = Some(head);
        }
        self.windows.push_back(Window { range: window, extents });
        while self.windows.len() > WINDOWS_MAX
            || self.windows.len() > 1 && self.windows.iter().map(|kept| kept.extents.len()).sum::<usize>() > EXTENTS_MAX
        {
            self.windows.pop_front();
        }
    }
}

/// The parts of `extents` (sorted, without overlap) inside `range`.
fn clipped(extents: &[Extent], range: Range<u64>) -> impl Iterator<Item = Extent> + '_ {
    let first = extents.partition_point(|extent| extent.end() <= range.start);
    extents[first..].iter().map_while(move |extent| extent.clip(range.start, range.end))
}

/// The window a query for `range` asks for: whole windows, so that the next reads find it.
fn window_round(range: &Range<u64>) -> Range<u64> {
    let start = range.start / WINDOW_BYTES * WINDOW_BYTES;
    start..range.end.next_multiple_of(WINDOW_BYTES).max(start + WINDOW_BYTES)
}

impl MountFs {
    /// Where the bytes of `range` lie, from what is known or from the server.
    pub(crate) async fn layout(&self, inode: &Inode, range: Range<u64>) -> Result<Layout, FsError> {
        let epoch = {
            let state = inode.state.lock();
            if let Some(layout) = state.content.layout(range.clone()) {
                return Ok(layout);
            }
            state.content.epoch
        };
        self.fetch_layout(inode, range, epoch).await
    }

    /// Asks the server until the range is covered; almost always one query.
    async fn fetch_layout(&self, inode: &Inode, range: Range<u64>, epoch: u64) -> Result<Layout, FsError> {
        let mut ask = window_round(&range);
        let mut layout: Option<Layout> = None;
        loop {
            let view = self.query_content(inode.ino, ask.start, ask.end - ask.start).await?;
            let covered = ask.start..view.next.filter(|next| *next > ask.start).unwrap_or(ask.end).min(ask.end);
            let extents: Arc<[Extent]> = view.extents.iter().copied().filter(Extent::is_well_formed).collect();
            let found = layout.get_or_insert_with(|| Layout { size: 0, inline: Bytes::new(), extents: Vec::new() });
            found.size = view.size;
            found.inline = view.inline.clone();
            found.extents.extend(clipped(&extents, range.start.max(covered.start)..range.end.min(covered.end)));
            inode.state.lock().content.keep(epoch, &view, covered.clone(), extents);
            if covered.end >= range.end.min(view.size) {
                return Ok(layout.expect("set above"));
            }
            ask.start = covered.end.max(range.start);
        }
    }

    /// Takes in an answer that came with an open, before anybody asked for the layout.
    pub(crate) fn keep_first_window(inode: &Inode, view: &ContentView) {
        let covered = view.next.unwrap_or(WINDOW_BYTES);
        let extents = view.extents.iter().copied().filter(Extent::is_well_formed).collect();
        let mut state = inode.state.lock();
        if view.change == state.attr.change && state.content.head.is_none() {
            let epoch = state.content.epoch;
            state.content.keep(epoch, view, 0..covered, extents);
        }
    }

    /// How much an open asks for in advance.
    pub(crate) const FIRST_WINDOW_BYTES: u64 = WINDOW_BYTES;
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Blake3Root, ChunkId, ChunkRef};

    fn extent(at: u64, len: u32) -> Extent {
        let chunk = ChunkRef { id: ChunkId(u128::from(at)), len, root: Blake3Root([0; 32]) };
        Extent { file_offset: at, chunk, chunk_offset: 0, len }
    }

    fn view(change: u64, size: u64) -> ContentView {
        ContentView { size, change, ..ContentView::default() }
    }

    #[test]
    fn windows_of_one_version_join_and_a_new_version_drops_them() {
        let mut cache = ContentCache::default();
        cache.keep(0, &view(1, 250), 0..100, vec![extent(0, 60), extent(60, 40)].into());
        assert!(cache.layout(50..150).is_none());
        cache.keep(0, &view(1, 250), 100..300, vec![extent(100, 150)].into());
        let layout = cache.layout(50..150).expect("both windows are known");
        assert_eq!(
            layout.extents.iter().map(|e| (e.file_offset, e.len)).collect::<Vec<_>>(),
            [(50, 10), (60, 40), (100, 50)]
        );
        cache.keep(0, &view(2, 250), 0..100, vec![].into());
        assert!(cache.layout(50..150).is_none());
    }

    #[test]
    fn an_answer_asked_for_before_a_change_is_not_kept() {
        let mut cache = ContentCache::default();
        cache.forget();
        cache.keep(0, &view(1, 10), 0..100, vec![].into());
        assert!(cache.layout(0..10).is_none());
        cache.keep(1, &view(2, 10), 0..100, vec![].into());
        assert!(cache.layout(0..10).is_some());
    }

    #[test]
    fn rounding_covers_the_range() {
        assert_eq!(window_round(&(5..10)), 0..WINDOW_BYTES);
        assert_eq!(window_round(&(WINDOW_BYTES - 1..WINDOW_BYTES + 1)), 0..2 * WINDOW_BYTES);
    }
}
