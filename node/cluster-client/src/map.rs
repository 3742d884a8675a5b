//! The client's copy of the placement map.

use crate::peer::Nodes;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use proto::control::{ControlAnswer, ControlQuery, ControlReply, ControlRequest};
use proto::{Reply, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};
use transport::{Class, Peer};
use types::PlacementMap;

/// A node that does not answer this fast is not worth waiting for: others have the map too.
const ASK_DEADLINE: Duration = Duration::from_millis(800);
/// How long other nodes' maps are waited for when one has come.
const OTHERS_WAIT: Duration = Duration::from_millis(50);
/// Nodes asked at once when a newer map is needed: one of them has it, or nobody has.
const WIDTH_URGENT: usize = 3;

pub(crate) struct MapCache {
    nodes: Arc<Nodes>,
    current: watch::Sender<Option<Arc<PlacementMap>>>,
    /// Nodes take turns to be asked.
    turn: AtomicUsize,
    /// When the last successful refresh was begun; locked while one is under way.
    refreshed: Mutex<Option<Instant>>,
}

impl MapCache {
    pub(crate) fn new(nodes: Arc<Nodes>) -> Self {
        let turn = AtomicUsize::new(rand::random_range(0..1024));
        MapCache { nodes, current: watch::Sender::new(None), turn, refreshed: Mutex::new(None) }
    }

    /// The map, if there is one yet.
    pub(crate) fn get(&self) -> Option<Arc<PlacementMap>> {
        self.current.borrow().clone()
    }

    /// The map; waits for the first one. The caller bounds the wait.
    pub(crate) async fn wait(&self) -> Arc<PlacementMap> {
        let mut current = self.current.subscribe();
        loop {
            if let Some(map) = current.borrow_and_update().clone() {
                return map;
            }
            // An error would mean that the sender is gone, and it lives in `self`.
            let _ = current.changed().await;
        }
    }

    /// Gets the map as nodes have it now, after this call; many callers share one refresh. `false` if nobody answered.
    pub(crate) async fn refresh(&self) -> bool {
        let asked = Instant::now();
        let mut refreshed = self.refreshed.lock().await;
        if refreshed.is_some_and(|begun| begun >= asked) {
            return true;
        }
        let begun = Instant::now();
        let answered = self.ask(WIDTH_URGENT).await;
        if answered {
            *refreshed = Some(begun);
        }
        answered
    }

    /// The regular look at the map: one node is asked, or several as long as there is no map at all.
    pub(crate) async fn poll(&self) {
        let width = if self.current.borrow().is_some() { 1 } else { usize::MAX };
        if !self.ask(width).await && width == 1 {
            self.ask(WIDTH_URGENT).await;
        }
    }

    /// Asks so many nodes at once, those that answer first, and keeps the newest map.
    async fn ask(&self, width: usize) -> bool {
        let map = self.get();
        let map = map.as_deref();
        let mut ids = self.nodes.all(map);
        if ids.is_empty() {
            return false;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % ids.len();
        ids.rotate_left(turn);
        ids.sort_by_key(|id| self.nodes.is_down(map, *id));
        let first = map.is_none();
        let mut asking: FuturesUnordered<_> =
            ids.into_iter().take(width).filter_map(|id| self.nodes.peer(map, id)).map(ask_peer).collect();
        while let Some(answer) = asking.next().await {
            let Some(map) = answer else { continue };
            self.offer(map);
            // The others may have a newer one, but are not waited for as long as a dead node would take. Any map is better
            // than none.
            let others = async {
                while let Some(answer) = asking.next().await {
                    answer.into_iter().for_each(|map| self.offer(map));
                }
            };
            if !first {
                let _ = timeout(OTHERS_WAIT, others).await;
            }
            return true;
        }
        false
    }

    fn offer(&self, offered: PlacementMap) {
        self.current.send_if_modified(|current| {
            let newer = current.as_ref().is_none_or(|current| current.version < offered.version);
            if newer {
                *current = Some(Arc::new(offered));
            }
            newer
        });
    }
}

async fn ask_peer(peer: Peer) -> Option<PlacementMap> {
    let request = Request::Control(ControlRequest::StaleQuery(ControlQuery::Map));
    match peer.call(Class::Small, &request, Bytes::new(), ASK_DEADLINE).await {
        Ok((Reply::Control(Ok(ControlReply::Answer(ControlAnswer::Map(Some(map))))), _)) => Some(*map),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(node = %peer.node(), %error, "no map");
            None
        }
    }
}
