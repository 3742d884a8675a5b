//! The placement map as this node knows it: from its own replica of the control group, or asked of one that has it.

use crate::peers::Peers;
use chunk_server::ChunkService;
use meta_server::MetaServer;
use parking_lot::RwLock;
use proto::control::{ControlAnswer, ControlQuery, ControlReply, ControlRequest};
use proto::{Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use types::{GroupId, PlacementMap};

/// How often the map is looked at.
const REFRESH: Duration = Duration::from_millis(200);
/// How long another node may take to give its map.
const ASK_MAX: Duration = Duration::from_millis(500);

/// The newest map known here.
pub(crate) struct KnownMap(RwLock<Arc<PlacementMap>>);

impl KnownMap {
    pub(crate) fn new(map: PlacementMap) -> Self {
        KnownMap(RwLock::new(Arc::new(map)))
    }

    pub(crate) fn get(&self) -> Arc<PlacementMap> {
        self.0.read().clone()
    }

    fn offer(&self, map: PlacementMap) -> Option<Arc<PlacementMap>> {
        let mut known = self.0.write();
        (map.version > known.version).then(|| {
            *known = Arc::new(map);
            known.clone()
        })
    }
}

/// Keeps the map fresh and hands it to the chunk service. Runs until dropped.
pub(crate) async fn keep_fresh(known: Arc<KnownMap>, meta: Arc<MetaServer>, chunks: Arc<ChunkService>, peers: Arc<Peers>) {
    chunks.set_map(known.get());
    let has_replica = meta.groups().any(|group| group == GroupId::CONTROL);
    loop {
        // A writer that knows more than this node is a reason to look at once.
        let _ = tokio::time::timeout(REFRESH, chunks.map_wanted()).await;
        meta.bootstrap(&known.get()).await;
        let found = if has_replica { meta.map() } else { ask(&known.get(), &peers).await };
        if let Some(map) = found.and_then(|map| known.offer(map)) {
            chunks.set_map(map);
        }
    }
}

async fn ask(map: &PlacementMap, peers: &Peers) -> Option<PlacementMap> {
    let request = Request::Control(ControlRequest::StaleQuery(ControlQuery::Map));
    for voter in map.voters(GroupId::CONTROL) {
        let answer = peers.small(*voter, &request, ASK_MAX).await;
        if let Some(Reply::Control(Ok(ControlReply::Answer(ControlAnswer::Map(Some(map)))))) = answer {
            return Some(*map);
        }
    }
    None
}
