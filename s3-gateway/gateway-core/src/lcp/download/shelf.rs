//! Packages at hand: their central directories, read once and shared, and where their bytes lie.
//!
//! ```text
//! (key, hash) -> directory: for good, up to so many bytes of all; the least lately used goes first
//! key         -> inode, first page of its extents: for a second
//! ```
//! A directory is read by one and waited for by others. It is checked against the layout before anybody gets it.

use super::super::LcpError;
use crate::cache::Cache;
use crate::download::{Content, Pace};
use crate::error::{ClusterError, ObjectError};
use crate::object::validate_key;
use crate::store::Store;
use bytes::Bytes;
use drm::package::Kind;
use drm::splice::{self, Layout};
use futures::StreamExt as _;
use parking_lot::Mutex;
use proto::object::{ContentView, FileKind};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};
use types::{FILE_BYTES_MAX, Ino};

/// What a directory counts for beside its bytes, so that many small ones are bounded as well.
const ENTRY_BYTES: usize = 512;
/// Directories read at a time. Most have some kilobytes, and the largest some megabytes.
const READING_MAX: usize = 8;
/// How a directory is read: like a download whose client reads fast.
const DIRECTORY_PACE: Pace = Pace { first: 512 << 10, piece: 512 << 10, ahead: 2 };

/// A package that can be read: its object was there a second ago, and has the size that it should have.
pub(super) struct Shelved {
    place: Arc<ObjectPlace>,
    /// The central directory.
    pub(super) directory: Bytes,
}

/// Where an object's bytes lie.
struct ObjectPlace {
    ino: Ino,
    view: ContentView,
}

impl Shelved {
    /// Reads some of its bytes.
    pub(super) async fn read(&self, store: &Store, range: Range<u64>, pace: Pace) -> Result<Content, LcpError> {
        Ok(self.place.read(store, range, pace).await?)
    }
}

impl ObjectPlace {
    async fn read(&self, store: &Store, range: Range<u64>, pace: Pace) -> Result<Content, ObjectError> {
        if self.view.next.is_some_and(|next| next <= range.start) {
            let page = store.content_page(self.ino, &self.view, &range).await?;
            return store.download_at(self.ino, &page, range, pace).await;
        }
        store.download_at(self.ino, &self.view, range, pace).await
    }
}

type Name = (String, [u8; 32]);
type Cell = Arc<OnceCell<Bytes>>;

/// Packages at hand.
pub(in super::super) struct Shelf {
    directories: Mutex<Directories>,
    places: Arc<Cache<String, Arc<ObjectPlace>>>,
    reading: Semaphore,
}

impl Shelf {
    pub(super) fn new(directory_bytes_max: usize, fresh: Duration, places_max: usize) -> Self {
        let directories = Mutex::new(Directories { bytes_max: directory_bytes_max, ..Directories::default() });
        Shelf { directories, places: Cache::new(fresh, fresh, places_max), reading: Semaphore::new(READING_MAX) }
    }

    /// A package whose directory is not wanted: it is sent as it is.
    pub(super) async fn whole(&self, store: &Store, key: &str, layout: &Layout) -> Result<Shelved, LcpError> {
        Ok(Shelved { place: self.place(store, key, layout).await?, directory: Bytes::new() })
    }

    /// A package with its directory.
    pub(super) async fn take(
        &self,
        store: &Store,
        key: &str,
        layout: &Layout,
        kind: Kind,
    ) -> Result<Shelved, LcpError> {
        let place = self.place(store, key, layout).await?;
        let name = (key.to_owned(), layout.sha256);
        let cell = self.directories.lock().cell(&name);
        if let Some(directory) = cell.get() {
            return Ok(Shelved { place, directory: directory.clone() });
        }
        let read = || async {
            let _turn = self.reading.acquire().await.map_err(|_| ClusterError::Unavailable)?;
            read_directory(store, &place, layout, kind).await
        };
        let directory = cell.get_or_try_init(read).await.cloned();
        self.directories.lock().came(&name, &cell);
        Ok(Shelved { directory: directory?, place })
    }

    async fn place(&self, store: &Store, key: &str, layout: &Layout) -> Result<Arc<ObjectPlace>, LcpError> {
        let (asking, asked) = (store.clone(), key.to_owned());
        let found = self.places.get(&key.to_owned(), || async move { find(&asking, &asked).await }).await?;
        let place = found.ok_or_else(|| LcpError::Damaged(format!("the package {key} is gone")))?;
        if place.view.size != layout.len {
            // What was put in its place is not what was prepared.
            return Err(LcpError::Damaged(format!("the package {key} has not its {} bytes", layout.len)));
        }
        Ok(place)
    }
}

/// Where a package lies, as its group knows it now.
async fn find(store: &Store, key: &str) -> Result<Option<Arc<ObjectPlace>>, ClusterError> {
    let cluster = |error: ObjectError| match error {
        ObjectError::Bucket(crate::error::BucketError::Cluster(error)) => error,
        other => ClusterError::Unexpected(other.to_string()),
    };
    let Some(bucket) = store.system_bucket().await.map_err(|error| cluster(error.into()))? else { return Ok(None) };
    let key = validate_key(key).map_err(cluster)?;
    match store.object(&bucket, key, Some((0, FILE_BYTES_MAX))).await {
        Ok((object, view)) if object.attr.kind == FileKind::File => {
            let view = ContentView { size: object.attr.size, ..view.unwrap_or_default() };
            Ok(Some(Arc::new(ObjectPlace { ino: object.attr.ino, view })))
        }
        Ok(_) | Err(ObjectError::NoSuchKey) => Ok(None),
        Err(error) => Err(cluster(error)),
    }
}

async fn read_directory(store: &Store, place: &ObjectPlace, layout: &Layout, kind: Kind) -> Result<Bytes, LcpError> {
    let range = layout.cd_offset..layout.cd_offset.saturating_add(layout.cd_size);
    if range.end > layout.len {
        return Err(LcpError::Damaged("a layout that contradicts itself".to_owned()));
    }
    // A buffer of its own: a piece, or a slice of it, would hold more than the directory.
    let mut directory = Vec::with_capacity(layout.cd_size as usize);
    match place.read(store, range, DIRECTORY_PACE).await? {
        Content::Whole(data) => directory.extend_from_slice(&data),
        Content::Stream(mut pieces) => {
            while let Some(piece) = pieces.next().await {
                directory.extend_from_slice(&piece?);
            }
        }
    }
    splice::check(layout, &directory, kind.licence_path())?;
    Ok(directory.into())
}

/// Directories, read or being read.
#[derive(Default)]
struct Directories {
    cells: HashMap<Name, Kept>,
    /// Those that count, the least lately used first.
    order: BTreeMap<u64, Name>,
    bytes: usize,
    bytes_max: usize,
    tick: u64,
}

struct Kept {
    cell: Cell,
    /// Its place in the order, and what it counts for; none while it is being read.
    counted: Option<(u64, usize)>,
}

impl Directories {
    /// The cell of a directory, used just now.
    fn cell(&mut self, name: &Name) -> Cell {
        self.tick += 1;
        let kept = self.cells.entry(name.clone()).or_insert_with(|| Kept { cell: Cell::default(), counted: None });
        if let Some((place, _)) = &mut kept.counted {
            self.order.remove(place);
            *place = self.tick;
            self.order.insert(self.tick, name.clone());
        }
        kept.cell.clone()
    }

    /// Counts a directory that was read, and lets others go for it. One that could not be read, or that nobody has room for, is forgotten.
    fn came(&mut self, name: &Name, cell: &Cell) {
        let Some(kept) = self.cells.get_mut(name).filter(|kept| Arc::ptr_eq(&kept.cell, cell)) else { return };
        if kept.counted.is_some() {
            return;
        }
        let Some(directory) = cell.get() else {
            // Whoever waits for the same cell still reads; with this handle and the map's there are two.
            if Arc::strong_count(cell) <= 2 {
                self.cells.remove(name);
            }
            return;
        };
        let bytes = directory.len() + ENTRY_BYTES;
        if bytes > self.bytes_max {
            self.cells.remove(name);
            return;
        }
        self.tick += 1;
        kept.counted = Some((self.tick, bytes));
        self.order.insert(self.tick, name.clone());
        self.bytes += bytes;
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            let gone = self.cells.remove(&oldest).and_then(|kept| kept.counted);
            self.bytes -= gone.map_or(0, |(_, bytes)| bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: u8) -> Name {
        (id.to_string(), [id; 32])
    }

    fn put(directories: &mut Directories, id: u8, bytes: usize) {
        let cell = directories.cell(&name(id));
        cell.set(Bytes::from(vec![0; bytes])).expect("a new one");
        directories.came(&name(id), &cell);
    }

    fn held(directories: &Directories) -> Vec<u8> {
        let mut held: Vec<u8> = directories.cells.keys().map(|(_, hash)| hash[0]).collect();
        held.sort_unstable();
        held
    }

    #[test]
    fn the_least_lately_used_goes_first_and_what_is_too_large_is_not_kept() {
        let mut directories = Directories { bytes_max: 3 * (ENTRY_BYTES + 100), ..Directories::default() };
        (1..=3).for_each(|id| put(&mut directories, id, 100));
        assert!(directories.cell(&name(1)).get().is_some());
        put(&mut directories, 4, 100);
        assert_eq!(held(&directories), [1, 3, 4]);
        put(&mut directories, 5, 10_000);
        assert_eq!(held(&directories), [1, 3, 4], "the large one lets nobody go");
        put(&mut directories, 6, 2 * 100 + ENTRY_BYTES);
        assert_eq!(held(&directories), [4, 6]);
        assert_eq!(directories.bytes, 3 * 100 + 3 * ENTRY_BYTES);
        assert_eq!(directories.order.len(), 2);
    }

    #[test]
    fn what_could_not_be_read_is_forgotten_unless_another_still_reads() {
        let mut directories = Directories { bytes_max: 10_000, ..Directories::default() };
        let (first, second) = (directories.cell(&name(1)), directories.cell(&name(1)));
        directories.came(&name(1), &first);
        drop(first);
        assert_eq!(held(&directories), [1]);
        directories.came(&name(1), &second);
        assert!(held(&directories).is_empty());
        assert_eq!(directories.bytes, 0);
    }
}
