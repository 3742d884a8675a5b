//! One range of a chunk on its way out of whichever replica is intact.
//!
//! Members are asked in the [`order`] given: the next one as soon as one fails, or when none has answered for the hedging
//! delay. What comes back counts only after [`check`]. Members that did not answer are asked again after a pause, until the
//! caller's time is up. Only if every member *answered* and none has the chunk intact is it [`ReadVerdict::Lost`].

use bytes::Bytes;
use proto::chunk::ChunkError;
use std::ops::Range;
use types::{ChunkRef, LEAF_BYTES, Leaf, Member, Moment, NodeId};

/// Times of a read, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadTimes {
    /// How long to wait for an answer before the next member is asked as well.
    pub hedge: u64,
    /// First pause before a member that did not answer is asked again; doubled each time.
    pub pause_min: u64,
    /// Longest pause.
    pub pause_max: u64,
}

impl Default for ReadTimes {
    fn default() -> Self {
        ReadTimes { hedge: 200, pause_min: 20, pause_max: 320 }
    }
}

/// How a member has done lately; smaller is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Standing {
    /// Its node is believed to be down: asked last.
    pub down: bool,
    /// Its node is not this process's own.
    pub remote: bool,
    /// What an answer costs: latency times calls in progress, in any unit.
    pub cost: u64,
}

/// The order to ask the members in: own node, then those that are up by cost, those that are down last. One read in ten, by
/// `spread`, takes the second cheapest first, so that it is known how it does.
#[must_use]
pub fn order(members: &[Member], spread: u64, mut standing: impl FnMut(NodeId) -> Standing) -> Vec<usize> {
    let mut order: Vec<(Standing, usize)> =
        members.iter().enumerate().map(|(i, member)| (standing(member.node), i)).collect();
    // Equals in an order that differs from read to read.
    let turn = |i: usize| (i + spread as usize) % members.len();
    order.sort_by_key(|(standing, i)| (*standing, turn(*i)));
    if let [(first, _), (second, _), ..] = order[..]
        && spread.is_multiple_of(10)
        && first.remote
        && !second.down
    {
        order.swap(0, 1);
    }
    order.into_iter().map(|(_, i)| i).collect()
}

/// What a member sent, before it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Number of the leaf the data begins with.
    pub first_leaf: u32,
    /// Length of the whole chunk, as the member has it.
    pub chunk_len: u32,
    /// Hashes of all leaves; empty if there is one.
    pub leaves: Vec<Leaf>,
    /// Whole leaves.
    pub data: Bytes,
}

/// A piece that does not belong to the chunk, or does not cover the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the replica is not what it should be")]
pub struct Mismatch;

/// Cuts `range` out of a piece, after it was checked against the chunk's length and root.
///
/// # Errors
/// [`Mismatch`]: nothing of it can be believed.
pub fn check(chunk: &ChunkRef, range: &Range<u32>, piece: &Piece) -> Result<Bytes, Mismatch> {
    let len = chunk.len as usize;
    let leaves = if len <= LEAF_BYTES { 0 } else { len.div_ceil(LEAF_BYTES) };
    let first = piece.first_leaf as usize;
    let start = first.checked_mul(LEAF_BYTES).ok_or(Mismatch)?;
    let end = start.checked_add(piece.data.len()).ok_or(Mismatch)?;
    let whole = end == len || (end < len && end.is_multiple_of(LEAF_BYTES));
    let covers = start <= range.start as usize && range.end as usize <= end;
    if piece.chunk_len != chunk.len || piece.leaves.len() != leaves || !whole || !covers {
        return Err(Mismatch);
    }
    types::verify_range(&chunk.root, &piece.leaves, first, &piece.data).map_err(|_| Mismatch)?;
    Ok(piece.data.slice(range.start as usize - start..range.end as usize - start))
}

/// What a member said, or what became of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GetAnswer {
    /// The range, checked.
    Intact(Bytes),
    /// It sent something else than the chunk.
    Mismatch,
    /// It refused.
    Refused(ChunkError),
    /// It did not answer, or made no sense.
    Failed,
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadEvent {
    /// Time passed.
    Tick,
    /// Member `.0` answered.
    Answer(usize, GetAnswer),
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadStep {
    /// Members to ask, without cancelling those asked before.
    pub ask: Vec<usize>,
    /// How the read stands.
    pub verdict: ReadVerdict,
}

/// How the read stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadVerdict {
    /// Going on; a tick is wanted at the moment, if any.
    Pending(Option<Moment>),
    /// The bytes.
    Done(Bytes),
    /// Every member answered and none has the chunk intact. With a placement map that may be out of date: refresh it and
    /// read once more before this is believed.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not asked yet.
    Fresh,
    Asked,
    /// Did not answer; to be asked again.
    Pausing(Moment),
    /// Answered, and does not have the chunk intact.
    Without,
    /// Answered, and has it damaged.
    Corrupt,
}

/// One range on its way out of a placement group.
#[derive(Clone, Debug)]
pub struct Read {
    times: ReadTimes,
    /// In the order they are asked in.
    order: Vec<usize>,
    members: Vec<State>,
    pauses: Vec<u64>,
    hedge_at: Moment,
}

impl Read {
    /// Begins with the first member of `order`, which names each member once.
    #[must_use]
    pub fn start(now: Moment, order: Vec<usize>, times: ReadTimes) -> (Read, ReadStep) {
        let count = order.len();
        let (members, pauses) = (vec![State::Fresh; count], vec![times.pause_min; count]);
        let mut read = Read { times, order, members, pauses, hedge_at: now };
        let step = read.advance(now);
        (read, step)
    }

    /// Takes note of an event.
    pub fn step(&mut self, now: Moment, event: ReadEvent) -> ReadStep {
        match event {
            ReadEvent::Answer(_, GetAnswer::Intact(data)) => {
                return ReadStep { ask: Vec::new(), verdict: ReadVerdict::Done(data) };
            }
            ReadEvent::Answer(member, answer) => self.failed(now, member, &answer),
            ReadEvent::Tick => {}
        }
        self.advance(now)
    }

    /// Members whose copy is damaged, for a report.
    pub fn corrupt(&self) -> impl Iterator<Item = usize> + '_ {
        self.members.iter().enumerate().filter(|(_, state)| **state == State::Corrupt).map(|(i, _)| i)
    }

    fn failed(&mut self, now: Moment, member: usize, answer: &GetAnswer) {
        let Some(state) = self.members.get_mut(member) else { return };
        *state = match answer {
            GetAnswer::Mismatch | GetAnswer::Refused(ChunkError::Corrupt) => State::Corrupt,
            GetAnswer::Refused(ChunkError::NotFound | ChunkError::Deleted) => State::Without,
            // A fenced disk may come back with the copy; a member that is none may be one in a newer map.
            GetAnswer::Refused(_) | GetAnswer::Failed | GetAnswer::Intact(_) => {
                let pause = self.pauses[member];
                self.pauses[member] = (2 * pause).min(self.times.pause_max);
                State::Pausing(now + pause)
            }
        };
    }

    fn advance(&mut self, now: Moment) -> ReadStep {
        let mut ask = Vec::new();
        let waiting = self.members.contains(&State::Asked);
        if !waiting || now >= self.hedge_at {
            ask.extend(self.next(now));
        }
        if let [member] = ask[..] {
            self.members[member] = State::Asked;
            self.hedge_at = now + self.times.hedge;
        }
        ReadStep { ask, verdict: self.verdict(now) }
    }

    /// The next member to ask: one that was not asked yet, or one whose pause is over.
    fn next(&self, now: Moment) -> Option<usize> {
        let find = |wanted: &dyn Fn(State) -> bool| self.order.iter().copied().find(|i| wanted(self.members[*i]));
        find(&|state| state == State::Fresh)
            .or_else(|| find(&|state| matches!(state, State::Pausing(until) if until <= now)))
    }

    fn verdict(&self, now: Moment) -> ReadVerdict {
        if self.members.iter().all(|state| matches!(state, State::Without | State::Corrupt)) {
            return ReadVerdict::Lost;
        }
        let fresh = self.members.contains(&State::Fresh).then_some(self.hedge_at);
        let pauses = self.members.iter().filter_map(|state| match state {
            State::Pausing(until) => Some(*until),
            _ => None,
        });
        // While another member is waited for, one that failed is asked again no sooner than a hedge would be.
        let waiting = self.members.contains(&State::Asked);
        let pause = pauses.min().map(|until| if waiting { until.max(self.hedge_at) } else { until });
        ReadVerdict::Pending(fresh.into_iter().chain(pause).min().filter(|at| *at > now))
    }
}

#[cfg(test)]
mod tests;
