//! Who answers: heartbeats counted in ticks, decisions made by whoever leads the control group.
//!
//! Every node sends its heartbeat to all voters of the control group, so that a new leader knows at once what the old one
//! knew. This is soft state and pure: a tick is one look of the leader, not wall time, so that a leader that was stopped for a minute
//! does not wake up and declare everyone dead.
//!
//! | heard of a node | map says | proposal |
//! | --- | --- | --- |
//! | nothing for [`SILENT_TICKS_MAX`] | up | down |
//! | nothing for the out time, a setting of the cluster, and no operator lets it rest | down | out |
//! | nothing for [`DRAINED_OUT`], of a node that is being emptied | down | out |
//! | within [`RECENT_TICKS`] | down, out, or an older incarnation | up, with the incarnation that was heard |

use proto::node::Ailment;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::{DiskId, DiskState, Incarnation, NodeId, NodeMode, NodeState, PlacementMap};

/// How often nodes send heartbeats, and the leader looks.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// Silence after which a node counts as down. Four heartbeats: one lost packet is sent again by QUIC within that time, a pause of
/// a second delays writers more than a switch to other nodes does.
const SILENT_TICKS_MAX: u64 = 4;
/// Silence after which a node that is being emptied is out, if the out time is not shorter: the operator has said that it leaves, so there is
/// nothing to wait for but a short restart.
const DRAINED_OUT: Duration = Duration::from_secs(10);
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
    /// Disks of which nodes last reported that they are not well.
    ailing: BTreeMap<NodeId, Vec<(DiskId, Ailment)>>,
    /// Nodes that may be away.
    resting: BTreeSet<NodeId>,
}

impl Liveness {
    /// A heartbeat has come. One of an earlier life is ignored.
    pub(crate) fn heard(&mut self, node: NodeId, incarnation: Incarnation, ailing: Vec<(DiskId, Ailment)>) {
        let now = self.now;
        if self.heard.get(&node).is_none_or(|(_, known)| *known <= incarnation) {
            self.ailing.insert(node, ailing);
        }
        match self.heard.get_mut(&node) {
            Some((_, known)) if *known > incarnation => {}
            Some(heard) => *heard = (now, incarnation),
            None => {
                self.heard.insert(node, (now, incarnation));
            }
        }
    }

    /// These may be away from now on, and nobody else.
    pub(crate) fn let_rest(&mut self, nodes: BTreeSet<NodeId>) {
        self.resting = nodes;
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
        self.ailing.retain(|node, _| map.node(*node).is_some());
        let out = ticks(Duration::from_secs(u64::from(map.options.out_after_seconds))).max(SILENT_TICKS_MAX);
        let verdict = |entry: &types::NodeEntry| {
            let (last, incarnation) = self.heard.get(&entry.id).copied().unwrap_or((0, entry.incarnation));
            let silent = self.now - last.max(since);
            let out = if entry.mode == NodeMode::Draining { out.min(ticks(DRAINED_OUT)) } else { out };
            // Who is being emptied leaves, whatever was said before.
            let rests = self.resting.contains(&entry.id) && entry.mode != NodeMode::Draining;
            let recent = last > 0 && self.now - last <= RECENT_TICKS;
            let state = |state| Verdict { node: entry.id, incarnation: entry.incarnation.max(incarnation), state };
            if recent && (entry.state != NodeState::Up || incarnation > entry.incarnation) {
                Some(Verdict { node: entry.id, incarnation, state: NodeState::Up })
            } else if silent >= SILENT_TICKS_MAX && entry.state == NodeState::Up {
                Some(state(NodeState::Down))
            } else if silent >= out && entry.state == NodeState::Down && !rests {
                Some(state(NodeState::Out))
            } else {
                None
            }
        };
        map.nodes.iter().filter_map(verdict).collect()
    }
}

impl Liveness {
    /// What nodes that are there say of their disks and the map does not show: failed and full ones at once, well ones when they were neither.
    /// What operators said of a disk that works stays.
    pub(crate) fn disks(&self, map: &PlacementMap) -> Vec<(DiskId, DiskState)> {
        let mut found = Vec::new();
        for node in &map.nodes {
            let recent =
                self.heard.get(&node.id).is_some_and(|(last, _)| *last > 0 && self.now - *last <= RECENT_TICKS);
            let Some(ailing) = self.ailing.get(&node.id).filter(|_| recent && self.leading_since.is_some()) else {
                continue;
            };
            for disk in &node.disks {
                let says = ailing.iter().find(|(id, _)| *id == disk.id).map(|(_, ailment)| *ailment);
                let found_state = match (says, disk.state) {
                    (_, DiskState::Failed) | (Some(Ailment::Fenced), DiskState::Broken) => continue,
                    (Some(Ailment::Fenced), _) => DiskState::Broken,
                    (Some(Ailment::Full), DiskState::Active | DiskState::Broken) => DiskState::Full,
                    (None, DiskState::Broken | DiskState::Full) => DiskState::Active,
                    _ => continue,
                };
                found.push((disk.id, found_state));
            }
        }
        found
    }

    /// How long this leader has heard nothing of a node, at least; zero while it does not lead.
    pub(crate) fn silence(&self, node: NodeId) -> Duration {
        let Some(since) = self.leading_since else { return Duration::ZERO };
        let last = self.heard.get(&node).map_or(0, |(last, _)| *last);
        TICK * u32::try_from(self.now - last.max(since)).unwrap_or(u32::MAX)
    }
}

fn ticks(time: Duration) -> u64 {
    (time.as_millis() / TICK.as_millis()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::NodeEntry;

    fn map(states: &[NodeState]) -> PlacementMap {
        let nodes = states.iter().zip(1..).map(|(state, id)| NodeEntry {
            incarnation: Incarnation(1),
            state: *state,
            ..NodeEntry::new(NodeId(id), String::new(), id.to_string(), [DiskId([id as u8; 16])])
        });
        PlacementMap { version: 1, nodes: nodes.collect(), ..PlacementMap::default() }
    }

    fn verdict(node: u64, incarnation: u64, state: NodeState) -> Verdict {
        Verdict { node: NodeId(node), incarnation: Incarnation(incarnation), state }
    }

    use NodeState::{Down, Out, Up};

    #[test]
    fn a_silent_node_is_down_after_four_ticks_and_up_when_it_is_heard() {
        let mut liveness = Liveness::default();
        let up = map(&[Up, Up]);
        let mut found = Vec::new();
        for _ in 0..=SILENT_TICKS_MAX {
            assert_eq!(found, []);
            liveness.heard(NodeId(1), Incarnation(1), Vec::new());
            found = liveness.tick(true, &up);
        }
        assert_eq!(found, [verdict(2, 1, Down)]);
        let down = map(&[Up, Down]);
        liveness.heard(NodeId(1), Incarnation(1), Vec::new());
        assert_eq!(liveness.tick(true, &down), []);
        liveness.heard(NodeId(2), Incarnation(1), Vec::new());
        assert_eq!(liveness.tick(true, &down), [verdict(2, 1, Up)]);
    }

    #[test]
    fn a_node_that_stays_silent_is_out_after_the_out_time_and_not_before() {
        let mut liveness = Liveness::default();
        let mut map = map(&[Up, Down, Out]);
        map.options.out_after_seconds = 3;
        let mut tick = || {
            liveness.heard(NodeId(1), Incarnation(1), Vec::new());
            let found = liveness.tick(true, &map);
            (found, liveness.silence(NodeId(2)))
        };
        for _ in 0..12 {
            assert_eq!(tick().0, []);
        }
        assert_eq!(tick(), (vec![verdict(2, 1, Out)], Duration::from_secs(3)));
        liveness.heard(NodeId(3), Incarnation(2), Vec::new());
        let found = liveness.tick(true, &map);
        assert!(found.contains(&verdict(3, 2, Up)), "{found:?}");
        assert_eq!(liveness.silence(NodeId(3)), TICK);
        liveness.tick(false, &map);
        assert_eq!(liveness.silence(NodeId(2)), Duration::ZERO, "who does not lead knows nothing");
    }

    #[test]
    fn a_node_that_rests_is_down_and_not_out() {
        let mut liveness = Liveness::default();
        let mut map = map(&[Up, Up]);
        map.options.out_after_seconds = 3;
        let ticks = |liveness: &mut Liveness, map: &mut PlacementMap| {
            for _ in 0..40 {
                liveness.heard(NodeId(1), Incarnation(1), Vec::new());
                for verdict in liveness.tick(true, map) {
                    map.nodes[1].state = verdict.state;
                }
            }
            map.nodes[1].state
        };
        liveness.let_rest([NodeId(2)].into());
        assert_eq!(ticks(&mut liveness, &mut map), Down);
        map.nodes[1].mode = NodeMode::Draining;
        assert_eq!(ticks(&mut liveness, &mut map), Out, "who is being emptied leaves");
        (map.nodes[1].mode, map.nodes[1].state) = (NodeMode::Active, Down);
        assert_eq!(ticks(&mut liveness, &mut map), Down);
        liveness.let_rest(BTreeSet::new());
        assert_eq!(ticks(&mut liveness, &mut map), Out, "the rest is over");
    }

    #[test]
    fn a_silent_node_that_is_being_emptied_is_not_waited_for() {
        let mut liveness = Liveness::default();
        let mut map = map(&[Down, Down]);
        map.nodes[1].mode = NodeMode::Draining;
        let found: Vec<_> = (0..=ticks(DRAINED_OUT)).flat_map(|_| liveness.tick(true, &map)).collect();
        assert_eq!(found, [verdict(2, 1, Out)]);
    }

    #[test]
    fn a_disk_is_broken_or_full_and_well_again_as_its_node_says() {
        let mut liveness = Liveness::default();
        let mut map = map(&[Up, Up]);
        let disk = map.nodes[0].disks[0].id;
        let mut say = |map: &PlacementMap, says: Option<Ailment>| {
            liveness.heard(NodeId(1), Incarnation(1), says.map(|ailment| (disk, ailment)).into_iter().collect());
            liveness.tick(true, map);
            liveness.disks(map)
        };
        let (well, fenced, full) = (None, Some(Ailment::Fenced), Some(Ailment::Full));
        for (before, says, after) in [
            (DiskState::Active, well, None),
            (DiskState::Active, fenced, Some(DiskState::Broken)),
            (DiskState::Broken, fenced, None),
            (DiskState::Broken, well, Some(DiskState::Active)),
            (DiskState::Active, full, Some(DiskState::Full)),
            (DiskState::Full, full, None),
            (DiskState::Full, fenced, Some(DiskState::Broken)),
            (DiskState::Broken, full, Some(DiskState::Full)),
            (DiskState::Full, well, Some(DiskState::Active)),
        ] {
            map.nodes[0].disks[0].state = before;
            assert_eq!(say(&map, says), after.map(|after| (disk, after)).as_slice(), "{before:?}, {says:?}");
        }
        for said in [DiskState::Failed, DiskState::Draining, DiskState::ReadOnly] {
            map.nodes[0].disks[0].state = said;
            assert!([well, full].into_iter().all(|says| say(&map, says).is_empty()), "{said:?} is the operator's word");
        }
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
        liveness.heard(NodeId(1), Incarnation(3), Vec::new());
        liveness.tick(true, &up);
        liveness.heard(NodeId(1), Incarnation(3), Vec::new());
        liveness.heard(NodeId(1), Incarnation(2), Vec::new());
        assert_eq!(liveness.tick(true, &up), [verdict(1, 3, Up)]);
    }

    #[test]
    fn strangers_are_forgotten() {
        let mut liveness = Liveness::default();
        liveness.heard(NodeId(9), Incarnation(1), Vec::new());
        liveness.tick(true, &map(&[Up]));
        assert!(liveness.heard.is_empty());
    }
}
