//! A node as the calling side sees it.

use crate::call::{self, Sent};
use crate::error::TransportError;
use crate::link::{Dialer, Link, LinkHealth};
use crate::message;
use crate::raft_stream::Outbox;
use bytes::Bytes;
use proto::raft_wire::RaftBatch;
use proto::rpc::Rejection;
use proto::{Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use types::NodeId;

/// Which of a peer's two connections a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Small calls; shares the connection with Raft.
    Small,
    /// Chunk data and snapshot pieces.
    Bulk,
}

/// Whether a peer answers, as far as this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerHealth {
    /// Nothing is known: no connection was tried yet, or the first attempt is under way.
    Untried,
    /// It was heard within `suspect_after`.
    Up,
    /// The last attempt to connect failed, the connection was lost, or it has been silent for `suspect_after`.
    Down,
}

/// A node that can be called. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    node: NodeId,
    addr: String,
    small: Arc<Link>,
    bulk: Arc<Link>,
    raft: Outbox,
}

impl Peer {
    pub(crate) fn new(dialer: &Arc<Dialer>, node: NodeId, addr: &str) -> Self {
        let link = || Link::new(dialer.clone(), node, addr.to_owned());
        let (small, bulk) = (link(), link());
        let raft = Outbox::new(small.clone(), dialer);
        Peer(Arc::new(Inner { node, addr: addr.to_owned(), small, bulk, raft }))
    }

    /// The node this is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// The address it is looked for at.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.0.addr
    }

    /// Calls the node and waits for its answer, for `deadline` at most.
    ///
    /// `body` is at most `BODY_BYTES_MAX` long and is not copied. Connects first if need be; while the node is known not to
    /// answer, fails at once and leaves it to the caller when to ask again. Dropping the future cancels the
    /// call: a request not yet sent in full is not executed, another may be.
    ///
    /// # Errors
    /// [`TransportError`]; `NotSent` and `Rejected` mean that nothing was executed.
    pub async fn call(
        &self,
        class: Class,
        request: &Request,
        body: Bytes,
        deadline: Duration,
    ) -> Result<(Reply, Bytes), TransportError> {
        let until = Instant::now() + deadline;
        let head = message::head(request, body.len()).map_err(|_| TransportError::Rejected(Rejection::Malformed))?;
        let link = match class {
            Class::Small => &self.0.small,
            Class::Bulk => &self.0.bulk,
        };
        let connection = timeout_at(until, link.connection()).await.map_err(|_| TransportError::NotSent)??;
        let sent = Sent::default();
        let exchange = call::exchange(&connection, head, body, &sent);
        timeout_at(until, exchange).await.unwrap_or_else(|_| Err(sent.failure(TransportError::Deadline)))
    }

    /// Queues Raft messages for the node; returns at once. May be called from any thread.
    ///
    /// They arrive in order or not at all: dropped when the node cannot be reached, when the queue is full, or when a
    /// single message is larger than a frame. Raft sends again.
    pub fn send_raft(&self, batch: RaftBatch) {
        self.0.raft.push(batch);
    }

    /// Whether the node was heard a moment ago on one of its connections.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.health() == PeerHealth::Up
    }

    /// Whether the node answers, as far as this process knows. Nothing is sent to find out.
    #[must_use]
    pub fn health(&self) -> PeerHealth {
        match (self.0.small.health(), self.0.bulk.health()) {
            (LinkHealth::Up, _) | (_, LinkHealth::Up) => PeerHealth::Up,
            (LinkHealth::Down, _) | (_, LinkHealth::Down) => PeerHealth::Down,
            (LinkHealth::Untried, LinkHealth::Untried) => PeerHealth::Untried,
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("node", &self.0.node).field("addr", &self.0.addr).finish_non_exhaustive()
    }
}
