//! Requests and their answers: `0x60 session:8` = the session's window, `0x61 session:8 seq:8` = an answer that may be asked
//! for again, `0x62 last:8` = a run of sessions above the floor that are over.

use super::{Fields, KeyBytes, Table, end_of};
use crate::{row::Key, session::Window};
use proto::meta::{Outcome, Refusal};
use std::ops::RangeInclusive;
use types::SessionId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionKey(pub(crate) SessionId);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerKey {
    pub(crate) session: SessionId,
    pub(crate) seq: u64,
}

/// The value is the first session of the run. Runs do not touch each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedKey {
    pub(crate) last: SessionId,
}

/// The range of all rows of a table that is keyed by sessions first.
pub(crate) fn range_of(table: Table, sessions: &RangeInclusive<SessionId>) -> (Vec<u8>, Vec<u8>) {
    let start = KeyBytes::new(table).u64(sessions.start().0).done();
    let end = end_of(&KeyBytes::new(table).u64(sessions.end().0).done());
    (start, end)
}

impl SessionKey {
    /// The range of the rows of these sessions.
    pub(crate) fn range_of(sessions: &RangeInclusive<SessionId>) -> (Vec<u8>, Vec<u8>) {
        range_of(Table::Session, sessions)
    }

    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Session, key)?;
        let session = SessionId(fields.u64()?);
        fields.end()?;
        Some(SessionKey(session))
    }
}

impl EndedKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Ended, key)?;
        let last = SessionId(fields.u64()?);
        fields.end()?;
        Some(EndedKey { last })
    }

    /// The range of the runs that reach `session` or end behind it.
    pub(crate) fn range_from(session: SessionId) -> (Vec<u8>, Vec<u8>) {
        (EndedKey { last: session }.encode(), end_of(&KeyBytes::new(Table::Ended).done()))
    }
}

impl AnswerKey {
    /// The range of all rows of these sessions.
    pub(crate) fn range_of(sessions: &RangeInclusive<SessionId>) -> (Vec<u8>, Vec<u8>) {
        range_of(Table::Answer, sessions)
    }

    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Answer, key)?;
        let answer = AnswerKey { session: SessionId(fields.u64()?), seq: fields.u64()? };
        fields.end()?;
        Some(answer)
    }
}

impl Key for SessionKey {
    type Value = Window;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Session).u64(self.0.0).done()
    }
}

impl Key for AnswerKey {
    type Value = Result<Outcome, Refusal>;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Answer).u64(self.session.0).u64(self.seq).done()
    }
}

impl Key for EndedKey {
    type Value = SessionId;

    fn encode(&self) -> Vec<u8> {
        KeyBytes::new(Table::Ended).u64(self.last.0).done()
    }
}
