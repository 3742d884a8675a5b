//! What a collector decides: which sessions are over, whom to send deletes to, when a chunk is gone everywhere, and when too much
//! would be deleted.
//!
//! Everything is soft state: a collector that starts anew asks for the same deletes again, which does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use types::{ChunkId, Moment, NodeId, PlacementMap, SessionId};

/// Condemned chunks with acknowledgements that are remembered; the others are asked about again. About 100 bytes each.
const REMEMBERED_MAX: usize = 65_536;
/// Orphans a node may delete a day whatever it holds: a small cluster would otherwise stop at the first writer that dies.
const ORPHANS_FLOOR: u64 = 1_024;
/// One chunk in so many may be found to be an orphan within a day. Writers that die leave far less; more means that something is wrong
/// with the evidence, and deleting is the one thing that cannot be taken back.
const ORPHANS_SHARE: u64 = 1_000;
/// A day, in milliseconds.
const DAY_MILLIS: u64 = 24 * 3600 * 1000;

/// The runs of sessions that are over: all up to `last` that are not in `open`, which ascends.
#[must_use]
pub fn ended(open: &[SessionId], last: SessionId) -> Vec<RangeInclusive<SessionId>> {
    let mut runs = Vec::new();
    let mut first = 1;
    for session in open.iter().copied().filter(|session| *session <= last).chain([SessionId(last.0.saturating_add(1))])
    {
        if session.0 > first {
            runs.push(SessionId(first)..=SessionId(session.0 - 1));
        }
        first = session.0.saturating_add(1);
    }
    runs
}

/// Which members have acknowledged the deletion of condemned chunks.
#[derive(Debug, Default)]
pub struct Deletions {
    acknowledged: BTreeMap<ChunkId, BTreeSet<NodeId>>,
}

impl Deletions {
    /// What is to be asked of whom: of every member that is up and has not acknowledged.
    #[must_use]
    pub fn wanted(&self, chunks: &[ChunkId], map: &PlacementMap) -> BTreeMap<NodeId, Vec<ChunkId>> {
        let mut wanted: BTreeMap<NodeId, Vec<ChunkId>> = BTreeMap::new();
        for chunk in chunks {
            let done = self.acknowledged.get(chunk);
            for node in members(*chunk, map) {
                if map.is_up(node) && !done.is_some_and(|done| done.contains(&node)) {
                    wanted.entry(node).or_default().push(*chunk);
                }
            }
        }
        wanted
    }

    /// A node has deleted these durably.
    pub fn acknowledged(&mut self, node: NodeId, chunks: &[ChunkId]) {
        if self.acknowledged.len() + chunks.len() > REMEMBERED_MAX {
            self.acknowledged.clear();
        }
        for chunk in chunks {
            self.acknowledged.entry(*chunk).or_default().insert(node);
        }
    }

    /// Those of `chunks` that every member has deleted. A chunk whose slot is not in the map is never one of them.
    #[must_use]
    pub fn gone(&self, chunks: &[ChunkId], map: &PlacementMap) -> Vec<ChunkId> {
        let gone = |chunk: &ChunkId| {
            let Some(done) = self.acknowledged.get(chunk) else { return false };
            let mut members = members(*chunk, map).peekable();
            members.peek().is_some() && members.all(|node| done.contains(&node))
        };
        chunks.iter().copied().filter(gone).collect()
    }

    /// The group has taken note that these are gone.
    pub fn forget(&mut self, chunks: &[ChunkId]) {
        for chunk in chunks {
            self.acknowledged.remove(chunk);
        }
    }
}

fn members(chunk: ChunkId, map: &PlacementMap) -> impl Iterator<Item = NodeId> + '_ {
    map.group_of(chunk.slot()).into_iter().flat_map(|group| group.takers().map(|member| member.node))
}

/// Stops a node from deleting too many orphans.
#[derive(Debug, Default)]
pub struct Breaker {
    /// When the day began, and what was deleted in it.
    day: Option<(Moment, u64)>,
    /// How often an operator had lifted it when it tripped.
    tripped: Option<u64>,
}

impl Breaker {
    /// Orphans that a node with so many chunks may delete a day.
    #[must_use]
    pub fn limit(chunks: u64) -> u64 {
        (chunks / ORPHANS_SHARE).max(ORPHANS_FLOOR)
    }

    /// Whether all of `found` orphans may be deleted now. `lifted` counts how often an operator has lifted breakers: once more than
    /// when this one tripped lets one pass through.
    pub fn admit(&mut self, now: Moment, chunks: u64, found: u64, lifted: u64) -> bool {
        let (began, deleted) = self.day.filter(|(began, _)| now < *began + DAY_MILLIS).unwrap_or((now, 0));
        let within = deleted.saturating_add(found) <= Self::limit(chunks);
        let was_lifted = self.tripped.is_some_and(|seen| lifted > seen);
        if !within && !was_lifted {
            self.tripped.get_or_insert(lifted);
            return false;
        }
        // What was lifted does not count against the days that follow.
        self.day = Some(if was_lifted { (now, 0) } else { (began, deleted + found) });
        self.tripped = None;
        true
    }

    /// Whether it holds orphans back.
    #[must_use]
    pub fn is_tripped(&self) -> bool {
        self.tripped.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use types::{
        ChunkIdParts, GroupId, Member, NodeEntry, NodeState, PgEpoch, PgId, PlacementGroup, Slot, WriterEpoch,
    };

    fn chunk(slot: u16, seq: u32) -> ChunkId {
        let (group, session, epoch) = (GroupId(1), SessionId(1), WriterEpoch(0));
        ChunkId::new(ChunkIdParts { slot: Slot(slot), group, session, epoch, seq })
    }

    fn map(up: [bool; 3]) -> PlacementMap {
        let node = |(up, id): (bool, u64)| NodeEntry {
            state: if up { NodeState::Up } else { NodeState::Down },
            ..NodeEntry::new(NodeId(id), String::new(), id.to_string(), [])
        };
        let members = (1..=3).map(|id| Member { node: NodeId(id), disk: 0 }).collect();
        let group = PlacementGroup::settled(PgId(0), PgEpoch(1), members);
        let nodes = up.into_iter().zip(1..).map(node).collect();
        PlacementMap { version: 1, nodes, groups: vec![group], slots: vec![0], ..PlacementMap::default() }
    }

    #[test]
    fn a_chunk_is_gone_when_every_member_has_said_so() {
        let mut deletions = Deletions::default();
        let all = [chunk(0, 1), chunk(0, 2)];
        let away = map([true, true, false]);
        assert_eq!(deletions.wanted(&all, &away).into_keys().collect::<Vec<_>>(), [NodeId(1), NodeId(2)]);
        deletions.acknowledged(NodeId(1), &all);
        deletions.acknowledged(NodeId(2), &all[..1]);
        assert_eq!(deletions.wanted(&all, &away), BTreeMap::from([(NodeId(2), vec![all[1]])]));
        assert!(deletions.gone(&all, &away).is_empty(), "one member is down and may have it");
        let back = map([true; 3]);
        deletions.acknowledged(NodeId(3), &all);
        assert_eq!(deletions.gone(&all, &back), all[..1]);
        deletions.forget(&all);
        assert_eq!(deletions.wanted(&all, &back).len(), 3, "it knows nothing any more");
    }

    #[test]
    fn a_chunk_without_a_place_is_never_gone() {
        let mut deletions = Deletions::default();
        let lost = [chunk(7, 1)];
        deletions.acknowledged(NodeId(1), &lost);
        assert!(deletions.wanted(&lost, &map([true; 3])).is_empty());
        assert!(deletions.gone(&lost, &map([true; 3])).is_empty());
    }

    #[test]
    fn the_breaker_counts_a_day_and_waits_for_the_operator() {
        let mut breaker = Breaker::default();
        let million = 2_000_000;
        assert_eq!((Breaker::limit(million), Breaker::limit(10)), (2_000, ORPHANS_FLOOR));
        assert!(breaker.admit(Moment(0), million, 1_500, 0));
        assert!(!breaker.admit(Moment(1), million, 501, 0) && breaker.is_tripped());
        assert!(breaker.admit(Moment(2), million, 500, 0), "within the limit again");
        assert!(!breaker.admit(Moment(3), million, 1, 0));
        assert!(breaker.admit(Moment(DAY_MILLIS), million, 2_000, 0), "another day");
        assert!(!breaker.admit(Moment(DAY_MILLIS + 1), million, 50_000, 3));
        assert!(!breaker.admit(Moment(DAY_MILLIS + 2), million, 50_000, 3), "still the same word");
        assert!(breaker.admit(Moment(DAY_MILLIS + 3), million, 50_000, 4));
        assert!(!breaker.is_tripped());
        assert!(!breaker.admit(Moment(DAY_MILLIS + 4), million, 50_000, 4), "once");
    }

    proptest! {
        #[test]
        fn every_session_is_open_or_over(open in prop::collection::btree_set(1u64..40, 0..20), last in 0u64..50) {
            let open: Vec<_> = open.into_iter().map(SessionId).collect();
            let runs = ended(&open, SessionId(last));
            prop_assert!(runs.windows(2).all(|pair| pair[0].end().0 + 1 < pair[1].start().0), "apart, so few");
            for session in (1..60).map(SessionId) {
                let over = runs.iter().any(|run| run.contains(&session));
                prop_assert_eq!(over, session.0 <= last && !open.contains(&session));
            }
        }
    }
}
