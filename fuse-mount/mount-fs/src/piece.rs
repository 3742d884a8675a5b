//! A piece: dirty data that was packed together to become one chunk.

use crate::FsError;
use bytes::Bytes;
use cluster_client::WrittenChunk;
use tokio::sync::watch;

/// What has become of a piece.
#[derive(Clone, Debug)]
pub(crate) enum PieceState {
    /// In memory: on its way to the chunk stores, or held back because it may go inline.
    Buffered(Bytes),
    /// Durable, and not in memory any more.
    Written(WrittenChunk),
    /// Could not be stored; the data is gone.
    Failed(FsError),
}

/// One chunk in the making. Shared by the runs of the write buffer that refer to it and the task that stores it.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Unique within its inode's buffer.
    pub(crate) id: u64,
    /// Its length, 1..=`CHUNK_BYTES_MAX`.
    pub(crate) len: usize,
    state: watch::Sender<PieceState>,
}

impl Piece {
    pub(crate) fn new(id: u64, data: Bytes) -> Self {
        Piece { id, len: data.len(), state: watch::Sender::new(PieceState::Buffered(data)) }
    }

    pub(crate) fn state(&self) -> PieceState {
        self.state.borrow().clone()
    }

    /// The data, while it is in memory.
    pub(crate) fn data(&self) -> Option<Bytes> {
        match &*self.state.borrow() {
            PieceState::Buffered(data) => Some(data.clone()),
            PieceState::Written(_) | PieceState::Failed(_) => None,
        }
    }

    /// Settles what has become of the piece; returns the data, whose memory is not needed here any more.
    pub(crate) fn finish(&self, result: Result<WrittenChunk, FsError>) -> Option<Bytes> {
        let before = self.state.send_replace(match result {
            Ok(written) => PieceState::Written(written),
            Err(error) => PieceState::Failed(error),
        });
        match before {
            PieceState::Buffered(data) => Some(data),
            PieceState::Written(_) | PieceState::Failed(_) => None,
        }
    }

    /// Waits until the piece is durable or has failed. The task that stores it has a deadline of its own.
    pub(crate) async fn written(&self) -> Result<WrittenChunk, FsError> {
        let mut changes = self.state.subscribe();
        let settled = changes.wait_for(|state| !matches!(state, PieceState::Buffered(_))).await;
        match settled.map(|state| state.clone()) {
            Ok(PieceState::Written(written)) => Ok(written),
            Ok(PieceState::Failed(error)) => Err(error),
            // The sender lives in `self`, so the channel cannot close while we borrow it; treat it as no answer.
            Ok(PieceState::Buffered(_)) | Err(_) => Err(FsError::Unavailable),
        }
    }
}
