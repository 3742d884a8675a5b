//! What a writer believes of the members of placement groups at the moment it chooses among them.

use crate::write::{Beliefs, Blame};
use std::collections::BTreeSet;
use types::{Member, NodeId, PgId, PlacementGroup, PlacementMap, REPLICAS, RuleId};

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

    /// What to expect of those who shall take a chunk: the members of a placement group, and then the disk that a move brings in, if there is one.
    #[must_use]
    pub fn beliefs(&self, takers: &[Member]) -> Beliefs {
        let mask =
            |is: &dyn Fn(&Member) -> bool| takers.iter().enumerate().map(|(i, taker)| u8::from(is(taker)) << i).sum();
        Beliefs {
            moving: takers.len() > REPLICAS,
            down: mask(&|taker| self.down.contains(&taker.node)),
            late: mask(&|taker| self.shunned.contains(&(taker.node, taker.disk))),
        }
    }

    /// Believes no more in a member, or in its whole node.
    pub fn avoid(&mut self, member: &Member, blame: Blame) {
        match blame {
            Blame::Node => self.down.insert(member.node),
            Blame::Disk => self.shunned.insert((member.node, member.disk)),
        };
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

    /// Whether there is a placement group of `rule` in use, not among `tried`, of which all members are believed to answer.
    #[must_use]
    pub fn has_full_group(&self, map: &PlacementMap, rule: RuleId, tried: &[PgId]) -> bool {
        let full = |(at, group): (usize, &PlacementGroup)| {
            group.rule == rule
                && !tried.contains(&group.id)
                && self.readiness(group) == Readiness::Full
                && map.slots.iter().any(|index| *index as usize == at)
        };
        map.groups.iter().enumerate().any(full)
    }
}
