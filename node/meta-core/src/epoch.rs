//! Which chunk ids may still come: the epochs of a session that are closed, and the sessions that are over.
//!
//! A session closes its own epochs, the last one first said to close all before it, so one row a session is enough. Sessions are
//! ended by the group's leader on the word of the control group. All below a floor are over; above it, runs of ended sessions stand
//! between those that are open, so there are never more rows than open sessions.

#[cfg(test)]
mod tests;

use crate::chunk::{Chunk, State};
use crate::garbage::{Garbage, GarbageReason};
use crate::group::Counters;
use crate::key::chunk::{ChunkKey, ClosedEpochKey, StagedKey};
use crate::key::session::{AnswerKey, EndedKey, SessionKey};
use crate::kv::{KvError, KvRead};
use crate::row::{self, Corrupt};
use crate::txn::{Step, Txn};
use proto::meta::{Outcome, Refusal};
use std::ops::RangeInclusive;
use types::{ChunkId, SessionId, WriterEpoch};

/// Exclusive upper bound of a session number: it takes 44 bits of a chunk id.
const SESSION_LIMIT: u64 = 1 << 44;
/// Sessions with a window, and runs of ended ones, that one command takes in. More are ended by the next.
const END_SESSIONS_MAX: usize = 1024;
/// Rows of ended sessions that one command drops.
const END_ROWS_MAX: usize = 1024;

/// Whether a session is over in this group.
pub(crate) fn is_over(kv: &dyn KvRead, counters: &Counters, session: SessionId) -> Result<bool, KvError> {
    if session < counters.session_floor {
        return Ok(true);
    }
    Ok(run_at(kv, session)?.is_some_and(|run| run.contains(&session)))
}

/// Whether no chunk of this epoch that the group does not know can be committed any more.
pub(crate) fn is_closed(kv: &dyn KvRead, counters: &Counters, chunk: ChunkId) -> Result<bool, KvError> {
    let parts = chunk.parts();
    if is_over(kv, counters, parts.session)? {
        return Ok(true);
    }
    let last = row::read(kv, &ClosedEpochKey(parts.session))?;
    Ok(last.is_some_and(|last: WriterEpoch| parts.epoch <= last))
}

/// The first run of ended sessions that reaches `session` or begins behind it.
fn run_at(kv: &dyn KvRead, session: SessionId) -> Result<Option<RangeInclusive<SessionId>>, KvError> {
    let (start, end) = EndedKey::range_from(session);
    kv.scan(&start, &end, 1)?.first().map(|(key, value)| run(key, value)).transpose()
}

fn run(key: &[u8], value: &[u8]) -> Result<RangeInclusive<SessionId>, KvError> {
    let last = EndedKey::decode(key).ok_or_else(|| Corrupt::Row(key.to_vec()))?.last;
    Ok(row::decode::<EndedKey>(key, value)?..=last)
}

/// Whose window it is.
fn session_of(key: &[u8]) -> Result<SessionId, KvError> {
    Ok(SessionKey::decode(key).ok_or_else(|| Corrupt::Row(key.to_vec()))?.0)
}

/// Whether these sessions are over and have left no rows.
pub(crate) fn are_over(
    kv: &dyn KvRead,
    counters: &Counters,
    sessions: &RangeInclusive<SessionId>,
) -> Result<bool, KvError> {
    let above = (*sessions.start()).max(counters.session_floor);
    let whole = above > *sessions.end()
        || run_at(kv, above)?.is_some_and(|run| run.contains(&above) && run.contains(sessions.end()));
    Ok(whole && !has_rows(kv, sessions)?)
}

/// The tables in which sessions leave rows.
fn left_by(sessions: &RangeInclusive<SessionId>) -> [(Vec<u8>, Vec<u8>); 4] {
    [
        SessionKey::range_of(sessions),
        AnswerKey::range_of(sessions),
        ClosedEpochKey::range_of(sessions),
        StagedKey::range_of(sessions),
    ]
}

fn has_rows(kv: &dyn KvRead, sessions: &RangeInclusive<SessionId>) -> Result<bool, KvError> {
    for (start, end) in left_by(sessions) {
        if !kv.scan(&start, &end, 1)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Txn<'_> {
    /// Refuses further commits of an epoch and of those before it.
    pub(crate) fn close_epoch(&mut self, session: SessionId, epoch: WriterEpoch) -> Step<()> {
        if self.session != Some(session) || session.0 >= SESSION_LIMIT {
            return Err(Refusal::Invalid.into());
        }
        let before = self.read(&ClosedEpochKey(session))?;
        self.write(&ClosedEpochKey(session), &before.map_or(epoch, |before| before.max(epoch)));
        Ok(())
    }

    /// Ends sessions for good and drops some of what they have left.
    pub(crate) fn end_sessions(&mut self, first: SessionId, last: SessionId) -> Step<Outcome> {
        self.own()?;
        if first.0 == 0 || first > last || last.0 >= SESSION_LIMIT {
            return Err(Refusal::Invalid.into());
        }
        let (asked, mut last) = (last, last);
        let (start, end) = SessionKey::range_of(&(first..=last));
        let windows = self.rows().scan(&start, &end, END_SESSIONS_MAX + 1)?;
        if let Some((key, _)) = windows.get(END_SESSIONS_MAX) {
            last = SessionId(session_of(key)?.0 - 1);
        }
        let last = self.add_run(first, last)?;
        // A session that is over has no window, so that whoever has one need not be looked up.
        for (key, _) in windows {
            if session_of(&key)? <= last {
                self.remove_raw(&key);
            }
        }
        let left = self.drop_rows(&(first..=last))?;
        Ok(Outcome::Ended { last, more: left || last < asked })
    }

    /// Notes that a run of sessions is over, merged with those it touches. Returns the last session that is.
    fn add_run(&mut self, first: SessionId, last: SessionId) -> Step<SessionId> {
        let (start, end) = EndedKey::range_from(SessionId(first.0 - 1));
        let mut run_of_all = first..=last;
        for (at, (key, value)) in self.rows().scan(&start, &end, END_SESSIONS_MAX)?.iter().enumerate() {
            let other = run(key, value)?;
            if other.start().0 > last.0 + 1 {
                break;
            }
            // What lies behind the last run that was read is left to the next command.
            let read_on = at + 1 < END_SESSIONS_MAX;
            let to = if read_on { (*run_of_all.end()).max(*other.end()) } else { *other.end() };
            run_of_all = (*run_of_all.start()).min(*other.start())..=to;
            self.remove_raw(key);
        }
        let (first, last) = run_of_all.into_inner();
        if first <= self.counters.session_floor.max(SessionId(1)) {
            self.counters.session_floor = self.counters.session_floor.max(SessionId(last.0 + 1));
        } else {
            self.write(&EndedKey { last }, &first);
        }
        Ok(last)
    }

    /// Drops rows that ended sessions have left. Whether there are more.
    fn drop_rows(&mut self, sessions: &RangeInclusive<SessionId>) -> Step<bool> {
        let mut left = END_ROWS_MAX;
        for (start, end) in [AnswerKey::range_of(sessions), ClosedEpochKey::range_of(sessions)] {
            let rows = self.rows().scan(&start, &end, left)?;
            left -= rows.len();
            rows.iter().for_each(|(key, _)| self.remove_raw(key));
        }
        let (start, end) = StagedKey::range_of(sessions);
        self.garbage_reason = GarbageReason::Session;
        for (key, _) in self.rows().scan(&start, &end, left)? {
            let staged = StagedKey::decode(&key).ok_or_else(|| KvError::from(Corrupt::Row(key.to_vec())))?;
            self.unstage(staged)?;
        }
        Ok(has_rows(self.rows(), sessions)?)
    }

    /// A staged chunk will not be committed.
    fn unstage(&mut self, staged: StagedKey) -> Step<()> {
        let mut chunk: Chunk = self.require(&ChunkKey(staged.chunk))?;
        chunk.state = State::Plain;
        chunk.dropped = Some(self.now);
        self.write(&ChunkKey(staged.chunk), &chunk);
        self.remove(&staged);
        self.garbage.push(Garbage::Chunk(staged.chunk));
        Ok(())
    }
}
