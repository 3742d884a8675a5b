//! Who is alive: every node tells the leader of the control group; the leader turns silence into `SetNodeState`.
//!
//! The counts are soft state of whoever leads. A new leader gives everyone one full silence before it judges.

use crate::map::KnownMap;
use crate::peers::Peers;
use meta_server::MetaServer;
use parking_lot::Mutex;
use proto::control::ControlCommand;
use proto::log::LogCommand;
use proto::node::{NodeReply, NodeRequest};
use proto::{Reply, Request};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::{GroupId, Incarnation, NodeId, NodeState};

/// Between two heartbeats of a node.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// Silence after which a node is down: four heartbeats. Writers then stop waiting for it.
const SILENCE_MAX: Duration = Duration::from_millis(1000);

/// What the leader of the control group has heard.
pub(crate) struct Liveness {
    node: NodeId,
    incarnation: Incarnation,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    leading_since: Option<Instant>,
    nodes: BTreeMap<NodeId, (Incarnation, Instant)>,
}

impl Liveness {
    pub(crate) fn new(node: NodeId, incarnation: Incarnation) -> Self {
        Liveness { node, incarnation, heard: Mutex::new(Heard::default()) }
    }

    /// A heartbeat has arrived.
    pub(crate) fn heard(&self, node: NodeId, incarnation: Incarnation) {
        let mut heard = self.heard.lock();
        let entry = heard.nodes.entry(node).or_insert((incarnation, Instant::now()));
        if incarnation >= entry.0 {
            *entry = (incarnation, Instant::now());
        }
    }

    /// What should be recorded, given what the map says. Empty unless this node has led for a full silence.
    fn verdicts(&self, leads: bool, map: &types::PlacementMap) -> Vec<(NodeId, Incarnation, NodeState)> {
        let mut heard = self.heard.lock();
        if !leads {
            heard.leading_since = None;
            return Vec::new();
        }
        let since = *heard.leading_since.get_or_insert_with(Instant::now);
        let settled = since.elapsed() > SILENCE_MAX;
        let mut verdicts = Vec::new();
        for entry in &map.nodes {
            let last = heard.nodes.get(&entry.id).filter(|(_, when)| when.elapsed() <= SILENCE_MAX);
            match last {
                Some((incarnation, _)) if entry.state == NodeState::Down || *incarnation > entry.incarnation => {
                    verdicts.push((entry.id, *incarnation, NodeState::Up));
                }
                None if settled && entry.state == NodeState::Up => {
                    let known = heard.nodes.get(&entry.id).map_or(entry.incarnation, |(incarnation, _)| *incarnation);
                    verdicts.push((entry.id, known.max(entry.incarnation), NodeState::Down));
                }
                _ => {}
            }
        }
        verdicts
    }
}

/// Sends heartbeats and, where this node leads the control group, records who is up. Runs until dropped.
pub(crate) async fn run(liveness: Arc<Liveness>, meta: Arc<MetaServer>, known: Arc<KnownMap>, peers: Arc<Peers>) {
    let mut ticks = tokio::time::interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let leads = meta.is_leader(GroupId::CONTROL);
        if leads {
            liveness.heard(liveness.node, liveness.incarnation);
        } else {
            beat(&liveness, &meta, &known, &peers);
        }
        for (node, incarnation, state) in liveness.verdicts(leads, &known.get()) {
            tracing::info!(%node, %incarnation, ?state, "node state changes");
            let command = LogCommand::Control(ControlCommand::SetNodeState { node, incarnation, state });
            if let Err(error) = meta.propose(GroupId::CONTROL, command).await {
                tracing::debug!(%error, "the state is recorded at the next turn");
            }
        }
    }
}

/// Tells the leader, or all voters if none is known. Not waited for: a dead peer must not delay the next heartbeat.
fn beat(liveness: &Liveness, meta: &MetaServer, known: &KnownMap, peers: &Arc<Peers>) {
    let voters = match meta.leader_of(GroupId::CONTROL) {
        Some(leader) => vec![leader],
        None => known.get().voters(GroupId::CONTROL).to_vec(),
    };
    for voter in voters.into_iter().filter(|voter| *voter != liveness.node) {
        let heartbeat = NodeRequest::Heartbeat { node: liveness.node, incarnation: liveness.incarnation };
        let peers = peers.clone();
        tokio::spawn(async move {
            let answer = peers.small(voter, &Request::Node(heartbeat), SILENCE_MAX).await;
            if !matches!(answer, Some(Reply::Node(NodeReply::Heard { .. }))) {
                tracing::debug!(%voter, "heartbeat not heard");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{NodeEntry, PlacementMap};

    fn map(state: NodeState) -> PlacementMap {
        let entry = |id| NodeEntry {
            id: NodeId(id),
            addr: String::new(),
            domain: id.to_string(),
            disks: Vec::new(),
            incarnation: Incarnation(3),
            state,
        };
        PlacementMap { nodes: vec![entry(1), entry(2)], ..PlacementMap::default() }
    }

    #[test]
    fn a_new_leader_does_not_judge_before_it_could_have_heard() {
        let liveness = Liveness::new(NodeId(1), Incarnation(3));
        assert!(liveness.verdicts(true, &map(NodeState::Up)).is_empty());
        let long_ago = Instant::now().checked_sub(2 * SILENCE_MAX).expect("the machine has been up that long");
        liveness.heard.lock().leading_since = Some(long_ago);
        liveness.heard(NodeId(1), Incarnation(3));
        assert_eq!(liveness.verdicts(true, &map(NodeState::Up)), [(NodeId(2), Incarnation(3), NodeState::Down)]);
        assert!(liveness.verdicts(false, &map(NodeState::Up)).is_empty());
    }

    #[test]
    fn a_node_heard_again_is_up_and_an_older_life_of_it_is_ignored() {
        let liveness = Liveness::new(NodeId(1), Incarnation(3));
        liveness.heard(NodeId(2), Incarnation(5));
        liveness.heard(NodeId(2), Incarnation(4));
        assert_eq!(liveness.verdicts(true, &map(NodeState::Down)), [(NodeId(2), Incarnation(5), NodeState::Up)]);
        // A restart is recorded even if nobody noticed the death.
        assert_eq!(liveness.verdicts(true, &map(NodeState::Up)), [(NodeId(2), Incarnation(5), NodeState::Up)]);
    }
}
