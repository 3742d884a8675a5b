//! Keeping a replica from voting that may have forgotten what it promised.
//!
//! After a power cut a disk that lied about its flush may have lost the end of the log, and votes with it. Such a replica neither
//! votes nor campaigns until it has caught up with a live leader's commit index (and with its own durable
//! watermark). If nobody leads, because the whole cluster was cut, it waits until every other voter was heard, or until some were
//! and [`ALONE_TICKS_MAX`] have passed; a replica whose log ends before its watermark is never released that way. A leader that falls
//! silent before that leaves behind what it knew to be committed, as part of the watermark, and the wait begins anew.
//!
//! Source: DESIGN section 4; the rules R3, R3b and R5 behind it.

use crate::message::{MessageKind, RaftMessage};
use std::collections::BTreeSet;
use types::{LogIndex, NodeId, Term};

/// Ticks after which a majority suffices when some voters stay silent: 30 seconds.
const ALONE_TICKS_MAX: u64 = 300;

/// Ticks from one greeting to the next: half a second.
const GREETING_TICKS: u64 = 5;

/// Ticks after which a leader that is silent leads no more: the longest election timeout.
const LEADER_SILENT_TICKS: u64 = 20;

/// Why and until when a replica does not vote.
#[derive(Clone, Debug)]
pub struct Quarantine {
    others: BTreeSet<NodeId>,
    heard: BTreeSet<NodeId>,
    /// The log must reach at least here: the durable watermark.
    watermark: LogIndex,
    ticks: u64,
    leader: Option<LeaderHeard>,
}

#[derive(Clone, Copy, Debug)]
struct LeaderHeard {
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
    /// It has to wait on.
    NotYet,
}

impl Quarantine {
    /// `others` are the other voters, `watermark` what the replica knows to have acknowledged.
    #[must_use]
    pub fn new(others: impl IntoIterator<Item = NodeId>, watermark: LogIndex) -> Self {
        Quarantine { others: others.into_iter().collect(), heard: BTreeSet::new(), watermark, ticks: 0, leader: None }
    }

    /// Whom to tell now that this replica is back. After a power cut of everything all replicas are kept from campaigning, and
    /// silence would last for ever. Nobody, once a leader was heard.
    pub(crate) fn to_greet(&self) -> impl Iterator<Item = NodeId> + '_ {
        let now = self.leader.is_none() && self.ticks % GREETING_TICKS == 1;
        self.others.iter().copied().filter(move |_| now)
    }

    /// A tick has passed; the log ends at `last` now.
    pub(crate) fn tick(&mut self, last: LogIndex) -> Release {
        self.ticks += 1;
        if let Some(gone) = self.leader.take_if(|leader| self.ticks - leader.at >= LEADER_SILENT_TICKS) {
            self.watermark = self.watermark.max(gone.commit);
            self.heard.clear();
            self.ticks = 0;
        }
        let intact = last >= self.watermark;
        let majority = (self.heard.len() + 1) * 2 > self.others.len() + 1;
        release(intact && self.leader.is_none() && majority && self.ticks >= ALONE_TICKS_MAX)
    }

    pub(crate) fn heard(&mut self, message: &RaftMessage, last: LogIndex) -> Release {
        self.heard.insert(message.from);
        if matches!(message.kind, MessageKind::Append | MessageKind::Heartbeat) {
            let known = self.leader.filter(|leader| leader.term == message.term);
            let quiet = known.map_or(0, |leader| leader.heartbeats) + 1;
            self.leader = Some(LeaderHeard {
                term: message.term,
                commit: known.map_or(LogIndex(0), |leader| leader.commit).max(message.commit),
                heartbeats: if message.kind == MessageKind::Heartbeat { quiet } else { 0 },
                at: self.ticks,
            });
        }
        let caught_up = self
            .leader
            .is_some_and(|leader| leader.heartbeats >= QUIET_HEARTBEATS && last >= leader.commit.max(self.watermark));
        let all_heard = self.leader.is_none()
            && last >= self.watermark
            && self.others.iter().all(|other| self.heard.contains(other));
        release(caught_up || all_heard)
    }
}

fn release(now: bool) -> Release {
    if now { Release::Now } else { Release::NotYet }
}
