//! The raft thread: owns all groups of this node, waits for events, performs what the groups ask for. It never does I/O.

use crate::boot_note::Note;
use crate::event::{Event, PersistedQueue};
use crate::group::GroupDriver;
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::replicas::ReplicaTask;
use crate::snapshots::Fetcher;
use crate::steady_clock;
use crate::writer::{WriteTask, fence};
use proto::raft_wire::RaftBatch;
use proto::rpc::GroupError;
use raft_core::{MessageKind, RaftMessage};
use raft_log::RaftLog;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use types::{GroupId, NodeId, ReplicaId, Timestamp};

/// Raft's unit of time.
const TICK: Duration = Duration::from_millis(100);
/// Ticks without an answer of the log's disk after which leadership of every group is handed over, and again after as many more. A disk that is
/// only busy answers within a second or two; one that hangs must not hold up groups whose other voters are well for longer than ten. Groups
/// with nothing to write go as well: all share one log, and the next write would wait.
const LOG_SILENT_TICKS_MAX: u64 = 50;
/// Events taken in one turn, so that ticks and messages are not starved.
const EVENTS_PER_TURN_MAX: usize = 1024;
/// Ticks between two looks at whether members have to change.
const CHANGE_TICKS: u64 = 2;

pub(crate) struct Driver {
    pub(crate) groups: BTreeMap<GroupId, GroupDriver>,
    pub(crate) events: Receiver<Event>,
    pub(crate) writer: Sender<WriteTask>,
    pub(crate) persisted: PersistedQueue,
    pub(crate) outbox: Outbox,
    pub(crate) log: Arc<RaftLog>,
    pub(crate) fetcher: Fetcher,
    /// To be left once no replica is in quarantine.
    pub(crate) note: Option<Note>,
    pub(crate) ticks: u64,
    pub(crate) node: NodeId,
    /// Who shall vote in the groups, from the newest map.
    pub(crate) wanted: BTreeMap<GroupId, Vec<NodeId>>,
    pub(crate) replicas: Sender<ReplicaTask>,
    /// Groups whose replica is being made or removed: nothing of them is touched until that is done.
    pub(crate) coming_or_going: BTreeSet<GroupId>,
    /// Ticks since the log has answered last, or had nothing to answer.
    pub(crate) log_silent_ticks: u64,
    pub(crate) pace: Pace,
}

impl Driver {
    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        let mut next_tick = Instant::now() + TICK;
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(wait) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return self.stop(),
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
            for _ in 0..EVENTS_PER_TURN_MAX {
                match self.events.try_recv() {
                    Ok(Event::Stop) => return self.stop(),
                    Ok(event) => self.take(event),
                    Err(_) => break,
                }
            }
            if Instant::now() >= next_tick {
                // One tick however late it is: ticks that were missed must not make this node campaign at once.
                self.tick();
                next_tick = Instant::now() + TICK;
            }
            self.note_persisted();
            for group in self.groups.values_mut() {
                group.notice_applied();
                group.feed(now, self.ticks);
                group.perform(&mut self.outbox, &self.writer);
            }
            self.outbox.flush();
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        for group in self.groups.values_mut() {
            group.tick(self.ticks);
        }
        if self.ticks.is_multiple_of(CHANGE_TICKS) {
            for (id, group) in &mut self.groups {
                if let Some(wanted) = self.wanted.get(id) {
                    group.change_members(wanted);
                }
            }
        }
        let awaits = self.groups.values().any(GroupDriver::awaits_log);
        self.log_silent_ticks = if awaits { self.log_silent_ticks + 1 } else { 0 };
        if awaits && self.log_silent_ticks.is_multiple_of(LOG_SILENT_TICKS_MAX) {
            tracing::warn!(ticks = self.log_silent_ticks, "the disk of the raft log does not answer");
            self.hand_over();
        }
        if self.groups.values().all(|group| !group.raft.is_quarantined())
            && let Some(note) = self.note.take()
        {
            self.fetcher.runtime.spawn_blocking(move || leave(&note));
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Raft { from, batch } => self.step(from, batch),
            Event::Propose { group, proposal } => match self.groups.get_mut(&group) {
                Some(driver) if driver.leads() => driver.proposals.push(proposal),
                Some(driver) => {
                    driver.shared.release(proposal.command.len());
                    let leader = driver.shared.leader();
                    let _ = proposal.reply.send(Err(GroupError::NotLeader { leader }));
                }
                None => drop(proposal.reply.send(Err(GroupError::NotHere))),
            },
            Event::Read { group, reply } => match self.groups.get_mut(&group) {
                Some(driver) if driver.leads() => driver.reads.push(reply, self.ticks),
                Some(driver) => {
                    let leader = driver.shared.leader();
                    let _ = reply.send(Err(GroupError::NotLeader { leader }));
                }
                None => drop(reply.send(Err(GroupError::NotHere))),
            },
            Event::Truncate { group, durable } => {
                if let Some(driver) = self.groups.get_mut(&group)
                    && let Err(error) = driver.cut_log(durable, &self.log)
                {
                    fence("the raft log cannot be cut", &error);
                }
            }
            Event::SnapshotFetched { group, message, fetched } => {
                if let Some(driver) = self.groups.get_mut(&group) {
                    driver.step_snapshot(*message, fetched, &mut self.outbox);
                }
            }
            Event::HandOver => self.hand_over(),
            Event::HandOverGroup(group) => self.groups.get_mut(&group).into_iter().for_each(GroupDriver::hand_over),
            Event::Wanted(wanted) => self.wanted = wanted,
            Event::ReplicaMade { group, driver } => {
                // What the log thread has noted of a former replica must not be taken for the new one's.
                self.note_persisted();
                self.coming_or_going.remove(&group);
                if let Some(driver) = driver {
                    self.groups.insert(group, *driver);
                }
            }
            Event::LetGo { group, replica } => self.let_go(group, replica),
            Event::Hashed { group, state } => {
                if let Some(driver) = self.groups.get_mut(&group) {
                    driver.raft.note_hash(state);
                }
            }
            Event::ReplicaGone { group } => {
                self.coming_or_going.remove(&group);
            }
            Event::Persisted | Event::Stop => {}
        }
    }

    fn note_persisted(&mut self) {
        let (now, mut slow) = (Instant::now(), false);
        for done in std::mem::take(&mut *self.persisted.lock()) {
            self.log_silent_ticks = 0;
            let Some(driver) = self.groups.get_mut(&done.group) else { continue };
            if let Some(last) = done.last
                && driver.leads()
            {
                slow |= self.pace.flushed(now, done.took, driver.raft.view().commit >= last);
            }
            driver.persisted(done.number, done.last);
        }
        if slow {
            tracing::warn!("the disk of the raft log is slower than those of the other voters");
            self.hand_over();
        }
    }

    /// Has others lead what this node leads.
    fn hand_over(&mut self) {
        self.groups.values_mut().filter(|group| group.leads()).for_each(GroupDriver::hand_over);
    }

    /// Messages of another node. What does not decode, or names a sender other than the certificate does, is dropped.
    fn step(&mut self, from: NodeId, batch: RaftBatch) {
        let now = steady_clock::now();
        for (group, bytes) in batch.messages {
            if self.coming_or_going.contains(&group) {
                continue;
            }
            let Ok(message) = RaftMessage::decode(&bytes) else { continue };
            if message.from.node() != from {
                continue;
            }
            let here = self.groups.get(&group).map(|driver| driver.raft.replica());
            if here.is_none_or(|here| here.life() < message.to.life()) {
                self.meet_stranger(group, here, &message);
                continue;
            }
            let Some(driver) = self.groups.get_mut(&group) else { continue };
            if here != Some(message.to) {
                continue;
            }
            if message.kind == MessageKind::Snapshot {
                if !driver.fetching {
                    driver.fetching = true;
                    self.fetcher.fetch(group, message);
                }
                continue;
            }
            driver.raft.step(message, now);
        }
    }

    /// A message to a replica that is not here. A leader only speaks to those that its group has taken in; but one node's word is not
    /// enough to remove anything, nor to make what the map does not want.
    fn meet_stranger(&mut self, group: GroupId, here: Option<ReplicaId>, message: &RaftMessage) {
        let leads = matches!(message.kind, MessageKind::Append | MessageKind::Heartbeat | MessageKind::Snapshot);
        if !leads || message.to.life().0 == 0 {
            return;
        }
        if here.is_some() {
            // Whether the former one was let go has to be asked. The new one is made at a later message.
            self.groups[&group].shared.doubted.store(true, Ordering::Relaxed);
        } else if self.wanted.get(&group).is_some_and(|wanted| wanted.contains(&self.node)) {
            self.coming_or_going.insert(group);
            let _ = self.replicas.send(ReplicaTask::Make { group, replica: message.to });
        }
    }

    fn let_go(&mut self, group: GroupId, replica: ReplicaId) {
        if self.groups.get(&group).is_none_or(|driver| driver.raft.replica() != replica) {
            return;
        }
        if let Some(driver) = self.groups.remove(&group) {
            self.coming_or_going.insert(group);
            driver.let_go(&self.writer);
        }
    }

    /// Tells everyone who waits; the threads behind the channels finish what they have and end.
    fn stop(mut self) {
        for group in self.groups.values_mut() {
            group.step_down(None);
        }
    }
}

fn leave(note: &Note) {
    if let Err(error) = note.leave() {
        tracing::warn!(%error, "the next start will be as careful as this one");
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(since.as_secs() as i64, since.subsec_nanos())
}
