//! Directories in pages.
//!
//! A handle holds one page and where every page so far began, so that a reader that goes on, goes back or starts over finds its place
//! by the server's own cursor: names made or removed meanwhile neither hide others nor show them twice.
//!
//! Offsets count entries: 1 is behind `.`, 2 is behind `..`, 3 behind the first name.

use crate::fs::check_name;
use crate::{FsError, MountFs};
use bytes::Bytes;
use proto::meta::{Answer, DirEntry, Query};
use proto::object::{Attr, FileKind};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use types::Ino;

/// Names of a page: as many as the server gives.
const PAGE_ENTRIES: u32 = 1024;
/// Names of a page for a reader that needs fresh attributes with them while this mount changes files: it will use only some.
const FRESH_PAGE_ENTRIES: u32 = 128;

/// Offset behind `.` and `..`.
const FIRST_OFFSET: u64 = 2;

/// An open directory.
#[derive(Debug)]
pub(crate) struct DirHandle {
    ino: Ino,
    position: tokio::sync::Mutex<Position>,
}

#[derive(Debug, Default)]
struct Position {
    /// First offset and cursor of each page that was read, in order.
    starts: Vec<(u64, Bytes)>,
    page: Option<Page>,
}

#[derive(Debug)]
struct Page {
    /// Offset of the first entry.
    first: u64,
    entries: Arc<Vec<DirEntry>>,
    /// Cursor behind the last entry the server gave; `None` at the end of the directory.
    next: Option<Bytes>,
    fetched: Instant,
    /// The mount's count of changes when the page was asked for.
    mutations: u64,
}

/// A name with what it leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct DirItem {
    /// The name.
    pub name: Bytes,
    /// Go on behind this entry by asking for this offset.
    pub offset: u64,
    /// As the server gave it; show it through [`MountFs::present`].
    pub attr: Attr,
}

/// Some names of a directory, in order.
#[derive(Clone, Debug)]
pub struct DirPage {
    entries: Arc<Vec<DirEntry>>,
    from: usize,
    first: u64,
    ttl: Duration,
}

impl DirPage {
    /// How long the attributes may be kept from now on.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The names; none at the end of the directory.
    pub fn items(&self) -> impl Iterator<Item = DirItem> + '_ {
        self.entries.iter().enumerate().skip(self.from).map(|(i, entry)| DirItem {
            name: entry.name.clone(),
            offset: self.first + i as u64 + 1,
            attr: entry.attr.clone(),
        })
    }
}

impl MountFs {
    /// Opens a directory.
    ///
    /// # Errors
    /// [`FsError::TooManyHandles`].
    pub fn opendir(&self, ino: Ino) -> Result<u64, FsError> {
        self.dirs.insert(DirHandle { ino, position: Default::default() })
    }

    /// Forgets a handle.
    ///
    /// # Errors
    /// [`FsError::BadHandle`].
    pub fn releasedir(&self, handle: u64) -> Result<(), FsError> {
        self.dirs.remove(handle).map(drop)
    }

    /// The directory of a handle.
    ///
    /// # Errors
    /// [`FsError::BadHandle`].
    pub fn dir_ino(&self, handle: u64) -> Result<Ino, FsError> {
        self.dirs.get(handle).map(|dir| dir.ino)
    }

    /// The names behind `offset`, which is 2 or the offset of an item. With `fresh_attrs` the attributes are no older than the
    /// configured time and than this mount's own last change.
    ///
    /// # Errors
    /// [`FsError::BadHandle`], [`FsError::Stale`] when the directory is gone.
    pub async fn readdir(&self, handle: u64, offset: u64, fresh_attrs: bool) -> Result<DirPage, FsError> {
        let dir = self.dirs.get(handle)?;
        let mut position = dir.position.lock().await;
        let offset = offset.max(FIRST_OFFSET);
        if offset == FIRST_OFFSET {
            *position = Position::default();
        }
        let mut asked_now = false;
        loop {
            if let Some(page) = &position.page
                && let Some(from) = page.index_of(offset)
            {
                if from < page.entries.len() && fresh_attrs && !asked_now && !self.is_fresh(page) {
                    let (start, cursor) = (offset, page.cursor_before(from, &position.starts));
                    self.read_page(&dir, &mut position, start, cursor, FRESH_PAGE_ENTRIES).await?;
                    asked_now = true;
                    continue;
                }
                let at_end = page.next.is_none();
                if from < page.entries.len() || at_end {
                    let ttl = self.config.ttl().saturating_sub(page.fetched.elapsed());
                    return Ok(DirPage { entries: page.entries.clone(), from, first: page.first, ttl });
                }
                let (start, cursor) = (offset, page.next.clone().unwrap_or_default());
                self.read_page(&dir, &mut position, start, cursor, PAGE_ENTRIES).await?;
                asked_now = true;
                continue;
            }
            // Not on this page: go back to the page that held the offset, or begin.
            let known = position.starts.iter().rev().find(|(first, _)| *first <= offset).cloned();
            let (start, cursor) = known.unwrap_or((FIRST_OFFSET, Bytes::new()));
            self.read_page(&dir, &mut position, start, cursor, PAGE_ENTRIES).await?;
            asked_now = true;
            if position.page.as_ref().is_some_and(|page| page.index_of(offset).is_none()) {
                // The directory has shrunk below the offset: there is nothing behind it.
                return Ok(DirPage { entries: Arc::default(), from: 0, first: offset, ttl: Duration::ZERO });
            }
        }
    }

    fn is_fresh(&self, page: &Page) -> bool {
        page.mutations == self.mutations() && page.fetched.elapsed() <= self.config.ttl()
    }

    async fn read_page(
        &self,
        dir: &DirHandle,
        position: &mut Position,
        first: u64,
        cursor: Bytes,
        max: u32,
    ) -> Result<(), FsError> {
        position.starts.retain(|(start, _)| *start < first);
        position.starts.push((first, cursor.clone()));
        let mutations = self.mutations();
        let fetched = Instant::now();
        let query = Query::ReadDir { ino: dir.ino, after: cursor, max };
        let entries = match self.query(dir.ino.group(), query).await? {
            Answer::Entries(entries) => entries,
            other => return Err(crate::call::unexpected(&other)),
        };
        let next = entries.last().map(|last| last.cursor.clone());
        let entries = Arc::new(self.shown(dir.ino, entries).await?);
        position.page = Some(Page { first, entries, next, fetched, mutations });
        Ok(())
    }

    /// Leaves out what POSIX cannot express. This is the one place that hides names; docs/MOUNT.md tells users which.
    ///
    /// Hidden are names that no program could pass (empty, `.`, `..`, over 255 bytes, with a zero byte) and a file beside a directory
    /// of the same name, which a look-up could not reach. In the server's order the directory `a` stands as `a/`: behind `a`, with
    /// only such names between as begin with `a` and a byte below `/`. So whether a file at the end of the page is hidden
    /// is asked of the server only if the last name of the page begins with the file's.
    async fn shown(&self, dir: Ino, mut entries: Vec<DirEntry>) -> Result<Vec<DirEntry>, FsError> {
        let Some(last) = entries.last().map(|entry| entry.name.clone()) else { return Ok(entries) };
        let is_dir = |entry: &DirEntry| entry.attr.kind == FileKind::Directory;
        let mut shadowed: HashSet<Bytes> = entries.iter().filter(|e| is_dir(e)).map(|e| e.name.clone()).collect();
        let open_ended = |name: &Bytes| last.starts_with(name) && last.get(name.len()).is_none_or(|next| *next < b'/');
        for entry in entries.iter().filter(|entry| !is_dir(entry) && open_ended(&entry.name)) {
            if check_name(&entry.name).is_ok() && self.is_directory(dir, &entry.name).await? {
                shadowed.insert(entry.name.clone());
            }
        }
        entries.retain(|entry| check_name(&entry.name).is_ok() && (is_dir(entry) || !shadowed.contains(&entry.name)));
        Ok(entries)
    }

    async fn is_directory(&self, parent: Ino, name: &Bytes) -> Result<bool, FsError> {
        match self.query_lookup(parent, name.clone()).await {
            Ok(attr) => Ok(attr.kind == FileKind::Directory),
            Err(FsError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Page {
    /// Where on the page the entry behind `offset` stands; its length if it is the first of the next page.
    fn index_of(&self, offset: u64) -> Option<usize> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        (index <= self.entries.len()).then_some(index)
    }

    /// The cursor that leads to entry `index`.
    fn cursor_before(&self, index: usize, starts: &[(u64, Bytes)]) -> Bytes {
        match index.checked_sub(1) {
            Some(before) => self.entries[before].cursor.clone(),
            None => starts.last().map(|(_, cursor)| cursor.clone()).unwrap_or_default(),
        }
    }
}
