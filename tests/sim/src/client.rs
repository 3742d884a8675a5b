//! A client that puts, gets and deletes, one operation after the other, with the real write, read and session of chunk-core.

use crate::check::{Checker, Floor, Violation};
use crate::event::{Millis, Reply, Request};
use crate::random::Random;
use crate::replica::{Bug, GROUP};
use bytes::Bytes;
use chunk_core::read::{self, GetAnswer, Read, ReadEvent, ReadStep, ReadTimes, ReadVerdict, Standing};
use chunk_core::session::Session;
use chunk_core::write::{Alternative, PutAnswer, Write, WriteEvent, WriteStep, WriteTimes, WriteVerdict};
use chunk_core::{Moment, View};
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use proto::object::{ETag, NewContent, NewExtent, Precondition, TagMatch};
use std::collections::BTreeMap;
use types::{BucketId, ChunkId, ChunkRef, Extent, Member, NodeId, PgId, PlacementMap, RequestId, SessionId};

/// The bucket everything lies in.
pub const BUCKET: BucketId = BucketId(1);
/// Bytes of a value: more than fits inline, so that it lies in a chunk.
const VALUE_BYTES: usize = 4200;
/// How long one attempt at the group, a put and a get of a chunk may take.
const ATTEMPT: Millis = 500;
const TRANSFER: Millis = 1200;
/// How long a whole operation may take.
const DEADLINE: Millis = 10_000;
/// How long a node that did not answer is avoided.
const AVOIDED: Millis = 1500;
/// Pause between attempts at the group.
const PAUSE: Millis = 30;
/// Placement groups tried for one chunk.
const GROUPS_TRIED_MAX: usize = 4;

/// Names a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub u32);

/// What the client's surroundings are to it during one call.
pub struct Around<'a> {
    /// The time.
    pub now: Millis,
    /// The placement map.
    pub map: &'a PlacementMap,
    /// Who judges.
    pub checker: &'a mut Checker,
    /// A planted mistake.
    pub bug: Option<Bug>,
    /// What it sends: to whom, under which number, what.
    pub sent: Vec<(NodeId, u64, Request)>,
}

/// Operations by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// With an answer.
    pub answered: u64,
    /// Changes of which nobody knows whether they took place.
    pub unknown: u64,
    /// Without any effect.
    pub failed: u64,
}

/// What is to be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Make the bucket.
    Bucket,
    /// Store this value.
    Put(u64),
    /// Store this value if there is none.
    PutNew(u64),
    /// Read.
    Get,
    /// Delete.
    Delete,
}

struct Op {
    what: What,
    phase: Phase,
}

/// What an operation is about.
struct What {
    kind: Kind,
    key: Bytes,
    floor: Floor,
    until: Millis,
}

enum Phase {
    Write(Writing),
    Call(Call),
    Read(Reading),
}

struct Writing {
    write: Write,
    data: Bytes,
    chunk: ChunkRef,
    members: Vec<Member>,
    tried: Vec<PgId>,
    asked: BTreeMap<u64, (usize, Millis)>,
    tick: Option<Millis>,
}

/// A call to the group, sent again until it is answered.
struct Call {
    request: Request,
    chunk: Option<ChunkId>,
    target: NodeId,
    number: u64,
    /// Sent, and given up then; or to be sent then.
    sent: bool,
    at: Millis,
}

struct Reading {
    read: Read,
    chunk: ChunkRef,
    members: Vec<Member>,
    asked: BTreeMap<u64, (usize, Millis)>,
    tick: Option<Millis>,
}

/// One client.
pub struct Client {
    /// How its operations ended.
    pub tally: Tally,
    nodes: Vec<NodeId>,
    session: SessionId,
    chunks: Session,
    commands: u64,
    numbers: u64,
    leader: NodeId,
    avoided: BTreeMap<NodeId, Millis>,
    op: Option<Op>,
    random: Random,
}

/// The bytes of a value.
#[must_use]
pub fn value_bytes(value: u64) -> Bytes {
    let mut random = Random::new(value);
    let mut data = value.to_le_bytes().to_vec();
    while data.len() < VALUE_BYTES {
        data.extend_from_slice(&random.next().to_le_bytes());
    }
    data.into()
}

impl Client {
    /// A client with a session of its own.
    #[must_use]
    pub fn new(id: ClientId, nodes: &[NodeId], mut random: Random) -> Self {
        let session = SessionId(u64::from(id.0) + 1);
        Client {
            tally: Tally::default(),
            nodes: nodes.to_vec(),
            session,
            chunks: Session::new(session, Moment(0), random.next()),
            commands: 0,
            numbers: 0,
            leader: nodes[0],
            avoided: BTreeMap::new(),
            op: None,
            random,
        }
    }

    /// Whether an operation is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.op.is_some()
    }

    /// When it wants to look at its clock.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Millis> {
        let op = self.op.as_ref()?;
        let next = match &op.phase {
            Phase::Call(call) => Some(call.at),
            Phase::Write(Writing { asked, tick, .. }) | Phase::Read(Reading { asked, tick, .. }) => {
                asked.values().map(|(_, until)| *until).chain(*tick).min()
            }
        };
        Some(next.unwrap_or(op.what.until).min(op.what.until))
    }

    /// Begins an operation; none may be under way.
    pub fn begin(&mut self, kind: Kind, key: Bytes, around: &mut Around<'_>) {
        let (floor, until) = (around.checker.begin(&key), around.now + DEADLINE);
        let phase = match kind {
            Kind::Put(value) | Kind::PutNew(value) => {
                match self.begin_write(value_bytes(value), Vec::new(), value, around) {
                    Some(writing) => Phase::Write(writing),
                    None => return self.tally.failed += 1,
                }
            }
            Kind::Bucket => self.command(Command::EnsureBucket { bucket: BUCKET }, None, around.now),
            Kind::Get => {
                let query = Query::Object { bucket: BUCKET, key: key.clone(), content: Some((0, u64::MAX)) };
                self.call(Request::Query(query), None, around.now)
            }
            Kind::Delete => {
                let (keys, precondition) = (vec![key.clone()], Precondition::default());
                self.command(Command::DeleteObjects { bucket: BUCKET, keys, precondition }, None, around.now)
            }
        };
        self.op = Some(Op { what: What { kind, key, floor, until }, phase });
    }

    fn command(&mut self, command: Command, chunk: Option<ChunkId>, now: Millis) -> Phase {
        self.commands += 1;
        let id = RequestId { session: self.session, seq: self.commands, low: self.commands };
        self.call(Request::Command(id, command), chunk, now)
    }

    fn call(&mut self, request: Request, chunk: Option<ChunkId>, now: Millis) -> Phase {
        Phase::Call(Call { request, chunk, target: self.leader, number: 0, sent: false, at: now })
    }

    fn view(&self, now: Millis) -> View {
        let down = self.avoided.iter().filter(|(_, until)| **until > now).map(|(node, _)| *node).collect();
        View { down, ..View::default() }
    }

    fn begin_write(
        &mut self,
        data: Bytes,
        mut tried: Vec<PgId>,
        value: u64,
        around: &mut Around<'_>,
    ) -> Option<Writing> {
        let view = self.view(around.now);
        let allocation = self.chunks.allocate(Moment(around.now), GROUP, around.map, &view, &tried).ok()?;
        let group = around.map.groups.iter().find(|group| group.id == allocation.group)?;
        tried.push(group.id);
        around.checker.writes(allocation.chunk, value);
        let chunk = ChunkRef { id: allocation.chunk, len: data.len() as u32, root: types::root_of(&data, &[]) };
        let is_down = |member: &Member| u8::from(view.down.contains(&member.node));
        let down = group.members.iter().enumerate().map(|(i, member)| is_down(member) << i).sum();
        let (write, step) = Write::start(Moment(around.now), down, WriteTimes::default());
        let members = group.members.clone();
        let mut writing = Writing { write, data, chunk, members, tried, asked: BTreeMap::new(), tick: None };
        self.put(&mut writing, &step, around);
        Some(writing)
    }

    fn put(&mut self, writing: &mut Writing, step: &WriteStep, around: &mut Around<'_>) {
        for member in &step.ask {
            self.numbers += 1;
            writing.asked.insert(self.numbers, (*member, around.now + TRANSFER));
            let request = Request::Put(writing.chunk.id, writing.chunk.root, writing.data.clone());
            around.sent.push((writing.members[*member].node, self.numbers, request));
        }
        if let WriteVerdict::Pending(tick) = step.verdict {
            writing.tick = tick.map(|moment| moment.0.max(around.now + 1));
        }
    }

    /// An answer has come.
    ///
    /// # Errors
    /// What it says must not be.
    pub fn answered(&mut self, number: u64, reply: Reply, around: &mut Around<'_>) -> Result<(), Violation> {
        let Some(Op { what, phase }) = self.op.take() else { return Ok(()) };
        match phase {
            Phase::Write(mut writing) => {
                let Some((member, _)) = writing.asked.remove(&number) else {
                    self.op = Some(Op { what, phase: Phase::Write(writing) });
                    return Ok(());
                };
                let answer = match reply {
                    Reply::Stored => PutAnswer::Stored,
                    Reply::Refused(error) => PutAnswer::Refused(error),
                    _ => PutAnswer::Rejected,
                };
                self.step_write(what, writing, WriteEvent::Answer(member, answer), around)
            }
            Phase::Read(mut reading) => {
                let Some((member, _)) = reading.asked.remove(&number) else {
                    self.op = Some(Op { what, phase: Phase::Read(reading) });
                    return Ok(());
                };
                let range = 0..reading.chunk.len;
                let answer = match reply {
                    Reply::Piece(piece) if around.bug == Some(Bug::BelieveReplicas) => GetAnswer::Intact(piece.data),
                    Reply::Piece(piece) => {
                        read::check(&reading.chunk, &range, &piece).map_or(GetAnswer::Mismatch, GetAnswer::Intact)
                    }
                    Reply::Refused(error) => GetAnswer::Refused(error),
                    _ => GetAnswer::Failed,
                };
                self.step_read(what, reading, ReadEvent::Answer(member, answer), around)
            }
            Phase::Call(call) if call.number != number || !call.sent => {
                self.op = Some(Op { what, phase: Phase::Call(call) });
                Ok(())
            }
            Phase::Call(call) => self.call_answered(what, call, reply, around),
        }
    }

    fn call_answered(
        &mut self,
        what: What,
        mut call: Call,
        reply: Reply,
        around: &mut Around<'_>,
    ) -> Result<(), Violation> {
        match reply {
            Reply::NotLeader(hint) => {
                call.target = hint.unwrap_or_else(|| self.other(call.target));
                (call.sent, call.at) = (false, around.now + PAUSE);
                self.op = Some(Op { what, phase: Phase::Call(call) });
                Ok(())
            }
            Reply::Unknown => {
                (call.sent, call.at) = (false, around.now + PAUSE);
                self.op = Some(Op { what, phase: Phase::Call(call) });
                Ok(())
            }
            Reply::Applied(result) => {
                self.leader = call.target;
                self.changed(&what, &call, result, around)
            }
            Reply::Answer(answer) => {
                self.leader = call.target;
                self.found(what, *answer, around)
            }
            other => Err(Violation(format!("{other:?} in answer to {:?}", call.request))),
        }
    }

    fn changed(
        &mut self,
        what: &What,
        call: &Call,
        result: Result<Outcome, Refusal>,
        around: &mut Around<'_>,
    ) -> Result<(), Violation> {
        if let Some(chunk) = call.chunk {
            self.chunks.settle(chunk);
        }
        match (what.kind, result) {
            (Kind::Bucket, Ok(_)) => {}
            (Kind::Put(value) | Kind::PutNew(value), Ok(_)) => {
                around.checker.acknowledged(&what.key, Some(value), what.floor)?
            }
            (Kind::Delete, Ok(_)) => around.checker.acknowledged(&what.key, None, what.floor)?,
            (Kind::Put(value) | Kind::PutNew(value), Err(_)) => {
                around.checker.refused(value);
                self.tally.failed += 1;
                return Ok(());
            }
            (_, Err(_)) => {
                self.tally.failed += 1;
                return Ok(());
            }
            (Kind::Get, Ok(outcome)) => return Err(Violation(format!("{outcome:?} in answer to a query"))),
        }
        self.tally.answered += 1;
        Ok(())
    }

    fn found(&mut self, what: What, answer: Result<Answer, Refusal>, around: &mut Around<'_>) -> Result<(), Violation> {
        let content = match answer {
            Ok(Answer::Object(_, Some(content))) => content,
            Err(Refusal::NotFound) => {
                self.tally.answered += 1;
                return around.checker.read(&what.key, None, what.floor);
            }
            Err(Refusal::NoSuchBucket) => {
                self.tally.failed += 1;
                return Ok(());
            }
            other => return Err(Violation(format!("{other:?} in answer to a query"))),
        };
        let Some(extent) = content.extents.first() else {
            return Err(Violation(format!("{:?} has no content", what.key)));
        };
        let Some(group) = around.map.group_of(extent.chunk.id.slot()) else {
            return Err(Violation(format!("{} lies nowhere", extent.chunk.id)));
        };
        let view = self.view(around.now);
        let order = read::order(&group.members, self.random.next(), |node| Standing {
            down: view.down.contains(&node),
            remote: true,
            cost: 0,
        });
        let (read, step) = Read::start(Moment(around.now), order, ReadTimes::default());
        let members = group.members.clone();
        let mut reading = Reading { read, chunk: extent.chunk, members, asked: BTreeMap::new(), tick: None };
        self.get(&mut reading, &step, around);
        self.op = Some(Op { what, phase: Phase::Read(reading) });
        Ok(())
    }

    fn get(&mut self, reading: &mut Reading, step: &ReadStep, around: &mut Around<'_>) {
        for member in &step.ask {
            self.numbers += 1;
            reading.asked.insert(self.numbers, (*member, around.now + TRANSFER));
            around.sent.push((reading.members[*member].node, self.numbers, Request::Get(reading.chunk.id)));
        }
        if let ReadVerdict::Pending(tick) = step.verdict {
            reading.tick = tick.map(|moment| moment.0.max(around.now + 1));
        }
    }

    fn alternative(&self, writing: &Writing, around: &Around<'_>) -> Alternative {
        let full = self.view(around.now).has_full_group(around.map, &writing.tried);
        if full && writing.tried.len() < GROUPS_TRIED_MAX { Alternative::Ready } else { Alternative::None }
    }

    fn step_write(
        &mut self,
        what: What,
        mut writing: Writing,
        event: WriteEvent,
        around: &mut Around<'_>,
    ) -> Result<(), Violation> {
        let alternative = self.alternative(&writing, around);
        let content_with_one =
            around.bug == Some(Bug::OneCopyIsEnough) && matches!(event, WriteEvent::Answer(_, PutAnswer::Stored));
        let mut step = writing.write.step(Moment(around.now), || alternative, event);
        if content_with_one {
            step.verdict = WriteVerdict::Done { missing: 0 };
        }
        self.put(&mut writing, &step, around);
        self.judge_write(what, writing, step.verdict, around)
    }

    fn judge_write(
        &mut self,
        what: What,
        writing: Writing,
        verdict: WriteVerdict,
        around: &mut Around<'_>,
    ) -> Result<(), Violation> {
        let (value, if_none_match) = match what.kind {
            Kind::Put(value) => (value, None),
            Kind::PutNew(value) => (value, Some(TagMatch::Any)),
            _ => return Err(Violation("a write without a value".into())),
        };
        match verdict {
            WriteVerdict::Pending(_) => self.op = Some(Op { what, phase: Phase::Write(writing) }),
            WriteVerdict::Done { missing } => {
                let chunk = writing.chunk;
                let extent = Extent { file_offset: 0, chunk, chunk_offset: 0, len: chunk.len };
                let command = Command::PutObject {
                    bucket: BUCKET,
                    key: what.key.clone(),
                    content: NewContent::Chunks(vec![NewExtent { extent, missing }]),
                    etag: ETag::Md5([0; 16]),
                    xattrs: Vec::new(),
                    precondition: Precondition { if_none_match, ..Precondition::default() },
                };
                let phase = self.command(command, Some(chunk.id), around.now);
                self.op = Some(Op { what, phase });
            }
            WriteVerdict::Elsewhere { .. } => {
                self.chunks.settle(writing.chunk.id);
                match self.begin_write(writing.data, writing.tried, value, around) {
                    Some(writing) => self.op = Some(Op { what, phase: Phase::Write(writing) }),
                    None => self.tally.failed += 1,
                }
            }
            WriteVerdict::Failed(_) => {
                self.chunks.settle(writing.chunk.id);
                around.checker.refused(value);
                self.tally.failed += 1;
            }
        }
        Ok(())
    }

    fn step_read(
        &mut self,
        what: What,
        mut reading: Reading,
        event: ReadEvent,
        around: &mut Around<'_>,
    ) -> Result<(), Violation> {
        let step = reading.read.step(Moment(around.now), event);
        self.get(&mut reading, &step, around);
        match step.verdict {
            ReadVerdict::Pending(_) => {
                self.op = Some(Op { what, phase: Phase::Read(reading) });
                Ok(())
            }
            ReadVerdict::Done(data) => {
                self.tally.answered += 1;
                let value = data.first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
                if data != value_bytes(value) {
                    return Err(Violation(format!("a read of {:?} came to bytes that nobody wrote", what.key)));
                }
                around.checker.read(&what.key, Some(value), what.floor)
            }
            ReadVerdict::Lost => Err(Violation(format!("{} of {:?} is lost", reading.chunk.id, what.key))),
        }
    }

    /// Time has passed.
    ///
    /// # Errors
    /// What comes of it must not be.
    pub fn woken(&mut self, around: &mut Around<'_>) -> Result<(), Violation> {
        let Some(Op { mut what, phase }) = self.op.take() else { return Ok(()) };
        let over = around.now >= what.until;
        match phase {
            Phase::Call(call) if over => {
                // The number is given up: what was sent may yet be applied.
                match call.request {
                    Request::Command(..) => self.tally.unknown += 1,
                    _ => self.tally.failed += 1,
                }
                Ok(())
            }
            Phase::Call(mut call) => {
                if around.now >= call.at {
                    if call.sent {
                        self.avoid(call.target, around.now);
                        call.target = self.other(call.target);
                    }
                    if let Request::Command(id, _) = &mut call.request
                        && around.bug == Some(Bug::RetryUnderAnotherNumber)
                        && call.number > 0
                    {
                        self.commands += 1;
                        (id.seq, id.low) = (self.commands, self.commands);
                    }
                    self.numbers += 1;
                    (call.number, call.sent, call.at) = (self.numbers, true, around.now + ATTEMPT);
                    around.sent.push((call.target, call.number, call.request.clone()));
                }
                self.op = Some(Op { what, phase: Phase::Call(call) });
                Ok(())
            }
            Phase::Write(writing) if over => {
                let verdict = writing.write.expire(self.alternative(&writing, around));
                what.until = around.now + DEADLINE / 2;
                self.judge_write(what, writing, verdict, around)
            }
            Phase::Write(mut writing) => match late(&mut writing.asked, around.now) {
                Some(member) => {
                    self.avoid(writing.members[member].node, around.now);
                    let event = WriteEvent::Answer(member, PutAnswer::TimedOut);
                    self.step_write(what, writing, event, around)
                }
                None => self.step_write(what, writing, WriteEvent::Tick, around),
            },
            Phase::Read(_) if over => {
                self.tally.failed += 1;
                Ok(())
            }
            Phase::Read(mut reading) => match late(&mut reading.asked, around.now) {
                Some(member) => {
                    self.avoid(reading.members[member].node, around.now);
                    let event = ReadEvent::Answer(member, GetAnswer::Failed);
                    self.step_read(what, reading, event, around)
                }
                None => self.step_read(what, reading, ReadEvent::Tick, around),
            },
        }
    }

    fn avoid(&mut self, node: NodeId, now: Millis) {
        self.avoided.insert(node, now + AVOIDED);
    }

    fn other(&mut self, than: NodeId) -> NodeId {
        let others: Vec<NodeId> = self.nodes.iter().copied().filter(|node| *node != than).collect();
        self.random.pick(&others).copied().unwrap_or(than)
    }
}

/// The first member whose time is over.
fn late(asked: &mut BTreeMap<u64, (usize, Millis)>, now: Millis) -> Option<usize> {
    let number = asked.iter().find(|(_, (_, until))| *until <= now).map(|(number, _)| *number)?;
    asked.remove(&number).map(|(member, _)| member)
}
