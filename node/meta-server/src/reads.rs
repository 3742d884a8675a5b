//! Linearizable reads of one group: all that arrive while one round to the quorum is under way share the next one.
//!
//! A round that was begun before a read arrived must not answer it, since the leader may have been deposed in between.

use crate::event::ReadReply;
use crate::steady_clock;
use proto::rpc::GroupError;
use raft_core::{Group, ProposeError};
use types::LogIndex;

/// Ticks after which a round is taken for lost and begun anew.
const ROUND_TICKS_MAX: u64 = 4;
/// Ticks a read waits for a new leader's first commit.
const WAIT_TICKS_MAX: u64 = 20;

#[derive(Default)]
pub(crate) struct Reads {
    waiting: Vec<ReadReply>,
    waiting_since: u64,
    round: Option<Round>,
    next_context: u64,
    /// A round is wanted though nobody waits, to prolong the lease.
    renew: bool,
}

struct Round {
    context: u64,
    begun: u64,
    replies: Vec<ReadReply>,
}

impl Reads {
    pub(crate) fn push(&mut self, reply: ReadReply, now: u64) {
        if self.waiting.is_empty() {
            self.waiting_since = now;
        }
        self.waiting.push(reply);
    }

    /// Has a round begun for the sake of the leader's lease.
    pub(crate) fn renew(&mut self) {
        self.renew = true;
    }

    /// Begins a round if there is a reason to and none is under way. `now` counts ticks.
    pub(crate) fn begin(&mut self, group: &mut Group, now: u64) {
        if let Some(lost) = self.round.take_if(|round| now - round.begun > ROUND_TICKS_MAX) {
            self.waiting.extend(lost.replies);
        }
        let wanted = std::mem::take(&mut self.renew) || !self.waiting.is_empty();
        if !wanted || self.round.is_some() {
            return;
        }
        let context = self.next_context;
        match group.read(context, steady_clock::now()) {
            Ok(()) => {
                self.next_context += 1;
                self.round = Some(Round { context, begun: now, replies: std::mem::take(&mut self.waiting) });
            }
            Err(ProposeError::Dropped) if now - self.waiting_since <= WAIT_TICKS_MAX => {}
            Err(_) => self.fail(&GroupError::NotLeader { leader: None }),
        }
    }

    /// A quorum has confirmed the round.
    pub(crate) fn confirmed(&mut self, context: u64, index: LogIndex) {
        if let Some(round) = self.round.take_if(|round| round.context == context) {
            for reply in round.replies {
                let _ = reply.send(Ok(index));
            }
        }
    }

    /// Leadership was lost.
    pub(crate) fn fail(&mut self, error: &GroupError) {
        let round = self.round.take().map(|round| round.replies).unwrap_or_default();
        for reply in self.waiting.drain(..).chain(round) {
            let _ = reply.send(Err(error.clone()));
        }
    }
}
