//! Minimal repair: the leader of a metadata group has the missing copies of its under-replicated chunks made as soon as the
//! member that lacks one is back, and clears the row once the copy is durable.

use crate::map::KnownMap;
use crate::peers::Peers;
use chunk_server::ChunkCall;
use futures::StreamExt;
use futures::stream;
use meta_server::MetaServer;
use proto::chunk::{ChunkReply, ChunkRequest};
use proto::log::LogCommand;
use proto::meta::{Answer, Command, MetaReply, Query};
use std::sync::Arc;
use std::time::Duration;
use types::{ChunkId, ChunkRef, GroupId, NodeId, PlacementMap};

/// Between two looks at the rows.
const PERIOD: Duration = Duration::from_secs(1);
/// Rows read, and chunks cleared, at once.
const PAGE: u32 = 256;
/// Copies made at once.
const PARALLEL: usize = 4;

/// Repairs until dropped.
pub(crate) async fn run(node: NodeId, meta: Arc<MetaServer>, known: Arc<KnownMap>, peers: Arc<Peers>) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let led: Vec<_> = meta.groups().filter(|group| *group != GroupId::CONTROL && meta.is_leader(*group)).collect();
        for group in led {
            repair_group(node, group, &meta, &known.get(), &peers).await;
        }
    }
}

async fn repair_group(node: NodeId, group: GroupId, meta: &MetaServer, map: &PlacementMap, peers: &Peers) {
    let mut after = None;
    loop {
        let query = Query::UnderReplicated { after, max: PAGE };
        let Ok(MetaReply::Answer(Ok(answer))) = meta.query(group, &query) else { return };
        let Answer::UnderReplicated(rows) = *answer else { return };
        let Some((last, _)) = rows.last() else { return };
        after = Some(last.id);
        let repairs = stream::iter(rows).map(|(chunk, missing)| repair_chunk(node, chunk, missing, map, peers));
        let repaired: Vec<ChunkId> = repairs.buffer_unordered(PARALLEL).filter_map(|done| async move { done }).collect().await;
        if repaired.is_empty() {
            continue;
        }
        tracing::info!(%group, chunks = repaired.len(), "copies made good");
        metrics::counter!("sago_repair_chunks_total").increment(repaired.len() as u64);
        let command = Command::ClearUnderReplicated { chunks: repaired };
        if let Err(error) = meta.propose(group, LogCommand::Meta(None, command)).await {
            tracing::debug!(%group, %error, "the rows are cleared at the next turn");
            return;
        }
    }
}

/// Has every member that lacks the chunk fetch it; the id if all of them have it now.
async fn repair_chunk(node: NodeId, chunk: ChunkRef, missing: u8, map: &PlacementMap, peers: &Peers) -> Option<ChunkId> {
    let group = map.group_of(chunk.id.slot())?;
    let lacks = |index: usize| missing & (1 << index) != 0;
    let sources: Vec<_> = (0..group.members.len()).filter(|i| !lacks(*i)).map(|i| group.members[i].node).collect();
    for index in (0..group.members.len()).filter(|index| lacks(*index)) {
        let target = group.members[index].node;
        if !map.is_up(target) && target != node {
            return None;
        }
        let request = ChunkRequest::Replicate { chunk, epoch: group.epoch, sources: sources.clone() };
        match peers.call(target, request).await {
            Some((Ok(ChunkReply::Stored), _)) => {}
            other => {
                let answer = other.map(|(reply, _)| reply);
                tracing::debug!(chunk = %chunk.id, %target, ?answer, "a copy could not be made yet");
                return None;
            }
        }
    }
    Some(chunk.id)
}
