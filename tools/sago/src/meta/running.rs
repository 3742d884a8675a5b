//! Snapshots of the groups of a node that runs, fetched with its own certificate, as another replica would.

use crate::config::load_credentials;
use crate::exit::{Done, Failure, Kind};
use crate::fsck::Site;
use bytes::Bytes;
use proto::node::{NodeReply, NodeRequest};
use proto::raft_wire::{SnapshotError, SnapshotFile, SnapshotReply, SnapshotRequest};
use proto::{Reply, Request};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use transport::{Class, Endpoint, Peer, TransportConfig};
use types::{GroupId, LogIndex};

/// How long a small answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a piece may take. Opening a snapshot includes making and hashing a checkpoint.
const PIECE_MAX: Duration = Duration::from_secs(60);
/// Bytes asked for at once.
const PIECE_BYTES: u32 = 1 << 20;
/// Files in a checkpoint; RocksDB makes one per 64 MiB or so.
const FILES_MAX: usize = 100_000;

/// A node that runs.
pub(super) struct Running {
    endpoint: Endpoint,
    peer: Peer,
}

impl Running {
    /// The node of a folder, where the cluster knows it.
    ///
    /// # Errors
    /// [`Failure`]: nobody here knows where it is, or its certificate cannot be used.
    pub(super) fn find(site: &Site) -> Done<Running> {
        let noted = node_server::noted_map(&site.meta);
        let first = site.cluster.as_ref().map(|cluster| &cluster.map);
        let entry = noted.as_ref().into_iter().chain(first).find_map(|map| map.node(site.node));
        let entry =
            entry.ok_or_else(|| Failure::new(Kind::Usage, format!("nobody here knows where {} is", site.node)))?;
        let credentials = load_credentials(&site.credentials)?;
        let endpoint = Endpoint::client(&credentials, TransportConfig::default()).map_err(Failure::failed)?;
        let peer = endpoint.peer(site.node, &entry.addr);
        Ok(Running { endpoint, peer })
    }

    /// The groups it has a replica of.
    ///
    /// # Errors
    /// [`Failure`]: it does not answer.
    pub(super) async fn groups(&self) -> Done<Vec<GroupId>> {
        let request = Request::Node(NodeRequest::Status);
        match self.peer.call(Class::Small, &request, Bytes::new(), ANSWER_MAX).await {
            Ok((Reply::Node(NodeReply::Status(status)), _)) => {
                Ok(status.groups.iter().map(|status| status.group).collect())
            }
            Ok(_) => Err(Failure::new(Kind::Failed, "the node answers something else")),
            Err(error) => Err(Failure::new(Kind::Unavailable, format!("the node does not answer: {error}"))),
        }
    }

    /// Fetches a snapshot of a group into a folder, which is made anew.
    ///
    /// # Errors
    /// [`Failure`]; the folder is of no use.
    pub(super) async fn fetch(&self, group: GroupId, folder: &Path) -> Done {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir(folder)?;
        let (id, files) = match self.ask(SnapshotRequest::Open { group, index: LogIndex(0) }).await? {
            (SnapshotReply::Opened { id, files, .. }, _) if files.len() <= FILES_MAX => (id, files),
            _ => return Err(confused()),
        };
        let mut fetched = Ok(());
        for (number, file) in files.iter().enumerate() {
            fetched = self.fetch_file(group, id, number as u32, file, folder).await;
            if fetched.is_err() {
                break;
            }
        }
        let _ = self.ask(SnapshotRequest::Close { group, id }).await;
        fetched
    }

    async fn fetch_file(&self, group: GroupId, id: u64, number: u32, file: &SnapshotFile, folder: &Path) -> Done {
        let plain = !file.name.is_empty() && !file.name.contains('/') && file.name != "." && file.name != "..";
        if !plain {
            return Err(confused());
        }
        let mut out = File::create_new(folder.join(&file.name))?;
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        while offset < file.len {
            let read = SnapshotRequest::Read { group, id, file: number, offset, len: PIECE_BYTES };
            let (SnapshotReply::Piece, piece) = self.ask(read).await? else { return Err(confused()) };
            if piece.is_empty() || offset + piece.len() as u64 > file.len {
                return Err(confused());
            }
            hasher.update(&piece);
            out.write_all(&piece)?;
            offset += piece.len() as u64;
        }
        if *hasher.finalize().as_bytes() != file.hash {
            return Err(Failure::new(Kind::Failed, format!("{} does not match its hash", file.name)));
        }
        Ok(())
    }

    async fn ask(&self, request: SnapshotRequest) -> Done<(SnapshotReply, Bytes)> {
        match self.peer.call(Class::Bulk, &Request::Snapshot(request), Bytes::new(), PIECE_MAX).await {
            Ok((Reply::Snapshot(Ok(reply)), body)) => Ok((reply, body)),
            Ok((Reply::Snapshot(Err(SnapshotError::Busy)), _)) => {
                Err(Failure::new(Kind::Unavailable, "the node gives snapshots to others: try again in a minute"))
            }
            Ok((Reply::Snapshot(Err(error)), _)) => Err(Failure::failed(error)),
            Ok(_) => Err(confused()),
            Err(error) => Err(Failure::new(Kind::Unavailable, format!("the node does not answer: {error}"))),
        }
    }

    /// Ends the connection.
    pub(super) async fn close(&self) {
        self.endpoint.close().await;
    }
}

fn confused() -> Failure {
    Failure::new(Kind::Failed, "the node answers something that makes no sense")
}
