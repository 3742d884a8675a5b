//! The client's session: opened when it is first needed, renewed while the client lives, replaced if the cluster ended it.

use crate::CallError;
use crate::leader::Leaders;
use crate::window::Window;
use chunk_core::Moment;
use parking_lot::Mutex;
use proto::control::{ControlCommand, ControlOutcome, ControlRefusal, ControlReply, ControlRequest};
use proto::rpc::GroupError;
use proto::{Reply, Request};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::Instant;
use types::{ChunkId, GroupId, SessionId};

pub(crate) struct Sessions {
    leaders: Arc<Leaders>,
    kind: String,
    origin: Instant,
    current: Mutex<Option<Arc<Session>>>,
    /// Held while one is being opened, so that many callers share it.
    opening: tokio::sync::Mutex<()>,
}

/// One session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) chunks: Mutex<chunk_core::session::Session>,
    windows: Mutex<HashMap<GroupId, Arc<Window>>>,
}

impl Session {
    pub(crate) fn window(&self, group: GroupId) -> Arc<Window> {
        self.windows.lock().entry(group).or_default().clone()
    }

    pub(crate) fn settle(&self, chunk: ChunkId) {
        self.chunks.lock().settle(chunk);
    }
}

impl Sessions {
    pub(crate) fn new(leaders: Arc<Leaders>, kind: String) -> Self {
        let (current, opening) = (Mutex::default(), tokio::sync::Mutex::default());
        Sessions { leaders, kind, origin: Instant::now(), current, opening }
    }

    /// Time as `chunk-core` counts it.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.origin.elapsed().as_millis() as u64)
    }

    /// The session, if one is open.
    pub(crate) fn current(&self) -> Option<Arc<Session>> {
        self.current.lock().clone()
    }

    /// The session; opens one if there is none.
    pub(crate) async fn get(&self, until: Instant) -> Result<Arc<Session>, CallError> {
        if let Some(session) = self.current() {
            return Ok(session);
        }
        let opening = tokio::time::timeout_at(until, self.opening.lock()).await;
        let _opening = opening.map_err(|_| CallError::Unavailable)?;
        if let Some(session) = self.current() {
            return Ok(session);
        }
        let open = ControlCommand::OpenSession { kind: self.kind.clone() };
        match self.control(open, until).await {
            Ok(Ok(ControlOutcome::Session(id))) => {
                tracing::debug!(session = %id, "session opened");
                let chunks = chunk_core::session::Session::new(id, self.now(), rand::random());
                let session = Arc::new(Session { id, chunks: Mutex::new(chunks), windows: Mutex::default() });
                *self.current.lock() = Some(session.clone());
                Ok(session)
            }
            Ok(Ok(other)) => Err(CallError::Rejected(format!("{other:?} in answer to opening a session"))),
            Ok(Err(refusal)) => Err(CallError::Rejected(refusal.to_string())),
            // A session that may have been opened and is not known does no harm, it expires.
            Err(CallError::Unknown) => Err(CallError::Unavailable),
            Err(error) => Err(error),
        }
    }

    /// Renews the lease of the session, or opens one.
    pub(crate) async fn renew(&self, until: Instant) -> Result<(), CallError> {
        let session = self.get(until).await?;
        session.chunks.lock().roll(self.now());
        let renewed = self.control(ControlCommand::RenewSession { session: session.id }, until).await?;
        if renewed == Err(ControlRefusal::NoSuchSession) {
            self.ended(session.id);
        }
        Ok(())
    }

    /// The cluster has ended a session: it is not used again.
    pub(crate) fn ended(&self, id: SessionId) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|session| session.id == id) {
            tracing::warn!(session = %id, "the session was ended by the cluster");
            *current = None;
        }
    }

    /// Ends the session, if there is one.
    pub(crate) async fn end(&self, until: Instant) {
        let session = self.current.lock().take();
        if let Some(session) = session {
            // If it fails, the lease runs out.
            let _ = self.control(ControlCommand::EndSession { session: session.id }, until).await;
        }
    }

    /// A command to the control group.
    pub(crate) async fn control(
        &self,
        command: ControlCommand,
        until: Instant,
    ) -> Result<Result<ControlOutcome, ControlRefusal>, CallError> {
        let request = Request::Control(ControlRequest::Command(command));
        match self.leaders.call(GroupId::CONTROL, &request, until, take_control).await?.reply {
            ControlReply::Applied(result) => Ok(result),
            ControlReply::Answer(_) => Err(CallError::Rejected("an answer to a command".into())),
        }
    }
}

pub(crate) fn take_control(reply: Reply) -> Option<Result<ControlReply, GroupError>> {
    match reply {
        Reply::Control(result) => Some(result),
        _ => None,
    }
}
