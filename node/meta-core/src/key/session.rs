//! Requests and their answers: `0x60 session:8` = the session's window, `0x61 session:8 seq:8` = an answer that may be asked
//! for again.

use super::{Fields, KeyBytes, Table};
use crate::{row::Key, session::Window};
use proto::meta::{Outcome, Refusal};
use types::SessionId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionKey(pub(crate) SessionId);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerKey {
    pub(crate) session: SessionId,
    pub(crate) seq: u64,
}

impl SessionKey {
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(Table::Session, key)?;
        let session = SessionId(fields.u64()?);
        fields.end()?;
        Some(SessionKey(session))
    }
}

impl AnswerKey {
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
