//! A client that does the operations of its part of the script, one after the other, each in steps, with the real session, write and
//! read of chunk-core.
//!
//! ```text
//! operation -> steps: write a chunk | ask the group | send it a command | fetch chunks | refresh the map
//! step      -> phase: Writing (chunk_core::write) | Call (leader, retries) | Reading (chunk_core::read)
//! ```

mod call;
mod held;
mod reading;
mod records;
mod steps;
mod writing;

use crate::bug::Bug;
use crate::event::Millis;
use crate::judge::{Judge, StepId, Violation};
use crate::marks::Marks;
use crate::message::{Reply, Request};
use crate::operation::{Name, Operation, PlannedOperation};
use crate::random::Random;
use crate::replica::GROUP;
use crate::script::Knobs;
use bytes::Bytes;
use call::Call;
use chunk_core::View;
use held::Held;
use proto::object::NewExtent;
use proto::record::{RecordKey, Revision};
use proto::trash::TrashId;
use reading::{Fetched, Reading};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use steps::Step;
use types::{ChunkId, GroupId, Ino, LogIndex, NodeId, PgId, PlacementGroup, PlacementMap};
use writing::Writing;

/// How long a whole operation may take.
const DEADLINE: Millis = 10_000;
/// How long a node that did not answer, or a disk that refused, is avoided.
const AVOIDED: Millis = 1500;

/// What the client's surroundings are to it during one call.
pub struct Around<'a> {
    /// The time.
    pub now: Millis,
    /// Who judges.
    pub judge: &'a mut Judge,
    /// Rare branches.
    pub marks: &'a mut Marks,
    /// A planted mistake.
    pub bug: Option<Bug>,
    /// Sizes and times.
    pub knobs: &'a Knobs,
    /// Whether a chunk that no member has is on a node that the cluster takes for lost, or by the group as it really is on another.
    pub excused: &'a dyn Fn(ChunkId, &PlacementGroup) -> bool,
    /// What it sends: to whom, under which number, what.
    pub sent: Vec<(NodeId, u64, Request)>,
}

/// Operations by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// With an answer, a refusal among them.
    pub answered: u64,
    /// Changes of which nobody knows whether they took place.
    pub unknown: u64,
    /// Without any effect.
    pub failed: u64,
}

/// An operation under way.
struct Op {
    planned: PlannedOperation,
    until: Millis,
    steps: VecDeque<Step>,
    /// Steps that were begun.
    begun: u64,
    phase: Phase,
    /// What earlier steps have come to.
    extents: Vec<NewExtent>,
    tried: Vec<PgId>,
    ino: Ino,
    fetched: Fetched,
    /// The placement group in which nobody had a chunk.
    doubted: Option<PlacementGroup>,
    /// Chunks to be made whole, and how many nodes have not said yet that they have them.
    lacking: BTreeMap<ChunkId, usize>,
    binned: Vec<TrashId>,
}

impl Op {
    fn new(planned: PlannedOperation, now: Millis, steps: VecDeque<Step>) -> Self {
        Op {
            planned,
            until: now + DEADLINE,
            steps,
            begun: 0,
            phase: Phase::Between,
            extents: Vec::new(),
            tried: Vec::new(),
            ino: Ino::default(),
            fetched: Fetched::default(),
            doubted: None,
            lacking: BTreeMap::new(),
            binned: Vec::new(),
        }
    }

    fn wakes_at(&self) -> Millis {
        let next = match &self.phase {
            Phase::Between => None,
            Phase::Call(call) => Some(call.wakes_at()),
            Phase::Write(writing) => writing.wakes_at(),
            Phase::Read(reading) => reading.wakes_at(),
        };
        next.unwrap_or(self.until).min(self.until)
    }

    fn step_id(&self) -> StepId {
        StepId { operation: self.planned.number, step: self.begun }
    }
}

enum Phase {
    Between,
    Write(Writing),
    Call(Call),
    Read(Reading),
}

/// How a phase goes on.
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and most hold a phase")]
enum Course {
    /// It is not over.
    On(Phase),
    /// The next step may begin.
    Next,
    /// The operation is over.
    End(End),
}

enum End {
    Answered,
    Unknown,
    Failed,
}

/// One client.
pub struct Client {
    /// How its operations ended.
    pub tally: Tally,
    id: u64,
    nodes: Vec<NodeId>,
    map: Arc<PlacementMap>,
    /// When it was last told a map.
    polled: Millis,
    /// The number under which a node was asked for the map beside an operation, and when.
    looking: Option<(u64, Millis)>,
    held: Option<Held>,
    numbers: u64,
    leader: NodeId,
    /// Whom it takes for the leader of the control group.
    control: NodeId,
    root: Option<Ino>,
    avoided: BTreeMap<NodeId, Millis>,
    shunned: BTreeMap<(NodeId, u16), Millis>,
    /// The entity tag seen last under a name.
    seen: BTreeMap<Name, String>,
    /// The revision seen last of a record that was there.
    revisions: BTreeMap<RecordKey, Revision>,
    todo: VecDeque<PlannedOperation>,
    op: Option<Op>,
    random: Random,
}

impl Client {
    /// A client and what it has to do, by time.
    #[must_use]
    pub fn new(id: u64, map: Arc<PlacementMap>, todo: VecDeque<PlannedOperation>, random: Random) -> Self {
        let (leader, control) = (map.voters(GROUP)[0], map.voters(GroupId::CONTROL)[0]);
        Client {
            tally: Tally::default(),
            id,
            nodes: map.nodes.iter().map(|node| node.id).collect(),
            leader,
            control,
            map,
            polled: 0,
            looking: None,
            held: None,
            numbers: 0,
            root: None,
            avoided: BTreeMap::new(),
            shunned: BTreeMap::new(),
            seen: BTreeMap::new(),
            revisions: BTreeMap::new(),
            todo,
            op: None,
            random,
        }
    }

    /// Whether it has nothing left to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.op.is_none() && self.todo.is_empty()
    }

    /// Has the next operation begin with a look at the map.
    pub fn distrusts_map(&mut self) {
        self.polled = 0;
    }

    /// Adds to what it has to do.
    pub fn also(&mut self, planned: PlannedOperation) {
        self.todo.push_back(planned);
    }

    /// When it wants to look at its clock.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Millis> {
        let next = self.op.as_ref().map(Op::wakes_at).or(self.todo.front().map(|next| next.at));
        next.into_iter().chain(self.held.as_ref().map(Held::renew_at)).min()
    }

    /// Time has passed.
    ///
    /// # Errors
    /// What comes of it must not be.
    pub fn woken(&mut self, around: &mut Around<'_>) -> Result<(), Violation> {
        self.renew(around);
        self.look(around);
        if self.op.as_ref().is_some_and(|op| op.wakes_at() > around.now) {
            return Ok(());
        }
        if self.op.is_none() {
            if self.todo.front().is_none_or(|next| next.at > around.now) {
                return Ok(());
            }
            let Some(next) = self.todo.pop_front() else { return Ok(()) };
            let mut op = Op::new(next, around.now, VecDeque::new());
            op.steps = steps::of(&op.planned, self.root.is_none(), around.knobs.chunk_bytes);
            self.lapse(around);
            if self.held.is_none() {
                op.steps.push_front(Step::Open);
            }
            if around.now >= self.polled + around.knobs.poll {
                op.steps.push_front(Step::Refresh);
            }
            return self.go_on(op, Course::Next, around);
        }
        let Some(mut op) = self.op.take() else { return Ok(()) };
        let over = around.now >= op.until;
        let course = match std::mem::replace(&mut op.phase, Phase::Between) {
            Phase::Call(call) => self.call_woken(&op, call, over, around)?,
            Phase::Write(writing) => self.write_woken(&mut op, writing, over, around),
            Phase::Read(reading) => self.read_woken(&mut op, reading, over, around)?,
            Phase::Between => Course::Next,
        };
        self.go_on(op, course, around)
    }

    /// An answer has come.
    ///
    /// # Errors
    /// What it says must not be.
    pub fn answered(&mut self, number: u64, reply: Reply, around: &mut Around<'_>) -> Result<(), Violation> {
        if self.looked(number, &reply, around.now) || self.renewed(number, &reply, around) {
            return Ok(());
        }
        let Some(mut op) = self.op.take() else { return Ok(()) };
        let course = match std::mem::replace(&mut op.phase, Phase::Between) {
            Phase::Call(call) => self.call_answered(&mut op, call, number, reply, around)?,
            Phase::Write(writing) => self.write_answered(&mut op, writing, number, reply, around),
            Phase::Read(reading) => self.read_answered(&mut op, reading, number, reply, around)?,
            Phase::Between => Course::Next,
        };
        self.go_on(op, course, around)
    }

    /// Asks for the map while an operation takes long, as the watch of `cluster-client` does: the voters that it is tried with may all have gone.
    fn look(&mut self, around: &mut Around<'_>) {
        let due = |since: Millis| around.now >= since + around.knobs.poll;
        if self.op.is_none() || !due(self.polled) || self.looking.is_some_and(|(_, asked)| !due(asked)) {
            return;
        }
        let Some(target) = self.random.pick(&self.nodes).copied() else { return };
        let number = self.next_number();
        self.looking = Some((number, around.now));
        around.sent.push((target, number, Request::Map));
    }

    /// Whether an answer is that to a look; if so, it is taken in.
    fn looked(&mut self, number: u64, reply: &Reply, now: Millis) -> bool {
        let own = self.looking.take_if(|(looking, _)| *looking == number).is_some();
        if let Reply::Map(map) = reply
            && own
        {
            self.learn(map, now);
        }
        own
    }

    fn learn(&mut self, map: &Arc<PlacementMap>, now: Millis) {
        if map.version > self.map.version {
            self.map = map.clone();
        }
        self.polled = now;
    }

    fn go_on(&mut self, mut op: Op, mut course: Course, around: &mut Around<'_>) -> Result<(), Violation> {
        loop {
            match course {
                Course::On(phase) => {
                    op.phase = phase;
                    self.op = Some(op);
                    return Ok(());
                }
                Course::Next => match self.housekeeping().or_else(|| op.steps.pop_front()) {
                    Some(step) => {
                        op.begun += 1;
                        course = self.begin(&mut op, step, around)?;
                    }
                    None => course = Course::End(End::Answered),
                },
                Course::End(end) => {
                    match end {
                        End::Answered => self.tally.answered += 1,
                        End::Unknown => self.tally.unknown += 1,
                        End::Failed => {
                            // Nobody was ever asked to commit what was written: it is given up.
                            for new in op.extents.drain(..) {
                                self.settle(new.extent.chunk.id);
                                around.judge.gives_up(new.extent.chunk.id);
                            }
                            self.tally.failed += 1;
                        }
                    }
                    return Ok(());
                }
            }
        }
    }

    fn begin(&mut self, op: &mut Op, step: Step, around: &mut Around<'_>) -> Result<Course, Violation> {
        Ok(match step {
            Step::Write(data) => self.begin_write(op, data, around),
            Step::Fetch => self.begin_read(op, around)?,
            Step::Refresh => {
                let request = Request::Map;
                let target = self.random.pick(&self.nodes).copied().unwrap_or(self.leader);
                Course::On(Phase::Call(self.call(step, request, target, around)))
            }
            Step::Open => Course::On(Phase::Call(self.call(step, self.open(), self.control, around))),
            Step::Replicate(target, chunk, epoch, ref sources) => {
                let request = Request::Replicate(chunk, epoch, sources.clone());
                Course::On(Phase::Call(self.call(step, request, target, around)))
            }
            step => match steps::request(self, op, &step, around.knobs) {
                Some(steps::Wanted::Query(query)) => {
                    Course::On(Phase::Call(self.call(step, Request::Query(query), self.leader, around)))
                }
                Some(steps::Wanted::Command(command)) => self.command(op, step, command, around),
                None => Course::Next,
            },
        })
    }

    fn view(&self, now: Millis) -> View {
        let down = self.avoided.iter().filter(|(_, until)| **until > now).map(|(node, _)| *node).collect();
        let shunned = self.shunned.iter().filter(|(_, until)| **until > now).map(|(disk, _)| *disk).collect();
        View { down, shunned }
    }

    fn avoid(&mut self, node: NodeId, now: Millis) {
        self.avoided.insert(node, now + AVOIDED);
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn is_far_ahead(op: &Op) -> bool {
        matches!(op.planned.operation, Operation::FarAhead(_))
    }
}

/// The first member whose time is over.
fn late(asked: &mut BTreeMap<u64, (usize, Millis)>, now: Millis) -> Option<usize> {
    let number = asked.iter().find(|(_, (_, until))| *until <= now).map(|(number, _)| *number)?;
    asked.remove(&number).map(|(member, _)| member)
}

/// Where a range of the file stands in what was read.
fn overlay(into: &mut [u8], at: u64, data: &Bytes) {
    let from = (at as usize).min(into.len());
    let to = (from + data.len()).min(into.len());
    into[from..to].copy_from_slice(&data[..to - from]);
}

/// Where a client stands behind, once it has an answer.
fn floor(around: &Around<'_>) -> LogIndex {
    around.judge.begin()
}
