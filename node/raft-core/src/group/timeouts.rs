//! When a replica campaigns.

use crate::log_view::LogView;
use raft::RawNode;

/// Least and exclusive greatest number of ticks without a leader before a campaign: 1 to 2 seconds.
pub(super) const ELECTION_TICKS: (usize, usize) = (10, 20);

/// Election timeouts from our own seed: raft-rs would ask the thread's random number generator, and a simulation could not be repeated.
pub(super) struct Timeouts {
    state: u64,
    set: Option<usize>,
}

impl Timeouts {
    pub(super) fn new(seed: u64) -> Self {
        Timeouts { state: seed, set: None }
    }

    /// Replaces a timeout that raft-rs has drawn itself since the last call.
    pub(super) fn enforce(&mut self, raw: &mut RawNode<LogView>) {
        let raft = &mut raw.raft;
        // While a timeout stands, raft-rs does not change it; when it resets one it also resets the elapsed ticks.
        if self.set != Some(raft.randomized_election_timeout()) || raft.election_elapsed == 0 {
            let drawn = ELECTION_TICKS.0 + (self.next() % (ELECTION_TICKS.1 - ELECTION_TICKS.0) as u64) as usize;
            raft.set_randomized_election_timeout(drawn);
            self.set = Some(drawn);
        }
    }

    /// Steele, Lea and Flood's SplitMix64.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
