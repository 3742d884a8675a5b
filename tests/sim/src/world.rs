//! The run: everything that happens to the nodes, the clients and what lies between them.

mod atlas;
mod beats;
mod chunks;
mod control;
mod duties;
mod ending;
mod faults;
mod members;
mod moves;
mod nodes;
mod recover;

use crate::client::{Around, Client, Tally};
use crate::event::{Agenda, Event, Millis};
use crate::fault::Fault;
use crate::judge::{Judge, Rule, Violation};
use crate::marks::Marks;
use crate::message::{Message, Party, Reply};
use crate::network::Network;
use crate::node::Node;
use crate::operation::{Operation, PlannedOperation};
use crate::random::Random;
use crate::replica::GROUP;
use crate::script::{CLIENTS, Knobs, Script};
use crate::trace::Trace;
use placement::{InitialPlan, PlannedNode};
use proto::control::ControlCommand;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::sync::Arc;
use types::{ChunkId, DiskId, GroupId, NodeId, PlacementGroup, PlacementMap};

/// The client that repairs, and how often it looks.
const REPAIRER: u64 = CLIENTS;
const REPAIR_EVERY: Millis = 1_500;
/// Numbers of operations that are not in the script.
const REPAIRS_FROM: u64 = 1_000_000;
/// Times in a run that an operator says that a disk takes more or less.
const REWEIGHS: u64 = 4;
/// Moves in progress into one disk, and into one node: a node has one disk here.
const MOVES_INTO: u16 = 4;

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Faults made, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Operations of all clients.
    pub tally: Tally,
    /// Terms that had a leader.
    pub terms_led: u64,
    /// Log entries committed.
    pub entries: u64,
    /// Rare branches.
    pub marks: Marks,
    /// Milliseconds of simulated time.
    pub simulated: Millis,
    /// Milliseconds from the end of all faults until everything was at rest.
    pub rest: Millis,
    /// A fingerprint of everything that happened.
    pub trace: Trace,
}

struct World<'a> {
    script: &'a Script,
    now: Millis,
    agenda: Agenda,
    network: Network,
    random: Random,
    nodes: BTreeMap<NodeId, Node>,
    clients: BTreeMap<u64, Client>,
    wakes: BTreeMap<u64, u64>,
    /// The first map, which stands in everybody's configuration.
    first: Arc<PlacementMap>,
    /// The newest map that any replica of the control group has applied.
    map: Arc<PlacementMap>,
    /// What the planner last said, and to the map of which version.
    planned: (u64, Vec<ControlCommand>),
    judge: Judge,
    /// Copies that are not what they should be, as far as the one who breaks them knows.
    damaged: BTreeSet<(ChunkId, NodeId)>,
    /// Chunks of which a copy ever was.
    ever_damaged: BTreeSet<ChunkId>,
    /// No more faults.
    calm: bool,
    /// A node that stays away until everything is healed.
    away: Option<NodeId>,
    /// The node that an operator has wanted to be emptied.
    emptied: Option<NodeId>,
    /// Groups that have lost two of three voters, and the one that is left.
    bereft: BTreeMap<GroupId, NodeId>,
    /// Clients that stand still, and until when.
    silent: BTreeMap<u64, Millis>,
    /// How far any wall clock was ever ahead.
    ahead_max: i64,
    report: Report,
    trace: Trace,
}

/// Carries out a script: a storm of faults, then calm, then everything is looked at.
///
/// # Errors
/// The first thing that must not happen and did.
pub fn run(script: &Script) -> Result<Report, Violation> {
    // A replica that stops by itself is a violation like any other.
    catch_unwind(|| World::new(script).run()).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation::new(Rule::Panic, format!("a panic: {}", text.unwrap_or_default())))
    })
}

fn first_map(knobs: &Knobs) -> PlacementMap {
    let planned: Vec<PlannedNode> = (1..=knobs.nodes)
        .map(|id| PlannedNode {
            id: NodeId(id),
            addr: format!("node{id}:7400"),
            domain: format!("zone{}", (id - 1) % knobs.domains + 1),
            disks: vec![DiskId([id as u8; 16])],
        })
        .collect();
    let plan = InitialPlan { slots: 32, groups: 16, meta_groups: 1 };
    let mut map = placement::initial(&planned, &plan).expect("nodes in three domains make a map");
    map.options.out_after_seconds = knobs.out_secs;
    (map.options.moves_per_node_max, map.options.moves_per_disk_max) = (MOVES_INTO, MOVES_INTO);
    map
}

impl<'a> World<'a> {
    fn new(script: &'a Script) -> Self {
        let random = Random::new(script.seed).fork(4);
        let map = Arc::new(first_map(&script.knobs));
        let nodes = map.nodes.iter().map(|node| {
            let own = random.fork(100 + node.id.0);
            (node.id, Node::new(node.id, map.clone(), script.knobs.pace, own))
        });
        let clients = (0..=CLIENTS).map(|id| {
            let own = script.operations.iter().filter(|planned| planned.client == id);
            (id, Client::new(id, map.clone(), own.cloned().collect(), random.fork(200 + id)))
        });
        World {
            script,
            now: 0,
            agenda: Agenda::default(),
            network: Network::new(&script.knobs, random.fork(1)),
            nodes: nodes.collect(),
            clients: clients.collect(),
            wakes: BTreeMap::new(),
            first: map.clone(),
            map,
            planned: (0, Vec::new()),
            judge: Judge::new(),
            damaged: BTreeSet::new(),
            ever_damaged: BTreeSet::new(),
            calm: false,
            away: None,
            emptied: None,
            bereft: BTreeMap::new(),
            silent: BTreeMap::new(),
            ahead_max: 0,
            report: Report::default(),
            trace: Trace::default(),
            random: random.fork(2),
        }
    }

    fn run(mut self) -> Result<Report, Violation> {
        self.begin()?;
        self.until(self.script.faults_end())?;
        self.make_up_for_missed_faults();
        self.until(self.script.storm_ends())?;
        self.serve_without_one()?;
        self.calm()?;
        self.rest()?;
        self.empty()?;
        self.collect()?;
        self.audit()?;
        self.look()?;
        let Report { faults, mut marks, rest, .. } = self.report;
        for (mark, count) in self.judge.marks.0.iter() {
            *marks.0.entry(*mark).or_default() += count;
        }
        let tally = self.clients.values().fold(Tally::default(), |sum, client| Tally {
            answered: sum.answered + client.tally.answered,
            unknown: sum.unknown + client.tally.unknown,
            failed: sum.failed + client.tally.failed,
        });
        Ok(Report {
            faults,
            tally,
            terms_led: self.judge.terms_led(),
            entries: self.judge.entries(GROUP),
            marks,
            simulated: self.now,
            rest,
            trace: self.trace,
        })
    }

    fn begin(&mut self) -> Result<(), Violation> {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.start(id)?;
        }
        for place in 0..(self.script.storm_ends() / REPAIR_EVERY) {
            let at = place * REPAIR_EVERY + 2_000;
            self.plan(REPAIRER, REPAIRS_FROM + place, at, Operation::Repair);
        }
        for id in self.clients.keys().copied().collect::<Vec<_>>() {
            self.wake_at(id, 1);
        }
        for (place, fault) in self.script.faults.iter().enumerate() {
            self.agenda.at(fault.at, Event::Fault(place));
        }
        for _ in 0..REWEIGHS {
            let at = self.random.between(3_000, self.script.storm_ends());
            self.agenda.at(at, Event::Reweigh);
        }
        Ok(())
    }

    fn plan(&mut self, client: u64, number: u64, at: Millis, operation: Operation) {
        let planned = PlannedOperation { number, client, at, operation };
        self.clients.get_mut(&client).expect("a client").also(planned);
    }

    /// Lets things happen up to a moment.
    fn until(&mut self, end: Millis) -> Result<(), Violation> {
        while let Some((when, event)) = self.agenda.next(end) {
            self.now = self.now.max(when);
            event.note(self.trace.add(when));
            self.happen(event)?;
        }
        self.now = self.now.max(end);
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        if let Some(node) = event.concerns().and_then(|id| self.nodes.get(&id))
            && node.troubles.paused > self.now
        {
            self.agenda.at(node.troubles.paused, event);
            return Ok(());
        }
        if let Event::Deliver { to: Party::Client(id), .. } | Event::Wake(id, _) = &event
            && let Some(until) = self.silent.get(id).copied().filter(|until| *until > self.now && !self.calm)
        {
            self.agenda.at(until, event);
            return Ok(());
        }
        match event {
            Event::Deliver { from, to, message } => self.deliver(from, to, message),
            Event::Tick(id, life) => self.tick(id, life),
            Event::LogFlushed(id, life, group) => self.log_flushed(id, life, group),
            Event::ChunkFlushed(id, life, chunk) => self.chunk_flushed(id, life, chunk),
            Event::ChunksDeleted(id, life, waiter, chunks) => self.chunks_deleted(id, life, waiter, chunks),
            Event::Round(id, life, duty) => self.round(id, life, duty),
            Event::ErrandLate(id, life, duty, first) => self.errand_late(id, life, duty, first),
            Event::Leases(id, life) => self.look_at_leases(id, life),
            Event::Fetched(id, life, group, message) => self.fetched(id, life, group, message),
            Event::Scrub(id, life) => {
                self.scrub(id, life);
                Ok(())
            }
            Event::FetchLate(id, life, number) => {
                self.fetch_late(id, life, number);
                Ok(())
            }
            Event::Look(id, life, again) => {
                self.look_for_map(id, life, again);
                Ok(())
            }
            Event::Beat(id, life) => self.beat(id, life),
            Event::Operate(command, left) if !self.calm => self.operate(command, left),
            Event::Reweigh if !self.calm => self.reweigh(),
            Event::Remove(id) => self.remove_if_empty(id),
            Event::Operate(..) | Event::Reweigh => Ok(()),
            Event::Mend(id) => {
                self.mend(id);
                Ok(())
            }
            Event::Wake(id, count) if self.wakes.get(&id) == Some(&count) => {
                self.with_client(id, |client, around| client.woken(around))
            }
            Event::Wake(..) => Ok(()),
            Event::Fault(place) => self.fault(place),
            Event::Start(id) if self.away != Some(id) && !self.nodes[&id].runs && !self.nodes[&id].gone => {
                self.start(id)
            }
            Event::Start(_) => Ok(()),
            Event::PowerGoes(id) if !self.calm => self.power_goes(id),
            Event::PowerGoes(_) => Ok(()),
            Event::Part(from, to) => {
                if !self.calm {
                    self.network.cut(from, to);
                }
                Ok(())
            }
            Event::Join(from, to) => {
                self.network.join(from, to);
                Ok(())
            }
            Event::StormEnds => {
                self.network.ordinary();
                Ok(())
            }
            Event::Bereave(loss) => {
                self.bereave(loss);
                Ok(())
            }
            Event::Recover(id) => self.recover(id),
        }
    }

    fn deliver(&mut self, from: Party, to: Party, message: Message) -> Result<(), Violation> {
        if self.is_unheard(from, to)? {
            if let (Party::Node(id), Message::Request(number, _)) = (to, message) {
                self.reply(id, (from, number), Reply::Removed);
            }
            return Ok(());
        }
        match (from, to, message) {
            (Party::Node(_), Party::Node(id), Message::Raft(group, bytes)) => self.raft(id, group, &bytes),
            (_, Party::Node(id), Message::Reply(_, Reply::Removed)) => {
                self.end_removed(id);
                Ok(())
            }
            (_, Party::Node(id), Message::Request(number, request)) => self.request(id, (from, number), request),
            (_, Party::Node(id), Message::Reply(number, reply)) => {
                let node = self.nodes.get_mut(&id).expect("a node");
                if node.fetches.contains_key(&number) {
                    self.copy_came(id, number, reply);
                    return Ok(());
                }
                if let Some(sent) = node.beats.remove(&number) {
                    self.leased(id, sent, &reply);
                    return Ok(());
                }
                if let (true, Reply::Map(map)) = (node.looks.remove(&number), &reply) {
                    node.hears(map);
                    return Ok(());
                }
                self.duty_answered(id, number, reply)
            }
            (_, Party::Client(id), Message::Reply(number, reply)) => {
                self.with_client(id, |client, around| client.answered(number, reply, around))
            }
            (from, to, message) => Err(Violation::new(Rule::Shell, format!("{message:?} from {from:?} to {to:?}"))),
        }
    }

    fn send(&mut self, from: Party, to: Party, message: Message) {
        if from == to {
            // Within a process nothing is lost.
            self.agenda.at(self.now + 1, Event::Deliver { from, to, message });
            return;
        }
        self.network.send(self.now, from, to, message, &mut self.agenda);
    }

    fn reply(&mut self, from: NodeId, (to, number): (Party, u64), reply: Reply) {
        self.send(Party::Node(from), to, Message::Reply(number, reply));
    }

    // -- clients -----------------------------------------------------------------------------------------------------------------

    fn with_client(
        &mut self,
        id: u64,
        act: impl FnOnce(&mut Client, &mut Around<'_>) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let client = self.clients.get_mut(&id).expect("a client");
        let (nodes, map) = (&self.nodes, &self.map);
        let excused = |chunk: ChunkId, group: &PlacementGroup| atlas::is_elsewhere(nodes, map, chunk, group);
        let mut around = Around {
            now: self.now,
            judge: &mut self.judge,
            marks: &mut self.report.marks,
            bug: self.script.bug,
            knobs: &self.script.knobs,
            excused: &excused,
            sent: Vec::new(),
        };
        let done = act(client, &mut around);
        let sent = around.sent;
        let next = client.wakes_at();
        for (node, number, request) in sent {
            self.send(Party::Client(id), Party::Node(node), Message::Request(number, request));
        }
        if let Some(when) = next {
            self.wake_at(id, when.max(self.now + 1));
        }
        done
    }

    fn wake_at(&mut self, id: u64, when: Millis) {
        let count = self.wakes.entry(id).or_default();
        *count += 1;
        self.agenda.at(when, Event::Wake(id, *count));
    }
}
