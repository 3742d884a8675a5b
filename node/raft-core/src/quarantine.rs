//! Keeping a replica from voting that may have forgotten what it promised.
//!
//! After a power cut a disk that lied about its flush may have lost the end of the log, and votes with it. Such a replica neither
//! votes nor campaigns until it has caught up with a live leader's commit index (and with its own durable watermark), by a log that ends in
//! that leader's term and so is part of the leader's. It tells the leader what it holds, since the leader counts on what it acknowledged before, and waits a
//! second for that to have been noted.
//!
//! If nobody leads, because the whole cluster was cut, it waits until every other voter has said where its log ends. What this replica
//! may have acknowledged and lost is then in the best of those logs, and no candidate it may have voted for is in a later term than the
//! newest it has heard of. So it votes for candidates whose log is at least the best, in later terms than that; and if its own log is
//! the best, it goes on as any other, in a new term. If some voters stay silent, a majority suffices after [`ALONE_TICKS_MAX`], with what
//! they have said, and in terms far ahead of what they know ([`LEAP_TERMS`]): who is silent may know of a later one in which this replica led; a replica whose log ends before its watermark is never released that way, and nobody gets its vote. Who speaks and is no voter as far as this
//! replica knows counts with its log as well, and is answered: it may have become one by an entry that was lost here. Who votes is as of the newest entry that anybody is known to have
//! applied: whoever asks for a vote says whom it counts, and this replica may have lost the change that made it so. A leader that falls silent before that leaves behind
//! what it knew to be committed: this replica goes on, and after long anybody gets its vote, only with that in the log; and the wait begins anew.
//!
//! Source: DESIGN section 4; the rules R3, R3b and R5 behind it.

use crate::entry::LogStart;
use crate::message::{MessageKind, RaftMessage, StatePoint};
use std::collections::BTreeMap;
use types::{LogIndex, ReplicaId, Term};

/// Ticks after which a majority suffices when some voters stay silent: 30 seconds.
const ALONE_TICKS_MAX: u64 = 300;

/// Terms between the newest that is known to a majority and the first in which a replica votes that may have forgotten its votes. Each takes an election timeout at least, so
/// these are eighteen hours of elections of which nobody in the majority heard.
const LEAP_TERMS: u64 = 1 << 16;

/// Ticks from one greeting to the next: half a second.
const GREETING_TICKS: u64 = 5;

/// Ticks after which a leader that is silent leads no more: the longest election timeout.
pub(crate) const LEADER_SILENT_TICKS: u64 = 20;

/// Why and until when a replica does not vote.
#[derive(Clone, Debug)]
pub struct Quarantine {
    own: ReplicaId,
    /// Who votes, as of the newest entry that this replica or another is known to have applied.
    known: StatePoint,
    heard: BTreeMap<ReplicaId, Heard>,
    /// The log must reach at least here: the durable watermark.
    watermark: LogIndex,
    /// Of a leader that fell silent.
    committed: Option<Committed>,
    ticks: u64,
    leader: Option<LeaderHeard>,
    /// The replica has gone into a term in which it cannot have voted, and so into none in which it may have.
    leapt: bool,
}

/// What another replica has said of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    term: Term,
    last: Option<LogStart>,
    /// When it was last heard. Who is silent for [`ALONE_TICKS_MAX`] may be lost for good, and what it said binds nobody any more.
    at: u64,
}

/// The newest entry that a leader knew to be committed.
#[derive(Clone, Copy, Debug)]
struct Committed {
    entry: LogStart,
    leader: Term,
}

impl Committed {
    /// Whether a log that ends at `last` is certain to have it. One that ends between the terms of entry and leader may have another entry in its place, which the
    /// leader has replaced since.
    fn is_in(&self, last: LogStart) -> bool {
        last.term > self.leader
            || last.index >= self.entry.index && (last.term == self.leader || last.term == self.entry.term)
    }
}

/// Replicas remembered that are no voters as far as is known here.
const STRANGERS_MAX: usize = 16;

#[derive(Clone, Copy, Debug)]
struct LeaderHeard {
    node: ReplicaId,
    term: Term,
    /// The newest entry that it named as committed; its own term, if it did not say of which the entry is.
    commit: LogStart,
    /// Heartbeats of it.
    heartbeats: u32,
    /// When it was first heard, and last.
    since: u64,
    at: u64,
}

/// What must have come of a leader, and how long it must have been heard, before it is certain to have taken note of what is in the log here: it is greeted twice in that
/// time, and whatever it had counted on before, on a promise that is forgotten here, it names as committed. Not a silence between its appends: under load there is none.
const HEARTBEATS_MIN: u32 = 3;
const HEARD_TICKS: u64 = 2 * GREETING_TICKS;

/// Whether it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The replica is as good as any again.
    Now,
    /// The same, once it is in this term, in which it cannot have voted.
    InTerm(Term),
    /// It has to wait on.
    NotYet,
}

impl Quarantine {
    /// Of the replica `own`, whose state has come to `known`; `watermark` is what it knows to have acknowledged.
    pub(crate) fn new(own: ReplicaId, known: StatePoint, watermark: LogIndex) -> Self {
        Quarantine {
            own,
            known,
            heard: BTreeMap::new(),
            watermark,
            committed: None,
            ticks: 0,
            leader: None,
            leapt: false,
        }
    }

    /// Members as of some entry that was committed. Older ones than are known are not news.
    pub(crate) fn learn(&mut self, point: &StatePoint) {
        if point.at.index > self.known.at.index && point.members.is_bounded() {
            self.known = point.clone();
        }
    }

    fn others(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.known.members.other_voters(self.own)
    }

    fn is_stranger(&self, node: ReplicaId) -> bool {
        !self.known.members.is_voter(node)
    }

    /// Whom to tell now that this replica is back, and where its log ends. After a power cut of everything all replicas are kept
    /// from campaigning, and silence would last for ever. Only the leader, once one was heard.
    pub(crate) fn to_greet(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        let now = self.ticks % GREETING_TICKS == 1;
        let leader = self.leader.map(|leader| leader.node);
        let strangers = self.heard.keys().copied().filter(|node| self.is_stranger(*node));
        self.others().chain(strangers).filter(move |node| now && leader.is_none_or(|leader| leader == *node))
    }

    /// A tick has passed; the log ends at `last` now.
    pub(crate) fn tick(&mut self, last: LogIndex) -> Release {
        self.ticks += 1;
        if let Some(gone) = self.leader.take_if(|leader| self.ticks - leader.at >= LEADER_SILENT_TICKS) {
            let left = Committed { entry: gone.commit, leader: gone.term };
            self.committed = self.committed.filter(|before| before.entry.index > left.entry.index).or(Some(left));
            self.heard.clear();
            self.ticks = 0;
        }
        // Who has others to ask is released by what they say.
        let alone = self.others().next().is_none() && self.ticks >= ALONE_TICKS_MAX;
        release(alone && last >= self.owed() && self.leader.is_none())
    }

    /// A message came; the log ends at `last`, and the replica is in `term`.
    pub(crate) fn heard(&mut self, message: &RaftMessage, last: LogStart, term: Term) -> Release {
        self.note(message);
        if matches!(message.kind, MessageKind::Append | MessageKind::Heartbeat) {
            let known = self.leader.filter(|leader| leader.term == message.term);
            let heartbeats = known.map_or(0, |leader| leader.heartbeats);
            let of_entry = if message.commit_term == Term(0) { message.term } else { message.commit_term };
            let said = LogStart { index: message.commit, term: of_entry };
            let before = known.map(|leader| leader.commit).filter(|before| before.index > said.index);
            self.leader = Some(LeaderHeard {
                node: message.from,
                term: message.term,
                commit: before.unwrap_or(said),
                heartbeats: heartbeats + u32::from(message.kind == MessageKind::Heartbeat),
                since: known.map_or(self.ticks, |leader| leader.since),
                at: self.ticks,
            });
        }
        let caught_up = self.leader.is_some_and(|leader| {
            // A log that ends in the leader's term is part of the leader's; any other may have old entries where the leader has new ones.
            let settled = leader.heartbeats >= HEARTBEATS_MIN && self.ticks - leader.since >= HEARD_TICKS;
            settled && last.term == leader.term && last.index >= leader.commit.index.max(self.owed())
        });
        if caught_up {
            return Release::Now;
        }
        let whole = last.index >= self.watermark && self.committed.is_none_or(|committed| committed.is_in(last));
        match whole && self.has_all(last, last) {
            true => Release::InTerm(self.fresh_term(term)),
            false => Release::NotYet,
        }
    }

    /// The term that the replica has to go into before it votes on the word of a majority. `None`: none, or it was told already.
    pub(crate) fn leap(&mut self, last: LogIndex, term: Term) -> Option<Term> {
        let due = !self.leapt && self.leader.is_none() && self.majority_suffices(last) && !self.has_heard_all();
        let fresh = due.then(|| self.fresh_term(term));
        self.leapt |= due;
        fresh
    }

    /// A term in which this replica cannot have voted; it is in `term` itself. What it has forgotten of an election that it won is known to a majority, and so to one of all others;
    /// a vote that it gave itself in one that it lost binds nobody.
    fn fresh_term(&self, term: Term) -> Term {
        let ahead = if self.leapt || self.has_heard_all() { 1 } else { LEAP_TERMS };
        Term(self.newest_term(None).max(term).0 + ahead)
    }

    /// Whether a candidate may have the vote: it has everything that this replica may have forgotten, and this replica cannot have
    /// voted for anybody else in its term.
    pub(crate) fn may_vote(&self, request: &RaftMessage, last: LogStart) -> bool {
        let candidate = LogStart { index: request.index, term: request.log_term };
        let has_all = order(&candidate) >= order(&last) && self.has_all(candidate, last);
        let asks_only = request.kind == MessageKind::PreVote;
        let is_fresh = self.leapt || self.has_heard_all() && request.term > self.newest_term(Some(request.from));
        has_all && (asks_only || is_fresh)
    }

    /// Takes note of what a message says of its sender.
    fn note(&mut self, message: &RaftMessage) {
        if let Some(point) = &message.point {
            self.learn(point);
        }
        let strangers = self.heard.keys().filter(|node| self.is_stranger(**node)).count();
        let is_new = self.is_stranger(message.from) && !self.heard.contains_key(&message.from);
        if is_new && strangers >= STRANGERS_MAX {
            return;
        }
        let known = self.heard.entry(message.from).or_default();
        known.at = self.ticks;
        let ends_at = Some(LogStart { index: message.index, term: message.log_term });
        match message.kind {
            // Asks for a term that it is not in yet.
            MessageKind::PreVote => (known.term, known.last) = (Term(message.term.0.saturating_sub(1)), ends_at),
            MessageKind::Vote => (known.term, known.last) = (message.term, ends_at),
            MessageKind::HeartbeatResponse if message.reject => (known.term, known.last) = (message.term, ends_at),
            // Repeats the term that was asked for.
            MessageKind::PreVoteResponse => {}
            _ => known.term = known.term.max(message.term),
        }
    }

    /// How far the log must reach.
    fn owed(&self) -> LogIndex {
        self.watermark.max(self.committed.map_or(LogIndex(0), |committed| committed.entry.index))
    }

    /// Whether a log that ends at `candidate` has everything that may have been forgotten here, where the log ends at `last`: it is as good as any other while nobody leads
    /// and all have said where theirs ends. After long a majority suffices, to a replica whose own log reaches its watermark and for one with what is known to be committed.
    fn has_all(&self, candidate: LogStart, last: LogStart) -> bool {
        if self.leader.is_some() {
            return false;
        }
        let without_all =
            self.majority_suffices(last.index) && self.committed.is_none_or(|committed| committed.is_in(candidate));
        let mut lasts = self.heard.values().filter_map(|heard| self.said_lately(heard));
        (self.has_heard_all() || without_all) && lasts.all(|last| order(&candidate) >= order(&last))
    }

    /// Whether it has been long since nobody led, a majority has said where its logs end, and the one here, which ends at `last`, reaches its watermark.
    fn majority_suffices(&self, last: LogIndex) -> bool {
        self.ticks >= ALONE_TICKS_MAX
            && last >= self.watermark
            && self.known.members.is_quorum(|node| node == self.own || self.has_said(node))
    }

    fn has_heard_all(&self) -> bool {
        self.others().all(|node| self.has_said(node))
    }

    fn has_said(&self, node: ReplicaId) -> bool {
        self.heard.get(&node).and_then(|heard| self.said_lately(heard)).is_some()
    }

    /// Where a log ends, unless that was said long ago.
    fn said_lately(&self, heard: &Heard) -> Option<LogStart> {
        heard.last.filter(|_| self.ticks - heard.at < ALONE_TICKS_MAX)
    }

    /// The newest term that any of the others is in, but for `except`.
    fn newest_term(&self, except: Option<ReplicaId>) -> Term {
        let others = self.heard.iter().filter(|(node, _)| Some(**node) != except);
        others.map(|(_, heard)| heard.term).max().unwrap_or_default()
    }
}

/// Logs compare as Raft compares them.
fn order(last: &LogStart) -> (Term, LogIndex) {
    (last.term, last.index)
}

fn release(now: bool) -> Release {
    if now { Release::Now } else { Release::NotYet }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::{MEMBERS_MAX, Members};

    /// Of replica 3, which knows of two other voters.
    fn quarantine() -> Quarantine {
        let known = StatePoint { at: OWN, members: members(&[1, 2, 3], &[]) };
        Quarantine::new(ReplicaId(3), known, LogIndex(0))
    }

    fn members(voters: &[u64], outgoing: &[u64]) -> Members {
        let ids = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect();
        Members { voters: ids(voters), outgoing: ids(outgoing), ..Members::default() }
    }

    const OWN: LogStart = LogStart { index: LogIndex(53), term: Term(1) };

    /// Where the log of another ends, as it says itself.
    fn greeting(from: u64, index: u64) -> RaftMessage {
        let (from, to) = (ReplicaId(from), ReplicaId(3));
        let bare = RaftMessage::bare(MessageKind::HeartbeatResponse, from, to, Term(1));
        RaftMessage { reject: true, index: LogIndex(index), log_term: Term(1), ..bare }
    }

    fn asks(from: u64, index: u64) -> RaftMessage {
        RaftMessage { kind: MessageKind::Vote, term: Term(2), ..greeting(from, index) }
    }

    fn pass(quarantine: &mut Quarantine, ticks: u64) {
        (0..ticks).for_each(|_| assert_eq!(quarantine.tick(OWN.index), Release::NotYet));
    }

    /// Into a term in which it cannot have voted.
    fn leap(quarantine: &mut Quarantine) {
        assert_eq!(quarantine.leap(OWN.index, Term(1)), Some(Term(1 + LEAP_TERMS)));
    }

    #[test]
    fn after_long_a_majority_suffices_and_who_knows_of_a_better_log_waits_for_it() {
        let mut quarantine = quarantine();
        pass(&mut quarantine, ALONE_TICKS_MAX);
        assert_eq!(quarantine.heard(&greeting(2, 63), OWN, Term(1)), Release::NotYet, "its log is better");
        leap(&mut quarantine);
        assert!(!quarantine.may_vote(&asks(1, 62), OWN));
        assert!(quarantine.may_vote(&asks(2, 63), OWN));
        // It may be lost for good.
        pass(&mut quarantine, ALONE_TICKS_MAX);
        let term = Term(1 + LEAP_TERMS);
        assert_eq!(quarantine.heard(&greeting(1, 41), OWN, term), Release::InTerm(Term(term.0 + 1)));
    }

    /// Found by asking why the simulator had found a vote given twice (seed 14336): who is silent may have elected this replica in a term that is forgotten here.
    #[test]
    fn on_the_word_of_a_majority_it_votes_only_far_ahead_of_what_that_knows() {
        let mut quarantine = quarantine();
        pass(&mut quarantine, ALONE_TICKS_MAX - 1);
        quarantine.heard(&greeting(2, 63), OWN, Term(1));
        assert_eq!(quarantine.leap(OWN.index, Term(1)), None, "not yet");
        pass(&mut quarantine, 1);
        assert!(!quarantine.may_vote(&asks(2, 63), OWN));
        assert_eq!(quarantine.leap(OWN.index, Term(7)), Some(Term(7 + LEAP_TERMS)));
        assert_eq!(quarantine.leap(OWN.index, Term(7 + LEAP_TERMS)), None, "once is enough");
        assert!(quarantine.may_vote(&asks(2, 63), OWN));
        // All of them know more than most.
        let mut quarantine = self::quarantine();
        pass(&mut quarantine, ALONE_TICKS_MAX);
        for from in [1, 2] {
            assert_eq!(quarantine.heard(&greeting(from, 63), OWN, Term(1)), Release::NotYet);
        }
        assert_eq!(quarantine.leap(OWN.index, Term(1)), None);
        assert!(quarantine.may_vote(&asks(2, 63), OWN));
    }

    #[test]
    fn a_voter_that_is_not_known_here_counts_with_its_log_and_is_answered() {
        let mut quarantine = quarantine();
        assert_eq!(quarantine.heard(&greeting(4, 75), OWN, Term(1)), Release::NotYet);
        assert_eq!(quarantine.heard(&greeting(1, 41), OWN, Term(1)), Release::NotYet);
        assert_eq!(
            quarantine.heard(&greeting(2, 50), OWN, Term(1)),
            Release::NotYet,
            "the best of the voters, not of all"
        );
        assert!(quarantine.may_vote(&asks(4, 75), OWN) && !quarantine.may_vote(&asks(2, 63), OWN));
        pass(&mut quarantine, 1);
        assert_eq!(quarantine.to_greet().collect::<Vec<_>>(), [1, 2, 4].map(ReplicaId));
    }

    /// Found by the simulator (seed 5206): the change that had made another a voter was lost here, and two of three that were left stood still for want of the one that
    /// it had replaced.
    #[test]
    fn who_votes_is_as_whoever_has_come_furthest_says() {
        let asks = |at, members| {
            let point = StatePoint { at: LogStart { index: LogIndex(at), term: Term(1) }, members };
            RaftMessage { point: Some(point), ..asks(4, 75) }
        };
        let too_many: Vec<u64> = (3..=3 + MEMBERS_MAX as u64).collect();
        for (at, voters, outgoing, votes) in [
            (60, &[1, 3, 4][..], &[][..], true),
            (60, &[1, 3, 4], &[1, 2, 3], false),
            (60, &[1, 3, 4], &[2, 3, 4], true),
            (60, &[1, 2, 3, 4], &[], false),
            (52, &[1, 3, 4], &[], false),
            (60, &too_many, &[], false),
        ] {
            let mut quarantine = quarantine();
            pass(&mut quarantine, ALONE_TICKS_MAX);
            assert_eq!(quarantine.heard(&asks(at, members(voters, outgoing)), OWN, Term(1)), Release::NotYet);
            assert_eq!(quarantine.leap(OWN.index, Term(1)).is_some(), votes);
            let vote = quarantine.may_vote(&asks(0, Members::default()), OWN);
            assert_eq!(vote, votes, "{voters:?} and {outgoing:?} at {at}");
        }
    }

    /// What a leader says.
    fn leads(from: u64, term: u64, commit: u64, commit_term: u64) -> RaftMessage {
        let bare = RaftMessage::bare(MessageKind::Append, ReplicaId(from), ReplicaId(3), Term(term));
        RaftMessage { commit: LogIndex(commit), commit_term: Term(commit_term), ..bare }
    }

    #[test]
    fn what_a_leader_that_fell_silent_knew_to_be_committed_must_be_in_the_log_that_gets_the_vote() {
        let candidate = |index, log_term| RaftMessage { log_term: Term(log_term), term: Term(9), ..asks(1, index) };
        // Of which term the entry is was said, or was not.
        for (commit_term, of_entrys_term) in [(2, true), (0, false)] {
            let mut quarantine = quarantine();
            assert_eq!(quarantine.heard(&leads(2, 4, 60, commit_term), OWN, Term(4)), Release::NotYet);
            pass(&mut quarantine, LEADER_SILENT_TICKS);
            assert_eq!(quarantine.heard(&greeting(1, 50), OWN, Term(4)), Release::NotYet);
            assert!(!quarantine.may_vote(&candidate(70, 5), OWN), "who was the leader may be back");
            pass(&mut quarantine, ALONE_TICKS_MAX - 1);
            assert_eq!(quarantine.heard(&greeting(1, 50), OWN, Term(4)), Release::NotYet);
            pass(&mut quarantine, 1);
            assert_eq!(quarantine.heard(&greeting(1, 50), OWN, Term(4)), Release::NotYet, "its own log lacks it");
            assert!(quarantine.leap(OWN.index, Term(4)).is_some());
            for (index, log_term, votes) in [
                (70, 5, true),
                (54, 5, true),
                (60, 4, true),
                (59, 4, false),
                (70, 3, false),
                (60, 2, of_entrys_term),
                (59, 2, false),
                (70, 1, false),
            ] {
                assert_eq!(quarantine.may_vote(&candidate(index, log_term), OWN), votes, "{index} of term {log_term}");
            }
        }
    }

    #[test]
    fn a_single_voter_waits_and_goes_on() {
        let known = StatePoint { at: OWN, members: members(&[3], &[]) };
        let mut quarantine = Quarantine::new(ReplicaId(3), known, LogIndex(0));
        pass(&mut quarantine, ALONE_TICKS_MAX - 1);
        assert_eq!(quarantine.tick(OWN.index), Release::Now);
    }
}
