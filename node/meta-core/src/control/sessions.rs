//! Writer sessions: one life of a gateway, mount or tool.

use super::{Change, Header, SessionRow, Step};
use crate::key::Table;
use crate::key::control::{ControlKey, WriterSessionKey};
use crate::kv::{KvError, KvRead};
use crate::row;
use crate::row::Corrupt;
use proto::control::{ControlAnswer, ControlOutcome, ControlRefusal};
use types::{SessionId, Timestamp};

/// Open sessions. One answer lists them all.
const SESSIONS_MAX: u32 = 16_384;
/// Bytes of a session's kind.
const KIND_BYTES_MAX: usize = 64;
/// When the table is full, a session not renewed for so long makes room.
const IDLE_MAX: i64 = 24 * 3600 * Timestamp::SECOND;

impl Change<'_> {
    pub(super) fn open_session(&mut self, kind: &str) -> Step<ControlOutcome> {
        if kind.len() > KIND_BYTES_MAX {
            return Err(ControlRefusal::InvalidName.into());
        }
        if self.header.sessions >= SESSIONS_MAX {
            self.end_idle_session()?;
        }
        let session = SessionId(self.header.session.0 + 1);
        self.header.session = session;
        self.header.sessions += 1;
        self.write(&WriterSessionKey(session), &SessionRow { kind: kind.to_owned(), renewed: self.now });
        Ok(ControlOutcome::Session(session))
    }

    /// Ends the session that was silent longest, if that is long enough.
    fn end_idle_session(&mut self) -> Step<()> {
        let mut idlest: Option<(Timestamp, SessionId)> = None;
        for (key, value) in super::table(&self.rows, Table::WriterSession)? {
            let renewed = row::decode::<WriterSessionKey>(&key, &value)?.renewed;
            if let Some(WriterSessionKey(session)) = WriterSessionKey::decode(&key) {
                idlest = Some(idlest.map_or((renewed, session), |other| other.min((renewed, session))));
            }
        }
        match idlest.filter(|(renewed, _)| self.now.0.saturating_sub(renewed.0) >= IDLE_MAX) {
            Some((_, session)) => self.end_session(session).map(|_| ()),
            None => Err(ControlRefusal::Limit.into()),
        }
    }

    pub(super) fn renew_session(&mut self, session: SessionId) -> Step<ControlOutcome> {
        let key = WriterSessionKey(session);
        let mut row: SessionRow = self.read(&key)?.ok_or(ControlRefusal::NoSuchSession)?;
        // Each renewal shows, also while the group's time stands still because its leader's clock is behind: whoever counts the silence sees
        // a stamp that stands as no sign of life.
        row.renewed = self.now.max(Timestamp(row.renewed.0.saturating_add(1)));
        self.write(&key, &row);
        Ok(ControlOutcome::Done)
    }

    /// Ends a session that was silent since `renewed`; one that was renewed in between lives on.
    pub(super) fn expire_session(&mut self, session: SessionId, renewed: Timestamp) -> Step<ControlOutcome> {
        match self.read(&WriterSessionKey(session))? {
            Some(row) if row.renewed == renewed => self.end_session(session),
            _ => Ok(ControlOutcome::Done),
        }
    }

    /// Ends a session; one that has ended stays so.
    pub(super) fn end_session(&mut self, session: SessionId) -> Step<ControlOutcome> {
        let key = WriterSessionKey(session);
        if self.read(&key)?.is_some() {
            self.remove(&key);
            self.header.sessions -= 1;
        } else if session.0 == 0 || session > self.header.session {
            return Err(ControlRefusal::NoSuchSession.into());
        }
        Ok(ControlOutcome::Done)
    }
}

/// The open sessions, and the last one handed out: all others up to it are over for good.
pub(super) fn open(kv: &dyn KvRead) -> Result<ControlAnswer, KvError> {
    let header: Header = row::read(kv, &ControlKey)?.unwrap_or_default();
    let rows = super::table(kv, Table::WriterSession)?;
    let open = rows.iter().map(|(key, _)| {
        let key = WriterSessionKey::decode(key).ok_or_else(|| Corrupt::Row(key.to_vec()))?;
        Ok(key.0)
    });
    Ok(ControlAnswer::OpenSessions { open: open.collect::<Result<_, KvError>>()?, last: header.session })
}
