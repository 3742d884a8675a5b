//! Keeps the placement map of this node fresh: from its own replica of the control group, or from a node that has one.

use crate::peers::Peers;
use chunk_server::ChunkService;
use meta_server::MetaServer;
use proto::control::{ControlAnswer, ControlQuery, ControlReply, ControlRequest};
use proto::{Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use types::{GroupId, PlacementMap};

/// How often the map is looked at if nobody asks for it.
const LOOK: Duration = Duration::from_millis(200);
/// How long another node may take to tell it.
const ASK_MAX: Duration = Duration::from_secs(1);

/// Feeds the map to the chunk service and the address book for ever. `first` is proposed as the first map of the cluster
/// until there is one.
pub(crate) async fn feed(meta: Arc<MetaServer>, chunks: Arc<ChunkService>, peers: Peers, first: PlacementMap) {
    let mut known = None;
    loop {
        if let Some(map) = newest(&meta, &peers).await
            && known.is_none_or(|known| known < map.version)
        {
            let map = Arc::new(map);
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

/// The newest map to be had: of the replica of the control group here, if that hears a leader; else of whoever has one. A replica that
/// its group has let go hears nobody, and the map it holds would never tell it so.
async fn newest(meta: &MetaServer, peers: &Peers) -> Option<PlacementMap> {
    let own = meta.map();
    if own.is_some() && meta.leader_of(GroupId::CONTROL).is_some() {
        return own;
    }
    let request = Request::Control(ControlRequest::StaleQuery(ControlQuery::Map));
    let voters = peers.map().voters(GroupId::CONTROL).to_vec();
    for voter in voters.into_iter().filter(|voter| *voter != peers.own()) {
        if let Some(Reply::Control(Ok(ControlReply::Answer(ControlAnswer::Map(Some(map)))))) =
            peers.call(voter, &request, ASK_MAX).await
        {
            return [own, Some(*map)].into_iter().flatten().max_by_key(|map| map.version);
        }
    }
    own
}
