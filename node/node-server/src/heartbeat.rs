//! "I am alive", to every voter of the control group; and what their answers say of this node's own place in the cluster.

use crate::dispatch::Dispatch;
use crate::liveness::TICK;
use crate::peers::Peers;
use parking_lot::Mutex;
use proto::node::{NodeReply, NodeRequest};
use proto::{Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use types::{GroupId, Incarnation, NodeId};

/// A heartbeat that is not answered by then is lost; the next is on its way.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// When the leader of the control group last answered this node.
#[derive(Default)]
pub(crate) struct LastHeard(Mutex<Option<(Instant, NodeId)>>);

impl LastHeard {
    pub(crate) fn note(&self, leader: NodeId) {
        *self.0.lock() = Some((Instant::now(), leader));
    }

    /// Who leads the control group, if it answered within `max`.
    pub(crate) fn leader(&self, max: Duration) -> Option<NodeId> {
        let (at, leader) = (*self.0.lock())?;
        (at.elapsed() <= max).then_some(leader)
    }
}

/// Sends heartbeats for ever.
pub(crate) async fn beat(peers: Peers, incarnation: Incarnation, dispatch: Arc<Dispatch>, last: Arc<LastHeard>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let node = peers.own();
    loop {
        ticks.tick().await;
        for voter in peers.map().voters(GroupId::CONTROL).to_vec() {
            if voter == node {
                dispatch.heard(node, incarnation);
                if dispatch.leads_control() {
                    last.note(node);
                }
                continue;
            }
            // Not awaited: one that hangs must not delay the others.
            let (peers, last) = (peers.clone(), last.clone());
            tokio::spawn(async move {
                let request = Request::Node(NodeRequest::Heartbeat { node, incarnation });
                let reply = peers.call(voter, &request, ANSWER_MAX).await;
                if let Some(Reply::Node(NodeReply::Heard { leading: true })) = reply {
                    last.note(voter);
                }
            });
        }
    }
}
