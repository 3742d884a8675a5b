//! Finding the replica whose state is not what the log makes it: by comparing rolling hashes of states at the same index.
//!
//! Every replica hashes what each entry changes into what came before, so two states that were made by the same log have the same hash,
//! and one that differs once differs for ever. What most voters have is right.

use crate::membership::Members;
use std::collections::BTreeMap;
use types::{LogIndex, ReplicaId};

/// Indexes at which hashes are kept for a comparison: a replica that is further behind is compared later.
const KEPT_MAX: usize = 8;

/// The rolling hash of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateHash {
    /// The last entry applied.
    pub index: LogIndex,
    /// The hash of everything that was changed up to it.
    pub hash: [u8; 32],
}

/// What came out of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Verdict {
    /// They differ from what most voters have.
    pub diverged: Vec<ReplicaId>,
    /// Every voter was heard and no hash has a majority: nobody knows which is right.
    pub undecided: bool,
}

/// The hashes a leader has heard of.
#[derive(Debug, Default)]
pub(crate) struct Comparison(BTreeMap<LogIndex, BTreeMap<ReplicaId, [u8; 32]>>);

impl Comparison {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes a hash and judges all that were heard at its index.
    pub(crate) fn note(&mut self, replica: ReplicaId, state: StateHash, members: &Members) -> Verdict {
        let heard = self.0.entry(state.index).or_default();
        if members.contains(replica) {
            heard.insert(replica, state.hash);
        }
        let verdict = judge(heard, members);
        while self.0.len() > KEPT_MAX {
            self.0.pop_first();
        }
        verdict
    }
}

fn judge(heard: &BTreeMap<ReplicaId, [u8; 32]>, members: &Members) -> Verdict {
    let mut counts: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    for voter in &members.voters {
        if let Some(hash) = heard.get(voter) {
            *counts.entry(*hash).or_default() += 1;
        }
    }
    let right = counts.iter().find(|(_, count)| **count * 2 > members.voters.len()).map(|(hash, _)| *hash);
    let undecided = right.is_none() && counts.values().sum::<usize>() == members.voters.len();
    let diverged = heard.iter().filter(|(_, hash)| right.is_some_and(|right| right != **hash));
    Verdict { diverged: diverged.map(|(replica, _)| *replica).collect(), undecided }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::NodeId;

    fn state(index: u64, hash: u8) -> StateHash {
        StateHash { index: LogIndex(index), hash: [hash; 32] }
    }

    fn three() -> Members {
        Members { learners: vec![ReplicaId(7)], ..Members::founding([1, 2, 3].map(NodeId)) }
    }

    #[test]
    fn the_one_that_differs_from_the_majority_is_found_whoever_is_heard_first() {
        let mut hashes = Comparison::default();
        assert_eq!(hashes.note(ReplicaId(3), state(10, 9), &three()), Verdict::default());
        assert_eq!(hashes.note(ReplicaId(1), state(10, 5), &three()), Verdict::default());
        let found = hashes.note(ReplicaId(2), state(10, 5), &three());
        assert_eq!(found, Verdict { diverged: vec![ReplicaId(3)], undecided: false });
        // A learner has no say and is judged.
        let found = hashes.note(ReplicaId(7), state(10, 9), &three());
        assert_eq!(found.diverged, [ReplicaId(3), ReplicaId(7)]);
        // Strangers are not.
        assert_eq!(hashes.note(ReplicaId(9), state(10, 1), &three()).diverged, [ReplicaId(3), ReplicaId(7)]);
    }

    #[test]
    fn without_a_majority_nobody_is_accused() {
        let mut hashes = Comparison::default();
        for (voter, hash) in [(1, 1), (2, 2)] {
            assert_eq!(hashes.note(ReplicaId(voter), state(10, hash), &three()), Verdict::default());
        }
        let found = hashes.note(ReplicaId(3), state(10, 3), &three());
        assert_eq!(found, Verdict { diverged: vec![], undecided: true });
    }

    #[test]
    fn only_so_many_indexes_are_kept() {
        let mut hashes = Comparison::default();
        for index in 0..100 {
            hashes.note(ReplicaId(1), state(index, 1), &three());
        }
        assert_eq!(hashes.0.len(), KEPT_MAX);
    }
}
