//! Rules of placement: how far apart the copies of a bucket's chunks stand, and on which kinds of disks they lie.
//!
//! A rule has placement groups, and so slots, of its own. A bucket names a rule; its new chunks get ids in slots of that rule, and whoever holds a
//! chunk's id knows by its slot which rule it lies by. What a rule says may change at any time: its groups then move.

use super::{DiskEntry, DiskState, Member, NodeEntry, NodeMode, NodeState, PlacementMap};
use crate::{BucketId, NodeId, REPLICAS, RuleId, Slot};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Rules at a time. Each has as many groups as the default one, which the planner looks at twice a second.
pub const RULES_MAX: usize = 16;
/// Bytes of a rule's name.
pub const RULE_NAME_BYTES_MAX: usize = 32;
/// Slots of all rules together: a slot takes 16 bits of a chunk's id, and the last number is never a slot.
pub const SLOTS_MAX: usize = 65_535;

/// What no two copies of a chunk share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub enum FailureLevel {
    /// A zone: what stands before the first `/` of a node's domain.
    Zone,
    /// A rack: the whole domain of a node.
    #[default]
    Rack,
    /// A node.
    Node,
}

impl FailureLevel {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FailureLevel::Zone => "zone",
            FailureLevel::Rack => "rack",
            FailureLevel::Node => "node",
        }
    }

    /// The level of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [FailureLevel::Zone, FailureLevel::Rack, FailureLevel::Node].into_iter().find(|level| level.name() == name)
    }
}

impl fmt::Display for FailureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Copies of each chunk that lie on disks of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCopies {
    /// The class.
    pub class: String,
    /// How many of the `REPLICAS` copies.
    pub copies: u8,
}

/// What a rule asks for. Copies that are left decide first, then the level, then the classes: where the cluster cannot give a class any more, the
/// copy lies on another disk until it can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct PlacementRule {
    /// What no two copies share.
    pub level: FailureLevel,
    /// Which disks copies lie on, for example two on `ssd` and one on `durable`; the rest on any. Each class once, at most `REPLICAS` copies.
    pub classes: Vec<ClassCopies>,
}

/// A rule of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleEntry {
    /// Its id.
    pub id: RuleId,
    /// Its name, unique: `a-z 0-9 -`, 1 to [`RULE_NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// What it asks for.
    pub rule: PlacementRule,
}

impl RuleEntry {
    /// The name of the rule of buckets of which nothing was said.
    pub const DEFAULT_NAME: &str = "default";

    /// Whether `name` may be the name of a rule.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=RULE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
    }
}

/// Why a rule cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RuleFault {
    /// It asks for more than three copies, for none of a class, or for a class twice, or its name is none.
    #[error("a rule asks for at most 3 copies in all, each class once, and classes and names are 1 to 32 of a-z 0-9 -")]
    Form,
    /// There are too few domains for three copies.
    #[error("copies in three different {level}s need 3 of them with disks that take copies, there are {have}")]
    TooFew {
        /// What no two copies may share.
        level: FailureLevel,
        /// How many there are.
        have: u8,
    },
    /// There are too few domains with disks of a class.
    #[error(
        "{copies} copies on {class} need disks of that class in as many different {level}s, there are such in {have}"
    )]
    TooFewOfClass {
        /// What no two copies may share.
        level: FailureLevel,
        /// The class.
        class: String,
        /// Copies asked for.
        copies: u8,
        /// Domains with such disks.
        have: u8,
    },
    /// Each wish alone can be had, but not all of them in three different domains.
    #[error(
        "the classes cannot be had together in three different {level}s: disks of several of them stand in the same"
    )]
    Together {
        /// What no two copies may share.
        level: FailureLevel,
    },
}

/// How far apart members stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Spread {
    /// Different domains of the level that was asked for.
    pub asked: usize,
    /// Different racks.
    pub domains: usize,
    /// Different zones.
    pub zones: usize,
}

impl PlacementRule {
    /// Whether it says something that can be meant, in whatever cluster.
    ///
    /// # Errors
    /// [`RuleFault::Form`].
    pub fn validate(&self) -> Result<(), RuleFault> {
        let copies: usize = self.classes.iter().map(|wanted| usize::from(wanted.copies)).sum();
        let named = |wanted: &ClassCopies| {
            let once = self.classes.iter().filter(|other| other.class == wanted.class).count() == 1;
            !wanted.class.is_empty() && DiskEntry::is_class(&wanted.class) && wanted.copies > 0 && once
        };
        if copies <= REPLICAS && self.classes.iter().all(named) { Ok(()) } else { Err(RuleFault::Form) }
    }

    /// What each copy asks for: a class, or nothing.
    #[must_use]
    pub fn wishes(&self) -> [Option<&str>; REPLICAS] {
        let mut wishes = [None; REPLICAS];
        let asked = self.classes.iter().flat_map(|wanted| (0..wanted.copies).map(|_| wanted.class.as_str()));
        wishes.iter_mut().zip(asked).for_each(|(wish, class)| *wish = Some(class));
        wishes
    }
}

impl PlacementMap {
    /// What a rule asks for; of one that is not there, what the default rule does.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> &PlacementRule {
        static UNTOLD: PlacementRule = PlacementRule { level: FailureLevel::Rack, classes: Vec::new() };
        let entry = self.rule_entry(id).or_else(|| self.rule_entry(RuleId::DEFAULT));
        entry.map_or(&UNTOLD, |entry| &entry.rule)
    }

    /// A rule by its id.
    #[must_use]
    pub fn rule_entry(&self, id: RuleId) -> Option<&RuleEntry> {
        let at = self.rules.binary_search_by_key(&id, |entry| entry.id).ok()?;
        self.rules.get(at)
    }

    /// A rule by its name.
    #[must_use]
    pub fn rule_named(&self, name: &str) -> Option<&RuleEntry> {
        self.rules.iter().find(|entry| entry.name == name)
    }

    /// Whether chunks can be written by a rule: it has slots.
    #[must_use]
    pub fn has_rule(&self, id: RuleId) -> bool {
        id == RuleId::DEFAULT || self.rule_entry(id).is_some()
    }

    /// The rule of a slot's group.
    #[must_use]
    pub fn rule_of(&self, slot: Slot) -> Option<RuleId> {
        self.group_of(slot).map(|group| group.rule)
    }

    /// The rule of a bucket that had the rule `known` when it was looked up.
    #[must_use]
    pub fn rule_of_bucket(&self, bucket: BucketId, known: RuleId) -> RuleId {
        let at = self.bucket_rules.binary_search_by_key(&bucket, |(id, _)| *id);
        at.ok().and_then(|at| self.bucket_rules.get(at)).map_or(known, |(_, rule)| *rule)
    }

    /// How far apart members stand, counted at `level`.
    pub fn spread_at(&self, level: FailureLevel, members: impl Iterator<Item = Member>) -> Spread {
        let (mut nodes, mut domains, mut zones) = (Vec::new(), Vec::new(), Vec::new());
        for node in members.filter_map(|member| self.node(member.node)) {
            if !nodes.contains(&node.id) {
                nodes.push(node.id);
            }
            if !domains.contains(&node.domain.as_str()) {
                domains.push(node.domain.as_str());
            }
            if !zones.contains(&node.zone()) {
                zones.push(node.zone());
            }
        }
        let asked = match level {
            FailureLevel::Zone => zones.len(),
            FailureLevel::Rack => domains.len(),
            FailureLevel::Node => nodes.len(),
        };
        Spread { asked, domains: domains.len(), zones: zones.len() }
    }

    /// Copies that a rule wants on a class of disks and these members do not give.
    pub fn copies_lacking(&self, rule: &PlacementRule, members: impl Iterator<Item = Member>) -> usize {
        if rule.classes.is_empty() {
            return 0;
        }
        let classes: Vec<&str> = members.filter_map(|member| Some(self.disk(member)?.class.as_str())).collect();
        let lacking = rule.classes.iter().map(|wanted| {
            let have = classes.iter().filter(|class| **class == wanted.class).count();
            usize::from(wanted.copies).saturating_sub(have)
        });
        lacking.sum()
    }

    /// Whether the cluster as it is can give what a rule asks for. What is only down, or full, counts: it comes back.
    ///
    /// # Errors
    /// [`RuleFault`]: what is in the way.
    pub fn can_give(&self, rule: &PlacementRule) -> Result<(), RuleFault> {
        rule.validate()?;
        let (level, wishes) = (rule.level, rule.wishes());
        // For each domain, the wishes that one of its disks fulfils.
        let mut domains: Vec<(Domain<'_>, u8)> = Vec::new();
        for node in &self.nodes {
            for disk in node.disks.iter().filter(|disk| keeps(node, disk)) {
                let fulfilled =
                    |(i, wish): (usize, &Option<&str>)| u8::from(wish.is_none_or(|class| class == disk.class)) << i;
                let mask: u8 = wishes.iter().enumerate().map(fulfilled).sum();
                let domain = Domain::of(level, node);
                match domains.iter_mut().find(|(known, _)| *known == domain) {
                    Some((_, known)) => *known |= mask,
                    None => domains.push((domain, mask)),
                }
            }
        }
        if domains.len() < REPLICAS {
            return Err(RuleFault::TooFew { level, have: domains.len() as u8 });
        }
        let with = |wanted: u8| domains.iter().filter(|(_, mask)| mask & wanted != 0).count();
        for wanted in &rule.classes {
            let at = wishes.iter().position(|wish| *wish == Some(wanted.class.as_str())).unwrap_or_default();
            let have = with(1 << at);
            if have < usize::from(wanted.copies) {
                let (class, copies) = (wanted.class.clone(), wanted.copies);
                return Err(RuleFault::TooFewOfClass { level, class, copies, have: have as u8 });
            }
        }
        // There is a different domain for each wish if any so many wishes are fulfilled by as many domains (Hall).
        let all = (1u8..1 << REPLICAS).all(|wanted| with(wanted) >= wanted.count_ones() as usize);
        if all { Ok(()) } else { Err(RuleFault::Together { level }) }
    }
}

/// A domain of some level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Domain<'a> {
    /// A zone or a rack.
    Named(&'a str),
    /// A node.
    Node(NodeId),
}

impl<'a> Domain<'a> {
    /// The one a node stands in.
    #[must_use]
    pub fn of(level: FailureLevel, node: &'a NodeEntry) -> Self {
        match level {
            FailureLevel::Zone => Domain::Named(node.zone()),
            FailureLevel::Rack => Domain::Named(&node.domain),
            FailureLevel::Node => Domain::Node(node.id),
        }
    }
}

/// Whether a disk is meant to keep copies.
fn keeps(node: &NodeEntry, disk: &DiskEntry) -> bool {
    node.mode == NodeMode::Active
        && node.state != NodeState::Out
        && matches!(disk.state, DiskState::Active | DiskState::ReadOnly | DiskState::Full)
        && disk.weight > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DiskId;

    /// Nodes by domain and the classes of their disks.
    fn map(nodes: &[(&str, &[&str])]) -> PlacementMap {
        let entry = |(id, (domain, classes)): (u64, &(&str, &[&str]))| {
            let disk = |(at, class): (usize, &&str)| DiskEntry {
                class: (*class).to_owned(),
                ..DiskEntry::new(DiskId([(id * 16 + at as u64) as u8; 16]))
            };
            let disks = classes.iter().enumerate().map(disk).collect();
            NodeEntry { disks, ..NodeEntry::new(NodeId(id), String::new(), (*domain).to_owned(), []) }
        };
        PlacementMap { nodes: (1..).zip(nodes).map(entry).collect(), ..PlacementMap::default() }
    }

    fn rule(level: FailureLevel, classes: &[(&str, u8)]) -> PlacementRule {
        let classes = classes.iter().map(|(class, copies)| ClassCopies { class: (*class).to_owned(), copies: *copies });
        PlacementRule { level, classes: classes.collect() }
    }

    #[test]
    fn what_a_cluster_cannot_give_is_said() {
        use FailureLevel::{Node, Rack, Zone};
        let map = map(&[("a/1", &["ssd", ""]), ("a/1", &["ssd"]), ("a/2", &["hdd"]), ("b/3", &["ssd", "hdd"])]);
        assert_eq!(map.can_give(&rule(Rack, &[])), Ok(()));
        assert_eq!(map.can_give(&rule(Node, &[("ssd", 3)])), Ok(()));
        assert_eq!(map.can_give(&rule(Zone, &[])), Err(RuleFault::TooFew { level: Zone, have: 2 }));
        let few = RuleFault::TooFewOfClass { level: Rack, class: "ssd".into(), copies: 3, have: 2 };
        assert_eq!(map.can_give(&rule(Rack, &[("ssd", 3)])), Err(few));
        assert_eq!(map.can_give(&rule(Rack, &[("ssd", 2), ("hdd", 1)])), Ok(()));
        assert_eq!(map.can_give(&rule(Rack, &[("hdd", 2), ("ssd", 1)])), Ok(()));
        let nvme = RuleFault::TooFewOfClass { level: Node, class: "nvme".into(), copies: 1, have: 0 };
        assert_eq!(map.can_give(&rule(Node, &[("nvme", 1)])), Err(nvme));
    }

    #[test]
    fn classes_that_stand_in_the_same_domains_cannot_be_had_together() {
        let rule = rule(FailureLevel::Node, &[("ssd", 1), ("hdd", 1)]);
        let map = map(&[("a", &["ssd", "hdd"]), ("b", &[""]), ("c", &[""])]);
        assert_eq!(map.can_give(&rule), Err(RuleFault::Together { level: FailureLevel::Node }));
    }

    #[test]
    fn what_is_away_for_good_does_not_count_and_what_is_down_does() {
        let mut map = map(&[("a", &["ssd"]), ("b", &["ssd"]), ("c", &["ssd"])]);
        let rule = rule(FailureLevel::Rack, &[("ssd", 3)]);
        map.nodes[0].state = NodeState::Down;
        map.nodes[1].disks[0].state = DiskState::Full;
        assert_eq!(map.can_give(&rule), Ok(()));
        map.nodes[0].state = NodeState::Out;
        assert!(map.can_give(&rule).is_err());
        map.nodes[0].state = NodeState::Up;
        map.nodes[1].disks[0].weight = 0;
        assert!(map.can_give(&rule).is_err());
    }

    #[test]
    fn a_rule_that_means_nothing_is_refused() {
        use FailureLevel::Rack;
        for classes in [&[("ssd", 4)][..], &[("ssd", 2), ("hdd", 2)], &[("ssd", 0)], &[("", 1)], &[("a", 1), ("a", 1)]]
        {
            assert_eq!(rule(Rack, classes).validate(), Err(RuleFault::Form), "{classes:?}");
        }
        assert_eq!(rule(Rack, &[("ssd", 2), ("durable", 1)]).validate(), Ok(()));
        assert!(RuleEntry::is_name("fast-2") && !RuleEntry::is_name("") && !RuleEntry::is_name("Fast"));
    }

    #[test]
    fn a_buckets_rule_is_what_it_was_given_last() {
        let bucket_rules = vec![(BucketId(2), RuleId(3)), (BucketId(5), RuleId::DEFAULT)];
        let map = PlacementMap { bucket_rules, ..PlacementMap::default() };
        assert_eq!(map.rule_of_bucket(BucketId(2), RuleId(1)), RuleId(3));
        assert_eq!(map.rule_of_bucket(BucketId(5), RuleId(1)), RuleId::DEFAULT);
        assert_eq!(map.rule_of_bucket(BucketId(4), RuleId(1)), RuleId(1));
    }
}
