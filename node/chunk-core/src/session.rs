//! The writer's side of a session: ids for new chunks, where they go, and which of its epochs are still in use.
//!
//! An epoch is *open* while chunk ids are made in it, *draining* while ids made in it are neither committed, staged nor given up, and
//! *closable* after that. The session then closes it in every group it made ids for, and what metadata does not refer to is garbage.

use crate::{Readiness, View};
use std::collections::BTreeMap;
use types::{
    ChunkId, ChunkIdParts, ChunkRef, GroupId, Moment, PgId, PlacementMap, RuleId, SessionId, Slot, WriterEpoch,
};

/// How long ids are made in one epoch, in milliseconds: an hour, so that garbage waits no longer.
pub const EPOCH_MILLIS: u64 = 3_600_000;

/// The writer's side of a session.
#[derive(Clone, Debug)]
pub struct Session {
    id: SessionId,
    epoch: WriterEpoch,
    since: Moment,
    next_seq: u32,
    /// Where the first look at the slots of a rule begins.
    seed: usize,
    /// Where the next look begins, of each rule: with one for all, writers of several rules would fall on the same slots again and again.
    cursors: BTreeMap<RuleId, usize>,
    /// Ids made and not settled, by epoch.
    unsettled: BTreeMap<WriterEpoch, BTreeMap<u32, Unsettled>>,
    /// Groups with epochs that are to be closed.
    owners: BTreeMap<GroupId, Owned>,
}

/// An id that is neither committed, staged nor given up.
#[derive(Clone, Copy, Debug)]
enum Unsettled {
    /// Its chunk is being written.
    Writing,
    /// Its chunk is durable, but for the members whose bits are set.
    Written(ChunkRef, u8),
}

/// The epochs in which ids of a group were made.
#[derive(Clone, Copy, Debug)]
struct Owned {
    /// The first that is not closed there.
    first: WriterEpoch,
    /// The last.
    last: WriterEpoch,
}

/// An id for a chunk and the placement group its slot lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The id.
    pub chunk: ChunkId,
    /// The placement group.
    pub group: PgId,
    /// What is to be expected of it.
    pub readiness: Readiness,
}

/// No id could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    /// The placement map has no slots of that rule.
    #[error("the placement map has no slots of that rule")]
    NoSlots,
    /// The session has used up its epochs; open another.
    #[error("the session has used up its epochs")]
    Exhausted,
}

impl Session {
    /// A session that was just opened. `seed` decides where in the slots it begins, so that writers do not march in step.
    #[must_use]
    pub fn new(id: SessionId, now: Moment, seed: u64) -> Self {
        let seed = (seed % u64::from(u16::MAX)) as usize;
        let (cursors, unsettled, owners) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Session { id, epoch: WriterEpoch(0), since: now, next_seq: 0, seed, cursors, unsettled, owners }
    }

    /// The session's id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The epoch ids are made in.
    #[must_use]
    pub fn epoch(&self) -> WriterEpoch {
        self.epoch
    }

    /// An id for a new chunk owned by `owner`, in a slot of `rule` whose placement group is the readiest that is not among `tried`;
    /// among equals the slots take turns.
    ///
    /// # Errors
    /// [`AllocateError`].
    pub fn allocate(
        &mut self,
        now: Moment,
        (owner, rule): (GroupId, RuleId),
        map: &PlacementMap,
        view: &View,
        tried: &[PgId],
    ) -> Result<Allocation, AllocateError> {
        let (slot, group, readiness) = self.choose(rule, map, view, tried).ok_or(AllocateError::NoSlots)?;
        self.roll(now);
        let seq = self.next_seq;
        self.next_seq = match seq.checked_add(1) {
            Some(next) => next,
            None if self.epoch.0 == u16::MAX => return Err(AllocateError::Exhausted),
            None => {
                self.begin_epoch(now);
                return self.allocate(now, (owner, rule), map, view, tried);
            }
        };
        self.unsettled.entry(self.epoch).or_default().insert(seq, Unsettled::Writing);
        let epoch = self.epoch;
        self.owners.entry(owner).or_insert(Owned { first: epoch, last: epoch }).last = epoch;
        let parts = ChunkIdParts { slot, group: owner, session: self.id, epoch: self.epoch, seq };
        Ok(Allocation { chunk: ChunkId::new(parts), group, readiness })
    }

    /// Begins the next epoch if the present one is old enough. An epoch in which no id was made goes on. Returns the epoch that ended.
    pub fn roll(&mut self, now: Moment) -> Option<WriterEpoch> {
        let due = now >= self.since + EPOCH_MILLIS && self.next_seq > 0 && self.epoch.0 < u16::MAX;
        due.then(|| self.begin_epoch(now))
    }

    /// A chunk is durable, but for the members whose bits are set in `missing`, and not committed yet.
    pub fn written(&mut self, chunk: ChunkRef, missing: u8) {
        let ChunkIdParts { session, epoch, seq, .. } = chunk.id.parts();
        if session == self.id
            && let Some(unsettled) = self.unsettled.get_mut(&epoch).and_then(|seqs| seqs.get_mut(&seq))
        {
            *unsettled = Unsettled::Written(chunk, missing);
        }
    }

    /// Chunks of epochs that have ended which are written and neither committed nor staged, at most `max`, all of one group. They
    /// are to be staged and then settled, so that their epoch can be closed.
    #[must_use]
    pub fn to_stage(&self, max: usize) -> Option<(GroupId, Vec<(ChunkRef, u8)>)> {
        let ended = self.unsettled.range(..self.epoch).flat_map(|(_, seqs)| seqs.values());
        let mut written = ended.filter_map(|unsettled| match unsettled {
            Unsettled::Written(chunk, missing) => Some((*chunk, *missing)),
            Unsettled::Writing => None,
        });
        let first = written.next()?;
        let group = first.0.id.group();
        let same = written.filter(|(chunk, _)| chunk.id.group() == group);
        Some((group, std::iter::once(first).chain(same).take(max).collect()))
    }

    /// A group in which epochs up to the one returned are to be closed now.
    #[must_use]
    pub fn to_close(&self) -> Option<(GroupId, WriterEpoch)> {
        let last = WriterEpoch(self.closable_below().0.checked_sub(1)?);
        self.owners.iter().find(|(_, owned)| owned.first <= last).map(|(group, _)| (*group, last))
    }

    /// A group has closed all epochs up to this one.
    pub fn closed(&mut self, group: GroupId, epoch: WriterEpoch) {
        if let Some(owned) = self.owners.get_mut(&group) {
            owned.first = owned.first.max(WriterEpoch(epoch.0.saturating_add(1)));
            if owned.first > owned.last {
                self.owners.remove(&group);
            }
        }
    }

    /// A chunk was committed or staged, or will certainly never be. Settling twice or another session's chunk does nothing.
    pub fn settle(&mut self, chunk: ChunkId) {
        let ChunkIdParts { session, epoch, seq, .. } = chunk.parts();
        if session == self.id
            && let Some(seqs) = self.unsettled.get_mut(&epoch)
        {
            seqs.remove(&seq);
            if seqs.is_empty() {
                self.unsettled.remove(&epoch);
            }
        }
    }

    /// All epochs below this one are closable: no id is made in them any more, and none of theirs is unsettled.
    #[must_use]
    pub fn closable_below(&self) -> WriterEpoch {
        self.unsettled.keys().next().copied().unwrap_or(self.epoch).min(self.epoch)
    }

    /// Ids that are neither committed, staged nor given up.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unsettled.values().map(BTreeMap::len).sum()
    }

    fn begin_epoch(&mut self, now: Moment) -> WriterEpoch {
        let ended = self.epoch;
        (self.epoch, self.since, self.next_seq) = (WriterEpoch(ended.0 + 1), now, 0);
        ended
    }

    fn choose(
        &mut self,
        rule: RuleId,
        map: &PlacementMap,
        view: &View,
        tried: &[PgId],
    ) -> Option<(Slot, PgId, Readiness)> {
        let slots = map.slots.len().min(usize::from(u16::MAX) + 1);
        let cursor = self.cursors.get(&rule).copied().unwrap_or(self.seed);
        let mut best = None;
        for step in 0..slots {
            let index = (cursor + step) % slots;
            let group = map.groups.get(map.slots[index] as usize).filter(|group| group.rule == rule);
            let Some(group) = group else { continue };
            // A group that was tried is taken only if there is no other.
            let rank = (!tried.contains(&group.id), view.readiness(group));
            if best.is_none_or(|(found, _, _)| rank > found) {
                best = Some((rank, index, group.id));
            }
            if rank == (true, Readiness::Full) {
                break;
            }
        }
        let ((_, readiness), index, group) = best?;
        self.cursors.insert(rule, (index + 1) % slots);
        Some((Slot(index as u16), group, readiness))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::{Beliefs, Blame};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use types::{Blake3Root, Member, NodeId, PgEpoch, PlacementGroup};

    const T0: Moment = Moment(0);

    /// Groups of nodes; slot i lies in group i modulo their number.
    fn map(groups: &[[u64; 3]], slots: usize) -> PlacementMap {
        let group = |(i, nodes): (usize, &[u64; 3])| {
            let members = nodes.iter().map(|node| Member { node: NodeId(*node), disk: 0 });
            PlacementGroup::settled(PgId(i as u32), PgEpoch(1), members.collect())
        };
        PlacementMap {
            groups: groups.iter().enumerate().map(group).collect(),
            slots: (0..slots).map(|slot| (slot % groups.len()) as u32).collect(),
            ..PlacementMap::default()
        }
    }

    fn down(nodes: &[u64]) -> View {
        View { down: nodes.iter().map(|node| NodeId(*node)).collect(), ..View::default() }
    }

    fn allocate(session: &mut Session, map: &PlacementMap, view: &View, tried: &[PgId]) -> Allocation {
        session.allocate(T0, (GroupId(3), RuleId::DEFAULT), map, view, tried).expect("allocation")
    }

    #[test]
    fn each_rule_has_its_slots_and_they_take_turns_of_their_own() {
        let mut map = map(&[[1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6]], 8);
        map.groups[2].rule = RuleId(1);
        map.groups[3].rule = RuleId(1);
        let mut session = Session::new(SessionId(9), T0, 0);
        let mut slots = |rule: u16| {
            let got = session.allocate(T0, (GroupId(3), RuleId(rule)), &map, &View::default(), &[]);
            got.expect("allocation").chunk.slot().0
        };
        let both: Vec<_> = (0..5).map(|_| (slots(0), slots(1))).collect();
        assert_eq!(both, [(0, 2), (1, 3), (4, 6), (5, 7), (0, 2)]);
        let none = session.allocate(T0, (GroupId(3), RuleId(2)), &map, &View::default(), &[]);
        assert_eq!(none, Err(AllocateError::NoSlots));
        let only_other = down(&[1, 2]);
        assert!(only_other.has_full_group(&map, RuleId(1), &[]));
        assert!(!only_other.has_full_group(&map, RuleId::DEFAULT, &[]));
    }

    #[test]
    fn slots_take_turns_and_ids_say_where_they_came_from() {
        let map = map(&[[1, 2, 3], [2, 3, 4]], 4);
        let mut session = Session::new(SessionId(9), T0, 2);
        let slots: Vec<_> =
            (0..6).map(|_| allocate(&mut session, &map, &View::default(), &[]).chunk.slot().0).collect();
        assert_eq!(slots, [2, 3, 0, 1, 2, 3]);
        let parts = allocate(&mut session, &map, &View::default(), &[]).chunk.parts();
        assert_eq!((parts.session, parts.group, parts.epoch, parts.seq), (SessionId(9), GroupId(3), WriterEpoch(0), 6));
    }

    #[test]
    fn groups_that_lack_a_member_are_avoided_as_long_as_there_are_others() {
        let map = map(&[[1, 2, 3], [2, 3, 4], [4, 5, 6]], 6);
        let mut session = Session::new(SessionId(9), T0, 0);
        for _ in 0..10 {
            let got = allocate(&mut session, &map, &down(&[1, 4]), &[]);
            assert_eq!(got.readiness, Readiness::Degraded);
            let got = allocate(&mut session, &map, &down(&[1]), &[]);
            assert_eq!(got.readiness, Readiness::Full);
            assert_ne!(got.group, PgId(0));
            let got = allocate(&mut session, &map, &down(&[1]), &[PgId(1)]);
            assert_eq!(got.group, PgId(2));
            // Tried groups come last, whatever they promise.
            let got = allocate(&mut session, &map, &down(&[4, 5]), &[PgId(0), PgId(1)]);
            assert_eq!((got.group, got.readiness), (PgId(2), Readiness::Unready));
            assert!(map.group_of(got.chunk.slot()).is_some_and(|group| group.id == got.group));
        }
        let mut shunned = View::default();
        let of_five = map.groups[2].members[1];
        shunned.avoid(&of_five, Blame::Disk);
        assert!(shunned.is_ready(&Member { disk: 1, ..of_five }));
        assert!(shunned.has_full_group(&map, RuleId::DEFAULT, &[PgId(0)]));
        assert!(!shunned.has_full_group(&map, RuleId::DEFAULT, &[PgId(0), PgId(1)]));
        let takers: Vec<_> = map.groups[2].takers().collect();
        assert_eq!(shunned.beliefs(&takers), Beliefs { late: 0b010, ..Beliefs::default() });
        shunned.avoid(&of_five, Blame::Node);
        assert_eq!(shunned.beliefs(&takers), Beliefs { down: 0b010, late: 0b010, moving: false });
        let moving = [&takers[..], &[of_five]].concat();
        assert_eq!(shunned.beliefs(&moving), Beliefs { down: 0b1010, late: 0b1010, moving: true });
        assert!(!shunned.is_ready(&Member { disk: 1, ..of_five }));
    }

    #[test]
    fn a_map_without_slots_gives_no_ids() {
        let mut session = Session::new(SessionId(9), T0, 7);
        let result =
            session.allocate(T0, (GroupId(1), RuleId::DEFAULT), &PlacementMap::default(), &View::default(), &[]);
        assert_eq!(result, Err(AllocateError::NoSlots));
    }

    #[test]
    fn epochs_roll_hourly_and_close_when_their_last_chunk_is_settled() {
        let map = map(&[[1, 2, 3]], 1);
        let mut session = Session::new(SessionId(9), T0, 0);
        assert_eq!(session.roll(Moment(EPOCH_MILLIS)), None, "nothing was written in it");
        let first = allocate(&mut session, &map, &View::default(), &[]).chunk;
        assert_eq!(session.roll(Moment(EPOCH_MILLIS)), Some(WriterEpoch(0)));
        let view = View::default();
        let second =
            session.allocate(Moment(EPOCH_MILLIS), (GroupId(1), RuleId::DEFAULT), &map, &view, &[]).expect("id").chunk;
        assert_eq!((second.parts().epoch, second.parts().seq), (WriterEpoch(1), 0));
        assert_eq!(session.closable_below(), WriterEpoch(0));
        session.settle(first);
        session.settle(first);
        assert_eq!(session.closable_below(), WriterEpoch(1), "the open epoch is not closable");
        assert_eq!(session.unsettled(), 1);
    }

    #[test]
    fn what_is_written_and_not_committed_is_staged_before_its_epoch_is_closed_in_every_group() {
        let map = map(&[[1, 2, 3]], 1);
        let mut session = Session::new(SessionId(9), T0, 0);
        let make = |session: &mut Session, now, group| {
            let got =
                session.allocate(now, (GroupId(group), RuleId::DEFAULT), &map, &View::default(), &[]).expect("id");
            ChunkRef { id: got.chunk, len: 1, root: Blake3Root([0; 32]) }
        };
        let chunks = [1, 1, 2, 3].map(|group| make(&mut session, T0, group));
        session.written(chunks[0], 0);
        session.written(chunks[1], 4);
        session.written(chunks[2], 0);
        assert_eq!((session.to_stage(9), session.to_close()), (None, None), "the epoch goes on");
        let later = Moment(EPOCH_MILLIS);
        session.roll(later);
        make(&mut session, later, 1);
        assert_eq!(session.to_stage(9), Some((GroupId(1), vec![(chunks[0], 0), (chunks[1], 4)])));
        assert_eq!(session.to_stage(1), Some((GroupId(1), vec![(chunks[0], 0)])));
        chunks[..3].iter().for_each(|chunk| session.settle(chunk.id));
        assert_eq!((session.to_stage(9), session.to_close()), (None, None), "one is still being written");
        session.written(chunks[3], 0);
        assert_eq!(session.to_stage(9), Some((GroupId(3), vec![(chunks[3], 0)])));
        session.settle(chunks[3].id);
        for group in [1, 2, 3] {
            assert_eq!(session.to_close(), Some((GroupId(group), WriterEpoch(0))));
            session.closed(GroupId(group), WriterEpoch(0));
        }
        assert_eq!(session.to_close(), None);
        assert_eq!(session.owners.len(), 1, "group 1 has an id in the open epoch");
    }

    proptest! {
        #[test]
        fn ids_are_never_made_twice(pauses in prop::collection::vec(0..EPOCH_MILLIS, 1..200)) {
            let map = map(&[[1, 2, 3], [2, 3, 4]], 8);
            let mut session = Session::new(SessionId(1), T0, 0);
            let (mut now, mut seen) = (T0, BTreeSet::new());
            for pause in pauses {
                now = now + pause;
                let got = session.allocate(now, (GroupId(1), RuleId::DEFAULT), &map, &View::default(), &[]).expect("id");
                prop_assert!(seen.insert(got.chunk));
                prop_assert!(got.chunk.parts().epoch >= session.closable_below());
            }
        }
    }
}
