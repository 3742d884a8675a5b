//! What goes wrong, and how often it did.

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
    /// A process stands still for a while.
    Pause,
    /// Nothing passes between two parties, one way or both.
    Cut,
    /// A node is cut off from everybody.
    Isolate,
    /// A node's flushes take long.
    SlowDisk,
    /// Bytes of one copy of a chunk change.
    Rot,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Fault; 8] = [
        Fault::Kill,
        Fault::Power,
        Fault::PowerAll,
        Fault::Pause,
        Fault::Cut,
        Fault::Isolate,
        Fault::SlowDisk,
        Fault::Rot,
    ];

    /// One of them; those that stop everybody are rarer.
    #[must_use]
    pub fn draw(random: &mut Random) -> Fault {
        let drawn = *random.pick(&Self::ALL).expect("there are some");
        if drawn == Fault::PowerAll && random.chance(500) { Fault::Kill } else { drawn }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Kill => "kill",
            Fault::Power => "power cut",
            Fault::PowerAll => "power cut of all",
            Fault::Pause => "pause",
            Fault::Cut => "cut",
            Fault::Isolate => "isolation",
            Fault::SlowDisk => "slow disk",
            Fault::Rot => "rot",
        })
    }
}
