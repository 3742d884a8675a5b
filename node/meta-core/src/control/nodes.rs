//! The placement map and the states of the nodes in it.

use super::{Change, Step, rules};
use crate::key::control::MapKey;
use proto::control::{ControlOutcome, ControlRefusal};
use types::{
    DiskEntry, DiskId, DiskState, Incarnation, Member, NODE_DISKS_MAX, NodeEntry, NodeId, NodeMode, NodeState,
    PlacementMap, PlacementOptions,
};

impl Change<'_> {
    /// Sets the first placement map; a later one is left alone.
    pub(super) fn bootstrap(&mut self, map: &PlacementMap) -> Step<ControlOutcome> {
        if !rules::is_whole(map) {
            return Err(ControlRefusal::RuleGroups.into());
        }
        if self.read(&MapKey)?.is_none() {
            self.write(&MapKey, map);
        }
        Ok(ControlOutcome::Done)
    }

    /// Records what is known of a node. What is older than what is known changes nothing.
    pub(super) fn set_node_state(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        state: NodeState,
    ) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        let entry = entry_of(&mut map, node)?;
        // A node that is out is not merely down: the way back is up.
        let softer = entry.state == NodeState::Out && state == NodeState::Down;
        let known = softer || (incarnation, state) == (entry.incarnation, entry.state);
        if incarnation >= entry.incarnation && !known {
            (entry.incarnation, entry.state) = (incarnation, state);
            self.set_map(map);
        }
        Ok(ControlOutcome::Done)
    }

    /// Sets what is wanted of a node. It is removed only when nothing is on it any more, and then for ever.
    pub(super) fn set_node_mode(&mut self, node: NodeId, mode: NodeMode) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        let holds = map.groups.iter().any(|group| group.takers().any(|taker: Member| taker.node == node));
        let votes = map.raft_groups.iter().any(|group| group.voters.contains(&node) || group.wanted.contains(&node));
        let entry = entry_of(&mut map, node)?;
        if entry.mode == mode {
            return Ok(ControlOutcome::Done);
        }
        match (entry.mode, mode) {
            (NodeMode::Removed, _) => return Err(ControlRefusal::Gone.into()),
            (_, NodeMode::Removed) if holds || votes => return Err(ControlRefusal::InUse.into()),
            _ => entry.mode = mode,
        }
        self.set_map(map);
        Ok(ControlOutcome::Done)
    }

    /// Sets what may be done with a disk. One that failed is never trusted again.
    pub(super) fn set_disk_state(&mut self, disk: DiskId, state: DiskState) -> Step<ControlOutcome> {
        self.change_disk(disk, |entry| match (entry.state, state) {
            (DiskState::Failed, DiskState::Failed) => Ok(()),
            (DiskState::Failed, _) => Err(ControlRefusal::Gone),
            _ => {
                entry.state = state;
                Ok(())
            }
        })
    }

    /// Appends a disk to those of a node: their order is the order of the node's folders.
    pub(super) fn add_disk(&mut self, node: NodeId, disk: DiskId, class: &str) -> Step<ControlOutcome> {
        if !DiskEntry::is_class(class) {
            return Err(ControlRefusal::InvalidName.into());
        }
        let mut map = self.map()?;
        let owner = map.nodes.iter().find(|entry| entry.disks.iter().any(|known| known.id == disk));
        match owner.map(|owner| owner.id) {
            Some(owner) if owner == node => return Ok(ControlOutcome::Done),
            Some(_) => return Err(ControlRefusal::NodeExists.into()),
            None => {}
        }
        let entry = entry_of(&mut map, node)?;
        if entry.mode == NodeMode::Removed {
            return Err(ControlRefusal::Gone.into());
        }
        if entry.disks.len() >= NODE_DISKS_MAX {
            return Err(ControlRefusal::Limit.into());
        }
        entry.disks.push(DiskEntry { class: class.to_owned(), state: DiskState::Broken, ..DiskEntry::new(disk) });
        self.set_map(map);
        Ok(ControlOutcome::Done)
    }

    pub(super) fn set_disk_weight(&mut self, disk: DiskId, class: &str, weight: u32) -> Step<ControlOutcome> {
        if !DiskEntry::is_class(class) {
            return Err(ControlRefusal::InvalidName.into());
        }
        self.change_disk(disk, |entry| {
            (entry.class, entry.weight) = (class.to_owned(), weight);
            Ok(())
        })
    }

    pub(super) fn set_placement(&mut self, options: &PlacementOptions) -> Step<ControlOutcome> {
        options.validate().map_err(ControlRefusal::from)?;
        let mut map = self.map()?;
        if map.options != *options {
            map.options = options.clone();
            self.set_map(map);
        }
        Ok(ControlOutcome::Done)
    }

    fn change_disk(
        &mut self,
        disk: DiskId,
        change: impl FnOnce(&mut DiskEntry) -> Result<(), ControlRefusal>,
    ) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        let mut disks = map.nodes.iter_mut().flat_map(|node| node.disks.iter_mut());
        let entry = disks.find(|entry| entry.id == disk).ok_or(ControlRefusal::NoSuchDisk)?;
        let before = entry.clone();
        change(entry)?;
        if *entry != before {
            self.set_map(map);
        }
        Ok(ControlOutcome::Done)
    }

    pub(super) fn map(&self) -> Step<PlacementMap> {
        Ok(self.read(&MapKey)?.ok_or(ControlRefusal::NotBootstrapped)?)
    }

    /// Writes a map that was changed.
    pub(super) fn set_map(&mut self, mut map: PlacementMap) {
        map.version += 1;
        self.write(&MapKey, &map);
    }
}

fn entry_of(map: &mut PlacementMap, node: NodeId) -> Result<&mut NodeEntry, ControlRefusal> {
    map.nodes.iter_mut().find(|entry| entry.id == node).ok_or(ControlRefusal::NoSuchNode)
}
