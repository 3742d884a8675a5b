//! Plans moves: what makes lost copies anew, empties what drains, and levels what is left.
//!
//! Called anew with the newest map each time (level, not edge): a plan that was carried out by half, or by another leader, needs no memory.
//! A group is the subject of one move at a time. Needs come in the order of [`Reason`]: groups with one copy first. A need is met by the disk
//! that gives, in this order, the most domains of the level that the group's rule asks for, the fewest copies of a wrong class, the most racks
//! and zones, the emptiest share, few new partners.
//!
//! Each rule's copies are levelled among themselves: how many bytes there are in the groups of a rule, only its buckets know.
//!
//! It ends: a move for a lost or draining copy takes away a bad member, one for spread or class makes those better and nothing before it worse, one
//! for balance makes the sum of squared differences from the shares smaller and nothing before it worse.

use crate::report::{Blocked, Lack, Obstacle, Plan, PlannedMove, Reason, Report, Unmet};
use crate::shares::{Shares, shares};
use std::collections::{BTreeMap, BTreeSet};
use types::{
    DiskState, Member, NodeEntry, NodeId, NodeMode, NodeState, PgId, PlacementGroup, PlacementMap, PlacementOptions,
    REPLICAS, RuleId,
};

/// Nodes that one node shares groups with, if there are more. Few make the loss of three nodes at once hit a group less often; many share the
/// work when one is lost. Ten replace a node ten times as fast as one could.
const PARTNERS_MAX: usize = 10;
/// Part of its share by which a disk may differ before copies move for it. Half of what is promised.
const LEVEL: f64 = 0.025;

/// What may be in progress at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Moves in all.
    pub moves: usize,
    /// Moves into one node, and out of one.
    pub per_node: usize,
    /// Moves into one disk.
    pub per_disk: usize,
}

impl From<&PlacementOptions> for Limits {
    fn from(options: &PlacementOptions) -> Self {
        Limits {
            moves: usize::from(options.moves_max),
            per_node: usize::from(options.moves_per_node_max),
            per_disk: usize::from(options.moves_per_disk_max),
        }
    }
}

/// Plans the next moves for a map. What is in progress counts against the limits.
#[must_use]
pub fn plan(map: &PlacementMap, limits: &Limits) -> (Plan, Report) {
    let mut planner = Planner::new(map, *limits);
    planner.give_up();
    planner.replace_lost();
    planner.empty_draining();
    planner.improve(Reason::Spread, |then, now| then.short < now.short);
    planner.improve(Reason::Class, |then, now| then.wrong_class < now.wrong_class);
    planner.improve(Reason::Spread, |then, now| then < now);
    planner.tell_unmet();
    planner.level();
    (planner.plan, planner.report)
}

pub(crate) struct Planner<'a> {
    map: &'a PlacementMap,
    limits: Limits,
    /// Of each rule that has groups.
    shares: BTreeMap<RuleId, Shares>,
    /// Copies of a rule on each disk once all that is in progress and planned is done.
    copies: BTreeMap<(RuleId, Member), usize>,
    /// How often two nodes are in one group.
    met: BTreeMap<(NodeId, NodeId), usize>,
    /// With how many other nodes a node shares groups.
    partners: BTreeMap<NodeId, usize>,
    busy: BTreeSet<PgId>,
    moves: usize,
    into_node: BTreeMap<NodeId, usize>,
    out_of_node: BTreeMap<NodeId, usize>,
    into_disk: BTreeMap<Member, usize>,
    plan: Plan,
    report: Report,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(map: &'a PlacementMap, limits: Limits) -> Self {
        let rules: BTreeSet<RuleId> = map.groups.iter().map(|group| group.rule).collect();
        let mut planner = Planner {
            map,
            limits,
            shares: rules.into_iter().map(|rule| (rule, shares(map, rule, groups_of(map, rule)))).collect(),
            copies: BTreeMap::new(),
            met: BTreeMap::new(),
            partners: BTreeMap::new(),
            busy: BTreeSet::new(),
            moves: 0,
            into_node: BTreeMap::new(),
            out_of_node: BTreeMap::new(),
            into_disk: BTreeMap::new(),
            plan: Plan::default(),
            report: Report::of(map),
        };
        for group in &map.groups {
            let mut members = group.members.clone();
            if let Some(moving) = &group.moving
                && let Some(leaves) = members.get_mut(usize::from(moving.at))
            {
                let from = std::mem::replace(leaves, moving.to);
                planner.busy.insert(group.id);
                planner.count_move(from, moving.to);
            }
            planner.place(group.rule, &members);
        }
        planner
    }

    /// Goes by the shares that so many groups of a rule will have.
    pub(crate) fn expect(&mut self, rule: RuleId, groups: usize) {
        self.shares.insert(rule, shares(self.map, rule, groups));
    }

    /// Counts the copies of a group.
    pub(crate) fn place(&mut self, rule: RuleId, members: &[Member]) {
        for member in members {
            *self.copies.entry((rule, *member)).or_default() += 1;
        }
        self.meet(members, true);
    }

    /// Moves whose new member will not become one.
    fn give_up(&mut self) {
        for group in &self.map.groups {
            let Some(moving) = &group.moving else { continue };
            let node = self.map.node(moving.to.node);
            let stays = node.is_some_and(|node| node.mode == NodeMode::Active && node.state != NodeState::Out);
            let takes = self.map.disk(moving.to).is_some_and(|disk| disk.state == DiskState::Active);
            if !(stays && takes) {
                self.plan.aborts.push((group.id, group.epoch));
            }
        }
    }

    fn replace_lost(&mut self) {
        let mut needs = Vec::new();
        for group in &self.map.groups {
            let lost: Vec<_> = group.members.iter().copied().filter(|member| self.map.is_lost(*member)).collect();
            let copies_left = (group.members.len() - lost.len()) as u8;
            let moving = group.moving.as_ref().and_then(|moving| group.members.get(usize::from(moving.at)));
            for from in lost.into_iter().filter(|from| Some(from) != moving) {
                needs.push((Reason::Lost { copies_left }, group.id, from));
            }
        }
        needs.sort();
        self.meet_needs(needs);
    }

    fn empty_draining(&mut self) {
        let mut needs = Vec::new();
        for group in &self.map.groups {
            let moving = group.moving.as_ref().and_then(|moving| group.members.get(usize::from(moving.at)));
            for from in group.members.iter().copied().filter(|from| Some(from) != moving) {
                if !self.map.is_lost(from) && self.drains(from) {
                    needs.push((Reason::Drain, group.id, from));
                }
            }
        }
        self.meet_needs(needs);
    }

    fn drains(&self, member: Member) -> bool {
        self.map.node(member.node).is_some_and(|node| node.mode == NodeMode::Draining)
            || self.map.disk(member).is_some_and(|disk| disk.state == DiskState::Draining)
    }

    fn meet_needs(&mut self, needs: Vec<(Reason, PgId, Member)>) {
        for (reason, pg, from) in needs {
            if let Err(obstacle) = self.meet_need(reason, pg, from) {
                self.report.blocked.push(Blocked { pg, from, reason, obstacle });
            }
        }
    }

    fn meet_need(&mut self, reason: Reason, pg: PgId, from: Member) -> Result<(), Obstacle> {
        if reason == (Reason::Lost { copies_left: 0 }) {
            return Err(Obstacle::NoCopyLeft);
        }
        if self.busy.contains(&pg) {
            return Err(Obstacle::Moving);
        }
        let group = self.map.group(pg).ok_or(Obstacle::NoCopyLeft)?;
        let at = group.members.iter().position(|member| *member == from).ok_or(Obstacle::NoCopyLeft)?;
        let mut targets: Vec<_> = self.targets(group, at).collect();
        targets.sort_by_key(|target| target.0);
        let best = targets.first().ok_or(Obstacle::NoTarget)?.0;
        // What is lost is made anew wherever there is room for one more move; what drains waits for the best disk.
        let lost = matches!(reason, Reason::Lost { .. });
        let good = |rank: &Rank| if lost { rank.merit == best.merit } else { rank.even(&best) };
        let fits = |to: &Member| self.has_room(from, *to);
        let chosen = targets.iter().filter(|(rank, _)| good(rank)).map(|(_, to)| *to).find(fits);
        self.begin(group, at, chosen.ok_or(Obstacle::Limit)?, reason);
        Ok(())
    }

    /// Every disk that a copy may move to, with how good that would be.
    fn targets<'g>(&'g self, group: &'g PlacementGroup, at: usize) -> impl Iterator<Item = (Rank, Member)> + 'g {
        let disks = self
            .map
            .nodes
            .iter()
            .flat_map(|node| (0..node.disks.len()).map(move |disk| Member { node: node.id, disk: disk as u16 }));
        let fits = disks.filter(move |to| self.map.move_fits(group, at, *to).is_ok());
        fits.map(move |to| (self.rank(group, at, to), to))
    }

    fn rank(&self, group: &PlacementGroup, at: usize, to: Member) -> Rank {
        let mut members = group.members.clone();
        members[at] = to;
        self.rank_in(group.rule, &members, to)
    }

    /// How good it would be for a group of these members that `to` is one of them.
    pub(crate) fn rank_in(&self, rule: RuleId, members: &[Member], to: Member) -> Rank {
        let share = self.share(rule, to);
        let copies = self.copies_on(rule, to) as f64;
        let partners = members.iter().filter(|member| member.node != to.node);
        let (mut strangers, mut met) = (0, 0);
        for partner in partners {
            let times = self.met.get(&pair(partner.node, to.node)).copied().unwrap_or_default();
            met += times;
            let crowded = times == 0 && self.partners(partner.node).max(self.partners(to.node)) >= PARTNERS_MAX;
            strangers += usize::from(crowded);
        }
        Rank {
            merit: self.merit_of(rule, members),
            over: (copies + 1.0 - share).floor() as i64,
            strangers,
            over_fine: ((copies + 1.0 - share) * 1000.0) as i64,
            met,
            to,
        }
    }

    fn share(&self, rule: RuleId, disk: Member) -> f64 {
        self.shares.get(&rule).and_then(|shares| shares.get(&disk)).copied().unwrap_or_default()
    }

    fn copies_on(&self, rule: RuleId, disk: Member) -> usize {
        self.copies.get(&(rule, disk)).copied().unwrap_or_default()
    }

    fn partners(&self, node: NodeId) -> usize {
        self.partners.get(&node).copied().unwrap_or_default()
    }

    fn merit_of(&self, rule: RuleId, members: &[Member]) -> Merit {
        let rule = self.map.rule(rule);
        let spread = self.map.spread_at(rule.level, members.iter().copied());
        Merit {
            short: REPLICAS.saturating_sub(spread.asked),
            wrong_class: self.map.copies_lacking(rule, members.iter().copied()),
            fewer_domains: usize::MAX - spread.domains,
            fewer_zones: usize::MAX - spread.zones,
        }
    }

    fn is_troubled(&self, group: &PlacementGroup) -> bool {
        group.members.iter().any(|member| self.map.is_lost(*member) || self.drains(*member))
    }

    /// Moves of settled groups that make what `better` compares better, and nothing worse that comes before it.
    fn improve(&mut self, reason: Reason, better: impl Fn(&Merit, &Merit) -> bool) {
        let best_merit = Merit::best(self.map);
        for group in &self.map.groups {
            let now = self.merit_of(group.rule, &group.members);
            // Most groups most of the time: nothing could be better, and none of the disks needs a look.
            if !better(&best_merit, &now) || self.busy.contains(&group.id) || self.is_troubled(group) {
                continue;
            }
            let best = (0..group.members.len())
                .flat_map(|at| self.targets(group, at).map(move |(rank, to)| (rank, at, to)))
                .filter(|(rank, ..)| rank.merit < now && better(&rank.merit, &now))
                .min_by(|a, b| a.0.cmp(&b.0));
            let Some((_, at, to)) = best else { continue };
            if self.has_room(group.members[at], to) {
                self.begin(group, at, to, reason);
            } else {
                let from = group.members[at];
                self.report.blocked.push(Blocked { pg: group.id, from, reason, obstacle: Obstacle::Limit });
            }
        }
    }

    /// What rules ask for and groups at rest do not have, with no disk that could give it.
    fn tell_unmet(&mut self) {
        for group in &self.map.groups {
            if self.busy.contains(&group.id) || self.is_troubled(group) {
                continue;
            }
            let merit = self.merit_of(group.rule, &group.members);
            let (pg, rule) = (group.id, group.rule);
            let domains = (merit.short > 0).then_some(Lack::Domains);
            let classes = (merit.wrong_class > 0).then_some(Lack::Class);
            let waits = |lack: &Lack| {
                let reason = if *lack == Lack::Class { Reason::Class } else { Reason::Spread };
                self.report.blocked.iter().any(|blocked| blocked.pg == pg && blocked.reason == reason)
            };
            let unmet: Vec<_> = domains.into_iter().chain(classes).filter(|lack| !waits(lack)).collect();
            self.report.unmet.extend(unmet.into_iter().map(|lacks| Unmet { pg, rule, lacks }));
        }
    }

    /// Moves from disks over their share to disks under theirs, the largest difference first.
    fn level(&mut self) {
        while let Some((group, at, to)) = self.next_levelling() {
            self.begin(group, at, to, Reason::Balance);
        }
    }

    fn next_levelling(&self) -> Option<(&'a PlacementGroup, usize, Member)> {
        let mut pairs: Vec<(f64, RuleId, Member, Member)> = Vec::new();
        for (rule, shares) in &self.shares {
            let over = |member: &Member, share: f64| self.copies_on(*rule, *member) as f64 - share;
            let disks: Vec<(Member, f64, f64)> =
                shares.iter().map(|(member, share)| (*member, over(member, *share), share * LEVEL)).collect();
            for (from, above, from_level) in &disks {
                for (to, below, to_level) in &disks {
                    let uneven = above > from_level || -below > *to_level;
                    if above - below > 1.0 + 1e-9 && uneven && self.map.may_take(*to) && self.has_room(*from, *to) {
                        pairs.push((above - below, *rule, *from, *to));
                    }
                }
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
        pairs.into_iter().find_map(|(_, rule, from, to)| self.levelling(rule, from, to))
    }

    /// A group that may move from one disk to the other and is none the worse for it.
    fn levelling(&self, rule: RuleId, from: Member, to: Member) -> Option<(&'a PlacementGroup, usize, Member)> {
        let candidates = self.map.groups.iter().filter_map(|group| {
            let at = group.members.iter().position(|member| *member == from)?;
            let free = group.rule == rule && !self.busy.contains(&group.id);
            let fits = free && self.map.move_fits(group, at, to).is_ok();
            let troubled = group.members.iter().any(|member| self.map.is_lost(*member));
            let rank = (fits && !troubled).then(|| self.rank(group, at, to))?;
            (rank.merit <= self.merit_of(rule, &group.members)).then_some((rank, group, at))
        });
        candidates.min_by(|a, b| a.0.cmp(&b.0)).map(|(_, group, at)| (group, at, to))
    }

    fn has_room(&self, from: Member, to: Member) -> bool {
        let count = |counts: &BTreeMap<NodeId, usize>, node| counts.get(&node).copied().unwrap_or_default();
        // What is lost is read from other nodes.
        let out = if self.map.is_lost(from) { 0 } else { count(&self.out_of_node, from.node) };
        self.moves < self.limits.moves
            && count(&self.into_node, to.node) < self.limits.per_node
            && out < self.limits.per_node
            && self.into_disk.get(&to).copied().unwrap_or_default() < self.limits.per_disk
    }

    fn begin(&mut self, group: &PlacementGroup, at: usize, to: Member, reason: Reason) {
        let from = group.members[at];
        self.plan.moves.push(PlannedMove { pg: group.id, epoch: group.epoch, from, to, reason });
        self.busy.insert(group.id);
        self.count_move(from, to);
        if let Some(copies) = self.copies.get_mut(&(group.rule, from)) {
            *copies = copies.saturating_sub(1);
        }
        *self.copies.entry((group.rule, to)).or_default() += 1;
        let mut members = group.members.clone();
        self.meet(&members, false);
        members[at] = to;
        self.meet(&members, true);
    }

    fn count_move(&mut self, from: Member, to: Member) {
        self.moves += 1;
        *self.into_node.entry(to.node).or_default() += 1;
        *self.into_disk.entry(to).or_default() += 1;
        if !self.map.is_lost(from) {
            *self.out_of_node.entry(from.node).or_default() += 1;
        }
    }

    fn meet(&mut self, members: &[Member], come: bool) {
        for (i, one) in members.iter().enumerate() {
            for other in &members[i + 1..] {
                if one.node == other.node {
                    continue;
                }
                let times = self.met.entry(pair(one.node, other.node)).or_default();
                let before = *times;
                *times = if come { before + 1 } else { before.saturating_sub(1) };
                if (before == 0) == (*times == 0) {
                    continue;
                }
                for node in [one.node, other.node] {
                    let partners = self.partners.entry(node).or_default();
                    *partners = if come { *partners + 1 } else { partners.saturating_sub(1) };
                }
            }
        }
    }
}

/// How well a group's members do what its rule asks for; the smallest is best. Must not become worse for the sake of balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Merit {
    /// Domains of the level asked for that are missing.
    pub(crate) short: usize,
    pub(crate) wrong_class: usize,
    fewer_domains: usize,
    fewer_zones: usize,
}

impl Merit {
    /// Better than this is none in a cluster.
    fn best(map: &PlacementMap) -> Merit {
        let domains: BTreeSet<&str> = map.nodes.iter().map(|node| node.domain.as_str()).collect();
        let zones: BTreeSet<&str> = map.nodes.iter().map(NodeEntry::zone).collect();
        let fewer = |count: usize| usize::MAX - count.min(REPLICAS);
        Merit { short: 0, wrong_class: 0, fewer_domains: fewer(domains.len()), fewer_zones: fewer(zones.len()) }
    }
}

/// How good a target is; the smallest is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) merit: Merit,
    /// Whole copies over its share.
    over: i64,
    /// Partners that are new to nodes with enough of them.
    strangers: usize,
    over_fine: i64,
    met: usize,
    to: Member,
}

impl Rank {
    /// Whether it fills its share no more than one copy fuller than another.
    fn even(&self, best: &Rank) -> bool {
        self.merit == best.merit && self.over <= best.over + 1
    }
}

pub(crate) fn groups_of(map: &PlacementMap, rule: RuleId) -> usize {
    map.groups.iter().filter(|group| group.rule == rule).count()
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}
