//! Calls to the cluster that go on until the operation's deadline.

use crate::{FsError, MountFs};
use bytes::Bytes;
use cluster_client::{CallError, ReadError, WriteError, WrittenChunk};
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use proto::object::{Attr, ContentView, Xattr};
use std::ops::Range;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use types::{ChunkRef, GroupId, Ino};

/// First pause before a retry. `Cluster` has waited seconds already; this only keeps a quick refusal from spinning.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause before a retry.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Counts the pauses of one operation.
struct Retry {
    until: Instant,
    pause: Duration,
}

impl Retry {
    fn new(deadline: Duration) -> Self {
        Retry { until: Instant::now() + deadline, pause: RETRY_PAUSE_MIN }
    }

    /// Waits before the next try; false when there is no time for one.
    async fn again(&mut self) -> bool {
        if Instant::now() + self.pause >= self.until {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(RETRY_PAUSE_MAX);
        true
    }
}

impl MountFs {
    /// Changes the group that owns an inode.
    ///
    /// An unknown outcome is not retried: the command may have been applied, and not every command may be applied twice.
    pub(crate) async fn command(&self, group: GroupId, command: Command) -> Result<Outcome, FsError> {
        self.guard.check()?;
        let mut retry = Retry::new(self.config.deadline);
        let result = loop {
            match self.cluster.command(group, command.clone()).await {
                Err(CallError::Unavailable) | Ok(Err(Refusal::WindowFull)) if retry.again().await => {}
                Err(error) => break Err(error.into()),
                Ok(Err(refusal)) => break Err(refusal.into()),
                Ok(Ok(outcome)) => break Ok(outcome),
            }
        };
        self.count_mutation();
        result
    }

    /// A command whose outcome is the inode's attributes.
    pub(crate) async fn command_attr(&self, group: GroupId, command: Command) -> Result<Attr, FsError> {
        match self.command(group, command).await? {
            Outcome::Attr(attr) => Ok(attr),
            other => Err(unexpected(&other)),
        }
    }

    /// Reads the group that owns an inode.
    pub(crate) async fn query(&self, group: GroupId, query: Query) -> Result<Answer, FsError> {
        self.guard.check()?;
        let mut retry = Retry::new(self.config.deadline);
        loop {
            match self.cluster.query(group, query.clone()).await {
                Err(CallError::Unavailable | CallError::Unknown) if retry.again().await => {}
                Err(error) => return Err(error.into()),
                Ok(Err(refusal)) => return Err(refusal.into()),
                Ok(Ok(answer)) => return Ok(answer),
            }
        }
    }

    /// The attributes of an inode as the server has them.
    pub(crate) async fn query_attr(&self, ino: Ino) -> Result<Attr, FsError> {
        match self.query(ino.group(), Query::GetAttr { ino }).await? {
            Answer::Attr(attr) => Ok(attr),
            other => Err(unexpected(&other)),
        }
    }

    /// A name as the server has it.
    pub(crate) async fn query_lookup(&self, parent: Ino, name: Bytes) -> Result<Attr, FsError> {
        match self.query(parent.group(), Query::Lookup { parent, name }).await? {
            Answer::Attr(attr) => Ok(attr),
            other => Err(unexpected(&other)),
        }
    }

    /// A piece of an inode's content as the server has it.
    pub(crate) async fn query_content(&self, ino: Ino, offset: u64, len: u64) -> Result<ContentView, FsError> {
        match self.query(ino.group(), Query::Content { ino, offset, len }).await? {
            Answer::Content(view) => Ok(view),
            other => Err(unexpected(&other)),
        }
    }

    /// Extended attributes.
    pub(crate) async fn query_xattrs(&self, ino: Ino, query: Query) -> Result<Vec<Xattr>, FsError> {
        match self.query(ino.group(), query).await? {
            Answer::Xattrs(xattrs) => Ok(xattrs),
            other => Err(unexpected(&other)),
        }
    }

    /// Stores a chunk; it becomes garbage unless a command names it.
    pub(crate) async fn write_chunk(&self, data: Bytes) -> Result<WrittenChunk, FsError> {
        self.guard.check()?;
        let mut retry = Retry::new(self.config.deadline);
        loop {
            match self.cluster.write_chunk((&self.bucket).into(), data.clone()).await {
                Err(WriteError::Unavailable | WriteError::Busy) if retry.again().await => {}
                Err(error) => return Err(error.into()),
                Ok(written) => return Ok(written),
            }
        }
    }

    /// Reads a range of a chunk, verified.
    pub(crate) async fn read_chunk(&self, chunk: ChunkRef, range: Range<u32>) -> Result<Bytes, FsError> {
        self.guard.check()?;
        let mut retry = Retry::new(self.config.deadline);
        loop {
            match self.cluster.read_chunk(chunk, range.clone()).await {
                Err(ReadError::Unavailable(_)) if retry.again().await => {}
                Err(error) => return Err(error.into()),
                Ok(data) if data.len() == range.len() => return Ok(data),
                Ok(data) => return Err(FsError::Protocol(format!("{} bytes for {range:?}", data.len()))),
            }
        }
    }
}

/// An answer of a kind that does not belong to the question.
pub(crate) fn unexpected(answer: &dyn std::fmt::Debug) -> FsError {
    let mut text = format!("{answer:?}");
    text.truncate(text.char_indices().nth(80).map_or(text.len(), |(end, _)| end));
    FsError::Protocol(text)
}
