//! A call to the group, sent again until it is answered; or to one node, sent once.

use super::steps::{self, Step};
use super::{Around, Client, Course, End, Op, Phase, floor, records};
use crate::bug::Bug;
use crate::event::Millis;
use crate::judge::{Rule, Violation};
use crate::marks::Mark;
use crate::message::{Reply, Request};
use crate::operation::Operation;
use crate::replica::GROUP;
use proto::meta::{Answer, Command, Outcome, Refusal};
use proto::object::ETag;
use types::{ChunkRef, GroupId, LogIndex, NodeId, RequestId, SESSION_WINDOW};

/// How long one attempt at the group may take, and one at a node that has to fetch something.
const ATTEMPT: Millis = 500;
const FETCH: Millis = 2_500;
/// Pause between attempts.
const PAUSE: Millis = 30;
/// Nodes asked for the map, one after the other, if they are silent.
const MAP_TRIES: u32 = 3;

/// A call.
pub(super) struct Call {
    step: Step,
    request: Request,
    target: NodeId,
    number: u64,
    /// Sent, and given up at `at`; or to be sent then.
    sent: bool,
    sent_at: Millis,
    at: Millis,
    /// What was known when it began.
    floor: LogIndex,
    /// Nodes that have not answered.
    silent: u32,
}

impl Call {
    pub(super) fn wakes_at(&self) -> Millis {
        self.at
    }

    /// Whether it is sent again, to another node, until it is answered.
    fn is_to_group(&self) -> bool {
        matches!(self.request, Request::Command(..) | Request::Query(_) | Request::Control(_))
    }
}

impl Client {
    pub(super) fn call(&mut self, step: Step, request: Request, target: NodeId, around: &Around<'_>) -> Call {
        Call {
            step,
            request,
            target,
            number: 0,
            sent: false,
            sent_at: 0,
            at: around.now,
            floor: floor(around),
            silent: 0,
        }
    }

    pub(super) fn command(&mut self, op: &Op, step: Step, command: Command, around: &mut Around<'_>) -> Course {
        self.lapse(around);
        let Some(held) = &mut self.held else { return Course::End(End::Failed) };
        let low = held.commands + 1;
        let id = if Client::is_far_ahead(op) && step == Step::Send {
            RequestId { session: held.id, seq: low + SESSION_WINDOW, low }
        } else {
            held.commands = low;
            let id = RequestId { session: held.id, seq: low, low };
            around.judge.numbers(op.step_id(), id);
            id
        };
        Course::On(Phase::Call(self.call(step, Request::Command(id, command), self.leader, around)))
    }

    /// Another voter of the group that a call goes to; another node for the map.
    fn other(&mut self, call: &Call) -> NodeId {
        let than = call.target;
        let voters = match call.request {
            Request::Control(_) => self.map.voters(GroupId::CONTROL),
            Request::Map => &self.nodes[..],
            _ => self.map.voters(GROUP),
        };
        let others: Vec<NodeId> = voters.iter().copied().filter(|node| *node != than).collect();
        self.random.pick(&others).copied().unwrap_or(than)
    }

    pub(super) fn call_woken(
        &mut self,
        op: &Op,
        mut call: Call,
        over: bool,
        around: &mut Around<'_>,
    ) -> Result<Course, Violation> {
        if over {
            // The number is given up: what was sent may yet be applied.
            let unknown = matches!(call.request, Request::Command(..));
            return Ok(Course::End(if unknown { End::Unknown } else { End::Failed }));
        }
        if around.now < call.at {
            return Ok(Course::On(Phase::Call(call)));
        }
        if call.sent {
            self.avoid(call.target, around.now);
            call.silent += 1;
            let map = call.step == Step::Refresh && call.silent < MAP_TRIES;
            if !call.is_to_group() && !map {
                return Ok(Course::Next);
            }
            call.target = self.other(&call);
        }
        if let Request::Command(id, _) = &mut call.request
            && around.bug == Some(Bug::RetryUnderAnotherNumber)
            && call.number > 0
            && !Client::is_far_ahead(op)
            && let Some(held) = self.held.as_mut().filter(|held| held.id == id.session)
        {
            held.commands += 1;
            (id.seq, id.low) = (held.commands, held.commands);
            around.judge.numbers(op.step_id(), *id);
        }
        let patience = if matches!(call.request, Request::Replicate(..)) { FETCH } else { ATTEMPT };
        (call.number, call.sent, call.at) = (self.next_number(), true, around.now + patience);
        call.sent_at = around.now;
        around.sent.push((call.target, call.number, call.request.clone()));
        Ok(Course::On(Phase::Call(call)))
    }

    pub(super) fn call_answered(
        &mut self,
        op: &mut Op,
        mut call: Call,
        number: u64,
        reply: Reply,
        around: &mut Around<'_>,
    ) -> Result<Course, Violation> {
        if call.number != number || !call.sent {
            return Ok(Course::On(Phase::Call(call)));
        }
        match (reply, &call.request) {
            (Reply::NotLeader(hint), _) => {
                call.target = hint.unwrap_or_else(|| self.other(&call));
                (call.sent, call.at) = (false, around.now + PAUSE);
                Ok(Course::On(Phase::Call(call)))
            }
            (Reply::Unknown, _) => {
                (call.sent, call.at) = (false, around.now + PAUSE);
                Ok(Course::On(Phase::Call(call)))
            }
            (Reply::Applied(at, result), Request::Command(id, _)) => {
                self.leader = call.target;
                around.judge.answered(*id, at, &result, call.floor)?;
                self.changed(op, &call.step, result, around)
            }
            (Reply::Control(reply), Request::Control(_)) => {
                self.control = call.target;
                self.opened(&reply, call.sent_at, around);
                Ok(Course::Next)
            }
            (Reply::Answer(at, answer), Request::Query(query)) => {
                self.leader = call.target;
                around.judge.told(query, at, &answer, call.floor)?;
                self.told(op, &call.step, at, *answer)
            }
            (Reply::Map(map), _) => {
                self.learn(&map, around.now);
                Ok(Course::Next)
            }
            (Reply::Stored, Request::Replicate(chunk, ..)) => {
                if let Some(left) = op.lacking.get_mut(&chunk.id) {
                    *left = left.saturating_sub(1);
                }
                around.marks.hit(Mark::CopyMade);
                Ok(Course::Next)
            }
            (Reply::Refused(_), Request::Replicate(..)) => Ok(Course::Next),
            (other, request) => Err(Violation::new(Rule::Shell, format!("{other:?} in answer to {request:?}"))),
        }
    }

    /// A command was answered.
    fn changed(
        &mut self,
        op: &mut Op,
        step: &Step,
        result: Result<Outcome, Refusal>,
        around: &mut Around<'_>,
    ) -> Result<Course, Violation> {
        if result == Err(Refusal::SessionClosed) {
            // It may have been applied before its session ended; its answer is forgotten.
            around.marks.hit(Mark::SessionClosed);
            self.held = None;
            return Ok(Course::End(End::Unknown));
        }
        match step {
            Step::Stage(chunks) => {
                self.staged(chunks, result.is_ok());
                return Ok(Course::Next);
            }
            Step::Close(epoch) => {
                if let Some(held) = &mut self.held {
                    held.chunks.closed(GROUP, *epoch);
                }
                return match result {
                    Ok(_) => Ok(Course::Next),
                    Err(refusal) => Err(Violation::new(Rule::Command, format!("{refusal} in answer to {step:?}"))),
                };
            }
            _ => {}
        }
        op.extents.drain(..).for_each(|new| self.settle(new.extent.chunk.id));
        if Client::is_far_ahead(op) && *step == Step::Send {
            return match result {
                Err(Refusal::WindowFull) => Ok(Course::End(End::Answered)),
                other => {
                    Err(Violation::new(Rule::Command, format!("{other:?} in answer to a request beyond the window")))
                }
            };
        }
        if let Ok(Outcome::Records(revisions)) = &result {
            self.sees_revisions(records::changed(&op.planned).into_iter().zip(revisions.iter().copied()));
        }
        Ok(match result {
            Ok(_) => Course::Next,
            Err(_) => Course::End(End::Answered),
        })
    }

    /// A query was answered.
    fn told(
        &mut self,
        op: &mut Op,
        step: &Step,
        at: LogIndex,
        answer: Result<Answer, Refusal>,
    ) -> Result<Course, Violation> {
        let Ok(answer) = answer else { return Ok(Course::End(End::Answered)) };
        match (step, answer) {
            (Step::Root, Answer::Attr(attr)) => self.root = Some(attr.ino),
            (Step::Lookup(_), Answer::Attr(attr)) => op.ino = attr.ino,
            (Step::Ask, Answer::Object(view, Some(content))) => {
                if let Operation::Get(name) = op.planned.operation {
                    // Of a mount's tags the model knows only that they are none of S3's.
                    if view.attr.etag != ETag::Posix {
                        self.seen.insert(name, view.attr.etag_text());
                    }
                    op.fetched.begin(name, at, &content);
                }
            }
            (Step::AskAgain, Answer::Object(_, Some(content))) => op.fetched.mix(&content),
            (Step::Ask, Answer::UnderReplicated(lacking)) => self.plan_repair(op, &lacking),
            (Step::Ask, Answer::Records(found)) => self.sees_records(found),
            (Step::Ask, Answer::Trash(page)) => op.binned = steps::choose(&op.planned.operation, &page),
            _ => {}
        }
        Ok(Course::Next)
    }

    /// Every node that should have one of the chunks that lack a copy is asked to, those that lack it first; then a command names those of which all
    /// have said that they do. While one is away a chunk cannot be called whole.
    fn plan_repair(&mut self, op: &mut Op, lacking: &[(ChunkRef, u8)]) {
        for (chunk, missing) in lacking {
            let Some(group) = self.map.group_of(chunk.id.slot()) else { continue };
            let takers: Vec<NodeId> = group.takers().map(|taker| taker.node).collect();
            let (first, rest): (Vec<usize>, Vec<usize>) = (0..takers.len()).partition(|i| missing >> i & 1 != 0);
            let sources: Vec<NodeId> = rest.iter().map(|i| takers[*i]).collect();
            op.lacking.insert(chunk.id, takers.len());
            let targets = first.into_iter().chain(rest).map(|i| takers[i]).filter(|node| self.map.is_up(*node));
            op.steps.extend(targets.map(|node| Step::Replicate(node, *chunk, group.epoch, sources.clone())));
        }
        op.steps.push_back(Step::Send);
    }
}
