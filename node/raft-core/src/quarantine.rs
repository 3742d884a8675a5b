//! Keeping a replica from voting that may have forgotten what it promised.
//!
//! After a power cut a disk that lied about its flush may have lost the end of the log, and votes with it. Such a replica neither
//! votes nor campaigns until it has caught up with a live leader's commit index (and with its own durable watermark), by a log that ends in
//! that leader's term and so is part of the leader's. It tells the leader what it holds, since the leader counts on what it acknowledged before.
//!
//! If nobody leads, because the whole cluster was cut, it waits until every other voter has said where its log ends. What this replica
//! may have acknowledged and lost is then in the best of those logs, and no candidate it may have voted for is in a later term than the
//! newest it has heard of. So it votes for candidates whose log is at least the best, in later terms than that; and if its own log is
//! the best, it goes on as any other, in a new term. If some voters stay silent, a majority suffices after [`ALONE_TICKS_MAX`], with what
//! they have said; a replica whose log ends before its watermark is never released that way. Who speaks and is no voter as far as this
//! replica knows counts with its log as well, and is answered: it may have become one by an entry that was lost here. A leader that falls silent before that leaves behind
//! what it knew to be committed, as part of the watermark, and the wait begins anew.
//!
//! Source: DESIGN section 4; the rules R3, R3b and R5 behind it.

use crate::entry::LogStart;
use crate::message::{MessageKind, RaftMessage};
use std::collections::{BTreeMap, BTreeSet};
use types::{LogIndex, ReplicaId, Term};

/// Ticks after which a majority suffices when some voters stay silent: 30 seconds.
const ALONE_TICKS_MAX: u64 = 300;

/// Ticks from one greeting to the next: half a second.
const GREETING_TICKS: u64 = 5;

/// Ticks after which a leader that is silent leads no more: the longest election timeout.
pub(crate) const LEADER_SILENT_TICKS: u64 = 20;

/// Why and until when a replica does not vote.
#[derive(Clone, Debug)]
pub struct Quarantine {
    others: BTreeSet<ReplicaId>,
    heard: BTreeMap<ReplicaId, Heard>,
    /// The log must reach at least here: the durable watermark.
    watermark: LogIndex,
    ticks: u64,
    leader: Option<LeaderHeard>,
}

/// What another replica has said of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    term: Term,
    last: Option<LogStart>,
    /// When it was last heard. Who is silent for [`ALONE_TICKS_MAX`] may be lost for good, and what it said binds nobody any more.
    at: u64,
}

/// Replicas remembered that are no voters as far as is known here.
const STRANGERS_MAX: usize = 16;

#[derive(Clone, Copy, Debug)]
struct LeaderHeard {
    node: ReplicaId,
    term: Term,
    /// The newest commit index it named.
    commit: LogIndex,
    /// Heartbeats since its last append: it sends an append after each answer while it knows of entries we lack.
    heartbeats: u32,
    /// When it was last heard.
    at: u64,
}

/// Heartbeats in a row without an append after which the leader has nothing for us.
const QUIET_HEARTBEATS: u32 = 3;

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
    /// `others` are the other voters, `watermark` what the replica knows to have acknowledged.
    #[must_use]
    pub fn new(others: impl IntoIterator<Item = ReplicaId>, watermark: LogIndex) -> Self {
        Quarantine { others: others.into_iter().collect(), heard: BTreeMap::new(), watermark, ticks: 0, leader: None }
    }

    /// The voters have changed.
    pub(crate) fn set_others(&mut self, others: impl Iterator<Item = ReplicaId>) {
        self.others = others.collect();
    }

    /// Whom to tell now that this replica is back, and where its log ends. After a power cut of everything all replicas are kept
    /// from campaigning, and silence would last for ever. Only the leader, once one was heard.
    pub(crate) fn to_greet(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        let now = self.ticks % GREETING_TICKS == 1;
        let leader = self.leader.map(|leader| leader.node);
        let strangers = self.heard.keys().filter(|node| !self.others.contains(node));
        self.others
            .iter()
            .chain(strangers)
            .copied()
            .filter(move |node| now && leader.is_none_or(|leader| leader == *node))
    }

    /// A tick has passed; the log ends at `last` now.
    pub(crate) fn tick(&mut self, last: LogIndex) -> Release {
        self.ticks += 1;
        if let Some(gone) = self.leader.take_if(|leader| self.ticks - leader.at >= LEADER_SILENT_TICKS) {
            self.watermark = self.watermark.max(gone.commit);
            self.heard.clear();
            self.ticks = 0;
        }
        // Who has others to ask is released by what they say.
        let alone = self.others.is_empty() && self.ticks >= ALONE_TICKS_MAX;
        release(alone && last >= self.watermark && self.leader.is_none())
    }

    /// A message came; the log ends at `last`, and the replica is in `term`.
    pub(crate) fn heard(&mut self, message: &RaftMessage, last: LogStart, term: Term) -> Release {
        self.note(message);
        if matches!(message.kind, MessageKind::Append | MessageKind::Heartbeat) {
            let known = self.leader.filter(|leader| leader.term == message.term);
            let quiet = known.map_or(0, |leader| leader.heartbeats) + 1;
            self.leader = Some(LeaderHeard {
                node: message.from,
                term: message.term,
                commit: known.map_or(LogIndex(0), |leader| leader.commit).max(message.commit),
                heartbeats: if message.kind == MessageKind::Heartbeat { quiet } else { 0 },
                at: self.ticks,
            });
        }
        let caught_up = self.leader.is_some_and(|leader| {
            // A log that ends in the leader's term is part of the leader's; any other may have old entries where the leader has new ones.
            let quiet = leader.heartbeats >= QUIET_HEARTBEATS && last.term == leader.term;
            quiet && last.index >= leader.commit.max(self.watermark)
        });
        if caught_up {
            return Release::Now;
        }
        let intact = last.index >= self.watermark;
        match self.best(intact) {
            Some(best) if intact && order(&last) >= order(&best) => {
                Release::InTerm(Term(self.newest_term(None).max(term).0 + 1))
            }
            _ => Release::NotYet,
        }
    }

    /// Whether a candidate may have the vote: it has everything that this replica may have forgotten, and this replica cannot have
    /// voted for anybody else in its term.
    pub(crate) fn may_vote(&self, request: &RaftMessage, last: LogStart) -> bool {
        let candidate = LogStart { index: request.index, term: request.log_term };
        let has_all = self
            .best(last.index >= self.watermark)
            .is_some_and(|best| order(&candidate) >= order(&best).max(order(&last)));
        let asks_only = request.kind == MessageKind::PreVote;
        has_all && (asks_only || request.term > self.newest_term(Some(request.from)))
    }

    /// Takes note of what a message says of its sender.
    fn note(&mut self, message: &RaftMessage) {
        let strangers = self.heard.len().saturating_sub(self.others.len());
        if !self.others.contains(&message.from) && !self.heard.contains_key(&message.from) && strangers >= STRANGERS_MAX
        {
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

    /// The best log of the others, while nobody leads and all of them have said where theirs ends; for a replica whose own log is `intact`, after
    /// long a majority.
    fn best(&self, intact: bool) -> Option<LogStart> {
        if self.leader.is_some() {
            return None;
        }
        let lately = |heard: &&Heard| self.ticks - heard.at < ALONE_TICKS_MAX;
        let last = |heard: &Heard| heard.last;
        let voters = self.others.iter().filter_map(|node| self.heard.get(node).filter(lately).and_then(last)).count();
        let majority = (voters + 1) * 2 > self.others.len() + 1;
        let enough = voters == self.others.len() || intact && majority && self.ticks >= ALONE_TICKS_MAX;
        let lasts = self.heard.values().filter(lately).filter_map(last);
        lasts.filter(|_| enough).max_by_key(order)
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

    #[test]
    fn after_long_a_majority_suffices_and_who_knows_of_a_better_log_waits_for_it() {
        let mut quarantine = Quarantine::new([1, 2].map(ReplicaId), LogIndex(0));
        pass(&mut quarantine, ALONE_TICKS_MAX);
        assert_eq!(quarantine.heard(&greeting(2, 63), OWN, Term(1)), Release::NotYet, "its log is better");
        assert!(!quarantine.may_vote(&asks(1, 62), OWN));
        assert!(quarantine.may_vote(&asks(2, 63), OWN));
        // It may be lost for good.
        pass(&mut quarantine, ALONE_TICKS_MAX);
        assert_eq!(quarantine.heard(&greeting(1, 41), OWN, Term(1)), Release::InTerm(Term(2)));
    }

    #[test]
    fn a_voter_that_is_not_known_here_counts_with_its_log_and_is_answered() {
        let mut quarantine = Quarantine::new([1, 2].map(ReplicaId), LogIndex(0));
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

    #[test]
    fn a_single_voter_waits_and_goes_on() {
        let mut quarantine = Quarantine::new([], LogIndex(0));
        pass(&mut quarantine, ALONE_TICKS_MAX - 1);
        assert_eq!(quarantine.tick(OWN.index), Release::Now);
    }
}
