//! Fetching a replica from another node.

use async_trait::async_trait;
use bytes::Bytes;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest};
use types::{ChunkRef, NodeId};

/// A source did not give the chunk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The node did not answer in time, or is not known.
    #[error("{0} did not answer")]
    Unreachable(NodeId),
    /// It answered that it cannot.
    #[error("{node} has no good replica")]
    Refused {
        /// Who.
        node: NodeId,
        /// Why.
        #[source]
        why: ChunkError,
    },
    /// What it sent is not the chunk.
    #[error("{0} sent something else")]
    Malformed(NodeId),
}

/// Where replicas come from.
#[async_trait]
pub trait ReplicaSource: Send + Sync + 'static {
    /// The whole chunk, from `node`. The data is checked by the caller too.
    ///
    /// # Errors
    /// [`FetchError`]; another node may be asked.
    async fn fetch(&self, node: NodeId, chunk: ChunkRef) -> Result<Bytes, FetchError>;
}

/// A chunk call to another node, whatever carries it. Over the transport: `Peer::call` of class bulk with `Request::Chunk`.
#[async_trait]
pub trait ChunkCall: Send + Sync + 'static {
    /// The answer; `None` if there was none, for whatever reason. Has a deadline of its own.
    async fn call(&self, node: NodeId, request: ChunkRequest) -> Option<(Result<ChunkReply, ChunkError>, Bytes)>;
}

/// Replicas from other nodes' chunk services.
pub struct PeerSource<C>(pub C);

#[async_trait]
impl<C: ChunkCall> ReplicaSource for PeerSource<C> {
    async fn fetch(&self, node: NodeId, chunk: ChunkRef) -> Result<Bytes, FetchError> {
        let request = ChunkRequest::Get { chunk: chunk.id, offset: 0, len: chunk.len };
        let (reply, body) = self.0.call(node, request).await.ok_or(FetchError::Unreachable(node))?;
        match reply {
            Ok(ChunkReply::Data { first_leaf: 0, chunk_len, leaves })
                if chunk_len == chunk.len
                    && body.len() == chunk.len as usize
                    && types::verify_range(&chunk.root, &leaves, 0, &body).is_ok() =>
            {
                Ok(body)
            }
            Ok(_) => Err(FetchError::Malformed(node)),
            Err(why) => Err(FetchError::Refused { node, why }),
        }
    }
}
