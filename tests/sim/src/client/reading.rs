//! Chunks on their way out of whichever replicas are intact.

use super::steps::Step;
use super::{Around, Client, Course, End, Op, Phase, late, overlay};
use crate::bug::Bug;
use crate::event::Millis;
use crate::judge::{Rule, Violation};
use crate::marks::Mark;
use crate::message::{Reply, Request};
use crate::operation::Name;
use bytes::Bytes;
use chunk_core::read::{self, GetAnswer, Read, ReadEvent, ReadStep, ReadTimes, ReadVerdict, Standing};
use proto::object::ContentView;
use std::collections::{BTreeMap, VecDeque};
use types::{ChunkRef, Extent, LogIndex, Moment, PlacementGroup};

/// Nodes asked for a newer map before a chunk is taken for lost.
const REFRESHES: usize = 3;
/// How long a get may take.
const TRANSFER: Millis = 1200;

/// What a read has come to so far.
#[derive(Default)]
pub(super) struct Fetched {
    name: Option<Name>,
    at: LogIndex,
    data: Vec<u8>,
    todo: VecDeque<Extent>,
    done: usize,
}

impl Fetched {
    /// The answer says where the bytes lie.
    pub(super) fn begin(&mut self, name: Name, at: LogIndex, content: &ContentView) {
        let mut data = vec![0; content.size as usize];
        overlay(&mut data, 0, &content.inline);
        *self = Fetched { name: Some(name), at, data, todo: content.extents.iter().copied().collect(), done: 0 };
    }

    /// Goes on with the extents of another version, as a planted mistake does.
    pub(super) fn mix(&mut self, other: &ContentView) {
        self.todo = other.extents.iter().skip(self.done).copied().collect();
    }
}

/// A read of one extent.
pub(super) struct Reading {
    read: Read,
    extent: Extent,
    chunk: ChunkRef,
    group: PlacementGroup,
    asked: BTreeMap<u64, (usize, Millis)>,
    tick: Option<Millis>,
}

impl Reading {
    pub(super) fn wakes_at(&self) -> Option<Millis> {
        self.asked.values().map(|(_, until)| *until).chain(self.tick).min()
    }
}

impl Client {
    /// Reads the next extent, or judges what was read if there is none.
    pub(super) fn begin_read(&mut self, op: &mut Op, around: &mut Around<'_>) -> Result<Course, Violation> {
        let Some(extent) = op.fetched.todo.pop_front() else {
            if let Some(name) = op.fetched.name {
                around.judge.read(&name.bytes(), op.fetched.at, &op.fetched.data)?;
            }
            return Ok(Course::Next);
        };
        let map = self.map.clone();
        let Some(group) = map.group_of(extent.chunk.id.slot()) else {
            return Err(Violation::new(Rule::Chunk, format!("{} lies nowhere", extent.chunk.id)));
        };
        let view = self.view(around.now);
        let standing = |node| Standing { down: view.down.contains(&node), remote: true, cost: 0 };
        let order = read::order(&group.members, self.random.next(), standing);
        let times = ReadTimes { hedge: around.knobs.hedge, ..ReadTimes::default() };
        let (read, step) = Read::start(Moment(around.now), order, times);
        let (group, asked, chunk) = (group.clone(), BTreeMap::new(), extent.chunk);
        let mut reading = Reading { read, extent, chunk, group, asked, tick: None };
        self.ask_to_read(&mut reading, &step, around);
        Ok(Course::On(Phase::Read(reading)))
    }

    fn ask_to_read(&mut self, reading: &mut Reading, step: &ReadStep, around: &mut Around<'_>) {
        for member in &step.ask {
            if !reading.asked.is_empty() {
                around.marks.hit(Mark::Hedged);
            }
            let number = self.next_number();
            reading.asked.insert(number, (*member, around.now + TRANSFER));
            around.sent.push((reading.group.members[*member].node, number, Request::Get(reading.chunk.id)));
        }
        if let ReadVerdict::Pending(tick) = step.verdict {
            reading.tick = tick.map(|moment| moment.0.max(around.now + 1));
        }
    }

    pub(super) fn read_answered(
        &mut self,
        op: &mut Op,
        mut reading: Reading,
        number: u64,
        reply: Reply,
        around: &mut Around<'_>,
    ) -> Result<Course, Violation> {
        let Some((member, _)) = reading.asked.remove(&number) else { return Ok(Course::On(Phase::Read(reading))) };
        let answer = match reply {
            Reply::Piece(piece) if around.bug == Some(Bug::BelieveReplicas) => GetAnswer::Intact(piece.data),
            Reply::Piece(piece) => {
                let checked = read::check(&reading.chunk, &(0..reading.chunk.len), &piece);
                if checked.is_err() {
                    around.marks.hit(Mark::CorruptCopyRead);
                }
                checked.map_or(GetAnswer::Mismatch, GetAnswer::Intact)
            }
            Reply::Refused(error) => GetAnswer::Refused(error),
            _ => GetAnswer::Failed,
        };
        self.step_read(op, reading, ReadEvent::Answer(member, answer), around)
    }

    pub(super) fn read_woken(
        &mut self,
        op: &mut Op,
        mut reading: Reading,
        over: bool,
        around: &mut Around<'_>,
    ) -> Result<Course, Violation> {
        if over {
            return Ok(Course::End(End::Failed));
        }
        let event = match late(&mut reading.asked, around.now) {
            Some(member) => {
                self.avoid(reading.group.members[member].node, around.now);
                ReadEvent::Answer(member, GetAnswer::Failed)
            }
            None => ReadEvent::Tick,
        };
        self.step_read(op, reading, event, around)
    }

    fn step_read(
        &mut self,
        op: &mut Op,
        mut reading: Reading,
        event: ReadEvent,
        around: &mut Around<'_>,
    ) -> Result<Course, Violation> {
        let step = reading.read.step(Moment(around.now), event);
        self.ask_to_read(&mut reading, &step, around);
        match step.verdict {
            ReadVerdict::Pending(_) => Ok(Course::On(Phase::Read(reading))),
            ReadVerdict::Done(data) => {
                self.take(op, &reading.extent, &data);
                if around.bug == Some(Bug::MixedVersions) && op.fetched.done == 1 && !op.fetched.todo.is_empty() {
                    op.steps.push_front(Step::AskAgain);
                }
                Ok(Course::Next)
            }
            ReadVerdict::Lost if around.judge.is_deleted(reading.chunk.id) => {
                // It was deleted, and the grace time is over for this slow reader; or an operator purged it.
                Ok(Course::End(End::Failed))
            }
            ReadVerdict::Lost if op.doubted.as_ref() != Some(&reading.group) => {
                // Where nobody has it by an old map, it may have moved: it is lost if it is nowhere by a new one either.
                op.doubted = Some(reading.group);
                op.fetched.todo.push_front(reading.extent);
                op.steps.push_front(Step::Fetch);
                (0..REFRESHES).for_each(|_| op.steps.push_front(Step::Refresh));
                Ok(Course::Next)
            }
            ReadVerdict::Lost if (around.excused)(reading.chunk.id, &reading.group) => Ok(Course::End(End::Failed)),
            ReadVerdict::Lost => {
                Err(Violation::new(Rule::Chunk, format!("{} of {:?} is lost", reading.chunk.id, op.planned)))
            }
        }
    }

    fn take(&mut self, op: &mut Op, extent: &Extent, data: &Bytes) {
        op.doubted = None;
        let from = (extent.chunk_offset as usize).min(data.len());
        let to = (from + extent.len as usize).min(data.len());
        overlay(&mut op.fetched.data, extent.file_offset, &data.slice(from..to));
        op.fetched.done += 1;
        op.steps.push_front(Step::Fetch);
    }
}
