//! Snapshots in transfer: a checkpoint of a group's state, pulled file by file by the follower that needs it.
//!
//! The Raft message only says "fetch one". The checkpoint is made when the follower asks, at whatever index is applied by
//! then, and the log is pinned from there on until the follower is done or has been silent for [`IDLE_MAX`].

use crate::event::Event;
use crate::network::Network;
use crate::registry::Registry;
use crate::shared::GroupShared;
use bytes::Bytes;
use parking_lot::Mutex;
use proto::raft_wire::{SnapshotError, SnapshotFile, SnapshotReply, SnapshotRequest};
use raft_core::{LogStart, Members, RaftMessage, StatePoint};
use state_store::StateStore;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use types::{GroupId, LogIndex, NodeId};

/// Snapshots served at once by a node.
const OPEN_MAX: usize = 2;
/// A reader silent for so long is gone.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Bytes asked for at once.
const PIECE_BYTES: u32 = 1 << 20;
/// Files in a checkpoint; RocksDB makes one per 64 MiB or so.
const FILES_MAX: usize = 100_000;

/// The serving side.
pub(crate) struct SnapshotServer {
    dir: PathBuf,
    groups: Arc<Registry>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// Being made; they count against the limit.
    making: usize,
    snapshots: BTreeMap<u64, OpenSnapshot>,
}

struct OpenSnapshot {
    group: GroupId,
    reader: NodeId,
    dir: PathBuf,
    files: Vec<SnapshotFile>,
    used: Instant,
}

impl SnapshotServer {
    /// Serves from `dir`, which is emptied: nothing in it survives a restart.
    pub(crate) fn new(dir: PathBuf, groups: Arc<Registry>) -> io::Result<Self> {
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&dir)?,
        }
        Ok(SnapshotServer { dir, groups, open: Mutex::new(Open::default()) })
    }

    /// Answers one request of a node. Blocks on the disk.
    pub(crate) fn serve(
        &self,
        reader: NodeId,
        request: SnapshotRequest,
    ) -> (Result<SnapshotReply, SnapshotError>, Bytes) {
        match request {
            SnapshotRequest::Open { group, index } => (self.open(reader, group, index), Bytes::new()),
            SnapshotRequest::Read { group, id, file, offset, len } => match self.read(group, id, file, offset, len) {
                Ok(piece) => (Ok(SnapshotReply::Piece), piece),
                Err(error) => (Err(error), Bytes::new()),
            },
            SnapshotRequest::Close { group, id } => {
                self.close(group, id);
                (Ok(SnapshotReply::Closed), Bytes::new())
            }
        }
    }

    /// Forgets the snapshots of readers that have gone silent.
    pub(crate) fn expire(&self) {
        let idle: Vec<_> = {
            let open = self.open.lock();
            let idle = open.snapshots.iter().filter(|(_, snapshot)| snapshot.used.elapsed() > IDLE_MAX);
            idle.map(|(id, snapshot)| (snapshot.group, *id)).collect()
        };
        for (group, id) in idle {
            self.close(group, id);
        }
    }

    /// A node fetches one snapshot of a group at a time. What it had open before is of a process that ended in the middle, and neither its place nor
    /// its hold on the log is to be waited for.
    fn close_former(&self, reader: NodeId, group: GroupId) {
        let former: Vec<u64> = {
            let open = self.open.lock();
            let of_it = |snapshot: &OpenSnapshot| (snapshot.reader, snapshot.group) == (reader, group);
            open.snapshots.iter().filter(|(_, snapshot)| of_it(snapshot)).map(|(id, _)| *id).collect()
        };
        former.into_iter().for_each(|id| self.close(group, id));
    }

    fn open(&self, reader: NodeId, group: GroupId, index: LogIndex) -> Result<SnapshotReply, SnapshotError> {
        let shared = self.groups.get(group).ok_or(SnapshotError::Gone)?;
        if shared.applied().index < index {
            return Err(SnapshotError::Behind);
        }
        self.close_former(reader, group);
        let id = {
            let mut open = self.open.lock();
            if open.snapshots.len() + open.making >= OPEN_MAX {
                return Err(SnapshotError::Busy);
            }
            open.making += 1;
            open.next += 1;
            open.next
        };
        // Pinned before the checkpoint is made: the log must reach back to wherever it turns out to begin.
        shared.pin(id, shared.applied().index);
        let made = self.make(&shared, reader, id);
        let mut open = self.open.lock();
        open.making -= 1;
        match made {
            Ok((snapshot, at)) => {
                let files = snapshot.files.clone();
                open.snapshots.insert(id, snapshot);
                Ok(SnapshotReply::Opened { id, index: at.index, term: at.term, files })
            }
            Err(error) => {
                tracing::warn!(%group, %error, "a checkpoint could not be made");
                shared.unpin(id);
                Err(SnapshotError::Gone)
            }
        }
    }

    fn make(&self, shared: &GroupShared, reader: NodeId, id: u64) -> io::Result<(OpenSnapshot, LogStart)> {
        let dir = self.dir.join(id.to_string());
        let store = shared.readable().ok_or_else(|| io::Error::other("the state is being replaced"))?;
        let point = store.checkpoint(&dir).map_err(io::Error::other)?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|_| io::Error::other("a file name is not text"))?;
            let mut hasher = blake3::Hasher::new();
            let len = io::copy(&mut File::open(entry.path())?, &mut hasher)?;
            files.push(SnapshotFile { name, len, hash: *hasher.finalize().as_bytes() });
        }
        let at = LogStart { index: point.index, term: point.term };
        Ok((OpenSnapshot { group: shared.id, reader, dir, files, used: Instant::now() }, at))
    }

    fn read(&self, group: GroupId, id: u64, file: u32, offset: u64, len: u32) -> Result<Bytes, SnapshotError> {
        let path = {
            let mut open = self.open.lock();
            let snapshot = open.snapshots.get_mut(&id).filter(|snapshot| snapshot.group == group);
            let snapshot = snapshot.ok_or(SnapshotError::Gone)?;
            snapshot.used = Instant::now();
            let file = snapshot.files.get(file as usize).ok_or(SnapshotError::Gone)?;
            snapshot.dir.join(&file.name)
        };
        let mut piece = vec![0; len.min(PIECE_BYTES) as usize];
        let read =
            File::open(path).and_then(|file| file.read_at(&mut piece, offset)).map_err(|_| SnapshotError::Gone)?;
        piece.truncate(read);
        Ok(piece.into())
    }

    fn close(&self, group: GroupId, id: u64) {
        let snapshot = self.open.lock().snapshots.remove(&id);
        if let Some(snapshot) = snapshot {
            let _ = fs::remove_dir_all(snapshot.dir);
        }
        if let Some(shared) = self.groups.get(group) {
            shared.unpin(id);
        }
    }
}

/// The fetching side.
pub(crate) struct Fetcher {
    pub(crate) dir: PathBuf,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) events: SyncSender<Event>,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Fetcher {
    /// Fetches the snapshot that `message` offers and reports it to the raft thread, in the background.
    pub(crate) fn fetch(&self, group: GroupId, message: RaftMessage) {
        let (network, events) = (self.network.clone(), self.events.clone());
        // Of a replica of its own: the fetch for a former one may still be under way.
        let dir = self.dir.join(format!("fetched-{}-{}", group.0, message.to.0));
        self.runtime.spawn(async move {
            let at = message.point.as_ref().map_or(LogIndex(0), |point| point.at.index);
            let fetched = match fetch_files(&*network, group, message.from.node(), at, &dir).await {
                Ok(point) => Some((point, dir)),
                Err(error) => {
                    tracing::warn!(%group, from = %message.from, %error, "a snapshot could not be fetched");
                    None
                }
            };
            let event = Event::SnapshotFetched { group, message: Box::new(message), fetched };
            // The raft thread may be busy; a blocked send must not hold a worker of the runtime.
            let _ = tokio::task::spawn_blocking(move || drop(events.send(event))).await;
        });
    }
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the sender: {0}")]
    Refused(#[from] SnapshotError),
    #[error("the sender answered something else")]
    Confused,
    #[error("a file name, size or hash is wrong")]
    Corrupt,
    #[error("{0}")]
    Io(#[from] io::Error),
}

async fn fetch_files(
    network: &dyn Network,
    group: GroupId,
    from: NodeId,
    at_least: LogIndex,
    dir: &Path,
) -> Result<StatePoint, FetchError> {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir)?;
    let opened = network.snapshot(from, SnapshotRequest::Open { group, index: at_least }).await?;
    let (SnapshotReply::Opened { id, index, term, files }, _) = opened else { return Err(FetchError::Confused) };
    if files.len() > FILES_MAX || index < at_least {
        return Err(FetchError::Corrupt);
    }
    for (number, file) in files.iter().enumerate() {
        fetch_file(network, group, from, id, number as u32, file, dir).await?;
    }
    let _ = network.snapshot(from, SnapshotRequest::Close { group, id }).await;
    let at = LogStart { index, term };
    let folder = dir.to_owned();
    let read = tokio::task::spawn_blocking(move || StateStore::inspect(&folder)).await.map_err(io::Error::other)?;
    let (point, members) = read.map_err(io::Error::other)?;
    // What the files say counts, not what the sender says of them.
    match members.and_then(|members| Members::decode(&members)) {
        Some(members) if (point.index, point.term) == (at.index, at.term) => Ok(StatePoint { at, members }),
        _ => Err(FetchError::Corrupt),
    }
}

async fn fetch_file(
    network: &dyn Network,
    group: GroupId,
    from: NodeId,
    id: u64,
    number: u32,
    file: &SnapshotFile,
    dir: &Path,
) -> Result<(), FetchError> {
    let plain = !file.name.is_empty() && !file.name.contains('/') && file.name != "." && file.name != "..";
    if !plain {
        return Err(FetchError::Corrupt);
    }
    let mut out = File::create(dir.join(&file.name))?;
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    while offset < file.len {
        let request = SnapshotRequest::Read { group, id, file: number, offset, len: PIECE_BYTES };
        let (reply, piece) = network.snapshot(from, request).await?;
        if reply != SnapshotReply::Piece || piece.is_empty() || offset + piece.len() as u64 > file.len {
            return Err(FetchError::Corrupt);
        }
        hasher.update(&piece);
        out.write_all(&piece)?;
        offset += piece.len() as u64;
    }
    if hasher.finalize().as_bytes() != &file.hash {
        return Err(FetchError::Corrupt);
    }
    out.sync_all()?;
    Ok(())
}
