//! What goes wrong: kinds, and one planned fault as data that says everything about it.

use crate::event::Millis;
use crate::random::Random;
use std::fmt;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process is killed and comes back.
    Kill,
    /// A machine loses power and comes back; what was not flushed may be gone.
    Power,
    /// All machines lose power at once.
    PowerAll,
    /// The power of a node goes while it writes a chunk, and of that some sectors are there.
    Torn,
    /// A process stands still for a while.
    Pause,
    /// Nothing passes from one node to another, one way or both.
    Cut,
    /// A node is cut off from all nodes, and sometimes from the clients.
    Isolate,
    /// Two nodes cannot talk, though all others reach both.
    Bridge,
    /// Nodes are cut off one after the other and come back in another order.
    Swizzle,
    /// Many messages are lost, doubled and late.
    Storm,
    /// A node's flushes take long.
    SlowDisk,
    /// A node has no room for chunks.
    FullDisk,
    /// A node cannot read its chunks.
    ReadError,
    /// A node's next flush of the log or of a chunk fails.
    FlushError,
    /// A disk says that it has flushed and has not; then its power goes.
    LyingDisk,
    /// Bytes of one copy of a chunk change.
    Rot,
    /// A node's next chunk is acknowledged and never written.
    LostWrite,
    /// A node's next chunk is written over another one.
    Misdirect,
    /// A node's wall clock jumps.
    ClockJump,
    /// A node's clock runs too fast or too slow.
    ClockDrift,
    /// A client stands still, often for longer than its session lives, and goes on as if nothing had happened.
    Silence,
    /// A client's process ends, and another begins where it was.
    ClientDies,
    /// A machine is lost for good, with its disks.
    Loss,
    /// An operator has a node emptied; and sometimes thinks better of it.
    Drain,
    /// The disk of a node's chunks answers nothing any more, and the node says so; a new process finds it well.
    DeadDisk,
    /// Two of the three voters of a group are lost for good, and an operator makes what the third has the only truth. Planned apart from all others.
    Majority,
    /// A node's disk is empty from now on; only with a planted mistake.
    Wipe,
}

impl Fault {
    /// All kinds that happen without a planted mistake.
    pub const ALL: [Fault; 26] = [
        Fault::Majority,
        Fault::Kill,
        Fault::Power,
        Fault::PowerAll,
        Fault::Torn,
        Fault::Pause,
        Fault::Cut,
        Fault::Isolate,
        Fault::Bridge,
        Fault::Swizzle,
        Fault::Storm,
        Fault::SlowDisk,
        Fault::FullDisk,
        Fault::ReadError,
        Fault::FlushError,
        Fault::LyingDisk,
        Fault::Rot,
        Fault::LostWrite,
        Fault::Misdirect,
        Fault::ClockJump,
        Fault::ClockDrift,
        Fault::Silence,
        Fault::ClientDies,
        Fault::Loss,
        Fault::Drain,
        Fault::DeadDisk,
    ];

    /// One of them, but for the first; those that stop everybody are rarer.
    #[must_use]
    pub fn draw(random: &mut Random) -> Fault {
        match *random.pick(&Self::ALL[1..]).expect("there are some") {
            Fault::PowerAll if random.chance(500) => Fault::Kill,
            drawn => drawn,
        }
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Power => "power cut",
            Fault::PowerAll => "power cut of all",
            Fault::Torn => "torn write",
            Fault::Pause => "pause",
            Fault::Cut => "cut",
            Fault::Isolate => "isolation",
            Fault::Bridge => "bridged partition",
            Fault::Swizzle => "swizzle",
            Fault::Storm => "storm of losses",
            Fault::SlowDisk => "slow disk",
            Fault::FullDisk => "full disk",
            Fault::ReadError => "read error",
            Fault::FlushError => "flush error",
            Fault::LyingDisk => "lying disk",
            Fault::Rot => "rot",
            Fault::LostWrite => "lost write",
            Fault::Misdirect => "misdirected write",
            Fault::ClockJump => "clock jump",
            Fault::ClockDrift => "clock drift",
            Fault::Silence => "silence of a client",
            Fault::ClientDies => "death of a client",
            Fault::Loss => "machine lost for good",
            Fault::Drain => "node emptied",
            Fault::DeadDisk => "dead disk",
            Fault::Majority => "two of three voters lost for good",
            Fault::Wipe => "wiped disk",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One fault as it is planned. Whatever else it needs is drawn from `dice`, so that it is the same whichever others are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedFault {
    /// When.
    pub at: Millis,
    /// What.
    pub fault: Fault,
    /// To which node, counted from 0; where it happens to a client, to that one.
    pub node: u64,
    /// For how long, where that means anything.
    pub length: Millis,
    /// Decides the rest.
    pub dice: u64,
}

impl fmt::Display for PlannedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PlannedFault { at, fault, node, length, dice } = self;
        write!(f, "{at:>6} ms  {fault} at node {} for {length} ms, dice {dice:#x}", node + 1)
    }
}
