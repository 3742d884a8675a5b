//! Who answers, counted in looks of whoever leads the control group, as in `node-server`'s `liveness.rs`.

use proto::control::ControlCommand;
use std::collections::{BTreeMap, BTreeSet};
use types::{DiskId, DiskState, Incarnation, NodeEntry, NodeId, NodeMode, NodeState, PlacementMap};

/// Silence after which a node is down.
const SILENT_TICKS_MAX: u64 = 4;
/// A heartbeat this fresh shows that a node is there.
const RECENT_TICKS: u64 = 2;
/// A node that is being emptied is waited for this part of the out time.
const DRAINED_SHARE: u64 = 3;

/// The heartbeats that a voter of the control group has heard. Soft state.
#[derive(Default)]
pub struct Liveness {
    now: u64,
    /// Since when this node leads, without a break.
    leading_since: Option<u64>,
    heard: BTreeMap<NodeId, (u64, Incarnation)>,
    /// Nodes that said lately that their disk is dead.
    ailing: BTreeSet<NodeId>,
}

impl Liveness {
    /// A heartbeat has come. One of an earlier life is ignored.
    pub fn heard(&mut self, node: NodeId, incarnation: Incarnation, ailing: bool) {
        if self.heard.get(&node).is_some_and(|(_, known)| *known > incarnation) {
            return;
        }
        self.heard.insert(node, (self.now, incarnation));
        if ailing {
            self.ailing.insert(node);
        } else {
            self.ailing.remove(&node);
        }
    }

    /// A look. Says what should be recorded; the same again at the next look until the map shows it. `out` is the out time in looks.
    pub fn tick(&mut self, leading: bool, map: &PlacementMap, out: u64) -> Vec<ControlCommand> {
        self.now += 1;
        if !leading {
            self.leading_since = None;
            return Vec::new();
        }
        let since = *self.leading_since.get_or_insert(self.now);
        let verdict = |entry: &NodeEntry| {
            let (last, heard) = self.heard.get(&entry.id).copied().unwrap_or((0, entry.incarnation));
            let silent = self.now - last.max(since);
            let patience = if entry.mode == NodeMode::Draining { out / DRAINED_SHARE } else { out };
            let recent = last > 0 && self.now - last <= RECENT_TICKS;
            let (incarnation, state) = if recent
                && heard >= entry.incarnation
                && (entry.state != NodeState::Up || heard > entry.incarnation)
            {
                (heard, NodeState::Up)
            } else if silent >= SILENT_TICKS_MAX && entry.state == NodeState::Up {
                (entry.incarnation.max(heard), NodeState::Down)
            } else if silent >= patience.max(SILENT_TICKS_MAX) && entry.state == NodeState::Down {
                (entry.incarnation.max(heard), NodeState::Out)
            } else {
                return None;
            };
            Some(ControlCommand::SetNodeState { node: entry.id, incarnation, state })
        };
        map.nodes.iter().filter_map(verdict).collect()
    }

    /// What nodes that are there say of their disks, and the map does not show.
    #[must_use]
    pub fn disks(&self, map: &PlacementMap) -> Vec<ControlCommand> {
        let recent = |node: &NodeId| self.heard.get(node).is_some_and(|(last, _)| self.now - *last <= RECENT_TICKS);
        let mut found = Vec::new();
        for node in map.nodes.iter().filter(|node| self.leading_since.is_some() && recent(&node.id)) {
            let ails = self.ailing.contains(&node.id);
            let changed = |disk: &&types::DiskEntry| match disk.state {
                DiskState::Failed => false,
                DiskState::Broken => !ails,
                _ => ails,
            };
            let state = if ails { DiskState::Broken } else { DiskState::Active };
            let say = |disk: DiskId| ControlCommand::SetDiskState { disk, state };
            found.extend(node.disks.iter().filter(changed).map(|disk| say(disk.id)));
        }
        found
    }

    /// For how many looks this leader has heard nothing of a node, at least; none while it does not lead.
    #[must_use]
    pub fn silence(&self, node: NodeId) -> u64 {
        let Some(since) = self.leading_since else { return 0 };
        self.now - self.heard.get(&node).map_or(0, |(last, _)| *last).max(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> PlacementMap {
        let node = |id: u64| NodeEntry::new(NodeId(id), String::new(), id.to_string(), [DiskId([id as u8; 16])]);
        PlacementMap { version: 1, nodes: vec![node(1), node(2)], ..PlacementMap::default() }
    }

    fn state(command: &ControlCommand) -> (u64, NodeState) {
        match command {
            ControlCommand::SetNodeState { node, state, .. } => (node.0, *state),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_silent_node_is_down_then_out_and_up_when_it_is_heard() {
        let (mut liveness, mut map, mut seen) = (Liveness::default(), map(), Vec::new());
        for look in 0..20 {
            liveness.heard(NodeId(1), Incarnation(0), false);
            if look > 15 {
                liveness.heard(NodeId(2), Incarnation(3), false);
            }
            for command in liveness.tick(true, &map, 9) {
                let (node, state) = state(&command);
                seen.push((look, node, state));
                map.nodes[1].state = state;
                map.nodes[1].incarnation = Incarnation(3);
            }
        }
        use NodeState::{Down, Out, Up};
        assert_eq!(seen, [(4, 2, Down), (9, 2, Out), (16, 2, Up)]);
        assert_eq!(liveness.tick(false, &map, 9), []);
        assert_eq!(liveness.silence(NodeId(2)), 0, "who does not lead knows nothing");
    }

    #[test]
    fn a_disk_is_broken_and_well_again_as_its_node_says() {
        let (mut liveness, mut map) = (Liveness::default(), map());
        liveness.tick(true, &map, 9);
        liveness.heard(NodeId(2), Incarnation(0), true);
        let disk = map.nodes[1].disks[0].id;
        let say = |state| vec![ControlCommand::SetDiskState { disk, state }];
        assert_eq!(liveness.disks(&map), say(DiskState::Broken));
        map.nodes[1].disks[0].state = DiskState::Broken;
        assert_eq!(liveness.disks(&map), []);
        liveness.heard(NodeId(2), Incarnation(0), false);
        assert_eq!(liveness.disks(&map), say(DiskState::Active));
        map.nodes[1].disks[0].state = DiskState::Failed;
        assert_eq!(liveness.disks(&map), []);
    }
}
