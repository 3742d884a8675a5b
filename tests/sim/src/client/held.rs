//! The session a client holds: opened when it is needed, renewed in the background, lost when it was silent for a lease.

use super::steps::Step;
use super::{Around, Client};
use crate::event::Millis;
use crate::marks::Mark;
use crate::message::{Reply, Request};
use crate::script::Knobs;
use chunk_core::session::{EPOCH_MILLIS, Session};
use proto::control::{ControlCommand, ControlOutcome, ControlRefusal, ControlReply, ControlRequest};
use types::{ChunkId, ChunkRef, GroupId, Moment, SessionId};

/// Chunks staged by one command.
const STAGE_CHUNKS: usize = 3;
/// Pause before a renewal that was refused is sent to another voter.
const PAUSE: Millis = 30;
/// Renewals sent in one lease.
const RENEWALS: u64 = 4;

/// A session.
pub(super) struct Held {
    pub(super) id: SessionId,
    pub(super) chunks: Session,
    /// The number of its last command.
    pub(super) commands: u64,
    /// Chunks staged by the next command: one, after one of several was refused.
    stage_max: usize,
    /// When the renewal that was last acknowledged was sent.
    renewed: Millis,
    /// When the next is sent, and the number and time of the last one.
    renew_at: Millis,
    renewing: Option<(u64, Millis)>,
}

impl Held {
    pub(super) fn renew_at(&self) -> Millis {
        self.renew_at
    }
}

/// Time as writer epochs count it: an hour of it passes in each `knobs.epoch`.
pub(super) fn epoch_time(now: Millis, knobs: &Knobs) -> Moment {
    Moment(now * (EPOCH_MILLIS / knobs.epoch))
}

impl Client {
    pub(super) fn open(&self) -> Request {
        let kind = format!("sim {}", self.id);
        Request::Control(ControlRequest::Command(ControlCommand::OpenSession { kind }))
    }

    /// The control group has opened a session; `sent` is when it was asked to.
    pub(super) fn opened(&mut self, reply: &ControlReply, sent: Millis, around: &Around<'_>) {
        if let ControlReply::Applied(Ok(ControlOutcome::Session(id))) = reply {
            let chunks = Session::new(*id, epoch_time(around.now, around.knobs), self.random.next());
            let renew_at = around.now + around.knobs.lease / RENEWALS;
            self.held = Some(Held {
                id: *id,
                chunks,
                commands: 0,
                stage_max: STAGE_CHUNKS,
                renewed: sent,
                renew_at,
                renewing: None,
            });
        }
    }

    /// Lets go of a session that was not renewed for a lease. A heedless client does not look.
    pub(super) fn lapse(&mut self, around: &Around<'_>) {
        let renewed = self.held.as_ref().map_or(around.now, |held| held.renewed);
        if !around.knobs.heedless && around.now >= renewed + around.knobs.lease {
            self.held = None;
        }
    }

    /// Sends a renewal if one is due.
    pub(super) fn renew(&mut self, around: &mut Around<'_>) {
        if self.held.as_ref().is_none_or(|held| around.now < held.renew_at) {
            return;
        }
        let number = self.next_number();
        // Whoever has not answered the last one is not asked again.
        if self.held.as_ref().is_some_and(|held| held.renewing.is_some()) {
            self.control = self.random.pick(self.map.voters(GroupId::CONTROL)).copied().unwrap_or(self.control);
        }
        let target = self.control;
        let Some(held) = &mut self.held else { return };
        held.renewing = Some((number, around.now));
        held.renew_at = around.now + around.knobs.lease / RENEWALS;
        let renew = ControlCommand::RenewSession { session: held.id };
        around.sent.push((target, number, Request::Control(ControlRequest::Command(renew))));
    }

    /// Whether an answer is that to a renewal; if so, it is taken in.
    pub(super) fn renewed(&mut self, number: u64, reply: &Reply, around: &mut Around<'_>) -> bool {
        let Some(held) = &mut self.held else { return false };
        let Some((_, sent)) = held.renewing.take_if(|(renewing, _)| *renewing == number) else { return false };
        match reply {
            Reply::Control(ControlReply::Applied(Ok(_))) => {
                held.renewed = sent;
                held.chunks.roll(epoch_time(around.now, around.knobs));
            }
            Reply::Control(ControlReply::Applied(Err(ControlRefusal::NoSuchSession))) => {
                around.marks.hit(Mark::SessionLost);
                self.held = None;
            }
            Reply::NotLeader(hint) => {
                held.renew_at = around.now + PAUSE;
                let any = self.random.pick(self.map.voters(GroupId::CONTROL)).copied();
                self.control = hint.or(any).unwrap_or(self.control);
            }
            _ => held.renew_at = around.now + PAUSE,
        }
        true
    }

    /// What is to be done before an epoch that has ended can be closed, and its close.
    pub(super) fn housekeeping(&mut self) -> Option<Step> {
        let held = self.held.as_mut()?;
        if let Some((_, chunks)) = held.chunks.to_stage(held.stage_max) {
            return Some(Step::Stage(chunks));
        }
        held.stage_max = STAGE_CHUNKS;
        held.chunks.to_close().map(|(_, epoch)| Step::Close(epoch))
    }

    /// Chunks were staged or not. If one of several is refused the others must not suffer: each is tried alone.
    pub(super) fn staged(&mut self, chunks: &[(ChunkRef, u8)], taken: bool) {
        let Some(held) = &mut self.held else { return };
        if !taken && chunks.len() > 1 {
            held.stage_max = 1;
            return;
        }
        chunks.iter().for_each(|(chunk, _)| held.chunks.settle(chunk.id));
    }

    /// A chunk was committed or staged, or will certainly never be.
    pub(super) fn settle(&mut self, chunk: ChunkId) {
        if let Some(held) = &mut self.held {
            held.chunks.settle(chunk);
        }
    }

    /// The process ends, and another takes its place, which knows nothing of what was under way.
    pub fn dies(&mut self) {
        if self.op.take().is_some() {
            self.tally.unknown += 1;
        }
        self.held = None;
        self.root = None;
        self.seen.clear();
    }

    /// The session is given back; the next operation opens another.
    pub fn leaves(&mut self) {
        self.held = None;
    }
}
