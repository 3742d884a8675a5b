//! What a writer believes of the members of placement groups at the moment it chooses among them.

use std::collections::BTreeSet;
use types::{Member, NodeId, PgId, PlacementGroup, PlacementMap};

/// Nodes and disks that are better avoided. Beliefs, not facts: they only order choices.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct View {
    /// Nodes that are known not to answer.
    pub down: BTreeSet<NodeId>,
    /// Node and index of disks that lately were full, broken or slow.
    pub shunned: BTreeSet<(NodeId, u16)>,
}

/// How many members of a placement group are believed to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// Fewer than two.
    Unready,
    /// All but one, at least two.
    Degraded,
    /// All.
    Full,
}

impl View {
    /// Whether a member is believed to answer.
    #[must_use]
    pub fn is_ready(&self, member: &Member) -> bool {
        !self.down.contains(&member.node) && !self.shunned.contains(&(member.node, member.disk))
    }

    /// What to expect of a placement group.
    #[must_use]
    pub fn readiness(&self, group: &PlacementGroup) -> Readiness {
        let ready = group.members.iter().filter(|member| self.is_ready(member)).count();
        match group.members.len() - ready {
            0 => Readiness::Full,
            1 if ready >= 2 => Readiness::Degraded,
            _ => Readiness::Unready,
        }
    }

    /// Whether there is a placement group in use, not among `tried`, of which all members are believed to answer.
    #[must_use]
    pub fn has_full_group(&self, map: &PlacementMap, tried: &[PgId]) -> bool {
        let untried = map.groups.iter().filter(|group| !tried.contains(&group.id));
        let mut full = untried.filter(|group| self.readiness(group) == Readiness::Full);
        full.any(|group| map.slots.iter().any(|index| map.groups.get(*index as usize) == Some(group)))
    }
}
