//! The right of a node to take puts, deletes and copies and to take copies off its disk, as `chunk-server` keeps it.
//!
//! It ends by itself when the leader of the control group is silent. A new one counts only once the node knows the map that the leader decides
//! by: a node that was passed over at a barrier must take nothing of the epoch before.

use crate::event::Millis;

/// The lease of a process. It begins without one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lease {
    until: Millis,
    /// A later end, once the map of that version is known.
    next: Option<(u64, Millis)>,
}

impl Lease {
    /// The leader, which decides by the map of a version, has granted a lease to a node that knows another. Whether that is too old.
    pub fn renew(&mut self, known: u64, decided_by: u64, until: Millis) -> bool {
        let behind = known < decided_by;
        if behind {
            self.next = Some((decided_by, until));
        } else {
            self.until = self.until.max(until);
        }
        behind
    }

    /// The node knows a map of that version.
    pub fn knows(&mut self, version: u64) {
        if let Some((_, until)) = self.next.take_if(|(wanted, _)| *wanted <= version) {
            self.until = self.until.max(until);
        }
    }

    /// Whether changes are taken.
    #[must_use]
    pub fn holds(&self, now: Millis) -> bool {
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_once_the_map_is_known_that_the_leader_decides_by() {
        let mut lease = Lease::default();
        assert!(!lease.holds(0));
        assert!(lease.renew(3, 4, 100));
        assert!(!lease.holds(50));
        lease.knows(3);
        assert!(!lease.holds(50));
        lease.knows(4);
        assert!(lease.holds(99) && !lease.holds(100));
        assert!(!lease.renew(4, 4, 90));
        assert!(lease.holds(99), "an answer that came late takes nothing away");
    }
}
