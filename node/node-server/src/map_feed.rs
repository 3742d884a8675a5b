//! Keeps the placement map of this node fresh: from its own replica of the control group, or from a node that has one.

use crate::map_note;
use crate::peers::Peers;
use chunk_server::ChunkService;
use meta_server::MetaServer;
use proto::control::{ControlAnswer, ControlQuery, ControlReply, ControlRequest};
use proto::{Reply, Request};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use types::{FeatureLevel, GroupId, NodeId, NodeMode, NodeState, PlacementMap};

/// How often the map is looked at if nobody asks for it.
const LOOK: Duration = Duration::from_millis(200);
/// How long another node may take to tell it.
const ASK_MAX: Duration = Duration::from_secs(1);

/// Feeds the map to the chunk service and the address book for ever. `first` is proposed as the first map of the cluster
/// until there is one; where the nodes are is noted in `folder`. A cluster beyond `level` ends the process.
pub(crate) async fn feed(
    meta: Arc<MetaServer>,
    chunks: Arc<ChunkService>,
    peers: Peers,
    (first, folder): (PlacementMap, PathBuf),
    level: FeatureLevel,
) {
    let (mut known, mut noted) = (None, None);
    loop {
        if let Some(map) = newest(&meta, &peers).await
            && known.is_none_or(|known| known < map.version)
        {
            if map.level > level {
                // Whatever comes next may mean something else than this program takes it for.
                tracing::error!(level = %map.level, "the cluster has gone on to what this program does not know: start a newer one");
                std::process::abort();
            }
            let map = Arc::new(map);
            let addresses = map_note::addresses(&map);
            if noted.as_ref() != Some(&addresses) {
                note(&folder, &map).await;
                noted = Some(addresses);
            }
            // A raft thread that is too busy to hear of it is told again.
            known = meta.set_map(&map).then_some(map.version).or(known);
            peers.set_map(map.clone());
            chunks.set_map(map);
        }
        if known.is_none() {
            meta.bootstrap(&first).await;
        }
        // A writer that knows a newer map wakes us early.
        let _ = timeout(LOOK, chunks.map_wanted()).await;
    }
}

async fn note(folder: &Path, map: &Arc<PlacementMap>) {
    let (folder, map) = (folder.to_owned(), map.clone());
    let write = move || map_note::write(&folder, &map);
    if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
        tracing::warn!(%error, "where the nodes are cannot be noted for the next start");
    }
}

/// The newest map to be had: of the replica of the control group here, if that votes and hears a leader; else of whoever has one. A replica that
/// its group has let go hears nobody, and the map it holds would never tell it so.
async fn newest(meta: &MetaServer, peers: &Peers) -> Option<PlacementMap> {
    let own = meta.map();
    if own.is_some() && meta.votes_under_a_leader(GroupId::CONTROL) {
        return own;
    }
    let request = Request::Control(ControlRequest::StaleQuery(ControlQuery::Map));
    for node in whom_to_ask(&peers.map()).into_iter().filter(|node| *node != peers.own()) {
        if let Some(Reply::Control(Ok(ControlReply::Answer(ControlAnswer::Map(Some(map)))))) =
            peers.call(node, &request, ASK_MAX).await
        {
            return [own, Some(*map)].into_iter().flatten().max_by_key(|map| map.version);
        }
    }
    own
}

/// Those that have the map, then those that are told it: after a long sleep all voters that this node knew may be gone.
fn whom_to_ask(map: &PlacementMap) -> Vec<NodeId> {
    let voters = map.voters(GroupId::CONTROL);
    let others = map.nodes.iter().filter(|node| node.mode != NodeMode::Removed && !voters.contains(&node.id));
    let mut others: Vec<_> = others.collect();
    others.sort_by_key(|node| node.state != NodeState::Up);
    voters.iter().copied().chain(others.into_iter().map(|node| node.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{DiskId, GroupPlacement, NodeEntry};

    #[test]
    fn voters_are_asked_first_then_who_is_up_and_nobody_who_was_removed() {
        let node = |id: u64| NodeEntry::new(NodeId(id), String::new(), id.to_string(), [DiskId([id as u8; 16])]);
        let control = GroupPlacement::founding(GroupId::CONTROL, [3, 2].map(NodeId).into());
        let mut map =
            PlacementMap { nodes: (1..=6).map(node).collect(), raft_groups: vec![control], ..PlacementMap::default() };
        map.nodes[0].state = NodeState::Down;
        map.nodes[4].mode = NodeMode::Removed;
        assert_eq!(whom_to_ask(&map), [3, 2, 4, 6, 1].map(NodeId));
    }
}
