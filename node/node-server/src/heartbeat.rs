//! "I am alive", to every voter of the control group; and what their answers say of this node's own place in the cluster.

use crate::dispatch::Dispatch;
use crate::liveness::TICK;
use crate::peers::Peers;
use parking_lot::Mutex;
use proto::node::{Ailment, Fullness, NodeReply, NodeRequest};
use proto::{Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use types::{DiskId, DiskState, GroupId, Incarnation, NodeId};

/// A heartbeat that is not answered by then is lost; the next is on its way.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// How long this node takes changes to chunks after the sending of a heartbeat that the leader of the control group answered. Longer than an
/// election, so that a new leader costs no puts.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// How long a leader has to hear nothing of a node until it may believe that its lease ran out: the lease, the time for which a leader that was
/// replaced may still have answered, and something for clocks that run unevenly.
pub(crate) const LEASE_OVER: Duration = Duration::from_secs(12);

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

/// Disks of this node that are not well, by the ids that the map has for them: one that did not open does not know its own.
fn ailing_disks(peers: &Peers, dispatch: &Dispatch) -> Vec<(DiskId, Ailment)> {
    let map = peers.map();
    let Some(entry) = map.node(peers.own()) else { return Vec::new() };
    // One that was added since this node started is not there for it yet.
    let unknown = std::iter::repeat((true, Fullness::Normal));
    let conditions = dispatch.chunks.conditions().into_iter().chain(unknown);
    let ailing = entry.disks.iter().zip(conditions).filter_map(|(disk, (fenced, fullness))| {
        let ailment = ailment(fenced, fullness, disk.state == DiskState::Full)?;
        Some((disk.id, ailment))
    });
    ailing.collect()
}

/// A disk that was reported full stays so until copies may come to it again: one at the edge must not change the map with every chunk.
fn ailment(fenced: bool, fullness: Fullness, was_full: bool) -> Option<Ailment> {
    let full_from = if was_full { Fullness::Backfill } else { Fullness::Full };
    match fenced {
        true => Some(Ailment::Fenced),
        false => (fullness >= full_from).then_some(Ailment::Full),
    }
}

/// Sends heartbeats for ever.
pub(crate) async fn beat(peers: Peers, incarnation: Incarnation, dispatch: Arc<Dispatch>, last: Arc<LastHeard>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let node = peers.own();
    loop {
        ticks.tick().await;
        let ailing = ailing_disks(&peers, &dispatch);
        for voter in peers.map().voters(GroupId::CONTROL).to_vec() {
            let ailing = ailing.clone();
            if voter == node {
                dispatch.heard(node, incarnation, ailing);
                if dispatch.leads_control() {
                    last.note(node);
                    if let Some(version) = dispatch.lease_map() {
                        dispatch.chunks.lease(version, Instant::now() + LEASE);
                    }
                }
                continue;
            }
            // Not awaited: one that hangs must not delay the others.
            let (peers, last, chunks) = (peers.clone(), last.clone(), dispatch.chunks.clone());
            tokio::spawn(async move {
                let sent = Instant::now();
                let request = Request::Node(NodeRequest::Heartbeat { node, incarnation, ailing });
                let reply = peers.call(voter, &request, ANSWER_MAX).await;
                if let Some(Reply::Node(NodeReply::Heard { leading: true, map_version })) = reply {
                    last.note(voter);
                    // From the sending on: the leader heard it later.
                    if map_version > 0 {
                        chunks.lease(map_version, sent + LEASE);
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_well_again_once_it_may_take_copies() {
        assert_eq!([Fullness::Normal, Fullness::Backfill].map(|fullness| ailment(false, fullness, false)), [None; 2]);
        assert_eq!(ailment(false, Fullness::Full, false), Some(Ailment::Full));
        assert_eq!(ailment(false, Fullness::Backfill, true), Some(Ailment::Full));
        assert_eq!(ailment(false, Fullness::Near, true), None);
        assert_eq!(ailment(true, Fullness::Full, true), Some(Ailment::Fenced));
    }
}
