//! Drives `chunk_core::write`: three puts side by side, and another placement group if one fails.

use crate::map::MapCache;
use crate::peer::Nodes;
use crate::session::{Session, Sessions, Writing};
use crate::{CallError, ChunkOwner, ClientConfig, WriteError, WrittenChunk};
use bytes::Bytes;
use chunk_core::View;
use chunk_core::session::{AllocateError, Allocation};
use chunk_core::write::{
    Alternative, Failure, PutAnswer, RewriteBudget, Write, WriteEvent, WriteFailure, WriteStep, WriteTimes,
    WriteVerdict,
};
use parking_lot::Mutex;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest};
use proto::rpc::Rejection;
use proto::{Reply, Request};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout_at};
use transport::{Class, TransportError};
use types::{
    Blake3Root, CHUNK_BYTES_MAX, ChunkId, ChunkRef, Member, Moment, PgId, PlacementGroup, PlacementMap, REPLICAS,
    RuleId,
};

/// Placement groups tried for one chunk because others failed it.
const REWRITES_MAX: usize = 3;
/// The same because the map was out of date.
const REFRESHES_MAX: usize = 30;
const REFRESH_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that may be written again at once.
const REWRITE_BYTES_MAX: u64 = 64 << 20;
/// How often it is looked whether the members that are waited for still live.
const LIVENESS_CHECK: Duration = Duration::from_millis(50);
/// How long a disk is avoided after it was full or broken, after it lagged, and while its node has no lease, which a node that was just started has within a
/// second or two.
const SHUN_FAILED: Duration = Duration::from_secs(10);
const SHUN_SLOW: Duration = Duration::from_secs(3);
const SHUN_NO_LEASE: Duration = Duration::from_secs(1);
/// How long a put goes on that nobody waits for any more: a copy made late need not be repaired.
const STRAGGLE: Duration = Duration::from_secs(2);

pub(crate) struct Writer {
    nodes: Arc<Nodes>,
    map: Arc<MapCache>,
    sessions: Arc<Sessions>,
    room: Arc<Semaphore>,
    rewrites: Mutex<RewriteBudget>,
    times: WriteTimes,
}

/// One chunk to be written, wherever.
struct Job {
    owner: ChunkOwner,
    data: Bytes,
    root: Blake3Root,
    /// Given back when the last put is over, waited for or not.
    room: Arc<OwnedSemaphorePermit>,
    until: Instant,
}

impl Writer {
    pub(crate) fn new(nodes: Arc<Nodes>, map: Arc<MapCache>, sessions: Arc<Sessions>, config: &ClientConfig) -> Self {
        let room = (config.write_bytes_max as usize).max(CHUNK_BYTES_MAX);
        let lag = config.write_lag.as_millis() as u64;
        Writer {
            nodes,
            map,
            sessions,
            room: Arc::new(Semaphore::new(room)),
            rewrites: Mutex::new(RewriteBudget::new(REWRITE_BYTES_MAX)),
            times: WriteTimes { lag, ..WriteTimes::default() },
        }
    }

    pub(crate) async fn write(
        &self,
        owner: ChunkOwner,
        data: Bytes,
        until: Instant,
    ) -> Result<WrittenChunk, WriteError> {
        if data.is_empty() || data.len() > CHUNK_BYTES_MAX {
            return Err(WriteError::Invalid);
        }
        let room = self.room.clone().acquire_many_owned(data.len() as u32);
        let room = timeout_at(until, room).await.map_err(|_| WriteError::Busy)?.map_err(|_| WriteError::Busy)?;
        // Once for all copies; the plain hash of the whole is the root of its leaves.
        let root = types::root_of(&data, &[]);
        let job = Job { owner, data, root, room: Arc::new(room), until };
        self.rewrites.lock().earn(job.data.len() as u64);
        let mut tried = Vec::new();
        let mut refreshes = 0;
        loop {
            let session = self.sessions.get(until).await.map_err(session_error)?;
            let map = self.map_with(job.owner, until).await?;
            let (chunk, writing, verdict) = self.attempt(&job, &session, &map, &mut tried).await?;
            match verdict {
                WriteVerdict::Done { missing } => {
                    let chunk = ChunkRef { id: chunk, len: job.data.len() as u32, root };
                    writing.written(chunk, missing);
                    return Ok(WrittenChunk { chunk, missing });
                }
                WriteVerdict::Elsewhere { refresh } => {
                    drop(writing);
                    if !refresh {
                        self.rewrites.lock().spend(job.data.len() as u64);
                        continue;
                    }
                    refreshes += 1;
                    tried.clear();
                    let refreshed = timeout_at(until, self.map.refresh()).await;
                    if refreshes > REFRESHES_MAX || refreshed.is_err() {
                        return Err(WriteError::Unavailable);
                    }
                    sleep_until((Instant::now() + REFRESH_PAUSE).min(until)).await;
                }
                WriteVerdict::Failed(failure) => {
                    drop(writing);
                    return Err(failure_error(failure));
                }
                WriteVerdict::Pending(_) => unreachable!("an attempt comes to an end"),
            }
        }
    }

    /// The map; a newer one if this one does not know the rule of the owner, which may just have been made.
    async fn map_with(&self, owner: ChunkOwner, until: Instant) -> Result<Arc<PlacementMap>, WriteError> {
        let wait = || async { timeout_at(until, self.map.wait()).await.map_err(|_| WriteError::Unavailable) };
        let map = wait().await?;
        if map.has_rule(map.rule_of_bucket(owner.bucket, owner.rule)) {
            return Ok(map);
        }
        let _ = timeout_at(until, self.map.refresh()).await;
        wait().await
    }

    /// Writes the chunk into one placement group, under an id of its own.
    async fn attempt(
        &self,
        job: &Job,
        session: &Arc<Session>,
        map: &PlacementMap,
        tried: &mut Vec<PgId>,
    ) -> Result<(ChunkId, Writing, WriteVerdict), WriteError> {
        let view = self.nodes.view(map);
        // One that the newest map does not have was taken away, and the bucket has another by now.
        let rule = Some(map.rule_of_bucket(job.owner.bucket, job.owner.rule)).filter(|rule| map.has_rule(*rule));
        let rule = rule.unwrap_or(RuleId::DEFAULT);
        let whose = (job.owner.group, rule);
        let allocated = session.chunks.lock().allocate(self.sessions.now(), whose, map, &view, tried);
        let Allocation { chunk, group, .. } = match allocated {
            Ok(allocation) => allocation,
            Err(AllocateError::NoSlots) => return Err(WriteError::Unavailable),
            Err(AllocateError::Exhausted) => {
                self.sessions.ended(session.id);
                return Err(WriteError::SessionClosed);
            }
        };
        // Whoever drops the write gives the id up.
        let writing = Writing::new(session.clone(), chunk);
        tried.push(group);
        let Some(group) = map.groups.iter().find(|placed| placed.id == group && placed.members.len() == REPLICAS)
        else {
            return Err(WriteError::Unavailable);
        };
        let takers = group.takers().collect();
        let puts = JoinSet::new();
        let mut attempt = Attempt { writer: self, job, map, view, group, takers, chunk, tried, puts };
        let verdict = attempt.run().await;
        Ok((chunk, writing, verdict))
    }

    /// Remembers which disks did badly.
    fn shun(&self, takers: &[Member], write: &Write) {
        for (member, failure) in write.failures() {
            let member = &takers[member];
            match failure {
                Failure::NoSpace | Failure::Broken => self.nodes.shun(member.node, member.disk, SHUN_FAILED),
                Failure::NoLease => self.nodes.shun(member.node, member.disk, SHUN_NO_LEASE),
                // Others will find the same, and the connection's state says more.
                Failure::Down | Failure::Unreachable | Failure::Stale | Failure::Conflict | Failure::Invalid => {}
            }
        }
        // A write that ended for lack of an answer alone was held up by those who did not give one.
        if write.failures().next().is_none() {
            for member in write.lagging() {
                let member = &takers[member];
                self.nodes.shun(member.node, member.disk, SHUN_SLOW);
            }
        }
    }
}

struct Attempt<'a> {
    writer: &'a Writer,
    job: &'a Job,
    map: &'a PlacementMap,
    view: View,
    group: &'a PlacementGroup,
    /// The members, and then the disk that a move brings in.
    takers: Vec<Member>,
    chunk: ChunkId,
    tried: &'a [PgId],
    puts: JoinSet<(usize, PutAnswer)>,
}

impl Attempt<'_> {
    async fn run(&mut self) -> WriteVerdict {
        let beliefs = self.view.beliefs(&self.takers);
        let (mut write, mut step) = Write::start(self.now(), beliefs, self.writer.times);
        let mut liveness = tokio::time::interval_at(Instant::now() + LIVENESS_CHECK, LIVENESS_CHECK);
        liveness.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            for member in step.ask {
                self.put(member);
            }
            let wake = match step.verdict {
                WriteVerdict::Pending(wake) => wake,
                verdict => return self.finish(&write, verdict),
            };
            let wake = wake.map_or(self.job.until, |wake| self.instant(wake).min(self.job.until));
            step = tokio::select! {
                Some(joined) = self.puts.join_next() => {
                    // A put that panicked has said nothing; it is found by its silence.
                    let event = joined.map_or(WriteEvent::Tick, |(member, answer)| WriteEvent::Answer(member, answer));
                    self.step(&mut write, event)
                }
                () = sleep_until(wake) => {
                    if Instant::now() >= self.job.until {
                        let verdict = write.expire(self.alternative(&write));
                        return self.finish(&write, verdict);
                    }
                    self.step(&mut write, WriteEvent::Tick)
                }
                _ = liveness.tick() => self.check_liveness(&mut write),
            };
        }
    }

    fn step(&self, write: &mut Write, event: WriteEvent) -> WriteStep {
        write.step(self.now(), |write| self.alternative(write), event)
    }

    /// Tells the write which of the members it waits for have stopped to answer.
    fn check_liveness(&self, write: &mut Write) -> WriteStep {
        let nodes = &self.writer.nodes;
        let waiting: Vec<usize> = write.unanswered().collect();
        let newly_down = |member: &usize| {
            let node = self.takers[*member].node;
            !self.view.down.contains(&node) && nodes.is_down(Some(self.map), node)
        };
        let mut last = None;
        for member in waiting.into_iter().filter(newly_down) {
            let step = self.step(write, WriteEvent::Down(member));
            let over = !matches!(step.verdict, WriteVerdict::Pending(_));
            let earlier = last.take().map(|step: WriteStep| step.ask).unwrap_or_default();
            last = Some(WriteStep { ask: [earlier, step.ask].concat(), ..step });
            if over {
                break;
            }
        }
        last.unwrap_or_else(|| self.step(write, WriteEvent::Tick))
    }

    /// Whether the chunk could as well be written elsewhere: without a member that it cannot be had on here.
    fn alternative(&self, write: &Write) -> Alternative {
        let mut view = self.writer.nodes.view(self.map);
        write.lacking(self.now()).for_each(|(member, blame)| view.avoid(&self.takers[member], blame));
        if self.tried.len() > REWRITES_MAX || !view.has_full_group(self.map, self.group.rule, self.tried) {
            return Alternative::None;
        }
        let mut budget = self.writer.rewrites.lock();
        budget.fill(self.now());
        if budget.affords(self.job.data.len() as u64) { Alternative::Ready } else { Alternative::TooCostly }
    }

    /// Lets puts that nobody waits for go on for a while if the chunk stays where it is; otherwise they are cut off.
    fn finish(&mut self, write: &Write, verdict: WriteVerdict) -> WriteVerdict {
        self.writer.shun(&self.takers, write);
        if let WriteVerdict::Done { missing } = verdict {
            if missing != 0 {
                tracing::debug!(chunk = %self.chunk, missing, "a copy is missing");
            }
            if !self.puts.is_empty() {
                self.let_straggle(write);
            }
        }
        verdict
    }

    /// Lets the puts go on for a while. A disk that has not answered then as well is not waited for any longer than until now.
    fn let_straggle(&mut self, write: &Write) {
        let mut puts = std::mem::take(&mut self.puts);
        let late: Vec<Member> = write.unanswered().map(|member| self.takers[member]).collect();
        let (nodes, lag) = (self.writer.nodes.clone(), Duration::from_millis(self.writer.times.lag));
        tokio::spawn(async move {
            let over = Instant::now() + STRAGGLE.max(lag);
            let mut all = pin!(async { while puts.join_next().await.is_some() {} });
            if timeout_at(Instant::now() + lag, &mut all).await.is_err() {
                late.iter().for_each(|member| nodes.shun(member.node, member.disk, SHUN_SLOW));
                let _ = timeout_at(over, all).await;
            }
        });
    }

    fn put(&mut self, member: usize) {
        let node = self.takers[member].node;
        let (chunk, epoch, root) = (self.chunk, self.group.epoch, self.job.root);
        let (data, room) = (self.job.data.clone(), self.job.room.clone());
        let deadline = self.job.until.saturating_duration_since(Instant::now());
        let own = self.writer.nodes.own(node).cloned();
        let peer = self.writer.nodes.peer(Some(self.map), node);
        self.puts.spawn(async move {
            let answer = match (own, peer) {
                (Some(disks), _) => {
                    disks.put(chunk, epoch, root, data).await.map_or_else(PutAnswer::Refused, |()| PutAnswer::Stored)
                }
                (None, Some(peer)) => {
                    let request = Request::Chunk(ChunkRequest::Put { chunk, epoch, root });
                    put_answer(peer.call(Class::Bulk, &request, data, deadline).await)
                }
                (None, None) => PutAnswer::Unreachable,
            };
            drop(room);
            (member, answer)
        });
    }

    fn now(&self) -> Moment {
        self.writer.sessions.now()
    }

    fn instant(&self, moment: Moment) -> Instant {
        // A millisecond more, so that the moment has come by the clock that counts in milliseconds.
        Instant::now() + Duration::from_millis(moment.0.saturating_sub(self.now().0) + 1)
    }
}

fn put_answer(called: Result<(Reply, Bytes), TransportError>) -> PutAnswer {
    match called {
        Ok((Reply::Chunk(Ok(ChunkReply::Stored)), _)) => PutAnswer::Stored,
        Ok((Reply::Chunk(Err(error)), _)) => PutAnswer::Refused(error),
        Err(TransportError::Rejected(Rejection::Busy)) => PutAnswer::Refused(ChunkError::Busy),
        Err(TransportError::NotSent) => PutAnswer::Unreachable,
        Err(TransportError::Lost) => PutAnswer::Lost,
        Err(TransportError::Deadline) => PutAnswer::TimedOut,
        Ok(_) | Err(TransportError::Rejected(_) | TransportError::Malformed) => PutAnswer::Rejected,
    }
}

fn failure_error(failure: WriteFailure) -> WriteError {
    match failure {
        WriteFailure::Unavailable => WriteError::Unavailable,
        WriteFailure::Busy => WriteError::Busy,
        WriteFailure::NoSpace => WriteError::NoSpace,
        WriteFailure::Invalid => WriteError::Invalid,
    }
}

fn session_error(error: CallError) -> WriteError {
    match error {
        CallError::Unavailable | CallError::Unknown => WriteError::Unavailable,
        CallError::TooLarge | CallError::Rejected(_) | CallError::Level { .. } => WriteError::SessionClosed,
    }
}
