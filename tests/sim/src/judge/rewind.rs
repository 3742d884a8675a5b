//! What becomes of the truth when a group is recovered from one of its voters: the log goes back to what that one has of it, and on from there.
//!
//! Everything in the judge's own memory that came from an entry which is lost goes with it; what was seen on disks and on the wire stays.

use super::{Judge, Rule, Violation};
use crate::disk::Durable;
use crate::marks::Mark;
use crate::replica::GROUP;
use std::collections::BTreeSet;
use types::{ChunkId, GroupId, LogIndex, Term};

impl Judge {
    /// How many entries of a group's log a voter has.
    #[must_use]
    pub fn known(&self, group: GroupId, voter: &Durable) -> usize {
        let log = self.groups.get(&group).map_or(&[][..], |group| &group.log);
        // Before its log begins there is what it has applied.
        let begins = (voter.start.index.0 as usize).min(log.len());
        let same = log[begins..].iter().zip(begins as u64 + 1..).take_while(|(there, index)| {
            let own = voter.entries.get(index);
            own.is_some_and(|own| own.term == there.term && blake3::hash(&own.data) == there.hash)
        });
        begins + same.count()
    }

    /// Chunks that metadata referred to after any entry from the one of that number on.
    #[must_use]
    pub fn referenced_since(&self, entry: usize) -> BTreeSet<ChunkId> {
        self.models.iter().skip(entry).flat_map(super::Model::chunks).collect()
    }

    /// A group is recovered from a voter: what it has of the log stays, all of it, and whatever else is in its log becomes committed. New
    /// leaders come in this term or later.
    ///
    /// # Errors
    /// It has applied what was never committed.
    pub fn recovers(&mut self, group: GroupId, voter: &Durable, term: Term) -> Result<(), Violation> {
        let kept = self.known(group, voter);
        if voter.applied.index.0 as usize > kept {
            let text = format!("{} entries were applied by a voter that has {kept} of the log", voter.applied.index);
            return Err(Violation::new(Rule::Raft, text));
        }
        let known = self.groups.entry(group).or_default();
        let lost = known.log.len() - kept;
        known.log.truncate(kept);
        known.leaders.retain(|led, _| *led < term);
        let more = voter.entries.range(kept as u64 + 1..);
        known.promised = more.map(|(at, own)| (*at as usize, (own.term, blake3::hash(&own.data)))).collect();
        let more = known.promised.len();
        self.marks.hit(Mark::Recovered);
        if lost > 0 {
            self.marks.hit(Mark::RecoveredLess);
        }
        if more > 0 {
            self.marks.hit(Mark::RecoveredMore);
        }
        match group {
            GROUP => self.forgets_after(kept),
            _ => self.evidence.sessions_anew(),
        }
        Ok(())
    }

    fn forgets_after(&mut self, kept: usize) {
        let last = LogIndex(kept as u64);
        self.models.truncate(kept + 1);
        self.evidence.goes_back(kept);
        self.settled.retain(|_, (at, _)| *at <= last);
        let (settled, steps) = (&self.settled, &self.steps);
        let standing: BTreeSet<_> = settled.keys().filter_map(|key| Some((*steps.get(key)?, key.1))).collect();
        self.effects.retain(|step, seq| standing.contains(&(*step, *seq)));
        let claims = self.claimed_by.partition_point(|at| *at <= last);
        self.claimed_by.truncate(claims);
        for chunk in self.committed.split_off(claims) {
            self.claimed.remove(&chunk.id);
            self.copies.unsays(chunk.id);
        }
        self.reached = self.reached.min(last);
    }
}
