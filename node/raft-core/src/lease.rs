//! When a leader answers reads without asking, and what the others owe it for that.
//!
//! Who hears a leader promises it, by that alone, not to campaign and to give nobody else its vote for [`VOTE_GUARD_MILLIS`], by its own clock from the moment it
//! heard. A leader that a quorum has answered since a moment can therefore not have been replaced before [`LEASE_MILLIS`] after that moment, by its clock: every
//! quorum that could elect another has one of those in it. What it has applied is until then the newest there is.
//!
//! * The moment is one before the question was sent, not when it was answered.
//! * The difference of the two times is for clocks that run unequally fast: a quarter. They need not agree on anything else, and must not stand still while the machine
//!   does (a suspended one; see `meta-server`).
//! * A restart forgets what was heard. So nobody votes or campaigns for the guard's time after it (tikv/tikv issue 15035).
//! * Leadership that is handed over goes to a candidate whom the guard does not stop. Whoever has begun to hand it over has no lease for the rest of its term, since
//!   the request may be late.
//! * A change of members ends the lease and all questions under way: the next quorum that answers is one of the new members.
//!
//! Source: Ongaro's thesis, 6.4.1, with the rules that others had to learn (DESIGN section 4).

use std::collections::VecDeque;
use types::{Moment, Term};

/// How long a leader may read after a question that a quorum has answered.
pub const LEASE_MILLIS: u64 = 700;
/// How long who heard a leader keeps from voting. Shorter than the least election timeout, so that it holds up no election.
pub(crate) const VOTE_GUARD_MILLIS: u64 = 900;

/// A leader's side.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// Whose leadership the rest is about.
    term: Term,
    /// Questions without an answer, and when each was asked.
    asked: VecDeque<(u64, Moment)>,
    until: Option<Moment>,
    /// The term in which leadership was to be handed over.
    given_up: Term,
}

impl Lease {
    /// The question `context` is about to be sent by the leader of `term`.
    pub(crate) fn ask(&mut self, term: Term, context: u64, now: Moment) {
        if self.term != term {
            self.void();
            self.term = term;
        }
        self.asked.push_back((context, now));
    }

    /// A quorum has answered it, and with it all that were asked before.
    pub(crate) fn confirmed(&mut self, term: Term, context: u64) {
        if self.term != term || !self.asked.iter().any(|(asked, _)| *asked == context) {
            return;
        }
        while let Some((asked, at)) = self.asked.pop_front() {
            self.until = self.until.max(Some(at + LEASE_MILLIS));
            if asked == context {
                return;
            }
        }
    }

    /// The members have changed.
    pub(crate) fn void(&mut self) {
        self.asked.clear();
        self.until = None;
    }

    /// Leadership of `term` is to be handed over.
    pub(crate) fn give_up(&mut self, term: Term) {
        self.given_up = term;
    }

    /// Until when the leader of `term` may read.
    pub(crate) fn until(&self, term: Term) -> Option<Moment> {
        self.until.filter(|_| self.term == term && self.given_up != term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Term = Term(3);

    #[test]
    fn a_lease_counts_from_when_the_question_was_asked() {
        let mut lease = Lease::default();
        lease.ask(TERM, 1, Moment(1000));
        lease.ask(TERM, 2, Moment(1400));
        lease.ask(TERM, 3, Moment(1500));
        assert_eq!(lease.until(TERM), None);
        lease.confirmed(TERM, 2);
        assert_eq!(lease.until(TERM), Some(Moment(1400 + LEASE_MILLIS)));
        lease.confirmed(TERM, 1);
        assert_eq!(lease.until(TERM), Some(Moment(1400 + LEASE_MILLIS)), "it was answered with the second");
        lease.confirmed(TERM, 3);
        assert_eq!(lease.until(TERM), Some(Moment(1500 + LEASE_MILLIS)));
    }

    #[test]
    fn a_lease_ends_with_the_term_with_the_members_and_when_leadership_is_handed_over() {
        let mut lease = Lease::default();
        let held = |lease: &mut Lease, term, context| {
            lease.ask(term, context, Moment(1));
            lease.confirmed(term, context);
            lease.until(term).is_some()
        };
        assert!(held(&mut lease, TERM, 1));
        assert_eq!(lease.until(Term(4)), None);
        lease.ask(TERM, 2, Moment(2));
        lease.void();
        lease.confirmed(TERM, 2);
        assert_eq!(lease.until(TERM), None, "the members were others when it was asked");
        assert!(held(&mut lease, TERM, 3));
        lease.give_up(TERM);
        assert!(lease.until(TERM).is_none() && !held(&mut lease, TERM, 4));
        assert!(held(&mut lease, Term(5), 5));
        lease.ask(Term(6), 6, Moment(3));
        lease.confirmed(Term(6), 5);
        assert_eq!(lease.until(Term(6)), None, "an answer of the term before");
    }
}
