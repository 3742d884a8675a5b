//! A run as data, drawn from its seed: how the cluster is set up, which faults happen, which operations the clients do.
//!
//! Being data it can be made shorter ([`crate::shrink()`]) and printed.

use crate::bug::Bug;
use crate::event::Millis;
use crate::fault::{Fault, PlannedFault};
use crate::operation::{Operation, PlannedOperation};
use crate::random::Random;
use std::fmt;

/// When the first fault may come: the cluster has a leader by then.
const FAULTS_FROM: Millis = 2_500;
/// When the last fault may come.
const FAULTS_UNTIL: Millis = 34_000;
/// How long a run waits after its last fault and operation before everything is healed: most of what they began has ended.
const AFTERMATH: Millis = 6_000;
/// Planned faults; a few of them find nothing to break.
const FAULTS: (u64, u64) = (11, 21);
/// Faults that are made in a run at least: a quieter one proves little.
pub(crate) const FAULTS_MIN: u64 = 5;
/// When two of three voters may be lost for good: there is something to lose, and time to see what comes of it.
const MAJORITY: (Millis, Millis) = (7_000, 22_000);
/// In how many of a thousand runs that is planned, and of how many nodes it takes: three in as many failure domains have to be left.
const MAJORITY_CHANCE: u64 = 350;
const MAJORITY_NODES_MIN: u64 = 5;
/// How long a fault lasts.
const LENGTHS: (Millis, Millis) = (200, 6_000);
/// Ticks after which a leader that does not hear a majority has noticed it, and how slowly its clock may run then.
const DEPOSED_TICKS_MAX: u64 = 20;
const SLOWEST_PERCENT: u64 = 275;
/// Clients.
pub const CLIENTS: u64 = 6;
/// A day, in seconds.
const DAY_SECS: u64 = 86_400;
/// Operations of each client.
const OPERATIONS: u64 = 86;

/// What differs from run to run and is no fault: sizes, limits and times that the real system has fixed or configurable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// Nodes; three of them vote in a group.
    pub nodes: u64,
    /// Failure domains they stand in, at least three.
    pub domains: u64,
    /// Length of a Raft tick; an election takes 10 to 20 of them.
    pub tick: Millis,
    /// Messages lost, in a thousand.
    pub loss: u64,
    /// Messages that arrive twice, in a thousand.
    pub twice: u64,
    /// Slowest ordinary message.
    pub delay_max: Millis,
    /// Messages that are much later than others, in a thousand.
    pub late: u64,
    /// Entries after which the state is flushed and the log cut.
    pub log_entries: u64,
    /// Commands in one log entry.
    pub batch_commands: usize,
    /// Entries in the log and not yet durable, beyond which commands gather.
    pub undurable_entries: u64,
    /// Longest chunk.
    pub chunk_bytes: usize,
    /// When a reader asks a second member.
    pub hedge: Millis,
    /// How far a member may lag before a writer goes elsewhere.
    pub lag: Millis,
    /// Between two scrubs of a node.
    pub scrub: Millis,
    /// The one node whose disk may lie, counted from 0.
    pub liar: u64,
    /// Milliseconds by which wall clocks move on in a simulated one: days of trash and of grace pass within a run.
    pub pace: u64,
    /// How long a session lives without being renewed.
    pub lease: Millis,
    /// Clients do not look at their own clock before they use a session: they were paused just behind that look.
    pub heedless: bool,
    /// How long ids are made in one writer epoch.
    pub epoch: Millis,
    /// How long readers may go on reading what was deleted.
    pub grace: Millis,
    /// Between two rounds of a leader that collects garbage or keeps the trash.
    pub collect: Millis,
    /// Between two looks of a node for orphans.
    pub sweep: Millis,
    /// How long the trash keeps files, in seconds of wall time.
    pub window_secs: u64,
    /// Whether everything is deleted and purged at the end.
    pub empties: bool,
    /// Between two heartbeats of a node, and two looks of the leader at who is alive.
    pub beat: Millis,
    /// How long a node takes changes after the sending of a heartbeat that the leader of the control group answered.
    pub hold: Millis,
    /// Seconds a node may be down before its copies are made anew.
    pub out_secs: u32,
    /// How old the map of a client may be when an operation begins.
    pub poll: Millis,
    /// Between two rounds of whoever drives moves, and of a node that fills its disk for one.
    pub drive: Millis,
}

impl Knobs {
    fn draw(random: &mut Random) -> Knobs {
        let nodes = *random.pick(&[3, 3, 4, 5, 5, 5, 6, 6]).expect("eight");
        Knobs {
            nodes,
            domains: random.between(3, nodes + 1),
            tick: random.between(60, 140),
            loss: random.below(60),
            twice: random.below(80),
            delay_max: random.between(2, 20),
            late: random.below(20),
            log_entries: random.between(6, 120),
            batch_commands: *random.pick(&[1, 2, 8, 256]).expect("four"),
            undurable_entries: random.between(1, 5),
            chunk_bytes: *random.pick(&[1, 16, 200, 600, 600, 2000, 70_000]).expect("seven"),
            hedge: random.between(10, 300),
            lag: random.between(200, 1200),
            scrub: random.between(2_000, 12_000),
            liar: random.below(nodes),
            pace: *random.pick(&[1, 1_000, 4_000, 10_000]).expect("four"),
            lease: random.between(1_500, 6_000),
            heedless: random.chance(500),
            epoch: random.between(3_000, 20_000),
            grace: random.below(3_000),
            collect: random.between(300, 2_000),
            sweep: random.between(1_500, 5_000),
            window_secs: *random.pick(&[3_600, DAY_SECS, 2 * DAY_SECS, 7 * DAY_SECS]).expect("four"),
            empties: random.chance(400),
            beat: random.between(300, 600),
            hold: random.between(2_000, 4_500),
            out_secs: random.between(2, 7) as u32,
            poll: *random.pick(&[1_000, 3_000, 20_000]).expect("three"),
            drive: random.between(300, 700),
        }
    }

    /// For how many heartbeats the leader has to hear nothing of a node until it may believe that the node's lease is over: the lease, the
    /// time for which a leader that was replaced may still answer (its clock may run slowly, and it may have stood still), and a second.
    #[must_use]
    pub fn lease_over(&self) -> u64 {
        let replaced = DEPOSED_TICKS_MAX * self.tick * SLOWEST_PERCENT / 100 + LENGTHS.1;
        (self.hold + replaced + 1_000).div_ceil(self.beat * 9 / 10)
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Where it was drawn from; streams of chance within the run come from it too.
    pub seed: u64,
    /// A planted mistake.
    pub bug: Option<Bug>,
    /// Sizes, limits and times.
    pub knobs: Knobs,
    /// What goes wrong, by time.
    pub faults: Vec<PlannedFault>,
    /// What the clients do, by time.
    pub operations: Vec<PlannedOperation>,
}

impl Script {
    /// The run of a seed.
    #[must_use]
    pub fn draw(seed: u64, bug: Option<Bug>) -> Script {
        let root = Random::new(seed);
        let knobs = Knobs::draw(&mut root.fork(1));
        let mut faults = draw_faults(&mut root.fork(2), &knobs, bug);
        if let Some(majority) = draw_majority(&mut root.fork(6), &knobs, bug) {
            // What a disk forgot may be nowhere else, and a third machine would be one too many.
            faults.retain(|fault| !matches!(fault.fault, Fault::LyingDisk | Fault::Loss));
            let place = faults.partition_point(|fault| fault.at <= majority.at);
            faults.insert(place, majority);
        }
        let operations = draw_operations(&mut root.fork(3), &knobs);
        Script { seed, bug, knobs, faults, operations }
    }

    /// When everything planned has begun.
    #[must_use]
    pub fn faults_end(&self) -> Millis {
        let last =
            self.faults.iter().map(|fault| fault.at).chain(self.operations.iter().map(|planned| planned.at)).max();
        last.unwrap_or(FAULTS_FROM).min(FAULTS_UNTIL)
    }

    /// When the storm is over and everything is healed.
    #[must_use]
    pub fn storm_ends(&self) -> Millis {
        self.faults_end() + AFTERMATH
    }
}

fn draw_faults(random: &mut Random, knobs: &Knobs, bug: Option<Bug>) -> Vec<PlannedFault> {
    let count = random.between(FAULTS.0, FAULTS.1);
    let one = |_| {
        let favoured = bug.map_or(&[][..], Bug::favours);
        let own = if random.chance(400) { random.pick(favoured).copied() } else { None };
        let own = own.filter(|fault| *fault != Fault::Majority);
        let fault = own.unwrap_or_else(|| Fault::draw(random));
        PlannedFault {
            at: random.between(FAULTS_FROM, FAULTS_UNTIL),
            fault,
            node: if fault == Fault::LyingDisk { knobs.liar } else { random.below(knobs.nodes) },
            length: random.between(LENGTHS.0, LENGTHS.1),
            dice: random.next(),
        }
    };
    let mut faults: Vec<PlannedFault> = (0..count).map(one).collect();
    faults.sort_by_key(|fault| fault.at);
    faults
}

/// A stream of its own: the other faults of a seed are what they were before this one was thought of.
fn draw_majority(random: &mut Random, knobs: &Knobs, bug: Option<Bug>) -> Option<PlannedFault> {
    let wanted = bug.map_or(random.chance(MAJORITY_CHANCE), |bug| bug.favours().contains(&Fault::Majority));
    (wanted && knobs.nodes >= MAJORITY_NODES_MIN).then(|| PlannedFault {
        at: random.between(MAJORITY.0, MAJORITY.1),
        fault: Fault::Majority,
        node: random.below(knobs.nodes),
        length: random.between(LENGTHS.0, LENGTHS.1),
        dice: random.next(),
    })
}

fn draw_operations(random: &mut Random, knobs: &Knobs) -> Vec<PlannedOperation> {
    let mut operations = Vec::new();
    for client in 0..CLIENTS {
        let mut at = 1_500;
        for _ in 0..OPERATIONS {
            // Bursts and rests, so that operations meet.
            at += if random.chance(100) { random.between(500, 2500) } else { random.between(1, 400) };
            let operation = Operation::draw(random, knobs.chunk_bytes);
            operations.push(PlannedOperation { number: operations.len() as u64 + 1, client, at, operation });
        }
    }
    operations.sort_by_key(|planned| (planned.at, planned.number));
    operations
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Script { seed, bug, knobs, faults, operations } = self;
        writeln!(f, "seed {seed}, planted {bug:?}, {knobs:?}")?;
        writeln!(f, "{} faults", faults.len())?;
        faults.iter().try_for_each(|fault| writeln!(f, "{fault}"))?;
        writeln!(f, "{} operations", operations.len())?;
        operations.iter().try_for_each(|operation| writeln!(f, "{operation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_plans_five_hundred_operations_and_more_than_five_faults() {
        for seed in 0..100 {
            let script = Script::draw(seed, None);
            assert_eq!(script, Script::draw(seed, None));
            assert!(script.operations.len() >= 500 && script.faults.len() > 5);
            assert!(script.faults.iter().all(|fault| fault.fault != Fault::Wipe && fault.node < script.knobs.nodes));
        }
    }
}
