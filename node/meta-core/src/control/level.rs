//! The feature level of the cluster: what each node can do, and what all may rely on.

use super::{Change, Step};
use proto::control::{ControlOutcome, ControlRefusal};
use types::{FeatureLevel, NodeId};

impl Change<'_> {
    pub(super) fn speak_level(&mut self, node: NodeId, level: FeatureLevel) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        let entry = map.nodes.iter_mut().find(|entry| entry.id == node).ok_or(ControlRefusal::NoSuchNode)?;
        if entry.speaks != level {
            entry.speaks = level;
            self.set_map(map);
        }
        Ok(ControlOutcome::Done)
    }

    /// Goes to a level for good. A node that is down counts as well: it would come back and understand nothing.
    pub(super) fn finalize(&mut self, level: FeatureLevel) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        if level < map.level {
            return Err(ControlRefusal::Setting.into());
        }
        if let Some((speaks, node)) = map.level_of_all().filter(|(speaks, _)| *speaks < level) {
            return Err(ControlRefusal::NodeBehind { node, speaks }.into());
        }
        if level > map.level {
            map.level = level;
            self.set_map(map);
        }
        Ok(ControlOutcome::Done)
    }
}
