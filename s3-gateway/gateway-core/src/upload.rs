//! A body on its way in: cut into chunks, digested once, written while the rest is still coming.
//!
//! ```text
//! body -> [ buffer of one chunk ] -> digests (one task after the other, in order)
//!                                 -> write_chunk (several tasks at once)
//! ```
//! Memory is taken from the shared budget before the bytes of a chunk are read, and given back when the chunk is written
//! and digested. Where the content is sealed, a chunk is that of as many bytes of the body as fit into it sealed. Nothing is visible before the caller has sent its command; what was written until then is garbage.

use crate::budget::Share;
use crate::checksum::{Checksum, ChecksumAlgorithm, Digests};
use crate::error::{BodyError, ClusterError, UploadError};
use crate::seal::{PartSealer, SEALED_CHUNK_PLAIN_BYTES, sealed_bytes};
use crate::store::Store;
use bytes::{Buf as _, Bytes};
use cluster_client::{ChunkOwner, WrittenChunk};
use futures::{Stream, StreamExt as _};
use proto::object::{NewContent, NewExtent};
use std::sync::Arc;
use tokio::task::{JoinHandle, JoinSet};
use types::{CHUNK_BYTES_MAX, INLINE_BYTES_MAX};

/// Up to here hashing takes less time than handing the work to another thread and back is worth.
const HASH_HERE_BYTES_MAX: usize = 256 << 10;

/// Reads what a body's trailer says, once the body was read to its end.
pub type ReadTrailer = Box<dyn FnOnce() -> Option<String> + Send>;

/// The checksum a client sends along.
pub enum ClaimedChecksum {
    /// Known before the body.
    Value(Checksum),
    /// Announced, and sent behind the body.
    Trailer(ChecksumAlgorithm, ReadTrailer),
}

impl ClaimedChecksum {
    /// Of which kind.
    #[must_use]
    pub fn algorithm(&self) -> ChecksumAlgorithm {
        match self {
            ClaimedChecksum::Value(checksum) => checksum.algorithm,
            ClaimedChecksum::Trailer(algorithm, _) => *algorithm,
        }
    }

    fn verify(self, actual: Option<&Checksum>) -> Result<(), UploadError> {
        let algorithm = self.algorithm();
        let claimed = match self {
            ClaimedChecksum::Value(checksum) => Some(checksum),
            ClaimedChecksum::Trailer(_, read) => read().and_then(|text| Checksum::from_base64(algorithm, &text)),
        };
        let claimed = claimed.ok_or(UploadError::ChecksumMissing(algorithm))?;
        if Some(&claimed) == actual { Ok(()) } else { Err(UploadError::ChecksumMismatch(algorithm)) }
    }
}

/// A body and what is claimed of it.
pub struct Upload<S> {
    /// The bytes.
    pub body: S,
    /// How many there must be.
    pub length: u64,
    /// Their MD5, if the client named it.
    pub md5: Option<[u8; 16]>,
    /// Their checksum, if the client sends one.
    pub checksum: Option<ClaimedChecksum>,
    /// A checksum to compute even if the client sends none.
    pub compute: Option<ChecksumAlgorithm>,
}

/// Where small contents go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Small {
    /// Into the metadata.
    Inline,
    /// Into a chunk like any other: a part may come to stand in the middle of an object.
    Chunk,
}

/// A body that was received whole and is what was claimed.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) content: NewContent,
    pub(crate) md5: [u8; 16],
    pub(crate) checksum: Option<Checksum>,
}

impl Store {
    /// Receives a body, whose chunks belong to `owner`, and seals it if it is to be sealed. Digests are those of the body.
    pub(crate) async fn receive<S>(
        &self,
        owner: ChunkOwner,
        upload: Upload<S>,
        small: Small,
        sealer: Option<PartSealer>,
    ) -> Result<Received, UploadError>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Unpin + Send,
    {
        if upload.length > self.config.put_bytes_max {
            return Err(UploadError::TooLarge);
        }
        let algorithm = upload.checksum.as_ref().map(ClaimedChecksum::algorithm).or(upload.compute);
        let mut body = Body { stream: upload.body, left: upload.length, spare: Bytes::new() };
        let digests = Digests::new(algorithm);
        let cut = Cutter { sealer };
        let (content, digests) = if upload.length <= cut.bytes_max() as u64 {
            self.receive_small(owner, &mut body, digests, small, cut).await?
        } else {
            self.receive_large(owner, &mut body, digests, cut).await?
        };
        let (md5, checksum) = digests.finish();
        if upload.md5.is_some_and(|claimed| claimed != md5) {
            return Err(UploadError::Md5Mismatch);
        }
        if let Some(claimed) = upload.checksum {
            claimed.verify(checksum.as_ref())?;
        }
        Ok(Received { content, md5, checksum })
    }

    /// At most one chunk.
    async fn receive_small<S>(
        &self,
        owner: ChunkOwner,
        body: &mut Body<S>,
        mut digests: Digests,
        small: Small,
        cut: Cutter,
    ) -> Result<(NewContent, Digests), UploadError>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Unpin + Send,
    {
        let share = self.uploads.take(cut.held(body.left as usize)).await?;
        let data = body.read(body.left as usize).await?;
        body.end().await?;
        if data.len() <= HASH_HERE_BYTES_MAX {
            digests.update(&data);
            let data = cut.stored(0, data, true)?;
            match small {
                Small::Inline if data.len() <= INLINE_BYTES_MAX => return Ok((NewContent::Inline(data), digests)),
                Small::Chunk if data.is_empty() => return Ok((NewContent::Chunks(Vec::new()), digests)),
                Small::Inline | Small::Chunk => {}
            }
            let written = self.cluster.write_chunk(owner, data).await.map_err(ClusterError::from)?;
            return Ok((NewContent::Chunks(vec![written.at(0)]), digests));
        }
        let share = Arc::new(share);
        let digested = digest(digests, data.clone(), share.clone());
        let data = cut.stored_aside(0, data, true).await?;
        let written = self.cluster.write_chunk(owner, data).await.map_err(ClusterError::from)?;
        drop(share);
        Ok((NewContent::Chunks(vec![written.at(0)]), joined(digested).await?))
    }

    /// Many chunks, several of them being written at a time.
    async fn receive_large<S>(
        &self,
        owner: ChunkOwner,
        body: &mut Body<S>,
        digests: Digests,
        cut: Cutter,
    ) -> Result<(NewContent, Digests), UploadError>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Unpin + Send,
    {
        let mut digesting = Digesting::Idle(Box::new(digests));
        let mut written = Written::default();
        let mut writes: JoinSet<Write> = JoinSet::new();
        let length = body.left;
        while body.left > 0 {
            let offset = length - body.left;
            while writes.len() >= self.config.upload_parallel {
                written.add(writes.join_next().await)?;
            }
            let len = body.left.min(cut.bytes_max() as u64) as usize;
            let share = Arc::new(self.uploads.take(cut.held(len)).await?);
            let data = body.read(len).await?;
            let before = digesting.finish().await?;
            digesting = Digesting::Busy(digest(before, data.clone(), share.clone()));
            let (cluster, cut, to_end) = (self.cluster.clone(), cut.clone(), body.left == 0);
            writes.spawn(async move {
                let data = cut.stored_aside(offset, data, to_end).await?;
                let written = cluster.write_chunk(owner, data).await.map_err(ClusterError::from)?;
                drop(share);
                Ok((cut.stored_offset(offset), written))
            });
        }
        body.end().await?;
        while let Some(done) = writes.join_next().await {
            written.add(Some(done))?;
        }
        Ok((written.content(), digesting.finish().await?))
    }
}

/// Says how a body becomes chunks, and makes them what is stored.
#[derive(Clone)]
struct Cutter {
    sealer: Option<PartSealer>,
}

impl Cutter {
    /// Bytes of the body in a chunk.
    fn bytes_max(&self) -> usize {
        if self.sealer.is_some() { SEALED_CHUNK_PLAIN_BYTES } else { CHUNK_BYTES_MAX }
    }

    /// Bytes of memory that so many bytes of the body take.
    fn held(&self, bytes: usize) -> usize {
        bytes + if self.sealer.is_some() { sealed_bytes(bytes as u64) as usize } else { 0 }
    }

    /// Where in the stored content the chunk lies that begins at this byte of the body.
    fn stored_offset(&self, offset: u64) -> u64 {
        if self.sealer.is_some() { sealed_bytes(offset) } else { offset }
    }

    /// What is stored of the bytes of the body from `offset` on.
    fn stored(&self, offset: u64, data: Bytes, to_end: bool) -> Result<Bytes, UploadError> {
        match &self.sealer {
            None => Ok(data),
            Some(sealer) => Ok(sealer.seal(offset, &data, to_end)?),
        }
    }

    /// As [`Cutter::stored`], where it does not hold others up.
    async fn stored_aside(&self, offset: u64, data: Bytes, to_end: bool) -> Result<Bytes, UploadError> {
        if self.sealer.is_none() {
            return Ok(data);
        }
        let cut = self.clone();
        joined(tokio::task::spawn_blocking(move || cut.stored(offset, data, to_end))).await?
    }
}

const _: () = assert!(
    (SEALED_CHUNK_PLAIN_BYTES * 2) < 2 * CHUNK_BYTES_MAX,
    "the smallest budget holds a chunk and what it becomes"
);

fn digest(mut digests: Digests, data: Bytes, share: Arc<Share>) -> JoinHandle<Digests> {
    tokio::task::spawn_blocking(move || {
        digests.update(&data);
        drop((data, share));
        digests
    })
}

/// The digests of the chunks so far, or the task that adds the latest.
enum Digesting {
    Idle(Box<Digests>),
    Busy(JoinHandle<Digests>),
}

impl Digesting {
    async fn finish(self) -> Result<Digests, ClusterError> {
        match self {
            Digesting::Idle(digests) => Ok(*digests),
            Digesting::Busy(task) => joined(task).await,
        }
    }
}

async fn joined<T>(task: JoinHandle<T>) -> Result<T, ClusterError> {
    task.await.map_err(|error| ClusterError::Unexpected(error.to_string()))
}

/// Where a chunk goes in the file, and the chunk.
type Write = Result<(u64, WrittenChunk), UploadError>;

#[derive(Default)]
struct Written {
    extents: Vec<NewExtent>,
}

impl Written {
    fn add(&mut self, done: Option<Result<Write, tokio::task::JoinError>>) -> Result<(), UploadError> {
        let Some(done) = done else { return Ok(()) };
        let (offset, written) = done.map_err(|error| ClusterError::Unexpected(error.to_string()))??;
        self.extents.push(written.at(offset));
        Ok(())
    }

    fn content(mut self) -> NewContent {
        self.extents.sort_unstable_by_key(|new| new.extent.file_offset);
        NewContent::Chunks(self.extents)
    }
}

struct Body<S> {
    stream: S,
    /// Bytes still to come.
    left: u64,
    /// What came and belongs to the next chunk.
    spare: Bytes,
}

impl<S> Body<S>
where
    S: Stream<Item = Result<Bytes, BodyError>> + Unpin + Send,
{
    /// The next `len` bytes in one buffer. If they came in one piece, it is that piece, not copied.
    async fn read(&mut self, len: usize) -> Result<Bytes, BodyError> {
        let mut first = self.piece(len).await?;
        if first.len() == len {
            self.left -= len as u64;
            return Ok(first);
        }
        let mut buffer = Vec::with_capacity(len);
        loop {
            buffer.extend_from_slice(&first);
            if buffer.len() == len {
                self.left -= len as u64;
                return Ok(buffer.into());
            }
            first = self.piece(len - buffer.len()).await?;
        }
    }

    /// Between 1 and `max` bytes; none only if `max` is 0.
    async fn piece(&mut self, max: usize) -> Result<Bytes, BodyError> {
        while self.spare.is_empty() && max > 0 {
            self.spare = self.stream.next().await.unwrap_or(Err(BodyError::Incomplete))?;
        }
        let now = self.spare.len().min(max);
        let piece = self.spare.slice(..now);
        self.spare.advance(now);
        Ok(piece)
    }

    /// Reads to the end, where trailers come and signatures are judged; more bytes are an error.
    async fn end(&mut self) -> Result<(), BodyError> {
        while self.spare.is_empty() {
            match self.stream.next().await {
                None => return Ok(()),
                Some(more) => self.spare = more?,
            }
        }
        Err(BodyError::TooLong)
    }
}
