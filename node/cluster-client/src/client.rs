//! The client itself.

use crate::cluster::{ChunkOwner, Cluster, WrittenChunk};
use crate::config::ClientConfig;
use crate::error::{CallError, ReadError, WriteError};
use crate::hedge::Reader;
use crate::leader::Leaders;
use crate::map::MapCache;
use crate::peer::{self, Nodes};
use crate::replicate::Writer;
use crate::session::{self, Sessions, take_meta};
use async_trait::async_trait;
use bytes::Bytes;
use proto::control::{ControlAnswer, ControlCommand, ControlOutcome, ControlQuery, ControlRefusal};
use proto::control::{ControlReply, ControlRequest};
use proto::meta::{Answer, Command, MetaOp, MetaReply, MetaRequest, Outcome, Query, Refusal};
use proto::node::{NodeReply, NodeRequest, NodeStatus};
use proto::object::NewContent;
use proto::{Reply, Request};
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use transport::{Class, Endpoint};
use types::{ChunkId, ChunkRef, FeatureLevel, GroupId, NodeId, PlacementMap, SessionId};

/// How long a dead node is probed for; less than the map's refresh, so that probes do not pile up.
const PROBE_DEADLINE: Duration = Duration::from_millis(900);
/// How long the end of a process waits for the end of its session.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// A client of a cluster. See [`Cluster`] for what it does.
///
/// Background work ends when the last `Arc` is dropped; the session then runs out, unless [`Client::close`] ended it.
pub struct Client {
    config: ClientConfig,
    nodes: Arc<Nodes>,
    map: Arc<MapCache>,
    leaders: Arc<Leaders>,
    sessions: Arc<Sessions>,
    writer: Writer,
    reader: Reader,
}

impl Client {
    /// Begins to look for the cluster and returns at once; calls wait until it was found. Must be called inside a tokio runtime.
    #[must_use]
    pub fn connect(config: ClientConfig) -> Arc<Client> {
        let nodes = Arc::new(Nodes::new(&config));
        let map = Arc::new(MapCache::new(nodes.clone()));
        let leaders = Arc::new(Leaders::new(nodes.clone(), map.clone()));
        let sessions = Arc::new(Sessions::new(leaders.clone(), config.kind.clone(), config.session_lease));
        let writer = Writer::new(nodes.clone(), map.clone(), sessions.clone(), &config);
        let reader = Reader::new(nodes.clone(), map.clone(), sessions.clone(), &config);
        let client = Arc::new(Client { config, nodes, map, leaders, sessions, writer, reader });
        tokio::spawn(watch_map(Arc::downgrade(&client), client.config.map_refresh));
        tokio::spawn(keep_session(Arc::downgrade(&client), client.config.session_renew));
        client
    }

    /// The endpoint calls go out from.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.config.endpoint
    }

    /// The placement map as this client knows it; `None` until a node has answered with one.
    #[must_use]
    pub fn map(&self) -> Option<Arc<PlacementMap>> {
        self.map.get()
    }

    /// Waits until the cluster was found and has let this client in.
    ///
    /// # Errors
    /// It was not, in the time a call may take; asking again goes on.
    pub async fn ready(&self) -> Result<Arc<PlacementMap>, CallError> {
        let until = self.until();
        let map = timeout_at(until, self.map.wait()).await.map_err(|_| CallError::Unavailable)?;
        self.sessions.get(until).await?;
        Ok(map)
    }

    /// The session commands and chunks are written under at present, if one is open.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.sessions.current().map(|session| session.id)
    }

    /// How a node sees itself.
    ///
    /// # Errors
    /// It is not known, does not answer, or refuses.
    pub async fn node_status(&self, node: NodeId) -> Result<NodeStatus, CallError> {
        let map = self.map.get();
        let peer = self.nodes.peer(map.as_deref(), node).ok_or(CallError::Unavailable)?;
        let request = Request::Node(NodeRequest::Status);
        match peer.call(Class::Small, &request, Bytes::new(), self.config.deadline).await {
            Ok((Reply::Node(NodeReply::Status(status)), _)) => Ok(status),
            Ok(_) => Err(another_kind()),
            Err(transport::TransportError::Rejected(rejection)) => Err(CallError::Rejected(rejection.to_string())),
            Err(_) => Err(CallError::Unavailable),
        }
    }

    /// Ends the session, if the cluster answers within two seconds; otherwise its lease runs out. Calls made afterwards open another.
    pub async fn close(&self) {
        self.sessions.end(self.until().min(Instant::now() + CLOSE_MAX)).await;
    }

    fn until(&self) -> Instant {
        Instant::now() + self.config.deadline
    }

    /// Refuses to ask for what the cluster has not gone to, as far as the newest map tells: a node whose program is older would not understand it.
    async fn allows(&self, needs: FeatureLevel, until: Instant) -> Result<(), CallError> {
        let at = || self.map().map(|map| map.level).filter(|at| *at < needs);
        if needs <= FeatureLevel::OLDEST || at().is_none() {
            return Ok(());
        }
        // It may have gone there since that was looked at.
        let _ = timeout_at(until, self.map.poll()).await;
        at().map_or(Ok(()), |at| Err(CallError::Level { needs, at }))
    }
}

#[async_trait]
impl Cluster for Client {
    async fn command(&self, group: GroupId, command: Command) -> Result<Result<Outcome, Refusal>, CallError> {
        let until = self.until();
        self.allows(command.level(), until).await?;
        let mut command = command;
        loop {
            let session = self.sessions.get(until).await?;
            let ticket = timeout_at(until, session.window(group).begin()).await;
            let ticket = ticket.map_err(|_| CallError::Unavailable)?;
            let op = MetaOp::Command(ticket.id(session.id), command);
            let request = Request::Meta(MetaRequest { group, op });
            let answered = self.leaders.call(group, &request, until, take_meta).await?;
            let Request::Meta(MetaRequest { op: MetaOp::Command(_, sent), .. }) = request else {
                unreachable!("made above");
            };
            command = sent;
            match answered.reply {
                MetaReply::Applied(Err(Refusal::SessionClosed)) => {
                    self.sessions.ended(session.id);
                    // An earlier attempt may have been applied before the session was ended.
                    if answered.repeated {
                        return Err(CallError::Unknown);
                    }
                }
                MetaReply::Applied(result) => {
                    committed(&command).for_each(|chunk| session.settle(chunk));
                    return Ok(result);
                }
                MetaReply::Answer(_) => return Err(another_kind()),
            }
            if Instant::now() >= until {
                return Err(CallError::Unavailable);
            }
        }
    }

    async fn query(&self, group: GroupId, query: Query) -> Result<Result<Answer, Refusal>, CallError> {
        let until = self.until();
        self.allows(query.level(), until).await?;
        let request = Request::Meta(MetaRequest { group, op: MetaOp::Query(query) });
        match read_only(self.leaders.call(group, &request, until, take_meta).await)? {
            MetaReply::Answer(result) => Ok(result.map(|answer| *answer)),
            MetaReply::Applied(_) => Err(another_kind()),
        }
    }

    async fn control(&self, command: ControlCommand) -> Result<Result<ControlOutcome, ControlRefusal>, CallError> {
        self.sessions.control(command, self.until()).await
    }

    async fn control_query(&self, query: ControlQuery) -> Result<ControlAnswer, CallError> {
        let request = Request::Control(ControlRequest::Query(query));
        let called = self.leaders.call(GroupId::CONTROL, &request, self.until(), session::take_control).await;
        match read_only(called)? {
            ControlReply::Answer(answer) => Ok(answer),
            ControlReply::Applied(_) => Err(another_kind()),
        }
    }

    async fn write_chunk(&self, owner: ChunkOwner, data: Bytes) -> Result<WrittenChunk, WriteError> {
        self.writer.write(owner, data, self.until()).await
    }

    async fn read_chunk(&self, chunk: ChunkRef, range: Range<u32>) -> Result<Bytes, ReadError> {
        self.reader.read(chunk, range, self.until()).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("config", &self.config).field("session", &self.session()).finish_non_exhaustive()
    }
}

/// The answer of a read, of which nothing was changed whatever became of it.
fn read_only<T>(called: Result<crate::leader::Answered<T>, CallError>) -> Result<T, CallError> {
    match called {
        Ok(answered) => Ok(answered.reply),
        Err(CallError::Unknown) => Err(CallError::Unavailable),
        Err(error) => Err(error),
    }
}

fn another_kind() -> CallError {
    CallError::Rejected("an answer of another kind".into())
}

/// The chunks a command makes metadata refer to.
fn committed(command: &Command) -> impl Iterator<Item = ChunkId> + '_ {
    let extents = match command {
        Command::PutObject { content: NewContent::Chunks(extents), .. }
        | Command::PutPart { content: NewContent::Chunks(extents), .. }
        | Command::Create { content: NewContent::Chunks(extents), .. }
        | Command::Write { extents, .. } => extents.as_slice(),
        _ => &[],
    };
    extents.iter().map(|extent| extent.extent.chunk.id)
}

async fn watch_map(client: Weak<Client>, period: Duration) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(client) = client.upgrade() else { return };
        client.map.poll().await;
        peer::probe_dead(&client.nodes, &client.map, PROBE_DEADLINE);
        if client.map().is_none() {
            // Nothing can be done without one: ask again soon.
            ticks.reset_after((period / 10).max(Duration::from_millis(20)));
        }
    }
}

async fn keep_session(client: Weak<Client>, period: Duration) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(client) = client.upgrade() else { return };
        let until = client.until();
        if let Err(error) = client.sessions.renew(until).await {
            tracing::warn!(%error, "session not renewed");
        }
    }
}
