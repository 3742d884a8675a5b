//! The run: everything that happens to the nodes, the clients and what lies between them.

use crate::check::{Checker, Claim, Violation};
use crate::client::{Around, Client, ClientId, Kind, Tally};
use crate::disk::Crash;
use crate::event::{Event, Life, Message, Millis, Party, Reply, Request, Schedule};
use crate::fault::Fault;
use crate::network::{Network, Weather};
use crate::node::Node;
use crate::random::Random;
use crate::replica::{Bug, Turn};
use bytes::Bytes;
use placement::{InitialPlan, PlannedNode};
use proto::chunk::ChunkError;
use raft_core::RaftMessage;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use types::{ChunkId, DiskId, NodeId, PlacementMap};

/// A raft tick by an exact clock.
const TICK: Millis = 100;
/// How long faults are made, and how long everything may take to come to rest afterwards.
const STORM: Millis = 60_000;
const CALM: Millis = 120_000;
const CLIENTS: u32 = 4;
const KEYS: u64 = 6;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// A mistake to plant.
    pub bug: Option<Bug>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Faults made, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Operations of all clients.
    pub tally: Tally,
    /// Times a leader was elected.
    pub terms_led: u64,
    /// Snapshots installed.
    pub snapshots: u64,
    /// BLAKE3 over everything that happened; equal for equal runs.
    pub trace: [u8; 32],
}

struct World {
    options: Options,
    now: Millis,
    schedule: Schedule,
    network: Network,
    random: Random,
    nodes: BTreeMap<NodeId, Node>,
    clients: BTreeMap<ClientId, Client>,
    wakes: BTreeMap<ClientId, u64>,
    voters: Vec<NodeId>,
    map: PlacementMap,
    checker: Checker,
    values: u64,
    rotten: BTreeMap<ChunkId, BTreeSet<NodeId>>,
    /// Clients begin nothing new.
    closing: bool,
    report: Report,
    terms: BTreeSet<u64>,
    trace: blake3::Hasher,
}

/// Runs one seed: a storm of faults, then calm, then everything is looked at.
///
/// # Errors
/// The first thing that must not happen and did.
pub fn run(options: Options) -> Result<Report, Violation> {
    // A replica that stops by itself is a violation like any other.
    catch_unwind(|| run_to_the_end(options)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation(format!("a panic: {}", text.unwrap_or_default())))
    })
}

fn run_to_the_end(options: Options) -> Result<Report, Violation> {
    let mut world = World::new(options);
    world.begin();
    world.until(STORM)?;
    world.calm()?;
    world.rest()?;
    world.look()?;
    world.report.tally = world.clients.values().fold(Tally::default(), |sum, client| Tally {
        answered: sum.answered + client.tally.answered,
        unknown: sum.unknown + client.tally.unknown,
        failed: sum.failed + client.tally.failed,
    });
    world.report.terms_led = world.terms.len() as u64;
    world.report.trace = *world.trace.finalize().as_bytes();
    Ok(world.report)
}

fn first_map(nodes: u64) -> PlacementMap {
    let planned: Vec<PlannedNode> = (1..=nodes)
        .map(|id| PlannedNode {
            id: NodeId(id),
            addr: format!("node{id}:7400"),
            domain: format!("zone{id}"),
            disks: vec![DiskId([id as u8; 16])],
        })
        .collect();
    let plan = InitialPlan { slots: 32, groups: 16, meta_groups: 1 };
    placement::initial(&planned, &plan).expect("three or five nodes make a map")
}

impl World {
    fn new(options: Options) -> Self {
        let mut random = Random::new(options.seed);
        let count = if random.chance(500) { 3 } else { 5 };
        let map = first_map(count);
        let voters = map.voters(crate::replica::GROUP).to_vec();
        let nodes: Vec<NodeId> = (1..=count).map(NodeId).collect();
        let weather = Weather {
            loss: random.below(80),
            twice: random.below(80),
            delay_max: random.between(2, 20),
            late: random.below(20),
        };
        let clients = (0..CLIENTS).map(ClientId);
        World {
            options,
            now: 0,
            schedule: Schedule::default(),
            network: Network::new(weather, Random::new(random.next())),
            nodes: nodes.iter().map(|id| (*id, Node::new(*id))).collect(),
            clients: clients.map(|id| (id, Client::new(id, &voters, Random::new(random.next())))).collect(),
            wakes: BTreeMap::new(),
            voters,
            map,
            checker: Checker::default(),
            values: 0,
            rotten: BTreeMap::new(),
            closing: false,
            report: Report::default(),
            terms: BTreeSet::new(),
            trace: blake3::Hasher::new(),
            random,
        }
    }

    fn begin(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.start(id);
        }
        for id in self.clients.keys().copied().collect::<Vec<_>>() {
            self.wake_at(id, 1);
        }
        self.schedule.at(3000, Event::Fault);
    }

    /// Lets things happen up to a moment.
    fn until(&mut self, end: Millis) -> Result<(), Violation> {
        while self.now < end {
            let Some((when, event)) = self.schedule.next() else { return Ok(()) };
            self.now = self.now.max(when);
            self.trace.update(format!("{when} {event:?}\n").as_bytes());
            self.happen(event)?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        if let Some(node) = concerned(&event).and_then(|id| self.nodes.get(&id))
            && node.paused_until > self.now
        {
            self.schedule.at(node.paused_until, event);
            return Ok(());
        }
        match event {
            Event::Deliver { from, to, message } => self.deliver(from, to, message),
            Event::Tick(id, life) => self.tick(id, life),
            Event::LogFlushed(id, life) => self.log_flushed(id, life),
            Event::ChunkFlushed { node, life, chunk, content, reply: (client, number) } => {
                let Some(found) = self.nodes.get_mut(&node).filter(|node| node.life == life) else { return Ok(()) };
                found.chunks.entry(chunk).or_insert(content);
                self.reply(node, client, number, Reply::Stored);
                Ok(())
            }
            Event::Fetched { node, life, message } => self.fetched(node, life, message),
            Event::Wake(id, count) => self.wake(id, count),
            Event::Fault => {
                self.fault();
                Ok(())
            }
            Event::Start(id) => {
                if self.nodes[&id].replica.is_none() {
                    self.start(id);
                }
                Ok(())
            }
            Event::Join(one, other) => {
                self.network.join(one, other);
                Ok(())
            }
        }
    }

    // -- nodes -------------------------------------------------------------------------------------------------------------------

    fn start(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("a node");
        if !self.voters.contains(&id) {
            // Only chunks lie here.
            node.life = Life(node.life.0 + 1);
            return;
        }
        node.start(&self.voters, self.options.seed, self.options.bug);
        let life = node.life;
        self.schedule.at(self.now + self.random.between(1, TICK), Event::Tick(id, life));
    }

    fn tick(&mut self, id: NodeId, life: Life) -> Result<(), Violation> {
        let Some(replica) =
            self.nodes.get_mut(&id).filter(|node| node.life == life).and_then(|node| node.replica.as_mut())
        else {
            return Ok(());
        };
        replica.tick();
        // Clocks run up to a tenth too fast or too slow.
        let skew = self.random.between(TICK * 9 / 10, TICK * 11 / 10);
        self.schedule.at(self.now + skew, Event::Tick(id, life));
        self.perform(id, Turn::default())
    }

    fn log_flushed(&mut self, id: NodeId, life: Life) -> Result<(), Violation> {
        let mut turn = Turn::default();
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.life == life) else { return Ok(()) };
        if let (Some(write), Some(replica)) = (node.disk.flush(), node.replica.as_mut()) {
            replica.flushed(write, &mut turn);
        }
        self.perform(id, turn)
    }

    /// Performs what a replica asks for, and judges it.
    fn perform(&mut self, id: NodeId, mut turn: Turn) -> Result<(), Violation> {
        let node = self.nodes.get_mut(&id).expect("a node");
        let Some(replica) = node.replica.as_mut() else { return Ok(()) };
        replica.perform(&mut node.disk, &mut turn);
        if let Some(term) = replica.leads() {
            self.terms.insert(term.0);
            self.checker.leads(id, term)?;
        }
        for _ in 0..turn.writes {
            node.log_busy_until = node.log_busy_until.max(self.now) + node.flush_time(self.now, &mut self.random);
            self.schedule.at(node.log_busy_until, Event::LogFlushed(id, node.life));
        }
        for message in turn.messages {
            let (to, bytes) = (Party::Node(message.to.node()), message.encode());
            self.network.send(self.now, Party::Node(id), to, Message::Raft(bytes), &mut self.schedule);
        }
        for (entry, results) in &turn.applied {
            self.checker.applied(id, entry, results)?;
        }
        for ((client, number), reply) in turn.replies {
            self.reply(id, client, number, reply);
        }
        Ok(())
    }

    fn reply(&mut self, from: NodeId, client: ClientId, number: u64, reply: Reply) {
        let message = Message::Reply(number, reply);
        self.network.send(self.now, Party::Node(from), Party::Client(client), message, &mut self.schedule);
    }

    fn deliver(&mut self, from: Party, to: Party, message: Message) -> Result<(), Violation> {
        match (from, to, message) {
            (Party::Node(_), Party::Node(id), Message::Raft(bytes)) => self.raft(id, &bytes),
            (Party::Client(client), Party::Node(id), Message::Request(number, request)) => {
                self.request(id, client, number, request)
            }
            (Party::Node(_), Party::Client(id), Message::Reply(number, reply)) => {
                self.with_client(id, |client, around| client.answered(number, reply, around))
            }
            (from, to, message) => Err(Violation(format!("{message:?} from {from:?} to {to:?}"))),
        }
    }

    fn raft(&mut self, id: NodeId, bytes: &Bytes) -> Result<(), Violation> {
        let Some(replica) = self.nodes.get_mut(&id).and_then(|node| node.replica.as_mut()) else { return Ok(()) };
        let message = RaftMessage::decode(bytes).map_err(|error| Violation(error.to_string()))?;
        if let Some(message) = replica.step(message) {
            let life = self.nodes[&id].life;
            let delay = self.random.between(5, 200);
            self.schedule.at(self.now + delay, Event::Fetched { node: id, life, message });
        }
        self.perform(id, Turn::default())
    }

    fn fetched(&mut self, id: NodeId, life: Life, message: RaftMessage) -> Result<(), Violation> {
        if self.nodes[&id].life != life || self.network.is_cut(Party::Node(message.from.node()), Party::Node(id)) {
            return Ok(());
        }
        let Some((state, at)) =
            self.nodes.get(&message.from.node()).and_then(|node| node.replica.as_ref()).map(|replica| {
                let (state, at) = replica.state();
                (state.clone(), at)
            })
        else {
            return Ok(());
        };
        if let Some(replica) = self.nodes.get_mut(&id).and_then(|node| node.replica.as_mut()) {
            replica.step_snapshot(message, state, at);
            self.report.snapshots += 1;
        }
        self.perform(id, Turn::default())
    }

    fn request(&mut self, id: NodeId, client: ClientId, number: u64, request: Request) -> Result<(), Violation> {
        let node = self.nodes.get_mut(&id).expect("a node");
        let voter = self.voters.contains(&id);
        if voter && node.replica.is_none() {
            return Ok(());
        }
        let waiter = (client, number);
        let answer = match request {
            Request::Put(_, root, data) if types::root_of(&data, &[]) != root => {
                Some(Reply::Refused(ChunkError::HashMismatch))
            }
            Request::Put(chunk, _, data) => {
                let when = self.now + node.flush_time(self.now, &mut self.random);
                let (life, content) = (node.life, data);
                self.schedule.at(when, Event::ChunkFlushed { node: id, life, chunk, content, reply: waiter });
                None
            }
            Request::Get(chunk) => Some(node.read(chunk)),
            Request::Command(request, command) => match node.replica.as_mut() {
                Some(replica) => replica.command(self.now, waiter, request, command),
                None => Some(Reply::NotLeader(None)),
            },
            Request::Query(query) => match node.replica.as_mut() {
                Some(replica) => replica.query(waiter, query),
                None => Some(Reply::NotLeader(None)),
            },
        };
        if let Some(reply) = answer {
            self.reply(id, client, number, reply);
        }
        self.perform(id, Turn::default())
    }

    // -- clients -----------------------------------------------------------------------------------------------------------------

    fn with_client(
        &mut self,
        id: ClientId,
        act: impl FnOnce(&mut Client, &mut Around<'_>) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let client = self.clients.get_mut(&id).expect("a client");
        let mut around = Around {
            now: self.now,
            map: &self.map,
            checker: &mut self.checker,
            bug: self.options.bug,
            sent: Vec::new(),
        };
        let busy = client.is_busy();
        let done = act(client, &mut around);
        for (node, number, request) in around.sent {
            let message = Message::Request(number, request);
            self.network.send(self.now, Party::Client(id), Party::Node(node), message, &mut self.schedule);
        }
        let next = match client.wakes_at() {
            Some(when) => when.max(self.now + 1),
            // Between two operations it rests a little.
            None if busy => self.now + self.random.between(1, 150),
            None => self.now + 50,
        };
        self.wake_at(id, next);
        done
    }

    fn wake_at(&mut self, id: ClientId, when: Millis) {
        let count = self.wakes.entry(id).or_default();
        *count += 1;
        self.schedule.at(when, Event::Wake(id, *count));
    }

    fn wake(&mut self, id: ClientId, count: u64) -> Result<(), Violation> {
        if self.wakes.get(&id) != Some(&count) {
            return Ok(());
        }
        if self.clients[&id].is_busy() {
            return self.with_client(id, |client, around| client.woken(around));
        }
        if self.closing {
            return Ok(());
        }
        let key = Bytes::from(format!("dir/{}", self.random.below(KEYS)));
        let kind = match self.random.below(100) {
            _ if self.now < 2000 => Kind::Bucket,
            0..42 => {
                self.values += 1;
                if self.random.chance(250) { Kind::PutNew(self.values) } else { Kind::Put(self.values) }
            }
            42..50 => Kind::Delete,
            _ => Kind::Get,
        };
        self.with_client(id, |client, around| {
            client.begin(kind, key, around);
            Ok(())
        })
    }

    // -- faults ------------------------------------------------------------------------------------------------------------------

    fn fault(&mut self) {
        if self.now >= STORM {
            return;
        }
        let fault = Fault::draw(&mut self.random);
        if self.make(fault) {
            *self.report.faults.entry(fault).or_default() += 1;
        }
        let next = self.now + self.random.between(300, 5000);
        self.schedule.at(next, Event::Fault);
    }

    fn any_node(&mut self) -> NodeId {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        *self.random.pick(&ids).expect("there are nodes")
    }

    fn make(&mut self, fault: Fault) -> bool {
        let id = self.any_node();
        let length = self.random.between(200, 6000);
        match fault {
            Fault::Kill => self.crash(id, Crash::Kill),
            Fault::Power => self.crash(id, Crash::Power),
            Fault::PowerAll => {
                let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
                ids.into_iter().filter(|id| self.crash(*id, Crash::Power)).count() > 0
            }
            Fault::Pause => {
                self.nodes.get_mut(&id).expect("a node").paused_until = self.now + length;
                true
            }
            Fault::SlowDisk => {
                self.nodes.get_mut(&id).expect("a node").slow_until = self.now + length;
                true
            }
            Fault::Cut => {
                let other = self.any_node();
                if other == id {
                    return false;
                }
                self.cut(Party::Node(id), Party::Node(other), length);
                if self.random.chance(500) {
                    self.cut(Party::Node(other), Party::Node(id), length);
                }
                true
            }
            Fault::Isolate => {
                // The clients may still reach it, which is the worse case.
                let all = self.random.chance(400);
                let nodes = self.nodes.keys().copied().map(Party::Node);
                let clients = self.clients.keys().copied().map(Party::Client).filter(|_| all);
                for other in nodes.chain(clients).filter(|other| *other != Party::Node(id)).collect::<Vec<_>>() {
                    self.cut(Party::Node(id), other, length);
                    self.cut(other, Party::Node(id), length);
                }
                true
            }
            Fault::Rot => self.rot(id),
        }
    }

    fn cut(&mut self, from: Party, to: Party, length: Millis) {
        self.network.cut(from, to);
        self.schedule.at(self.now + length, Event::Join(from, to));
    }

    fn crash(&mut self, id: NodeId, crash: Crash) -> bool {
        let node = self.nodes.get_mut(&id).expect("a node");
        let runs = node.replica.is_some();
        node.crash(crash, &mut self.random);
        let back = self.now + self.random.between(100, 5000);
        self.schedule.at(back, Event::Start(id));
        runs
    }

    /// Rots one copy of a committed chunk, as long as another copy that was claimed stays good.
    fn rot(&mut self, id: NodeId) -> bool {
        // Half of the time one that was just committed: what a writer claimed too early may not be there yet.
        let recent = self.random.chance(500);
        let claims = self.checker.claims();
        let claims = &claims[if recent { claims.len().saturating_sub(3) } else { 0 }..];
        let rotten = |chunk: &ChunkId| self.rotten.get(chunk).map_or(0, BTreeSet::len) as u32;
        let spare = |(chunk, claim): &&(ChunkId, Claim)| rotten(chunk) + 1 < claim.copies;
        let chunks: Vec<ChunkId> = claims.iter().filter(spare).map(|(chunk, _)| *chunk).collect();
        let Some(chunk) = self.random.pick(&chunks).copied() else { return false };
        let made = self.nodes.get_mut(&id).expect("a node").rot(chunk, &mut self.random);
        if made {
            self.rotten.entry(chunk).or_default().insert(id);
        }
        made
    }

    // -- the end -----------------------------------------------------------------------------------------------------------------

    fn calm(&mut self) -> Result<(), Violation> {
        self.network.calm();
        self.closing = true;
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let node = self.nodes.get_mut(&id).expect("a node");
            (node.slow_until, node.paused_until) = (0, 0);
            if node.replica.is_none() {
                self.start(id);
            }
        }
        Ok(())
    }

    /// Waits until all replicas are equal and nothing is under way.
    fn rest(&mut self) -> Result<(), Violation> {
        let end = self.now + CALM;
        while self.now < end {
            self.until(self.now + 1000)?;
            let mut states =
                self.nodes.values().filter_map(|node| node.replica.as_ref()).map(|replica| replica.state());
            let first = states.next();
            let equal = first.is_some_and(|first| states.all(|state| state == first));
            let led =
                self.nodes.values().filter_map(|node| node.replica.as_ref()).any(|replica| replica.leads().is_some());
            if equal && led && self.clients.values().all(|client| !client.is_busy()) {
                return Ok(());
            }
        }
        let stand = |node: &Node| {
            let replica = node.replica.as_ref()?;
            Some(format!("{} applied {}, {}", node.id, replica.state().1.index, replica.describe()))
        };
        let stands: Vec<String> = self.nodes.values().filter_map(stand).collect();
        let busy = self.clients.values().filter(|client| client.is_busy()).count();
        let text =
            format!("no rest {} s after the last fault: {busy} clients busy; {}", CALM / 1000, stands.join("; "));
        Err(Violation(text))
    }

    /// Reads every key once more.
    fn look(&mut self) -> Result<(), Violation> {
        let reader = ClientId(0);
        for (key, held) in self.checker.finish()? {
            let before = self.clients[&reader].tally.answered;
            let key_read = key.clone();
            self.with_client(reader, |client, around| {
                client.begin(Kind::Get, key_read, around);
                Ok(())
            })?;
            let end = self.now + CALM;
            while self.clients[&reader].is_busy() && self.now < end {
                self.until(self.now + 50)?;
            }
            if self.clients[&reader].tally.answered != before + 1 {
                return Err(Violation(format!("{key:?} cannot be read in calm weather; it holds {held:?}")));
            }
        }
        Ok(())
    }
}

fn concerned(event: &Event) -> Option<NodeId> {
    match event {
        Event::Deliver { to: Party::Node(node), .. }
        | Event::Tick(node, _)
        | Event::LogFlushed(node, _)
        | Event::ChunkFlushed { node, .. }
        | Event::Fetched { node, .. } => Some(*node),
        _ => None,
    }
}
