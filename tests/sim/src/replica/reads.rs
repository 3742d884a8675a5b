//! Linearizable reads: all that arrive while one round to the quorum is under way share the next one, as in `meta-server`.

use crate::message::Waiter;
use proto::control::ControlQuery;
use proto::meta::Query;
use raft_core::{Group, ProposeError};
use types::{LogIndex, Moment};

/// Ticks after which a round is taken for lost and begun anew.
const ROUND_TICKS_MAX: u64 = 4;
/// Ticks a read waits for a new leader's first commit.
const WAIT_TICKS_MAX: u64 = 20;

/// What a group is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// A metadata group.
    Meta(Query),
    /// The control group.
    Control(ControlQuery),
    /// Any group, who belongs to it.
    Members,
}

type Waiting = (Waiter, Question);

/// Queries of a leader.
#[derive(Default)]
pub struct Reads {
    waiting: Vec<Waiting>,
    waiting_since: u64,
    round: Option<Round>,
    next_context: u64,
    /// A round is wanted though nobody waits, to prolong the lease.
    renew: bool,
    /// Confirmed, and to be answered once that much is applied.
    confirmed: Vec<(LogIndex, Waiting)>,
}

struct Round {
    context: u64,
    begun: u64,
    queries: Vec<Waiting>,
}

impl Reads {
    /// Takes a query. `now` counts ticks.
    pub fn push(&mut self, waiter: Waiter, wanted: Question, now: u64) {
        if self.waiting.is_empty() {
            self.waiting_since = now;
        }
        self.waiting.push((waiter, wanted));
    }

    /// Has a round begun for the sake of the leader's lease.
    pub fn renew(&mut self) {
        self.renew = true;
    }

    /// Begins a round if there is a reason to and none is under way. `now` counts ticks, `moment` is by the node's steady clock. Returns who is given up.
    pub fn begin(&mut self, group: &mut Group, now: u64, moment: Moment) -> Vec<Waiter> {
        if let Some(lost) = self.round.take_if(|round| now - round.begun > ROUND_TICKS_MAX) {
            self.waiting.extend(lost.queries);
        }
        let wanted = std::mem::take(&mut self.renew) || !self.waiting.is_empty();
        if !wanted || self.round.is_some() {
            return Vec::new();
        }
        match group.read(self.next_context, moment) {
            Ok(()) => {
                let queries = std::mem::take(&mut self.waiting);
                self.round = Some(Round { context: self.next_context, begun: now, queries });
                self.next_context += 1;
                Vec::new()
            }
            Err(ProposeError::Dropped) if now - self.waiting_since <= WAIT_TICKS_MAX => Vec::new(),
            Err(_) => self.lost_leadership(),
        }
    }

    /// A quorum has confirmed the round.
    pub fn confirmed(&mut self, context: u64, index: LogIndex) {
        if let Some(round) = self.round.take_if(|round| round.context == context) {
            self.confirmed.extend(round.queries.into_iter().map(|query| (index, query)));
        }
    }

    /// Queries that may be answered now.
    pub fn due(&mut self, applied: LogIndex) -> Vec<Waiting> {
        self.confirmed.extract_if(.., |(index, _)| *index <= applied).map(|(_, query)| query).collect()
    }

    /// Nobody is served here any more. What a quorum has confirmed may still be answered.
    pub fn lost_leadership(&mut self) -> Vec<Waiter> {
        let round = self.round.take().map(|round| round.queries).unwrap_or_default();
        self.waiting.drain(..).chain(round).map(|(waiter, _)| waiter).collect()
    }
}
