//! The face's view of a cluster.

use crate::{CallError, ReadError, WriteError};
use async_trait::async_trait;
use bytes::Bytes;
use proto::control::{BucketInfo, ControlAnswer, ControlCommand, ControlOutcome, ControlQuery, ControlRefusal};
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use proto::object::NewExtent;
use std::ops::Range;
use types::{BucketId, ChunkRef, Extent, GroupId, RuleId};

/// A chunk that at least two members of its placement group have made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenChunk {
    /// The chunk.
    pub chunk: ChunkRef,
    /// Bit i is set if member i did not acknowledge.
    pub missing: u8,
}

impl WrittenChunk {
    /// The extent that places the whole chunk at `file_offset`.
    #[must_use]
    pub fn at(&self, file_offset: u64) -> NewExtent {
        NewExtent {
            extent: Extent { file_offset, chunk: self.chunk, chunk_offset: 0, len: self.chunk.len },
            missing: self.missing,
        }
    }
}

/// For whom a chunk is written: who may refer to it, and which rule says where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkOwner {
    /// The metadata group that it belongs to.
    pub group: GroupId,
    /// The bucket. If the client's placement map knows a newer rule of it, that one counts.
    pub bucket: BucketId,
    /// Its rule of placement when it was looked up.
    pub rule: RuleId,
}

impl From<&BucketInfo> for ChunkOwner {
    fn from(bucket: &BucketInfo) -> Self {
        ChunkOwner { group: bucket.group, bucket: bucket.id, rule: bucket.rule }
    }
}

impl From<GroupId> for ChunkOwner {
    /// No bucket's: by the default rule.
    fn from(group: GroupId) -> Self {
        ChunkOwner { group, bucket: BucketId(0), rule: RuleId::DEFAULT }
    }
}

/// A cluster as a face sees it. All calls have the deadline of the client's configuration (10 s by default), retry inside it,
/// and may be dropped at any time: a dropped command may still be applied, a dropped chunk write leaves garbage at most.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// Changes a metadata group, at most once however often it is sent.
    ///
    /// # Errors
    /// The outer result: nobody answered. The inner one: the state machine's own result.
    async fn command(&self, group: GroupId, command: Command) -> Result<Result<Outcome, Refusal>, CallError>;

    /// Reads a metadata group, linearizably.
    ///
    /// # Errors
    /// As [`Cluster::command`].
    async fn query(&self, group: GroupId, query: Query) -> Result<Result<Answer, Refusal>, CallError>;

    /// Changes the control group.
    ///
    /// # Errors
    /// As [`Cluster::command`].
    async fn control(&self, command: ControlCommand) -> Result<Result<ControlOutcome, ControlRefusal>, CallError>;

    /// Reads the control group, linearizably.
    ///
    /// # Errors
    /// Nobody answered.
    async fn control_query(&self, query: ControlQuery) -> Result<ControlAnswer, CallError>;

    /// Stores a chunk of `owner` on three nodes, durably (on two where no placement group of its rule has three that answer).
    ///
    /// `data` is 1..=`CHUNK_BYTES_MAX` bytes. After `Ok` the caller must name the chunk in a command of the owner's group through this
    /// same client, or it becomes garbage.
    ///
    /// # Errors
    /// [`WriteError`]; what was stored becomes garbage.
    async fn write_chunk(&self, owner: ChunkOwner, data: Bytes) -> Result<WrittenChunk, WriteError>;

    /// Reads a range of a chunk, verified against its root, from whichever replica answers.
    ///
    /// # Errors
    /// [`ReadError`]; never wrong bytes.
    async fn read_chunk(&self, chunk: ChunkRef, range: Range<u32>) -> Result<Bytes, ReadError>;
}
