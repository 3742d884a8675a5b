//! Which map the leader of the control group decides by, and so which one a node has to know before its lease counts.
//!
//! A leader grants no lease before it has begun to decide: the leader before it may have passed a node over at a barrier, and a lease from one that has
//! not yet looked at the map would let that node take puts of the epoch before.

use std::sync::atomic::{AtomicU64, Ordering};

/// The version of the map, or 0 without a mandate; maps count from 1.
#[derive(Default)]
pub(crate) struct Mandate(AtomicU64);

impl Mandate {
    /// This node leads, has applied all that was committed before it did, and decides by a map of this version from now on.
    pub(crate) fn decide_by(&self, version: u64) {
        self.0.fetch_max(version, Ordering::AcqRel);
    }

    /// It does not lead, or has not yet applied what former leaders did.
    pub(crate) fn end(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// The map that leases depend on; without it there are none.
    pub(crate) fn map_version(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Acquire)).filter(|version| *version > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_grants_no_lease_before_it_decides_by_a_map_of_its_own_term() {
        let mandate = Mandate::default();
        assert_eq!(mandate.map_version(), None);
        mandate.decide_by(7);
        mandate.decide_by(5);
        assert_eq!(mandate.map_version(), Some(7));
        mandate.end();
        assert_eq!(mandate.map_version(), None, "another one leads and may decide by a newer map");
        mandate.decide_by(6);
        assert_eq!(mandate.map_version(), Some(6));
    }
}
