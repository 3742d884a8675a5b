//! A chunk on its way into a placement group.

use super::held::epoch_time;
use super::steps::Step;
use super::{AVOIDED, Around, Client, Course, DEADLINE, End, Op, Phase, late};
use crate::bug::Bug;
use crate::event::Millis;
use crate::marks::Mark;
use crate::message::{Reply, Request};
use crate::replica::GROUP;
use bytes::Bytes;
use chunk_core::write::{Alternative, Failure, PutAnswer, Write, WriteEvent, WriteStep, WriteTimes, WriteVerdict};
use proto::object::NewExtent;
use std::collections::BTreeMap;
use types::{ChunkRef, Extent, Member, Moment, PgEpoch, RuleId};

/// How long a put may take.
const TRANSFER: Millis = 1200;
/// Placement groups tried for one chunk.
const GROUPS_TRIED_MAX: usize = 4;

/// A write.
pub(super) struct Writing {
    write: Write,
    data: Bytes,
    chunk: ChunkRef,
    epoch: PgEpoch,
    takers: Vec<Member>,
    asked: BTreeMap<u64, (usize, Millis)>,
    tick: Option<Millis>,
}

impl Writing {
    pub(super) fn wakes_at(&self) -> Option<Millis> {
        self.asked.values().map(|(_, until)| *until).chain(self.tick).min()
    }
}

impl Client {
    pub(super) fn begin_write(&mut self, op: &mut Op, data: Bytes, around: &mut Around<'_>) -> Course {
        let view = self.view(around.now);
        let map = self.map.clone();
        self.lapse(around);
        let Some(held) = &mut self.held else { return Course::End(End::Failed) };
        let time = epoch_time(around.now, around.knobs);
        let Ok(allocation) = held.chunks.allocate(time, (GROUP, RuleId::DEFAULT), &map, &view, &op.tried) else {
            return Course::End(End::Failed);
        };
        let Some(group) = map.groups.iter().find(|group| group.id == allocation.group) else {
            return Course::End(End::Failed);
        };
        op.tried.push(group.id);
        // The members, and then the disk that a move brings in.
        let takers: Vec<Member> = group.takers().collect();
        around.judge.writes(allocation.chunk, data.clone(), (group.epoch, &takers[..]), around.now);
        let root = types::root_of(&data, &types::leaves_of(&data));
        let chunk = ChunkRef { id: allocation.chunk, len: data.len() as u32, root };
        let times = WriteTimes { lag: around.knobs.lag, ..WriteTimes::default() };
        let (write, step) = Write::start(Moment(around.now), view.beliefs(&takers), times);
        let (epoch, asked) = (group.epoch, BTreeMap::new());
        let mut writing = Writing { write, data, chunk, epoch, takers, asked, tick: None };
        self.ask_to_store(&mut writing, &step, around);
        Course::On(Phase::Write(writing))
    }

    fn ask_to_store(&mut self, writing: &mut Writing, step: &WriteStep, around: &mut Around<'_>) {
        for member in &step.ask {
            let number = self.next_number();
            writing.asked.insert(number, (*member, around.now + TRANSFER));
            let chunk = writing.chunk;
            let request = Request::Put(chunk.id, writing.epoch, chunk.root, writing.data.clone());
            around.sent.push((writing.takers[*member].node, number, request));
        }
        if let WriteVerdict::Pending(tick) = step.verdict {
            writing.tick = tick.map(|moment| moment.0.max(around.now + 1));
        }
    }

    pub(super) fn write_answered(
        &mut self,
        op: &mut Op,
        mut writing: Writing,
        number: u64,
        reply: Reply,
        around: &mut Around<'_>,
    ) -> Course {
        let Some((member, _)) = writing.asked.remove(&number) else { return Course::On(Phase::Write(writing)) };
        let answer = match reply {
            Reply::Stored => PutAnswer::Stored,
            Reply::Refused(error) => PutAnswer::Refused(error),
            _ => PutAnswer::Rejected,
        };
        self.step_write(op, writing, WriteEvent::Answer(member, answer), around)
    }

    pub(super) fn write_woken(
        &mut self,
        op: &mut Op,
        mut writing: Writing,
        over: bool,
        around: &mut Around<'_>,
    ) -> Course {
        if over {
            let verdict = writing.write.expire(self.alternative(op, &writing.write, &writing.takers, around));
            op.until = around.now + DEADLINE / 2;
            return self.judge_write(op, writing, verdict, around);
        }
        let event = match late(&mut writing.asked, around.now) {
            Some(member) => {
                self.avoid(writing.takers[member].node, around.now);
                WriteEvent::Answer(member, PutAnswer::TimedOut)
            }
            None => WriteEvent::Tick,
        };
        self.step_write(op, writing, event, around)
    }

    fn alternative(&self, op: &Op, write: &Write, takers: &[Member], around: &Around<'_>) -> Alternative {
        let mut view = self.view(around.now);
        write.lacking(Moment(around.now)).for_each(|(member, blame)| view.avoid(&takers[member], blame));
        let full = view.has_full_group(&self.map, RuleId::DEFAULT, &op.tried);
        if full && op.tried.len() < GROUPS_TRIED_MAX { Alternative::Ready } else { Alternative::None }
    }

    fn step_write(&mut self, op: &mut Op, mut writing: Writing, event: WriteEvent, around: &mut Around<'_>) -> Course {
        let content_with_one =
            around.bug == Some(Bug::OneCopyIsEnough) && matches!(event, WriteEvent::Answer(_, PutAnswer::Stored));
        let Writing { write, takers, .. } = &mut writing;
        let alternative = |write: &Write| self.alternative(op, write, takers, around);
        let mut step = write.step(Moment(around.now), alternative, event);
        if content_with_one {
            step.verdict = WriteVerdict::Done { missing: 0 };
        }
        self.ask_to_store(&mut writing, &step, around);
        self.judge_write(op, writing, step.verdict, around)
    }

    fn judge_write(&mut self, op: &mut Op, writing: Writing, verdict: WriteVerdict, around: &mut Around<'_>) -> Course {
        if !matches!(verdict, WriteVerdict::Pending(_)) {
            self.shun(&writing, around.now);
        }
        match verdict {
            WriteVerdict::Pending(_) => Course::On(Phase::Write(writing)),
            WriteVerdict::Done { missing } => {
                let file_offset = op.extents.last().map_or(0, |last| last.extent.end());
                let chunk = writing.chunk;
                let extent = Extent { file_offset, chunk, chunk_offset: 0, len: chunk.len };
                if let Some(held) = &mut self.held {
                    held.chunks.written(chunk, missing);
                }
                op.extents.push(NewExtent { extent, missing });
                op.tried.clear();
                Course::Next
            }
            WriteVerdict::Elsewhere { refresh } => {
                self.settle(writing.chunk.id);
                around.judge.gives_up(writing.chunk.id);
                op.steps.push_front(Step::Write(writing.data));
                if refresh {
                    op.tried.clear();
                    op.steps.push_front(Step::Refresh);
                }
                around.marks.hit(Mark::Elsewhere);
                Course::Next
            }
            WriteVerdict::Failed(_) => {
                self.settle(writing.chunk.id);
                around.judge.gives_up(writing.chunk.id);
                Course::End(End::Failed)
            }
        }
    }

    /// Remembers which disks did badly.
    fn shun(&mut self, writing: &Writing, now: Millis) {
        for (member, failure) in writing.write.failures() {
            let Member { node, disk } = writing.takers[member];
            if matches!(failure, Failure::NoSpace | Failure::Broken) {
                self.shunned.insert((node, disk), now + AVOIDED);
            }
        }
        if writing.write.failures().next().is_none() {
            for member in writing.write.lagging() {
                let Member { node, disk } = writing.takers[member];
                self.shunned.insert((node, disk), now + AVOIDED);
            }
        }
    }
}
