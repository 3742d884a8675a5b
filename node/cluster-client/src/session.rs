//! The client's session: opened when it is first needed, renewed while the client lives, replaced if the cluster ended it.
//!
//! A session that could not be renewed for a lease may have been ended: nothing is written under it any more. With each renewal epochs
//! that have ended are brought to a close: what is written and not committed is staged, then the epoch is closed in each group.

use crate::CallError;
use crate::leader::Leaders;
use crate::window::Window;
use parking_lot::Mutex;
use proto::control::{ControlCommand, ControlOutcome, ControlRefusal, ControlReply, ControlRequest};
use proto::meta::{Command, MetaOp, MetaReply, MetaRequest, Outcome, Refusal};
use proto::rpc::GroupError;
use proto::{Reply, Request};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use types::{ChunkId, ChunkRef, GroupId, Moment, SessionId};

/// Chunks staged by one command.
const STAGE_CHUNKS: usize = 512;

pub(crate) struct Sessions {
    leaders: Arc<Leaders>,
    kind: String,
    lease: Duration,
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
    /// When the renewal that was last acknowledged was sent.
    renewed: Mutex<Instant>,
}

/// A chunk id that was made and is settled when this is dropped, unless the chunk was written.
pub(crate) struct Writing {
    session: Arc<Session>,
    chunk: ChunkId,
    written: bool,
}

impl Writing {
    pub(crate) fn new(session: Arc<Session>, chunk: ChunkId) -> Self {
        Writing { session, chunk, written: false }
    }

    /// The chunk is durable, and may be committed from now on.
    pub(crate) fn written(mut self, chunk: ChunkRef, missing: u8) {
        self.session.chunks.lock().written(chunk, missing);
        self.written = true;
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.written {
            self.session.settle(self.chunk);
        }
    }
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
    pub(crate) fn new(leaders: Arc<Leaders>, kind: String, lease: Duration) -> Self {
        let (current, opening) = (Mutex::default(), tokio::sync::Mutex::default());
        Sessions { leaders, kind, lease, origin: Instant::now(), current, opening }
    }

    /// Time as `chunk-core` counts it.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.origin.elapsed().as_millis() as u64)
    }

    /// The session, if one is open and was renewed within its lease.
    pub(crate) fn current(&self) -> Option<Arc<Session>> {
        let session = self.current.lock().clone()?;
        if session.renewed.lock().elapsed() < self.lease {
            return Some(session);
        }
        self.ended(session.id);
        None
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
        let sent = Instant::now();
        match self.control(open, until).await {
            Ok(Ok(ControlOutcome::Session(id))) => {
                tracing::debug!(session = %id, "session opened");
                let chunks = chunk_core::session::Session::new(id, self.now(), rand::random());
                let (chunks, windows, renewed) = (Mutex::new(chunks), Mutex::default(), Mutex::new(sent));
                let session = Arc::new(Session { id, chunks, windows, renewed });
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

    /// Renews the lease of the session, or opens one; brings epochs that have ended to a close.
    pub(crate) async fn renew(&self, until: Instant) -> Result<(), CallError> {
        let session = self.get(until).await?;
        let sent = Instant::now();
        match self.control(ControlCommand::RenewSession { session: session.id }, until).await? {
            Err(ControlRefusal::NoSuchSession) => self.ended(session.id),
            Err(refusal) => tracing::warn!(session = %session.id, %refusal, "the session was not renewed"),
            Ok(_) => {
                *session.renewed.lock() = sent;
                session.chunks.lock().roll(self.now());
                self.close_epochs(&session, until).await?;
            }
        }
        Ok(())
    }

    /// Stages what ended epochs have left, and closes those that are through. What fails is tried again at the next renewal.
    async fn close_epochs(&self, session: &Session, until: Instant) -> Result<(), CallError> {
        loop {
            let staging = session.chunks.lock().to_stage(STAGE_CHUNKS);
            let Some((group, chunks)) = staging else { break };
            if self.stage(session, group, chunks.clone(), until).await? {
                chunks.iter().for_each(|(chunk, _)| session.settle(chunk.id));
                continue;
            }
            // One of them is refused, having been committed and deleted meanwhile, say: the others must not suffer.
            for chunk in chunks {
                self.stage(session, group, vec![chunk], until).await?;
                session.settle(chunk.0.id);
            }
        }
        loop {
            let closing = session.chunks.lock().to_close();
            let Some((group, epoch)) = closing else { return Ok(()) };
            let close = Command::CloseEpoch { session: session.id, epoch };
            if let Err(refusal) = self.command(session, group, close, until).await? {
                tracing::warn!(session = %session.id, %group, %epoch, %refusal, "an epoch was not closed");
                return Ok(());
            }
            session.chunks.lock().closed(group, epoch);
        }
    }

    /// Whether the group has staged these chunks; it takes all or none.
    async fn stage(
        &self,
        session: &Session,
        group: GroupId,
        chunks: Vec<(ChunkRef, u8)>,
        until: Instant,
    ) -> Result<bool, CallError> {
        match self.command(session, group, Command::Stage { chunks }, until).await? {
            Ok(_) => Ok(true),
            Err(Refusal::SessionClosed) => Err(CallError::Unavailable),
            Err(refusal) => {
                tracing::debug!(session = %session.id, %group, %refusal, "not staged");
                Ok(false)
            }
        }
    }

    /// A command of this very session to a metadata group.
    async fn command(
        &self,
        session: &Session,
        group: GroupId,
        command: Command,
        until: Instant,
    ) -> Result<Result<Outcome, Refusal>, CallError> {
        let ticket = tokio::time::timeout_at(until, session.window(group).begin()).await;
        let ticket = ticket.map_err(|_| CallError::Unavailable)?;
        let op = MetaOp::Command(ticket.id(session.id), command);
        let request = Request::Meta(MetaRequest { group, op });
        match self.leaders.call(group, &request, until, take_meta).await?.reply {
            MetaReply::Applied(Err(Refusal::SessionClosed)) => {
                self.ended(session.id);
                Ok(Err(Refusal::SessionClosed))
            }
            MetaReply::Applied(result) => Ok(result),
            MetaReply::Answer(_) => Err(CallError::Rejected("an answer to a command".into())),
        }
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

pub(crate) fn take_meta(reply: Reply) -> Option<Result<MetaReply, GroupError>> {
    match reply {
        Reply::Meta(result) => Some(result),
        _ => None,
    }
}

pub(crate) fn take_control(reply: Reply) -> Option<Result<ControlReply, GroupError>> {
    match reply {
        Reply::Control(result) => Some(result),
        _ => None,
    }
}
