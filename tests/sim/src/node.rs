//! A storage node: a replica of each group it votes in and a store of chunks, over disks that outlive its processes.

use crate::bug::Bug;
use crate::chunks::{ChunkStore, Cut};
use crate::control::Leases;
use crate::disk::{Crash, Disk};
use crate::duty::{Duties, Duty, Here};
use crate::errand::Errand;
use crate::event::{Life, Millis};
use crate::lease::Lease;
use crate::liveness::Liveness;
use crate::message::Waiter;
use crate::random::Random;
use crate::replica::{GROUPS, Replica, Start};
use crate::script::Knobs;
use raft_core::Members;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::{
    ChunkId, ChunkRef, GroupId, Incarnation, Moment, NodeId, PgEpoch, PgId, PlacementMap, ReplicaId, Term, Timestamp,
};

/// How fast steady clocks run, in percent. The guard of a leader's voters allows for a quarter of difference.
const STEADY_PERCENT: (u64, u64) = (90, 110);

/// The placement group and the epoch that a put was taken under: what a barrier waits for.
pub type Counted = (PgId, PgEpoch);

/// A copy that is being stored.
#[derive(Clone, Copy)]
pub struct Put {
    /// Who wanted it; nobody if the node did itself.
    pub waiter: Option<Waiter>,
    /// What it is counted under; nothing if the node writes anew what it had.
    pub counted: Option<Counted>,
}

/// A copy that is being fetched.
pub struct Fetch {
    /// What.
    pub chunk: ChunkRef,
    /// Who is asked after the one that is being asked.
    pub sources: Vec<NodeId>,
    /// Who wanted it, and under which epoch.
    pub put: Put,
}

/// How long something lasts.
#[derive(Default)]
pub struct Troubles {
    /// Flushes are slow until then.
    pub slow: Millis,
    /// The process stands still until then.
    pub paused: Millis,
    /// There is no room for chunks until then.
    pub full: Millis,
    /// Chunks cannot be read until then.
    pub unreadable: Millis,
    /// The disk of the chunks answers nothing until a new process has looked at it.
    pub dead: bool,
    /// Flushes are lies until then.
    pub lying: Millis,
    /// There were such flushes, and none since that was honest.
    pub lied: bool,
    /// The clock runs at `drift` percent until then.
    pub drifting: Millis,
    /// See `drifting`.
    pub drift: u64,
    /// The next flush fails.
    pub flush_fails: bool,
    /// The next chunk is lost.
    pub loses_next: bool,
    /// The power goes while the next chunk is written.
    pub tears_next: bool,
    /// The next chunk is written over another.
    pub misdirects_next: bool,
}

/// The place of a node in a group.
#[derive(Default)]
pub struct Seat {
    /// Its process's replica, if it runs and the node votes in the group.
    pub replica: Option<Replica>,
    /// The disk of the replica.
    pub disk: Disk,
    /// When the log's last queued write will be flushed: they are flushed one after the other.
    pub log_busy_until: Millis,
    /// A leader has spoken to a newer replica of this node: whether this one was let go has to be asked.
    pub doubted: bool,
}

/// A node.
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Whether its process runs; one without a vote has no replica.
    pub runs: bool,
    /// Its places in all groups.
    pub seats: BTreeMap<GroupId, Seat>,
    /// Leases of sessions, as long as it leads the control group.
    pub leases: Leases,
    /// Counts its processes.
    pub life: Life,
    /// Its chunks.
    pub chunks: ChunkStore,
    /// Puts whose chunk is being flushed.
    pub storing: BTreeMap<ChunkId, Vec<Put>>,
    /// Copies it lacks and should have: put aside by a scrub.
    pub wanted: BTreeMap<ChunkId, ChunkRef>,
    /// Copies that are being fetched, by the number of the call.
    pub fetches: BTreeMap<u64, Fetch>,
    /// What it does of its own accord.
    pub duties: Duties,
    /// What it has asked others for that.
    pub errands: BTreeMap<Duty, Errand>,
    /// The placement map it knows.
    pub map: Arc<PlacementMap>,
    /// Whether its process has heard of any; before that it takes nothing.
    pub informed: bool,
    /// Calls for a map.
    pub looks: BTreeSet<u64>,
    /// Until when it takes changes.
    pub lease: Lease,
    /// Heartbeats that are not answered, and when they were sent.
    pub beats: BTreeMap<u64, Millis>,
    /// What it has heard of others, as a voter of the control group.
    pub liveness: Liveness,
    /// The version of the map that it decides by as the leader of the control group in a term.
    pub decided_by: Option<(Term, u64)>,
    /// Machine and disk are gone for good.
    pub gone: bool,
    /// What is wrong with it.
    pub troubles: Troubles,
    /// How far its wall clock is ahead.
    pub clock_ahead: i64,
    /// How fast its steady clock runs, in percent.
    steady: u64,
    /// Milliseconds by which its wall clock moves on in a simulated one.
    pace: u64,
    /// Chance of its own.
    pub random: Random,
    calls: u64,
    /// The power went: the next start trusts its promises only after it has caught up.
    distrust: bool,
    /// What it knows of the map when its process begins: where everybody was once.
    first: Arc<PlacementMap>,
}

impl Node {
    /// A node with empty disks, not running.
    #[must_use]
    pub fn new(id: NodeId, map: Arc<PlacementMap>, pace: u64, mut random: Random) -> Self {
        Node {
            id,
            runs: false,
            seats: GROUPS.into_iter().map(|group| (group, Seat::default())).collect(),
            leases: Leases::default(),
            life: Life(0),
            chunks: ChunkStore::default(),
            storing: BTreeMap::new(),
            wanted: BTreeMap::new(),
            fetches: BTreeMap::new(),
            duties: Duties::default(),
            errands: BTreeMap::new(),
            first: map.clone(),
            map,
            informed: false,
            looks: BTreeSet::new(),
            lease: Lease::default(),
            beats: BTreeMap::new(),
            liveness: Liveness::default(),
            decided_by: None,
            gone: false,
            troubles: Troubles::default(),
            clock_ahead: 0,
            steady: random.between(STEADY_PERCENT.0, STEADY_PERCENT.1),
            pace,
            random,
            calls: 0,
            distrust: false,
        }
    }

    /// Its replica of a group, if it has one that runs.
    #[must_use]
    pub fn replica(&self, group: GroupId) -> Option<&Replica> {
        self.seats.get(&group)?.replica.as_ref()
    }

    /// The same.
    pub fn replica_mut(&mut self, group: GroupId) -> Option<&mut Replica> {
        self.seats.get_mut(&group)?.replica.as_mut()
    }

    /// Starts its process from what is on the disk: the replicas that are there, and those that groups begin with here. `true` if its replicas do
    /// not vote yet.
    pub fn start(&mut self, now: Millis, seed: u64, bug: Option<Bug>, knobs: Knobs) -> bool {
        self.life = Life(self.life.0 + 1);
        self.runs = true;
        self.troubles.dead = false;
        for (group, seat) in &mut self.seats {
            let (founders, durable) = (self.first.voters(*group), seat.disk.durable());
            if founders.contains(&self.id) && durable.replica.is_none() && durable.former.is_none() {
                seat.disk.found(ReplicaId::founding(self.id), Members::founding(founders.iter().copied()));
            }
        }
        let mut votes = false;
        for group in GROUPS {
            votes |= self.start_replica(now, group, (seed, self.distrust), bug, knobs);
        }
        self.distrust && votes
    }

    /// Starts the replica of a group that is on the disk, if there is one; whether it may have forgotten promises is said beside the seed.
    pub fn start_replica(
        &mut self,
        now: Millis,
        group: GroupId,
        (seed, distrust): (u64, bool),
        bug: Option<Bug>,
        knobs: Knobs,
    ) -> bool {
        let (node, life, now) = (self.id, self.life, self.steady(now));
        let Some(seat) = self.seats.get_mut(&group).filter(|seat| seat.disk.durable().replica.is_some()) else {
            return false;
        };
        let seed = seed ^ (node.0 << 32) ^ life.0 ^ (u64::from(group.0) << 48);
        let start = Start { of: group, node, seed, now, distrust, bug, knobs };
        seat.replica = Some(Replica::start(&start, &seat.disk));
        true
    }

    /// Its replicas, as the groups know them.
    #[must_use]
    pub fn memberships(&self) -> Vec<Here> {
        let of = |(group, seat): (&GroupId, &Seat)| {
            let replica = seat.replica.as_ref()?;
            let members = replica.members();
            let mut voters: Vec<NodeId> =
                members.all().filter(|id| members.is_voter(*id)).map(ReplicaId::node).collect();
            voters.sort_unstable();
            let leads = replica.leads().is_some();
            let at = replica.state().1.index;
            Some(Here { group: *group, replica: replica.id(), leads, doubted: seat.doubted, voters, at })
        };
        self.seats.iter().filter_map(of).collect()
    }

    /// Lets a replica go that its group does not name any more.
    pub fn let_go(&mut self, group: GroupId, replica: ReplicaId, bug: Option<Bug>) -> bool {
        let here = self.replica(group).is_some_and(|here| here.id() == replica);
        let Some(seat) = self.seats.get_mut(&group).filter(|_| here) else { return false };
        seat.replica = None;
        (seat.doubted, seat.log_busy_until) = (false, 0);
        if bug != Some(Bug::LetGoComesBack) {
            seat.disk.let_go();
        }
        here
    }

    /// Ends its process; of the chunk `tear`, which is being written, a part is left. Returns what became of its chunks, and whether its log's disk had promised more than there is.
    pub fn crash(&mut self, crash: Crash, tear: Option<ChunkId>, random: &mut Random) -> (Cut, bool) {
        // The note that its promises can be trusted is left once no replica is in quarantine any more.
        let quarantined = self.seats.values().filter_map(|seat| seat.replica.as_ref()).any(Replica::is_quarantined);
        self.distrust &= quarantined || !self.runs;
        let mut forgot = false;
        for seat in self.seats.values_mut() {
            if let Some(replica) = seat.replica.take() {
                forgot |= replica.crash(crash, &mut seat.disk, random);
            }
            (seat.log_busy_until, seat.doubted) = (0, false);
        }
        self.leases = Leases::default();
        (self.lease, self.liveness, self.decided_by) = (Lease::default(), Liveness::default(), None);
        (self.map, self.informed) = (self.first.clone(), false);
        self.looks.clear();
        self.beats.clear();
        let cut = match crash {
            Crash::Power => self.chunks.power_cut(tear, random),
            Crash::Kill | Crash::Flush => {
                self.chunks.kill();
                Cut::default()
            }
        };
        self.runs = false;
        self.life = Life(self.life.0 + 1);
        self.troubles.paused = 0;
        (self.troubles.flush_fails, self.troubles.tears_next) = (false, false);
        self.storing.clear();
        self.fetches.clear();
        self.errands.clear();
        self.duties = Duties::default();
        self.distrust |= crash == Crash::Power;
        (cut, forgot)
    }

    /// Its disk is replaced by an empty one, and nobody takes note.
    pub fn wipe(&mut self) {
        self.seats.values_mut().for_each(|seat| seat.disk.wipe());
        self.chunks.wipe();
        self.wanted.clear();
        self.distrust = false;
    }

    /// Counts its starts.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.life.0)
    }

    /// The version of the map that it decides by, if it leads the control group and has begun to.
    #[must_use]
    pub fn decides_by(&self) -> Option<u64> {
        let leads = self.replica(GroupId::CONTROL)?.leads()?;
        self.decided_by.filter(|(term, _)| *term == leads).map(|(_, version)| version)
    }

    /// Whether no put of an epoch of the group below `epoch` is in progress.
    #[must_use]
    pub fn is_drained(&self, pg: PgId, epoch: PgEpoch) -> bool {
        let storing = self.storing.values().flatten().filter_map(|put| put.counted);
        let fetching = self.fetches.values().filter_map(|fetch| fetch.put.counted);
        !storing.chain(fetching).any(|(of, under)| of == pg && under < epoch)
    }

    /// Takes up a map, unless it is older than the one it knows.
    pub fn hears(&mut self, map: &Arc<PlacementMap>) {
        if map.version > self.map.version {
            self.map = map.clone();
        }
        self.informed = true;
        self.lease.knows(self.map.version);
    }

    /// The number of its next call.
    pub fn next_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// Whether its disk lies now.
    #[must_use]
    pub fn lies(&self, now: Millis) -> bool {
        now < self.troubles.lying
    }

    /// Its steady clock. What troubles its ticks does not touch it.
    #[must_use]
    pub fn steady(&self, now: Millis) -> Moment {
        Moment(now * self.steady / 100)
    }

    /// Its wall clock.
    #[must_use]
    pub fn clock(&self, now: Millis) -> Timestamp {
        Timestamp(((now * self.pace) as i64 + self.clock_ahead) * 1_000_000)
    }

    /// How long its next tick takes.
    pub fn tick_time(&mut self, now: Millis, tick: Millis) -> Millis {
        // Clocks run up to a tenth too fast or too slow, and far more in trouble.
        let exact = if now < self.troubles.drifting { tick * self.troubles.drift / 100 } else { tick };
        self.random.between(exact * 9 / 10, exact * 11 / 10).max(1)
    }

    /// How long a flush takes now.
    pub fn flush_time(&mut self, now: Millis) -> Millis {
        let slow = if now < self.troubles.slow { self.random.between(50, 400) } else { 0 };
        self.random.between(1, 6) + slow
    }
}
