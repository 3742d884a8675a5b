//! Who answers: heartbeats counted in ticks, decisions made by whoever leads the control group.
//!
//! Every node sends its heartbeat to all voters of the control group, so that a new leader knows at once what the old one
//! knew. This is soft state and pure: a tick is one look of the leader, not wall time, so that a leader that was stopped for a minute
//! does not wake up and declare everyone dead.
//!
//! | heard of a node | map says | proposal |
//! | --- | --- | --- |
//! | nothing for [`SILENT_TICKS_MAX`] | up | down |
//! | within [`RECENT_TICKS`] | down, or an older incarnation | up, with the incarnation that was heard |

use std::collections::BTreeMap;
use std::time::Duration;
use types::{Incarnation, NodeId, NodeState, PlacementMap};

/// How often nodes send heartbeats, and the leader looks.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// Silence after which a node counts as down. Four heartbeats: one lost packet is sent again by QUIC within that time, a pause of
/// a second delays writers more than a switch to other nodes does.
const SILENT_TICKS_MAX: u64 = 4;
/// A heartbeat this fresh shows that a node is there.
const RECENT_TICKS: u64 = 2;

/// What the leader should record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) state: NodeState,
}

/// The heartbeats of all nodes.
#[derive(Default)]
pub(crate) struct Liveness {
    now: u64,
    /// Since when this node leads, without a break.
    leading_since: Option<u64>,
    heard: BTreeMap<NodeId, (u64, Incarnation)>,
}

impl Liveness {
    /// A heartbeat has come. One of an earlier life is ignored.
    pub(crate) fn heard(&mut self, node: NodeId, incarnation: Incarnation) {
        let now = self.now;
        match self.heard.get_mut(&node) {
            Some((_, known)) if *known > incarnation => {}
            Some(heard) => *heard = (now, incarnation),
            None => {
                self.heard.insert(node, (now, incarnation));
            }
        }
    }

    /// A tick has passed. Returns what should be recorded; the same again at the next tick until the map shows it.
    pub(crate) fn tick(&mut self, leading: bool, map: &PlacementMap) -> Vec<Verdict> {
        self.now += 1;
        if !leading {
            self.leading_since = None;
            return Vec::new();
        }
        let since = *self.leading_since.get_or_insert(self.now);
        self.heard.retain(|node, _| map.node(*node).is_some());
        let verdict = |entry: &types::NodeEntry| {
            let (last, incarnation) = self.heard.get(&entry.id).copied().unwrap_or((0, entry.incarnation));
            let silent = self.now - last.max(since);
            let recent = last > 0 && self.now - last <= RECENT_TICKS;
            if recent && (entry.state == NodeState::Down || incarnation > entry.incarnation) {
                Some(Verdict { node: entry.id, incarnation, state: NodeState::Up })
            } else if silent >= SILENT_TICKS_MAX && entry.state == NodeState::Up {
                Some(Verdict {
                    node: entry.id,
                    incarnation: entry.incarnation.max(incarnation),
                    state: NodeState::Down,
                })
            } else {
                None
            }
        };
        map.nodes.iter().filter_map(verdict).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{DiskId, NodeEntry};

    fn map(states: &[NodeState]) -> PlacementMap {
        let nodes = states.iter().zip(1..).map(|(state, id)| NodeEntry {
            id: NodeId(id),
            addr: String::new(),
            domain: id.to_string(),
            disks: vec![DiskId([id as u8; 16])],
            incarnation: Incarnation(1),
            state: *state,
        });
        PlacementMap { version: 1, nodes: nodes.collect(), ..PlacementMap::default() }
    }

    fn verdict(node: u64, incarnation: u64, state: NodeState) -> Verdict {
        Verdict { node: NodeId(node), incarnation: Incarnation(incarnation), state }
    }

    use NodeState::{Down, Up};

    #[test]
    fn a_silent_node_is_down_after_four_ticks_and_up_when_it_is_heard() {
        let mut liveness = Liveness::default();
        let up = map(&[Up, Up]);
        let mut found = Vec::new();
        for _ in 0..=SILENT_TICKS_MAX {
            assert_eq!(found, []);
            liveness.heard(NodeId(1), Incarnation(1));
            found = liveness.tick(true, &up);
        }
        assert_eq!(found, [verdict(2, 1, Down)]);
        let down = map(&[Up, Down]);
        liveness.heard(NodeId(1), Incarnation(1));
        assert_eq!(liveness.tick(true, &down), []);
        liveness.heard(NodeId(2), Incarnation(1));
        assert_eq!(liveness.tick(true, &down), [verdict(2, 1, Up)]);
    }

    #[test]
    fn a_new_leader_waits_before_it_judges() {
        let mut liveness = Liveness::default();
        let up = map(&[Up]);
        for _ in 0..100 {
            assert_eq!(liveness.tick(false, &up), []);
        }
        for _ in 0..SILENT_TICKS_MAX {
            assert_eq!(liveness.tick(true, &up), []);
        }
        assert_eq!(liveness.tick(true, &up), [verdict(1, 1, Down)]);
    }

    #[test]
    fn a_new_life_is_recorded_and_an_old_one_ignored() {
        let mut liveness = Liveness::default();
        let up = map(&[Up]);
        liveness.heard(NodeId(1), Incarnation(3));
        liveness.tick(true, &up);
        liveness.heard(NodeId(1), Incarnation(3));
        liveness.heard(NodeId(1), Incarnation(2));
        assert_eq!(liveness.tick(true, &up), [verdict(1, 3, Up)]);
    }

    #[test]
    fn strangers_are_forgotten() {
        let mut liveness = Liveness::default();
        liveness.heard(NodeId(9), Incarnation(1));
        liveness.tick(true, &map(&[Up]));
        assert!(liveness.heard.is_empty());
    }
}
