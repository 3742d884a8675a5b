//! A cluster whose answers get lost: it has done what it was told, and the caller does not know.

use super::gate::Gate;
use async_trait::async_trait;
use bytes::Bytes;
use cluster_client::{CallError, ChunkOwner, Cluster, ReadError, WriteError, WrittenChunk};
use harness::memory_cluster::MemoryCluster;
use proto::control::{ControlAnswer, ControlCommand, ControlOutcome, ControlQuery, ControlRefusal};
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use types::{ChunkRef, GroupId};

/// A cluster in memory, behind a network that loses answers.
pub struct Lossy {
    inner: Arc<MemoryCluster>,
    skip: AtomicUsize,
    lose: AtomicUsize,
    commands: AtomicUsize,
    reads: Gate,
    writes: Gate,
}

impl Lossy {
    /// Loses nothing yet.
    #[must_use]
    pub fn new(inner: Arc<MemoryCluster>) -> Arc<Self> {
        let (skip, lose, commands) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Lossy { inner, skip, lose, commands, reads: Gate::default(), writes: Gate::default() })
    }

    /// Loses the answers to the next commands of metadata groups: they are carried out, and their outcome is unknown.
    pub fn lose(&self, answers: usize) {
        self.lose.store(answers, Ordering::SeqCst);
    }

    /// The same, but for the answers to so many commands before them.
    pub fn lose_after(&self, skip: usize, answers: usize) {
        self.skip.store(skip, Ordering::SeqCst);
        self.lose(answers);
    }

    /// Where reads of chunks can be held.
    #[must_use]
    pub fn reads(&self) -> &Gate {
        &self.reads
    }

    /// Where writes of chunks can be held.
    #[must_use]
    pub fn writes(&self) -> &Gate {
        &self.writes
    }

    /// Commands of metadata groups so far.
    #[must_use]
    pub fn commands(&self) -> usize {
        self.commands.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Cluster for Lossy {
    async fn command(&self, group: GroupId, command: Command) -> Result<Result<Outcome, Refusal>, CallError> {
        self.commands.fetch_add(1, Ordering::SeqCst);
        let outcome = self.inner.command(group, command).await?;
        let one = |count: &AtomicUsize| {
            count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        };
        if !one(&self.skip) && one(&self.lose) { Err(CallError::Unknown) } else { Ok(outcome) }
    }

    async fn query(&self, group: GroupId, query: Query) -> Result<Result<Answer, Refusal>, CallError> {
        let answer = self.inner.query(group, query).await;
        // So that those who do something at once do it with what they all have read.
        tokio::task::yield_now().await;
        answer
    }

    async fn control(&self, command: ControlCommand) -> Result<Result<ControlOutcome, ControlRefusal>, CallError> {
        self.inner.control(command).await
    }

    async fn control_query(&self, query: ControlQuery) -> Result<ControlAnswer, CallError> {
        self.inner.control_query(query).await
    }

    async fn write_chunk(&self, owner: ChunkOwner, data: Bytes) -> Result<WrittenChunk, WriteError> {
        self.writes.pass().await;
        self.inner.write_chunk(owner, data).await
    }

    async fn read_chunk(&self, chunk: ChunkRef, range: Range<u32>) -> Result<Bytes, ReadError> {
        self.reads.pass().await;
        self.inner.read_chunk(chunk, range).await
    }
}
