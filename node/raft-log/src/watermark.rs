//! The watermark: what messages that have left this node promised, kept durably beside the log.
//!
//! The log alone cannot tell that it lost its tail: cut at a record's border it looks whole. The watermark is the
//! second witness. It is written *after* the acknowledging messages were sent, by a thread of its own, so that no
//! message waits for a second flush; a new term or vote is in it one round later, the growth of a log within 20 ms.
//!
//! A promise names a term, a vote and how far the log reached. Raft itself may shorten a log (entries of a deposed
//! leader are replaced), so every promise carries the count of such rewrites too: a promise about an older log than the one
//! that came back says nothing about its length; one about a *newer* log means that the rewrite itself was lost.

mod keeper;
mod slot;

pub(crate) use keeper::Keeper;
pub(crate) use slot::{Slots, newest, read, read_slots, slot_path};

use crate::row::Reach;
use types::{LogIndex, ReplicaId, Term};

/// What the messages just sent for a group promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The term of the hard state they were sent under.
    pub term: Term,
    /// Whom that hard state votes for; `ReplicaId(0)` = nobody.
    pub vote: ReplicaId,
    /// The last entry they acknowledged, as a follower or, as a leader, counted itself for.
    pub last: LogIndex,
}

/// A mark as it is kept: with the log it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Promise {
    pub(crate) term: Term,
    pub(crate) vote: ReplicaId,
    /// The group's count of rewrites when it was made.
    pub(crate) rewrites: u64,
    pub(crate) reach: Reach,
}

impl Promise {
    /// Adds a newer promise; nothing promised earlier is taken back, except by a rewrite of the log.
    ///
    /// With `in_debt` not even by that: a group that has not yet made good for a loss still owes it.
    pub(crate) fn add(&mut self, newer: Promise, in_debt: bool) {
        if newer.term > self.term {
            (self.term, self.vote) = (newer.term, newer.vote);
        } else if newer.term == self.term && self.vote == ReplicaId(0) {
            self.vote = newer.vote;
        }
        if newer.rewrites > self.rewrites && !in_debt {
            self.reach = newer.reach;
        } else if newer.rewrites >= self.rewrites {
            self.reach = self.reach.max(newer.reach);
        }
        self.rewrites = self.rewrites.max(newer.rewrites);
    }

    /// Whether a voter that comes back with this term and vote has forgotten one.
    pub(crate) fn vote_lost(&self, term: Term, vote: ReplicaId) -> bool {
        term < self.term || (term == self.term && self.vote != ReplicaId(0) && vote != self.vote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(term: u64, vote: u64, rewrites: u64, reach: (u64, u64)) -> Promise {
        let reach = Reach { term: Term(reach.0), index: LogIndex(reach.1) };
        Promise { term: Term(term), vote: ReplicaId(vote), rewrites, reach }
    }

    fn sum(mut old: Promise, newer: Promise, in_debt: bool) -> Promise {
        old.add(newer, in_debt);
        old
    }

    #[test]
    fn older_promises_take_nothing_back() {
        let old = promise(4, 2, 1, (4, 10));
        assert_eq!(sum(old, promise(4, 0, 1, (4, 8)), false), old);
        assert_eq!(sum(old, promise(3, 1, 0, (3, 12)), false), old);
        assert_eq!(sum(old, promise(5, 0, 1, (4, 11)), false), promise(5, 0, 1, (4, 11)));
    }

    #[test]
    fn a_rewrite_frees_from_the_longer_log_unless_in_debt() {
        let old = promise(4, 2, 1, (4, 10));
        let new = promise(5, 0, 2, (2, 7));
        assert_eq!(sum(old, new, false), new);
        assert_eq!(sum(old, new, true), promise(5, 0, 2, (4, 10)));
    }

    #[test]
    fn a_forgotten_vote_is_noticed() {
        let kept = promise(4, 2, 0, (0, 0));
        assert!(!kept.vote_lost(Term(4), ReplicaId(2)) && !kept.vote_lost(Term(5), ReplicaId(0)));
        assert!(
            kept.vote_lost(Term(4), ReplicaId(0))
                && kept.vote_lost(Term(4), ReplicaId(1))
                && kept.vote_lost(Term(3), ReplicaId(2))
        );
        assert!(!promise(4, 0, 0, (0, 0)).vote_lost(Term(4), ReplicaId(1)));
    }
}
