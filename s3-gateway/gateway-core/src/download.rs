//! A content on its way out: pieces are read ahead, in order, within a budget.
//!
//! The first piece is small, so that the first byte comes fast, and is read before the download is handed over: what is
//! wrong from the start is an answer, not a broken connection. Pieces are read by tasks of their own, so that a client
//! that pauses lets no deadline of the cluster pass. A download pins its inode and its change counter: an object that is
//! replaced meanwhile is read to its end, one that is changed in place ends in [`ObjectError::Changed`].

use crate::budget::{Budget, Share};
use crate::content::{Segment, segments};
use crate::error::{ClusterError, ObjectError, object_refusal};
use crate::store::{Store, surprise};
use bytes::Bytes;
use cluster_client::{Cluster, ReadError};
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use proto::meta::{Answer, Query};
use proto::object::ContentView;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;
use types::{ChunkRef, Ino, LEAF_BYTES};

/// The first piece of a download. Small enough to come fast, large enough that an image of a few hundred KiB is one.
const FIRST_PIECE_BYTES: u32 = 512 << 10;

/// The pieces after it. Large enough that the cost of a call and of its leaf hashes does not count.
const PIECE_BYTES: u32 = 1 << 20;

const _: () = assert!((FIRST_PIECE_BYTES as usize).is_multiple_of(LEAF_BYTES));
const _: () = assert!((PIECE_BYTES as usize).is_multiple_of(LEAF_BYTES));

/// How far a download runs ahead of its client, and so what it holds while he does not read: all pieces of `ahead`, that is the one in the hands of the network
/// and those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Bytes of the first piece; a multiple of a leaf.
    pub(crate) first: u32,
    /// Bytes of the others; a multiple of a leaf.
    pub(crate) piece: u32,
    /// Pieces.
    pub(crate) ahead: usize,
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The bytes of an object, or of a range of it.
pub enum Content {
    /// All of them, here already.
    Whole(Bytes),
    /// Piece by piece.
    Stream(BoxStream<'static, Result<Bytes, ObjectError>>),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Content::Whole(data) => write!(f, "Whole({} bytes)", data.len()),
            Content::Stream(_) => f.write_str("Stream"),
        }
    }
}

type Reading = AbortOnDropHandle<Result<Bytes, ReadError>>;

enum Piece {
    Ready(Bytes),
    Zeros(u64),
    Reading(Reading, Share),
}

struct Download {
    cluster: Arc<dyn Cluster>,
    budget: Budget,
    ino: Ino,
    change: u64,
    end: u64,
    /// Where the next page of extents begins.
    next: Option<u64>,
    segments: VecDeque<Segment>,
    pieces: VecDeque<Piece>,
    pace: Pace,
    /// Of the next piece.
    piece_bytes: u32,
    /// Of the piece handed out last: it is in the hands of the network until the next is asked for.
    held: Option<Share>,
}

impl Store {
    /// Bytes of content that all downloads hold now, of `StoreConfig::download_bytes_max`: pieces in the hands of the network, and those read ahead.
    #[must_use]
    pub fn download_bytes_held(&self) -> usize {
        self.config.download_bytes_max.saturating_sub(self.downloads.free())
    }

    /// Begins to read `wanted` of the content that `view` is the first page of.
    pub(crate) async fn download(
        &self,
        ino: Ino,
        view: &ContentView,
        wanted: Range<u64>,
    ) -> Result<Content, ObjectError> {
        let pace = Pace { first: FIRST_PIECE_BYTES, piece: PIECE_BYTES, ahead: self.config.download_ahead };
        self.download_at(ino, view, wanted, pace).await
    }

    /// The same at another pace.
    pub(crate) async fn download_at(
        &self,
        ino: Ino,
        view: &ContentView,
        wanted: Range<u64>,
        pace: Pace,
    ) -> Result<Content, ObjectError> {
        if wanted.is_empty() {
            return Ok(Content::Whole(Bytes::new()));
        }
        let (end, len) = (wanted.end, wanted.end - wanted.start);
        let (segments, next) = segments(view, wanted).map_err(|_| malformed())?;
        let mut download = Download {
            cluster: self.cluster.clone(),
            budget: self.downloads.clone(),
            ino,
            change: view.change,
            end,
            next,
            segments,
            pieces: VecDeque::new(),
            pace,
            piece_bytes: pace.first,
            held: None,
        };
        let first = download.step().await?.ok_or_else(malformed)?;
        if first.len() as u64 == len {
            return Ok(Content::Whole(first));
        }
        let rest = stream::try_unfold(download, |mut download| async move {
            Ok(download.step().await?.map(|piece| (piece, download)))
        });
        Ok(Content::Stream(stream::iter([Ok(first)]).chain(rest).boxed()))
    }
}

impl Download {
    /// The next piece; `None` at the end.
    async fn step(&mut self) -> Result<Option<Bytes>, ObjectError> {
        self.held = None;
        self.read_ahead().await?;
        match self.pieces.pop_front() {
            None => Ok(None),
            Some(Piece::Ready(data)) => Ok(Some(data)),
            Some(Piece::Zeros(len)) => {
                let now = len.min(ZEROS.len() as u64);
                if now < len {
                    self.pieces.push_front(Piece::Zeros(len - now));
                }
                Ok(Some(Bytes::from_static(&ZEROS[..now as usize])))
            }
            Some(Piece::Reading(reading, share)) => {
                self.held = Some(share);
                let data = reading.await.map_err(|error| ClusterError::Unexpected(error.to_string()))?;
                Ok(Some(data.map_err(ClusterError::from)?))
            }
        }
    }

    /// Starts reading as far ahead as is allowed. Only the piece that is needed now waits for the budget.
    async fn read_ahead(&mut self) -> Result<(), ObjectError> {
        while self.pieces.len() < self.pace.ahead {
            let Some(segment) = self.cut() else {
                let Some(from) = self.next.filter(|_| self.pieces.is_empty()) else { return Ok(()) };
                self.page(from).await?;
                continue;
            };
            let piece = match segment {
                Segment::Zeros(len) => Piece::Zeros(len),
                Segment::Inline(data) => Piece::Ready(data),
                Segment::Chunk(chunk, range) => {
                    let Some(share) = self.share(range.len()).await? else {
                        self.segments.push_front(Segment::Chunk(chunk, range));
                        return Ok(());
                    };
                    Piece::Reading(self.read(chunk, range), share)
                }
            };
            self.piece_bytes = self.pace.piece;
            self.pieces.push_back(piece);
        }
        Ok(())
    }

    async fn share(&self, bytes: usize) -> Result<Option<Share>, ObjectError> {
        match self.budget.try_take(bytes) {
            None if self.pieces.is_empty() => Ok(Some(self.budget.take(bytes).await?)),
            share => Ok(share),
        }
    }

    fn read(&self, chunk: ChunkRef, range: Range<u32>) -> Reading {
        let cluster = self.cluster.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let len = range.len();
            let data = cluster.read_chunk(chunk, range).await?;
            if data.len() == len { Ok(data) } else { Err(ReadError::Invalid(chunk.id)) }
        }))
    }

    /// Takes the next piece off the segments; pieces end on multiples of their size in the chunk, so that no leaf is
    /// read twice.
    fn cut(&mut self) -> Option<Segment> {
        let segment = self.segments.pop_front()?;
        let Segment::Chunk(chunk, range) = segment else { return Some(segment) };
        let end = (range.start / self.piece_bytes + 1).saturating_mul(self.piece_bytes).min(range.end);
        if end < range.end {
            self.segments.push_front(Segment::Chunk(chunk, end..range.end));
        }
        Some(Segment::Chunk(chunk, range.start..end))
    }

    /// Reads the next page of extents of the same content.
    async fn page(&mut self, from: u64) -> Result<(), ObjectError> {
        let query = Query::Content { ino: self.ino, offset: from, len: self.end - from };
        let view = match self.cluster.query(self.ino.group(), query).await? {
            Ok(Answer::Content(view)) => view,
            Ok(other) => return Err(surprise(&other).into()),
            Err(refusal) => return Err(object_refusal(&refusal)),
        };
        if view.change != self.change || view.size < self.end {
            return Err(ObjectError::Changed);
        }
        (self.segments, self.next) = segments(&view, from..self.end).map_err(|_| malformed())?;
        Ok(())
    }
}

fn malformed() -> ObjectError {
    ClusterError::Unexpected("content that contradicts itself".into()).into()
}
