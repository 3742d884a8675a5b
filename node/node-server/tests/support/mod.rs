//! What the tests of running nodes share.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod load;

use bytes::Bytes;
use node_server::{GarbageConfig, MemoryConfig, NodeConfig, NodeServer, RaftConfig, StartError, StoreConfig};
use placement::{InitialPlan, PlannedNode};
use proto::control::{
    ControlAnswer, ControlCommand, ControlOutcome, ControlQuery, ControlRefusal, ControlReply, ControlRequest,
};
use proto::join::{Invitation, JoinAnswer, JoinError};
use proto::meta::{Command, MetaOp, MetaReply, MetaRequest, Outcome, Refusal};
use proto::node::{NodeReply, NodeRequest};
use proto::rpc::GroupError;
use proto::{Reply, Request};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;
use transport::{Class, ClusterCa, Credentials, Endpoint, NodeKey, Role, TransportConfig, TransportError, join_proof};
use types::{
    ClusterId, DiskId, FeatureLevel, GroupId, InvitationId, NodeId, PlacementMap, RequestId, SessionId, Timestamp,
};

/// Far more than anything here takes, also on a busy machine.
pub const BOUND: Duration = Duration::from_secs(180);

/// The secret of all tokens here.
pub const SECRET: [u8; 32] = [7; 32];

/// Whose commands the tests send: a session that no node was asked for, and none will end.
const SESSION: SessionId = SessionId(1 << 20);

/// Nodes of one cluster in this process.
pub struct Site {
    folder: TempDir,
    pub ca: ClusterCa,
    /// As the cluster began.
    pub map: PlacementMap,
    /// Nodes that joined later: the map they joined at, and what they were given.
    joined: BTreeMap<u64, (PlacementMap, Credentials)>,
    /// How long a node waits between two audits.
    pub audit: Duration,
    /// Commands sent so far.
    commands: AtomicU64,
}

impl Site {
    /// A cluster of so many nodes; none of them runs yet.
    pub fn new(nodes: u8) -> Site {
        let sockets: Vec<_> = (0..nodes).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")).collect();
        let planned: Vec<_> = (1..=nodes)
            .zip(&sockets)
            .map(|(id, socket)| PlannedNode {
                id: NodeId(u64::from(id)),
                addr: socket.local_addr().expect("an address").to_string(),
                domain: id.to_string(),
                disks: vec![DiskId([id; 16])],
            })
            .collect();
        let map = placement::initial(&planned, &InitialPlan::default()).expect("a map");
        let folder = tempfile::tempdir().expect("a folder");
        let ca = ClusterCa::create(ClusterId([1; 16])).expect("an authority");
        let (joined, audit) = (BTreeMap::new(), StoreConfig::default().audit);
        Site { folder, ca, map, joined, audit, commands: AtomicU64::new(0) }
    }

    pub fn path(&self, id: u64, name: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("node-{id}")).join(name)
    }

    pub fn config(&self, id: u64, create: bool) -> NodeConfig {
        let node = NodeId(id);
        let (map, credentials) = match self.joined.get(&id) {
            Some(joined) => joined.clone(),
            None => (self.map.clone(), self.ca.issue(&Role::Node(node)).expect("credentials")),
        };
        NodeConfig {
            node,
            credentials,
            listen: map.node(node).expect("a node").addr.parse().expect("an address"),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            meta: self.path(id, "meta"),
            gone: Vec::new(),
            disks: vec![self.path(id, "disk")],
            create,
            memory: MemoryConfig::default(),
            // A machine whose own disk is fuller than a node would like must not stop the moves that are waited for.
            store: StoreConfig {
                segment_bytes: 8 << 20,
                reserve_bytes: 0,
                direct_io: false,
                nearfull_percent: 97,
                backfillfull_percent: 98,
                full_percent: 99,
                audit: self.audit,
                ..StoreConfig::default()
            },
            garbage: GarbageConfig::default(),
            raft: RaftConfig::default(),
            level: FeatureLevel::NEWEST,
            map,
        }
    }

    /// Where a node is.
    pub fn addr(&self, id: u64) -> &str {
        let map = self.joined.get(&id).map_or(&self.map, |(map, _)| map);
        &map.node(NodeId(id)).expect("a node").addr
    }

    /// Something that calls nodes.
    pub fn endpoint(&self, role: &Role) -> Endpoint {
        let credentials = self.ca.issue(role).expect("credentials");
        Endpoint::client(&credentials, TransportConfig::default()).expect("an endpoint")
    }

    /// Has the control group carry a command out, whoever of `nodes` leads it.
    pub async fn control(
        &self,
        endpoint: &Endpoint,
        nodes: &[u64],
        command: ControlCommand,
    ) -> Result<ControlOutcome, ControlRefusal> {
        let begin = Instant::now();
        loop {
            for id in nodes {
                let request = Request::Control(ControlRequest::Command(command.clone()));
                match self.call(endpoint, *id, request).await {
                    // A cluster that was just started has no map for a moment.
                    Ok(Reply::Control(Ok(ControlReply::Applied(Err(ControlRefusal::NotBootstrapped))))) => {}
                    Ok(Reply::Control(Ok(ControlReply::Applied(result)))) => return result,
                    _ => {}
                }
            }
            assert!(begin.elapsed() < BOUND, "nobody carries out {command:?}");
        }
    }

    /// A call to the first metadata group, under a request id of its own.
    pub fn command_of(&self, command: Command) -> Request {
        let seq = self.commands.fetch_add(1, Ordering::Relaxed) + 1;
        let id = RequestId { session: SESSION, seq, low: seq };
        Request::Meta(MetaRequest { group: GroupId(1), op: MetaOp::Command(id, command) })
    }

    /// Has the first metadata group carry a command out, whoever of `nodes` leads it. `Err`: the level that it needs, and what the leader knows the
    /// cluster to be at.
    pub async fn command(
        &self,
        endpoint: &Endpoint,
        nodes: &[u64],
        command: Command,
    ) -> Result<Result<Outcome, Refusal>, (FeatureLevel, FeatureLevel)> {
        let (begin, request) = (Instant::now(), self.command_of(command));
        loop {
            for id in nodes {
                match self.call(endpoint, *id, request.clone()).await {
                    Ok(Reply::Meta(Ok(MetaReply::Applied(result)))) => return Ok(result),
                    Ok(Reply::Meta(Err(GroupError::Level { needs, at }))) => return Err((needs, at)),
                    _ => {}
                }
            }
            assert!(begin.elapsed() < BOUND, "nobody carries out {request:?}");
        }
    }

    /// Says what an invitation of a node says: two seconds to an hour, at a free port, in a domain of its own.
    pub fn invitation(&self, id: u8, life: Duration) -> Invitation {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time") + life;
        Invitation {
            id: InvitationId([id; 16]),
            node: NodeId(u64::from(id)),
            addr: socket.local_addr().expect("an address").to_string(),
            domain: id.to_string(),
            disks: vec![DiskId([id; 16])],
            expires: Timestamp::from_secs(now.as_secs() as i64, now.subsec_nanos()),
        }
    }

    /// What a machine with the token of an invitation calls with.
    pub fn joiner(&self, id: InvitationId) -> Endpoint {
        let lent = self.ca.invite(id, Duration::from_secs(600)).expect("lent");
        Endpoint::client(&lent, TransportConfig::default()).expect("an endpoint")
    }

    /// Knocks at a node until it knows an answer.
    pub async fn knock(&self, joiner: &Endpoint, at: u64, request: &[u8]) -> Result<JoinAnswer, JoinError> {
        let begin = Instant::now();
        let proof = join_proof(&SECRET, request);
        loop {
            let join = Request::Node(NodeRequest::Join { request: request.to_vec(), proof });
            match self.call(joiner, at, join).await {
                Ok(Reply::Node(NodeReply::Join(Err(JoinError::Unavailable)))) | Err(_) => {}
                Ok(Reply::Node(NodeReply::Join(answer))) => return answer,
                Ok(other) => panic!("{other:?}"),
            }
            assert!(begin.elapsed() < BOUND, "node {at} does not answer a joiner");
        }
    }

    /// Has a node join as `sago node invite` and `sago node join` do, by way of `nodes`, and starts it.
    pub async fn join(&mut self, operator: &Endpoint, nodes: &[u64], id: u8) -> NodeServer {
        let invitation = self.invitation(id, Duration::from_secs(600));
        let (name, node) = (invitation.id, invitation.node);
        let done = Ok(ControlOutcome::Done);
        assert_eq!(self.control(operator, nodes, ControlCommand::Invite { invitation }).await, done);
        let (joiner, key) = (self.joiner(name), NodeKey::generate().expect("a key"));
        let request = key.request().expect("a request");
        assert_eq!(self.knock(&joiner, nodes[0], &request).await, Ok(JoinAnswer::Waiting));
        let cert = self.ca.certify(&Role::Node(node), &request).expect("certified");
        let admit = ControlCommand::AdmitNode { id: name, request: request.clone(), cert };
        assert_eq!(self.control(operator, nodes, admit).await, done);
        let Ok(JoinAnswer::Admitted { cert, map, .. }) = self.knock(&joiner, nodes[0], &request).await else {
            panic!("it was not let in");
        };
        self.joined.insert(u64::from(id), (*map, key.credentials(self.ca.to_pem().0, cert)));
        joiner.close().await;
        self.start(u64::from(id), true).await
    }

    pub async fn start(&self, id: u64, create: bool) -> NodeServer {
        let begin = Instant::now();
        loop {
            match NodeServer::start(self.config(id, create)).await {
                Ok(node) => return node,
                // The socket of a node that was stopped is closed by a task of its own.
                Err(StartError::Bind { .. }) if begin.elapsed() < BOUND => tokio::task::yield_now().await,
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    pub async fn call(&self, client: &Endpoint, id: u64, request: Request) -> Result<Reply, TransportError> {
        let peer = client.peer(NodeId(id), self.addr(id));
        let call = peer.call(Class::Small, &request, Bytes::new(), Duration::from_secs(2));
        call.await.map(|(reply, _)| reply)
    }

    /// The map as one node has applied it.
    pub async fn map_of(&self, client: &Endpoint, id: u64) -> Option<PlacementMap> {
        let request = Request::Control(ControlRequest::StaleQuery(ControlQuery::Map));
        match self.call(client, id, request).await {
            Ok(Reply::Control(Ok(ControlReply::Answer(ControlAnswer::Map(map))))) => map.map(|map| *map),
            _ => None,
        }
    }
}

/// Waits until something holds.
pub async fn until<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let begin = Instant::now();
    while !check().await {
        assert!(begin.elapsed() < BOUND, "{what}");
        // wait-ok: a pause between two looks, bounded above
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Status code and body of a page.
pub async fn page(admin: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(admin).await.expect("the admin port");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
    (code, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}
