//! One chunk on its way into one placement group.
//!
//! A member of the group is in one of these states:
//!
//! ```text
//! Skipped --needed for two copies--> Asked --stored--> Stored
//!                                    |  ^
//!                        busy, lost  v  | pause over
//!                                  Pausing
//!                                    |
//! full, broken, unreachable, down    v
//! ---------------------------->  Failed --needed--> Pausing
//! ```
//!
//! Rules (DESIGN section 5):
//! * Three durable copies: done.
//! * A failed member, or one that lags behind its peers: the chunk goes to another placement group, as long as the driver
//!   says that there is one with three responsive members ([`Alternative`]), none of which is the one that has just failed
//!   ([`Write::lacking`]). Where there is none, two durable copies are enough, and which member is missing is part of the result. Where there is one and too much was written again
//!   already, the write waits: for the third member, which is asked again unless its disk is full or broken, or for the budget to fill.
//! * A member that lagged lately is asked like the others and not waited for: it lags from the moment when two copies are durable.
//! * Busy is no failure: that member is asked again after a pause, and the chunk is never rewritten because of it.
//! * Never fewer than two.
//! * While the group has a move in progress, the disk that comes in is written to as well, as member number `REPLICAS`. It counts for nothing: its
//!   copy is waited for as long as a laggard's, and if it does not come, that is part of the result and the chunk is copied there later.
//!
//! An answer counts whenever it comes: a member given up may still turn out to have stored the chunk.

use proto::chunk::ChunkError;
use types::{Moment, REPLICAS};

/// Whether the chunk could be written into another placement group instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alternative {
    /// No other group has three responsive members.
    None,
    /// One has, and the budget for writing again is spent.
    TooCostly,
    /// One has.
    Ready,
}

/// Times of a write, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteTimes {
    /// How far a member may lag behind the second copy. Twice that behind the first.
    pub lag: u64,
    /// First pause before a member is asked again; doubled each time.
    pub pause_min: u64,
    /// Longest pause.
    pub pause_max: u64,
}

impl Default for WriteTimes {
    fn default() -> Self {
        WriteTimes { lag: 1000, pause_min: 20, pause_max: 320 }
    }
}

/// What is believed of those who shall take the chunk. Bit i stands for member i, bit `REPLICAS` for the disk that a move brings in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Beliefs {
    /// Whether the group has a move in progress: there is a disk that comes in.
    pub moving: bool,
    /// Who does not answer: asked only if two copies cannot be had otherwise.
    pub down: u8,
    /// Who has lagged lately: asked, and not waited for.
    pub late: u8,
}

/// What a member said, or what became of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutAnswer {
    /// The replica is durable.
    Stored,
    /// The chunk service refused, or the node is overloaded (`Busy`).
    Refused(ChunkError),
    /// The node could not be reached; nothing was sent.
    Unreachable,
    /// The connection broke; it may or may not have been stored.
    Lost,
    /// No answer in time; it may or may not have been stored.
    TimedOut,
    /// The node would not look at the request at all.
    Rejected,
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteEvent {
    /// Time passed.
    Tick,
    /// Member `.0` answered.
    Answer(usize, PutAnswer),
    /// Member `.0`'s node is known to be down; its answer is not waited for.
    Down(usize),
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteStep {
    /// Members to send the chunk to, each in parallel and without cancelling anything.
    pub ask: Vec<usize>,
    /// How the write stands.
    pub verdict: WriteVerdict,
}

/// How the write stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteVerdict {
    /// Going on; a tick is wanted at the moment, if any.
    Pending(Option<Moment>),
    /// Enough copies are durable. Bit i is set if member i's is not known to be.
    Done {
        /// The mask; bit `REPLICAS` is that of the disk that a move brings in.
        missing: u8,
    },
    /// Write the chunk under another id into another placement group.
    Elsewhere {
        /// The placement map is out of date: refresh it first.
        refresh: bool,
    },
    /// There are not two members that could store it.
    Failed(WriteFailure),
}

/// Why a chunk was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteFailure {
    /// Two members did not answer.
    #[error("fewer than two members answered")]
    Unavailable,
    /// Members are overloaded.
    #[error("members are overloaded")]
    Busy,
    /// Two members are full.
    #[error("members are full")]
    NoSpace,
    /// The chunk itself is refused; it would be everywhere.
    #[error("the chunk is invalid")]
    Invalid,
}

/// Why a member does not have the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its node is down.
    Down,
    /// It could not be reached, broke off or did not answer in time.
    Unreachable,
    /// It takes nothing for the moment: it has lost touch with the control group, or was just started.
    NoLease,
    /// Its disk is full.
    NoSpace,
    /// Its disk is broken, or it makes no sense.
    Broken,
    /// It knows another epoch of the placement group.
    Stale,
    /// The id is taken.
    Conflict,
    /// It will not have such a chunk.
    Invalid,
}

/// What of a member keeps it from having the chunk, and would in every other placement group that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Its node.
    Node,
    /// Its disk.
    Disk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Skipped,
    Asked { since: Moment, lost_before: bool },
    Pausing { until: Moment, why: Why },
    Stored,
    Failed(Failure),
}

/// Why a member is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Busy,
    /// Its connection broke, for the first time.
    Lost,
    /// Two copies cannot be had without it, or not three where there shall be three.
    Needed,
}

/// One chunk on its way into one placement group.
#[derive(Clone, Debug)]
pub struct Write {
    times: WriteTimes,
    late: u8,
    /// The members, and then the disk that comes in, if there is one.
    takers: Vec<State>,
    pauses: Vec<u64>,
    /// When the copies of members became durable.
    durable: Vec<Moment>,
}

impl Write {
    /// Begins: all members are asked but those that are down.
    #[must_use]
    pub fn start(now: Moment, beliefs: Beliefs, times: WriteTimes) -> (Write, WriteStep) {
        let Beliefs { moving, down, late } = beliefs;
        let takers = REPLICAS + usize::from(moving);
        let state = |i: usize| match down >> i & 1 {
            0 => State::Asked { since: now, lost_before: false },
            _ => State::Skipped,
        };
        let takers: Vec<State> = (0..takers).map(state).collect();
        let asked = takers.iter().enumerate().filter(|(_, state)| **state != State::Skipped);
        let ask = asked.map(|(i, _)| i).collect();
        let pauses = vec![times.pause_min; takers.len()];
        let mut write = Write { times, late, takers, pauses, durable: Vec::new() };
        let mut step = WriteStep { ask, verdict: WriteVerdict::Pending(None) };
        if write.possible() < 2 {
            write.enlist(now);
        }
        write.ask_due(now, &mut step.ask);
        step.verdict = WriteVerdict::Pending(write.wake(now));
        (write, step)
    }

    /// Takes note of an event. `alternative` is asked anew each time it matters, of the write as it stands: what was believed when it
    /// began may be wrong by now.
    pub fn step(
        &mut self,
        now: Moment,
        alternative: impl FnOnce(&Write) -> Alternative,
        event: WriteEvent,
    ) -> WriteStep {
        match event {
            WriteEvent::Tick => {}
            WriteEvent::Answer(member, answer) => self.answered(now, member, answer),
            WriteEvent::Down(member) => self.down(member),
        }
        let mut ask = Vec::new();
        let alternative = if self.lacks_a_member(now) { alternative(self) } else { Alternative::None };
        let mut verdict = self.judge(now, alternative);
        if let WriteVerdict::Pending(_) = verdict {
            let late = self.lag_ends().is_some_and(|end| now >= end);
            let too_costly = alternative == Alternative::TooCostly;
            if (late || too_costly || self.possible() < 2) && !self.enlist(now) {
                return WriteStep { ask, verdict: WriteVerdict::Failed(self.failure()) };
            }
            self.ask_due(now, &mut ask);
            let budget_again = too_costly.then(|| now + self.times.pause_max);
            verdict = WriteVerdict::Pending(self.wake(now).into_iter().chain(budget_again).min());
        }
        WriteStep { ask, verdict }
    }

    /// What to make of it when the caller's time is up.
    #[must_use]
    pub fn expire(&self, alternative: Alternative) -> WriteVerdict {
        let busy = self.members().iter().any(|state| matches!(state, State::Pausing { why: Why::Busy, .. }));
        match self.stored() {
            REPLICAS => WriteVerdict::Done { missing: self.missing() },
            2.. if !busy && alternative == Alternative::None => WriteVerdict::Done { missing: self.missing() },
            _ => WriteVerdict::Failed(self.failure()),
        }
    }

    /// Which members the chunk cannot be had on as things stand, and what is to blame. Another placement group with one of them would do no better.
    pub fn lacking(&self, now: Moment) -> impl Iterator<Item = (usize, Blame)> + '_ {
        let blame = move |i: usize, state: &State| match state {
            State::Skipped | State::Failed(Failure::Down | Failure::Unreachable | Failure::NoLease) => {
                Some(Blame::Node)
            }
            State::Failed(_) => Some(Blame::Disk),
            State::Asked { since, .. } if self.lag_end(i, *since).is_some_and(|end| now >= end) => Some(Blame::Disk),
            State::Pausing { .. } if self.is_late(i) && self.durable.len() >= 2 => Some(Blame::Disk),
            State::Asked { .. } | State::Pausing { .. } | State::Stored => None,
        };
        self.members().iter().enumerate().filter_map(move |(i, state)| Some((i, blame(i, state)?)))
    }

    /// Which members failed, and how, so that they can be avoided for a while.
    pub fn failures(&self) -> impl Iterator<Item = (usize, Failure)> + '_ {
        self.takers.iter().enumerate().filter_map(|(i, state)| match state {
            State::Failed(failure) => Some((i, *failure)),
            _ => None,
        })
    }

    /// Which members have been asked and not answered, at the end of a write that did not wait for them.
    pub fn unanswered(&self) -> impl Iterator<Item = usize> + '_ {
        let waiting =
            |state: &State| matches!(state, State::Asked { .. } | State::Pausing { why: Why::Lost | Why::Needed, .. });
        self.takers.iter().enumerate().filter(move |(_, state)| waiting(state)).map(|(i, _)| i)
    }

    /// Those of them that it would have waited for.
    pub fn lagging(&self) -> impl Iterator<Item = usize> + '_ {
        self.unanswered().filter(|taker| !self.is_late(*taker))
    }

    fn answered(&mut self, now: Moment, member: usize, answer: PutAnswer) {
        let Some(state) = self.takers.get(member).copied() else { return };
        if state == State::Stored {
            return;
        }
        self.takers[member] = match answer {
            PutAnswer::Stored => {
                self.durable.extend((member < REPLICAS).then_some(now));
                State::Stored
            }
            // An answer to an earlier attempt says nothing of the one under way.
            _ if !matches!(state, State::Asked { .. }) => state,
            PutAnswer::Refused(ChunkError::Busy) => self.pause(now, member, Why::Busy),
            // A node that was just restarted breaks old connections; the next attempt goes to the new one.
            PutAnswer::Lost if !matches!(state, State::Asked { lost_before: true, .. }) => {
                State::Pausing { until: now, why: Why::Lost }
            }
            PutAnswer::Lost | PutAnswer::Unreachable | PutAnswer::TimedOut => State::Failed(Failure::Unreachable),
            PutAnswer::Rejected => State::Failed(Failure::Broken),
            PutAnswer::Refused(error) => State::Failed(failure_of(&error)),
        };
    }

    fn down(&mut self, member: usize) {
        if let Some(state @ (State::Asked { .. } | State::Pausing { .. })) = self.takers.get_mut(member) {
            *state = State::Failed(Failure::Down);
        }
    }

    fn judge(&self, now: Moment, alternative: Alternative) -> WriteVerdict {
        let has = |failure| self.takers.contains(&State::Failed(failure));
        let stored = self.stored();
        if stored == REPLICAS && !self.waits_for_incoming(now) {
            return WriteVerdict::Done { missing: self.missing() };
        }
        if has(Failure::Invalid) {
            return WriteVerdict::Failed(WriteFailure::Invalid);
        }
        if has(Failure::Stale) || has(Failure::Conflict) {
            return WriteVerdict::Elsewhere { refresh: has(Failure::Stale) };
        }
        let lacks = self.lacks_a_member(now);
        match alternative {
            Alternative::Ready if lacks => WriteVerdict::Elsewhere { refresh: false },
            Alternative::None if stored >= 2 && lacks => WriteVerdict::Done { missing: self.missing() },
            _ => WriteVerdict::Pending(None),
        }
    }

    /// Whether a member has failed, was not asked, or lags.
    fn lacks_a_member(&self, now: Moment) -> bool {
        self.lacking(now).next().is_some()
    }

    /// When the first member that was asked and has said nothing is taken to lag: it is not busy, it hangs.
    fn lag_ends(&self) -> Option<Moment> {
        let ends = self.members().iter().enumerate().filter_map(|(i, state)| match state {
            State::Asked { since, .. } => self.lag_end(i, *since),
            _ => None,
        });
        ends.min()
    }

    /// The same of one member, which was asked at `asked`.
    fn lag_end(&self, member: usize, asked: Moment) -> Option<Moment> {
        let end = match (self.durable.first(), self.durable.get(1)) {
            (_, Some(second)) if self.is_late(member) => return Some(*second),
            (_, Some(second)) => *second + self.times.lag,
            (Some(first), None) => *first + 2 * self.times.lag,
            (None, None) => return None,
        };
        Some(end.max(asked + self.times.lag))
    }

    /// Whether it has lagged lately.
    fn is_late(&self, taker: usize) -> bool {
        self.late >> taker & 1 == 1
    }

    /// Whether the disk that comes in may yet have the chunk in time.
    fn waits_for_incoming(&self, now: Moment) -> bool {
        let pending = |state: &State| matches!(state, State::Asked { .. } | State::Pausing { .. });
        self.takers.get(REPLICAS).is_some_and(pending) && self.incoming_ends().is_none_or(|end| now < end)
    }

    /// When the disk that comes in is not waited for any more.
    fn incoming_ends(&self) -> Option<Moment> {
        self.takers.get(REPLICAS)?;
        let patience = if self.is_late(REPLICAS) { 0 } else { self.times.lag };
        self.durable.get(REPLICAS - 1).map(|third| *third + patience)
    }

    fn members(&self) -> &[State] {
        &self.takers[..REPLICAS]
    }

    /// Brings in members that were given up or skipped, when they are needed. `false` if there are not enough for two copies even so.
    fn enlist(&mut self, now: Moment) -> bool {
        for member in 0..REPLICAS {
            match self.takers[member] {
                State::Skipped => self.takers[member] = State::Pausing { until: now, why: Why::Needed },
                State::Failed(Failure::Down | Failure::Unreachable | Failure::NoLease) => {
                    self.takers[member] = self.pause(now, member, Why::Needed);
                }
                _ => {}
            }
        }
        self.possible() >= 2
    }

    fn pause(&mut self, now: Moment, member: usize, why: Why) -> State {
        let pause = self.pauses[member];
        self.pauses[member] = (2 * pause).min(self.times.pause_max);
        State::Pausing { until: now + pause, why }
    }

    fn ask_due(&mut self, now: Moment, ask: &mut Vec<usize>) {
        for (member, state) in self.takers.iter_mut().enumerate() {
            if let State::Pausing { until, why } = *state
                && until <= now
            {
                *state = State::Asked { since: now, lost_before: why == Why::Lost };
                ask.push(member);
            }
        }
    }

    fn wake(&self, now: Moment) -> Option<Moment> {
        let pauses = self.takers.iter().filter_map(|state| match state {
            State::Pausing { until, .. } => Some(*until),
            _ => None,
        });
        let ends = self.lag_ends().into_iter().chain(self.incoming_ends()).filter(|end| *end > now);
        pauses.chain(ends).min()
    }

    fn stored(&self) -> usize {
        self.members().iter().filter(|state| **state == State::Stored).count()
    }

    /// Members that have the chunk or may yet get it.
    fn possible(&self) -> usize {
        let out = |state: &&State| !matches!(state, State::Failed(_) | State::Skipped);
        self.members().iter().filter(out).count()
    }

    fn missing(&self) -> u8 {
        let bit = |(i, state): (usize, &State)| u8::from(*state != State::Stored) << i;
        self.takers.iter().enumerate().map(bit).sum()
    }

    fn failure(&self) -> WriteFailure {
        let full = self.members().iter().filter(|state| **state == State::Failed(Failure::NoSpace)).count();
        let busy = self.members().iter().any(|state| matches!(state, State::Pausing { why: Why::Busy, .. }));
        match full {
            2.. => WriteFailure::NoSpace,
            _ if busy => WriteFailure::Busy,
            _ => WriteFailure::Unavailable,
        }
    }
}

fn failure_of(error: &ChunkError) -> Failure {
    match error {
        ChunkError::StaleEpoch { .. } | ChunkError::NotMember => Failure::Stale,
        ChunkError::NoSpace => Failure::NoSpace,
        ChunkError::NoLease => Failure::NoLease,
        ChunkError::Conflict | ChunkError::Deleted => Failure::Conflict,
        ChunkError::Invalid => Failure::Invalid,
        ChunkError::HashMismatch
        | ChunkError::Fenced
        | ChunkError::Corrupt
        | ChunkError::NotFound
        | ChunkError::NoSource
        | ChunkError::BackfillFull
        | ChunkError::Busy => Failure::Broken,
    }
}

/// Bytes that may be written again because a placement group failed them: a tenth of what was written, and a little to begin
/// with, so that slowness cannot multiply the load that causes it. It fills with time too, or writes that all wait for it would wait for ever.
#[derive(Clone, Debug)]
pub struct RewriteBudget {
    bytes: u64,
    bytes_max: u64,
    filled: Moment,
}

/// How long an empty budget takes to fill without a write.
const FILL_MILLIS: u64 = 16_000;

impl RewriteBudget {
    /// A full budget.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        RewriteBudget { bytes: bytes_max, bytes_max, filled: Moment(0) }
    }

    /// Time has passed; earlier moments than before change nothing.
    pub fn fill(&mut self, now: Moment) {
        let millis = now.0.saturating_sub(self.filled.0).min(FILL_MILLIS);
        let earned = self.bytes_max * millis / FILL_MILLIS;
        // A fraction of a byte is left for later.
        if earned > 0 {
            self.bytes = (self.bytes + earned).min(self.bytes_max);
            self.filled = now;
        }
    }

    /// Chunks were written.
    pub fn earn(&mut self, written: u64) {
        self.bytes = (self.bytes + written / 10).min(self.bytes_max);
    }

    /// Whether so many bytes may be written again.
    #[must_use]
    pub fn affords(&self, bytes: u64) -> bool {
        bytes <= self.bytes
    }

    /// They are.
    pub fn spend(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests;
