//! A cluster of fake nodes: real endpoints on loopback, each in a runtime of its own so that it can be killed or frozen, and
//! handlers over one shared world that the tests steer.

#![allow(dead_code)] // Each test binary uses a part of it.

use async_trait::async_trait;
use bytes::Bytes;
use cluster_client::{Client, ClientConfig};
use parking_lot::Mutex;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest};
use proto::control::{ControlAnswer, ControlCommand, ControlOutcome, ControlQuery, ControlRefusal};
use proto::control::{ControlReply, ControlRequest};
use proto::meta::{Answer, Command, MetaOp, MetaReply, MetaRequest, Outcome, Query, Refusal, Usage};
use proto::node::{NodeReply, NodeRequest, NodeStatus, OrphanStatus};
use proto::raft_wire::RaftBatch;
use proto::rpc::GroupError;
use proto::{Reply, Request};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use tokio::runtime::Runtime;
use transport::{ClusterCa, Credentials, Endpoint, Handler, PeerIdentity, Role, TransportConfig};
use types::{
    BucketId, ChunkId, ClusterId, GroupId, GroupPlacement, Incarnation, LEAF_BYTES, Member, NodeEntry, NodeId, PgEpoch,
    PgId, PlacementGroup, PlacementMap, RequestId, SessionId, leaves_of, root_of,
};

pub const GROUP: GroupId = GroupId(1);
const CLUSTER: ClusterId = ClusterId([0xc1; 16]);

/// What a node does wrong.
#[derive(Clone, Default)]
pub struct Faults {
    /// Puts are answered so.
    pub put: Option<ChunkError>,
    /// So many puts are answered Busy first.
    pub busy_puts: usize,
    /// Puts are stored but never answered.
    pub hang_puts: bool,
    /// Gets are never answered.
    pub hang_gets: bool,
    /// What gets return has one bit changed.
    pub corrupt_gets: bool,
    /// So many commands are applied without an answer.
    pub lose_answers: usize,
    /// So many commands are answered "unknown" without being applied.
    pub unknown_answers: usize,
}

/// What all nodes share, as if consensus were free.
#[derive(Default)]
pub struct World {
    pub map: PlacementMap,
    /// Who leads the groups; nobody during an election.
    pub leader: Option<NodeId>,
    /// Whom the others name as leader, if not the real one.
    pub hint: Option<NodeId>,
    pub faults: BTreeMap<NodeId, Faults>,
    pub chunks: HashMap<(NodeId, ChunkId), Bytes>,
    /// Commands received, by number, and how often.
    pub received: BTreeMap<(SessionId, u64), usize>,
    /// Commands applied, by number.
    pub applied: BTreeMap<(SessionId, u64), Command>,
    pub gets: BTreeMap<NodeId, usize>,
    pub last_session: u64,
    pub ended: Vec<SessionId>,
}

impl World {
    fn faults(&mut self, node: NodeId) -> &mut Faults {
        self.faults.entry(node).or_default()
    }
}

struct FakeNode {
    id: NodeId,
    world: Arc<Mutex<World>>,
}

fn take_one(count: &mut usize) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}

impl FakeNode {
    /// `None` = never answer.
    fn chunk(&self, request: ChunkRequest, body: Bytes) -> Option<(Result<ChunkReply, ChunkError>, Bytes)> {
        let mut world = self.world.lock();
        let faults = world.faults(self.id).clone();
        match request {
            ChunkRequest::Put { chunk, epoch, root } => {
                if take_one(&mut world.faults(self.id).busy_puts) {
                    return Some((Err(ChunkError::Busy), Bytes::new()));
                }
                if let Some(error) = faults.put {
                    return Some((Err(error), Bytes::new()));
                }
                let group = world.map.group_of(chunk.slot()).cloned().expect("slot");
                if group.epoch > epoch {
                    return Some((Err(ChunkError::StaleEpoch { current: group.epoch }), Bytes::new()));
                }
                if !group.takers().any(|taker| taker.node == self.id) {
                    return Some((Err(ChunkError::NotMember), Bytes::new()));
                }
                if root_of(&body, &leaves_of(&body)) != root {
                    return Some((Err(ChunkError::HashMismatch), Bytes::new()));
                }
                world.chunks.insert((self.id, chunk), body);
                (!faults.hang_puts).then_some((Ok(ChunkReply::Stored), Bytes::new()))
            }
            ChunkRequest::Get { chunk, offset, len } => {
                *world.gets.entry(self.id).or_default() += 1;
                if faults.hang_gets {
                    return None;
                }
                let Some(data) = world.chunks.get(&(self.id, chunk)) else {
                    return Some((Err(ChunkError::NotFound), Bytes::new()));
                };
                let first = offset as usize / LEAF_BYTES;
                let end = ((offset + len) as usize).next_multiple_of(LEAF_BYTES).min(data.len());
                let mut body = data[first * LEAF_BYTES..end].to_vec();
                body[0] ^= u8::from(faults.corrupt_gets);
                let leaves = leaves_of(data);
                let reply = ChunkReply::Data { first_leaf: first as u32, chunk_len: data.len() as u32, leaves };
                Some((Ok(reply), body.into()))
            }
            _ => panic!("not used by the client"),
        }
    }

    fn leads(&self) -> Result<(), GroupError> {
        let world = self.world.lock();
        match world.leader {
            Some(leader) if leader == self.id => Ok(()),
            leader => Err(GroupError::NotLeader { leader: world.hint.or(leader) }),
        }
    }

    fn meta(&self, request: MetaRequest) -> Option<Result<MetaReply, GroupError>> {
        if let Err(error) = self.leads() {
            return Some(Err(error));
        }
        match request.op {
            MetaOp::Command(id, command) => self.command(id, command),
            MetaOp::Query(Query::Usage { .. }) => {
                let files = self.world.lock().applied.len() as u64;
                Some(Ok(MetaReply::Answer(Ok(Box::new(Answer::Usage(Usage { files, ..Usage::default() }))))))
            }
            MetaOp::Query(_) | MetaOp::StaleQuery(_) => panic!("not used in these tests"),
        }
    }

    fn command(&self, id: RequestId, command: Command) -> Option<Result<MetaReply, GroupError>> {
        let mut world = self.world.lock();
        let number = (id.session, id.seq);
        *world.received.entry(number).or_default() += 1;
        if take_one(&mut world.faults(self.id).unknown_answers) {
            return Some(Err(GroupError::Unknown));
        }
        if world.ended.contains(&id.session) {
            return Some(Ok(MetaReply::Applied(Err(Refusal::SessionClosed))));
        }
        world.applied.entry(number).or_insert(command);
        if take_one(&mut world.faults(self.id).lose_answers) {
            return None;
        }
        Some(Ok(MetaReply::Applied(Ok(Outcome::Done))))
    }

    fn control(&self, request: ControlRequest) -> Result<ControlReply, GroupError> {
        let command = match request {
            ControlRequest::StaleQuery(ControlQuery::Map) => {
                let map = Some(Box::new(self.world.lock().map.clone()));
                return Ok(ControlReply::Answer(ControlAnswer::Map(map)));
            }
            ControlRequest::Query(ControlQuery::Users) => {
                self.leads()?;
                return Ok(ControlReply::Answer(ControlAnswer::Users(vec!["alice".into()])));
            }
            ControlRequest::Command(command) => command,
            _ => panic!("not used in these tests"),
        };
        self.leads()?;
        let mut world = self.world.lock();
        let result = match command {
            ControlCommand::OpenSession { .. } => {
                world.last_session += 1;
                Ok(ControlOutcome::Session(SessionId(world.last_session)))
            }
            ControlCommand::RenewSession { session } if world.ended.contains(&session) => {
                Err(ControlRefusal::NoSuchSession)
            }
            ControlCommand::EndSession { session } => {
                world.ended.push(session);
                Ok(ControlOutcome::Done)
            }
            _ => Ok(ControlOutcome::Done),
        };
        Ok(ControlReply::Applied(result))
    }

    fn status(&self) -> NodeStatus {
        let (groups, disks) = (Vec::new(), Vec::new());
        let (garbage, orphans) = (Vec::new(), OrphanStatus::default());
        NodeStatus {
            node: self.id,
            incarnation: Incarnation(1),
            version: "fake".into(),
            groups,
            disks,
            lost: Vec::new(),
            lost_count: 0,
            garbage,
            orphans,
        }
    }
}

#[async_trait]
impl Handler for FakeNode {
    async fn call(&self, _: &PeerIdentity, request: Request, body: Bytes) -> (Reply, Bytes) {
        let none = Bytes::new();
        let answer = match request {
            Request::Chunk(request) => self.chunk(request, body).map(|(result, body)| (Reply::Chunk(result), body)),
            Request::Meta(request) => self.meta(request).map(|result| (Reply::Meta(result), none)),
            Request::Control(request) => Some((Reply::Control(self.control(request)), none)),
            Request::Node(NodeRequest::Status) => Some((Reply::Node(NodeReply::Status(self.status())), none)),
            Request::Node(_) => Some((Reply::Node(NodeReply::Pong), none)),
            Request::Snapshot(_) => panic!("not used by the client"),
        };
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    fn raft(&self, _: NodeId, _: RaftBatch) {}
}

struct Running {
    runtime: Runtime,
    endpoint: Endpoint,
    frozen: Option<mpsc::Sender<()>>,
}

/// The cluster. Node ids count from 1.
pub struct Fakes {
    pub world: Arc<Mutex<World>>,
    ca: ClusterCa,
    credentials: BTreeMap<NodeId, Credentials>,
    addrs: BTreeMap<NodeId, SocketAddr>,
    running: BTreeMap<NodeId, Running>,
}

impl Fakes {
    /// `nodes` nodes; placement groups as given by node ids, each with one slot; node 1 leads.
    pub fn start(nodes: u64, groups: &[[u64; 3]]) -> Fakes {
        let ca = ClusterCa::create(CLUSTER).expect("authority");
        let world = Arc::new(Mutex::new(World { leader: Some(NodeId(1)), ..World::default() }));
        let (credentials, addrs, running) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut fakes = Fakes { world, ca, credentials, addrs, running };
        for id in (1..=nodes).map(NodeId) {
            fakes.credentials.insert(id, fakes.ca.issue(&Role::Node(id)).expect("issue"));
            fakes.run(id);
        }
        fakes.world.lock().map = fakes.map(groups);
        fakes
    }

    fn map(&self, groups: &[[u64; 3]]) -> PlacementMap {
        let entry = |(id, addr): (&NodeId, &SocketAddr)| {
            let entry = NodeEntry::new(*id, addr.to_string(), id.to_string(), []);
            NodeEntry { incarnation: Incarnation(1), ..entry }
        };
        let group = |(i, nodes): (usize, &[u64; 3])| {
            let members = nodes.iter().map(|node| Member { node: NodeId(*node), disk: 0 });
            PlacementGroup::settled(PgId(i as u32), PgEpoch(1), members.collect())
        };
        let voters: Vec<NodeId> = self.addrs.keys().copied().take(3).collect();
        PlacementMap {
            version: 1,
            nodes: self.addrs.iter().map(entry).collect(),
            groups: groups.iter().enumerate().map(group).collect(),
            slots: (0..groups.len() as u32).collect(),
            raft_groups: [GroupId::CONTROL, GROUP].map(|id| GroupPlacement::founding(id, voters.clone())).into(),
            ..PlacementMap::default()
        }
    }

    /// Starts a node, at its former address if it had one.
    pub fn run(&mut self, id: NodeId) {
        let addr = self.addrs.get(&id).copied().unwrap_or(([127, 0, 0, 1], 0).into());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("runtime");
        let bind = || {
            let _guard = runtime.enter();
            Endpoint::bind(addr, &self.credentials[&id], TransportConfig::default())
        };
        // A killed node's socket is given back when its last task is gone.
        let tries = (0..1000).find_map(|_| {
            bind().ok().or_else(|| {
                std::thread::park_timeout(Duration::from_millis(5));
                None
            })
        });
        let endpoint = tries.expect("bind");
        endpoint.serve(Arc::new(FakeNode { id, world: self.world.clone() }));
        self.addrs.insert(id, endpoint.local_addr());
        self.running.insert(id, Running { runtime, endpoint, frozen: None });
    }

    /// As `kill -9`: no packet says good-bye, and nothing is answered any more once this returns.
    pub fn kill(&mut self, id: u64) {
        let Running { runtime, endpoint, frozen } = self.running.remove(&NodeId(id)).expect("running");
        drop((endpoint, frozen));
        // A runtime is waited for on a thread that runs no tasks.
        std::thread::scope(|scope| scope.spawn(|| runtime.shutdown_timeout(Duration::from_secs(10))).join())
            .expect("kill");
    }

    /// As `kill -STOP`: the node's only thread does nothing until it is thawed.
    pub fn freeze(&mut self, id: u64) {
        let running = self.running.get_mut(&NodeId(id)).expect("running");
        let (thaw, thawed) = mpsc::channel::<()>();
        running.runtime.spawn(async move {
            let _ = thawed.recv();
        });
        running.frozen = Some(thaw);
    }

    pub fn thaw(&mut self, id: u64) {
        self.running.get_mut(&NodeId(id)).expect("running").frozen = None;
    }

    pub fn faults(&self, id: u64, faults: Faults) {
        self.world.lock().faults.insert(NodeId(id), faults);
    }

    pub fn lead(&self, id: Option<u64>) {
        self.world.lock().leader = id.map(NodeId);
    }

    pub fn config(&self) -> ClientConfig {
        let credentials = self.ca.issue(&Role::Client("test".into())).expect("issue");
        let endpoint = Endpoint::client(&credentials, TransportConfig::default()).expect("client");
        let nodes = self.addrs.iter().map(|(id, addr)| (*id, addr.to_string())).collect();
        ClientConfig::new(endpoint, nodes, "test")
    }

    /// A client that has found the cluster and knows who leads.
    pub async fn client(&self) -> Arc<Client> {
        self.client_with(|_| {}).await
    }

    pub async fn client_with(&self, change: impl FnOnce(&mut ClientConfig)) -> Arc<Client> {
        let mut config = self.config();
        change(&mut config);
        let client = Client::connect(config);
        client.ready().await.expect("ready");
        client
    }

    /// Copies of chunks that were ever stored.
    pub fn copies(&self) -> usize {
        self.world.lock().chunks.len()
    }

    /// Nodes that have a chunk.
    pub fn holders(&self, chunk: ChunkId) -> Vec<u64> {
        let world = self.world.lock();
        let mut holders: Vec<u64> =
            world.chunks.keys().filter(|(_, held)| *held == chunk).map(|(node, _)| node.0).collect();
        holders.sort_unstable();
        holders
    }
}

impl Drop for Fakes {
    fn drop(&mut self) {
        for (_, Running { runtime, frozen, .. }) in std::mem::take(&mut self.running) {
            drop(frozen);
            runtime.shutdown_background();
        }
    }
}

/// A harmless command.
pub fn command(bucket: u64) -> Command {
    Command::EnsureBucket { bucket: BucketId(bucket) }
}

pub fn sample(len: usize) -> Bytes {
    (0..len).map(|i| (i * 31 % 251) as u8).collect::<Vec<_>>().into()
}
