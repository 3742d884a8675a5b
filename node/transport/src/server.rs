//! The accepting side: connections are identified, their streams read within limits of bytes, count and time, and handed to
//! the [`Handler`].
//!
//! Not enough room is answered `Busy` before a body is read. A version not spoken here and an envelope that cannot be
//! decoded are answered; a frame that is none closes the connection.

use crate::config::TransportConfig;
use crate::identity::{self, PeerIdentity};
use crate::message::{self, ReadFailure};
use crate::{permission, raft_stream};
use async_trait::async_trait;
use bytes::Bytes;
use proto::frame::DecodeError;
use proto::raft_wire::RaftBatch;
use proto::rpc::Rejection;
use proto::{Reply, Request};
use quinn::{Connection, Incoming, RecvStream, SendStream, VarInt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use types::{ClusterId, NodeId};

/// Handshakes in progress. Over half of it, newcomers must prove their address first.
const HANDSHAKES_MAX: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const CODE_FORBIDDEN: VarInt = VarInt::from_u32(1);
const CODE_MALFORMED: VarInt = VarInt::from_u32(2);

/// Answers what peers ask.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers a call. `peer` is allowed to make it as far as its role alone decides: snapshots, deletes and heartbeats (with
    /// the sender's own id) come from nodes only.
    ///
    /// Runs as a task of its own and is not cancelled when the caller goes away; it must come to an end by itself.
    async fn call(&self, peer: &PeerIdentity, request: Request, body: Bytes) -> (Reply, Bytes);

    /// Takes Raft messages of a node, in the order it sent them. Must not block.
    fn raft(&self, from: NodeId, batch: RaftBatch);
}

pub(crate) struct Server {
    endpoint: quinn::Endpoint,
    cluster: ClusterId,
    config: TransportConfig,
    handler: Arc<dyn Handler>,
    calls: Arc<Semaphore>,
    envelopes: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
}

/// A request with what it holds of the budgets.
struct Admitted {
    request: Request,
    body: Bytes,
    _room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// A request that is not handled.
enum Refused {
    /// Say why.
    Answer(Rejection),
    /// Nobody is left to be told.
    Gone,
    /// Not our protocol: close the connection.
    Close,
}

impl From<ReadFailure> for Refused {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Gone => Refused::Gone,
            ReadFailure::Frame(DecodeError::Version(theirs)) => {
                Refused::Answer(Rejection::Version { theirs, ours: proto::frame::VERSION })
            }
            ReadFailure::Frame(DecodeError::Envelope) => Refused::Answer(Rejection::Malformed),
            ReadFailure::Frame(DecodeError::Magic | DecodeError::Length(_)) => Refused::Close,
        }
    }
}

impl Server {
    pub(crate) fn new(
        endpoint: quinn::Endpoint,
        cluster: ClusterId,
        config: TransportConfig,
        handler: Arc<dyn Handler>,
    ) -> Arc<Self> {
        let room = |permits: u32| Arc::new(Semaphore::new(permits as usize));
        Arc::new(Server {
            calls: room(config.calls_max),
            envelopes: room(config.envelope_bytes_max),
            bodies: room(config.body_bytes_max),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            endpoint,
            cluster,
            config,
            handler,
        })
    }

    /// Accepts connections until the endpoint is closed.
    pub(crate) async fn run(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            let proven = incoming.remote_address_validated();
            let free = self.handshakes.available_permits();
            let Ok(permit) = self.handshakes.clone().try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            if self.endpoint.open_connections() > self.config.connections_max {
                incoming.refuse();
            } else if free < HANDSHAKES_MAX / 2 && !proven {
                // An error means that it cannot be asked to retry; it is refused by being dropped.
                let _ = incoming.retry();
            } else {
                tokio::spawn(self.clone().connection(incoming, permit));
            }
        }
    }

    async fn connection(self: Arc<Self>, incoming: Incoming, handshake: OwnedSemaphorePermit) {
        let remote = incoming.remote_address();
        let connection = match timeout(HANDSHAKE_TIMEOUT, incoming.into_future()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::debug!(%remote, %error, "handshake failed"),
            Err(_) => return tracing::debug!(%remote, "handshake timed out"),
        };
        drop(handshake);
        let peer = match identity::identify(&connection, self.cluster) {
            Ok(peer) => Arc::new(peer),
            Err(error) => {
                tracing::warn!(%remote, %error, "peer refused");
                return connection.close(CODE_FORBIDDEN, b"identity");
            }
        };
        tracing::debug!(%remote, role = ?peer.role, "accepted");
        tokio::spawn(self.clone().raft_streams(connection.clone(), peer.clone()));
        while let Ok((send, recv)) = connection.accept_bi().await {
            match self.calls.clone().try_acquire_owned() {
                Ok(slot) => {
                    let server = self.clone();
                    let (connection, peer) = (connection.clone(), peer.clone());
                    tokio::spawn(async move {
                        server.call(&connection, &peer, send, recv).await;
                        drop(slot);
                    });
                }
                // As many of these as there are streams.
                Err(_) => drop(tokio::spawn(self.clone().busy(send, recv))),
            }
        }
    }

    async fn raft_streams(self: Arc<Self>, connection: Connection, peer: Arc<PeerIdentity>) {
        while let Ok(recv) = connection.accept_uni().await {
            let Some(from) = peer.node() else {
                tracing::warn!(role = ?peer.role, "raft from a peer that is no node");
                return connection.close(CODE_FORBIDDEN, b"raft");
            };
            let server = self.clone();
            let connection = connection.clone();
            tokio::spawn(async move {
                let timeout = server.config.request_read_timeout;
                if let Err(error) = raft_stream::receive(recv, from, &*server.handler, timeout).await {
                    tracing::warn!(%from, %error, "malformed raft stream");
                    connection.close(CODE_MALFORMED, b"raft");
                }
            });
        }
    }

    async fn call(&self, connection: &Connection, peer: &PeerIdentity, mut send: SendStream, mut recv: RecvStream) {
        let read = timeout(self.config.request_read_timeout, self.read(peer, &mut recv)).await;
        let (reply, body, _room) = match read.unwrap_or(Err(Refused::Gone)) {
            Ok(Admitted { request, body, _room }) => {
                let (reply, body) = self.handler.call(peer, request, body).await;
                (reply, body, Some(_room))
            }
            Err(Refused::Answer(rejection)) => (Reply::Rejected(rejection), Bytes::new(), None),
            Err(Refused::Gone) => return drop(send.reset(VarInt::from_u32(0))),
            Err(Refused::Close) => {
                tracing::warn!(role = ?peer.role, "malformed frame, connection closed");
                return connection.close(CODE_MALFORMED, b"frame");
            }
        };
        self.answer(&mut send, &reply, body).await;
    }

    /// Reads a request as far as it is allowed and there is room for it.
    async fn read(&self, peer: &PeerIdentity, recv: &mut RecvStream) -> Result<Admitted, Refused> {
        let header = message::read_header(recv).await?;
        let envelope_room = self.room(&self.envelopes, header.envelope).await?;
        let envelope = message::read_envelope(recv, header).await?;
        let request = proto::decode(&envelope).map_err(ReadFailure::from)?;
        drop(envelope);
        if !permission::allows(peer, &request) {
            return Err(Refused::Answer(Rejection::Forbidden));
        }
        let body_room = self.room(&self.bodies, header.body).await?;
        let body = message::read_body(recv, header).await?;
        message::take_end(recv);
        Ok(Admitted { request, body, _room: (envelope_room, body_room) })
    }

    /// Room for `bytes`, which a header has promised and which therefore fit into a `u32`.
    async fn room(&self, budget: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Refused> {
        match timeout(self.config.budget_wait, budget.clone().acquire_many_owned(bytes as u32)).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(Refused::Answer(Rejection::Busy)),
        }
    }

    async fn busy(self: Arc<Self>, mut send: SendStream, recv: RecvStream) {
        // Stops the sender.
        drop(recv);
        self.answer(&mut send, &Reply::Rejected(Rejection::Busy), Bytes::new()).await;
    }

    async fn answer(&self, send: &mut SendStream, reply: &Reply, body: Bytes) {
        let head = message::head(reply, body.len());
        let Ok(head) = head else {
            tracing::error!(body = body.len(), "reply larger than a frame");
            return drop(send.reset(VarInt::from_u32(0)));
        };
        let write = async {
            send.write_chunk(head).await?;
            if !body.is_empty() {
                send.write_chunk(body).await?;
            }
            Ok::<(), quinn::WriteError>(())
        };
        match timeout(self.config.reply_write_timeout, write).await {
            Ok(Ok(())) => drop(send.finish()),
            // Nobody reads any more.
            Ok(Err(_)) | Err(_) => drop(send.reset(VarInt::from_u32(0))),
        }
    }
}
