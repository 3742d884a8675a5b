//! Plans moves: what makes lost copies anew, empties what drains, and levels what is left.
//!
//! Called anew with the newest map each time (level, not edge): a plan that was carried out by half, or by another leader, needs no memory.
//! A group is the subject of one move at a time. Needs come in the order of [`Reason`]: groups with one copy first. A need is met by the disk
//! that gives, in this order, the most domains and zones, the fewest copies of a wrong class, the emptiest share, few new partners.
//!
//! It ends: a move for a lost or draining copy takes away a bad member, one for spread or class makes those better and nothing before it worse, one
//! for balance makes the sum of squared differences from the shares smaller and nothing before it worse.

use crate::report::{Blocked, Obstacle, Plan, PlannedMove, Reason, Report};
use crate::shares::{Shares, shares};
use std::collections::{BTreeMap, BTreeSet};
use types::{DiskState, Member, NodeId, NodeMode, NodeState, PgId, PlacementGroup, PlacementMap, PlacementOptions};

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
    planner.improve(Reason::Spread);
    planner.improve(Reason::Class);
    planner.level();
    (planner.plan, planner.report)
}

struct Planner<'a> {
    map: &'a PlacementMap,
    limits: Limits,
    shares: Shares,
    /// Copies on each disk once all that is in progress and planned is done.
    copies: BTreeMap<Member, usize>,
    /// How often two nodes are in one group.
    met: BTreeMap<(NodeId, NodeId), usize>,
    busy: BTreeSet<PgId>,
    moves: usize,
    into_node: BTreeMap<NodeId, usize>,
    out_of_node: BTreeMap<NodeId, usize>,
    into_disk: BTreeMap<Member, usize>,
    plan: Plan,
    report: Report,
}

impl<'a> Planner<'a> {
    fn new(map: &'a PlacementMap, limits: Limits) -> Self {
        let mut planner = Planner {
            map,
            limits,
            shares: shares(map),
            copies: BTreeMap::new(),
            met: BTreeMap::new(),
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
            for member in &members {
                *planner.copies.entry(*member).or_default() += 1;
            }
            planner.meet(&members, true);
        }
        planner
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
        let good = |rank: &Rank| if lost { rank.merit() == best.merit() } else { rank.even(&best) };
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
        let (domains, zones) = self.map.spread(members.iter().copied());
        let share = self.shares.get(&to).copied().unwrap_or_default();
        let copies = self.copies.get(&to).copied().unwrap_or_default() as f64;
        let partners = members.iter().filter(|member| member.node != to.node);
        let (mut strangers, mut met) = (0, 0);
        for partner in partners {
            let times = self.met.get(&pair(partner.node, to.node)).copied().unwrap_or_default();
            met += times;
            let crowded = times == 0 && self.partners(partner.node).max(self.partners(to.node)) >= PARTNERS_MAX;
            strangers += usize::from(crowded);
        }
        Rank {
            fewer_domains: usize::MAX - domains,
            fewer_zones: usize::MAX - zones,
            wrong_class: self.wrong_class(&members),
            over: (copies + 1.0 - share).floor() as i64,
            strangers,
            over_fine: ((copies + 1.0 - share) * 1000.0) as i64,
            met,
            to,
        }
    }

    fn partners(&self, node: NodeId) -> usize {
        self.met.iter().filter(|((a, b), times)| **times > 0 && (*a == node || *b == node)).count()
    }

    /// Copies that a rule of classes asks for and these members do not give.
    fn wrong_class(&self, members: &[Member]) -> usize {
        let class = |member: &Member| self.map.disk(*member).map(|disk| disk.class.as_str());
        let lacking = self.map.options.classes.iter().map(|wanted| {
            let have = members.iter().filter(|member| class(member) == Some(wanted.class.as_str())).count();
            usize::from(wanted.copies).saturating_sub(have)
        });
        lacking.sum()
    }

    /// Moves that make the spread or the classes of settled groups better.
    fn improve(&mut self, reason: Reason) {
        for group in &self.map.groups {
            let troubled = |member: &Member| self.map.is_lost(*member) || self.drains(*member);
            if self.busy.contains(&group.id) || group.members.iter().any(troubled) {
                continue;
            }
            let now = self.merit_of(&group.members);
            let better = |rank: &Rank| match reason {
                Reason::Spread => (rank.fewer_domains, rank.fewer_zones) < (now.0, now.1),
                _ => rank.merit() < now && rank.wrong_class < now.2,
            };
            let best = (0..group.members.len())
                .flat_map(|at| self.targets(group, at).map(move |(rank, to)| (rank, at, to)))
                .filter(|(rank, ..)| better(rank))
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

    fn merit_of(&self, members: &[Member]) -> (usize, usize, usize) {
        let (domains, zones) = self.map.spread(members.iter().copied());
        (usize::MAX - domains, usize::MAX - zones, self.wrong_class(members))
    }

    /// Moves from disks over their share to disks under theirs, the largest difference first.
    fn level(&mut self) {
        while let Some((group, at, to)) = self.next_levelling() {
            self.begin(group, at, to, Reason::Balance);
        }
    }

    fn next_levelling(&self) -> Option<(&'a PlacementGroup, usize, Member)> {
        let over = |member: &Member| {
            let copies = self.copies.get(member).copied().unwrap_or_default() as f64;
            copies - self.shares.get(member).copied().unwrap_or_default()
        };
        let disks: Vec<(Member, f64, f64)> =
            self.shares.iter().map(|(member, share)| (*member, over(member), share * LEVEL)).collect();
        let mut pairs: Vec<(f64, Member, Member)> = Vec::new();
        for (from, above, from_level) in &disks {
            for (to, below, to_level) in &disks {
                let uneven = above > from_level || -below > *to_level;
                if above - below > 1.0 + 1e-9 && uneven && self.map.may_take(*to) && self.has_room(*from, *to) {
                    pairs.push((above - below, *from, *to));
                }
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        pairs.into_iter().find_map(|(_, from, to)| self.levelling(from, to))
    }

    /// A group that may move from one disk to the other and is none the worse for it.
    fn levelling(&self, from: Member, to: Member) -> Option<(&'a PlacementGroup, usize, Member)> {
        let candidates = self.map.groups.iter().filter_map(|group| {
            let at = group.members.iter().position(|member| *member == from)?;
            let free = !self.busy.contains(&group.id) && self.map.move_fits(group, at, to).is_ok();
            let troubled = group.members.iter().any(|member| self.map.is_lost(*member));
            let rank = (free && !troubled).then(|| self.rank(group, at, to))?;
            (rank.merit() <= self.merit_of(&group.members)).then_some((rank, group, at))
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
        if let Some(copies) = self.copies.get_mut(&from) {
            *copies = copies.saturating_sub(1);
        }
        *self.copies.entry(to).or_default() += 1;
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
                let times = self.met.entry(pair(one.node, other.node)).or_default();
                *times = if come { *times + 1 } else { times.saturating_sub(1) };
            }
        }
    }
}

/// How good a target is; the smallest is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    fewer_domains: usize,
    fewer_zones: usize,
    wrong_class: usize,
    /// Whole copies over its share.
    over: i64,
    /// Partners that are new to nodes with enough of them.
    strangers: usize,
    over_fine: i64,
    met: usize,
    to: Member,
}

impl Rank {
    /// What must not become worse for the sake of balance.
    fn merit(&self) -> (usize, usize, usize) {
        (self.fewer_domains, self.fewer_zones, self.wrong_class)
    }

    /// Whether it fills its share no more than one copy fuller than another.
    fn even(&self, best: &Rank) -> bool {
        self.merit() == best.merit() && self.over <= best.over + 1
    }
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}
