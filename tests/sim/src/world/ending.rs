//! The end of a run: a majority serves, everything heals, everything is looked at.

use super::{REPAIRER, World};
use crate::disk::Crash;
use crate::event::Millis;
use crate::judge::{Rule, Violation};
use crate::marks::Mark;
use crate::node::Node;
use crate::operation::{Condition, Name, Operation};
use crate::random::Random;
use crate::replica::{GROUP, GROUPS, Replica};
use placement::Limits;
use proto::meta::{Answer, ChunkVerdict, Query};
use std::collections::{BTreeMap, BTreeSet};
use types::{
    ChunkId, DiskState, GroupId, LogIndex, Member, NodeEntry, NodeId, NodeMode, NodeState, PgId, PlacementGroup,
    REPLICAS,
};

/// How long a healed majority may take until it serves. Replicas that lost power wait 300 ticks for the one that stays away.
const CORE: Millis = 90_000;
/// How long everything may take to come to rest: replicas that lost power wait for one that is gone for good, and then copies move.
const CALM: Millis = 180_000;
/// Without a change of the map for so long, nothing moves any more: longer than a barrier waits for a silent member.
const STUCK: Millis = 40_000;
/// How long a settled group may stand in fewer domains than it could while all is calm: as long as other moves may go first.
const CROWDED: Millis = 30_000;
/// How long repair and scrub may take to make all copies good: a few rounds of the slowest scrub. A copy that is not good by then is lost,
/// and a run that shows it, of which many are made to shorten its script, must not take longer than need be.
const AUDIT: Millis = 45_000;
/// Numbers of operations that are not in the script. Odd ones write chunks.
const LOOKS_FROM: u64 = 2_000_000;
const PROBES_FROM: u64 = 3_000_001;
/// The client that deletes everything, how often it tries, and the numbers of its operations.
const EMPTIER: u64 = 2;
const EMPTY_ROUNDS: usize = 5;
const EMPTY_FROM: u64 = 4_000_000;
/// The client that tries whether it is served.
const PROBER: u64 = 1;

impl World<'_> {
    /// In some runs one voter stays away: what is left must serve without it.
    ///
    /// Not where a disk has lied: with another voter away, what it forgot may be nowhere else, and that is outside the promise.
    pub(super) fn serve_without_one(&mut self) -> Result<(), Violation> {
        let mut random = Random::new(self.script.seed).fork(5);
        let lied = self.may_lie();
        // Nor where a node is gone for good: two away are a majority.
        let lied = lied || self.nodes.values().any(|node| node.gone);
        let Some(away) = random.pick(self.voters(GROUP)).copied().filter(|_| !lied && random.chance(300)) else {
            return Ok(());
        };
        self.away = Some(away);
        self.end_troubles()?;
        self.crash(away, Crash::Kill);
        let (end, mut number, mut before) = (self.now + CORE, PROBES_FROM, None);
        while self.now < end {
            let prober = &self.clients[&PROBER];
            if prober.is_done() {
                let answered = prober.tally.answered;
                if before.is_some_and(|before| answered > before) {
                    self.report.marks.hit(Mark::CoreServed);
                    return Ok(());
                }
                (before, number) = (Some(answered), number + 2);
                self.plan(PROBER, number, self.now, Operation::Put(Name(0), 2, Condition::None));
                self.wake_at(PROBER, self.now + 1);
            }
            self.until(self.now + 500)?;
        }
        let text = format!("nobody is served {} s after all but {away} were mended; {}", CORE / 1000, self.stand());
        Err(Violation::new(Rule::Rest, text))
    }

    fn all_done(&self) -> bool {
        self.clients.values().all(|client| client.is_done())
    }

    pub(super) fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.replicas(group).find(|(_, replica)| replica.leads().is_some()).map(|(id, _)| id)
    }

    fn replicas(&self, group: GroupId) -> impl Iterator<Item = (NodeId, &Replica)> {
        self.nodes.values().filter_map(move |node| Some((node.id, node.replica(group)?)))
    }

    /// No trouble from now on, and all processes run but the one that stays away.
    fn end_troubles(&mut self) -> Result<(), Violation> {
        self.network.calm();
        self.calm = true;
        // The clocks are set: to a time that is ahead of no stamp that was ever given.
        let ahead = self.ahead_max;
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let now = self.now;
            let node = self.nodes.get_mut(&id).expect("a node");
            node.clock_ahead = ahead;
            let troubles = &mut node.troubles;
            (troubles.slow, troubles.paused, troubles.full, troubles.unreadable) = (0, 0, 0, 0);
            (troubles.drifting, troubles.flush_fails, troubles.loses_next, troubles.misdirects_next) =
                (0, false, false, false);
            troubles.lying = troubles.lying.min(now);
            if node.gone {
                continue;
            }
            if node.troubles.dead {
                self.crash(id, Crash::Kill);
            }
            if !self.nodes[&id].runs && self.away != Some(id) {
                self.start(id)?;
            }
        }
        Ok(())
    }

    pub(super) fn calm(&mut self) -> Result<(), Violation> {
        self.away = None;
        self.clients.values_mut().for_each(|client| client.distrusts_map());
        self.end_troubles()
    }

    /// Waits until all replicas keep up and nothing is under way.
    pub(super) fn rest(&mut self) -> Result<(), Violation> {
        let (begun, end) = (self.now, self.now + CALM);
        let (mut moved, mut crowded) = ((0, self.now), BTreeMap::new());
        while self.now < end {
            let before = GROUPS.map(|group| (group, self.applied(group)));
            self.until(self.now + 500)?;
            let rests = self.all_done() && before.into_iter().all(|(group, before)| self.keeps_up(group, before));
            if rests && self.unsettled()?.is_none() {
                self.report.rest = self.now - begun;
                for group in GROUPS {
                    let first = self.replicas(group).next().map(|(id, _)| id);
                    first.map_or(Ok(()), |id| self.check_invariants(id, group))?;
                }
                return Ok(());
            }
            let led = GROUPS.into_iter().all(|group| self.leader(group).is_some());
            if !self.all_done() || !led || moved.0 != self.map.version {
                moved = (self.map.version, self.now);
            } else if self.now - moved.1 > STUCK {
                break;
            }
            self.check_crowds(&mut crowded)?;
        }
        let busy = self.clients.values().filter(|client| !client.is_done()).count();
        Err(Violation::new(
            Rule::Rest,
            format!(
                "no rest {} s after the last fault: {busy} clients busy; copies: {:?}; {}",
                (self.now - begun) / 1000,
                self.unsettled()?,
                self.stand()
            ),
        ))
    }

    /// What is not yet where it should be: nodes that the map takes for away, moves, copies that the map does not name. For people; nothing
    /// if all is well.
    fn unsettled(&self) -> Result<Option<String>, Violation> {
        for entry in self.map.nodes.iter().filter(|entry| entry.mode != NodeMode::Removed) {
            let wanted = if self.nodes[&entry.id].gone { NodeState::Out } else { NodeState::Up };
            let broken = entry.disks.iter().any(|disk| disk.state != DiskState::Active);
            if entry.state != wanted || broken && wanted == NodeState::Up {
                return Ok(Some(format!("{entry:?}")));
            }
        }
        if let Some(moving) = self.map.groups.iter().find(|group| group.moving.is_some()) {
            return Ok(Some(format!("{moving:?}")));
        }
        let (plan, report) = placement::plan(&self.map, &Limits::from(&self.map.options));
        if !plan.is_empty() || !report.blocked.is_empty() {
            return Ok(Some(format!("{plan:?}, blocked {:?}", report.blocked)));
        }
        for node in self.nodes.values() {
            let placed = |chunk: &ChunkId| {
                let group = self.map.group_of(chunk.slot());
                group.is_some_and(|group| group.members.iter().any(|member| member.node == node.id))
            };
            if let Some(chunk) = node.chunks.list(None, usize::MAX).into_iter().find(|chunk| !placed(chunk)) {
                return Ok(Some(format!("{chunk} on {}, which the map does not name", node.id)));
            }
        }
        self.check_domains()?;
        self.unsettled_voters()
    }

    /// Copies of a chunk stand in three failure domains, and none on a node that is being emptied.
    fn check_domains(&self) -> Result<(), Violation> {
        let drains = |member: &Member| self.map.node(member.node).is_none_or(|node| node.mode != NodeMode::Active);
        let drains = |group: &&PlacementGroup| group.members.iter().any(drains);
        match self.crowded().chain(self.map.groups.iter().filter(drains)).next() {
            None => Ok(()),
            Some(group) => Err(Violation::new(Rule::Move, format!("at rest {group:?} stands where it should not"))),
        }
    }

    /// Groups that stand in fewer domains than there are for them.
    fn crowded(&self) -> impl Iterator<Item = &PlacementGroup> {
        let takes = |entry: &&NodeEntry| entry.mode == NodeMode::Active && !self.nodes[&entry.id].gone;
        let domains: BTreeSet<&str> = self.map.nodes.iter().filter(takes).map(|entry| entry.domain.as_str()).collect();
        let wanted = domains.len().min(REPLICAS);
        self.map.groups.iter().filter(move |group| self.map.spread(group.members.iter().copied()).0 < wanted)
    }

    /// No settled group stays crowded for long.
    fn check_crowds(&self, since: &mut BTreeMap<PgId, Millis>) -> Result<(), Violation> {
        let crowded: BTreeSet<PgId> =
            self.crowded().filter(|group| group.moving.is_none()).map(|group| group.id).collect();
        since.retain(|pg, _| crowded.contains(pg));
        for pg in crowded {
            let for_long = self.now - *since.entry(pg).or_insert(self.now) > CROWDED;
            if for_long {
                let text =
                    format!("{:?} stands in too few domains for {} s of calm", self.map.group(pg), CROWDED / 1000);
                return Err(Violation::new(Rule::Move, text));
            }
        }
        Ok(())
    }

    /// How far the replica of a group that has applied most has.
    fn applied(&self, group: GroupId) -> LogIndex {
        self.replicas(group).map(|(_, replica)| replica.state().1.index).max().unwrap_or_default()
    }

    /// Whether a group has a leader, and all its replicas have applied that much, and so have the rows that whoever was ahead had then. There is no other rest: sessions are renewed and
    /// the time is noted for ever.
    fn keeps_up(&self, group: GroupId, before: LogIndex) -> bool {
        self.leader(group).is_some() && self.replicas(group).all(|(_, replica)| replica.state().1.index >= before)
    }

    fn stand(&self) -> String {
        let stand = |(node, group): (&Node, GroupId)| {
            let replica = node.replica(group)?;
            Some(format!("{} in {group} applied {}, {}", node.id, replica.state().1.index, replica.describe()))
        };
        let all = self.nodes.values().flat_map(|node| GROUPS.map(|group| (node, group)));
        let stands: Vec<String> = all.filter_map(stand).collect();
        stands.join("; ")
    }

    /// In some runs everything is deleted, purged and given up, so that no chunk may be left.
    pub(super) fn empty(&mut self) -> Result<(), Violation> {
        if !self.script.knobs.empties {
            return Ok(());
        }
        let mut number = EMPTY_FROM;
        for _ in 0..EMPTY_ROUNDS {
            let aborts = self.judge.uploads().into_iter().filter_map(|(upload, key)| {
                let name = key.get(1).map(|digit| Name(digit - b'0'))?;
                Some(Operation::Abort(name, upload))
            });
            let all: Vec<Operation> = aborts.chain([Operation::DeleteAll, Operation::Purge(None)]).collect();
            for operation in all {
                number += 1;
                self.plan(EMPTIER, number, self.now, operation);
            }
            self.wake_at(EMPTIER, self.now + 1);
            let end = self.now + CALM;
            while !self.all_done() && self.now < end {
                self.until(self.now + 100)?;
            }
            if self.judge.is_empty() {
                return Ok(());
            }
        }
        Err(Violation::new(Rule::Rest, "not everything can be deleted in calm weather"))
    }

    /// All writers have left, and the grace time passes: what is still on a node is what metadata refers to.
    pub(super) fn collect(&mut self) -> Result<(), Violation> {
        self.clients.values_mut().for_each(|client| client.leaves());
        let end = self.now + CALM;
        let mut left = String::new();
        while self.now < end {
            self.end_sessions()?;
            self.release_holds()?;
            self.until(self.now + 500)?;
            match self.garbage() {
                None => {
                    if self.judge.is_empty() {
                        self.report.marks.hit(Mark::Emptied);
                    }
                    return Ok(());
                }
                Some(garbage) => left = garbage,
            }
        }
        Err(Violation::new(Rule::Garbage, format!("{} s after all have left there is {left}", CALM / 1000)))
    }

    /// Garbage that is still there, for people; nothing if there is none.
    fn garbage(&self) -> Option<String> {
        let Some(leader) = self.leader(GROUP).and_then(|id| self.nodes[&id].replica(GROUP)) else {
            return Some("no leader".to_owned());
        };
        match leader.ask(&Query::Garbage) {
            Ok(Answer::Garbage(status)) if status.waiting == 0 && status.condemned == 0 => {}
            other => return Some(format!("{other:?}")),
        }
        let referenced = self.judge.referenced();
        for node in self.nodes.values() {
            for chunk in node.chunks.list(None, usize::MAX) {
                // A list that several files share keeps what is cut off one of them.
                let shared = || {
                    let judged = leader.ask(&Query::JudgeChunks { chunks: vec![chunk] });
                    !self.judge.is_empty() && judged == Ok(Answer::Judged(vec![ChunkVerdict::Referenced]))
                };
                if !referenced.contains(&chunk) && !shared() {
                    return Some(format!("{chunk} on {}, and nothing refers to it", node.id));
                }
            }
        }
        None
    }

    /// Every chunk that metadata refers to has three good copies on three nodes, once repair and scrub have had their time.
    ///
    /// The list of ids that each node is compared with comes from the judge, as that of a real audit comes from the metadata.
    pub(super) fn audit(&mut self) -> Result<(), Violation> {
        let end = self.now + AUDIT;
        let mut lacking = self.lacking();
        let mut rounds = 0;
        while !lacking.is_empty() && self.now < end {
            for (chunk, id) in &lacking {
                let node = self.nodes.get_mut(id).expect("a node");
                if !node.chunks.has(chunk.id) {
                    node.wanted.insert(chunk.id, *chunk);
                }
            }
            self.plan(REPAIRER, LOOKS_FROM + 500_000 + rounds, self.now, Operation::Repair);
            self.wake_at(REPAIRER, self.now + 1);
            rounds += 1;
            self.until(self.now + self.script.knobs.scrub + 500)?;
            lacking = self.lacking();
        }
        match lacking.first() {
            None => Ok(()),
            Some((chunk, id)) => {
                let text = format!("{} chunks lack a good copy at the end, {} on {id} first", lacking.len(), chunk.id);
                Err(Violation::new(Rule::Chunk, text))
            }
        }
    }

    fn lacking(&self) -> Vec<(types::ChunkRef, NodeId)> {
        let mut lacking = Vec::new();
        let referenced = self.judge.referenced();
        for chunk in self.judge.committed().iter().filter(|chunk| referenced.contains(&chunk.id)) {
            let members = self.map.group_of(chunk.id.slot()).map_or(&[][..], |group| &group.members[..]);
            let without = members.iter().filter(|member| !self.nodes[&member.node].chunks.holds(chunk));
            lacking.extend(without.map(|member| (*chunk, member.node)));
        }
        lacking
    }

    /// Reads every name once more, and all records.
    pub(super) fn look(&mut self) -> Result<(), Violation> {
        let reader = 0;
        let names = self.judge.names().into_iter().filter_map(|name| name.get(1).map(|digit| Name(digit - b'0')));
        let reads: Vec<Operation> = names.map(Operation::Get).chain([Operation::GetRecords]).collect();
        for (place, read) in reads.into_iter().enumerate() {
            let before = self.clients[&reader].tally.answered;
            self.clients.get_mut(&reader).expect("a client").distrusts_map();
            self.plan(reader, LOOKS_FROM + place as u64, self.now, read.clone());
            self.wake_at(reader, self.now + 1);
            let end = self.now + CALM;
            while !self.clients[&reader].is_done() && self.now < end {
                self.until(self.now + 50)?;
            }
            if self.clients[&reader].tally.answered != before + 1 {
                return Err(Violation::new(Rule::Chunk, format!("{read:?} is not answered in calm weather")));
            }
        }
        Ok(())
    }
}
