//! What the workers of moves need of their node and the cluster.

use async_trait::async_trait;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest};
use std::sync::Arc;
use types::{NodeId, PgEpoch, PgId, PlacementMap, SetDigest};

/// The node and the cluster, as the workers of moves see them.
#[async_trait]
pub trait MoveHost: Send + Sync + 'static {
    /// The newest placement map this node knows.
    fn map(&self) -> Arc<PlacementMap>;

    /// A chunk call to a node, this one among them. `None` if there was no answer in time.
    async fn call(&self, node: NodeId, request: ChunkRequest) -> Option<Result<ChunkReply, ChunkError>>;

    /// Tells the control group that the disk a move brings in holds what the members hold. Whether it was recorded.
    async fn note_synced(&self, pg: PgId, epoch: PgEpoch, chunks: u64, digest: SetDigest) -> bool;
}
