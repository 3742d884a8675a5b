//! The placement map and the states of the nodes in it.

use super::{Change, Step};
use crate::key::control::MapKey;
use proto::control::{ControlOutcome, ControlRefusal};
use types::{Incarnation, NodeId, NodeState, PlacementMap};

impl Change<'_> {
    /// Sets the first placement map; a later one is left alone.
    pub(super) fn bootstrap(&mut self, map: &PlacementMap) -> Step<ControlOutcome> {
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
        let mut map: PlacementMap = self.read(&MapKey)?.ok_or(ControlRefusal::NotBootstrapped)?;
        let Some(entry) = map.nodes.iter_mut().find(|entry| entry.id == node) else {
            return Err(ControlRefusal::InvalidName.into());
        };
        if incarnation < entry.incarnation || (incarnation, state) == (entry.incarnation, entry.state) {
            return Ok(ControlOutcome::Done);
        }
        (entry.incarnation, entry.state) = (incarnation, state);
        map.version += 1;
        self.write(&MapKey, &map);
        Ok(ControlOutcome::Done)
    }
}
